/* CRC32 (IEEE 802.3, as zlib's), four bytes at a time. */

#ifndef CROSSFEED_CRC_H
#define CROSSFEED_CRC_H

#include <stdint.h>

static uint32_t cf_crc_table[4][256];

static void cf_crc_fill(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = (c >> 1) ^ (0xEDB88320u & (0u - (c & 1)));
        cf_crc_table[0][n] = c;
    }
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 1; k < 4; k++)
            cf_crc_table[k][n] =
                (cf_crc_table[k - 1][n] >> 8) ^ cf_crc_table[0][cf_crc_table[k - 1][n] & 0xFF];
}

static unsigned int cf_crc32(unsigned int crc, const unsigned char *text, Py_ssize_t size) {
    uint32_t c = ~(uint32_t)crc;
    if (cf_crc_table[0][1] == 0) cf_crc_fill(); /* under the GIL; filling twice does no harm */
    for (; size >= 4; size -= 4, text += 4) {
        c ^= (uint32_t)text[0] | (uint32_t)text[1] << 8 | (uint32_t)text[2] << 16 |
             (uint32_t)text[3] << 24;
        c = cf_crc_table[3][c & 0xFF] ^ cf_crc_table[2][(c >> 8) & 0xFF] ^
            cf_crc_table[1][(c >> 16) & 0xFF] ^ cf_crc_table[0][c >> 24];
    }
    for (; size > 0; size--, text++) c = (c >> 8) ^ cf_crc_table[0][(c ^ *text) & 0xFF];
    return ~c;
}

#endif
