# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Symbols as sent → what is asked for. The texts that were met are remembered as `str` objects."""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from crossfeed.native._python cimport (
    Py_DECREF_, Py_XDECREF_, PyDict_GetItem_, PyErr_Clear, PyUnicode_AsUTF8_, PyUnicode_New_,
)
from crossfeed.native._scan cimport cf_at

__all__ = ["Names"]

cdef enum:
    NAMES = 4096        # a power of two
    NAMES_KEPT = 3000


@cython.final
cdef class Names:
    """The symbols of one connection.

    Args:
        symbols: Venue symbol as sent -> (venue symbol, unified); read live.
    """

    def __init__(self, dict symbols):
        self.symbols = symbols
        self.names = <Name *> PyMem_Calloc(NAMES, sizeof(Name))
        if self.names == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int at
        if self.names != NULL:
            for at in range(NAMES):
                Py_XDECREF_(self.names[at].key)
        PyMem_Free(self.names)

    cdef PyObject *find(self, cf_at text, Py_ssize_t size, PyObject **key) noexcept:
        """Return what a symbol stands for, NULL if it was not asked for.

        `size` is at most NAME_MAX. Both the result and `key`, the symbol as `str`, are borrowed: the
        result until Python runs, the key from here.
        """
        cdef uint64_t hashed = 1469598103934665603ULL
        cdef Name *name
        cdef Py_ssize_t at
        for at in range(size):
            hashed = (hashed ^ text[at]) * 1099511628211ULL
        hashed ^= hashed >> 32
        name = &self.names[hashed & (NAMES - 1)]
        while name.key != NULL and (name.size != size or memcmp(name.text, text, size) != 0):
            name = &self.names[(name - self.names + 1) & (NAMES - 1)]
        if name.key == NULL and not self._learn(name, text, size):
            return NULL
        key[0] = name.key
        return PyDict_GetItem_(self.symbols, <object> name.key)

    cdef int _learn(self, Name *name, cf_at text, Py_ssize_t size) noexcept:
        cdef PyObject *key
        if self.count >= NAMES_KEPT:
            return 0
        key = PyUnicode_New_(<const char *> text, size)
        if key == NULL:
            PyErr_Clear()
            return 0
        # ASCII only, so the text of the str object is its UTF-8.
        name.text = PyUnicode_AsUTF8_(key)
        if name.text == NULL:
            PyErr_Clear()
            Py_DECREF_(key)
            return 0
        self.count += 1
        name.key = key
        name.size = size
        return 1
