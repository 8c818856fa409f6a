# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Frames → events by tables. Accepts what is plainly right, declines the rest; raises nothing.

An `Engine` serves one connection. It is given tables made from a venue's declarations
(`crossfeed.runtime.native_tables`) and the dict of symbols asked for.

Rule: what it accepts, the pure decoder accepts with equal events. A message is taken whole or not at
all: nothing is handed out before its last byte was checked.
"""

cimport cython
from cpython.ref cimport PyObject

from crossfeed.native._events cimport SLOT_MONO, SLOT_RAW, SLOT_RECV, Draft, Made, put
from crossfeed.native._names cimport Names
from crossfeed.native._parser cimport ACCEPTED, NO_ROUTE, Parser
from crossfeed.native._python cimport Py_XDECREF_, PyList_GET_ITEM_
from crossfeed.native._routes cimport Routes
from crossfeed.native._tables cimport Tables

__all__ = ["CODES", "Engine"]

CODES = ("accepted", "route", "shape", "symbol", "order")
"""Why a message was declined, by the number in `Engine.code`."""


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

    def __init__(self, dict spec, dict symbols, object guess, *, bint keep_raw=True):
        """Copy the tables. Raises ValueError where they are larger than what this was built for."""
        self.routes = Routes(spec["routes"], guess)
        self.names = Names(symbols)
        self.draft = Draft()
        self.parser = Parser(Tables(spec["tables"]), self.names, self.draft)
        self.keep_raw = keep_raw
        self.has_sequence = spec["has_sequence"]
        self.code = ACCEPTED
        self.accepted = 0
        self.declined = [0] * len(CODES)

    @property
    def sequence(self):
        """Number of the last accepted frame, None where it has none."""
        return None if self.parser.number == NULL else <object> self.parser.number

    def decode(self, bytes frame, object ts_recv_ns, object ts_mono_ns):
        """Decode one frame; return its events, or None to decline."""
        return self.draft.collect() if self.run(frame, ts_recv_ns, ts_mono_ns, False) else None

    cdef bint run(self, bytes frame, object ts_recv_ns, object ts_mono_ns, bint is_lazy) except -1:
        """Decode one frame into `draft`; return whether it was accepted. `is_lazy`: see `Draft`."""
        cdef int route = self.routes.find(frame)
        cdef bint accepted
        if route < 0:
            return self._decline(NO_ROUTE)
        accepted = self._parse(frame, ts_recv_ns, ts_mono_ns, route, is_lazy)
        if not accepted and self.draft.has_second:
            accepted = self._parse(frame, ts_recv_ns, ts_mono_ns, route, False)
        if not accepted:
            return self._decline(self.parser.code)
        self.code = ACCEPTED
        self.accepted += 1
        return True

    cdef bint _parse(
        self, bytes frame, object ts_recv_ns, object ts_mono_ns, int route, bint is_lazy
    ) noexcept:
        cdef Routes routes = self.routes
        cdef Draft draft = self.draft
        draft.begin(
            <Made> PyList_GET_ITEM_(routes.plain, route),
            <Made> PyList_GET_ITEM_(routes.first, route),
            is_lazy,
        )
        put(draft.values, SLOT_RECV, <PyObject *> ts_recv_ns)
        put(draft.values, SLOT_MONO, <PyObject *> ts_mono_ns)
        put(draft.values, SLOT_RAW, <PyObject *> (frame if self.keep_raw else None))
        if self.parser.parse(frame, routes.roots[route]):
            return True
        draft.drop()
        return False

    cdef object again(self, bytes frame, tuple symbol, object ts_recv_ns, object ts_mono_ns):
        """Make the one event of a frame that was accepted before, whatever is asked for now.

        `symbol`: its symbol as sent, and what that stood for.
        """
        cdef Parser parser = self.parser
        cdef Draft draft = self.draft
        cdef int route = self.routes.find(frame)
        cdef PyObject *number = parser.number
        cdef object symbols = self.names.symbols
        self.names.symbols = {symbol[0]: symbol[1]}
        parser.number = NULL
        accepted = self._parse(frame, ts_recv_ns, ts_mono_ns, route, False)
        Py_XDECREF_(parser.number)
        parser.number = number
        self.names.symbols = symbols
        assert accepted and draft.more is None, "accepted once, accepted again"
        made, draft.one = draft.one, None
        return made

    cdef bint _decline(self, int code) except -1:
        self.code = code
        self.declined[code] += 1
        return False
