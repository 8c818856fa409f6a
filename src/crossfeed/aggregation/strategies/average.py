"""AVERAGE: the mean over venues."""

from __future__ import annotations

from crossfeed.aggregation.combine import mean
from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["Average"]


class Average:
    """Mean of the venues' latest prices."""

    name = "average"
    keeps_last = True
    spans_venues = True

    def price(self, view: PriceView) -> float:
        """Return the mean, each venue counting once."""
        return mean(view.latest_prices())
