# cython: language_level=3
"""Reading JSON, one value at a time: see `_scan.h`."""

from libc.stdint cimport int64_t

cdef extern from "_scan.h":
    ctypedef const unsigned char *cf_at
    ctypedef struct cf_day:
        int64_t day_ns

    cf_at cf_space(cf_at p, cf_at end) nogil
    cf_at cf_behind(cf_at p, cf_at end, unsigned char mark) nogil
    cf_at cf_next_item(cf_at p, cf_at end, unsigned char closing, int *is_over) nogil
    cf_at cf_string(cf_at p, cf_at end, int is_any) nogil
    cf_at cf_text(cf_at p, cf_at end) nogil
    cf_at cf_number(cf_at p, cf_at end, double *value)
    cf_at cf_integer(cf_at p, cf_at end, int64_t *value) nogil
    cf_at cf_word(cf_at p, cf_at end, const char *word, int size) nogil
    cf_at cf_skip(cf_at p, cf_at end) nogil
    int cf_time(cf_at p, cf_at end, cf_day *day, int64_t *ns) nogil
