# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What the machines that judge a stream keep in C: the few attributes that every message touches.

The machines stay what they are, in Python; `crossfeed.runtime.native_gates` puts each of these classes
under its machine as a base class. So there is one truth: the machine reads and writes the very same
numbers. The state of a book is in `_books`.
"""

from cpython.ref cimport PyObject

__all__ = [
    "BandState", "CounterState", "IdState", "OpenState", "StandbyState", "StepState",
    "SubscriptionState", "WatchedDict",
]


cdef class CounterState:
    """The counters of a session that every message touches; see `Counters`."""


cdef class SubscriptionState:
    """What a `Subscription` is called by, and how often it was."""


cdef class BandState:
    """The inner band of a `PriceBand`."""


cdef class IdState:
    """Numbers and newest event of an `IdGate`."""

    def __cinit__(self):
        self.expected = -1

    @property
    def _expected(self):
        return self.expected

    @_expected.setter
    def _expected(self, object number):
        # A number that no 64 bits hold is never expected: each event then takes the long way.
        if not integer(<PyObject *> number, &self.expected):
            self.expected = -1

    @property
    def _next(self):
        return self.next_number if self.next_wide is None else self.next_wide

    @_next.setter
    def _next(self, object number):
        self.next_wide = None if integer(<PyObject *> number, &self.next_number) else number


cdef class OpenState:
    """Number and newest event of an `OpenGate`."""

    @property
    def _newest(self):
        return self.newest if self.newest_wide is None else self.newest_wide

    @_newest.setter
    def _newest(self, object number):
        self.newest_wide = None if integer(<PyObject *> number, &self.newest) else number


cdef class StandbyState:
    """Who is given out by a `HotStandby`."""

    def gate_of(self, line):
        """Return the gate of one line, None if it is not up."""
        return self._gates.get(line)


cdef class WatchedDict(dict):
    """A dict of which it can be seen that it was cleared (it is cleared before every change)."""

    def clear(self):
        """Forget all items."""
        self.version += 1
        dict.clear(self)


cdef class StepState:
    """What the gates and books see of a `Step`: its frame, and where they put what came of it."""
