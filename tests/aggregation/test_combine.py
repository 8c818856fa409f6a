"""The arithmetic: exact on the edges, and never outside its input."""

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.aggregation.combine import clamp, mean, median, population_std, vwap

PRICES = st.floats(min_value=1e-9, max_value=1e12)
WEIGHTS = st.floats(min_value=0, max_value=1e12)


def test_documents_ticker() -> None:
    """Two prices 10 apart: standard deviation 5, as in the document's example."""
    assert population_std([44995.0, 45005.0]) == 5.0
    assert median([44995.0, 45005.0]) == 45000.0


def test_equal_prices_are_exact() -> None:
    """Averages of equal prices are that price, to the last digit; their deviation is 0."""
    prices = [0.1] * 7
    assert mean(prices) == median(prices) == vwap(prices, [0.3] * 7) == 0.1
    assert population_std(prices) == 0.0


@pytest.mark.parametrize("function", [mean, median, population_std])
def test_empty_is_refused(function) -> None:
    """Nothing has no average."""
    with pytest.raises(ValueError, match="no values"):
        function([])


def test_vwap_edges() -> None:
    """No volume gives no price; a price without volume does not count; inputs must fit."""
    assert vwap([], []) is None
    assert vwap([1.0, 2.0], [0.0, 0.0]) is None
    assert vwap([1.0, 2.0, 4.0], [0.0, 1.0, 1.0]) == 3.0
    with pytest.raises(ValueError, match="shorter"):
        vwap([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="negative"):
        vwap([1.0, 2.0], [-1.0, 2.0])


def test_clamp() -> None:
    """A value inside stays, one outside becomes the nearest bound."""
    assert [clamp(value, 1.0, 2.0) for value in (0.0, 1.5, 3.0)] == [1.0, 1.5, 2.0]


@given(st.lists(PRICES, min_size=1, max_size=8))
def test_against_the_standard_library(prices) -> None:
    """Mean, median and deviation agree with `statistics`."""
    assert mean(prices) == pytest.approx(statistics.fmean(prices), rel=1e-12)
    assert median(prices) == pytest.approx(statistics.median(prices), rel=1e-12)
    expected = statistics.pstdev(prices)
    assert population_std(prices) == pytest.approx(expected, rel=1e-6, abs=1e-9 * max(prices))


@given(st.lists(st.tuples(PRICES, WEIGHTS), min_size=1, max_size=8))
def test_averages_stay_inside(pairs) -> None:
    """No average leaves the range of what it is made of."""
    prices = [price for price, _ in pairs]
    for value in (mean(prices), median(prices)):
        assert min(prices) <= value <= max(prices)
    weighted = vwap(prices, [weight for _, weight in pairs])
    heavy = [price for price, weight in pairs if weight > 0]
    assert (weighted is None) == (not heavy)
    assert weighted is None or min(heavy) <= weighted <= max(heavy)


@given(st.lists(st.tuples(PRICES, WEIGHTS), min_size=1, max_size=4))
def test_order_does_not_matter(pairs) -> None:
    """The same values in any order give the same result, to the last bit."""
    results = set()
    for order in itertools.permutations(pairs):
        prices, weights = [p for p, _ in order], [w for _, w in order]
        spread = population_std(prices)
        results.add((mean(prices), median(prices), spread, vwap(prices, weights)))
    assert len(results) == 1
