"""The compiled ladder is the pure ladder: same levels, same counts, same digits."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.books.ladder import Ladder
from crossfeed.runtime import native_books

PRICES = st.integers(1, 60).map(lambda ticks: ticks / 8)
SIZES = st.sampled_from([0.0, 0.0, 0.5, 1.25, 3.0])
LEVELS = st.lists(st.tuples(PRICES, SIZES), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), LEVELS, LEVELS),
        st.tuples(st.just("load"), LEVELS, LEVELS),
        st.tuples(st.just("cut"), st.integers(0, 8), st.none()),
        st.tuples(st.just("limit_window"), PRICES, PRICES),
        st.tuples(st.just("wide"), st.none(), st.none()),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def native_type(native: Any) -> Callable[..., Ladder]:
    """Return the class over compiled arrays."""
    return native_books.native_ladder(native.ladder.Levels)


def state(ladder: Ladder) -> tuple[object, ...]:
    """Return all that can be read of a ladder."""
    return (
        ladder.bids, ladder.asks, ladder.bid_sizes, ladder.ask_sizes, ladder.counts, ladder.best(),
        ladder.depth(4), ladder.depth_exact(3), ladder.top_units(5), ladder.top_digits(5),
        list(ladder.levels(is_bid=True)), list(ladder.levels(is_bid=False)), ladder.has_wide,
        ladder.bid_floor, ladder.ask_ceiling, ladder.has_window,
    )  # fmt: skip


@given(STEPS)
@settings(deadline=None)
def test_same_steps_same_state(native_type: Callable[..., Ladder], steps: list[Any]):
    pure, native = Ladder(3, 2), native_type(3, 2)
    wide = [(Decimal("12345678901234567.125"), Decimal("1.5"))]
    names_twice = False
    for word, first, second in steps:
        if word == "wide":
            pure.apply_exact(wide, [])
            native.apply_exact(wide, [])
        elif word == "cut":
            assert pure.cut(first) == native.cut(first)
        else:
            assert getattr(pure, word)(first, second) == getattr(native, word)(first, second)
        assert state(native) == state(pure)
        if word == "apply":
            names_twice |= any(len(dict(side)) < len(side) for side in (first, second))
        if not names_twice:  # of one price written twice in a message the pure ladder sees the last
            assert native.unknown_removals == pure.unknown_removals
            assert native.out_of_window == pure.out_of_window


def test_a_number_too_wide_turns_it_into_the_pure_ladder(native_type: Callable[..., Ladder]):
    pure, native = Ladder(8, 8), native_type(8, 8)
    for ladder in (pure, native):
        ladder.load([(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0)])
        assert ladder.apply([(9.5, 3e15)], []) is False
        ladder.apply_exact([(Decimal("9.5"), Decimal("3000000000000000.1"))], [])
    assert state(native) == state(pure)
    assert native.has_wide
    native.load([(1.0, 1.0)], [(2.0, 1.0)])
    assert not native.has_wide
    assert native.best() == (1.0, 1.0, 2.0, 1.0)


def test_a_price_written_twice_takes_the_last_size(native_type: Callable[..., Ladder]):
    native = native_type(2, 2)
    assert native.load([(3.0, 1.0), (5.0, 1.0), (3.0, 2.0)], [(7.0, 1.0)])
    assert native.depth(9) == ([(5.0, 1.0), (3.0, 2.0)], [(7.0, 1.0)])


def test_levels_that_are_no_floats_go_the_pure_way(native_type: Callable[..., Ladder]):
    native = native_type(2, 2)
    assert native.apply([(3, 1)], [(4, 1)])
    assert native.best() == (3, 1, 4, 1)


def test_the_live_book_uses_it(native_type: Callable[..., Ladder], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CROSSFEED_PURE", raising=False)
    assert native_books.ladder_type() is native_type
    monkeypatch.setenv("CROSSFEED_PURE", "1")
    assert native_books.ladder_type() is Ladder
