"""Prices far from what a stream showed before: delivered, but marked SUSPECT (fault D05)."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.model.events import AggTrade, Candle, MarketData, MiniTicker, Quote, Ticker, Trade
from crossfeed.model.trust import Mark

__all__ = ["PRICE_READERS", "BandLimits", "PriceBand", "price_of"]

SECOND_NS: Final = 1_000_000_000


class BandLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one price band.

    Attributes:
        ratio: A price more than this factor above or below the last good one is suspect (> 1).
        lasting_events: So many suspect events in a row that agree with each other ...
        lasting_s: ... over at least this time are a move: the band follows.
    """

    ratio: float = 1.5
    lasting_events: int = 5
    lasting_s: float = 1.0


class PriceBand:
    """Marks events whose price is implausible beside the last good one of the same stream.

    A wrong digit (price x10) is delivered as SUSPECT and kept out of aggregates by its mark. A move
    that lasts is no fault: several suspects in a row that agree among themselves move the band.
    Made by the pipeline, one per symbol or stream; `check` stands before or behind its gate.

    Attributes:
        inner_low: A price above this ...
        inner_high: ... and below this needs no second look ...
        rivals: ... while this is 0: suspect events in a row that agree with each other.
        suspects: Events marked so far.
        moves: Times the band followed a lasting move.
    """

    def __init__(self, limits: BandLimits | None = None) -> None:
        """Start without a price: the first one is taken as good."""
        self._limits = limits or BandLimits()
        assert self._limits.ratio > 1, "a band needs a width"
        self._low, self._high = 0.0, 0.0
        self.inner_low, self.inner_high = 0.0, 0.0
        self._rival = 0.0
        self.rivals = 0
        self._rival_since_ns = 0
        self.suspects = 0
        self.moves = 0

    def __repr__(self) -> str:
        """Return the band and the counts."""
        return f"PriceBand({self._low:g}..{self._high:g}, {self.suspects} suspect)"

    def check(self, event: MarketData) -> MarketData:
        """Return the event, marked SUSPECT if its price is implausible. Cost 0.15 us as a rule."""
        price = price_of(event)
        if self.inner_low < price < self.inner_high and not self.rivals:
            return event
        if price <= 0 or self._is_good(price, event.ts_mono_ns):
            return event
        self.suspects += 1
        return replace(event, marks=event.marks | Mark.SUSPECT)

    def _is_good(self, price: float, mono_ns: int) -> bool:
        if self._low < price < self._high or not self._high:
            self.rivals = 0
            self._center(price)
            return True
        ratio, limits = self._limits.ratio, self._limits
        if self.rivals and self._rival / ratio < price < self._rival * ratio:
            self.rivals += 1
        else:
            self.rivals, self._rival_since_ns = 1, mono_ns
        self._rival = price
        lasted_ns = mono_ns - self._rival_since_ns
        if self.rivals < limits.lasting_events or lasted_ns < limits.lasting_s * SECOND_NS:
            return False
        self.moves += 1
        self.rivals = 0
        self._center(price)
        return True

    def _center(self, price: float) -> None:
        """Lay the band around a good price; within an inner band it need not be laid anew."""
        ratio = self._limits.ratio
        inner = 1 + (ratio - 1) / 8
        self._low, self._high = price / ratio, price * ratio
        self.inner_low, self.inner_high = price / inner, price * inner


def price_of(event: MarketData) -> float:
    """Return the price an event stands for; 0 where it has none."""
    read = PRICE_READERS.get(event.__class__)
    return 0.0 if read is None else read(event)


def _mid(event: Any) -> float:  # noqa: ANN401 - a Quote
    mid: float = (event.bid_price + event.ask_price) * 0.5
    return mid


_price: Final[Callable[[MarketData], float]] = attrgetter("price")
PRICE_READERS: Final[dict[type[MarketData], Callable[[MarketData], float]]] = {
    Trade: _price,
    AggTrade: _price,
    Ticker: _price,
    MiniTicker: _price,
    Quote: _mid,
    Candle: attrgetter("close"),
}
"""How the price is read, by class of event: found once per stream by who wants to be quick."""
