# cython: language_level=3
"""What the dispatch uses of the step."""

cimport cython
from cpython.ref cimport PyObject

from crossfeed.native._cells cimport Cell
from crossfeed.native._events cimport Made
from crossfeed.native._states cimport CounterState, StepState, WatchedDict


@cython.final
cdef class Step(StepState):
    cdef object codec
    cdef CounterState counters
    cdef WatchedDict gates
    cdef Py_ssize_t version
    cdef object counter
    cdef object out_type
    cdef object slow
    cdef object chain_of
    cdef bint has_sequence
    cdef readonly Py_ssize_t ordinary
    cdef list cells
    cdef bint is_declined       # by the path already
    cdef Cell cell              # of the frame at hand, if it was ordinary

    cdef bint decode(self, bytes frame, object ts_recv_ns, object ts_mono_ns) except -1
    cdef bint take(self, bytes frame, object ts_recv_ns, object ts_mono_ns, object out) except -1
    cdef bint _admit(self, list decoded, object out) except -1
    cdef Cell _cell_of(self, Made made, PyObject *pair)
