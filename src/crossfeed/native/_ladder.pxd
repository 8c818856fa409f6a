# cython: language_level=3
"""What the other compiled modules use of the ladders."""

cimport cython

cdef struct Level:
    double key      # price of a bid, minus the price of an offer: the best is last on both sides
    double size

cdef struct Side:
    Level *levels
    Py_ssize_t count
    Py_ssize_t room

cdef struct Row:
    double price
    double size


@cython.final
cdef class Levels:
    cdef Side bids
    cdef Side asks
    cdef public Py_ssize_t unknown
    cdef public Py_ssize_t outside
    cdef public double floor
    cdef public double ceiling
    cdef public double price_limit
    cdef public double size_limit
    cdef public double price_power
    cdef public double size_power
    cdef int set_rows(self, const Row *bids, Py_ssize_t bid_count, const Row *asks, Py_ssize_t ask_count) except -1
    cdef int _set_rows(self, Side *side, const Row *rows, Py_ssize_t count, double sign, double worst) except -1
    cdef int _apply(self, Side *side, list changes, double sign, double worst) except -1
    cdef int _load(self, Side *side, list levels, double sign) except -1
    cdef void cut_to(self, Py_ssize_t depth) noexcept
    cdef int crc32(self, Py_ssize_t count, double price_power, double size_power, unsigned int *found) noexcept
