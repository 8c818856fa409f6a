# cython: language_level=3
"""What the decoder uses of the routes."""

cimport cython
from libc.stdint cimport uint64_t

cdef enum:
    ROUTES_MAX = 64


cdef struct Head:
    uint64_t hashed
    unsigned char *text
    int size
    int route


@cython.final
cdef class Routes:
    cdef int roots[ROUTES_MAX]
    cdef list plain              # per route: Made
    cdef list first              # per route: Made of snapshots, or of all where they are alike
    cdef dict by_groups
    cdef object guess
    cdef Head *heads
    cdef int head_count
    cdef int quotes              # quotation marks in a head, 0 while unknown
    cdef int find(self, bytes frame) except -2
    cdef int _learn(self, bytes frame, Head *head, uint64_t hashed, int size) except -2
