# cython: language_level=3
"""What the messages of a venue look like, laid out for the parser."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from crossfeed.native._scan cimport cf_at

cdef enum:
    FIELDS_MAX = 32
    KEY_MAX = 24
    ORDER_MAX = 48
    TABLES_MAX = 1000

# Kinds of fields; the same numbers stand in `native_tables`.
cdef enum:
    CHECK_INT, CHECK_TEXT, NUM, INT, TIME, ISO, BOOL, WORD, INT_WORD, BOOL_WORD, TEXT, SYMBOL
    FLAG, PAIRS, SIDED, LEVELS, OBJECT, ITEMS, LEVEL_PRICE, LEVEL_SIZE, LEVEL_SIDE, SEQUENCE


cdef struct Word:
    unsigned char text[KEY_MAX]
    int size
    int64_t number
    PyObject *value


# What every message reads of a field comes first: after a pause each cache line is a wait.
cdef struct Field:
    signed char kind
    signed char slot
    signed char slot_other  # asks, where one field fills two slots; unified for symbols
    signed char side        # of levels: 0 bids, 1 asks, where one field fills one side
    signed char is_nullable
    signed char has_zero_none
    signed char is_low_open
    signed char is_size_low_open
    short child
    short word_count
    signed char is_required
    Word *words
    PyObject *among          # of a symbol: the set it must be in, NULL where any will do
    PyObject *absent         # value of an absent field, NULL where it must be there or has no slot
    double low
    double high
    int64_t int_low
    int64_t int_high
    int64_t factor
    int64_t add
    double size_low
    double size_high
    unsigned char key[KEY_MAX]
    int key_size


cdef struct Known:
    unsigned char key[KEY_MAX]
    int size
    int field


cdef struct Table:
    int count
    int learned
    uint64_t required
    uint64_t outer           # fields that must have come before items are read
    int is_leaf              # one event for each object of this table
    Known order[ORDER_MAX]   # keys as they came, in their order
    Field fields[FIELDS_MAX]


@cython.final
cdef class Tables:
    cdef Table *tables
    cdef int count
    cdef object kept
    cdef int _fill(self, Table *table, dict spec) except -1
    cdef int _fill_words(self, Field *field, tuple words) except -1


cdef int find_key(Table *table, cf_at key, int size, int at) noexcept


cdef inline Word *find_word(const Field *field, cf_at text, Py_ssize_t size) noexcept:
    """Find a text among the words of a field, NULL if it is none of them."""
    cdef int at
    for at in range(field.word_count):
        if field.words[at].size == size and memcmp(field.words[at].text, text, size) == 0:
            return &field.words[at]
    return NULL


cdef inline Word *find_number(const Field *field, int64_t number) noexcept:
    """Find a number among the words of a field, NULL if it is none of them."""
    cdef int at
    for at in range(field.word_count):
        if field.words[at].number == number:
            return &field.words[at]
    return NULL


cdef inline bint is_within(double value, double low, int is_open, double high) noexcept:
    return value <= high and (value > low if is_open else value >= low)
