# cython: language_level=3
"""What the listener uses of the way of a message."""

cimport cython

from crossfeed.native._step cimport Step


@cython.final
cdef class Path:
    cdef Step step
    cdef object slow
    cdef object finish
    cdef object router
    cdef object table
    cdef object sample
    cdef object out
    cdef list events
    cdef list commands
    cdef bint is_watched
    cdef bint is_busy
    cdef unsigned int frames
    cdef int carry(self, bytes frame, object ts_recv_ns, object ts_mono_ns) except -1
    cdef tuple _find(self, str data_type, object event)
    cdef int _deliver(self, tuple heard, object event) except -1
