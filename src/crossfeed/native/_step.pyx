# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What `PureCore.feed` does with a frame, for those that the engine accepts."""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from crossfeed.native._cells cimport Cell
from crossfeed.native._engine cimport Engine
from crossfeed.native._events cimport Draft, Made
from crossfeed.native._python cimport NONE, PyDict_GetItem_, PyList_GET_ITEM_
from crossfeed.native._states cimport CounterState

__all__ = ["Step"]

cdef enum:
    CELLS = 4096
    PROBES = 8


@cython.final
cdef class Step(StepState):
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

    def __init__(self, Engine engine, core, out_type, slow, chain_of, constants):
        self.engine, self.draft = engine, engine.draft
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
        if not self.decode(frame, ts_recv_ns, ts_mono_ns):
            return self.slow(frame, ts_recv_ns, ts_mono_ns)
        out = self.out_type()
        if self.take(frame, ts_recv_ns, ts_mono_ns, out):
            for value in (self.event, self.quote, self.book):
                if value is not None:
                    out.events.append(value)
            self.event = self.quote = self.book = self.cell = None
        return out

    cdef bint decode(self, bytes frame, object ts_recv_ns, object ts_mono_ns) except -1:
        """Let the engine try; false if the frame must go the slow way."""
        return not self.codec.needs_messages and self.engine.run(frame, ts_recv_ns, ts_mono_ns, True)

    cdef bint take(self, bytes frame, object ts_recv_ns, object ts_mono_ns, object out) except -1:
        """Let the gates judge what the engine just decoded.

        Returns:
            True where all was ordinary: the results are in `event`, `quote` and `book`, their
            subscribers in `cell`. False: they are in `out`.
        """
        cdef Draft draft = self.draft
        cdef CounterState counters = self.counters
        cdef Cell cell
        cdef int done
        counters.frames += 1
        self.cell = self.event = self.quote = self.book = None
        if self.has_sequence:
            sequence = self.engine.sequence
            self.codec.connection_sequence = sequence
            if not self.counter.observe(sequence, ts_recv_ns, ts_mono_ns, out):
                counters.duplicates += len(draft.collect())
                return False
            if out.events or out.commands:
                # A hole told first: the streams it concerns are no longer ordinary.
                return self._admit(draft.collect(), out)
        if draft.pair == NULL or draft.more is not None:
            return self._admit(draft.collect(), out)
        if draft.unmade is not None:
            cell = self._cell_of(draft.made, draft.pair)
            self.frame, self.ts_recv_ns, self.ts_mono_ns = frame, ts_recv_ns, ts_mono_ns
            done = cell.take_update(self, out)
            if done == 0:
                return self._admit([draft.build()], out)
            counters.events += 1
            counters.messages += 1
            self.cell = cell
            if done == 1:
                self.ordinary += 1
                return True
            return False
        event = draft.one
        if event is None:
            return False
        draft.one = None
        cell = self._cell_of(draft.made, draft.pair)
        if not cell.take(self, event):
            return self._admit([event], out)
        counters.events += 1
        counters.messages += 1
        self.event, self.cell = event, cell
        self.ordinary += 1
        return True

    cdef bint _admit(self, list decoded, object out) except -1:
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

    cdef Cell _cell_of(self, Made made, PyObject *pair):
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
        cell.describe(self.chain_of)
        self.cells[(at + probe) & (CELLS - 1)] = cell
        return cell
