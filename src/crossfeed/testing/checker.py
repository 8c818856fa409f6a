"""The judge of a client: what it gave out and what it reported, against what the venue really made.

It shares no code with the client: it imports nothing of the product, works on plain records, and is
itself tested with clients that are broken on purpose. What it proves (the invariants' numbers are
those of the fault catalogue's page):

- **I1, I2** of a numbered stream, every number the venue made between the first and the last one
  seen was given out, or lies in a reported hole; a reported hole holds nothing but missing numbers.
- **I3** no number is given out twice.
- **I4** live events ascend; late ones are marked, lie in a reported hole and ascend within it.
- **I5** a book (or its top) that was given out as sound equals the venue's own at the same update,
  to the last digit.
- **I6** prices and sizes are the venue's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

__all__ = [
    "BookSeen",
    "BookTruth",
    "BookVerdict",
    "Fault",
    "NumberedVerdict",
    "Reported",
    "Seen",
    "Violation",
    "judge_books",
    "judge_numbered",
]

Figures = tuple[float, float]
"""Price and size."""
Levels = Sequence[Figures]
KEPT = 50
"""Violations kept in words per stream; all are counted."""


class Fault(StrEnum):
    """What a client can get wrong."""

    UNDETECTED = "undetected gap"
    INEXACT = "inexact range"
    DOUBLED = "given out twice"
    DISORDER = "out of order"
    UNMARKED = "late without a mark or a hole"
    INVENTED = "never made by the venue"
    WRONG_VALUE = "wrong value"
    FALSE_REPAIR = "called repaired, and is not"
    UNSOUND_BOOK = "wrong book given out as sound"
    OPEN = "hole still open at the end"


class Violation(Struct, frozen=True):
    """One broken promise."""

    fault: Fault
    at_ns: int
    detail: str


class Seen(Struct, frozen=True, gc=False):
    """One event of a numbered stream that the client gave out."""

    at_ns: int
    number: int
    price: float
    size: float
    #: Marked as fetched later.
    is_late: bool = False


class Reported(Struct, frozen=True, gc=False):
    """One report of a hole, as the client gave it out."""

    at_ns: int
    gap_id: int
    first: int
    last: int
    cause: str
    #: "open", "backfilled", "snapshot" or "lost".
    state: str


class BookSeen(Struct, frozen=True, gc=False):
    """A book as the client showed it at one moment."""

    at_ns: int
    is_sound: bool
    #: Number of the last update in it, 0 where the venue gives none.
    sequence: int
    #: The venue's time of that update.
    event_ns: int
    #: Best first; as deep as the client keeps it.
    bids: Levels
    asks: Levels
    #: Levels that are compared a side; 0: all.
    depth: int = 0


class BookTruth(Protocol):
    """The venue's own book, looked up."""

    def at(self, sequence: int, event_ns: int) -> Iterable[tuple[Levels, Levels]]:
        """Return the states (bids, asks; best first) that such an update may stand for."""
        ...


class NumberedVerdict(Struct):
    """What came out for one numbered stream."""

    #: Numbers the venue made from the first to the last one seen or reported.
    sent: int = 0
    delivered: int = 0
    late: int = 0
    #: Numbers reported as lost for good.
    lost: int = 0
    #: Holes reported, and those of them with a numbered range.
    holes: int = 0
    ranges: int = 0
    ranges_exact: int = 0
    restarts: int = 0
    #: Made after the last one seen: invisible to any client until something follows.
    tail: int = 0
    violations: list[Violation] = []
    count: int = 0

    def add(self, fault: Fault, at_ns: int, detail: str) -> None:
        """Note a violation."""
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(Violation(fault, at_ns, detail))


class BookVerdict(Struct):
    """What came out for one book."""

    looks: int = 0
    sound: int = 0
    violations: list[Violation] = []
    count: int = 0

    def add(self, fault: Fault, at_ns: int, detail: str) -> None:
        """Note a violation."""
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(Violation(fault, at_ns, detail))


class _Hole:
    """A reported hole: what is still missing of it."""

    def __init__(self, report: Reported, missing: set[int]) -> None:
        self.report = report
        self.missing = missing
        self.last_late = 0
        self.is_exact = True


class _Epoch:
    """The account of one numbering."""

    def __init__(self, made: Mapping[int, Figures]) -> None:
        self.made = made
        self.delivered: set[int] = set()
        self.covered: dict[int, _Hole] = {}
        self.low: int | None = None
        self.high = 0


class _Numbered:
    """Goes through the records of one stream in their order."""

    def __init__(self, epochs: Sequence[Mapping[int, Figures]]) -> None:
        self.verdict = NumberedVerdict()
        self._epochs = epochs
        self._place = 0
        self._epoch = _Epoch(epochs[0] if epochs else {})
        self._holes: dict[int, _Hole] = {}

    def report(self, one: Reported) -> None:
        hole = self._holes.get(one.gap_id)
        verdict = self.verdict
        if hole is None:
            verdict.holes += 1
            if one.cause == "restart":
                self._restart()
                return
            hole = self._holes[one.gap_id] = _Hole(one, self._claim(one))
            for number in hole.missing:
                self._epoch.covered[number] = hole
        elif (one.first, one.last) != (hole.report.first, hole.report.last):
            self._inexact(hole, one.at_ns, f"{_span(hole.report)} became {_span(one)}")
        hole.report = one
        if one.state == "backfilled" and hole.missing:
            text = f"{_span(one)}: {len(hole.missing)} never came"
            verdict.add(Fault.FALSE_REPAIR, one.at_ns, text)
        if one.state == "lost":
            verdict.lost += len(hole.missing)

    def _claim(self, one: Reported) -> set[int]:
        """Return the numbers a new hole claims to be missing; check that they are."""
        epoch, verdict = self._epoch, self.verdict
        numbers = set(range(one.first, one.last + 1)) if one.first else set[int]()
        verdict.ranges += 1
        wrong = [n for n in numbers if n in epoch.delivered or n not in epoch.made]
        twice = [n for n in numbers if n in epoch.covered]
        if not numbers or wrong or twice:
            text = f"{_span(one)} ({one.cause}): {len(wrong)} not missing, {len(twice)} twice"
            verdict.add(Fault.INEXACT, one.at_ns, text)
        else:
            verdict.ranges_exact += 1
        return numbers.difference(wrong, twice)

    def _inexact(self, hole: _Hole, at_ns: int, text: str) -> None:
        self.verdict.add(Fault.INEXACT, at_ns, text)
        self.verdict.ranges_exact -= hole.is_exact
        hole.is_exact = False

    def _restart(self) -> None:
        """Go on with the venue's next numbering."""
        self._close_epoch()
        self.verdict.restarts += 1
        self._place += 1
        is_made = self._place < len(self._epochs)
        self._epoch = _Epoch(self._epochs[self._place] if is_made else {})

    def see(self, one: Seen) -> None:
        epoch, verdict, number = self._epoch, self.verdict, one.number
        figures = epoch.made.get(number)
        if figures is None:
            verdict.add(Fault.INVENTED, one.at_ns, f"{number}")
            return
        if figures != (one.price, one.size):
            text = f"{number}: {(one.price, one.size)}, made as {figures}"
            verdict.add(Fault.WRONG_VALUE, one.at_ns, text)
        if number in epoch.delivered:
            verdict.add(Fault.DOUBLED, one.at_ns, f"{number}")
            return
        verdict.delivered += 1
        verdict.late += one.is_late
        epoch.delivered.add(number)
        hole = epoch.covered.get(number)
        if hole is not None:
            self._fill(hole, one)
        elif number < epoch.high:
            is_marked = one.is_late
            fault = Fault.UNMARKED if is_marked or epoch.low is None else Fault.DISORDER
            verdict.add(fault, one.at_ns, f"{number} after {epoch.high}")
        self._advance(one)

    def _fill(self, hole: _Hole, one: Seen) -> None:
        """Take an event that was reported missing."""
        if not one.is_late:
            self._inexact(hole, one.at_ns, f"{one.number} of {_span(hole.report)} came live")
        elif hole.report.state != "open":
            text = f"{one.number} of {_span(hole.report)} after it was called {hole.report.state}"
            self.verdict.add(Fault.FALSE_REPAIR, one.at_ns, text)
        if one.number < hole.last_late:
            text = f"{one.number} after {hole.last_late} within one hole"
            self.verdict.add(Fault.DISORDER, one.at_ns, text)
        hole.last_late = one.number
        hole.missing.discard(one.number)

    def _advance(self, one: Seen) -> None:
        """See that whatever was passed over is known to be missing."""
        epoch, number = self._epoch, one.number
        if epoch.low is None:
            epoch.low, epoch.high = number, number
        if number <= epoch.high:
            return
        passed = range(epoch.high + 1, number)
        unknown = [n for n in passed if n not in epoch.covered and n not in epoch.delivered]
        if unknown:
            text = f"{unknown[0]}..{unknown[-1]} ({len(unknown)}) before {number}"
            self.verdict.add(Fault.UNDETECTED, one.at_ns, text)
        epoch.high = number

    def _close_epoch(self) -> None:
        epoch = self._epoch
        if epoch.low is None:
            return
        high = max(epoch.high, max(epoch.covered, default=0))
        self.verdict.sent += high - epoch.low + 1
        self.verdict.tail += max(0, max(epoch.made, default=0) - high)

    def finish(self, *, may_be_open: bool) -> NumberedVerdict:
        self._close_epoch()
        if not may_be_open:
            for hole in self._holes.values():
                if hole.report.state == "open":
                    text = f"{_span(hole.report)} ({hole.report.cause})"
                    self.verdict.add(Fault.OPEN, hole.report.at_ns, text)
        return self.verdict


def judge_numbered(
    epochs: Sequence[Mapping[int, Figures]],
    records: Iterable[Seen | Reported],
    *,
    may_be_open: bool = False,
) -> NumberedVerdict:
    """Judge one numbered stream.

    Args:
        epochs: What the venue made: number -> (price, size), one mapping per numbering (a venue may
            begin to count anew).
        records: What the client gave out, in its order.
        may_be_open: Whether holes may still be under repair at the end.
    """
    judge = _Numbered(epochs)
    for one in records:
        if isinstance(one, Seen):
            judge.see(one)
        else:
            judge.report(one)
    return judge.finish(may_be_open=may_be_open)


def judge_books(
    truth: BookTruth, records: Iterable[BookSeen], verdict: BookVerdict | None = None
) -> BookVerdict:
    """Judge one book at all moments it was looked at; goes on with `verdict` if given."""
    verdict = verdict if verdict is not None else BookVerdict()
    for one in records:
        verdict.looks += 1
        if not one.is_sound:
            continue
        verdict.sound += 1
        fault = _compare(truth, one)
        if fault:
            verdict.add(Fault.UNSOUND_BOOK, one.at_ns, fault)
    return verdict


def _compare(truth: BookTruth, one: BookSeen) -> str:
    """Return what is wrong with a book, empty if it equals one of the states it may stand for."""
    fault = f"the venue was never at {one.sequence} / {one.event_ns}"
    for bids, asks in truth.at(one.sequence, one.event_ns):
        depth = one.depth or max(len(bids), len(asks), len(one.bids), len(one.asks))
        fault = _differ("bid", bids[:depth], one.bids[:depth])
        fault = fault or _differ("ask", asks[:depth], one.asks[:depth])
        if not fault:
            return ""
        fault = f"at {one.sequence} / {one.event_ns}: {fault}"
    return fault


def _differ(side: str, made: Levels, shown: Levels) -> str:
    """Say where two sides part."""
    for place, (right, given) in enumerate(zip(made, shown, strict=False)):
        if tuple(right) != tuple(given):
            return f"{side} {place} is {given}, at the venue {right}"
    if len(made) != len(shown):
        return f"{len(shown)} {side}s, at the venue {len(made)}"
    return ""


def _span(report: Reported) -> str:
    return f"{report.first}..{report.last}"
