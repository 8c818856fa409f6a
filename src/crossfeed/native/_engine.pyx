# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Frames → events by tables. Accepts what is plainly right, declines the rest; raises nothing.

An `Engine` serves one connection. It is given tables made from a venue's declarations
(`crossfeed.runtime.native_tables`) and the dict of symbols asked for, and keeps scratch values and
the order in which it met the keys of a message: any order is right, the usual one is fast.

Rule: what it accepts, the pure decoder accepts with equal events. A message is taken whole or not at
all: nothing is handed out before its last byte was checked.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from crossfeed.native._ladder cimport Row

__all__ = ["CODES", "Engine"]

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(object callable, PyObject **args, size_t count, PyObject *names)
    void PyErr_Clear()
    void PyObject_GC_UnTrack(PyObject *value)
    PyObject *PyList_GET_ITEM_ "PyList_GET_ITEM" (object owner, Py_ssize_t at)
    PyObject *NONE "Py_None"
    PyObject *Py_True_ "Py_True"
    PyObject *Py_False_ "Py_False"
    PyObject *PyDict_GetItem_ "PyDict_GetItem" (object mapping, object key)
    PyObject *PyLong_FromLongLong_ "PyLong_FromLongLong" (long long value)
    PyObject *PyFloat_FromDouble_ "PyFloat_FromDouble" (double value)
    PyObject *PyUnicode_New_ "PyUnicode_FromStringAndSize" (const char *text, Py_ssize_t size)
    PyObject *PyList_New_ "PyList_New" (Py_ssize_t size)
    PyObject *PyTuple_New_ "PyTuple_New" (Py_ssize_t size)
    void PyTuple_SET_ITEM_ "PyTuple_SET_ITEM" (PyObject *owner, Py_ssize_t at, PyObject *value)
    void PyList_SET_ITEM_ "PyList_SET_ITEM" (PyObject *owner, Py_ssize_t at, PyObject *value)
    void Py_INCREF_ "Py_INCREF" (PyObject *value)
    void Py_DECREF_ "Py_DECREF" (PyObject *value)
    void Py_XDECREF_ "Py_XDECREF" (PyObject *value)

cdef extern from "_scan.h":
    cf_at cf_space(cf_at p, cf_at end) nogil
    cf_at cf_string(cf_at p, cf_at end, int is_any) nogil
    cf_at cf_number(cf_at p, cf_at end, double *value)
    cf_at cf_integer(cf_at p, cf_at end, int64_t *value) nogil
    cf_at cf_word(cf_at p, cf_at end, const char *word, int size) nogil
    cf_at cf_skip(cf_at p, cf_at end) nogil
    int cf_time(cf_at p, cf_at end, cf_day *day, int64_t *ns) nogil


# Arguments that are known only per frame have slot numbers of their own: SLOT_*.
# Kinds of fields; the same numbers stand in `native_tables`.
cdef enum:
    CHECK_INT, CHECK_TEXT, NUM, INT, TIME, ISO, BOOL, WORD, INT_WORD, BOOL_WORD, TEXT, SYMBOL
    FLAG, PAIRS, SIDED, LEVELS, OBJECT, ITEMS, LEVEL_PRICE, LEVEL_SIZE, LEVEL_SIDE, SEQUENCE

CODES = ("accepted", "route", "shape", "symbol", "order")
"""Why a message was declined, by the number in `Engine.code`."""

cdef enum:
    ACCEPTED, NO_ROUTE, BAD_SHAPE, NO_SYMBOL, BAD_ORDER


cdef class Made:
    """How the values of a route become the arguments of its event class."""

    def __init__(self, object event, tuple arguments):
        """Take the class and for each argument a slot number, or (value,) for a fixed one."""
        cdef int at
        self.event = event
        self.fixed = arguments
        self.count = len(arguments)
        for at, argument in enumerate(arguments):
            if isinstance(argument, tuple):
                self.source[at] = -1
                self.constant[at] = PyTuple_GET_ITEM(argument, 0)
            else:
                self.source[at] = argument
                self.constant[at] = NULL
        names = event.__struct_fields__
        # A change of a book can be applied without being made: see `Engine.build`.
        self.is_delta = {"bids", "asks", "first", "last", "previous", "checksum"} <= set(names)
        self.bids_slot = self.source[names.index("bids")] if "bids" in names else -1
        self.asks_slot = self.source[names.index("asks")] if "asks" in names else -1

    cdef int place(self, str name) except -2:
        """Return where the class has the argument `name`, -1 if nowhere."""
        names = self.event.__struct_fields__
        return names.index(name) if name in names else -1


@cython.final
cdef class Engine:
    """Decodes the frames of one connection.

    Args:
        spec: Tables, as `native_tables.engine_spec` makes them.
        symbols: Venue symbol as sent -> (venue symbol, unified); read live.
        guess: Finds the beginning of a frame that names its route.
        keep_raw: Whether events keep their frame.

    Attributes:
        code: Why the last frame was declined: an index into `CODES`.
        sequence: Number of the last accepted frame, where the venue numbers all frames; else None.
        accepted: Frames accepted so far.
        declined: Frames declined so far, by code.
    """

    def __cinit__(self):
        self.tables = NULL
        self.heads = NULL
        self.names = NULL
        self.number = NULL
        self.rows[0] = self.rows[1] = NULL
        self.key = self.pair = NULL

    def __init__(self, dict spec, dict symbols, object guess, *, bint keep_raw=True):
        """Copy the tables. Raises ValueError where they are larger than what this was built for."""
        self.symbols = symbols
        self.guess = guess
        self.keep_raw = keep_raw
        self.kept = spec
        self.by_groups = {}
        self.plain, self.first = [], []
        self.declined = [0] * len(CODES)
        self.accepted = 0
        self.quotes = 0
        self.code = ACCEPTED
        self.has_sequence = spec["has_sequence"]
        tables = spec["tables"]
        self.table_count = len(tables)
        self.tables = <Table *> PyMem_Calloc(max(len(tables), 1), sizeof(Table))
        self.heads = <Head *> PyMem_Calloc(HEADS, sizeof(Head))
        self.names = <Name *> PyMem_Calloc(NAMES, sizeof(Name))
        if self.tables == NULL or self.heads == NULL or self.names == NULL:
            raise MemoryError
        for number, table in enumerate(tables):
            self._fill_table(&self.tables[number], table)
        if len(spec["routes"]) > 64:
            raise ValueError("too many routes")
        if len(tables) > TABLES_MAX:
            raise ValueError("too many tables")
        for number, (groups, root, plain, first) in enumerate(spec["routes"]):
            self.roots[number] = root
            self.plain.append(Made(*plain))
            self.first.append(None if first is None else Made(*first))
            self.by_groups[groups] = number

    cdef int _fill_table(self, Table *table, dict spec) except -1:
        cdef Field *field
        cdef int bit
        if len(spec["fields"]) > FIELDS_MAX:
            raise ValueError("too many fields")
        table.is_leaf = spec["is_leaf"]
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
            # The spec is kept alive by `kept`, and so are these.
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
        table.count = len(spec["fields"])
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

    def __dealloc__(self):
        cdef int at, bit
        for at in range(SLOTS_MAX):
            Py_XDECREF_(self.values[at])
        Py_XDECREF_(self.number)
        if self.names != NULL:
            for at in range(NAMES):
                Py_XDECREF_(self.names[at].key)
        if self.heads != NULL:
            for at in range(HEADS):
                PyMem_Free(self.heads[at].text)
        if self.tables != NULL:
            for at in range(self.table_count):
                for bit in range(self.tables[at].count):
                    PyMem_Free(self.tables[at].fields[bit].words)
        PyMem_Free(self.tables)
        PyMem_Free(self.heads)
        PyMem_Free(self.names)
        PyMem_Free(self.rows[0])
        PyMem_Free(self.rows[1])

    @property
    def sequence(self):
        """Number of the last accepted frame, None where it has none."""
        return None if self.number == NULL else <object> self.number

    def decode(self, bytes frame, object ts_recv_ns, object ts_mono_ns):
        """Decode one frame; return its events, or None to decline."""
        return self.collect() if self.run(frame, ts_recv_ns, ts_mono_ns, False) else None

    cdef int run(self, bytes frame, object ts_recv_ns, object ts_mono_ns, bint is_lazy) except -1:
        """Decode one frame into `one`, `more` or `unmade`; return whether it was accepted.

        With `is_lazy` the only event of a frame, if it is an update of a book, is left unmade: its
        levels are in `rows`, its other values in their slots, until the next run.
        """
        cdef cf_at p = <cf_at> PyBytes_AS_STRING(frame)
        cdef int route = self._route(p, p + PyBytes_GET_SIZE(frame), frame)
        cdef int accepted
        if route < 0:
            return self._decline(NO_ROUTE)
        accepted = self._parse(frame, ts_recv_ns, ts_mono_ns, route, is_lazy)
        if not accepted and self.has_second:
            accepted = self._parse(frame, ts_recv_ns, ts_mono_ns, route, False)
        if not accepted:
            return self._decline(self.code)
        self.code = ACCEPTED
        self.accepted += 1
        return 1

    cdef int _parse(
        self, bytes frame, object ts_recv_ns, object ts_mono_ns, int route, bint is_lazy
    ) except -1:
        cdef cf_at p = <cf_at> PyBytes_AS_STRING(frame)
        cdef cf_at end = p + PyBytes_GET_SIZE(frame)
        cdef PyObject *first = PyList_GET_ITEM_(self.first, route)
        self.end = end
        self.code = BAD_SHAPE
        self.plain_made = <Made> PyList_GET_ITEM_(self.plain, route)
        self.first_made = self.plain_made if first == NONE else <Made> first
        self.is_first = self.has_second = False
        self.is_lazy = is_lazy
        self.index = 0
        self.row_count[0] = self.row_count[1] = 0
        self.price_most = self.size_most = 0.0
        self.one = self.more = self.unmade = None
        self.key = self.pair = NULL
        self._put(SLOT_RECV, <PyObject *> ts_recv_ns)
        self._put(SLOT_MONO, <PyObject *> ts_mono_ns)
        self._put(SLOT_RAW, <PyObject *> (frame if self.keep_raw else None))
        p = cf_space(p, end)
        if p < end and p[0] == c'{':
            p = self._object(p + 1, self.roots[route])
        else:
            p = NULL
        if p == NULL or cf_space(p, end) != end:
            self.one = self.more = self.unmade = None
            return 0
        return 1

    cdef list collect(self):
        """Return the events of the last frame."""
        if self.unmade is not None:
            return [self.build()]
        if self.more is not None:
            return self.more
        return [] if self.one is None else [self.one]

    cdef PyObject *argument(self, Made made, int place) noexcept:
        """Return an argument of the newest event (borrowed), NULL where it has none."""
        if place < 0:
            return NULL
        return made.constant[place] if made.source[place] < 0 else self.values[made.source[place]]

    cdef object build(self):
        """Make the update that was left unmade.

        Raises:
            MemoryError: There is no memory for it.
        """
        cdef PyObject *event = self._make(self.unmade)
        if event == NULL:
            raise MemoryError
        made = <object> event
        Py_DECREF_(event)
        return made

    cdef object again(self, bytes frame, tuple symbol, object ts_recv_ns, object ts_mono_ns):
        """Make the one event of a frame that was accepted before, whatever is asked for now.

        `symbol`: its symbol as sent, and what that stood for.
        """
        cdef cf_at p = <cf_at> PyBytes_AS_STRING(frame)
        cdef PyObject *number = self.number
        cdef object symbols = self.symbols
        cdef int code = self.code
        self.number = NULL
        self.symbols = {symbol[0]: symbol[1]}
        accepted = self._parse(
            frame, ts_recv_ns, ts_mono_ns, self._route(p, p + PyBytes_GET_SIZE(frame), frame), False
        )
        Py_XDECREF_(self.number)
        self.number = number
        self.symbols = symbols
        self.code = code
        assert accepted and self.more is None, "accepted once, accepted again"
        made, self.one = self.one, None
        return made

    cdef int _decline(self, int code):
        self.code = code
        self.declined[code] += 1
        return 0

    cdef inline void _put(self, int slot, PyObject *value) noexcept:
        """Keep a borrowed value."""
        cdef PyObject *old = self.values[slot]
        Py_INCREF_(value)
        self.values[slot] = value
        Py_XDECREF_(old)

    cdef inline int _give(self, int slot, PyObject *value) noexcept:
        """Keep a new value; false if making it failed."""
        cdef PyObject *old = self.values[slot]
        if value == NULL:
            PyErr_Clear()
            return 0
        self.values[slot] = value
        Py_XDECREF_(old)
        return 1

    # ── which sort of message ────────────────────────────────────────────────

    cdef int _route(self, cf_at p, cf_at end, bytes frame) except -2:
        """Find the route by how the frame begins, as far as the pure decoder's guess looks."""
        cdef cf_at at = p
        cdef cf_at last = end
        cdef int quotes = self.quotes
        cdef uint64_t hashed = 1469598103934665603ULL
        cdef uint64_t word
        cdef int size
        cdef Head *head
        if last - p > HEAD_MAX:
            last = p + HEAD_MAX
        if quotes:
            while at < last:
                if at[0] == c'"':
                    quotes -= 1
                    if quotes == 0:
                        break
                at += 1
            if quotes == 0:
                size = <int> (at + 1 - p)
                at = p
                while end - at >= 8 and at + 8 <= p + size:
                    memcpy(&word, at, 8)
                    hashed = (hashed ^ word) * 0x9E3779B97F4A7C15ULL
                    hashed ^= hashed >> 29
                    at += 8
                while at < p + size:
                    hashed = (hashed ^ at[0]) * 0x9E3779B97F4A7C15ULL
                    at += 1
                hashed ^= hashed >> 32
                head = &self.heads[hashed & (HEADS - 1)]
                while head.size:
                    if head.hashed == hashed and head.size == size and memcmp(head.text, p, size) == 0:
                        return head.route
                    head = &self.heads[(head - self.heads + 1) & (HEADS - 1)]
                return self._learn(frame, head, hashed, size)
        return self._learn(frame, NULL, 0, 0)

    cdef int _learn(self, bytes frame, Head *head, uint64_t hashed, int size) except -2:
        """Ask the guess itself; remember the beginning if the guess looked at nothing beyond."""
        found = self.guess.match(frame)
        if found is None:
            return -1
        route = self.by_groups.get(found.groups(), -1)
        # What does not end with a quotation mark may have looked one byte ahead.
        needed = found.end()
        if not found.group(0).endswith(b'"'):
            needed += 1
        quotes = frame.count(b'"', 0, needed)
        if frame[needed - 1:needed] != b'"':
            quotes += 1
        if quotes > self.quotes:
            self.quotes = quotes
        elif head != NULL and size >= needed and self.head_count < HEADS_KEPT:
            head.text = <unsigned char *> PyMem_Calloc(size, 1)
            if head.text != NULL:
                memcpy(head.text, PyBytes_AS_STRING(frame), size)
                head.hashed, head.size, head.route = hashed, size, route
                self.head_count += 1
        return route

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
                found = self._find(table, key, size, at)
                p += 1
            at += 1
            p = cf_space(p, end)
            if p >= end or p[0] != c':':
                return NULL
            p = cf_space(p + 1, end)
            if p >= end:
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
            p = cf_space(p, end)
            if p >= end:
                return NULL
            if p[0] == c',':
                p = cf_space(p + 1, end)
                continue
            if p[0] != c'}':
                return NULL
            return self._complete(p + 1, table, seen)

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
                        self._put(field.slot, field.absent)
                    elif field.slot >= 0:
                        return NULL
        if table.is_leaf and not self._emit():
            return NULL
        return p

    cdef int _find(self, Table *table, cf_at key, int size, int at) noexcept:
        """Find a key among the fields, and learn its place."""
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

    cdef int _emit(self) noexcept:
        """Make one event of the values, or leave it unmade."""
        cdef Made made = self.first_made if self.is_first else self.plain_made
        cdef PyObject *event
        self.made = made
        if self.index == 0:
            if self.is_lazy and made.is_delta:
                self.unmade = made
                self.index = 1
                return 1
        elif self.unmade is not None:
            self.has_second = True
            return 0
        event = self._make(made)
        if event == NULL:
            return 0
        try:
            if self.index == 0:
                self.one = <object> event
            elif self.more is None:
                self.more = [self.one, <object> event]
                self.one = None
            else:
                self.more.append(<object> event)
        except MemoryError:
            return 0
        finally:
            Py_DECREF_(event)
        self.index += 1
        return 1

    cdef PyObject *_make(self, Made made) noexcept:
        """Call the event's class; NULL if that failed."""
        cdef PyObject *arguments[SLOTS_MAX + 1]
        cdef int at
        cdef int source
        cdef PyObject *event
        if not self._give(SLOT_INDEX, PyLong_FromLongLong_(self.index if self.unmade is None else 0)):
            return NULL
        if made.bids_slot >= 0 and not self._give(
            made.bids_slot, _levels_of(self.rows[0], self.row_count[0])
        ):
            return NULL
        if made.asks_slot >= 0 and not self._give(
            made.asks_slot, _levels_of(self.rows[1], self.row_count[1])
        ):
            return NULL
        for at in range(2):
            self.row_count[at] = 0
            if self.row_room[at] > ROWS_KEPT:
                PyMem_Free(self.rows[at])
                self.rows[at] = NULL
                self.row_room[at] = 0
        for at in range(made.count):
            source = made.source[at]
            arguments[at + 1] = made.constant[at] if source < 0 else self.values[source]
            if arguments[at + 1] == NULL:
                return NULL
        event = PyObject_Vectorcall(made.event, &arguments[1], made.count, NULL)
        if event == NULL:
            PyErr_Clear()
        return event

    # ── one value ────────────────────────────────────────────────────────────

    cdef cf_at _value(self, cf_at p, Field *field) noexcept:
        """Read a declared value; NULL declines."""
        cdef cf_at end = self.end
        cdef double number
        cdef int64_t integer
        cdef cf_at stop
        cdef int kind = field.kind
        if p[0] == c'n':
            if not field.is_nullable:
                return NULL
            p = cf_word(p, end, b"null", 4)
            if p != NULL and field.slot >= 0:
                if field.absent == NULL:
                    return NULL
                self._put(field.slot, field.absent)
            return p
        if kind == NUM:
            p = cf_number(p, end, &number)
            if p == NULL or not _is_within(number, field.low, field.is_low_open, field.high):
                return NULL
            if field.has_zero_none and number == 0.0:
                self._put(field.slot, <PyObject *> None)
                return p
            return p if self._give(field.slot, PyFloat_FromDouble_(number)) else NULL
        if kind == INT or kind == TIME or kind == CHECK_INT or kind == SEQUENCE:
            return self._integer(p, field)
        if kind == SYMBOL:
            return self._symbol(p, field)
        if kind == BOOL or kind == BOOL_WORD:
            return self._boolean(p, field)
        if kind == ISO:
            if p[0] != c'"':
                return NULL
            p += 1
            stop = p
            while stop < end and stop[0] != c'"' and stop - p < 32:
                stop += 1
            if stop >= end or stop[0] != c'"' or not cf_time(p, stop, &self.day, &integer):
                return NULL
            return stop + 1 if self._give(field.slot, PyLong_FromLongLong_(integer)) else NULL
        if kind == WORD or kind == FLAG or kind == TEXT or kind == CHECK_TEXT:
            return self._text(p, field)
        if kind == INT_WORD:
            p = cf_integer(p, end, &integer)
            return NULL if p == NULL else self._int_word(p, field, integer)
        if kind == OBJECT:
            return self._object(p + 1, field.child) if p[0] == c'{' else NULL
        if kind == ITEMS:
            return self._items(p, field.child)
        if kind == PAIRS or kind == SIDED:
            return self._rows(p, field)
        if kind == LEVELS:
            return self._level_objects(p, field)
        return self._level_part(p, field)

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
            self._put(field.slot, <PyObject *> None)
            return p
        if field.kind == TIME or field.factor != 1:
            # The bounds keep the product within 63 bits.
            value = (value + field.add) * field.factor
        return p if self._give(field.slot, PyLong_FromLongLong_(value)) else NULL

    cdef cf_at _symbol(self, cf_at p, Field *field) noexcept:
        """Look a symbol up among those asked for; the last ones are remembered with their text."""
        cdef cf_at stop
        cdef Py_ssize_t size
        cdef uint64_t hashed
        cdef Name *name
        cdef PyObject *pair
        cdef Py_ssize_t at
        if p[0] != c'"':
            return NULL
        p += 1
        stop = cf_string(p, self.end, 0)
        if stop == NULL:
            return NULL
        size = stop - p
        if size == 0 or size > NAME_MAX:
            return NULL
        hashed = 1469598103934665603ULL
        for at in range(size):
            hashed = (hashed ^ p[at]) * 1099511628211ULL
        hashed ^= hashed >> 32
        name = &self.names[hashed & (NAMES - 1)]
        while name.key != NULL and (name.size != size or memcmp(name.text, p, size) != 0):
            name = &self.names[(name - self.names + 1) & (NAMES - 1)]
        if name.key == NULL and not self._learn_name(name, p, size):
            return NULL
        pair = PyDict_GetItem_(self.symbols, <object> name.key)
        if pair == NULL:
            self.code = NO_SYMBOL
            return NULL
        self.key, self.pair = name.key, pair
        self._put(field.slot, PyTuple_GET_ITEM(<object> pair, 0))
        self._put(field.slot_other, PyTuple_GET_ITEM(<object> pair, 1))
        return stop + 1

    cdef int _learn_name(self, Name *name, cf_at p, Py_ssize_t size) noexcept:
        cdef PyObject *text
        if self.name_count >= NAMES_KEPT:
            self.code = NO_SYMBOL
            return 0
        text = PyUnicode_New_(<const char *> p, size)
        if text == NULL:
            PyErr_Clear()
            return 0
        self.name_count += 1
        name.key = text
        # ASCII only, so the text of the str object is its UTF-8.
        name.text = _ascii(<object> text)
        name.size = size
        return 1

    cdef cf_at _boolean(self, cf_at p, Field *field) noexcept:
        cdef cf_at stop = cf_word(p, self.end, b"true", 4)
        cdef int value = stop != NULL
        cdef int at
        if stop == NULL:
            stop = cf_word(p, self.end, b"false", 5)
            if stop == NULL:
                return NULL
        if field.kind == BOOL:
            self._put(field.slot, Py_True_ if value else Py_False_)
            return stop
        for at in range(field.word_count):
            if field.words[at].number == value:
                self._put(field.slot, field.words[at].value)
                return stop
        return NULL

    cdef cf_at _text(self, cf_at p, Field *field) noexcept:
        cdef cf_at stop
        cdef int at
        cdef Py_ssize_t size
        if p[0] != c'"':
            return NULL
        p += 1
        stop = cf_string(p, self.end, 0)
        if stop == NULL:
            return NULL
        size = stop - p
        if field.word_count:
            for at in range(field.word_count):
                if field.words[at].size == size and memcmp(field.words[at].text, p, size) == 0:
                    if field.kind == FLAG:
                        self.is_first = field.words[at].number
                    elif field.slot >= 0:
                        self._put(field.slot, field.words[at].value)
                    return stop + 1
            return NULL
        if field.kind == CHECK_TEXT:
            return stop + 1
        return stop + 1 if self._give(field.slot, PyUnicode_New_(<const char *> p, size)) else NULL

    cdef cf_at _int_word(self, cf_at p, Field *field, int64_t value) noexcept:
        cdef int at
        for at in range(field.word_count):
            if field.words[at].number == value:
                self._put(field.slot, field.words[at].value)
                return p
        return NULL

    cdef cf_at _items(self, cf_at p, int child) noexcept:
        """Read an array of objects."""
        cdef cf_at end = self.end
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
            p = cf_space(p, end)
            if p >= end:
                return NULL
            if p[0] == c']':
                return p + 1
            if p[0] != c',':
                return NULL
            p = cf_space(p + 1, end)

    # ── levels ───────────────────────────────────────────────────────────────

    cdef cf_at _rows(self, cf_at p, Field *field) noexcept:
        """Read `[[price, size], ...]` or `[[side, price, size], ...]`."""
        cdef cf_at end = self.end
        cdef double price, size
        cdef cf_at stop
        cdef int at
        cdef int side = field.side
        if p[0] != c'[':
            return NULL
        p = cf_space(p + 1, end)
        if p < end and p[0] == c']':
            return p + 1
        while True:
            if p >= end or p[0] != c'[':
                return NULL
            p = cf_space(p + 1, end)
            if field.kind == SIDED:
                if p >= end or p[0] != c'"':
                    return NULL
                stop = cf_string(p + 1, end, 0)
                if stop == NULL:
                    return NULL
                side = -1
                for at in range(field.word_count):
                    if field.words[at].size == stop - p - 1 and memcmp(field.words[at].text, p + 1, stop - p - 1) == 0:
                        side = 0 if field.words[at].number else 1
                        break
                if side < 0:
                    return NULL
                p = self._comma(stop + 1)
                if p == NULL:
                    return NULL
            p = cf_number(p, end, &price)
            if p == NULL or not _is_within(price, field.low, field.is_low_open, field.high):
                return NULL
            p = self._comma(p)
            if p == NULL:
                return NULL
            p = cf_number(p, end, &size)
            if p == NULL or not _is_within(size, field.size_low, field.is_size_low_open, field.size_high):
                return NULL
            p = cf_space(p, end)
            if p >= end or p[0] != c']' or not self._add_row(side, price, size):
                return NULL
            p = cf_space(p + 1, end)
            if p >= end:
                return NULL
            if p[0] == c']':
                return p + 1
            if p[0] != c',':
                return NULL
            p = cf_space(p + 1, end)

    cdef inline cf_at _comma(self, cf_at p) noexcept:
        p = cf_space(p, self.end)
        if p >= self.end or p[0] != c',':
            return NULL
        return cf_space(p + 1, self.end)

    cdef cf_at _level_objects(self, cf_at p, Field *field) noexcept:
        """Read `[{price, size}, ...]`, with a side each or all of one."""
        cdef cf_at end = self.end
        cdef int side = field.side
        if p[0] != c'[':
            return NULL
        p = cf_space(p + 1, end)
        if p < end and p[0] == c']':
            return p + 1
        while True:
            if p >= end or p[0] != c'{':
                return NULL
            self.level_side = 1
            p = self._object(p + 1, field.child)
            if p == NULL:
                return NULL
            if field.slot_other >= 0:
                side = 0 if self.level_side else 1
            if not self._add_row(side, self.level_price, self.level_size):
                return NULL
            p = cf_space(p, end)
            if p >= end:
                return NULL
            if p[0] == c']':
                return p + 1
            if p[0] != c',':
                return NULL
            p = cf_space(p + 1, end)

    cdef cf_at _level_part(self, cf_at p, Field *field) noexcept:
        """Read one part of an object level."""
        cdef double number
        cdef cf_at stop
        cdef int at
        if field.kind == LEVEL_SIDE:
            if p[0] != c'"':
                return NULL
            stop = cf_string(p + 1, self.end, 0)
            if stop == NULL:
                return NULL
            for at in range(field.word_count):
                if field.words[at].size == stop - p - 1 and memcmp(field.words[at].text, p + 1, stop - p - 1) == 0:
                    self.level_side = field.words[at].number
                    return stop + 1
            return NULL
        p = cf_number(p, self.end, &number)
        if p == NULL or not _is_within(number, field.low, field.is_low_open, field.high):
            return NULL
        if field.kind == LEVEL_PRICE:
            self.level_price = number
        else:
            self.level_size = number
        return p

    cdef inline int _add_row(self, int side, double price, double size) noexcept:
        cdef Py_ssize_t count = self.row_count[side]
        if count == self.row_room[side] and not self._grow_rows(side):
            return 0
        self.rows[side][count].price = price
        self.rows[side][count].size = size
        self.row_count[side] = count + 1
        if price > self.price_most:
            self.price_most = price
        if size > self.size_most:
            self.size_most = size
        return 1

    cdef int _grow_rows(self, int side) noexcept:
        cdef Py_ssize_t room = max(self.row_room[side] * 2, 64)
        cdef void *grown = PyMem_Realloc(self.rows[side], room * sizeof(Row))
        if grown == NULL:
            return 0
        self.rows[side] = <Row *> grown
        self.row_room[side] = room
        return 1


cdef inline bint _is_within(double value, double low, int is_open, double high) noexcept:
    return value <= high and (value > low if is_open else value >= low)


cdef PyObject *_levels_of(const Row *rows, Py_ssize_t count) noexcept:
    """Return the rows as a new list of (price, size); NULL if there is no memory."""
    cdef PyObject *levels = PyList_New_(count)
    cdef PyObject *pair
    cdef PyObject *price
    cdef PyObject *size
    cdef Py_ssize_t at
    if levels == NULL:
        return NULL
    for at in range(count):
        pair = PyTuple_New_(2)
        price = PyFloat_FromDouble_(rows[at].price)
        size = PyFloat_FromDouble_(rows[at].size)
        if pair == NULL or price == NULL or size == NULL:
            Py_XDECREF_(pair)
            Py_XDECREF_(price)
            Py_XDECREF_(size)
            Py_DECREF_(levels)
            return NULL
        PyTuple_SET_ITEM_(pair, 0, price)
        PyTuple_SET_ITEM_(pair, 1, size)
        # Two floats hold no cycle: the collector need not look at thousands of them.
        PyObject_GC_UnTrack(pair)
        PyList_SET_ITEM_(levels, at, pair)
    return levels


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8(object text) except NULL


cdef const char *_ascii(object text) noexcept:
    try:
        return PyUnicode_AsUTF8(text)
    except Exception:
        return b""
