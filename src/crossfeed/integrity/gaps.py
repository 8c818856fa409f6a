"""The gap ledger: every hole of every stream, from discovery to repair or loss."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.model.status import GapRecord, GapState, Stream

__all__ = ["GapLedger", "GapTotals"]

CAPACITY: Final = 10_000
FRAGMENTS_MAX: Final = 1_024
Span = tuple[int, int]
"""First and last missing number, both inclusive."""


class GapTotals(Struct, frozen=True, kw_only=True):
    """What the ledger has seen since it was made. Never decreases, except `open`.

    Attributes:
        found: Holes found.
        unnumbered: Of these, holes of streams without numbers (a book rebuilt after a reconnect).
        open: Holes that are open now.
        backfilled: Holes closed with every missing event fetched.
        snapshot: Holes closed by rebuilding the state.
        lost: Holes given up.
        events_missing: Missing events counted when the holes were found.
        events_repaired: Of these, fetched.
        events_lost: Of these, given up or superseded by a snapshot.
        overflowed: Records dropped because the ledger was full (their counts stay in the totals).
    """

    found: int
    unnumbered: int
    open: int
    backfilled: int
    snapshot: int
    lost: int
    events_missing: int
    events_repaired: int
    events_lost: int
    overflowed: int


class _Hole:
    """A record with the numbers still missing, as ascending disjoint spans."""

    __slots__ = ("record", "spans")

    def __init__(self, record: GapRecord, spans: list[Span]) -> None:
        self.record = record
        self.spans = spans


class GapLedger:
    """All gap records of one client. Bounded; made and kept by the pipeline, written by the gates.

    When it is full the oldest closed record is dropped (the oldest open one if none is closed) and
    counted; totals never forget.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Start empty, with room for `capacity` records (> 0)."""
        assert capacity > 0, "a ledger without room cannot keep a gap"
        self._capacity = capacity
        self._holes: dict[int, _Hole] = {}
        self._questions: dict[Stream, GapRecord] = {}
        self._last_id = 0
        self._asked = 0
        self._unnumbered = 0
        self._open = 0
        self._closed = dict.fromkeys(GapState, 0)
        self._events_missing = 0
        self._events_repaired = 0
        self._events_lost = 0
        self._overflowed = 0

    def __repr__(self) -> str:
        """Return the counts."""
        return f"GapLedger({self._last_id} found, {self._open} open, {self._overflowed} overflowed)"

    def open(
        self,
        stream: Stream,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        *,
        is_countable: bool = True,
    ) -> GapRecord:
        """Record a hole.

        Args:
            stream: Where.
            first: First missing number, 0 where the stream has none.
            last: Last missing number, 0 where it is not known.
            cause: Stable word (see `GapRecord.cause`).
            now_ns: Wall time.
            is_countable: False where the numbers bound the hole but are not one per event.

        Returns:
            The new record, OPEN.
        """
        has_spans = is_countable and last >= first > 0
        missing = last - first + 1 if has_spans else 0
        self._last_id += 1
        record = GapRecord(
            gap_id=self._last_id,
            stream=stream,
            first=first,
            last=last,
            missing=missing,
            cause=cause,
            ts_found_ns=now_ns,
        )
        if len(self._holes) >= self._capacity:
            self._make_room()
        self._holes[record.gap_id] = _Hole(record, [(first, last)] if has_spans else [])
        self._open += 1
        self._unnumbered += first == 0
        self._events_missing += missing
        return record

    def _make_room(self) -> None:
        closed = (
            key for key, hole in self._holes.items() if hole.record.state is not GapState.OPEN
        )
        victim = next(closed, None)
        if victim is None:
            victim = next(iter(self._holes))
            self._open -= 1
            self._events_lost += self._holes[victim].record.missing
        del self._holes[victim]
        self._overflowed += 1

    def ask(self, stream: Stream) -> int:
        """Return the id under which one may ask whether `stream` misses something at its end.

        A question is no gap: it is not counted, not listed and never closed. Its (negative) id
        leads the answer back to the stream.
        """
        question = self._questions.get(stream)
        if question is None:
            if len(self._questions) >= self._capacity:
                del self._questions[next(iter(self._questions))]
            self._asked += 1
            question = GapRecord(
                gap_id=-self._asked,
                stream=stream,
                first=0,
                last=0,
                missing=0,
                cause="question",
                ts_found_ns=0,
            )
            self._questions[stream] = question
        return question.gap_id

    def get(self, gap_id: int) -> GapRecord | None:
        """Return a record as it stands now, None if it never was or was dropped for room."""
        if gap_id < 0:
            return next((r for r in self._questions.values() if r.gap_id == gap_id), None)
        hole = self._holes.get(gap_id)
        return None if hole is None else hole.record

    def missing(self, gap_id: int) -> tuple[Span, ...]:
        """Return what is still missing, ascending; empty for unknown and uncountable holes."""
        hole = self._holes.get(gap_id)
        return () if hole is None else tuple(hole.spans)

    def is_missing(self, gap_id: int, number: int) -> bool:
        """Say whether `number` is still missing in that hole. Cost O(log fragments)."""
        hole = self._holes.get(gap_id)
        if hole is None:
            return False
        index = bisect_right(hole.spans, number, key=_first) - 1
        return index >= 0 and number <= hole.spans[index][1]

    def fill(self, gap_id: int, number: int) -> bool:
        """Take one missing number as fetched; the record stays OPEN until `close`.

        Returns:
            True if it was missing. False if not, or if it would break the hole into more than 1,024
            pieces (it then stays missing, so that it is asked for again).
        """
        hole = self._holes.get(gap_id)
        if hole is None or not hole.spans:
            return False
        spans = hole.spans
        index = bisect_right(spans, number, key=_first) - 1
        if index < 0 or number > spans[index][1]:
            return False
        first, last = spans[index]
        left = [(first, number - 1)] if first < number else []
        right = [(number + 1, last)] if number < last else []
        if left and right and len(spans) >= FRAGMENTS_MAX:
            return False
        spans[index : index + 1] = left + right
        hole.record = replace(hole.record, missing=hole.record.missing - 1)
        self._events_repaired += 1
        return True

    def close(
        self, gap_id: int, state: GapState, now_ns: int, *, last: int = 0
    ) -> GapRecord | None:
        """Close an open hole as BACKFILLED, SNAPSHOT or LOST.

        Args:
            gap_id: Which.
            state: How it ended.
            now_ns: Wall time.
            last: The last missing number, where only the closing showed it.

        Returns:
            The closed record; None if it is unknown or closed already (nothing changes then).
        """
        hole = self._holes.get(gap_id)
        if hole is None or hole.record.state is not GapState.OPEN:
            return None
        assert state is not GapState.OPEN, "a hole is closed with an ending"
        assert state is not GapState.BACKFILLED or not hole.spans, "a partial repair stays open"
        self._events_lost += hole.record.missing
        self._open -= 1
        self._closed[state] += 1
        hole.spans = []
        hole.record = replace(
            hole.record, state=state, ts_closed_ns=now_ns, last=last or hole.record.last
        )
        return hole.record

    def records(
        self, stream: Stream | None = None, state: GapState | None = None
    ) -> Iterator[GapRecord]:
        """Yield the kept records, oldest first, of one stream or in one state where given."""
        for hole in self._holes.values():
            record = hole.record
            if stream in (None, record.stream) and state in (None, record.state):
                yield record

    def totals(self) -> GapTotals:
        """Return the counts since the start."""
        return GapTotals(
            found=self._last_id,
            unnumbered=self._unnumbered,
            open=self._open,
            backfilled=self._closed[GapState.BACKFILLED],
            snapshot=self._closed[GapState.SNAPSHOT],
            lost=self._closed[GapState.LOST],
            events_missing=self._events_missing,
            events_repaired=self._events_repaired,
            events_lost=self._events_lost,
            overflowed=self._overflowed,
        )


def _first(span: Span) -> int:
    return span[0]
