# cython: language_level=3
"""Python's C API on borrowed and counted pointers; a trailing `_` marks what Cython has by objects."""

from cpython.ref cimport PyObject

cdef extern from "Python.h":
    PyObject *NONE "Py_None"
    PyObject *TRUE "Py_True"
    PyObject *FALSE "Py_False"
    PyObject *PyObject_Vectorcall(object callable, PyObject **args, size_t count, PyObject *names)
    PyObject *PyDict_GetItem_ "PyDict_GetItem" (object mapping, object key)
    PyObject *PyFloat_FromDouble_ "PyFloat_FromDouble" (double value)
    PyObject *PyList_GET_ITEM_ "PyList_GET_ITEM" (object owner, Py_ssize_t at)
    PyObject *PyList_New_ "PyList_New" (Py_ssize_t size)
    PyObject *PyLong_FromLongLong_ "PyLong_FromLongLong" (long long value)
    PyObject *PyTuple_New_ "PyTuple_New" (Py_ssize_t size)
    PyObject *PyUnicode_New_ "PyUnicode_FromStringAndSize" (const char *text, Py_ssize_t size)
    const char *PyUnicode_AsUTF8_ "PyUnicode_AsUTF8" (PyObject *text)
    bint PyFloat_CheckExact_ "PyFloat_CheckExact" (PyObject *value)
    double PyFloat_AS_DOUBLE_ "PyFloat_AS_DOUBLE" (PyObject *value)
    bint PyLong_CheckExact_ "PyLong_CheckExact" (PyObject *value)
    long long PyLong_AsLongLongAndOverflow_ "PyLong_AsLongLongAndOverflow" (PyObject *value, int *overflow)
    void PyErr_Clear()
    void PyObject_GC_UnTrack(PyObject *value)
    void PyList_SET_ITEM_ "PyList_SET_ITEM" (PyObject *owner, Py_ssize_t at, PyObject *value)
    void PyTuple_SET_ITEM_ "PyTuple_SET_ITEM" (PyObject *owner, Py_ssize_t at, PyObject *value)
    void Py_INCREF_ "Py_INCREF" (PyObject *value)
    void Py_DECREF_ "Py_DECREF" (PyObject *value)
    void Py_XDECREF_ "Py_XDECREF" (PyObject *value)
