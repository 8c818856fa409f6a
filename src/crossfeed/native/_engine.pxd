# cython: language_level=3
"""What the other compiled modules use of the decoder."""

cimport cython

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from crossfeed.native._ladder cimport Row

cdef extern from "_scan.h":
    ctypedef const unsigned char *cf_at
    ctypedef struct cf_day:
        int64_t day_ns

cdef enum:
    FIELDS_MAX = 32
    KEY_MAX = 24
    ORDER_MAX = 48
    SLOTS_MAX = 40
    HEAD_MAX = 120
    HEADS = 4096
    NAMES = 4096
    SLOT_RECV = 32
    SLOT_MONO = 33
    SLOT_RAW = 34
    SLOT_INDEX = 35
    HEADS_KEPT = 3000
    NAMES_KEPT = 3000
    NAME_MAX = 64
    ROWS_KEPT = 4096
    TABLES_MAX = 1000


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


cdef struct Head:
    uint64_t hashed
    unsigned char *text
    int size
    int route


cdef struct Name:
    PyObject *key
    const char *text
    Py_ssize_t size


cdef class Made:
    cdef object event
    cdef object fixed
    cdef int count
    cdef int source[SLOTS_MAX]      # slot of each argument, -1: fixed
    cdef PyObject *constant[SLOTS_MAX]
    cdef bint is_delta
    cdef int bids_slot
    cdef int asks_slot
    cdef int place(self, str name) except -2


@cython.final
cdef class Engine:
    cdef Table *tables
    cdef int table_count
    cdef list plain              # per route: Made
    cdef list first              # per route: Made of snapshots, or None
    cdef int roots[64]
    cdef dict by_groups
    cdef object guess
    cdef object symbols
    cdef object kept
    cdef bint keep_raw
    cdef bint has_sequence
    cdef Head *heads
    cdef int quotes              # quotation marks in a head, 0 while unknown
    cdef int head_count
    cdef Name *names
    cdef int name_count
    cdef PyObject *values[SLOTS_MAX]
    cdef cf_day day
    cdef cf_at end
    cdef Made plain_made
    cdef Made first_made
    cdef bint is_first
    cdef Py_ssize_t index
    cdef int level_side
    cdef double level_price
    cdef double level_size
    cdef Row *rows[2]            # levels of the message: bids, asks
    cdef Py_ssize_t row_count[2]
    cdef Py_ssize_t row_room[2]
    cdef double price_most
    cdef double size_most
    cdef PyObject *number
    cdef bint is_lazy            # whether an update of a book is left unmade
    cdef bint has_second
    # What the last frame held: `one` event, or a list of `more`, or an update left `unmade`.
    cdef object one
    cdef list more
    cdef Made unmade
    cdef Made made               # of the newest event
    cdef PyObject *key           # newest symbol as sent, borrowed from `names`
    cdef PyObject *pair          # and what it stands for, borrowed until Python runs
    cdef readonly int code
    cdef readonly Py_ssize_t accepted
    cdef readonly list declined

    cdef int run(self, bytes frame, object ts_recv_ns, object ts_mono_ns, bint is_lazy) except -1
    cdef int _parse(self, bytes frame, object ts_recv_ns, object ts_mono_ns, int route, bint is_lazy) except -1
    cdef list collect(self)
    cdef PyObject *argument(self, Made made, int place) noexcept
    cdef object build(self)
    cdef object again(self, bytes frame, tuple symbol, object ts_recv_ns, object ts_mono_ns)
    cdef int _fill_table(self, Table *table, dict spec) except -1
    cdef int _fill_words(self, Field *field, tuple words) except -1
    cdef int _decline(self, int code)
    cdef void _put(self, int slot, PyObject *value) noexcept
    cdef int _give(self, int slot, PyObject *value) noexcept
    cdef int _route(self, cf_at p, cf_at end, bytes frame) except -2
    cdef int _learn(self, bytes frame, Head *head, uint64_t hashed, int size) except -2
    cdef cf_at _object(self, cf_at p, int number) noexcept
    cdef cf_at _complete(self, cf_at p, Table *table, uint64_t seen) noexcept
    cdef int _find(self, Table *table, cf_at key, int size, int at) noexcept
    cdef int _emit(self) noexcept
    cdef PyObject *_make(self, Made made) noexcept
    cdef cf_at _value(self, cf_at p, Field *field) noexcept
    cdef cf_at _integer(self, cf_at p, Field *field) noexcept
    cdef cf_at _symbol(self, cf_at p, Field *field) noexcept
    cdef int _learn_name(self, Name *name, cf_at p, Py_ssize_t size) noexcept
    cdef cf_at _boolean(self, cf_at p, Field *field) noexcept
    cdef cf_at _text(self, cf_at p, Field *field) noexcept
    cdef cf_at _int_word(self, cf_at p, Field *field, int64_t value) noexcept
    cdef cf_at _items(self, cf_at p, int child) noexcept
    cdef cf_at _rows(self, cf_at p, Field *field) noexcept
    cdef cf_at _comma(self, cf_at p) noexcept
    cdef cf_at _level_objects(self, cf_at p, Field *field) noexcept
    cdef cf_at _level_part(self, cf_at p, Field *field) noexcept
    cdef int _add_row(self, int side, double price, double size) noexcept
    cdef int _grow_rows(self, int side) noexcept
