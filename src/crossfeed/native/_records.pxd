# cython: language_level=3
"""The head of a journal's record as it lies in memory; see `crossfeed.journal.records`."""

cdef enum:
    HEAD_BYTES = 24

cdef packed struct Head:        # little-endian
    unsigned char kind
    unsigned char name_bytes
    unsigned short flags
    unsigned int payload_bytes
    long long wall_ns
    long long mono_ns
