"""The parts that single connections have in a stream they carry together, judged one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import asdict

from crossfeed.integrity.freshness import FreshnessStats
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Want
from crossfeed.model.events import MarketData
from crossfeed.model.output import Gate, Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Trust

if TYPE_CHECKING:
    from crossfeed.integrity.freshness import Freshness, Watched
    from crossfeed.runtime.connection import Connection
    from crossfeed.runtime.streams import StreamSet

__all__ = ["LinePart", "LineParts", "freshness_of", "lines_of", "watch_streams"]

_SOUND: Final = Trust.SOUND


class LinePart:
    """What one line has brought of a stream with one gate for all lines, and what is said of it.

    While the line is alone its events go straight to the gate and are read there; while there are
    several each part is the entry of its line and notes them.

    Attributes:
        name: The line.
        own: Newest event noted for this line.
        is_shared: One state serves all lines.
    """

    __slots__ = ("_complaints", "_mark", "_parts", "_take", "is_shared", "name", "own")

    def __init__(self, parts: LineParts, name: str) -> None:
        """Start without an event: what came before on other lines is not this one's."""
        self.name = name
        self.is_shared = True
        self.own: MarketData | None = None
        self._parts = parts
        self._mark = parts.gate.last_event
        self._take: Gate | None = None
        self._complaints: dict[str, tuple[Trust, str, str, int]] = {}

    # ── events ──────────────────────────────────────────────────────────────

    def lead_to(self, target: Gate | None) -> None:
        """Note events from now on and hand them to `target`; None: they go to the gate directly."""
        if target is not None and self._take is None:
            self.own = self.last_event
        elif target is None:
            self._mark = self._parts.gate.last_event
        self._take = target

    def admit(self, event: MarketData, out: Output) -> None:
        """Take an event of this line."""
        assert self._take is not None, "a line that is alone goes straight to the gate"
        self.own = event
        self._take.admit(event, out)

    @property
    def last_event(self) -> MarketData | None:
        """Newest event of this line, None before the first."""
        if self._take is not None:
            return self.own
        newest = self._parts.gate.last_event
        return self.own if newest is self._mark else newest

    def newest_elsewhere(self) -> MarketData | None:
        """Return the newest event of the other lines that are not themselves found silent."""
        return self._parts.newest_beside(self)

    # ── what is said of it ──────────────────────────────────────────────────

    @property
    def stream(self) -> Stream:
        """Which stream."""
        return self._parts.trust.stream

    @property
    def current(self) -> Trust:
        """The worst of what is said of the stream and of this line."""
        said = (found[0] for found in self._complaints.values())
        return max(self._parts.trust.current, *said, _SOUND)

    def complaint(self, source: str) -> Trust:
        """Return what `source` has against this line, SOUND if nothing or if data came since."""
        return self.found(source)[0]

    def found(self, source: str) -> tuple[Trust, str, str, int]:
        """Return trust, cause, detail and monotonic time of what `source` has against this line."""
        found = self._complaints.get(source)
        if found is None:
            return _SOUND, "", "", 0
        last = self.last_event
        if source == "freshness" and last is not None and last.ts_mono_ns > found[3]:
            return _SOUND, "", "", 0
        return found

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
        """Set what `source` has against this line; the stream has it while all its lines do."""
        if trust is not _SOUND:
            self._complaints[source] = (trust, cause, detail, mono_ns)
        elif not self._complaints or self._complaints.pop(source, None) is None:
            return
        self._parts.settle(source, now_ns, mono_ns, out)

    def alert(self, cause: str, detail: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Let the stream tell it, with the line's name."""
        self._parts.trust.alert(cause, f"{self.name}: {detail}", now_ns, mono_ns, out)


class LineParts:
    """All lines of one stream with one gate. Owned by its carrier.

    Attributes:
        trust: The stream's trust.
        gate: The gate of all lines.
    """

    def __init__(self, gate: Watched, trust: StreamTrust) -> None:
        """Start without a line."""
        self.gate = gate
        self.trust = trust
        self._parts: dict[str, LinePart] = {}

    def __getitem__(self, name: str) -> LinePart:
        """Return the part of a line that is up."""
        return self._parts[name]

    def add(self, name: str) -> LinePart:
        """Take a line that comes up; nothing is known of it yet."""
        part = self._parts[name] = LinePart(self, name)
        return part

    def remove(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Drop a line that went down; the stream is what the others make of it."""
        if self._parts.pop(name, None) is None:
            return
        for source in ("freshness", "lag"):
            self.settle(source, now_ns, mono_ns, out)

    def newest_beside(self, part: LinePart) -> MarketData | None:
        """Return the newest event of the lines beside `part` that nothing is said against."""
        if len(self._parts) == 1:
            return None
        events = [
            event
            for other in self._parts.values()
            if other is not part and other.complaint("freshness") is _SOUND
            if (event := other.last_event) is not None
        ]
        return max(events, key=_received, default=None)

    def settle(self, source: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Say of the stream what is true of all its lines: one good line makes it good."""
        if not self._parts:
            self.trust.report(source, _SOUND, "no_line", now_ns, mono_ns, out)
            return
        said = [
            found
            for part in self._parts.values()
            if (found := part.found(source))[0] is not _SOUND or part.last_event is not None
        ]
        if not said:
            return
        trust, cause, detail, _ = min(said, key=_severity)
        self.trust.report(source, trust, cause or "fresh", now_ns, mono_ns, out, detail)


def watch_streams(
    freshness: Freshness, streams: StreamSet, line: str, wants: Sequence[Want], mono_ns: int
) -> None:
    """Have `freshness` watch over the streams of `wants`, as far as connection `line` brings them.

    Streams without a symbol (status) speak when they have to, and are not watched.
    """
    for want in wants:
        for flow in streams.of(want):
            channel, carrier = flow.channel, flow.carrier
            if not flow.stream.symbol or channel.kind == "status" or line not in carrier.lines:
                continue
            trust, events, elsewhere = carrier.part(line)
            freshness.watch(
                trust,
                events,
                mono_ns,
                age_limit_s=channel.age_limit_s,
                is_event_like=channel.is_event_like,
                elsewhere=elsewhere,
            )


def freshness_of(connections: Iterable[Connection]) -> dict[str, float]:
    """Return the counts of what was found silent and what was done, over all connections.

    `lag_ms` is the worst, `quiet` what is silent now with evidence that it is only quiet.
    """
    totals: dict[str, float] = dict.fromkeys(FreshnessStats.__struct_fields__, 0)
    for connection in connections:
        for name, value in asdict(connection.freshness.stats()).items():
            totals[name] = max(totals[name], value) if name == "lag_ms" else totals[name] + value
    return totals


def lines_of(streams: StreamSet) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the counts of each line of every stream that several connections carry, by name."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for stream, line in streams.lines():
        counts = asdict(line)
        found.setdefault(f"{stream.channel}:{stream.symbol}", {})[counts.pop("name")] = counts
    return found


def _received(event: MarketData) -> int:
    return event.ts_mono_ns


def _severity(found: tuple[Trust, str, str, int]) -> Trust:
    return found[0]
