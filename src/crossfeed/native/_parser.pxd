# cython: language_level=3
"""What the decoder uses of the parser."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from crossfeed.native._events cimport Draft
from crossfeed.native._names cimport Names
from crossfeed.native._scan cimport cf_at, cf_day
from crossfeed.native._tables cimport Field, Table, Tables

# Why a frame was declined; the same numbers stand in `_engine.CODES`.
cdef enum:
    ACCEPTED, NO_ROUTE, BAD_SHAPE, NO_SYMBOL, BAD_ORDER


@cython.final
cdef class Parser:
    cdef Tables owner
    cdef Table *tables           # of `owner`
    cdef Draft draft
    cdef PyObject **values       # of `draft`
    cdef Names names
    cdef cf_at end
    cdef cf_day day
    cdef int code                # why the frame is declined, if it is
    cdef PyObject *number        # of the frame, where the venue numbers them
    cdef int level_side          # of the newest level written as an object: 0 bids, 1 asks
    cdef double level_price
    cdef double level_size

    cdef bint parse(self, bytes frame, int root) noexcept
    cdef cf_at _object(self, cf_at p, int number) noexcept
    cdef cf_at _complete(self, cf_at p, Table *table, uint64_t seen) noexcept
    cdef cf_at _value(self, cf_at p, Field *field) noexcept
    cdef cf_at _null(self, cf_at p, Field *field) noexcept
    cdef cf_at _number(self, cf_at p, Field *field) noexcept
    cdef cf_at _integer(self, cf_at p, Field *field) noexcept
    cdef cf_at _time(self, cf_at p, Field *field) noexcept
    cdef cf_at _symbol(self, cf_at p, Field *field) noexcept
    cdef bint _is_among(self, Field *field, PyObject *pair) noexcept
    cdef cf_at _boolean(self, cf_at p, Field *field) noexcept
    cdef cf_at _text(self, cf_at p, Field *field) noexcept
    cdef cf_at _int_word(self, cf_at p, Field *field) noexcept
    cdef cf_at _word_of(self, cf_at p, Field *field, int64_t number) noexcept
    cdef cf_at _items(self, cf_at p, int child) noexcept
    cdef cf_at _level_objects(self, cf_at p, Field *field) noexcept
    cdef cf_at _level_part(self, cf_at p, Field *field) noexcept
