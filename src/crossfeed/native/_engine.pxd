# cython: language_level=3
"""What the other compiled modules use of the decoder."""

cimport cython

from crossfeed.native._events cimport Draft
from crossfeed.native._names cimport Names
from crossfeed.native._parser cimport Parser
from crossfeed.native._routes cimport Routes


@cython.final
cdef class Engine:
    cdef Routes routes
    cdef Names names
    cdef Parser parser
    cdef Draft draft             # what the last frame held
    cdef bint keep_raw
    cdef bint has_sequence
    cdef readonly int code
    cdef readonly Py_ssize_t accepted
    cdef readonly list declined

    cdef bint run(self, bytes frame, object ts_recv_ns, object ts_mono_ns, bint is_lazy) except -1
    cdef object again(self, bytes frame, tuple symbol, object ts_recv_ns, object ts_mono_ns)
    cdef bint _parse(self, bytes frame, object ts_recv_ns, object ts_mono_ns, int route, bint is_lazy) noexcept
    cdef bint _decline(self, int code) except -1
