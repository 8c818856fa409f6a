# cython: language_level=3
"""What the gates use of the books."""

cimport cython
from libc.stdint cimport int64_t

from crossfeed.native._engine cimport Engine
from crossfeed.native._events cimport Draft, Made
from crossfeed.native._ladder cimport Levels
from crossfeed.native._states cimport StepState


cdef struct UpdatePlaces:
    # Where the class of a book's updates has these arguments.
    int first
    int last
    int previous
    int checksum


cdef class BookState:
    cdef public bint _is_plain
    cdef public bint wants_deltas
    cdef public bint wants_quotes
    cdef public object trust
    cdef public object ladder
    cdef public object sequence
    cdef public object _crossing
    cdef public Py_ssize_t _window_min
    cdef public Py_ssize_t depth_limit
    cdef public int64_t _updates
    cdef public int64_t _applied
    cdef public int follows
    cdef public Py_ssize_t checksum_levels
    cdef bint has_top
    cdef double top[4]
    cdef object event
    cdef object applied
    cdef bint is_event_unmade
    cdef bint is_applied_unmade
    # What the newest update can be made of.
    cdef Engine engine
    cdef bytes frame
    cdef tuple symbol
    cdef object ts_recv_ns
    cdef object ts_mono_ns

    cdef int take(self, StepState step, Made made, const UpdatePlaces *at) except -1
    cdef bint _is_next(self, Draft draft, Made made, const UpdatePlaces *at) noexcept
    cdef int _judge(self, StepState step, Made made, Levels levels) except -1
    cdef int _keep(self, StepState step) except -1
    cdef int _hand_over(self, Draft draft) except -1
    cdef int _make(self) except -1
    cdef object _quote(self, StepState step, Made made)


@cython.final
cdef class BookTail:
    cdef readonly object trust
    cdef BookState book
