# cython: language_level=3
"""What the gates, the books and the dispatch keep in C."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from crossfeed.native._engine cimport Engine
from crossfeed.native._events cimport Draft
from crossfeed.native._python cimport PyLong_AsLongLongAndOverflow_, PyLong_CheckExact_


cdef class CounterState:
    cdef public int64_t frames
    cdef public int64_t messages
    cdef public int64_t events
    cdef public int64_t unasked
    cdef public int64_t duplicates


cdef class SubscriptionState:
    cdef public object push
    cdef public int64_t delivered


cdef class BandState:
    cdef public double inner_low
    cdef public double inner_high
    cdef public int64_t rivals


cdef class IdState:
    cdef int64_t expected
    cdef int64_t next_number
    cdef object next_wide
    cdef public int64_t _passed
    cdef public object last_event


cdef class OpenState:
    cdef int64_t newest
    cdef object newest_wide
    cdef public bint _is_plain
    cdef public int64_t _passed
    cdef public object last_event


cdef class StandbyState:
    cdef public object trust
    cdef public object active
    cdef public object _gates
    cdef public object _last


cdef class WatchedDict(dict):
    cdef Py_ssize_t version


cdef class StepState:
    cdef Engine engine
    cdef Draft draft             # of `engine`
    cdef object sound
    cdef object quote_type
    cdef object book_mark
    cdef object zero
    # The frame at hand, and what came of it where it was ordinary.
    cdef bytes frame
    cdef object ts_recv_ns
    cdef object ts_mono_ns
    cdef object event
    cdef object quote
    cdef object book


cdef inline bint integer(PyObject *value, int64_t *number) noexcept:
    """Read an int that fits; false for anything else."""
    cdef int overflow = 0
    if value == NULL or not PyLong_CheckExact_(value):
        return False
    number[0] = PyLong_AsLongLongAndOverflow_(value, &overflow)
    return overflow == 0
