# cython: language_level=3
"""The values of one message, and the events that are made of them."""

cimport cython
from cpython.ref cimport PyObject

from crossfeed.native._python cimport Py_INCREF_, Py_XDECREF_, PyErr_Clear
from crossfeed.native._rows cimport Rows

# Arguments that are known only per frame have slots of their own; the same numbers stand in
# `native_tables`.
cdef enum:
    SLOTS_MAX = 40
    SLOT_RECV = 32
    SLOT_MONO = 33
    SLOT_RAW = 34
    SLOT_INDEX = 35


@cython.final
cdef class Made:
    cdef object event
    cdef object fixed
    cdef object order               # key by which the events of a frame are sorted, or None
    cdef int count
    cdef int source[SLOTS_MAX]      # slot of each argument, -1: fixed
    cdef PyObject *constant[SLOTS_MAX]
    cdef bint is_delta
    cdef int bids_slot
    cdef int asks_slot
    cdef int place(self, str name) except -2


@cython.final
cdef class Draft:
    cdef PyObject *values[SLOTS_MAX]
    cdef Rows rows
    cdef Made plain_made
    cdef Made first_made
    cdef bint is_first           # whether it is a snapshot
    cdef bint is_lazy            # whether an update of a book is left unmade
    cdef bint has_second         # whether an event follows one left unmade
    cdef Py_ssize_t index
    cdef PyObject *key           # newest symbol as sent, borrowed from `Names`
    cdef PyObject *pair          # and what it stands for, borrowed until Python runs
    # What the last frame held: `one` event, or a list of `more`, or an update left `unmade`.
    cdef object one
    cdef list more
    cdef Made unmade
    cdef Made made               # of the newest event

    cdef void begin(self, Made plain, Made first, bint is_lazy) noexcept
    cdef void drop(self) noexcept
    cdef int emit(self) noexcept
    cdef list collect(self)
    cdef object build(self)
    cdef PyObject *argument(self, Made made, int place) noexcept
    cdef PyObject *_make(self, Made made) noexcept


cdef inline void put(PyObject **values, int slot, PyObject *value) noexcept:
    """Keep a borrowed value."""
    cdef PyObject *old = values[slot]
    Py_INCREF_(value)
    values[slot] = value
    Py_XDECREF_(old)


cdef inline int give(PyObject **values, int slot, PyObject *value) noexcept:
    """Keep a new value; false if making it failed."""
    cdef PyObject *old = values[slot]
    if value == NULL:
        PyErr_Clear()
        return 0
    values[slot] = value
    Py_XDECREF_(old)
    return 1
