"""WEIGHTED: where the volume is."""

from __future__ import annotations

from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["Weighted"]


class Weighted:
    """Volume-weighted price: over the interval's trades, of tickers by 24 h volume."""

    name = "weighted"
    keeps_last = True
    spans_venues = False

    def price(self, view: PriceView) -> float:
        """Return the weighted price, the default where nothing has a volume."""
        weighted = view.weighted_price()
        return view.default_price() if weighted is None else weighted
