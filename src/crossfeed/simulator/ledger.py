"""The truth: what was made, what each connection got of it, and what a correct client must report.

Words: a *stream* is one (venue, channel, symbol). A *line* is one unbroken succession of
subscriptions to a stream: a client that loses its connection and subscribes again continues its
line; two connections at the same time are two lines. All gap and duplicate counts are per line and
are exactly what a client on that line can see: a hole is counted when the next message of the
stream arrives, not before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec

from crossfeed.simulator.decimals import trimmed
from crossfeed.simulator.shadow import BookUpdate, ShadowBook

__all__ = ["Chain", "GapRecord", "Ledger", "Line", "StreamKey", "StreamRecord"]

StreamKey = tuple[str, str, str]
#: How a stream's messages chain: by contiguous ids, by nothing, or by a checksum of the state.
Chain = Literal["ids", "none", "checksum"]
Cause = Literal["drop", "cut", "resubscribe", "restart"]
#: Most single records kept per line and kind; counts go on beyond it.
RECORDS_MAX = 100_000


class GapRecord(msgspec.Struct, frozen=True):
    """One hole, both ends inclusive, as the stream's ids count."""

    first: int
    last: int
    #: drop: within a connection; cut: across a lost one; resubscribe: the client had unsubscribed;
    #: restart: the venue began to number anew (first and last are then 0).
    cause: Cause


class Line:
    """What one client got of one stream, across its connections."""

    def __init__(self, stream: StreamRecord, number: int) -> None:
        """Build the account of the `number`-th simultaneous subscription of a stream."""
        self.stream = stream
        self.number = number
        self.is_live = False
        self.connections: list[int] = []
        self.messages = 0
        #: Events delivered once, and their lots (trade streams): repeats and late ones excluded.
        self.events = 0
        self.lots = 0
        self.first: int | None = None
        self.last: int | None = None
        self.gaps: list[GapRecord] = []
        self.gap_count = 0
        self.missing = 0
        self.duplicates = 0
        self.late = 0
        self.desyncs = 0
        self.counts: Counter[str] = Counter()
        self.dropped: list[tuple[int, int]] = []
        #: Books: the client's book since a loss that it has not noticed yet.
        self.shadow: ShadowBook | None = None
        #: Books: the client has seen a wrong checksum and no snapshot since.
        self.is_desynced = False
        self._cause: Cause = "drop"
        self._is_rebased = False
        #: Something after `last` was made for this line and not delivered.
        self.has_tail = False

    def open(self, connection: int) -> None:
        """Continue on a new subscription of connection number `connection`."""
        self.is_live = True
        if not self.connections or self.connections[-1] != connection:
            self.connections.append(connection)

    def end(self, cause: Cause) -> None:
        """Note that the subscription is over, and why."""
        self.is_live = False
        self.has_tail = self.last is not None
        self._cause = cause

    def record(self, first: int, last: int, events: int, lots: int) -> None:
        """Count one delivered message that carries the ids `first..last`."""
        self.messages += 1
        expected = self.last
        if expected is None:
            self.first = first
        elif first == expected + 1:
            pass
        elif first > expected:
            self._gap(expected + 1, first - 1)
        elif self._is_rebased:
            self._add_gap(GapRecord(0, 0, "restart"))
        elif last <= expected:
            self._repeat(first, last, events)
            return
        self.has_tail = False
        self._is_rebased = False
        self._cause = "drop"
        self.last = last
        self.events += events
        self.lots += lots

    def count(self, events: int, lots: int) -> None:
        """Count one delivered message of a stream without ids."""
        self.messages += 1
        self.events += events
        self.lots += lots
        self.has_tail = False

    def apply(self, update: BookUpdate) -> None:
        """Count one delivered update of a checksummed book; see whether the client's book breaks.

        Nothing is computed while the client has everything: a copy of its book exists only from a
        loss until the copy is right again or the client has noticed.
        """
        self.messages += 1
        self.events += 1
        self.has_tail = False
        shadow = self.shadow
        if shadow is None:
            return
        if not shadow.apply(update):
            self._desync()
        elif shadow.equals_after(update):
            self.shadow = None

    def _desync(self) -> None:
        """Count a wrong checksum, once until the next snapshot."""
        self.shadow = None
        if not self.is_desynced:
            self.is_desynced = True
            self.desyncs += 1

    def spoil_book(self) -> None:
        """Count an update delivered with a wrong checksum: the client's book is broken at once."""
        self.messages += 1
        self._desync()

    def resync(self) -> None:
        """Note a snapshot: the client's book is whole again."""
        self.shadow = None
        self.is_desynced = False

    def observe(self, last: int, events: int, lots: int) -> None:
        """Count a message that repeats recent history up to id `last` (a snapshot, last_match).

        Its ids are what the client may take as seen; what it already had is no duplicate. `events`
        of them are new to the client, with `lots`.
        """
        self.messages += 1
        if self.last is None:
            self.first = last + 1
            self.last = last
            return
        if self._is_rebased or last > self.last:
            if not self._is_rebased and last > self.last + events:
                self._gap(self.last + 1, last - events)
            self.events += events
            self.lots += lots
            self.last = last
            self.has_tail = False
            self._is_rebased = False
            self._cause = "drop"

    def rebase(self) -> None:
        """Note that the venue's numbering begins anew: lower ids are then no repeats."""
        if self.last is not None:
            self._is_rebased = True

    def lose(self, kind: str, first: int, last: int, book: BookUpdate | None = None) -> None:
        """Count one message that was made for this line but not (readably) delivered."""
        self.counts[kind] += 1
        self.has_tail = True
        if book is not None and self.shadow is None and not self.is_desynced:
            self.shadow = ShadowBook(book)
        if len(self.dropped) < RECORDS_MAX:
            self.dropped.append((first, last))

    def _gap(self, first: int, last: int) -> None:
        self.missing += last - first + 1
        self._add_gap(GapRecord(first, last, self._cause))

    def _add_gap(self, gap: GapRecord) -> None:
        self.gap_count += 1
        if len(self.gaps) < RECORDS_MAX:
            self.gaps.append(gap)

    def _repeat(self, first: int, last: int, events: int) -> None:
        """Count a message whose ids were seen, or passed over and reported, before."""
        if any(gap.first <= first and last <= gap.last for gap in reversed(self.gaps)):
            self.late += events
        else:
            self.duplicates += events

    def summary(self) -> dict[str, Any]:
        """Return the account as plain values for JSON."""
        causes = Counter(gap.cause for gap in self.gaps)
        return {
            "line": self.number,
            "is_live": self.is_live,
            "connections": self.connections,
            "messages": self.messages,
            "events": self.events,
            "volume": self.stream.volume(self.lots),
            "first": self.first,
            "last": self.last,
            "gaps": self.gap_count,
            "gaps_by_cause": dict(causes),
            "missing": self.missing,
            "gap_ranges": [[gap.first, gap.last, gap.cause] for gap in self.gaps],
            "duplicates": self.duplicates,
            "late": self.late,
            "desyncs": self.desyncs,
            "has_tail": self.has_tail,
            "faults": dict(self.counts),
        }


class StreamRecord:
    """One stream: what was published on it, and its lines."""

    def __init__(self, key: StreamKey, unified: str, chain: Chain, lot_decimals: int) -> None:
        """Build an empty record."""
        self.key = key
        self.unified = unified
        self.chain = chain
        self.lines: list[Line] = []
        self._lot_decimals = lot_decimals

    def open_line(self, connection: int) -> Line:
        """Return the line a new subscription continues: the lowest one without a live one."""
        for line in self.lines:
            if not line.is_live:
                line.open(connection)
                return line
        line = Line(self, len(self.lines))
        self.lines.append(line)
        line.open(connection)
        return line

    def volume(self, lots: int) -> str:
        """Write lots as a decimal text in base units."""
        return trimmed(lots, self._lot_decimals)


class Ledger:
    """All streams, connections and violations of one simulator.

    Read it through `totals`, `gaps`, `streams`, `export`. Written to by the simulator only.
    """

    def __init__(self) -> None:
        """Build an empty ledger."""
        self.streams: dict[StreamKey, StreamRecord] = {}
        #: (venue, rule) -> how often a client broke it.
        self.violations: Counter[tuple[str, str]] = Counter()
        #: (venue, kind) -> connection-level events: accepted, refused, closed, cut, slow_client, …
        self.connections: Counter[tuple[str, str]] = Counter()
        #: (venue, kind) -> REST answers by kind: ok, limited, banned, fault, error.
        self.requests: Counter[tuple[str, str]] = Counter()
        #: (venue, kind) -> faults injected.
        self.faults: Counter[tuple[str, str]] = Counter()
        self.connection_log: list[dict[str, Any]] = []

    def stream(
        self, key: StreamKey, unified: str, chain: Chain, lot_decimals: int = 0
    ) -> StreamRecord:
        """Return the record of a stream, making it at its first use."""
        record = self.streams.get(key)
        if record is None:
            record = self.streams[key] = StreamRecord(key, unified, chain, lot_decimals)
        return record

    def log_connection(self, venue: str, number: int, what: str, now_ns: int) -> None:
        """Note one step in the life of a connection."""
        self.connections[venue, what] += 1
        if len(self.connection_log) < RECORDS_MAX:
            self.connection_log.append(
                {"venue": venue, "connection": number, "what": what, "ts_ns": now_ns}
            )

    def lines(self, venue: str | None = None, channel: str | None = None) -> list[Line]:
        """Return all lines, of one venue or channel if given."""
        return [
            line
            for key, record in self.streams.items()
            if venue in {None, key[0]} and channel in {None, key[1]}
            for line in record.lines
        ]

    def gaps(
        self, venue: str | None = None, channel: str | None = None, cause: Cause | None = None
    ) -> int:
        """Return how many gaps correct clients must have reported so far."""
        lines = self.lines(venue, channel)
        if cause is None:
            return sum(line.gap_count for line in lines)
        return sum(1 for line in lines for gap in line.gaps if gap.cause == cause)

    def duplicates(self, venue: str | None = None, channel: str | None = None) -> int:
        """Return how many repeated events correct clients must have dropped so far."""
        return sum(line.duplicates for line in self.lines(venue, channel))

    def totals(self) -> dict[str, int]:
        """Return the sums over all lines, and the violations."""
        lines = self.lines()
        return {
            "messages": sum(line.messages for line in lines),
            "events": sum(line.events for line in lines),
            "gaps": sum(line.gap_count for line in lines),
            "missing": sum(line.missing for line in lines),
            "duplicates": sum(line.duplicates for line in lines),
            "late": sum(line.late for line in lines),
            "desyncs": sum(line.desyncs for line in lines),
            "tails": sum(line.has_tail for line in lines if line.stream.chain != "none"),
            "violations": sum(self.violations.values()),
        }

    def by_channel(self) -> dict[str, dict[str, int]]:
        """Return sums per "venue.channel"."""
        sums: dict[str, Counter[str]] = {}
        for (venue, channel, _), record in self.streams.items():
            total = sums.setdefault(f"{venue}.{channel}", Counter())
            for line in record.lines:
                total.update(
                    messages=line.messages,
                    events=line.events,
                    gaps=line.gap_count,
                    missing=line.missing,
                    duplicates=line.duplicates,
                    late=line.late,
                    desyncs=line.desyncs,
                )
                total.update({f"fault_{kind}": count for kind, count in line.counts.items()})
        return {name: dict(total) for name, total in sums.items()}

    def export(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""

        def named(counter: Counter[tuple[str, str]]) -> dict[str, int]:
            return {f"{venue}.{kind}": count for (venue, kind), count in sorted(counter.items())}

        return {
            "totals": self.totals(),
            "channels": self.by_channel(),
            "violations": named(self.violations),
            "connections": named(self.connections),
            "requests": named(self.requests),
            "faults": named(self.faults),
            "connection_log": self.connection_log,
            "streams": [
                {
                    "venue": key[0],
                    "channel": key[1],
                    "symbol": key[2],
                    "unified": record.unified,
                    "chain": record.chain,
                    "lines": [line.summary() for line in record.lines],
                }
                for key, record in self.streams.items()
            ],
        }
