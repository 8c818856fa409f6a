"""Events by hand, short enough to read in a test: only what matters is said, the rest is ordinary.

Times are given as milliseconds since `EPOCH_NS` on the wall clock and since 0 on the monotonic one.
"""

from __future__ import annotations

from typing import Any, Final

from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    DepthDelta,
    Heartbeat,
    Level,
    OrderEvent,
    Quote,
    Ticker,
    Trade,
)
from crossfeed.model.trust import Integrity, Mark, Side, Trust

__all__ = [
    "EPOCH_NS",
    "delta",
    "heartbeat",
    "order",
    "quote",
    "snapshot",
    "ticker",
    "trade",
]

EPOCH_NS: Final = 1_700_000_000_000_000_000
MS_NS: Final = 1_000_000
Head = tuple[str, str, str, int, int, int, int, Mark, Integrity, Trust, bytes | None, int]


def _head(
    exchange: str, symbol: str, at_ms: float, event_ms: float | None, marks: Mark, raw: bytes | None
) -> Head:
    """Return what all events begin with; `event_ms` below 0 means that the venue gives no time."""
    at_ns = int(at_ms * MS_NS)
    shown_ms = at_ms if event_ms is None else event_ms
    event_ns = 0 if shown_ms < 0 else EPOCH_NS + int(shown_ms * MS_NS)
    unified = "BTC/USDT" if symbol == "BTCUSDT" else ""
    return (
        exchange,
        symbol,
        unified,
        event_ns,
        0,
        EPOCH_NS + at_ns,
        at_ns,
        marks,
        Integrity.SEQUENCED,
        Trust.SOUND,
        raw,
        0,
    )


def trade(  # noqa: PLR0913 - a test says only what matters
    trade_id: int,
    at_ms: float = 0,
    *,
    price: float = 100.0,
    quantity: float = 1.0,
    side: Side = Side.BUY,
    event_ms: float | None = None,
    marks: Mark = Mark.NONE,
    exchange: str = "binance",
    symbol: str = "BTCUSDT",
) -> Trade:
    """Make a trade."""
    head = _head(exchange, symbol, at_ms, event_ms, marks, None)
    return Trade(*head, price, quantity, side, trade_id)


def quote(
    bid: float,
    ask: float,
    at_ms: float = 0,
    *,
    update_id: int = 0,
    event_ms: float | None = None,
    exchange: str = "binance",
    symbol: str = "BTCUSDT",
) -> Quote:
    """Make a quote of size 1 on both sides."""
    head = _head(exchange, symbol, at_ms, event_ms, Mark.NONE, None)
    return Quote(*head, bid, 1.0, ask, 1.0, update_id)


def ticker(
    price: float,
    at_ms: float = 0,
    *,
    event_ms: float | None = None,
    exchange: str = "binance",
    symbol: str = "BTCUSDT",
) -> Ticker:
    """Make a ticker that knows the price only."""
    head = _head(exchange, symbol, at_ms, event_ms, Mark.NONE, None)
    return Ticker(*head, price, *[None] * 14)


def delta(  # noqa: PLR0913 - a test says only what matters
    first: int,
    last: int,
    bids: list[Level] | None = None,
    asks: list[Level] | None = None,
    at_ms: float = 0,
    *,
    previous: int = 0,
    checksum: int | None = None,
    event_ms: float | None = None,
    raw: bytes | None = None,
    exchange: str = "binance",
    symbol: str = "BTCUSDT",
) -> BookDelta:
    """Make a book change folding in the updates `first..last`; of Binance a `DepthDelta`."""
    head = _head(exchange, symbol, at_ms, event_ms, Mark.NONE, raw)
    kind = DepthDelta if exchange == "binance" else BookDelta
    return kind(*head, bids or [], asks or [], first, last, previous, checksum)


def snapshot(  # noqa: PLR0913 - a test says only what matters
    sequence: int,
    bids: list[Level] | None = None,
    asks: list[Level] | None = None,
    at_ms: float = 0,
    *,
    checksum: int | None = None,
    marks: Mark = Mark.SNAPSHOT,
    event_ms: float | None = None,
    raw: bytes | None = None,
    exchange: str = "binance",
    symbol: str = "BTCUSDT",
) -> BookSnapshot:
    """Make a book image standing at `sequence`."""
    head = _head(exchange, symbol, at_ms, event_ms, marks, raw)
    return BookSnapshot(*head, bids or [], asks or [], sequence, checksum)


def order(  # noqa: PLR0913 - a test says only what matters
    kind: str,
    sequence: int,
    order_id: str,
    *,
    side: Side = Side.BUY,
    price: float | None = None,
    size: float | None = None,
    at_ms: float = 0,
    marks: Mark = Mark.NONE,
    fields: dict[str, Any] | None = None,
    exchange: str = "coinbase",
    symbol: str = "BTC-USD",
) -> OrderEvent:
    """Make an event of an order-by-order feed."""
    head = _head(exchange, symbol, at_ms, None, marks, None)
    return OrderEvent(*head, kind, sequence, order_id, side, price, size, fields or {})


def heartbeat(
    last_trade_id: int = 0,
    at_ms: float = 0,
    *,
    sequence: int = 0,
    exchange: str = "coinbase",
    symbol: str = "BTC-USD",
) -> Heartbeat:
    """Make a heartbeat."""
    return Heartbeat(
        *_head(exchange, symbol, at_ms, None, Mark.NONE, None), sequence, last_trade_id
    )
