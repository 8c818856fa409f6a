"""Floats become integers that give back every digit, whatever their size."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.model.numbers import to_units
from crossfeed.store.ticks import units_of


def texts() -> st.SearchStrategy[str]:
    """Make decimals of up to 15 digits with up to 12 decimals."""
    return st.builds(
        lambda units, scale: str(Decimal(units).scaleb(-scale)),
        st.integers(0, 10**15 - 1),
        st.integers(0, 12),
    )


def restored(values: list[float]) -> list[Decimal]:
    """Return the decimals that the integers stand for."""
    found = units_of(np.array([values]))
    assert not found.refused
    scales = np.broadcast_to(found.scale, len(values)).tolist()
    pairs = zip(found.units[0].tolist(), scales, strict=True)
    return [Decimal(units).scaleb(-scale) for units, scale in pairs]


@given(st.lists(texts(), min_size=1, max_size=40))
def test_every_decimal_of_15_digits_comes_back(numbers: list[str]) -> None:
    """What the venue wrote is what the integers say, mixed sizes included."""
    assert restored([float(text) for text in numbers]) == [Decimal(text) for text in numbers]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_every_finite_float_comes_back(values: list[float]) -> None:
    """Without the venue's text, the float's shortest decimal is the truth."""
    assert restored(values) == [Decimal(repr(value)) for value in values]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_agrees_with_the_books_rule(ticks: list[int]) -> None:
    """The vectorised rule gives what `to_units` gives."""
    values = [units / 100 for units in ticks]
    found = units_of(np.array([values]), 2)
    assert found.scale == 2
    assert found.units[0].tolist() == [to_units(value, 2) for value in values]


def test_lowest_scale_is_chosen() -> None:
    """Decimals that nobody uses cost nothing."""
    found = units_of(np.array([[100.5, 7.0, 0.25]]))
    assert (found.scale, found.units.tolist()) == (2, [[10050, 700, 25]])


def test_long_numbers_are_read_from_the_text() -> None:
    """18 digits survive where the event still has the venue's own."""
    text = Decimal("1234567890.12345678")
    found = units_of(np.array([[float(text), 1.0]]), 0, lambda _column, row: [text, None][row])
    assert (found.scale, found.units.tolist()) == (8, [[123456789012345678, 100000000]])


def test_rows_too_far_apart_have_their_own_scale() -> None:
    """One dust amount beside a huge one loses neither."""
    assert restored([1e-18, 9e15, 0.1]) == [Decimal("1e-18"), Decimal("9e15"), Decimal("0.1")]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    """The row is named; the others are right."""
    found = units_of(np.array([[1.5, value, 2.0]]))
    assert found.refused == [1]
    assert found.units[0, [0, 2]].tolist() == [15, 20]


def test_row_that_spans_more_than_63_bits_is_refused() -> None:
    """Columns of one row share a scale; the impossible row is named."""
    found = units_of(np.array([[1e-18, 1.0], [9e15, 2.0]]))
    assert found.refused == [0]
    assert found.units[:, 1].tolist() == [1 * 10**found.scale, 2 * 10**found.scale]


def test_hostile_exponent_is_bounded() -> None:
    """A decimal with a million decimals is refused, not computed."""
    found = units_of(np.array([[0.1 + 0.2]]), 0, lambda _column, _row: Decimal("1e-1000000"))
    assert found.refused == [0]
