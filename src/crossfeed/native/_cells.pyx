# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""One stream on one connection: whether an event of it is ordinary, and what the gates then note.

Ordinary is: next in order, sound, within the price band, given out by the line that is. For anything
else nothing has been touched yet, and the event goes to the gate itself, whole.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

from crossfeed.native._books cimport BookTail
from crossfeed.native._events cimport Draft
from crossfeed.native._python cimport PyDict_GetItem_, PyFloat_AS_DOUBLE_, PyFloat_CheckExact_
from crossfeed.native._states cimport StandbyState, StepState, integer

__all__ = ["LATEST", "NUMBERED", "OTHER", "UPDATES", "Cell"]

# How a stream's gate is served here; `gate_chain` says it of each.
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


cdef inline bint _is_same(object one, object other) except -1:
    """Say whether two names are equal; they nearly always are the same object."""
    return one is other or one == other


@cython.final
cdef class Cell:
    """What is known of the events of one route and symbol, until the table of gates changes."""

    cdef int describe(self, object chain_of) except -1:
        """Find out how the gate can be served."""
        cdef dict found
        self.kind = C_OTHER
        self.heard_version = -1
        if self.gate is None:
            return 0
        found = chain_of(self.gate, self.made.event)
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
        self.update_at.first = self.made.place("first")
        self.update_at.last = self.made.place("last")
        self.update_at.previous = self.made.place("previous")
        self.update_at.checksum = self.made.place("checksum")
        if (found["number"] and self.number_at < 0) or (prices and self.price_at < 0):
            self.kind = C_OTHER
        return 0

    cdef bint take(self, StepState step, object event) except -1:
        """Let one event pass if it is ordinary; false if it is not, and nothing was changed."""
        if self.kind == C_NUMBERED:
            return self._take_numbered(step.draft, event)
        if self.kind == C_LATEST:
            return self._take_latest(step, event)
        return False

    cdef bint _take_numbered(self, Draft draft, object event) noexcept:
        cdef IdState gate = self.numbered
        cdef int64_t number
        if not integer(draft.argument(self.made, self.number_at), &number):
            return False
        if number != gate.expected or number < 0 or not self._is_in_band(draft):
            return False
        gate.expected = gate.next_number = number + 1
        gate.next_wide = None
        gate._passed += 1
        gate.last_event = event
        return True

    cdef bint _take_latest(self, StepState step, object event) except -1:
        cdef OpenState gate = self.latest
        cdef int64_t number = 0     # of a value that has none
        if not gate._is_plain or not self._is_in_band(step.draft):
            return False
        if self.number_at >= 0:
            if not integer(step.draft.argument(self.made, self.number_at), &number):
                return False
            if number > 0 and (number <= gate.newest or gate.newest_wide is not None):
                return False
        if not self._is_plain_line(step, gate):
            return False
        if number > 0:
            gate.newest = number
        gate._passed += 1
        gate.last_event = event
        if self.standby is not None:
            self.standby._last = event
        return True

    cdef int take_update(self, StepState step, object out) except -1:
        """Apply the decoder's unmade update: as `BookState.take`; 2: all is done, see `out`."""
        cdef int done
        cdef BookTail tail
        if self.kind != C_UPDATES or not self._is_plain_line(step, self.book):
            return 0
        done = self.book.take(step, self.made, &self.update_at)
        if done == 0:
            return 0
        if done == 2:
            event = self.book.last_event
            if self.standby is None:
                self.book._conclude(event, out)
            else:
                tail = BookTail.__new__(BookTail)
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

    cdef bint _is_in_band(self, Draft draft) noexcept:
        """Say whether the price needs no second look."""
        cdef PyObject *value
        cdef double price
        if self.band is None:
            return True
        value = draft.argument(self.made, self.price_at)
        if value == NULL or not PyFloat_CheckExact_(value):
            return False
        price = PyFloat_AS_DOUBLE_(value)
        if self.price_other_at >= 0:
            value = draft.argument(self.made, self.price_other_at)
            if value == NULL or not PyFloat_CheckExact_(value):
                return False
            price = (price + PyFloat_AS_DOUBLE_(value)) * 0.5
        return self.band.inner_low < price < self.band.inner_high and self.band.rivals == 0

    cdef bint _is_plain_line(self, StepState step, object gate) except -1:
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
