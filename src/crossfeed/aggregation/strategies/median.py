"""MEDIAN: robust to one venue far off."""

from __future__ import annotations

from crossfeed.aggregation.combine import median
from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["Median"]


class Median:
    """Median of the venues' latest prices."""

    name = "median"
    keeps_last = True
    spans_venues = True

    def price(self, view: PriceView) -> float:
        """Return the median, each venue counting once."""
        return median(view.latest_prices())
