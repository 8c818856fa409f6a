"""Repair of holes in numbered streams: what to ask for, when to ask again, when to give up."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Backfill
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.status import GapState
from crossfeed.model.trust import Mark, Trust

__all__ = ["BackfillLimits", "BackfillPolicy", "Repairs"]

SECOND_NS: Final = 1_000_000_000
SLACK_NS: Final = SECOND_NS
"""Numbers need not ascend with the venue's time to the last instant."""


class BackfillPolicy(StrEnum):
    """What happens to the events of a hole, and to live events meanwhile."""

    LATE = "late"
    """Live events go on at once; the missing ones follow when fetched, marked BACKFILLED."""
    HOLD = "hold"
    """Live events are held back (bounded) until the hole is closed, then all come in order."""
    OFF = "off"
    """Nothing is fetched: the hole is recorded as LOST."""


class BackfillLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one stream's repairs.

    Attributes:
        holes_max: Holes under repair at once; more give up the oldest as LOST.
        ids_max: Missing events asked for by one command.
        spans_max: Commands sent for one hole at once.
        attempts_max: Rounds of asking for one hole.
        answer_s: A round without an answer is taken as failed after this.
        retry_s: Wait before the second round; doubles with each further one.
        retry_max_s: Longest such wait.
        deadline_s: A hole older than this is given up as LOST.
        hold_events_max: HOLD: more held events than this are let go.
        hold_s: HOLD: events are held no longer than this.
        tail_grace_s: A tail the venue speaks of may be this late before it counts as missing.
        tail_check_s: A stream silent for this long is asked for by REST, in case that its end was
            lost; the distance doubles with each further silent check. 0: never.
        tail_check_max_s: Longest such distance.
        reconnect_check_s: The same, after a new connection that has brought nothing yet.
    """

    holes_max: int = 64
    ids_max: int = 50_000
    spans_max: int = 8
    attempts_max: int = 6
    answer_s: float = 10.0
    retry_s: float = 1.0
    retry_max_s: float = 30.0
    deadline_s: float = 120.0
    hold_events_max: int = 10_000
    hold_s: float = 5.0
    tail_grace_s: float = 1.0
    tail_check_s: float = 60.0
    tail_check_max_s: float = 960.0
    reconnect_check_s: float = 2.0


class _Repair:
    """One hole under repair."""

    __slots__ = (
        "after_ns",
        "attempts",
        "deadline_ns",
        "due_ns",
        "found",
        "is_given_up",
        "unanswered",
    )

    def __init__(self, after_ns: int, deadline_ns: int) -> None:
        self.after_ns = after_ns
        self.deadline_ns = deadline_ns
        self.attempts = 0
        self.due_ns = NEVER_NS
        self.unanswered = 0
        self.is_given_up = False
        self.found: list[tuple[int, MarketData]] = []


class Repairs:
    """The holes of one stream that are being repaired, oldest first. Owned by an `IdGate`.

    Fetched events are given out hole by hole in ascending order, each hole when it is complete or
    given up: so backfilled events are ordered among themselves. A hole that is repaired only in
    part stays open, is asked for again with backoff, and is LOST after `attempts_max` rounds or
    `deadline_s`.

    Attributes:
        is_open: Whether any hole is open.
        next_due_ns: Monotonic time at which `on_timer` has something to do.
    """

    def __init__(
        self,
        trust: StreamTrust,
        number_of: Callable[[Any], int],
        limits: BackfillLimits,
        closed: Callable[[Output], None],
    ) -> None:
        """Start without holes.

        Args:
            trust: The stream's trust.
            number_of: Reads an event's number.
            limits: Limits of the repairs.
            closed: Called after each hole that is closed, behind its events.
        """
        self._trust = trust
        self._closed = closed
        self._number_of = number_of
        self._limits = limits
        self._repairs: dict[int, _Repair] = {}
        self.is_open = False
        self.next_due_ns = NEVER_NS

    def start(
        self,
        first: int,
        last: int,
        cause: str,
        after_ns: int,
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        """Record the hole `first..last`, make the stream UNSOUND and ask for the missing events."""
        if len(self._repairs) >= self._limits.holes_max:
            next(iter(self._repairs.values())).is_given_up = True
            self.release(now_ns, mono_ns, out)
        record = self._trust.open_gap(first, last, cause, now_ns, mono_ns, out)
        detail = f"{record.missing} missing: {first}..{last}"
        self._trust.report("chain", Trust.UNSOUND, f"{cause}_gap", now_ns, mono_ns, out, detail)
        deadline_ns = mono_ns + int(self._limits.deadline_s * SECOND_NS)
        self._repairs[record.gap_id] = _Repair(after_ns, deadline_ns)
        self.is_open = True
        self._ask(record.gap_id, mono_ns, out)

    def _ask(self, gap_id: int, mono_ns: int, out: Output) -> None:
        """Ask for what is missing of one hole: its newest part where that is beyond the limits."""
        repair, limits = self._repairs[gap_id], self._limits
        repair.attempts += 1
        spans = self._trust.ledger.missing(gap_id)[-limits.spans_max :]
        for first, last in spans:
            bounded = max(first, last - limits.ids_max + 1)
            out.commands.append(
                Backfill(self._trust.stream, bounded, last, gap_id, repair.after_ns)
            )
        repair.unanswered = len(spans)
        self._set_due(repair, mono_ns + int(limits.answer_s * SECOND_NS))

    def _set_due(self, repair: _Repair, due_ns: int) -> None:
        repair.due_ns = min(due_ns, repair.deadline_ns)
        self._find_due()

    def _find_due(self) -> None:
        due = (repair.due_ns for repair in self._repairs.values())
        self.next_due_ns = min(due, default=NEVER_NS)

    @property
    def first_number(self) -> int:
        """First number of the oldest open hole, 0 if none is open."""
        record = self._trust.ledger.get(next(iter(self._repairs), 0))
        return 0 if record is None else record.first

    def offer(self, number: int, event: MarketData) -> bool:
        """Take `event` if its number is missing in an open hole; `release` gives it out."""
        for gap_id, repair in self._repairs.items():
            if 0 < event.ts_event_ns < repair.after_ns - SLACK_NS:
                continue  # of an older numbering, told by a cache that does not know of the new one
            if self._trust.ledger.fill(gap_id, number):
                marked = replace(event, marks=event.marks | Mark.BACKFILLED, trust=Trust.SOUND)
                repair.found.append((number, marked))
                return True
        return False

    def answered(self, gap_id: int, mono_ns: int) -> None:
        """Take one request for the hole as answered as far as the venue can (or as failed)."""
        repair = self._repairs.get(gap_id)
        if repair is None:
            return
        repair.unanswered = max(0, repair.unanswered - 1)
        if not repair.unanswered:
            limits = self._limits
            wait_s = min(limits.retry_s * 2.0 ** (repair.attempts - 1), limits.retry_max_s)
            self._set_due(repair, mono_ns + int(wait_s * SECOND_NS))

    def release(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Give out and close the oldest holes as far as they are complete or given up."""
        for gap_id, repair in list(self._repairs.items()):
            if not self._trust.ledger.missing(gap_id):
                self._finish(gap_id, GapState.BACKFILLED, now_ns, mono_ns, out)
            elif repair.is_given_up:
                self._finish(gap_id, GapState.LOST, now_ns, mono_ns, out)
            else:
                break

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Ask again, or give up, where it is due."""
        for gap_id, repair in self._repairs.items():
            if repair.due_ns > mono_ns:
                continue
            is_last_round = repair.attempts >= self._limits.attempts_max
            if not self._trust.ledger.missing(gap_id):
                repair.due_ns = NEVER_NS  # complete: waits for an older hole
            elif is_last_round or mono_ns >= repair.deadline_ns:
                repair.is_given_up = True
                repair.due_ns = NEVER_NS
            else:
                self._ask(gap_id, mono_ns, out)
        self.release(now_ns, mono_ns, out)
        self._find_due()

    def abandon(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Give up every open hole (the venue has begun to count anew)."""
        for gap_id in list(self._repairs):
            self._finish(gap_id, GapState.LOST, now_ns, mono_ns, out)

    def _finish(self, gap_id: int, state: GapState, now_ns: int, mono_ns: int, out: Output) -> None:
        repair = self._repairs.pop(gap_id)
        repair.found.sort(key=_number)
        out.events.extend(event for _, event in repair.found)
        self._trust.close_gap(gap_id, state, now_ns, mono_ns, out)
        self._find_due()
        if not self._repairs:
            self.is_open = False
            self._trust.report("chain", Trust.SOUND, str(state), now_ns, mono_ns, out)
        self._closed(out)


def _number(found: tuple[int, MarketData]) -> int:
    return found[0]
