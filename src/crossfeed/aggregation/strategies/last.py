"""LAST: the latest datum of the interval, whichever venue it comes from."""

from __future__ import annotations

from crossfeed.aggregation.strategies.base import PriceView

__all__ = ["Last"]


class Last:
    """The newest price."""

    name = "last"
    keeps_last = True
    spans_venues = False

    def price(self, view: PriceView) -> float:
        """Return the newest price."""
        return view.last_price
