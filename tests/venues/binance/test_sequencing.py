"""The book rules: a gap-free stream joins any snapshot, and every hole is seen at once."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.events import BookDelta, BookSnapshot, DepthDelta
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.venues.binance import VENUE
from crossfeed.venues.binance.sequencing import (
    FUTURES_BOOK,
    SPOT_BOOK,
    FuturesBookRule,
    SpotBookRule,
)

COMMON = ("binance", "X", "", 0, 0, 1, 1, Mark.NONE, Integrity.SEQUENCED, Trust.SOUND, None, 0)
APPLY, OLD, GAP, EARLY = Verdict.APPLY, Verdict.OLD, Verdict.GAP, Verdict.EARLY


def delta(first: int, last: int, previous: int = 0) -> DepthDelta:
    """Return an update without levels."""
    return DepthDelta(*COMMON, [], [], first, last, previous, None)


def snapshot(sequence: int) -> BookSnapshot:
    """Return a snapshot without levels."""
    return BookSnapshot(*COMMON, [], [], sequence, None)


@pytest.mark.fault("S08", "S09")
@pytest.mark.parametrize(
    ("sequence", "first", "last", "verdict"),
    [
        (160, 150, 159, OLD),
        (160, 150, 160, OLD),
        (160, 150, 161, APPLY),
        (160, 160, 161, APPLY),
        (160, 161, 161, APPLY),
        (160, 161, 170, APPLY),
        (160, 162, 170, EARLY),
        (2**63 + 5, 2**63 + 6, 2**63 + 6, APPLY),
    ],
)
def test_spot_bridge(sequence: int, first: int, last: int, verdict: Verdict) -> None:
    """The first update kept starts at S+1 at the latest; later means the snapshot is too old."""
    assert SPOT_BOOK.bridge(snapshot(sequence), delta(first, last)) is verdict


@pytest.mark.fault("S01", "S03", "S07")
@pytest.mark.parametrize(
    ("sequence", "first", "last", "verdict"),
    [
        (160, 161, 165, APPLY),
        (160, 161, 161, APPLY),
        (160, 158, 165, APPLY),
        (160, 150, 160, OLD),
        (160, 150, 155, OLD),
        (160, 162, 165, GAP),
        (160, 1, 5, OLD),
        (2**53, 2**53 + 2, 2**53 + 3, GAP),
        (2**63, 2**63 + 1, 2**63 + 3, APPLY),
    ],
)
def test_spot_follow(sequence: int, first: int, last: int, verdict: Verdict) -> None:
    """Old is ignored, an overlap applies, a number left out is a gap."""
    assert SPOT_BOOK.follow(sequence, delta(first, last)) is verdict


@pytest.mark.fault("S08", "S09")
@pytest.mark.parametrize(
    ("sequence", "numbers", "verdict"),
    [
        (160, (150, 159, 149), OLD),
        (160, (150, 160, 149), APPLY),
        (160, (160, 170, 159), APPLY),
        (160, (165, 170, 160), APPLY),
        (160, (165, 170, 161), EARLY),
        (160, (165, 170, 158), EARLY),
    ],
)
def test_futures_bridge(sequence: int, numbers: tuple[int, int, int], verdict: Verdict) -> None:
    """An update that ends at the snapshot's number is taken; so is one that names it as `pu`."""
    assert FUTURES_BOOK.bridge(snapshot(sequence), delta(*numbers)) is verdict


@pytest.mark.fault("S01", "S03")
@pytest.mark.parametrize(
    ("sequence", "numbers", "verdict"),
    [
        (160, (170, 180, 160), APPLY),
        (160, (161, 180, 155), GAP),
        (160, (170, 180, 165), GAP),
        (160, (150, 160, 149), OLD),
        (160, (150, 155, 149), OLD),
    ],
)
def test_futures_follow(sequence: int, numbers: tuple[int, int, int], verdict: Verdict) -> None:
    """Only `pu` says whether an update follows."""
    assert FUTURES_BOOK.follow(sequence, delta(*numbers)) is verdict


@pytest.mark.parametrize("rule", [SPOT_BOOK, FUTURES_BOOK])
def test_rule_facts(rule: SpotBookRule | FuturesBookRule) -> None:
    """Numbered diffs over a fetched snapshot: nothing to cut."""
    assert rule.integrity is Integrity.SEQUENCED
    assert rule.snapshot_source is SnapshotSource.REST
    assert rule.depth_limit == 0


@pytest.mark.parametrize("rule", [SPOT_BOOK, FUTURES_BOOK])
def test_there_is_no_checksum(rule: SpotBookRule | FuturesBookRule) -> None:
    """Nothing is compared, whatever stands there."""

    class Empty:
        """A book without levels."""

        price_scale = size_scale = 2

        def top_units(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
            """Return nothing."""
            return [(0, 0)] * (count - count), []

    checksums = [rule.verify(Empty(), checksum) for checksum in (None, 7)]
    assert checksums == [None, None]


def test_rule_of_a_want() -> None:
    """Depth channels have the spot rule, others none."""
    assert VENUE.book_rule(Want("depth@100ms", "BTCUSDT")) is SPOT_BOOK
    assert VENUE.book_rule(Want("depth", "BTCUSDT")) is SPOT_BOOK
    with pytest.raises(UnsupportedChannelError, match="no book"):
        VENUE.book_rule(Want("trade", "BTCUSDT"))


# ── whole streams ─────────────────────────────────────────────────────────────

Update = tuple[int, bool, int, int]
"""(number, is a bid, price, size)"""


class Stream:
    """A made-up market: numbered single-level updates, folded into diffs at random places."""

    def __init__(self, seed: int, count: int) -> None:
        self.random = Random(seed)
        self.updates = [
            (number, self.random.random() < 0.5, self.random.randrange(9), self.random.randrange(3))
            for number in range(1, count + 1)
        ]
        inner = self.random.sample(range(1, count), k=min(count - 1, count // 3))
        self.borders = [0, *sorted(inner), count]

    def book_at(self, sequence: int) -> dict[tuple[bool, float], float]:
        """Return the truth after `sequence` updates."""
        book: dict[tuple[bool, float], float] = {}
        for _, is_bid, price, size in self.updates[:sequence]:
            book[is_bid, float(price)] = float(size)
        return {key: size for key, size in book.items() if size}

    def snapshot_at(self, sequence: int) -> BookSnapshot:
        """Return the truth as a snapshot."""
        book = self.book_at(sequence)
        sides = [[(p, s) for (bid, p), s in book.items() if bid is side] for side in (True, False)]
        return BookSnapshot(*COMMON, *sides, sequence, None)

    def diffs(self) -> list[DepthDelta]:
        """Return the stream's diffs in order."""
        found = []
        for before, last in pairwise(self.borders):
            changes: dict[tuple[bool, float], float] = {}
            for _, is_bid, price, size in self.updates[before:last]:
                changes[is_bid, float(price)] = float(size)
            sides = [
                [(p, s) for (bid, p), s in changes.items() if bid is side] for side in (True, False)
            ]
            found.append(DepthDelta(*COMMON, *sides, before + 1, last, 0, None))
        return found


def rebuild(
    start: BookSnapshot, diffs: Sequence[BookDelta]
) -> tuple[dict[tuple[bool, float], float], int, list[Verdict]]:
    """Keep a book by the rule; stop at the first hole."""
    book = {(True, p): s for p, s in start.bids} | {(False, p): s for p, s in start.asks}
    sequence, joined, verdicts = start.sequence, False, []
    for diff in diffs:
        verdict = SPOT_BOOK.follow(sequence, diff) if joined else SPOT_BOOK.bridge(start, diff)
        verdicts.append(verdict)
        if verdict in {GAP, EARLY}:
            break
        if verdict is APPLY:
            joined, sequence = True, diff.last
            for is_bid, levels in ((True, diff.bids), (False, diff.asks)):
                for price, size in levels:
                    book[is_bid, price] = size
    return {key: size for key, size in book.items() if size}, sequence, verdicts


@given(seed=st.integers(0, 2**32), count=st.integers(2, 60), data=st.data())
def test_any_snapshot_joins_a_whole_stream(seed: int, count: int, data: st.DataObject) -> None:
    """However diffs are cut and wherever the snapshot stands, the book ends as the truth."""
    stream = Stream(seed, count)
    at = data.draw(st.integers(0, count))
    book, sequence, verdicts = rebuild(stream.snapshot_at(at), stream.diffs())
    assert set(verdicts) <= {OLD, APPLY}
    assert sequence == count
    assert book == stream.book_at(count)


@pytest.mark.fault("S01", "S08")
@given(seed=st.integers(0, 2**32), count=st.integers(4, 60), data=st.data())
def test_lost_diff_is_seen(seed: int, count: int, data: st.DataObject) -> None:
    """A diff left out is found by the next one, or was old; the book never differs unseen."""
    stream = Stream(seed, count)
    diffs = stream.diffs()
    lost = data.draw(st.integers(0, len(diffs) - 1))
    at = data.draw(st.integers(0, count))
    kept = diffs[:lost] + diffs[lost + 1 :]
    book, sequence, verdicts = rebuild(stream.snapshot_at(at), kept)
    assert book == stream.book_at(sequence)
    is_needed = diffs[lost].last > at
    assert (set(verdicts) & {GAP, EARLY} != set()) == (is_needed and lost < len(diffs) - 1)


@pytest.mark.fault("S03", "S05")
@given(seed=st.integers(0, 2**32), count=st.integers(2, 60), data=st.data())
def test_repeated_diffs_are_old(seed: int, count: int, data: st.DataObject) -> None:
    """What comes a second time, however late, changes nothing."""
    stream = Stream(seed, count)
    diffs = stream.diffs()
    repeated: list[DepthDelta] = []
    for index, diff in enumerate(diffs):
        repeated.append(diff)
        back = data.draw(st.integers(0, 2))
        repeated += diffs[max(0, index - back + 1) : index + 1]
    book, _, verdicts = rebuild(stream.snapshot_at(0), repeated)
    assert verdicts.count(APPLY) == len(diffs)
    assert book == stream.book_at(count)


@pytest.mark.fault("S04")
@given(seed=st.integers(0, 2**32), count=st.integers(6, 60), data=st.data())
def test_swapped_diffs_are_a_gap(seed: int, count: int, data: st.DataObject) -> None:
    """Two diffs in the wrong order are a hole at once, never applied out of order."""
    stream = Stream(seed, count)
    diffs = stream.diffs()
    at = data.draw(st.integers(0, len(diffs) - 2))
    diffs[at], diffs[at + 1] = diffs[at + 1], diffs[at]
    book, sequence, verdicts = rebuild(stream.snapshot_at(0), diffs)
    assert verdicts[-1] in {GAP, EARLY}
    assert len(verdicts) == at + 1
    assert book == stream.book_at(sequence)
