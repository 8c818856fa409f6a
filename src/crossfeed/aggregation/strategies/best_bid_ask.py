"""BEST_BID_ASK: the best prices over venues."""

from __future__ import annotations

from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["BestBidAsk"]


class BestBidAsk:
    """Highest bid and lowest ask; says nothing of trades and tickers, so their default holds."""

    name = "best_bid_ask"
    keeps_last = True
    spans_venues = False

    def price(self, view: PriceView) -> float:
        """Return the default: trades volume-weighted, tickers the median."""
        return view.default_price()
