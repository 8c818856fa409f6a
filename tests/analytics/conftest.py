"""Unified values made by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from crossfeed.model.events import Quote
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.model.unified import UnifiedMarketData

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def _quote(exchange: str, ts_mono_ns: int) -> Quote:
    shared = (exchange, "BTC", "BTC/USD", 0, 0, 1, ts_mono_ns, Mark.NONE, Integrity.NONE)
    return Quote(*shared, Trust.SOUND, None, 0, 1.0, 1.0, 2.0, 1.0, 0)


def _book(
    bid: object = 101.0,
    ask: object = 100.0,
    *,
    venues: tuple[str, str] = ("kraken", "coinbase"),
    sizes: tuple[object, object] = (2.0, 3.0),
    ages_ns: tuple[int, ...] = (),
    **parts: Any,
) -> UnifiedMarketData:
    mono_ns = 10**12
    data = {
        "best_bid": bid,
        "best_bid_quantity": sizes[0],
        "best_bid_exchange": venues[0],
        "best_ask": ask,
        "best_ask_quantity": sizes[1],
        "best_ask_exchange": venues[1],
        "spread": 0.0,
        "spread_percent": 0.5,
    }
    parts.setdefault("data_type", "book_ticker")
    pairs = zip(venues, ages_ns, strict=False)
    return UnifiedMarketData(
        symbol="BTC/USD",
        timestamp=NOON,
        exchanges=list(venues),
        data=data | parts.pop("data", {}),
        source_data=[_quote(venue, mono_ns - age_ns) for venue, age_ns in pairs],
        ts_mono_ns=mono_ns,
        **parts,
    )


@pytest.fixture(scope="session")
def book() -> Callable[..., UnifiedMarketData]:
    """Makes unified book tickers: kraken bids 101, coinbase asks 100, unless told otherwise."""
    return _book
