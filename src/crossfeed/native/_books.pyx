# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A book's ordinary update, from the levels of the decoder into the arrays of its ladder.

The book's machine stays what it is, in Python, over the state here: see `_states`. What is ordinary
(next in order, exact, not crossed, its checksum right) is done here; before that is known nothing was
touched, and whatever else there is goes to the machine itself, whole.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from crossfeed.native._events cimport Draft, Made
from crossfeed.native._ladder cimport Levels
from crossfeed.native._python cimport NONE, Py_DECREF_, PyObject_Vectorcall
from crossfeed.native._states cimport StepState, integer

__all__ = ["BookState"]

# How the updates of a book follow each other, as `model.sequencing.Follows` numbers it.
cdef enum:
    FOLLOWS_UNKNOWN, FOLLOWS_NUMBER, FOLLOWS_NAMED, FOLLOWS_ANY


cdef class BookState:
    """Where a `BookSync` stands, and the newest update in it.

    That update is made as an event only when somebody asks for it: until then its frame is kept.
    """

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
        return self.event

    @last_event.setter
    def last_event(self, object event):
        self.event = event
        self.is_event_unmade = False

    @property
    def last_applied(self):
        if self.is_applied_unmade:
            self._make()
        return self.applied

    @last_applied.setter
    def last_applied(self, object event):
        self.applied = event
        self.is_applied_unmade = False

    cdef int take(self, StepState step, Made made, const UpdatePlaces *at) except -1:
        """Apply the unmade update of the decoder.

        Returns:
            0: it is not ordinary; nothing was changed. 1: done; a quote is in `step.quote` if the
            top moved. 2: applied, and the machine must look at the result: the event is
            `last_event`.
        """
        cdef Draft draft = step.draft
        cdef Levels levels
        cdef PyObject *checksum
        cdef int64_t expected = 0
        cdef unsigned int found
        if not self._is_plain or self.wants_deltas or not self._is_next(draft, made, at):
            return 0
        checksum = draft.argument(made, at.checksum)
        if checksum != NONE:
            if not self.checksum_levels or not integer(checksum, &expected):
                return 0
        arrays = getattr(self.ladder, "_levels", None)
        if type(arrays) is not Levels:
            return 0
        levels = <Levels> arrays
        if draft.rows.price_most >= levels.price_limit or draft.rows.size_most >= levels.size_limit:
            return 0
        levels.set_rows(
            draft.rows.levels[0], draft.rows.count[0], draft.rows.levels[1], draft.rows.count[1]
        )
        if self.depth_limit:
            levels.cut_to(self.depth_limit)
        self.sequence = <object> draft.argument(made, at.last)
        self._updates += 1
        self._applied += 1
        if checksum != NONE and not (
            levels.crc32(self.checksum_levels, levels.price_power, levels.size_power, &found)
            and found == expected
        ):
            return self._hand_over(draft)
        return self._judge(step, made, levels)

    cdef bint _is_next(self, Draft draft, Made made, const UpdatePlaces *at) noexcept:
        """Say whether the update follows the newest one."""
        cdef int64_t number, first
        if self.follows == FOLLOWS_NUMBER:
            return (
                integer(<PyObject *> self.sequence, &number)
                and integer(draft.argument(made, at.first), &first)
                and first == number + 1
            )
        if self.follows == FOLLOWS_NAMED:
            return (
                integer(<PyObject *> self.sequence, &number)
                and integer(draft.argument(made, at.previous), &first)
                and first == number
            )
        return self.follows == FOLLOWS_ANY

    cdef int _judge(self, StepState step, Made made, Levels levels) except -1:
        """Look at the top of the book behind an update; returns as `take`."""
        cdef double bid, bid_size, ask, ask_size
        if levels.bids.count == 0 or levels.asks.count == 0:
            return self._hand_over(step.draft) if self.has_top else self._keep(step)
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
            return self._hand_over(step.draft)
        self.has_top = True
        self.top[0], self.top[1], self.top[2], self.top[3] = bid, bid_size, ask, ask_size
        if self.wants_quotes:
            step.quote = self._quote(step, made)
        return self._keep(step)

    cdef int _keep(self, StepState step) except -1:
        """Keep what the update can be made of."""
        cdef Draft draft = step.draft
        self.frame = step.frame
        self.engine = step.engine
        if self.symbol is None or <PyObject *> self.symbol[1] != draft.pair:
            self.symbol = (<object> draft.key, <object> draft.pair)
        self.ts_recv_ns, self.ts_mono_ns = step.ts_recv_ns, step.ts_mono_ns
        self.is_event_unmade = self.is_applied_unmade = True
        return 1

    cdef int _hand_over(self, Draft draft) except -1:
        """Make the update: it is applied, and not ordinary."""
        event = draft.build()
        self.last_event = event
        self.last_applied = event
        return 2

    cdef int _make(self) except -1:
        """Make the update that was only kept as a frame."""
        event = self.engine.again(self.frame, self.symbol, self.ts_recv_ns, self.ts_mono_ns)
        if self.is_event_unmade:
            self.event = event
        if self.is_applied_unmade:
            self.applied = event
        self.is_event_unmade = self.is_applied_unmade = False
        self.engine = None
        self.frame = None
        return 0

    cdef object _quote(self, StepState step, Made made):
        """As `books.quotes.quote_of`."""
        cdef PyObject *arguments[18]
        cdef PyObject *quote
        cdef int at
        cdef object bid, bid_size, ask, ask_size
        integrity = self.trust.integrity
        bid, bid_size, ask, ask_size = self.top[0], self.top[1], self.top[2], self.top[3]
        for at in range(7):     # exchange .. ts_mono_ns, the same in all events
            arguments[at + 1] = step.draft.argument(made, at)
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


@cython.final
cdef class BookTail:
    """Stands in for a book's gate where the update is in the levels already."""

    def admit(self, event, out):
        """Let the machine look at what came out."""
        self.book._conclude(event, out)
