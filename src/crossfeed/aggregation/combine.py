"""Arithmetic over a handful of prices. Pure functions, exact where floats allow it.

Sums are correctly rounded (`math.fsum`), so no result depends on the order of its input, and equal
prices give exactly that price and a deviation of exactly 0. Nothing here checks for NaN: values are
checked where they enter a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, inf, sqrt

__all__ = ["clamp", "mean", "median", "population_std", "vwap"]


def clamp(value: float, low: float, high: float) -> float:
    """Bring `value` into `low..high`: takes back an average's last-digit error."""
    return min(max(value, low), high)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, never outside the smallest and largest value.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("the mean of no values is undefined")
    return clamp(fsum(values) / len(values), min(values), max(values))


def median(values: Sequence[float]) -> float:
    """Return the middle value, of an even number the mean of the two in the middle.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("the median of no values is undefined")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    low, high = ordered[middle - 1], ordered[middle]
    return clamp(low + (high - low) / 2, low, high)


def population_std(values: Sequence[float]) -> float:
    """Return the standard deviation of a whole population; 0 of one value or of equal ones.

    Raises:
        ValueError: `values` is empty.
    """
    centre = mean(values)
    offsets = [value - centre for value in values]
    return sqrt(fsum([offset * offset for offset in offsets]) / len(offsets))


def vwap(prices: Sequence[float], weights: Sequence[float]) -> float | None:
    """Return the mean of `prices` weighted by volume, None where no weight is positive.

    Never outside the prices that have weight.

    Raises:
        ValueError: The lengths differ, or a weight is negative.
    """
    notionals: list[float] = []
    low, high = inf, 0.0
    for price, weight in zip(prices, weights, strict=True):
        if weight < 0:
            raise ValueError("a volume cannot be negative")
        if weight > 0:
            notionals.append(price * weight)
            low, high = min(low, price), max(high, price)
    return clamp(fsum(notionals) / fsum(weights), low, high) if notionals else None
