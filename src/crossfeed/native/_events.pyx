# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The values of one message become the events that it holds.

The parser puts values into slots and levels into rows; at the end of each object that is an event it
calls `Draft.emit`. Nothing here is handed out before the whole frame was read.
"""

cimport cython
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM

from crossfeed.native._python cimport (
    Py_DECREF_, Py_XDECREF_, PyErr_Clear, PyLong_FromLongLong_, PyObject_Vectorcall,
)
from crossfeed.native._rows cimport clear, list_of

__all__ = ["Draft", "Made"]

cdef enum:
    LEVELS_KEPT = 4096      # room of a side that is not given back


@cython.final
cdef class Made:
    """How the values of a route become the arguments of its event class."""

    def __init__(self, object event, tuple arguments, object order):
        """Take the class, for each argument a slot number or (value,) for a fixed one, the order."""
        cdef int at
        self.event = event
        self.order = order
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
        # A change of a book can be applied without being made: see `Draft.build`.
        self.is_delta = {"bids", "asks", "first", "last", "previous", "checksum"} <= set(names)
        self.bids_slot = self.source[names.index("bids")] if "bids" in names else -1
        self.asks_slot = self.source[names.index("asks")] if "asks" in names else -1

    cdef int place(self, str name) except -2:
        """Return where the class has the argument `name`, -1 if nowhere."""
        names = self.event.__struct_fields__
        return names.index(name) if name in names else -1


@cython.final
cdef class Draft:
    """Scratch values of one connection's newest frame, and what was made of them."""

    def __dealloc__(self):
        cdef int slot
        for slot in range(SLOTS_MAX):
            Py_XDECREF_(self.values[slot])
        clear(&self.rows, 0)

    cdef void begin(self, Made plain, Made first, bint is_lazy) noexcept:
        """Forget the last frame.

        With `is_lazy` the only event of a frame, if it is an update of a book, is left unmade: its
        levels are in `rows`, its other values in their slots, until the next frame.
        """
        self.plain_made, self.first_made = plain, first
        self.is_first = self.has_second = False
        self.is_lazy = is_lazy
        self.index = 0
        self.rows.count[0] = self.rows.count[1] = 0
        self.rows.price_most = self.rows.size_most = 0.0
        self.key = self.pair = NULL
        self.drop()

    cdef void drop(self) noexcept:
        """Let the events go."""
        self.one = self.more = self.unmade = None

    cdef list collect(self):
        """Return the events of the last frame."""
        if self.unmade is not None:
            return [self.build()]
        if self.more is not None:
            if self.made.order is not None:
                self.more.sort(key=self.made.order)
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

    cdef int emit(self) noexcept:
        """Make one event of the values, or leave it unmade; false to decline the frame."""
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
        cdef PyObject *event
        cdef int at
        cdef int source
        cdef Py_ssize_t index = self.index if self.unmade is None else 0
        if not give(self.values, SLOT_INDEX, PyLong_FromLongLong_(index)):
            return NULL
        if made.bids_slot >= 0 and not give(self.values, made.bids_slot, list_of(&self.rows, 0)):
            return NULL
        if made.asks_slot >= 0 and not give(self.values, made.asks_slot, list_of(&self.rows, 1)):
            return NULL
        if made.bids_slot >= 0 or made.asks_slot >= 0:
            clear(&self.rows, LEVELS_KEPT)
        for at in range(made.count):
            source = made.source[at]
            arguments[at + 1] = made.constant[at] if source < 0 else self.values[source]
            if arguments[at + 1] == NULL:
                return NULL
        event = PyObject_Vectorcall(made.event, &arguments[1], made.count, NULL)
        if event == NULL:
            PyErr_Clear()
        return event
