# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Attributes of many events become columns, compiled.

Same contract as `crossfeed.store.batch`: each function does what is ordinary (events of plain classes,
numbers that fit) and says so; for everything else it declines, and what it was given to fill is filled
by Python.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.ref cimport PyObject, PyTypeObject
from libc.limits cimport LLONG_MAX, LLONG_MIN

from crossfeed.native._python cimport (
    PyFloat_AS_DOUBLE_, PyFloat_CheckExact_, PyList_GET_ITEM_,
)

__all__ = ["deal", "fill", "fill_levels", "level_counts", "shared"]

cdef enum:
    KNOWN = 64                  # markets and classes whose list is found without a look-up


cdef extern from *:
    """
    #include <structmember.h>

    /* Where the instances of a class keep the slot `name`; -1 where it is anything else. Runs no
       Python: neither a metaclass nor a class that reads its attributes in its own way is asked. */
    static Py_ssize_t cf_slot(PyTypeObject *type, PyObject *name) {
        PyObject *found = _PyType_Lookup(type, name);
        PyMemberDef *member;
        if (found == NULL || Py_TYPE(found) != &PyMemberDescr_Type)
            return -1;
        if (type->tp_getattro != PyObject_GenericGetAttr || !PyType_IsSubtype(type, PyDescr_TYPE(found)))
            return -1;
        member = ((PyMemberDescrObject *)found)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }

    static inline PyObject *cf_at_slot(PyObject *owner, Py_ssize_t offset) {
        return *(PyObject **)((char *)owner + offset);
    }
    """
    Py_ssize_t cf_slot(PyTypeObject *type, object name)
    PyObject *cf_at_slot(PyObject *owner, Py_ssize_t offset)
    PyTypeObject *Py_TYPE_ "Py_TYPE" (PyObject *value)
    bint PyLong_Check_ "PyLong_Check" (PyObject *value)
    long long PyLong_AsLongLongAndOverflow_ "PyLong_AsLongLongAndOverflow" (PyObject *value, int *overflow)
    bint PyList_CheckExact_ "PyList_CheckExact" (PyObject *value)
    bint PyTuple_CheckExact_ "PyTuple_CheckExact" (PyObject *value)
    Py_ssize_t PyList_GET_SIZE_ "PyList_GET_SIZE" (PyObject *value)
    Py_ssize_t PyTuple_GET_SIZE_ "PyTuple_GET_SIZE" (PyObject *value)
    PyObject *PyTuple_GET_ITEM_ "PyTuple_GET_ITEM" (PyObject *value, Py_ssize_t at)


cdef struct Slot:
    PyTypeObject *type          # of the event before: nearly always that of the next one, too
    Py_ssize_t offset


cdef inline PyObject *value_of(PyObject *event, Slot *slot, object name) noexcept:
    """Return an attribute (borrowed), NULL where it is no plain slot or empty."""
    if Py_TYPE_(event) != slot.type:
        slot.type = Py_TYPE_(event)
        slot.offset = cf_slot(slot.type, name)
    return NULL if slot.offset < 0 else cf_at_slot(event, slot.offset)


cdef inline bint integer(PyObject *value, long long least, long long most, long long *out) noexcept:
    """Read a whole number of the range; false if it is none."""
    cdef int overflow = 0
    if not PyLong_Check_(value):
        return False
    out[0] = PyLong_AsLongLongAndOverflow_(value, &overflow)
    return not overflow and least <= out[0] <= most


def fill(list events not None, str name not None, object out):
    """Fill an array of int64, int16, int8 or float64 with an attribute; False: not all of it is filled."""
    cdef Py_buffer view
    cdef bint is_whole
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    try:
        is_whole = view.len == view.itemsize * len(events) and _filled(events, name, &view)
    finally:
        PyBuffer_Release(&view)
    return is_whole


cdef bint _filled(list events, str name, Py_buffer *view) noexcept:
    cdef Slot slot = Slot(NULL, -1)
    cdef char form = view.format[0]
    cdef Py_ssize_t at
    cdef PyObject *value
    cdef long long number = 0
    if view.format[1] != 0:
        return False
    for at in range(len(events)):
        value = value_of(PyList_GET_ITEM_(events, at), &slot, name)
        if value == NULL:
            return False
        if form == c'd':
            if not PyFloat_CheckExact_(value):
                return False
            (<double *> view.buf)[at] = PyFloat_AS_DOUBLE_(value)
        elif view.itemsize == 8 and (form == c'l' or form == c'q'):
            if not integer(value, LLONG_MIN, LLONG_MAX, &number):
                return False
            (<long long *> view.buf)[at] = number
        elif form == c'h':
            if not integer(value, -0x8000, 0x7FFF, &number):
                return False
            (<short *> view.buf)[at] = <short> number
        elif form == c'b':
            if not integer(value, -0x80, 0x7F, &number):
                return False
            (<signed char *> view.buf)[at] = <signed char> number
        else:
            return False
    return True


def shared(list events not None, str name not None):
    """Return the one object that an attribute of all events is, None if they are several, or None."""
    cdef Slot slot = Slot(NULL, -1)
    cdef Py_ssize_t at
    cdef PyObject *first = NULL
    cdef PyObject *value
    for at in range(len(events)):
        value = value_of(PyList_GET_ITEM_(events, at), &slot, name)
        if value == NULL or (at and value != first):
            return None
        first = value
    return None if first == NULL else <object> first


cdef struct Dealt:
    PyTypeObject *type
    PyObject *exchange
    PyObject *symbol
    PyObject *where


def deal(list events not None, Py_ssize_t place, dict lists not None):
    """Append each event, from `place` on, to the list of its (class, exchange, symbol).

    Returns:
        Where the first event stands that has no list, or is not ordinary.
    """
    cdef Slot exchanges = Slot(NULL, -1)
    cdef Slot symbols = Slot(NULL, -1)
    cdef Dealt known[KNOWN]
    cdef Dealt *dealt
    cdef PyObject *event
    cdef PyObject *exchange
    cdef PyObject *symbol
    cdef Py_ssize_t at
    cdef list kept = [None] * (2 * KNOWN)
    if place < 0:
        raise IndexError(place)
    for at in range(KNOWN):
        known[at].type = NULL
    while place < len(events):
        event = PyList_GET_ITEM_(events, place)
        exchange = value_of(event, &exchanges, "exchange")
        symbol = value_of(event, &symbols, "symbol")
        if exchange == NULL or symbol == NULL:
            break
        # Names of a market are the same objects event after event: their places are key enough.
        at = ((<size_t> Py_TYPE_(event) >> 5) ^ (<size_t> symbol >> 4)) % KNOWN
        dealt = &known[at]
        if dealt.type != Py_TYPE_(event) or dealt.symbol != symbol or dealt.exchange != exchange:
            # From here on Python may run, and change whatever it finds: what is known is kept alive.
            owner = <object> event
            key = (<object> Py_TYPE_(event), <object> exchange, <object> symbol)
            found = lists.get(key)
            if type(found) is not list:
                break
            kept[at], kept[KNOWN + at] = key, found
            dealt.type, dealt.exchange, dealt.symbol = Py_TYPE_(event), exchange, symbol
            dealt.where = <PyObject *> found
        (<list> dealt.where).append(<object> event)
        place += 1
    return place


def level_counts(list events not None, object out):
    """Fill an int64 array of (events, 2) with the lengths of `bids` and `asks`.

    Returns:
        All levels together; -1: not ordinary.
    """
    cdef Py_buffer view
    cdef long long total = -1
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    try:
        if view.itemsize == 8 and view.len == 16 * len(events):
            total = _counted(events, <long long *> view.buf)
    finally:
        PyBuffer_Release(&view)
    return total


cdef long long _counted(list events, long long *out) noexcept:
    cdef Slot bids = Slot(NULL, -1)
    cdef Slot asks = Slot(NULL, -1)
    cdef Py_ssize_t at
    cdef PyObject *event
    cdef PyObject *side
    cdef long long total = 0
    for at in range(2 * len(events)):
        event = PyList_GET_ITEM_(events, at >> 1)
        side = value_of(event, &asks, "asks") if at & 1 else value_of(event, &bids, "bids")
        if side == NULL or not PyList_CheckExact_(side):
            return -1
        out[at] = PyList_GET_SIZE_(side)
        total += out[at]
    return total


def fill_levels(list events not None, object out):
    """Fill a float64 array of (levels, 2) with the levels of all events, bids before asks.

    The array has as many rows as `level_counts` said. False: not all of it is filled.
    """
    cdef Py_buffer view
    cdef bint is_whole = False
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    try:
        if view.format[0] == c'd' and view.format[1] == 0:
            is_whole = _laid_down(events, <double *> view.buf, view.len // 16)
    finally:
        PyBuffer_Release(&view)
    return is_whole


cdef bint _laid_down(list events, double *out, Py_ssize_t rows) noexcept:
    cdef Slot bids = Slot(NULL, -1)
    cdef Slot asks = Slot(NULL, -1)
    cdef Py_ssize_t at, place, row = 0
    cdef PyObject *event
    cdef PyObject *side
    cdef PyObject *level
    cdef PyObject *price
    cdef PyObject *size
    for at in range(2 * len(events)):
        event = PyList_GET_ITEM_(events, at >> 1)
        side = value_of(event, &asks, "asks") if at & 1 else value_of(event, &bids, "bids")
        if side == NULL or not PyList_CheckExact_(side) or row + PyList_GET_SIZE_(side) > rows:
            return False
        for place in range(PyList_GET_SIZE_(side)):
            level = PyList_GET_ITEM_(<object> side, place)
            if not PyTuple_CheckExact_(level) or PyTuple_GET_SIZE_(level) != 2:
                return False
            price, size = PyTuple_GET_ITEM_(level, 0), PyTuple_GET_ITEM_(level, 1)
            if not PyFloat_CheckExact_(price) or not PyFloat_CheckExact_(size):
                return False
            out[2 * row], out[2 * row + 1] = PyFloat_AS_DOUBLE_(price), PyFloat_AS_DOUBLE_(size)
            row += 1
    return row == rows
