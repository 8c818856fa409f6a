# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the messages of a venue look like: its declarations, laid out for the parser.

Made from the dicts and tuples of `crossfeed.runtime.native_tables`. A table is an object of a message,
a field one of its keys; a table learns the order in which it met the keys.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from crossfeed.native._scan cimport cf_at

__all__ = ["Tables"]


@cython.final
cdef class Tables:
    """The tables of one connection.

    Args:
        specs: Tables, as `native_tables.engine_spec` makes them. They are kept: values in the
            tables are theirs.
    """

    def __init__(self, list specs):
        """Copy the tables. Raises ValueError where they are larger than what this was built for."""
        if len(specs) > TABLES_MAX:
            raise ValueError("too many tables")
        self.kept = specs
        self.tables = <Table *> PyMem_Calloc(max(len(specs), 1), sizeof(Table))
        if self.tables == NULL:
            raise MemoryError
        for spec in specs:
            self.count += 1
            self._fill(&self.tables[self.count - 1], spec)

    def __dealloc__(self):
        cdef int at, bit
        if self.tables != NULL:
            for at in range(self.count):
                for bit in range(self.tables[at].count):
                    PyMem_Free(self.tables[at].fields[bit].words)
        PyMem_Free(self.tables)

    cdef int _fill(self, Table *table, dict spec) except -1:
        cdef Field *field
        cdef int bit
        if len(spec["fields"]) > FIELDS_MAX:
            raise ValueError("too many fields")
        table.is_leaf = spec["is_leaf"]
        table.count = len(spec["fields"])
        for bit, given in enumerate(spec["fields"]):
            field = &table.fields[bit]
            key = given["key"]
            if len(key) > KEY_MAX:
                raise ValueError(f"key too long: {key!r}")
            memcpy(field.key, PyBytes_AS_STRING(key), len(key))
            field.key_size = len(key)
            field.kind = given["kind"]
            field.slot = given["slot"]
            field.slot_other = given["slot_other"]
            field.side = given["side"]
            field.is_required = given["is_required"]
            field.is_nullable = given["is_nullable"]
            field.has_zero_none = given["has_none"]
            field.among = NULL if given["among"] is None else <PyObject *> given["among"]
            field.absent = NULL if given["absent"] is None else <PyObject *> given["absent"][0]
            field.low, field.is_low_open, field.high = given["bounds"]
            field.size_low, field.is_size_low_open, field.size_high = given["size_bounds"]
            field.int_low, field.int_high = given["int_bounds"]
            field.factor, field.add = given["factor"], given["add"]
            field.child = given["child"]
            self._fill_words(field, given["words"])
            if field.is_required:
                table.required |= (<uint64_t> 1) << bit
            if given["is_outer"]:
                table.outer |= (<uint64_t> 1) << bit
        return 0

    cdef int _fill_words(self, Field *field, tuple words) except -1:
        if not words:
            return 0
        field.words = <Word *> PyMem_Calloc(len(words), sizeof(Word))
        if field.words == NULL:
            raise MemoryError
        for at, (text, number, value) in enumerate(words):
            if len(text) > KEY_MAX:
                raise ValueError(f"word too long: {text!r}")
            memcpy(field.words[at].text, PyBytes_AS_STRING(text), len(text))
            field.words[at].size = len(text)
            field.words[at].number = number
            field.words[at].value = <PyObject *> value[0]
        field.word_count = len(words)
        return 0


cdef int find_key(Table *table, cf_at key, int size, int at) noexcept:
    """Find a key among the fields, -1 if it is none of them, and learn its place `at`."""
    cdef int found = -1
    cdef int number
    for number in range(table.count):
        if table.fields[number].key_size == size and memcmp(table.fields[number].key, key, size) == 0:
            found = number
            break
    if at < ORDER_MAX and at <= table.learned and size <= KEY_MAX:
        memcpy(table.order[at].key, key, size)
        table.order[at].size = size
        table.order[at].field = found
        if at == table.learned:
            table.learned += 1
    return found
