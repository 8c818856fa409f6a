/* Reading JSON, one value at a time, without judging it.

   Every function takes the position and the end, reads nothing at or beyond the end, and returns the
   position after the value, or NULL to decline. Declined is whatever is not plainly right, and also
   whatever is right but rare (escapes, exponents, 19 digits): the reference decoder decides then. */

#ifndef CROSSFEED_SCAN_H
#define CROSSFEED_SCAN_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

typedef const unsigned char *cf_at;

#define CF_DEPTH_MAX 64
#define CF_DIGITS_MAX 40

static const double cf_power[23] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline int cf_is_digit(unsigned char c) { return (unsigned char)(c - '0') < 10; }

static inline cf_at cf_space(cf_at p, cf_at end) {
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* The one mark that may come here, with the white space around it. Returns where the value behind it
   begins, which is never the end. */
static inline cf_at cf_behind(cf_at p, cf_at end, unsigned char mark) {
    p = cf_space(p, end);
    if (p >= end || *p != mark) return NULL;
    p = cf_space(p + 1, end);
    return p < end ? p : NULL;
}

/* From behind an item of an array, or a member of an object, to the next: returns where that begins,
   which is never the end. With `is_over` there is none: returns the position behind `closing`. */
static inline cf_at cf_next_item(cf_at p, cf_at end, unsigned char closing, int *is_over) {
    *is_over = 0;
    p = cf_space(p, end);
    if (p >= end) return NULL;
    if (*p == ',') {
        p = cf_space(p + 1, end);
        return p < end ? p : NULL;
    }
    if (*p != closing) return NULL;
    *is_over = 1;
    return p + 1;
}

/* A string without escapes: `p` is behind the opening quote. Returns the closing quote. Bytes above
   127 are let through only where `is_any` says so (skipped strings, whose text nobody reads). */
static inline cf_at cf_string(cf_at p, cf_at end, int is_any) {
    const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
    while (end - p >= 8) {
        uint64_t word, quote, slash, stop;
        memcpy(&word, p, 8);
        quote = word ^ (ones * '"');
        slash = word ^ (ones * '\\');
        stop = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word);
        if (!is_any) stop |= word;
        if (stop & highs) break;
        p += 8;
    }
    for (; p < end; p++) {
        unsigned char c = *p;
        if (c == '"') return p;
        if (c == '\\' || c < 0x20 || (c >= 0x80 && !is_any)) return NULL;
    }
    return NULL;
}

/* A string whose text is wanted: `p` is at the opening quote. Returns the closing one. */
static inline cf_at cf_text(cf_at p, cf_at end) {
    if (p >= end || *p != '"') return NULL;
    return cf_string(p + 1, end, 0);
}

/* Eight digits at once, where the first in memory is the lowest byte. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CF_HAS_EIGHT 1
static inline int cf_are_eight(uint64_t word) {
    return ((word & 0xF0F0F0F0F0F0F0F0ULL) |
            (((word + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL) >> 4)) ==
           0x3333333333333333ULL;
}

static inline uint64_t cf_eight(uint64_t word) {
    const uint64_t mask = 0x000000FF000000FFULL;
    word -= 0x3030303030303030ULL;
    word = word * 10 + (word >> 8);
    return ((word & mask) * 0x000F424000000064ULL + ((word >> 16) & mask) * 0x0000271000000001ULL) >>
           32;
}
#else
#define CF_HAS_EIGHT 0
static inline int cf_are_eight(uint64_t word) { (void)word; return 0; }
static inline uint64_t cf_eight(uint64_t word) { return word; }
#endif

/* -?(0|[1-9]d*)(.d+)? ; an exponent is declined, and so is minus zero. */
static inline cf_at cf_decimal(cf_at p, cf_at end, double *value) {
    cf_at start = p, first;
    uint64_t mantissa = 0;
    int negative = 0, digits = 0, decimals = 0;
    if (p < end && *p == '-') { negative = 1; p++; }
    first = p;
    while (p < end && cf_is_digit(*p)) { mantissa = mantissa * 10 + (*p - '0'); p++; }
    digits = (int)(p - first);
    if (digits == 0 || (digits > 1 && *first == '0')) return NULL;
    if (p < end && *p == '.') {
        cf_at dot = ++p;
        if (CF_HAS_EIGHT && end - p >= 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            if (cf_are_eight(word)) {
                mantissa = mantissa * 100000000 + (cf_eight(word) & 0xFFFFFFFFULL);
                p += 8;
            }
        }
        while (p < end && cf_is_digit(*p)) { mantissa = mantissa * 10 + (*p - '0'); p++; }
        decimals = (int)(p - dot);
        if (decimals == 0) return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) return NULL;
    digits += decimals;
    if (digits > CF_DIGITS_MAX) return NULL;
    if (digits <= 18 && mantissa <= (1ULL << 53)) {
        double number = (double)mantissa / cf_power[decimals];
        if (negative) {
            if (mantissa == 0) return NULL; /* minus zero */
            number = -number;
        }
        *value = number;
        return p;
    } else {
        char text[CF_DIGITS_MAX + 4];
        char *stop;
        double number;
        size_t size = (size_t)(p - start);
        memcpy(text, start, size);
        text[size] = 0;
        number = PyOS_string_to_double(text, &stop, NULL);
        if (stop != text + size || (number == -1.0 && PyErr_Occurred())) {
            PyErr_Clear();
            return NULL;
        }
        if (negative && number == 0.0) return NULL;
        *value = number;
        return p;
    }
}

/* A number, written as a JSON number or as a text. */
static inline cf_at cf_number(cf_at p, cf_at end, double *value) {
    if (p < end && *p == '"') {
        p = cf_decimal(p + 1, end, value);
        if (p == NULL || p >= end || *p != '"') return NULL;
        return p + 1;
    }
    return cf_decimal(p, end, value);
}

static inline cf_at cf_digits(cf_at p, cf_at end, int64_t *value) {
    int64_t number = 0;
    int negative = 0;
    cf_at first;
    if (p < end && *p == '-') { negative = 1; p++; }
    first = p;
    while (p < end && cf_is_digit(*p)) {
        if (p - first >= 18) return NULL;
        number = number * 10 + (*p - '0');
        p++;
    }
    if (p == first || (p - first > 1 && *first == '0')) return NULL;
    if (negative && number == 0) return NULL;
    if (p < end && (*p == '.' || *p == 'e' || *p == 'E')) return NULL;
    *value = negative ? -number : number;
    return p;
}

/* An integer, written as a JSON number or as a text. */
static inline cf_at cf_integer(cf_at p, cf_at end, int64_t *value) {
    if (p < end && *p == '"') {
        p = cf_digits(p + 1, end, value);
        if (p == NULL || p >= end || *p != '"') return NULL;
        return p + 1;
    }
    return cf_digits(p, end, value);
}

static inline cf_at cf_word(cf_at p, cf_at end, const char *word, int size) {
    if (end - p < size || memcmp(p, word, (size_t)size) != 0) return NULL;
    return p + size;
}

static inline cf_at cf_skip_number(cf_at p, cf_at end) {
    cf_at first;
    if (*p == '-') p++;
    first = p;
    while (p < end && cf_is_digit(*p)) p++;
    if (p == first || (p - first > 1 && *first == '0') || p - first > CF_DIGITS_MAX) return NULL;
    if (p < end && *p == '.') {
        first = ++p;
        while (p < end && cf_is_digit(*p)) p++;
        if (p == first || p - first > CF_DIGITS_MAX) return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        first = p;
        while (p < end && cf_is_digit(*p)) p++;
        if (p == first || p - first > 2) return NULL;
    }
    return p;
}

static inline cf_at cf_skip_plain(cf_at p, cf_at end) {
    switch (*p) {
    case '"':
        p = cf_string(p + 1, end, 1);
        return p == NULL ? NULL : p + 1;
    case 't': return cf_word(p, end, "true", 4);
    case 'f': return cf_word(p, end, "false", 5);
    case 'n': return cf_word(p, end, "null", 4);
    default: return cf_skip_number(p, end);
    }
}

/* Any value, checked against the whole grammar; no recursion, one bit for each level of nesting. */
static inline cf_at cf_skip(cf_at p, cf_at end) {
    uint64_t is_object = 0;
    int depth = 0;
    for (;;) {
        /* a value begins here */
        if (p >= end) return NULL;
        if (*p == '{' || *p == '[') {
            unsigned char closing = *p == '{' ? '}' : ']';
            if (depth >= CF_DEPTH_MAX) return NULL;
            is_object = (is_object << 1) | (*p == '{');
            depth++;
            p = cf_space(p + 1, end);
            if (p >= end) return NULL;
            if (*p != closing) {
                if (closing == '}') goto key;
                continue;
            }
        } else {
            p = cf_skip_plain(p, end);
            if (p == NULL) return NULL;
            if (depth == 0) return p;
            p = cf_space(p, end);
            if (p >= end) return NULL;
        }
        /* a value has ended: close what closes */
        for (;;) {
            if (*p == ',') {
                p = cf_space(p + 1, end);
                if (is_object & 1) goto key;
                break;
            }
            if (*p != ((is_object & 1) ? '}' : ']')) return NULL;
            p++;
            is_object >>= 1;
            depth--;
            if (depth == 0) return p;
            p = cf_space(p, end);
            if (p >= end) return NULL;
        }
        continue;
    key:
        if (p >= end || *p != '"') return NULL;
        p = cf_string(p + 1, end, 1);
        if (p == NULL) return NULL;
        p = cf_behind(p + 1, end, ':');
        if (p == NULL) return NULL;
    }
}

static inline int cf_two(cf_at p, int *value) {
    if (!cf_is_digit(p[0]) || !cf_is_digit(p[1])) return 0;
    *value = (p[0] - '0') * 10 + (p[1] - '0');
    return 1;
}

/* The date part of the last time read: consecutive messages share it. */
typedef struct {
    unsigned char text[10];
    int64_t day_ns;
} cf_day;

static inline int cf_read_day(cf_at p, cf_day *day) {
    static const int days[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int high, low, month, date, last;
    int64_t y, era, yoe, doy, doe;
    if (!cf_two(p, &high) || !cf_two(p + 2, &low) || p[4] != '-' || !cf_two(p + 5, &month) ||
        p[7] != '-' || !cf_two(p + 8, &date))
        return 0;
    y = high * 100 + low;
    if (y < 2009 || y > 2261 || month < 1 || month > 12) return 0;
    last = days[month];
    if (month == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)) last = 29;
    if (date < 1 || date > last) return 0;
    y -= month <= 2;
    era = y / 400;
    yoe = y - era * 400;
    doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + date - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    day->day_ns = (era * 146097 + doe - 719468) * 86400LL * 1000000000LL;
    memcpy(day->text, p, 10);
    return 1;
}

/* "2026-07-07T22:58:01.234567Z" with up to nine decimals, between `p` and `end` (no quotes). */
static inline int cf_time(cf_at p, cf_at end, cf_day *day, int64_t *ns) {
    static const int64_t scale[10] = {1000000000, 100000000, 10000000, 1000000, 100000,
                                      10000,      1000,      100,      10,      1};
    int hour, minute, second;
    int64_t fraction = 0;
    if (end - p < 20 || end - p > 30 || end[-1] != 'Z') return 0;
    if (memcmp(day->text, p, 10) != 0 && !cf_read_day(p, day)) return 0;
    if (p[10] != 'T' || !cf_two(p + 11, &hour) || p[13] != ':' || !cf_two(p + 14, &minute) ||
        p[16] != ':' || !cf_two(p + 17, &second) || hour > 23 || minute > 59 || second > 59)
        return 0;
    p += 19;
    if (*p == '.') {
        cf_at first = ++p;
        while (cf_is_digit(*p)) { fraction = fraction * 10 + (*p - '0'); p++; }
        if (p == first || p - first > 9) return 0;
        fraction *= scale[p - first];
    }
    if (p != end - 1) return 0;
    *ns = day->day_ns + ((hour * 60 + minute) * 60 + second) * 1000000000LL + fraction;
    return 1;
}

#endif
