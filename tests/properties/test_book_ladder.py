"""The ladder against a plain dict, for any levels in any order."""

from decimal import Decimal
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.books import ladder_side
from crossfeed.books.ladder import Ladder

PRICES = st.integers(1, 60).map(lambda ticks: ticks / 10)
SIZES = st.sampled_from([0.0, 0.1, 1.0, 2.5, 1e-8, 12345.678])
LEVELS = st.lists(st.tuples(PRICES, SIZES), max_size=12)
DECIMALS = st.decimals(
    min_value=Decimal("0.00000001"), max_value=Decimal("9" * 14), allow_nan=False, places=8
)


def naive(book, levels):
    """Apply levels to a dict."""
    for price, size in levels:
        if size:
            book[price] = size
        else:
            book.pop(price, None)


def same(ladder, bids, asks):
    """Assert that a ladder holds exactly these dicts."""
    ladder.check()
    got_bids, got_asks = ladder.depth(1_000)
    assert got_bids == sorted(bids.items(), reverse=True)
    assert got_asks == sorted(asks.items())


@given(LEVELS, LEVELS, st.lists(st.tuples(LEVELS, LEVELS), max_size=20))
def test_any_updates_after_any_image(bids, asks, updates):
    """Whatever comes, in whatever order, repeated prices and unknown removals included."""
    ladder, bid_book, ask_book = Ladder(1, 8), {}, {}
    image_bids, image_asks = dict(bids), dict(asks)
    assert ladder.load(list(image_bids.items()), list(image_asks.items()))
    naive(bid_book, image_bids.items())
    naive(ask_book, image_asks.items())
    same(ladder, bid_book, ask_book)
    for more_bids, more_asks in updates:
        assert ladder.apply(more_bids, more_asks)
        naive(bid_book, more_bids)
        naive(ask_book, more_asks)
        same(ladder, bid_book, ask_book)


@given(st.lists(LEVELS, max_size=20), st.integers(1, 8))
def test_cutting_after_each_update_keeps_the_best(updates, depth):
    """As the venue does, a level that fell out may come back later."""
    ladder, book = Ladder(1, 8), {}
    for levels in updates:
        ladder.apply(levels, levels)
        ladder.cut(depth)
        naive(book, levels)
        kept = sorted(book.items(), reverse=True)[:depth]
        ladder.check()
        assert ladder.depth(100)[0] == kept
        book = dict(kept)
        asks = ladder.depth(100)[1]
        assert len(asks) <= depth


@given(st.lists(LEVELS, max_size=20), PRICES, PRICES)
def test_a_window_keeps_exactly_what_lies_within(updates, floor, ceiling):
    """Whether levels were there before or come later."""
    ladder, bid_book, ask_book = Ladder(1, 8), {}, {}
    for number, levels in enumerate(updates):
        if number == len(updates) // 2:
            ladder.limit_window(floor, ceiling)
        ladder.apply(levels, levels)
        naive(bid_book, levels)
        naive(ask_book, levels)
    if updates:
        bid_book = {price: size for price, size in bid_book.items() if price >= floor}
        ask_book = {price: size for price, size in ask_book.items() if price <= ceiling}
    same(ladder, bid_book, ask_book)


@given(
    st.lists(st.tuples(DECIMALS, DECIMALS), min_size=1, max_size=8, unique_by=lambda row: row[0])
)
def test_no_digit_is_lost_whatever_the_length(levels):
    """Numbers of any length up to 22 digits go in as text and come out as they were."""
    ladder = Ladder(8, 8)
    floats = [(float(price), float(size)) for price, size in levels]
    if not ladder.apply(floats, []):
        ladder.clear()
        ladder.apply_exact(levels, [])
    ladder.check()
    got = ladder.depth_exact(100)[0]
    assert got == sorted(levels, reverse=True)
    units = ladder.top_units(100)[0]
    assert units == [(int(p.scaleb(8)), int(q.scaleb(8))) for p, q in got]


READS = st.sampled_from(["counts", "bids", "digits", "best", "thin", "nothing", "nothing"])


@given(st.lists(st.tuples(LEVELS, READS), max_size=40), st.booleans(), st.integers(1, 5))
def test_no_reading_changes_what_is_read(updates, is_cut, ordered):
    """Emptied levels are cleared away at different moments: nobody sees when."""
    with (
        patch.object(ladder_side, "ORDERED_MIN", ordered),
        patch.object(ladder_side, "ROOM_MIN", 4),
    ):
        same_at_all_times(updates, is_cut=is_cut)


def same_at_all_times(updates, *, is_cut):
    """Read a ladder now and then while it changes; compare with a dict."""
    ladder, book = Ladder(1, 8), {}
    ladder.load([(0.05, 1.0)], [(0.05, 1.0)])
    book[0.05] = 1.0
    for levels, read in updates:
        assert ladder.apply(levels, levels)
        naive(book, levels)
        if is_cut:
            ladder.cut(len(book))
        ranked = sorted(book.items())
        if read == "counts":
            assert ladder.counts == (len(book), len(book))
        elif read == "bids":
            assert ladder.bids == sorted(book)
            assert ladder.asks == sorted(-price for price in book)
            assert ladder.bid_sizes == ladder.ask_sizes == book
        elif read == "digits":
            fresh = Ladder(ladder.price_scale, ladder.size_scale)
            fresh.load(list(book.items()), list(book.items()))
            assert ladder.top_digits(4) == fresh.top_digits(4)
            assert ladder.top_units(4) == fresh.top_units(4)
        elif read == "best":
            top = (*ranked[-1], *ranked[0]) if book else None
            assert ladder.best() == top
        elif read == "thin":
            assert ladder.is_thinner_than(7) == (len(book) < 7)
        assert list(ladder.levels(is_bid=True)) == ranked[::-1]
        assert ladder.depth(3) == (ranked[::-1][:3], ranked[:3])
        ladder.check()
