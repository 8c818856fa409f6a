"""Which events each of our kinds brings, and how they are numbered."""

from __future__ import annotations

from typing import Final

from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    DepthDelta,
    Heartbeat,
    MarketData,
    MiniTicker,
    OrderEvent,
    Quote,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.trust import Integrity
from crossfeed.runtime.order_flow import L3_KIND
from crossfeed.venues.base import Channel, Profile

__all__ = [
    "BANDED",
    "BOOK_CLASSES",
    "CLASSES",
    "NUMBERED",
    "NUMBERS",
    "TICKERS",
    "channel_of",
    "types_of",
]

CLASSES: Final[dict[str, type[MarketData]]] = {
    "trade": Trade,
    "agg_trade": AggTrade,
    "ticker": Ticker,
    "ticker_batch": Ticker,
    "mini_ticker": MiniTicker,
    "kline": Candle,
    "book_ticker": Quote,
    "depth": DepthDelta,
    "heartbeat": Heartbeat,
    "status": VenueStatus,
    "full": OrderEvent,
    L3_KIND: OrderEvent,
}
"""Event class of a kind; books take several (`BOOK_CLASSES`)."""
BOOK_CLASSES: Final = (BookSnapshot, BookDelta, DepthDelta)
TICKERS: Final = frozenset({"ticker", "ticker_batch"})
"""Kinds whose events cannot be told apart: one of them for each symbol."""
BANDED: Final = TICKERS | {"trade", "agg_trade", "book_ticker", "mini_ticker"}
"""Kinds whose prices are checked for plausibility."""
NUMBERS: Final = {"id": "trade_id", "sequence": "sequence"}
"""Attribute that numbers the events of a chain (`Channel.chain`)."""


NUMBERED: Final = frozenset({Integrity.SEQUENCED, Integrity.CONNECTION_SEQUENCED})
"""Levels at which a hole shows by itself, by the numbers of what follows."""


def types_of(kind: str, *, is_book: bool) -> set[str]:
    """Return the data types of the messages that feed a stream of one of our kinds."""
    if is_book:
        return {event_class.data_type for event_class in BOOK_CLASSES}
    return {CLASSES["kline" if kind.startswith("kline") else kind].data_type}


def channel_of(profile: Profile, kind: str) -> Channel | None:
    """Return the venue's channel that brings one of our kinds, None if it has none."""
    if kind == "ticker_batch":
        return profile.named(kind)
    if kind == "book_ticker" and profile.quotes_from == "book":
        return profile.channel("book")
    return profile.channel("kline" if kind.startswith("kline") else kind)
