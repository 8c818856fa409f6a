"""Several connections of one stream, given out as one: merged by number where there are numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from msgspec import Struct

from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.events import AggTrade, BookDelta, MarketData, OrderEvent, Quote, Trade
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark

__all__ = ["LineLimits", "LineMerge", "LineStats", "MergedGate", "span_of"]

SECOND_NS: Final = 1_000_000_000
STRAYS_MAX: Final = 64
Span = tuple[int, int]


class MergedGate(Protocol):
    """The gate behind the lines: an `IdGate`, a `BookSync` or a `ChainGate`."""

    @property
    def next_number(self) -> int:
        """Number it expects next, 0 where it does not know."""
        ...

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one event."""
        ...

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """A connection carries the stream again."""
        ...

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = ...) -> None:
        """No connection carries the stream any more."""
        ...


class LineLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one merged stream.

    Attributes:
        window_s: An event that is ahead waits this long for the ones before it.
        window_max: No more events wait than this.
        memory_max: Events remembered to compare what the lines say of one number.
        review_events: A line is judged slow or not each time it brought so many events ...
        review_s: ... or, if it brings fewer, this long after the last time ...
        review_late_min: ... but by no fewer events than this that another line brought first.
        slow_s: A line whose events come this much behind the winner's on average is demoted.
    """

    window_s: float = 0.25
    window_max: int = 64
    memory_max: int = 1_024
    review_events: int = 1_000
    review_s: float = 10.0
    review_late_min: int = 8
    slow_s: float = 0.5


class LineStats(Struct, frozen=True, kw_only=True):
    """Counts of one line.

    Attributes:
        events: Events it brought.
        wins: Of these, first of their number; 0 where lines are not merged but stand by.
        behind_ms: Mean time its other events came behind the winner, lately.
        is_demoted: Too slow: its events still count, but nobody waits for it.
        is_active: Whether it is given out: all merged lines, one of those that stand by.
    """

    name: str
    events: int
    wins: int
    behind_ms: float
    is_demoted: bool
    is_active: bool = True


class _Line:
    """One connection's part in a merged stream."""

    __slots__ = (
        "behind_ns",
        "events",
        "first",
        "is_demoted",
        "late",
        "mean_ns",
        "position",
        "reviewed_ns",
        "since_review",
        "wins",
    )

    def __init__(self, position: int, mono_ns: int) -> None:
        self.first = 0
        self.mean_ns = 0.0
        self.reviewed_ns = mono_ns
        self.events = 0
        self.wins = 0
        self.late = 0
        self.behind_ns = 0
        self.since_review = 0
        self.position = position
        self.is_demoted = False

    def review(self, mono_ns: int, limits: LineLimits) -> None:
        """Demote a line that is slow on average; take it back when it is not."""
        self.since_review += 1
        is_due = self.since_review >= limits.review_events
        if not is_due and self.late >= limits.review_late_min:
            is_due = mono_ns - self.reviewed_ns >= limits.review_s * SECOND_NS
        if is_due:
            self.mean_ns = self.behind_ns / self.late if self.late else 0.0
            self.is_demoted = self.mean_ns > limits.slow_s * SECOND_NS
            self.behind_ns = self.late = self.since_review = 0
            self.reviewed_ns = mono_ns


def span_of(event: MarketData) -> Span:
    """Return first and last number of an event: (id, id) of a trade, what a book change folds in.

    Where a change names its predecessor (futures `pu`), it begins right behind that.
    """
    if isinstance(event, Trade | AggTrade):
        return event.trade_id, event.trade_id
    if isinstance(event, BookDelta):
        return (event.previous + 1 if event.previous else event.first), event.last
    assert isinstance(event, OrderEvent), f"{type(event).__name__} has no number"
    return event.sequence, event.sequence


class LineMerge:
    """Merges a numbered stream from several lines in front of its one gate.

    First arrival wins, what another line brings again is dropped. While two lines are up, an event
    that is ahead waits (250 ms, 64 events) for the ones before it; on one line out of order is a
    gap at once. So a swap, a loss on one line, and the death of a line cost nothing as long as the
    other line is whole; what neither brings reaches the gate as one hole.

    Made by the pipeline; `line` makes the gate that one connection feeds. A new line that comes up
    while another lives needs no resynchronisation: that is also how a connection is rotated.

    Attributes:
        duplicates: Events dropped because another line was first.
        disagreements: Of these, with another content than the first.
        next_due_ns: Monotonic time at which `on_timer` has something to do.
    """

    def __init__(
        self,
        gate: MergedGate,
        trust: StreamTrust,
        *,
        span: Callable[[Any], Span] = span_of,
        limits: LineLimits | None = None,
    ) -> None:
        """Stand before `gate`; `span` reads an event's numbers."""
        self._gate = gate
        self._trust = trust
        self._span = span
        self._limits = limits or LineLimits()
        self._lines: dict[str, _Line] = {}
        self._next = gate.next_number
        self._waiting: dict[int, MarketData] = {}
        self._seen: dict[int, MarketData] = {}
        self._strays = 0
        self.duplicates = 0
        self.disagreements = 0
        self.next_due_ns = NEVER_NS

    def __repr__(self) -> str:
        """Return stream, lines and how many events wait."""
        names = ", ".join(self._lines)
        return f"LineMerge({self._trust.stream}: {names}; {len(self._waiting)} waiting)"

    def line_up(self, name: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """A connection carries the stream from now on."""
        if not self._lines:
            self._gate.on_open(now_ns, mono_ns, out)
        self._lines[name] = _Line(self._gate.next_number, mono_ns)

    def line_down(
        self, name: str, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected"
    ) -> None:
        """A connection carries the stream no longer. The stream suffers only if it was the last."""
        if self._lines.pop(name, None) is None:
            return
        self._drain(mono_ns, out)
        if len(self._lines) <= 1:
            self._seen.clear()
        if not self._lines:
            self._gate.on_close(now_ns, mono_ns, out, cause)

    def admit(self, name: str, event: MarketData, out: Output) -> None:
        """Take one event from one line; see `Gate.admit`. From a line that is not up: dropped."""
        line = self._lines.get(name)
        if line is None:
            self.duplicates += 1
            return
        line.events += 1
        if len(self._lines) == 1 and not self._waiting:
            line.wins += 1
            line.position = self._next = self._span(event)[1] + 1
            self._gate.admit(event, out)
            return
        if event.marks & Mark.HISTORY and self._next:
            # What a new line tells of the past, the other one has told or is about to tell live.
            self.duplicates += 1
            return
        first, last = self._span(event)
        if last <= 0:
            self._give_unnumbered(name, event, out)
            return
        line.position = max(line.position, last + 1)
        line.first = line.first or first
        if last < self._next or first in self._waiting:
            self._repeated(line, last, event, out)
        elif first <= self._next or not self._next:
            self._remember(line, last, event)
            self._next = last + 1
            self._gate.admit(event, out)
        else:
            self._remember(line, last, event)
            if not self._waiting:
                self.next_due_ns = event.ts_mono_ns + int(self._limits.window_s * SECOND_NS)
            self._waiting[first] = event
        self._drain(event.ts_mono_ns, out)
        line.review(event.ts_mono_ns, self._limits)

    def has_joined(self, name: str) -> bool:
        """Say whether the others have brought all that came before a line's first event.

        From then on that line alone carries the stream without a hole. True where nothing has come
        at all yet.
        """
        line = self._lines.get(name)
        if line is None or not self._gate.next_number:
            return line is not None
        others = [other for other in self._lines.values() if other is not line]
        return not others or any(other.position >= line.first > 0 for other in others)

    def _give_unnumbered(self, name: str, event: MarketData, out: Output) -> None:
        """Give out an event without a number from the first line only: nothing else tells twins."""
        if name == next(iter(self._lines)):
            self._gate.admit(event, out)
        else:
            self.duplicates += 1

    def _remember(self, line: _Line, last: int, event: MarketData) -> None:
        line.wins += 1
        self._strays = 0
        self._seen[last] = event
        if len(self._seen) > self._limits.memory_max:
            del self._seen[next(iter(self._seen))]

    def _repeated(self, line: _Line, last: int, event: MarketData, out: Output) -> None:
        """Drop what another line brought before, and compare the two.

        What nobody remembers is the gate's to judge: long past, or a venue that counts anew.
        """
        first_seen = self._seen.get(last)
        if first_seen is None:
            self._gate.admit(event, out)
            self._strays += 1
            if self._strays >= STRAYS_MAX:
                self._next, self._strays = last + 1, 0
                self._seen.clear()
                for each in self._lines.values():
                    each.position = 0
            return
        self.duplicates += 1
        line.late += 1
        line.behind_ns += event.ts_mono_ns - first_seen.ts_mono_ns
        if _content(first_seen) != _content(event):
            self.disagreements += 1
            if self.disagreements & (self.disagreements - 1) == 0:  # 1, 2, 4, 8 ...
                detail = f"number {last}: two lines differ ({self.disagreements} times so far)"
                self._trust.alert("lines_disagree", detail, event.ts_recv_ns, event.ts_mono_ns, out)

    def _drain(self, mono_ns: int, out: Output) -> None:
        """Give out what waits and is in order; the rest, too, if nobody can bring what lacks."""
        while self._waiting:
            first = min(self._waiting)
            may_wait = mono_ns < self.next_due_ns and len(self._waiting) < self._limits.window_max
            if first > self._next and may_wait and self._can_come():
                return
            event = self._waiting.pop(first)
            self._next = max(self._next, self._span(event)[1] + 1)
            self._gate.admit(event, out)
        self.next_due_ns = NEVER_NS

    def _can_come(self) -> bool:
        """Say whether a line that is up, and not demoted, may still bring the next number."""
        lines = [line for line in self._lines.values() if not line.is_demoted]
        return len(lines) > 1 or any(line.position <= self._next for line in lines)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """Let go of what has waited long enough."""
        self._drain(mono_ns, out)

    def line_stats(self) -> list[LineStats]:
        """Return the counts of the lines that are up."""
        return [
            LineStats(
                name=name,
                events=line.events,
                wins=line.wins,
                behind_ms=(line.behind_ns / line.late if line.late else line.mean_ns) / 1e6,
                is_demoted=line.is_demoted,
            )
            for name, line in self._lines.items()
        ]


def _content(event: MarketData) -> object:
    """Return what two lines must agree on."""
    if isinstance(event, Trade | AggTrade):
        return event.price, event.quantity, event.side
    if isinstance(event, BookDelta):
        return event.bids, event.asks
    if isinstance(event, Quote):
        return event.bid_price, event.bid_quantity, event.ask_price, event.ask_quantity
    return None
