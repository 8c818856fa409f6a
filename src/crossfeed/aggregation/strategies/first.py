"""FIRST: the lowest latency."""

from __future__ import annotations

from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["First"]


class First:
    """The first datum of an interval, published at once; later ones of that interval are not."""

    name = "first"
    keeps_last = False
    spans_venues = False

    def price(self, view: PriceView) -> float:
        """Return the newest price: at the start of an interval that is the first one."""
        return view.last_price
