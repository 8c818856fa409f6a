"""How the connections that carry a stream are made one.

Merged by number, or one given out at a time.

A stream is carried by one connection, by two while it is being rotated, or by two all the time
(`lines=2`). Its carrier knows which, and gives each connection the gate its events go to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from crossfeed.books.l3 import L3Sync
from crossfeed.books.sync import BookSync
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.freshness import Judged, Watched
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.gate_stats import GateStats
from crossfeed.integrity.lines import LineMerge, LineStats
from crossfeed.integrity.open_gates import ChainGate, OpenGate
from crossfeed.integrity.siblings import Elsewhere
from crossfeed.integrity.standby import HotStandby
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.events import MarketData
from crossfeed.model.output import Gate, Output
from crossfeed.model.status import GapRecord, GapState
from crossfeed.model.trust import Trust
from crossfeed.runtime.line_parts import LineParts
from crossfeed.runtime.native_gates import machines

__all__ = [
    "Carrier",
    "DirectCarrier",
    "LineTrust",
    "MergeEntry",
    "StandbyCarrier",
    "StreamGate",
]

Part = tuple[Judged, Watched, Elsewhere]
"""One line of a stream as freshness sees it: what is said of it, what it brings, what others do."""
StreamGate = IdGate | OpenGate | ChainGate | BookSync | L3Sync
"""What judges one stream."""

LINE_LEDGER_CAPACITY = 16


class LineTrust(StreamTrust):
    """The trust of one line of a stream: watched by us, told to nobody.

    What subscribers hear is the stream's own trust; a line's alerts are passed on to it.
    """

    def __init__(self, public: StreamTrust) -> None:
        """Judge one line of the stream that `public` speaks for."""
        super().__init__(
            public.stream,
            GapLedger(LINE_LEDGER_CAPACITY),
            unified=public.unified,
            integrity=public.integrity,
        )
        self._public = public

    def report(
        self,
        source: str,
        trust: Trust,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        detail: str = "",
    ) -> None:
        """See `StreamTrust.report`; nothing is emitted."""
        del out
        super().report(source, trust, cause, now_ns, mono_ns, Output(), detail)

    def open_gap(
        self,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_countable: bool = True,
    ) -> GapRecord:
        """See `StreamTrust.open_gap`; nothing is emitted."""
        del out
        return super().open_gap(
            first, last, cause, now_ns, mono_ns, Output(), is_countable=is_countable
        )

    def close_gap(
        self,
        gap_id: int,
        state: GapState,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        last: int = 0,
    ) -> None:
        """See `StreamTrust.close_gap`; nothing is emitted."""
        del out
        super().close_gap(gap_id, state, now_ns, mono_ns, Output(), last=last)

    def alert(self, cause: str, detail: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Let the stream tell it."""
        self._public.alert(cause, detail, now_ns, mono_ns, out)


class Carrier(Protocol):
    """The lines of one stream."""

    trust: StreamTrust
    lines: list[str]

    def line_up(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that connection `name` carries the stream from now on."""
        ...

    def line_down(self, name: str, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Learn that it does no longer."""
        ...

    def forget(self, name: str) -> int:
        """Drop what belonged to a connection that never comes back.

        Return its dropped duplicates.
        """
        ...

    def entry(self, name: str) -> Gate:
        """Return where the events of that connection go."""
        ...

    def gate_on(self, name: str) -> StreamGate:
        """Return the gate that judges the events of that connection."""
        ...

    def part(self, name: str) -> Part:
        """Return the part of a connection that is up, to be watched."""
        ...

    def is_sound_on(self, name: str) -> bool:
        """Say whether that connection alone could carry the stream now."""
        ...

    def line_stats(self) -> list[LineStats]:
        """Return the counts of the lines; empty while there is only one."""
        ...

    def duplicates(self) -> int:
        """Return how many events were dropped because another line had brought them."""
        ...

    def gates(self) -> list[StreamGate]:
        """Return all gates."""
        ...

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which `on_timer` has something to do."""
        ...

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due."""
        ...

    def review(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Look again who is given out, after something judged a line from outside."""
        ...

    def resync(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Build the state anew on every line that has one."""
        ...


class MergeEntry:
    """Where the events of one of several merged lines go.

    Attributes:
        merge: Takes them ...
        name: ... under this name of the line.
    """

    __slots__ = ("merge", "name")

    def __init__(self, merge: LineMerge | HotStandby, name: str) -> None:
        """Lead to `merge`."""
        self.merge = merge
        self.name = name

    def admit(self, event: MarketData, out: Output) -> None:
        """Hand the event over under the line's name."""
        self.merge.admit(self.name, event, out)


class DirectCarrier:
    """One gate for all lines: numbered streams.

    While one line is up its events go straight to the gate. While several are up a `LineMerge`
    stands before it; values that are numbered but not without holes (`bookTicker.u`) need none:
    their gate drops what is not newer.
    """

    def __init__(self, gate: StreamGate, trust: StreamTrust) -> None:
        """Carry the stream of `gate`."""
        self.trust = trust
        self.lines: list[str] = []
        self._gate = gate
        self._merge: LineMerge | None = None
        self._parts = LineParts(gate, trust)
        self._merged_away = 0

    def line_up(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        if name in self.lines:
            self._gate.on_open(now_ns, mono_ns, out)
            return
        self.lines.append(name)
        self._parts.add(name)
        if len(self.lines) == 1:
            self._gate.on_open(now_ns, mono_ns, out)
        elif self._merge is None and not isinstance(self._gate, OpenGate):
            self._merge = LineMerge(self._gate, self.trust)
            for each in self.lines:
                self._merge.line_up(each, now_ns, mono_ns, out)
        elif self._merge is not None:
            self._merge.line_up(name, now_ns, mono_ns, out)
        self._lead()

    def _lead(self) -> None:
        """Let each line note its own events while there are several."""
        is_alone = len(self.lines) == 1
        for name in self.lines:
            merge = self._merge
            target = self._gate if merge is None else MergeEntry(merge, name)
            self._parts[name].lead_to(None if is_alone else target)

    def line_down(self, name: str, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        if name not in self.lines:
            return
        self.lines.remove(name)
        if self._merge is not None:
            self._merge.line_down(name, now_ns, mono_ns, out, cause)
            if len(self.lines) <= 1:
                self._merged_away += self._merge.duplicates
                self._merge = None
        elif not self.lines:
            self._gate.on_close(now_ns, mono_ns, out, cause)
        self._parts.remove(name, now_ns, mono_ns, out)
        self._lead()

    def forget(self, name: str) -> int:
        """See `Carrier`: all lines share the gate."""
        del name
        return 0

    def entry(self, name: str) -> Gate:
        """See `Carrier`."""
        return self._gate if len(self.lines) <= 1 else self._parts[name]

    def gate_on(self, name: str) -> StreamGate:
        """See `Carrier`: the same for all."""
        del name
        return self._gate

    def part(self, name: str) -> Part:
        """See `Carrier`."""
        part = self._parts[name]
        return part, part, part

    def is_sound_on(self, name: str) -> bool:
        """See `Carrier`: a numbered stream needs no image of its own, but must have joined."""
        return name in self.lines and (self._merge is None or self._merge.has_joined(name))

    def line_stats(self) -> list[LineStats]:
        """See `Carrier`."""
        return [] if self._merge is None else self._merge.line_stats()

    def duplicates(self) -> int:
        """See `Carrier`."""
        merged = 0 if self._merge is None else self._merge.duplicates
        return self._merged_away + merged + self._gate.stats().duplicates

    def gates(self) -> list[StreamGate]:
        """See `Carrier`."""
        return [self._gate]

    @property
    def next_due_ns(self) -> int:
        """See `Carrier`."""
        waiting = NEVER_NS if self._merge is None else self._merge.next_due_ns
        return min(self._gate.next_due_ns, waiting)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        if self._merge is not None:
            self._merge.on_timer(now_ns, mono_ns, out)
        if mono_ns >= self._gate.next_due_ns:
            self._gate.on_timer(now_ns, mono_ns, out)

    def review(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`: nothing to choose from."""

    def resync(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        if isinstance(self._gate, BookSync | L3Sync):
            self._gate.resync("requested", now_ns, mono_ns, out)


class _StandbyPart:
    """What the other lines of one line's stream bring, where each has a state of its own."""

    def __init__(self, carrier: StandbyCarrier, name: str) -> None:
        self.is_shared = False
        self._carrier = carrier
        self._name = name

    def newest_elsewhere(self) -> MarketData | None:
        """Return the newest event of the other lines that are not themselves found silent."""
        newest: MarketData | None = None
        if len(self._carrier.lines) == 1:
            return newest
        for name in self._carrier.lines:
            gate = self._carrier.gate_on(name)
            event = gate.last_event
            if name == self._name or event is None:
                continue
            is_well = gate.trust.current is not Trust.STALE
            if is_well and (newest is None or event.ts_mono_ns > newest.ts_mono_ns):
                newest = event
        return newest


class StandbyCarrier:
    """A gate with its own state per line, one of them given out: streams without numbers."""

    def __init__(
        self,
        trust: StreamTrust,
        make_gate: Callable[[StreamTrust], OpenGate | BookSync],
        on_switch: Callable[[StreamGate], None] | None = None,
    ) -> None:
        """Carry the stream that `trust` speaks for; `make_gate` makes the gate of one line.

        `on_switch` is given for streams with a state (books): it is told whose state is given out,
        and an outage is entered as a gap.
        """
        self.trust = trust
        self.lines: list[str] = []
        self._make_gate = make_gate
        self._made: dict[str, OpenGate | BookSync] = {}
        self._standby = machines().standby(
            trust, self._switched, records_holes=on_switch is not None
        )
        self._told = on_switch

    def _switched(self, gate: object) -> None:
        if self._told is not None and isinstance(gate, OpenGate | BookSync):
            self._told(gate)

    @property
    def standby(self) -> HotStandby:
        """What chooses the line."""
        return self._standby

    @property
    def active(self) -> str:
        """Name of the line that is given out."""
        return self._standby.active

    def line_up(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        gate = self._made.get(name)
        if gate is None:
            gate = self._made[name] = self._make_gate(LineTrust(self.trust))
        if name in self.lines:
            gate.on_open(now_ns, mono_ns, out)
            return
        self.lines.append(name)
        self._standby.line_up(name, gate, now_ns, mono_ns, out)

    def line_down(self, name: str, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`. The gate stays for the connection's return: it keeps the counts."""
        if name not in self.lines:
            return
        self.lines.remove(name)
        self._standby.line_down(name, now_ns, mono_ns, out, cause)

    def forget(self, name: str) -> int:
        """See `Carrier`."""
        gate = self._made.pop(name, None)
        return 0 if gate is None else gate.stats().duplicates

    def entry(self, name: str) -> Gate:
        """See `Carrier`."""
        return MergeEntry(self._standby, name)

    def gate_on(self, name: str) -> StreamGate:
        """See `Carrier`."""
        return self._made[name]

    def part(self, name: str) -> Part:
        """See `Carrier`."""
        gate = self._made[name]
        return cast("StreamTrust", gate.trust), gate, _StandbyPart(self, name)

    def line_stats(self) -> list[LineStats]:
        """See `Carrier`."""
        if len(self.lines) <= 1:
            return []
        return [
            LineStats(
                name=name,
                events=_let_through(self._made[name]),
                wins=0,
                behind_ms=0.0,
                is_demoted=False,
                is_active=name == self.active,
            )
            for name in self.lines
        ]

    def duplicates(self) -> int:
        """See `Carrier`: here every line takes in everything, what waits is no duplicate."""
        return sum(gate.stats().duplicates for gate in self._made.values())

    def is_sound_on(self, name: str) -> bool:
        """See `Carrier`."""
        gate = self._made.get(name)
        return gate is not None and gate.trust.current is Trust.SOUND

    def gates(self) -> list[StreamGate]:
        """See `Carrier`."""
        return list(self._made.values())

    @property
    def next_due_ns(self) -> int:
        """See `Carrier`."""
        return self._standby.next_due_ns

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        for name in list(self.lines):
            self._standby.on_timer(name, now_ns, mono_ns, out)

    def review(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`."""
        self._standby.review(now_ns, mono_ns, out)

    def resync(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `Carrier`; each line asks on its own connection."""
        self._standby.on_each(_resync, now_ns, mono_ns, out)


def _resync(gate: object, now_ns: int, mono_ns: int, out: Output) -> None:
    if isinstance(gate, BookSync):
        gate.resync("requested", now_ns, mono_ns, out)


def _let_through(gate: OpenGate | BookSync) -> int:
    stats = gate.stats()
    return stats.passed if isinstance(stats, GateStats) else stats.applied
