# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The levels of one message: read from arrays of rows, kept as numbers, made a list if need be.

Levels written as objects are read by the parser and added here.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject

from crossfeed.native._ladder cimport Row
from crossfeed.native._python cimport (
    Py_DECREF_, Py_XDECREF_, PyFloat_FromDouble_, PyList_New_, PyList_SET_ITEM_, PyObject_GC_UnTrack,
    PyTuple_New_, PyTuple_SET_ITEM_,
)
from crossfeed.native._scan cimport cf_at, cf_behind, cf_next_item, cf_number, cf_space
from crossfeed.native._tables cimport SIDED, Field, is_within

__all__: list[str] = []

cdef enum:
    ROOM_MIN = 64


cdef cf_at read_rows(Rows *rows, cf_at p, cf_at end, Field *field) noexcept:
    """Read `[[price, size], ...]` or `[[side, price, size], ...]`."""
    cdef double price, size
    cdef int side = field.side
    cdef bint is_sided = field.kind == SIDED
    cdef int is_over
    if p[0] != c'[':
        return NULL
    p = cf_space(p + 1, end)
    if p < end and p[0] == c']':
        return p + 1
    while True:
        if p >= end or p[0] != c'[':
            return NULL
        p = cf_space(p + 1, end)
        if is_sided:
            p = read_side(p, end, field, &side)
            if p == NULL:
                return NULL
            p = cf_behind(p, end, c',')
            if p == NULL:
                return NULL
        p = cf_number(p, end, &price)
        if p == NULL or not is_within(price, field.low, field.is_low_open, field.high):
            return NULL
        p = cf_behind(p, end, c',')
        if p == NULL:
            return NULL
        p = cf_number(p, end, &size)
        if p == NULL or not is_within(size, field.size_low, field.is_size_low_open, field.size_high):
            return NULL
        p = cf_space(p, end)
        if p >= end or p[0] != c']' or not add(rows, side, price, size):
            return NULL
        p = cf_next_item(p + 1, end, c']', &is_over)
        if p == NULL or is_over:
            return p


cdef int grow(Rows *rows, int side) noexcept:
    """Make room for more levels of a side; false if there is no memory."""
    cdef Py_ssize_t room = max(rows.room[side] * 2, ROOM_MIN)
    cdef void *grown = PyMem_Realloc(rows.levels[side], room * sizeof(Row))
    if grown == NULL:
        return 0
    rows.levels[side] = <Row *> grown
    rows.room[side] = room
    return 1


cdef void clear(Rows *rows, Py_ssize_t room_kept) noexcept:
    """Forget the levels; give back what room a side has beyond `room_kept` levels."""
    cdef int side
    for side in range(2):
        rows.count[side] = 0
        if rows.room[side] > room_kept:
            PyMem_Free(rows.levels[side])
            rows.levels[side] = NULL
            rows.room[side] = 0


cdef PyObject *list_of(const Rows *rows, int side) noexcept:
    """Return the levels of a side as a new list of (price, size); NULL if there is no memory."""
    cdef const Row *levels = rows.levels[side]
    cdef Py_ssize_t count = rows.count[side]
    cdef PyObject *listed = PyList_New_(count)
    cdef PyObject *pair
    cdef PyObject *price
    cdef PyObject *size
    cdef Py_ssize_t at
    if listed == NULL:
        return NULL
    for at in range(count):
        pair = PyTuple_New_(2)
        price = PyFloat_FromDouble_(levels[at].price)
        size = PyFloat_FromDouble_(levels[at].size)
        if pair == NULL or price == NULL or size == NULL:
            Py_XDECREF_(pair)
            Py_XDECREF_(price)
            Py_XDECREF_(size)
            Py_DECREF_(listed)
            return NULL
        PyTuple_SET_ITEM_(pair, 0, price)
        PyTuple_SET_ITEM_(pair, 1, size)
        # Two floats hold no cycle: the collector need not look at thousands of them.
        PyObject_GC_UnTrack(pair)
        PyList_SET_ITEM_(listed, at, pair)
    return listed
