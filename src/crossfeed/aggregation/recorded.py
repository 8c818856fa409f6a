"""Hand-made events (`crossfeed.MarketData(...)`) read as the typed ones they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from crossfeed.model.events import MarketData, Quote, Ticker, Trade
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.model.unified import RecordedEvent

__all__ = ["read_recorded"]


def read_recorded(event: RecordedEvent) -> Trade | Ticker | Quote | None:
    """Return the trade, ticker or quote it stands for, None for every other kind.

    A number that is missing or no number becomes NaN, which the boards refuse and count.
    """
    if event.kind == "trade":
        return _trade(event, event.values)
    if event.kind == "ticker":
        return _ticker(event, event.values)
    return _quote(event, event.values) if event.kind == "book_ticker" else None


_Shared = tuple[str, str, str, int, int, int, int, Mark, Integrity, Trust, bytes | None, int]


def _shared(event: MarketData) -> _Shared:
    return (
        event.exchange,
        event.symbol,
        event.unified,
        event.ts_event_ns,
        event.ts_sent_ns,
        event.ts_recv_ns,
        event.ts_mono_ns,
        event.marks,
        event.integrity,
        event.trust,
        event.raw,
        event.raw_index,
    )


def _number(values: Mapping[str, Any], *names: str) -> float:
    """Return the first of `names` that is given, NaN where none is or it is no number."""
    value = next((values[name] for name in names if values.get(name) is not None), nan)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return nan
    try:
        return float(value)
    except OverflowError:
        return nan


def _optional(values: Mapping[str, Any], *names: str) -> float | None:
    """Return the first of `names` that is given, None where none is."""
    is_given = any(values.get(name) is not None for name in names)
    return _number(values, *names) if is_given else None


def _trade(event: MarketData, values: Mapping[str, Any]) -> Trade:
    trade_id = values.get("trade_id")
    side = values.get("side")
    return Trade(
        *_shared(event),
        _number(values, "price"),
        _number(values, "quantity", "size", "volume"),
        Side(side) if side in set(Side) else Side.UNKNOWN,
        trade_id if isinstance(trade_id, int) else 0,
    )


def _ticker(event: MarketData, values: Mapping[str, Any]) -> Ticker:
    return Ticker(
        *_shared(event),
        _number(values, "price", "last_price"),
        _optional(values, "price_change"),
        _optional(values, "price_change_percent"),
        _optional(values, "open"),
        _optional(values, "high"),
        _optional(values, "low"),
        _optional(values, "volume_24h", "volume"),
        *(None, None, None, None, None, None, None, None),
    )


def _quote(event: MarketData, values: Mapping[str, Any]) -> Quote:
    return Quote(
        *_shared(event),
        _number(values, "bid_price", "best_bid"),
        _number(values, "bid_quantity", "bid_size", "best_bid_quantity"),
        _number(values, "ask_price", "best_ask"),
        _number(values, "ask_quantity", "ask_size", "best_ask_quantity"),
        0,
    )
