# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One frame's JSON, read by the table of its route into a draft.

Every method takes the position of a value and returns the one behind it, or NULL to decline. Any order
of keys is right; the one that a table met before is fast.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from cpython.set cimport PySet_Contains
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp

from crossfeed.native._events cimport Draft, give, put
from crossfeed.native._names cimport NAME_MAX, Names
from crossfeed.native._python cimport (
    FALSE, NONE, TRUE, Py_XDECREF_, PyFloat_FromDouble_, PyLong_FromLongLong_, PyUnicode_New_,
)
from crossfeed.native._rows cimport add, read_rows, read_side
from crossfeed.native._scan cimport (
    cf_at, cf_behind, cf_integer, cf_next_item, cf_number, cf_skip, cf_space, cf_string, cf_text, cf_time,
    cf_word,
)
from crossfeed.native._tables cimport (
    BOOL, BOOL_WORD, CHECK_INT, CHECK_TEXT, FLAG, INT, INT_WORD, ISO, ITEMS, LEVEL_PRICE, LEVEL_SIDE,
    LEVELS, NUM, OBJECT, PAIRS, SEQUENCE, SIDED, SYMBOL, TEXT, TIME, WORD, Field, Table, Tables, Word,
    find_key, find_number, find_word, is_within,
)

__all__ = ["Parser"]


@cython.final
cdef class Parser:
    """Reads the frames of one connection.

    Args:
        tables: What its messages look like.
        names: The symbols asked for.
        draft: Takes what is read.
    """

    def __init__(self, Tables tables, Names names, Draft draft):
        self.owner, self.names, self.draft = tables, names, draft
        self.tables = tables.tables
        self.values = draft.values

    def __dealloc__(self):
        Py_XDECREF_(self.number)

    cdef bint parse(self, bytes frame, int root) noexcept:
        """Read a whole frame; false to decline it, then `code` says why."""
        cdef cf_at p = <cf_at> PyBytes_AS_STRING(frame)
        cdef cf_at end = p + PyBytes_GET_SIZE(frame)
        self.end = end
        self.code = BAD_SHAPE
        p = cf_space(p, end)
        if p >= end or p[0] != c'{':
            return False
        p = self._object(p + 1, root)
        return p != NULL and cf_space(p, end) == end

    # ── one object ───────────────────────────────────────────────────────────

    cdef cf_at _object(self, cf_at p, int number) noexcept:
        """Read an object behind its brace; return the position behind the closing one."""
        cdef Table *table = &self.tables[number]
        cdef cf_at end = self.end
        cdef cf_at key
        cdef uint64_t seen = 0
        cdef uint64_t bit
        cdef int at = 0
        cdef int size
        cdef int found
        cdef int is_over
        cdef Field *field
        p = cf_space(p, end)
        if p < end and p[0] == c'}':
            return self._complete(p + 1, table, seen)
        while True:
            if p >= end or p[0] != c'"':
                return NULL
            key = p + 1
            if (
                at < table.learned
                and end - key > table.order[at].size
                and key[table.order[at].size] == c'"'
                and memcmp(key, table.order[at].key, table.order[at].size) == 0
            ):
                found = table.order[at].field
                p = key + table.order[at].size + 1
            else:
                p = cf_string(key, end, 0)
                if p == NULL:
                    return NULL
                size = <int> (p - key)
                found = find_key(table, key, size, at)
                p += 1
            at += 1
            p = cf_behind(p, end, c':')
            if p == NULL:
                return NULL
            if found < 0:
                p = cf_skip(p, end)
            else:
                field = &table.fields[found]
                bit = (<uint64_t> 1) << found
                if seen & bit:
                    return NULL
                if field.kind >= OBJECT and field.kind <= ITEMS and (seen & table.outer) != table.outer:
                    self.code = BAD_ORDER
                    return NULL
                seen |= bit
                p = self._value(p, field)
            if p == NULL:
                return NULL
            p = cf_next_item(p, end, c'}', &is_over)
            if p == NULL:
                return NULL
            if is_over:
                return self._complete(p, table, seen)

    cdef cf_at _complete(self, cf_at p, Table *table, uint64_t seen) noexcept:
        """Fill what was absent; make the event if this object is one."""
        cdef int bit
        cdef Field *field
        if (seen & table.required) != table.required:
            return NULL
        if seen != (((<uint64_t> 1) << table.count) - 1):
            for bit in range(table.count):
                if not (seen >> bit) & 1:
                    field = &table.fields[bit]
                    if field.absent != NULL:
                        put(self.values, field.slot, field.absent)
                    elif field.slot >= 0:
                        return NULL
        if table.is_leaf and not self.draft.emit():
            return NULL
        return p

    cdef cf_at _items(self, cf_at p, int child) noexcept:
        """Read an array of objects."""
        cdef cf_at end = self.end
        cdef int is_over
        if p[0] != c'[':
            return NULL
        p = cf_space(p + 1, end)
        if p < end and p[0] == c']':
            return p + 1
        while True:
            if p >= end or p[0] != c'{':
                return NULL
            p = self._object(p + 1, child)
            if p == NULL:
                return NULL
            p = cf_next_item(p, end, c']', &is_over)
            if p == NULL or is_over:
                return p

    # ── one value ────────────────────────────────────────────────────────────

    cdef cf_at _value(self, cf_at p, Field *field) noexcept:
        """Read a declared value."""
        cdef int kind = field.kind
        if p[0] == c'n':
            return self._null(p, field)
        if kind == NUM:
            return self._number(p, field)
        if kind == INT or kind == TIME or kind == CHECK_INT or kind == SEQUENCE:
            return self._integer(p, field)
        if kind == SYMBOL:
            return self._symbol(p, field)
        if kind == BOOL or kind == BOOL_WORD:
            return self._boolean(p, field)
        if kind == ISO:
            return self._time(p, field)
        if kind == WORD or kind == FLAG or kind == TEXT or kind == CHECK_TEXT:
            return self._text(p, field)
        if kind == INT_WORD:
            return self._int_word(p, field)
        if kind == OBJECT:
            return self._object(p + 1, field.child) if p[0] == c'{' else NULL
        if kind == ITEMS:
            return self._items(p, field.child)
        if kind == PAIRS or kind == SIDED:
            return read_rows(&self.draft.rows, p, self.end, field)
        if kind == LEVELS:
            return self._level_objects(p, field)
        return self._level_part(p, field)

    cdef cf_at _null(self, cf_at p, Field *field) noexcept:
        if not field.is_nullable:
            return NULL
        p = cf_word(p, self.end, b"null", 4)
        if p != NULL and field.slot >= 0:
            if field.absent == NULL:
                return NULL
            put(self.values, field.slot, field.absent)
        return p

    cdef cf_at _number(self, cf_at p, Field *field) noexcept:
        cdef double number
        p = cf_number(p, self.end, &number)
        if p == NULL or not is_within(number, field.low, field.is_low_open, field.high):
            return NULL
        if field.slot < 0:
            return p
        if field.has_zero_none and number == 0.0:
            put(self.values, field.slot, NONE)
            return p
        return p if give(self.values, field.slot, PyFloat_FromDouble_(number)) else NULL

    cdef cf_at _integer(self, cf_at p, Field *field) noexcept:
        cdef int64_t value
        p = cf_integer(p, self.end, &value)
        if p == NULL or value < field.int_low or value > field.int_high:
            return NULL
        if field.kind == CHECK_INT:
            return p
        if field.kind == SEQUENCE:
            Py_XDECREF_(self.number)
            self.number = PyLong_FromLongLong_(value)
            return p
        if field.has_zero_none and value < 0:
            put(self.values, field.slot, NONE)
            return p
        if field.kind == TIME or field.factor != 1:
            # The bounds keep the product within 63 bits.
            value = (value + field.add) * field.factor
        return p if give(self.values, field.slot, PyLong_FromLongLong_(value)) else NULL

    cdef cf_at _time(self, cf_at p, Field *field) noexcept:
        """Read a time written as text."""
        cdef cf_at stop = cf_text(p, self.end)
        cdef int64_t time_ns
        if stop == NULL or not cf_time(p + 1, stop, &self.day, &time_ns):
            return NULL
        return stop + 1 if give(self.values, field.slot, PyLong_FromLongLong_(time_ns)) else NULL

    cdef cf_at _symbol(self, cf_at p, Field *field) noexcept:
        """Look a symbol up among those asked for."""
        cdef cf_at stop = cf_text(p, self.end)
        cdef Py_ssize_t size
        cdef PyObject *key
        cdef PyObject *pair
        if stop == NULL:
            return NULL
        p += 1
        size = stop - p
        if size == 0 or size > NAME_MAX:
            return NULL
        pair = self.names.find(p, size, &key)
        if pair == NULL or (field.among != NULL and not self._is_among(field, pair)):
            self.code = NO_SYMBOL
            return NULL
        self.draft.key, self.draft.pair = key, pair
        put(self.values, field.slot, PyTuple_GET_ITEM(<object> pair, 0))
        put(self.values, field.slot_other, PyTuple_GET_ITEM(<object> pair, 1))
        return stop + 1

    cdef bint _is_among(self, Field *field, PyObject *pair) noexcept:
        """Say whether a symbol is one of those whose messages are read here."""
        return PySet_Contains(<object> field.among, <object> PyTuple_GET_ITEM(<object> pair, 0)) == 1

    cdef cf_at _boolean(self, cf_at p, Field *field) noexcept:
        cdef cf_at stop = cf_word(p, self.end, b"true", 4)
        cdef bint value = stop != NULL
        if not value:
            stop = cf_word(p, self.end, b"false", 5)
            if stop == NULL:
                return NULL
        if field.kind == BOOL_WORD:
            return self._word_of(stop, field, value)
        put(self.values, field.slot, TRUE if value else FALSE)
        return stop

    cdef cf_at _int_word(self, cf_at p, Field *field) noexcept:
        cdef int64_t number
        p = cf_integer(p, self.end, &number)
        if p == NULL:
            return NULL
        return self._word_of(p, field, number)

    cdef cf_at _word_of(self, cf_at p, Field *field, int64_t number) noexcept:
        """Keep what a number stands for."""
        cdef Word *word = find_number(field, number)
        if word == NULL:
            return NULL
        put(self.values, field.slot, word.value)
        return p

    cdef cf_at _text(self, cf_at p, Field *field) noexcept:
        """Read a text, or a word of those that the field knows."""
        cdef cf_at stop = cf_text(p, self.end)
        cdef Word *word
        if stop == NULL:
            return NULL
        p += 1
        if field.word_count:
            word = find_word(field, p, stop - p)
            if word == NULL:
                return NULL
            if field.kind == FLAG:
                self.draft.is_first = word.number
            elif field.slot >= 0:
                put(self.values, field.slot, word.value)
            return stop + 1
        if field.kind == CHECK_TEXT:
            return stop + 1
        return stop + 1 if give(self.values, field.slot, PyUnicode_New_(<const char *> p, stop - p)) else NULL

    # ── levels written as objects ────────────────────────────────────────────

    cdef cf_at _level_objects(self, cf_at p, Field *field) noexcept:
        """Read `[{price, size}, ...]`, with a side each or all of one."""
        cdef cf_at end = self.end
        cdef int side = field.side
        cdef int is_over
        if p[0] != c'[':
            return NULL
        p = cf_space(p + 1, end)
        if p < end and p[0] == c']':
            return p + 1
        while True:
            if p >= end or p[0] != c'{':
                return NULL
            p = self._object(p + 1, field.child)
            if p == NULL:
                return NULL
            if field.slot_other >= 0:
                side = self.level_side
            if not add(&self.draft.rows, side, self.level_price, self.level_size):
                return NULL
            p = cf_next_item(p, end, c']', &is_over)
            if p == NULL or is_over:
                return p

    cdef cf_at _level_part(self, cf_at p, Field *field) noexcept:
        """Read one part of a level."""
        cdef double number
        if field.kind == LEVEL_SIDE:
            return read_side(p, self.end, field, &self.level_side)
        p = cf_number(p, self.end, &number)
        if p == NULL or not is_within(number, field.low, field.is_low_open, field.high):
            return NULL
        if field.kind == LEVEL_PRICE:
            self.level_price = number
        else:
            self.level_size = number
        return p
