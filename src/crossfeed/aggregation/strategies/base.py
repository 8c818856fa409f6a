"""The contract of an aggregation strategy, and what it is shown."""

from __future__ import annotations

from typing import Protocol

__all__ = ["PriceView", "Strategy"]


class PriceView(Protocol):
    """What a strategy may ask of the values at hand. Valid only during the call.

    Only values that take part are shown: sound, fresh, provable enough, in the common quote
    currency where a basis is set. There is always at least one.
    """

    @property
    def last_price(self) -> float:
        """The newest price."""
        ...

    def latest_prices(self) -> list[float]:
        """Return the latest price of each venue, in configured order. A fresh list."""
        ...

    def weighted_price(self) -> float | None:
        """Return the volume-weighted price: trades over the interval, tickers by 24 h volume.

        None where nothing has a volume.
        """
        ...

    def default_price(self) -> float:
        """Return the default of the data type: trades weighted, tickers the median."""
        ...


class Strategy(Protocol):
    """Makes one price of several. Stateless: one object serves all symbols.

    Book tickers are not asked: they give the best bid and ask under every strategy.
    """

    @property
    def name(self) -> str:
        """Word for it in the configuration, lower case."""
        ...

    @property
    def keeps_last(self) -> bool:
        """Whether the last value of an interval is published when the interval ends.

        False: only the first of each interval is published, later ones are not.
        """
        ...

    @property
    def spans_venues(self) -> bool:
        """Whether a trade price is made of all venues' latest trades, not just the interval's."""
        ...

    def price(self, view: PriceView) -> float:
        """Return the one price. Called at each publication: keep it cheap."""
        ...
