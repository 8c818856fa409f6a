"""Histograms: fixed memory, bounded error."""

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.runtime.histogram import Histogram

VALUES = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def filled(values: list[int]) -> Histogram:
    """Return a histogram of `values`."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


def test_empty() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) == 0.0
    assert histogram.buckets() == []
    assert (histogram.count, histogram.total, histogram.maximum) == (0, 0, 0)


def test_small_values_are_exact_and_negative_ones_zero() -> None:
    histogram = filled([-5, 0, 3, 3, 15])
    assert [histogram.quantile(share) for share in (0.2, 0.4, 0.5, 0.8, 1.0)] == [0, 0, 3, 3, 15]
    assert histogram.buckets() == [(1.0, 2), (4.0, 2), (16.0, 1)]


@given(VALUES, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_their_bucket(values: list[int], share: float) -> None:
    """At most 6.25 % off the exact value, and never beyond the largest."""
    histogram = filled(values)
    exact = sorted(values)[max(0, -(-int(share * 1000) * len(values) // 1000) - 1)]
    found = histogram.quantile(share)
    assert abs(found - exact) <= exact * 0.0625
    assert found <= histogram.maximum == max(values)
    assert histogram.total == sum(values)


@given(VALUES)
def test_buckets_hold_everything_once_in_order(values: list[int]) -> None:
    buckets = filled(values).buckets()
    edges = [edge for edge, _ in buckets]
    assert edges == sorted(edges)
    assert sum(count for _, count in buckets) == len(values)
    for edge, _ in buckets:
        below = sum(count for upper, count in buckets if upper <= edge)
        assert below == sum(value < edge for value in values)


def test_beyond_all_bounds() -> None:
    histogram = filled([1 << 80])
    assert histogram.count == 1
    assert histogram.maximum == 1 << 80
