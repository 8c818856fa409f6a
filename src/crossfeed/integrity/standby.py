"""Hot standby: two connections of a stream without numbers, one of them given out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Command, Resubscribe
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Gap, GapState
from crossfeed.model.trust import Trust

__all__ = ["HotStandby", "LineTrust", "StandbyGate"]

_SOUND: Final = Trust.SOUND


class LineTrust(Protocol):
    """What is read of a line's own trust."""

    @property
    def current(self) -> Trust:
        """The line's trust."""
        ...

    @property
    def cause(self) -> str:
        """Why."""
        ...

    @property
    def detail(self) -> str:
        """The same as a sentence."""
        ...


class StandbyGate(Protocol):
    """One line's own gate with its own state: a `BookSync` or an `OpenGate`."""

    @property
    def trust(self) -> LineTrust:
        """The line's own trust (with a gap ledger of its own, which nobody reads)."""
        ...

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which `on_timer` has something to do."""
        ...

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one event of the line."""
        ...

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """The line's connection is up."""
        ...

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = ...) -> None:
        """The line's connection is gone."""
        ...

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due."""
        ...

    def republish(self, after: MarketData | None, now_ns: int, mono_ns: int, out: Output) -> None:
        """Give out the state as it stands, unless it is what `after` told already."""
        ...


class HotStandby:
    """Runs every line of a stream whole, gives out one, and switches at a sound point.

    For streams whose lines cannot be merged (`level2_batch`, Kraken books, tickers, candles). Each
    line keeps its own state. While the active line is sound the others are only kept up. When it is
    not, a sound one takes over in the same step, beginning with its whole state; when none is, the
    stream takes over the active line's trust and the hole is entered once.

    Made by the pipeline; lives as long as the stream.

    Attributes:
        trust: The stream's trust, as subscribers see it.
        active: Name of the line given out, empty while there is none.
        switches: Switches so far.
    """

    def __init__(
        self,
        trust: StreamTrust,
        on_switch: Callable[[StandbyGate], None] | None = None,
        *,
        records_holes: bool = True,
    ) -> None:
        """Start without a line.

        Args:
            trust: The stream's trust.
            on_switch: Is told each gate that begins to be given out.
            records_holes: Whether an outage is entered as a gap. Not for values that each replace
                the last one: nothing of them is missing once the next one is there.
        """
        self.trust = trust
        self.active = ""
        self.switches = 0
        self._on_switch = on_switch
        self._records_holes = records_holes
        self._gates: dict[str, StandbyGate] = {}
        self._last: MarketData | None = None
        self._gap_id = 0

    def __repr__(self) -> str:
        """Return stream, active line and all lines."""
        return f"HotStandby({self.trust.stream}: {self.active} of {', '.join(self._gates)})"

    def line_up(self, name: str, gate: StandbyGate, now_ns: int, mono_ns: int, out: Output) -> None:
        """A connection carries the stream from now on; the first one is given out."""
        self._gates[name] = gate
        staged = Output()
        gate.on_open(now_ns, mono_ns, staged)
        out.commands += _on(name, staged.commands)
        if not self.active:
            self._activate(name)
        self._settle(now_ns, mono_ns, out)

    def line_down(
        self, name: str, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected"
    ) -> None:
        """A connection carries the stream no longer."""
        gate = self._gates.pop(name, None)
        if gate is None:
            return
        gate.on_close(now_ns, mono_ns, Output(), cause)
        if name == self.active:
            self.active = ""
            if self._gates:
                self._take_over(next(iter(self._gates)), now_ns, mono_ns, out)
        self._settle(now_ns, mono_ns, out, cause)

    def admit(self, name: str, event: MarketData, out: Output) -> None:
        """Take one event from one line; only the active line's results are given out."""
        gate = self._gates.get(name)
        if gate is None:
            return
        if name == self.active and self.trust.current is _SOUND and gate.trust.current is _SOUND:
            self._admit_plain(gate, event, out)
            return
        staged = Output()
        gate.admit(event, staged)
        self._pass_on(name, staged, event.ts_recv_ns, event.ts_mono_ns, out)

    def _admit_plain(self, gate: StandbyGate, event: MarketData, out: Output) -> None:
        """Let the active line's gate write straight into `out` while all is well."""
        events = out.events
        before = len(events)
        gate.admit(event, out)
        if gate.trust.current is not _SOUND:
            told = events[before:]
            data = [e for e in told if not isinstance(e, FeedStatus | Gap)]
            events[before:] = [*filter(_is_alert, told), *data]
            self._settle(event.ts_recv_ns, event.ts_mono_ns, out)
            self._last = data[-1] if data else self._last
        elif len(events) > before:
            self._last = events[-1]

    def review(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Look again who is given out, after something outside judged a line."""
        if self._gates:
            self._settle(now_ns, mono_ns, out)

    def on_timer(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due on one line; its commands are for its own connection."""
        gate = self._gates.get(name)
        if gate is not None and mono_ns >= gate.next_due_ns:
            staged = Output()
            gate.on_timer(now_ns, mono_ns, staged)
            self._pass_on(name, staged, now_ns, mono_ns, out)

    def on_each(
        self,
        act: Callable[[StandbyGate, int, int, Output], None],
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        """Do something with every line's gate; its commands are for its own connection."""
        for name, gate in list(self._gates.items()):
            staged = Output()
            act(gate, now_ns, mono_ns, staged)
            self._pass_on(name, staged, now_ns, mono_ns, out)

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which some line has something to do."""
        return min((gate.next_due_ns for gate in self._gates.values()), default=NEVER_NS)

    def _pass_on(self, name: str, staged: Output, now_ns: int, mono_ns: int, out: Output) -> None:
        out.commands += _on(name, staged.commands)
        is_active = name == self.active
        out.events += filter(_is_alert, staged.events)
        data = [event for event in staged.events if not isinstance(event, FeedStatus | Gap)]
        if is_active and self._is_sound(name):
            self._settle(now_ns, mono_ns, out)
            out.events += data
        else:
            if is_active:
                out.events += data
            self._settle(now_ns, mono_ns, out)
        if is_active and data:
            self._last = data[-1]

    def _is_sound(self, name: str) -> bool:
        return self._gates[name].trust.current is Trust.SOUND

    def _settle(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """Switch if another line is better; take over the trust of the line that is given out."""
        trust = self.trust
        if not self._gates:
            self._open_hole(cause, now_ns, mono_ns, out)
            trust.report("line", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)
            return
        if not self._is_sound(self.active):
            better = next((name for name in self._gates if self._is_sound(name)), "")
            if better:
                self._take_over(better, now_ns, mono_ns, out)
        line = self._gates[self.active].trust
        if line.current is Trust.SOUND:
            if self._gap_id:
                trust.close_gap(self._gap_id, GapState.SNAPSHOT, now_ns, mono_ns, out)
                self._gap_id = 0
            trust.report("connection", Trust.SOUND, "first_data", now_ns, mono_ns, out)
        elif line.current is Trust.UNSOUND:
            self._open_hole(line.cause, now_ns, mono_ns, out)
        trust.report("line", line.current, line.cause, now_ns, mono_ns, out, line.detail)

    def _open_hole(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Enter the hole once, however many lines fail; not before anything was given out."""
        is_ours = cause == "closed"
        if self._records_holes and not is_ours and not self._gap_id and self._last is not None:
            self._gap_id = self.trust.open_gap(0, 0, cause, now_ns, mono_ns, out).gap_id

    def _take_over(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Give out another line from now on, beginning with its whole state if it is sound."""
        self.switches += 1
        self._activate(name)
        if self._is_sound(name):
            staged = Output()
            self._gates[name].republish(self._last, now_ns, mono_ns, staged)
            self.trust.report("line", Trust.SOUND, "switched", now_ns, mono_ns, out)
            out.events += staged.events
            if staged.events:
                self._last = staged.events[-1]

    def _activate(self, name: str) -> None:
        self.active = name
        if self._on_switch is not None:
            self._on_switch(self._gates[name])


def _on(name: str, commands: Sequence[Command]) -> list[Command]:
    """Address what one line asks for to its own connection, whoever carries it out."""
    return [replace(c, line=name) if isinstance(c, Resubscribe) else c for c in commands]


def _is_alert(event: MarketData) -> bool:
    """Say whether a line tells something that is no change of its trust: that is for everybody."""
    return isinstance(event, FeedStatus) and event.previous is event.current
