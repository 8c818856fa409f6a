# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The way of a message behind the decoder, its ordinary case: gates, books, dispatch, counters.

The machines that judge a stream stay what they are, in Python. The few of their attributes that every
message touches lie in C, in the classes here that end in `State`; `crossfeed.runtime.native_gates`
puts each of them under its machine as a base class. So there is one truth: the machine reads and
writes the very same numbers. What is ordinary (next in order, sound, within the price band, no
crossing) is done here on them; for anything else nothing has been touched yet, and the event goes to
the machine itself, whole.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from crossfeed.native._engine cimport Engine, Made
from crossfeed.native._ladder cimport Levels

__all__ = [
    "BandState", "BookState", "CounterState", "IdState", "LATEST", "NUMBERED", "OTHER", "OpenState",
    "Path", "StandbyState", "Step", "SubscriptionState", "UPDATES", "WatchedDict",
]

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(object callable, PyObject **args, size_t count, PyObject *names)
    PyObject *PyDict_GetItem_ "PyDict_GetItem" (object mapping, object key)
    PyObject *PyList_GET_ITEM_ "PyList_GET_ITEM" (object owner, Py_ssize_t at)
    PyObject *NONE "Py_None"
    bint PyFloat_CheckExact(PyObject *value)
    double PyFloat_AS_DOUBLE(PyObject *value)
    bint PyLong_CheckExact(PyObject *value)
    long long PyLong_AsLongLongAndOverflow(PyObject *value, int *overflow)
    void Py_DECREF_ "Py_DECREF" (PyObject *value)

cdef enum:
    CELLS = 4096
    PROBES = 8
    SAMPLE_MASK = 7

# How a stream's gate is served here; `native_gates` says it of each.
OTHER = 0
"""Not at all: events go to the gate itself."""
NUMBERED = 1
"""A gate over `IdState`."""
LATEST = 2
"""A gate over `OpenState`."""
UPDATES = 3
"""A gate over `BookState`."""

cdef enum:
    C_OTHER, C_NUMBERED, C_LATEST, C_UPDATES

# How the updates of a book follow each other, as `model.sequencing.Follows` numbers it.
cdef enum:
    FOLLOWS_UNKNOWN, FOLLOWS_NUMBER, FOLLOWS_NAMED, FOLLOWS_ANY


cdef inline bint _integer(PyObject *value, int64_t *number) noexcept:
    """Read an int that fits; false for anything else."""
    cdef int overflow = 0
    if value == NULL or not PyLong_CheckExact(value):
        return False
    number[0] = PyLong_AsLongLongAndOverflow(value, &overflow)
    return overflow == 0


cdef inline bint _is_same(object one, object other) except -1:
    """Say whether two names are equal; they nearly always are the same object."""
    return one is other or one == other


# ── what the machines keep in C ──────────────────────────────────────────────

cdef class CounterState:
    """The counters of a session that every message touches; see `Counters`."""

    cdef public int64_t frames
    cdef public int64_t messages
    cdef public int64_t events
    cdef public int64_t unasked
    cdef public int64_t duplicates


cdef class SubscriptionState:
    """What a `Subscription` is called by, and how often it was."""

    cdef public object push
    cdef public int64_t delivered


cdef class BandState:
    """The inner band of a `PriceBand`."""

    cdef public double inner_low
    cdef public double inner_high
    cdef public int64_t rivals


cdef class IdState:
    """Numbers and newest event of an `IdGate`."""

    cdef int64_t expected
    cdef int64_t next_number_
    cdef object next_wide
    cdef public int64_t _passed
    cdef public object last_event

    def __cinit__(self):
        self.expected = -1

    @property
    def _expected(self):
        return self.expected

    @_expected.setter
    def _expected(self, object number):
        # A number that no 64 bits hold is never expected: each event then takes the long way.
        if not _integer(<PyObject *> number, &self.expected):
            self.expected = -1

    @property
    def _next(self):
        return self.next_number_ if self.next_wide is None else self.next_wide

    @_next.setter
    def _next(self, object number):
        self.next_wide = None if _integer(<PyObject *> number, &self.next_number_) else number


cdef class OpenState:
    """Number and newest event of an `OpenGate`."""

    cdef int64_t newest
    cdef object newest_wide
    cdef public bint _is_plain
    cdef public int64_t _passed
    cdef public object last_event

    @property
    def _newest(self):
        return self.newest if self.newest_wide is None else self.newest_wide

    @_newest.setter
    def _newest(self, object number):
        self.newest_wide = None if _integer(<PyObject *> number, &self.newest) else number


cdef class StandbyState:
    """Who is given out by a `HotStandby`."""

    cdef public object trust
    cdef public object active
    cdef public object _gates
    cdef public object _last

    def gate_of(self, line):
        """Return the gate of one line, None if it is not up."""
        return self._gates.get(line)


cdef class WatchedDict(dict):
    """A dict of which it can be seen that it was cleared (it is cleared before every change)."""

    cdef Py_ssize_t version

    def clear(self):
        """Forget all items."""
        self.version += 1
        dict.clear(self)


cdef class BookState:
    """Where a `BookSync` stands, and the newest update in it.

    That update is made as an event only when somebody asks for it: until then its frame is kept.
    """

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
    cdef object event_
    cdef object applied_
    cdef bint is_event_unmade
    cdef bint is_applied_unmade
    cdef Engine engine
    cdef bytes frame
    cdef tuple symbol
    cdef object ts_recv_ns
    cdef object ts_mono_ns

    @property
    def _top(self):
        return (self.top[0], self.top[1], self.top[2], self.top[3]) if self.has_top else None

    @_top.setter
    def _top(self, object top):
        self.has_top = top is not None
        if top is not None:
            self.top[0], self.top[1], self.top[2], self.top[3] = top

    @property
    def last_event(self):
        if self.is_event_unmade:
            self._make()
        return self.event_

    @last_event.setter
    def last_event(self, object event):
        self.event_ = event
        self.is_event_unmade = False

    @property
    def last_applied(self):
        if self.is_applied_unmade:
            self._make()
        return self.applied_

    @last_applied.setter
    def last_applied(self, object event):
        self.applied_ = event
        self.is_applied_unmade = False

    cdef int _make(self) except -1:
        """Make the update that was only kept as a frame."""
        event = self.engine.again(self.frame, self.symbol, self.ts_recv_ns, self.ts_mono_ns)
        if self.is_event_unmade:
            self.event_ = event
        if self.is_applied_unmade:
            self.applied_ = event
        self.is_event_unmade = self.is_applied_unmade = False
        self.engine = None
        self.frame = None
        return 0

    cdef int take(self, Step step, Cell cell) except -1:
        """Apply the unmade update of the decoder.

        Returns:
            0: it is not ordinary; nothing was changed. 1: done; a quote is in `step.quote` if the
            top moved. 2: applied, and the machine must look at the result: the event is
            `last_event`.
        """
        cdef Engine engine = step.engine
        cdef Made made = cell.made
        cdef Levels levels
        cdef PyObject *checksum
        cdef int64_t number, first
        cdef int64_t expected = 0
        cdef unsigned int found
        cdef double bid, bid_size, ask, ask_size
        if not self._is_plain or self.wants_deltas:
            return 0
        if self.follows == FOLLOWS_NUMBER:
            if not (
                _integer(<PyObject *> self.sequence, &number)
                and _integer(engine.argument(made, cell.first_at), &first)
                and first == number + 1
            ):
                return 0
        elif self.follows == FOLLOWS_NAMED:
            if not (
                _integer(<PyObject *> self.sequence, &number)
                and _integer(engine.argument(made, cell.previous_at), &first)
                and first == number
            ):
                return 0
        elif self.follows != FOLLOWS_ANY:
            return 0
        checksum = engine.argument(made, cell.checksum_at)
        if checksum != NONE:
            if not self.checksum_levels or not _integer(checksum, &expected):
                return 0
        arrays = getattr(self.ladder, "_levels", None)
        if type(arrays) is not Levels:
            return 0
        levels = <Levels> arrays
        if engine.price_most >= levels.price_limit or engine.size_most >= levels.size_limit:
            return 0
        levels.set_rows(engine.rows[0], engine.row_count[0], engine.rows[1], engine.row_count[1])
        if self.depth_limit:
            levels.cut_to(self.depth_limit)
        self.sequence = <object> engine.argument(made, cell.last_at)
        self._updates += 1
        self._applied += 1
        if checksum != NONE and not (
            levels.crc32(
                self.checksum_levels, levels.price_power, levels.size_power, &found
            )
            and found == expected
        ):
            return self._applied_oddly(engine)
        if levels.bids.count == 0 or levels.asks.count == 0:
            if not self.has_top:
                return self._keep(step)
            return self._applied_oddly(engine)
        bid = levels.bids.levels[levels.bids.count - 1].key
        bid_size = levels.bids.levels[levels.bids.count - 1].size
        ask = -levels.asks.levels[levels.asks.count - 1].key
        ask_size = levels.asks.levels[levels.asks.count - 1].size
        if (
            self.has_top
            and bid == self.top[0]
            and bid_size == self.top[1]
            and ask == self.top[2]
            and ask_size == self.top[3]
        ):
            return self._keep(step)
        if (
            bid >= ask
            or not self._crossing.is_calm
            or (
                self._window_min
                and (levels.bids.count < self._window_min or levels.asks.count < self._window_min)
            )
        ):
            return self._applied_oddly(engine)
        self.has_top = True
        self.top[0], self.top[1], self.top[2], self.top[3] = bid, bid_size, ask, ask_size
        if self.wants_quotes:
            step.quote = self._quote(engine, made, step)
        return self._keep(step)

    cdef int _keep(self, Step step) except -1:
        """Keep what the update can be made of."""
        cdef Engine engine = step.engine
        self.frame = step.frame
        self.engine = engine
        if self.symbol is None or <PyObject *> self.symbol[1] != engine.pair:
            self.symbol = (<object> engine.key, <object> engine.pair)
        self.ts_recv_ns, self.ts_mono_ns = step.ts_recv_ns, step.ts_mono_ns
        self.is_event_unmade = self.is_applied_unmade = True
        return 1

    cdef int _applied_oddly(self, Engine engine) except -1:
        event = engine.build()
        self.last_event = event
        self.last_applied = event
        return 2

    cdef object _quote(self, Engine engine, Made made, Step step):
        """As `books.quotes.quote_of`."""
        cdef PyObject *arguments[18]
        cdef PyObject *quote
        cdef int at
        cdef object bid, bid_size, ask, ask_size
        integrity = self.trust.integrity
        bid, bid_size, ask, ask_size = self.top[0], self.top[1], self.top[2], self.top[3]
        for at in range(7):     # exchange .. ts_mono_ns, the same in all events
            arguments[at + 1] = engine.argument(made, at)
        arguments[8] = <PyObject *> step.book_mark
        arguments[9] = <PyObject *> integrity
        arguments[10] = <PyObject *> step.sound
        arguments[11] = NONE
        arguments[12] = <PyObject *> step.zero
        arguments[13] = <PyObject *> bid
        arguments[14] = <PyObject *> bid_size
        arguments[15] = <PyObject *> ask
        arguments[16] = <PyObject *> ask_size
        arguments[17] = <PyObject *> self.sequence
        quote = PyObject_Vectorcall(step.quote_type, &arguments[1], 17, NULL)
        if quote == NULL:
            raise MemoryError
        made_quote = <object> quote
        Py_DECREF_(quote)
        return made_quote


cdef class _Tail:
    """Stands in for a book's gate where the update is in the levels already."""

    cdef readonly object trust
    cdef BookState book

    def admit(self, event, out):
        """Let the machine look at what came out."""
        self.book._conclude(event, out)


# ── one stream on one connection ─────────────────────────────────────────────

@cython.final
cdef class Cell:
    """What is known of the events of one route and symbol, until the table of gates changes."""

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
    cdef int first_at
    cdef int last_at
    cdef int previous_at
    cdef int checksum_at
    # Subscribers by what they are told, as long as the router's table is of this version.
    cdef Py_ssize_t heard_version
    cdef tuple heard
    cdef tuple heard_quotes
    cdef tuple heard_books

    cdef int describe(self, Step step) except -1:
        """Find out how the gate can be served."""
        cdef dict found
        self.kind = C_OTHER
        self.heard_version = -1
        if self.gate is None:
            return 0
        found = step.chain_of(self.gate, self.made.event)
        self.kind = found["kind"]
        if self.kind == C_OTHER:
            return 0
        self.band = found["band"]
        self.standby = found["standby"]
        self.line = found["line"]
        self.told = found["told"]
        self.told_standby = found["told_standby"]
        self.told_line = found["told_line"]
        gate = found["gate"]
        if self.kind == C_NUMBERED:
            self.numbered = gate
        elif self.kind == C_LATEST:
            self.latest = gate
        else:
            self.book = gate
        self.number_at = self.made.place(found["number"]) if found["number"] else -1
        prices = found["prices"]
        self.price_at = self.made.place(prices[0]) if prices else -1
        self.price_other_at = self.made.place(prices[1]) if len(prices) > 1 else -1
        self.first_at = self.made.place("first")
        self.last_at = self.made.place("last")
        self.previous_at = self.made.place("previous")
        self.checksum_at = self.made.place("checksum")
        if (found["number"] and self.number_at < 0) or (prices and self.price_at < 0):
            self.kind = C_OTHER
        return 0

    cdef bint is_in_band(self, Engine engine) noexcept:
        """Say whether the price needs no second look."""
        cdef PyObject *value
        cdef double price
        if self.band is None:
            return True
        value = engine.argument(self.made, self.price_at)
        if value == NULL or not PyFloat_CheckExact(value):
            return False
        price = PyFloat_AS_DOUBLE(value)
        if self.price_other_at >= 0:
            value = engine.argument(self.made, self.price_other_at)
            if value == NULL or not PyFloat_CheckExact(value):
                return False
            price = (price + PyFloat_AS_DOUBLE(value)) * 0.5
        return self.band.inner_low < price < self.band.inner_high and self.band.rivals == 0

    cdef bint is_plain_line(self, Step step, object gate) except -1:
        """Say whether the line before the gate is the one given out, and all is sound."""
        cdef StandbyState standby = self.standby
        if standby is None:
            return True
        return (
            PyDict_GetItem_(standby._gates, self.line) == <PyObject *> gate
            and _is_same(standby.active, self.line)
            and standby.trust.current is step.sound
            and gate.trust.current is step.sound
        )

    cdef bint take(self, Step step, object event) except -1:
        """Let one event pass if it is ordinary; false if it is not, and nothing was changed."""
        cdef Engine engine = step.engine
        cdef int64_t number
        if self.kind == C_NUMBERED:
            if not _integer(engine.argument(self.made, self.number_at), &number):
                return False
            if number != self.numbered.expected or number < 0 or not self.is_in_band(engine):
                return False
            self.numbered.expected = self.numbered.next_number_ = number + 1
            self.numbered.next_wide = None
            self.numbered._passed += 1
            self.numbered.last_event = event
            return True
        if self.kind == C_LATEST:
            if not self.latest._is_plain or not self.is_in_band(engine):
                return False
            if self.number_at >= 0:
                if not _integer(engine.argument(self.made, self.number_at), &number):
                    return False
                if number <= self.latest.newest or self.latest.newest_wide is not None:
                    return False
                if not self.is_plain_line(step, self.latest):
                    return False
                self.latest.newest = number
            elif not self.is_plain_line(step, self.latest):
                return False
            self.latest._passed += 1
            self.latest.last_event = event
            if self.standby is not None:
                self.standby._last = event
            return True
        return False

    cdef int take_update(self, Step step, object out) except -1:
        """Apply the decoder's unmade update: as `BookState.take`; 2: all is done, see `out`."""
        cdef int done
        cdef _Tail tail
        if self.kind != C_UPDATES or not self.is_plain_line(step, self.book):
            return 0
        done = self.book.take(step, self)
        if done == 0:
            return 0
        if done == 2:
            event = self.book.last_event
            if self.standby is None:
                self.book._conclude(event, out)
            else:
                tail = _Tail.__new__(_Tail)
                tail.trust, tail.book = self.book.trust, self.book
                self.standby._admit_plain(tail, event, out)
        elif self.standby is not None and step.quote is not None:
            self.standby._last = step.quote
        if self.told is not None and (
            self.told_standby is None or _is_same(self.told_standby.active, self.told_line)
        ):
            if done == 2:
                out.events.append(self.told.book)
            else:
                step.book = self.told.book
        return done


# ── the way of one message ───────────────────────────────────────────────────

@cython.final
cdef class Step:
    """What `PureCore.feed` does, for frames that the engine accepts; the others go to `slow`.

    Args:
        engine: Decodes.
        core: The pure core: its codec, gates, counters and connection counter are used.
        out_type: Makes empty `Output`s.
        slow: The pure core's own `feed`.
        chain_of: Says how a gate can be served here (`gate_chain.chain_of`).
        constants: The trust SOUND, the class of quotes, and the mark of those from a book.

    Attributes:
        ordinary: Frames that needed nothing but what is done here.
    """

    cdef Engine engine
    cdef object codec
    cdef CounterState counters
    cdef WatchedDict gates
    cdef Py_ssize_t version
    cdef object counter
    cdef object out_type
    cdef object slow
    cdef object chain_of
    cdef object sound
    cdef object quote_type
    cdef object book_mark
    cdef object zero
    cdef bint has_sequence
    cdef readonly Py_ssize_t ordinary
    cdef list cells
    cdef bint is_declined       # by the path already
    # The frame at hand, and what came of it where it was ordinary.
    cdef bytes frame
    cdef object ts_recv_ns
    cdef object ts_mono_ns
    cdef Cell cell
    cdef object event
    cdef object quote
    cdef object book

    def __init__(self, Engine engine, core, out_type, slow, chain_of, constants):
        self.engine = engine
        self.codec = core.codec
        self.counters = core.counters
        self.gates = core.gates
        self.version = self.gates.version
        self.counter = core.counter
        self.out_type = out_type
        self.slow = slow
        self.chain_of = chain_of
        self.sound, self.quote_type, self.book_mark = constants
        self.zero = 0
        self.has_sequence = engine.has_sequence
        self.cells = [None] * CELLS
        self.is_declined = False

    def feed(self, bytes frame, object ts_recv_ns, object ts_mono_ns):
        """See `Core.feed`."""
        if self.is_declined:
            self.is_declined = False
            return self.slow(frame, ts_recv_ns, ts_mono_ns)
        if self.codec.needs_messages or not self.engine.run(frame, ts_recv_ns, ts_mono_ns, True):
            return self.slow(frame, ts_recv_ns, ts_mono_ns)
        out = self.out_type()
        if self.take(frame, ts_recv_ns, ts_mono_ns, out):
            for value in (self.event, self.quote, self.book):
                if value is not None:
                    out.events.append(value)
            self.event = self.quote = self.book = self.cell = None
        return out

    cdef Cell cell_of(self, Made made, PyObject *pair):
        """Return what is known of a route's events of one symbol."""
        cdef Cell cell
        cdef PyObject *found
        cdef PyObject *gate
        cdef int probe
        cdef uint64_t at
        if self.version != self.gates.version:
            self.cells = [None] * CELLS
            self.version = self.gates.version
        at = (<uint64_t> <size_t> <PyObject *> made) >> 4
        at = (at * 31 + ((<uint64_t> <size_t> pair) >> 4)) * 0x9E3779B97F4A7C15ULL
        at = at >> 48
        for probe in range(PROBES):
            found = PyList_GET_ITEM_(self.cells, (at + probe) & (CELLS - 1))
            if found == NONE:
                break
            cell = <Cell> found
            if cell.made is made and <PyObject *> cell.pair == pair:
                return cell
        else:
            probe = 0
        cell = Cell.__new__(Cell)
        cell.made, cell.pair = made, <object> pair
        gate = PyDict_GetItem_(self.gates, (made.event, cell.pair[0]))
        cell.gate = None if gate == NULL else <object> gate
        cell.describe(self)
        self.cells[(at + probe) & (CELLS - 1)] = cell
        return cell

    cdef bint take(self, bytes frame, object ts_recv_ns, object ts_mono_ns, object out) except -1:
        """Let the gates judge what the engine just decoded.

        Returns:
            True where all was ordinary: the results are in `event`, `quote` and `book`, their
            subscribers in `cell`. False: they are in `out`.
        """
        cdef Engine engine = self.engine
        cdef CounterState counters = self.counters
        cdef Cell cell
        cdef Made made = engine.made
        cdef int done
        counters.frames += 1
        self.cell = self.event = self.quote = self.book = None
        if self.has_sequence:
            sequence = engine.sequence
            self.codec.connection_sequence = sequence
            if not self.counter.observe(sequence, ts_recv_ns, ts_mono_ns, out):
                counters.duplicates += len(engine.collect())
                return False
            if out.events or out.commands:
                # A hole told first: the streams it concerns are no longer ordinary.
                return self.admit(engine.collect(), out)
        if engine.pair == NULL or engine.more is not None:
            return self.admit(engine.collect(), out)
        if engine.unmade is not None:
            cell = self.cell_of(made, engine.pair)
            self.frame, self.ts_recv_ns, self.ts_mono_ns = frame, ts_recv_ns, ts_mono_ns
            done = cell.take_update(self, out)
            if done == 0:
                return self.admit([engine.build()], out)
            counters.events += 1
            counters.messages += 1
            self.cell = cell
            if done == 1:
                self.ordinary += 1
                return True
            return False
        event = engine.one
        if event is None:
            return False
        engine.one = None
        cell = self.cell_of(made, engine.pair)
        if not cell.take(self, event):
            return self.admit([event], out)
        counters.events += 1
        counters.messages += 1
        self.event, self.cell = event, cell
        self.ordinary += 1
        return True

    cdef bint admit(self, list decoded, object out) except -1:
        """Hand the events of one frame to their gates."""
        cdef Py_ssize_t count = len(decoded)
        cdef CounterState counters = self.counters
        cdef PyObject *gate
        cdef int64_t before
        if count == 0:
            return False
        counters.events += count
        before = counters.unasked
        for event in decoded:
            gate = PyDict_GetItem_(self.gates, (type(event), event.symbol))
            if gate == NULL:
                counters.unasked += 1
            else:
                (<object> gate).admit(event, out)
        # Gates count as well: what the venue tells unasked.
        if counters.unasked - before < count:
            counters.messages += 1
        return False


@cython.final
cdef class Path:
    """From a frame to the handlers: `Connection.on_frame` around a `Step`.

    Args:
        step: Decodes and judges.
        slow: `Connection.on_frame` itself, for frames that the engine declines.
        finish: Takes the commands, if there are any.
        router: The client's router.
        sample: Takes the receive time of every eighth frame.
    """

    def __init__(self, Step step, slow, finish, router, sample):
        self.step = step
        self.slow = slow
        self.finish = finish
        self.router = router
        self.table = router.table
        self.is_watched = type(self.table) is WatchedDict
        self.sample = sample
        self.out = step.out_type()
        self.events, self.commands = self.out.events, self.out.commands
        self.is_busy = False
        self.frames = 0

    def take(self, bytes frame, object ts_recv_ns, object ts_mono_ns):
        """Take one frame; as `Connection.on_frame`."""
        self.carry(frame, ts_recv_ns, ts_mono_ns)

    cdef int carry(self, bytes frame, object ts_recv_ns, object ts_mono_ns) except -1:
        cdef Step step = <Step> self.step
        cdef Cell cell
        if self.is_busy:
            self.slow(frame, ts_recv_ns, ts_mono_ns)
            return 0
        if step.codec.needs_messages or not step.engine.run(frame, ts_recv_ns, ts_mono_ns, True):
            step.is_declined = True
            self.slow(frame, ts_recv_ns, ts_mono_ns)
            return 0
        self.is_busy = True
        try:
            if step.take(frame, ts_recv_ns, ts_mono_ns, self.out):
                cell, step.cell = step.cell, None
                event, step.event = step.event, None
                quote, step.quote = step.quote, None
                book, step.book = step.book, None
                if self.is_watched and cell.heard_version != (<WatchedDict> self.table).version:
                    cell.heard = cell.heard_quotes = cell.heard_books = None
                    cell.heard_version = (<WatchedDict> self.table).version
                if event is not None:
                    if cell.heard is None:
                        cell.heard = self.find(event.data_type, event)
                    self.deliver(cell.heard, event)
                if quote is not None:
                    if cell.heard_quotes is None:
                        cell.heard_quotes = self.find("book_ticker", quote)
                    self.deliver(cell.heard_quotes, quote)
                if book is not None:
                    if cell.heard_books is None:
                        cell.heard_books = self.find("book", book)
                    self.deliver(cell.heard_books, book)
            else:
                for event in self.events:
                    self.router.publish(event)
                if self.commands:
                    self.finish(self.commands.copy())
        finally:
            if self.events:
                self.events.clear()
            if self.commands:
                self.commands.clear()
            self.is_busy = False
        self.frames += 1
        if not self.frames & SAMPLE_MASK:
            self.sample(ts_mono_ns)
        return 0

    cdef tuple find(self, str data_type, object event):
        """Return the subscribers of an event, None where they must be looked up each time."""
        cdef PyObject *found
        if not self.is_watched:
            return None
        found = PyDict_GetItem_(self.table, data_type)
        if found != NULL:
            found = PyDict_GetItem_(<object> found, event.symbol)
        return None if found == NULL else <tuple> found

    cdef int deliver(self, tuple heard, object event) except -1:
        """Hand one event to its subscribers; as `Router.publish`."""
        cdef SubscriptionState subscription
        if heard is None:
            self.router.publish(event)
            return 0
        if not heard:
            self.router.unheard += 1
            return 0
        for each in heard:
            subscription = <SubscriptionState?> each
            try:
                subscription.push(event)
                subscription.delivered += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                subscription.failed(error)
        return 0
