"""Kraken's checksum: the venue's own example, any book against the recipe, changes seen."""

import zlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.model.commands import Want
from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.numbers import to_units
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.sequencing import book_checksum

# "Book checksum (v2)": price and size of the ten best levels of each side.
ASKS = (
    ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"), ("45290.2", "0.15890660"), ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"), ("45296.1", "0.35380000"), ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
)  # fmt: skip
BIDS = (
    ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"), ("45280.3", "1.54592586"), ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"), ("45277.5", "0.30000000"), ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
)  # fmt: skip
CHECKSUM = 3310070434

Rows = list[tuple[int, int]]


class Top:
    """What a rule sees of a book: its best levels."""

    price_scale = 1
    size_scale = 8

    def __init__(self, bids: Rows, asks: Rows) -> None:
        self.bids = bids
        self.asks = asks

    def top_units(self, count: int) -> tuple[Rows, Rows]:
        """Return the best levels."""
        return self.bids[:count], self.asks[:count]

    def top_digits(self, count: int) -> tuple[bytes, bytes]:
        """Return the digits of the best levels."""
        low, high = (
            "".join(f"{price}{size}" for price, size in rows).encode()
            for rows in self.top_units(count)
        )
        return low, high


def units(rows: tuple[tuple[str, str], ...], convert: type = str) -> Rows:
    """Turn texts into units of one and eight decimals."""
    return [(to_units(convert(price), 1), to_units(convert(size), 8)) for price, size in rows]


@pytest.mark.parametrize("convert", [str, float, Decimal])
def test_example_of_the_guide(convert: type) -> None:
    """The documented book gives the documented checksum, however its numbers are read."""
    rule = VENUE.book_rule(Want("book:10", "BTC/USD"))
    book = Top(units(BIDS, convert), units(ASKS, convert))
    assert rule.verify(book, CHECKSUM) == CHECKSUM
    assert rule.verify(book, 0) == CHECKSUM


def test_only_ten_levels_count() -> None:
    """Levels below the tenth do not change the checksum, whatever the depth."""
    rule = VENUE.book_rule(Want("book:25", "BTC/USD"))
    book = Top([*units(BIDS), (452000, 1)], [*units(ASKS), (453000, 1)])
    assert rule.verify(book, CHECKSUM) == CHECKSUM


def test_without_checksum_nothing_is_compared() -> None:
    """A snapshot by REST has none."""
    assert VENUE.book_rule(Want("book:10", "BTC/USD")).verify(Top([], []), None) is None


def test_trailing_zeros_are_kept() -> None:
    """45281.0 is written 452810, 0.10000000 is 10000000: the trap of floats."""
    assert book_checksum(units((BIDS[3],)), []) == zlib.crc32(b"45281010000000")


def naive(rows: Rows, price_scale: int, size_scale: int) -> str:
    """Write levels as the guide says: fixed decimals, no point, no leading zeros."""
    text = ""
    for price, size in rows:
        for value, scale in ((price, price_scale), (size, size_scale)):
            fixed = f"{Decimal(value).scaleb(-scale):.{scale}f}"
            text += fixed.replace(".", "").lstrip("0")
    return text


LEVELS = st.lists(
    st.tuples(st.integers(1, 10**15), st.integers(1, 10**17)), max_size=10, unique_by=lambda r: r[0]
)


@given(bids=LEVELS, asks=LEVELS, price_scale=st.integers(0, 10), size_scale=st.integers(0, 8))
def test_any_book_against_the_recipe(
    bids: Rows, asks: Rows, price_scale: int, size_scale: int
) -> None:
    """The units' digits are what the recipe writes, for any decimals and any number of levels."""
    text = naive(asks, price_scale, size_scale) + naive(bids, price_scale, size_scale)
    assert book_checksum(bids, asks) == zlib.crc32(text.encode())


@pytest.mark.fault("S12")
@given(side=st.booleans(), index=st.integers(0, 9), change=st.integers(1, 10**6))
def test_any_wrong_size_is_seen(*, side: bool, index: int, change: int) -> None:
    """One wrong size among the top ten changes the checksum."""
    bids, asks = units(BIDS), units(ASKS)
    rows = bids if side else asks
    rows[index] = (rows[index][0], rows[index][1] + change)
    assert book_checksum(bids, asks) != CHECKSUM


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
def test_rule_of_a_depth(depth: int) -> None:
    """The stream brings the snapshot, every update follows, the book is cut to the depth asked."""
    rule = VENUE.book_rule(Want(f"book:{depth}", "BTC/USD"))
    assert rule.depth_limit == depth
    assert rule.integrity is Integrity.CHECKSUMMED
    assert rule.snapshot_source is SnapshotSource.STREAM
    head = (
        "kraken",
        "BTC/USD",
        "BTC/USD",
        0,
        0,
        1,
        2,
        Mark.NONE,
        rule.integrity,
        Trust.SOUND,
        None,
        0,
    )
    snapshot = BookSnapshot(*head, [], [], 0, CHECKSUM)
    delta = BookDelta(*head, [], [], 0, 0, 0, CHECKSUM)
    assert rule.bridge(snapshot, delta) is Verdict.APPLY
    assert rule.follow(0, delta) is Verdict.APPLY
