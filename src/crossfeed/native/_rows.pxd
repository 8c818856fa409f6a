# cython: language_level=3
"""The levels of one message, on their way from its text to a book or to a list."""

from cpython.ref cimport PyObject

from crossfeed.native._ladder cimport Row
from crossfeed.native._scan cimport cf_at, cf_text
from crossfeed.native._tables cimport Field, Word, find_word


cdef struct Rows:
    Row *levels[2]      # bids, asks
    Py_ssize_t count[2]
    Py_ssize_t room[2]
    double price_most   # of all levels, both sides
    double size_most


cdef int grow(Rows *rows, int side) noexcept
cdef void clear(Rows *rows, Py_ssize_t room_kept) noexcept
cdef cf_at read_rows(Rows *rows, cf_at p, cf_at end, Field *field) noexcept
cdef PyObject *list_of(const Rows *rows, int side) noexcept


cdef inline cf_at read_side(cf_at p, cf_at end, const Field *field, int *side) noexcept:
    """Read a side, 0 for bids, 1 for asks, written as a word."""
    cdef cf_at stop = cf_text(p, end)
    cdef Word *word
    if stop == NULL:
        return NULL
    word = find_word(field, p + 1, stop - p - 1)
    if word == NULL:
        return NULL
    side[0] = 0 if word.number else 1
    return stop + 1


cdef inline int add(Rows *rows, int side, double price, double size) noexcept:
    """Add a level; false if there is no memory."""
    cdef Py_ssize_t count = rows.count[side]
    if count == rows.room[side] and not grow(rows, side):
        return 0
    rows.levels[side][count].price = price
    rows.levels[side][count].size = size
    rows.count[side] = count + 1
    if price > rows.price_most:
        rows.price_most = price
    if size > rows.size_most:
        rows.size_most = size
    return 1
