# cython: language_level=3
"""What the parser uses of the symbols asked for."""

cimport cython
from cpython.ref cimport PyObject

from crossfeed.native._scan cimport cf_at

cdef enum:
    NAME_MAX = 64       # bytes of a symbol


cdef struct Name:
    PyObject *key
    const char *text
    Py_ssize_t size


@cython.final
cdef class Names:
    cdef object symbols
    cdef Name *names
    cdef int count
    cdef PyObject *find(self, cf_at text, Py_ssize_t size, PyObject **key) noexcept
    cdef int _learn(self, Name *name, cf_at text, Py_ssize_t size) noexcept
