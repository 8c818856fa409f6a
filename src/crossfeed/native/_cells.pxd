# cython: language_level=3
"""What the step and the dispatch use of the cells."""

cimport cython

from crossfeed.native._books cimport BookState, UpdatePlaces
from crossfeed.native._events cimport Draft, Made
from crossfeed.native._states cimport BandState, IdState, OpenState, StandbyState, StepState


@cython.final
cdef class Cell:
    cdef Made made
    cdef object pair
    cdef int kind
    cdef object gate            # what the table says, None: nobody asked
    cdef BandState band
    cdef IdState numbered
    cdef OpenState latest
    cdef BookState book
    cdef StandbyState standby   # before the gate, if there is one
    cdef object line            # name of the connection in `standby`
    cdef object told            # the live book that subscribers are handed, if somebody wants it
    cdef object told_line
    cdef StandbyState told_standby
    cdef int number_at
    cdef int price_at
    cdef int price_other_at
    cdef UpdatePlaces update_at
    # Subscribers by what they are told, as long as the router's table is of this version.
    cdef Py_ssize_t heard_version
    cdef tuple heard
    cdef tuple heard_quotes
    cdef tuple heard_books

    cdef int describe(self, object chain_of) except -1
    cdef bint take(self, StepState step, object event) except -1
    cdef int take_update(self, StepState step, object out) except -1
    cdef bint _take_numbered(self, Draft draft, object event) noexcept
    cdef bint _take_latest(self, StepState step, object event) except -1
    cdef bint _is_in_band(self, Draft draft) noexcept
    cdef bint _is_plain_line(self, StepState step, object gate) except -1
