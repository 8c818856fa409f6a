"""The judge, judged: a right client passes, and each client that is broken on purpose is caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from crossfeed.testing.checker import (
    BookSeen,
    Fault,
    Reported,
    Seen,
    judge_books,
    judge_numbered,
)

Record = Seen | Reported
MADE = {number: (100.0 + number, number / 8) for number in range(1, 101)}


def seen(number: int, *, is_late: bool = False) -> Seen:
    return Seen(number * 1_000, number, *MADE[number], is_late)


def hole(first: int, last: int, state: str, gap_id: int = 1, cause: str = "sequence") -> Reported:
    return Reported(last * 1_000, gap_id, first, last, cause, state)


def right() -> list[Record]:
    """Return what a right client gives out: a hole that is repaired, one that is lost."""
    return [
        *(seen(n) for n in range(10, 30)),
        hole(30, 34, "open"),
        *(seen(n) for n in range(35, 40)),
        *(seen(n, is_late=True) for n in range(30, 35)),
        hole(30, 34, "backfilled"),
        *(seen(n) for n in range(40, 60)),
        hole(60, 61, "lost", gap_id=2),
        *(seen(n) for n in range(62, 101)),
    ]


def without(records: list[Record], number: int) -> list[Record]:
    return [r for r in records if not (isinstance(r, Seen) and r.number == number)]


def swapped(records: list[Record], number: int) -> list[Record]:
    at = next(i for i, r in enumerate(records) if isinstance(r, Seen) and r.number == number)
    changed = list(records)
    changed[at], changed[at + 1] = changed[at + 1], changed[at]
    return changed


def changed(records: list[Record], number: int, **values: object) -> list[Record]:
    return [
        replace(r, **values) if isinstance(r, Seen) and r.number == number else r for r in records
    ]


def reranged(records: list[Record], gap_id: int, **values: int) -> list[Record]:
    return [
        replace(r, **values) if isinstance(r, Reported) and r.gap_id == gap_id else r
        for r in records
    ]


BROKEN: dict[str, tuple[Callable[[list[Record]], list[Record]], Fault]] = {
    "drops one event silently": (lambda r: without(r, 45), Fault.UNDETECTED),
    "drops many events silently": (
        lambda r: [x for x in r if not (isinstance(x, Seen) and 70 <= x.number < 90)],
        Fault.UNDETECTED,
    ),
    "changes the range of a hole it has reported": (
        lambda r: [
            replace(x, first=29) if isinstance(x, Reported) and x.state == "backfilled" else x
            for x in r
        ],
        Fault.INEXACT,
    ),
    "gives one out twice": (lambda r: [*r, seen(50)], Fault.DOUBLED),
    "gives a repaired one out twice": (
        lambda r: [*r, seen(31, is_late=True)],
        Fault.DOUBLED,
    ),
    "swaps two": (lambda r: swapped(r, 50), Fault.UNDETECTED),
    "gives out an old one as live": (lambda r: [*without(r, 45), seen(45)], Fault.DISORDER),
    "marks an old one late without a hole": (
        lambda r: [*without(r, 45), seen(45, is_late=True)],
        Fault.UNMARKED,
    ),
    "repairs out of order": (lambda r: swapped(r, 32), Fault.DISORDER),
    "repairs without a mark": (lambda r: changed(r, 32, is_late=False), Fault.INEXACT),
    "reports a range too long": (lambda r: reranged(r, 2, last=62), Fault.INEXACT),
    "reports a range too early": (lambda r: reranged(r, 2, first=59), Fault.INEXACT),
    "reports a range too short": (lambda r: reranged(r, 2, first=61), Fault.UNDETECTED),
    "reports 'some' missing": (lambda r: reranged(r, 2, first=0, last=0), Fault.INEXACT),
    "reports one hole twice": (
        lambda r: [*r[:-1], hole(60, 61, "lost", gap_id=3), r[-1]],
        Fault.INEXACT,
    ),
    "reports a hole where there is none": (
        lambda r: [*r[:-1], hole(50, 52, "lost", gap_id=3), r[-1]],
        Fault.INEXACT,
    ),
    "reports what was never made": (lambda r: [*r, hole(101, 103, "lost", 4)], Fault.INEXACT),
    "calls a half repair whole": (lambda r: without(r, 33), Fault.FALSE_REPAIR),
    "gives out what it called lost": (
        lambda r: [*r, seen(60, is_late=True)],
        Fault.FALSE_REPAIR,
    ),
    "never ends a repair": (
        lambda r: [
            x
            for x in r
            if not (isinstance(x, Reported) and x.state == "backfilled")
            and not (isinstance(x, Seen) and x.is_late)
        ],
        Fault.OPEN,
    ),
    "rounds a price": (lambda r: changed(r, 45, price=145.0000001), Fault.WRONG_VALUE),
    "takes another's size": (lambda r: changed(r, 45, size=1.0), Fault.WRONG_VALUE),
    "makes one up": (lambda r: [*r, Seen(1, 777, 1.0, 1.0)], Fault.INVENTED),
    "goes on after a restart of the numbers": (
        lambda r: [*r, hole(101, 0, "lost", 9, "restart"), Seen(1, 50, 1.0, 1.0)],
        Fault.INVENTED,
    ),
}


def test_a_right_client_passes_and_every_number_is_accounted_for():
    verdict = judge_numbered([MADE], right())
    assert verdict.violations == []
    assert (verdict.sent, verdict.delivered, verdict.late, verdict.lost) == (91, 89, 5, 2)
    assert verdict.delivered + verdict.lost == verdict.sent
    assert (verdict.ranges, verdict.ranges_exact, verdict.tail) == (2, 2, 0)


def test_a_client_that_holds_live_events_back_until_the_repair_passes_too():
    records = [
        *(seen(n) for n in range(10, 30)),
        hole(30, 34, "open"),
        *(seen(n, is_late=True) for n in range(30, 35)),
        hole(30, 34, "backfilled"),
        *(seen(n) for n in range(35, 101)),
    ]
    assert judge_numbered([MADE], records).count == 0


def test_a_restart_of_the_numbers_is_no_fault_when_it_is_reported():
    records = [*right(), hole(101, 0, "lost", 9, "restart"), Seen(1, 1, 7.0, 1.0)]
    verdict = judge_numbered([MADE, {1: (7.0, 1.0)}], records)
    assert (verdict.count, verdict.restarts) == (0, 1)


def test_what_nothing_follows_is_counted_as_a_tail():
    assert judge_numbered([MADE], right()[:-3]).tail == 3


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_client_is_caught(name):
    broken, fault = BROKEN[name]
    verdict = judge_numbered([MADE], broken(right()))
    assert fault in {violation.fault for violation in verdict.violations}
    assert verdict.count >= len(verdict.violations) > 0


STATES = {
    7: ([(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0)]),
    8: ([(10.0, 1.5), (9.0, 2.0)], [(11.0, 1.0)]),
}


class Truth:
    """A book that stood at 7 and then at 8."""

    def at(self, sequence, event_ns):
        return [STATES[key] for key in (sequence or event_ns,) if key in STATES]


def book(sequence: int = 8, *, bids=None, asks=None, is_sound=True, depth=0) -> BookSeen:
    bids = [(10.0, 1.5), (9.0, 2.0)] if bids is None else bids
    asks = [(11.0, 1.0)] if asks is None else asks
    return BookSeen(1, is_sound, sequence, sequence, bids, asks, depth)


def test_right_books_pass():
    looks = [
        book(7, bids=[(10.0, 1.0), (9.0, 2.0)]),
        book(8),
        book(8, bids=[(10.0, 1.5)], depth=1),
        book(7, is_sound=False),
    ]
    verdict = judge_books(Truth(), looks)
    assert (verdict.looks, verdict.sound, verdict.count) == (4, 3, 0)


@pytest.mark.parametrize(
    "look",
    [
        book(7),
        book(8, bids=[(10.0, 1.0), (9.0, 2.0)]),
        book(8, bids=[(10.0, 1.5)]),
        book(8, bids=[(10.0, 1.5), (9.5, 1.0), (9.0, 2.0)]),
        book(8, asks=[(11.0, 1.0000000001)]),
        book(8, asks=[]),
        book(9),
    ],
    ids=[
        "stale content under an older number",
        "old state under a newer number",
        "a level lost",
        "a level too many",
        "a digit lost",
        "an empty side",
        "a state that never was",
    ],
)
def test_a_wrong_book_that_is_called_sound_is_caught(look):
    verdict = judge_books(Truth(), [look])
    assert [violation.fault for violation in verdict.violations] == [Fault.UNSOUND_BOOK]
