"""The events: what happened at a venue, in one vocabulary for all venues.

Typed attributes (`trade.price`) are the fast way. `data`, `timestamp`, `raw_message` and `exact`
are views, built when read and remembered for the event last looked at, so that several reads in one
handler cost once. Events are immutable msgspec Structs without garbage-collector tracking
(`gc=False`): they hold no cycles.

All times are integer nanoseconds: `ts_event_ns` when it happened at the venue, `ts_sent_ns` when
the venue sent it (both 0 where the venue does not say, never made up), `ts_recv_ns` our wall clock
at receipt and `ts_mono_ns` our monotonic clock at the same moment (for ages and latencies).
"""

from __future__ import annotations

from typing import Any, ClassVar

from crossfeed.model.event_base import MarketData, RawReader, register_raw_reader, utc_datetime
from crossfeed.model.trust import Side

__all__ = [
    "AggTrade",
    "BookDelta",
    "BookSnapshot",
    "Candle",
    "DepthDelta",
    "Heartbeat",
    "Level",
    "MarketData",
    "MiniTicker",
    "OrderEvent",
    "Quote",
    "RawReader",
    "Ticker",
    "Trade",
    "VenueStatus",
    "register_raw_reader",
    "utc_datetime",
]

Level = tuple[float, float]
"""(price, size) of one book level; size 0 removes it."""


class Trade(MarketData, frozen=True, gc=False):
    """One trade.

    Attributes:
        price: Quote units per base unit.
        quantity: Base units.
        side: The taker's side.
        trade_id: The venue's id, +1 per trade within a symbol where the venue numbers them.
    """

    price: float
    quantity: float
    side: Side
    trade_id: int

    data_type: ClassVar[str] = "trade"

    @property
    def is_buyer_maker(self) -> bool:
        """True when the resting order was the buy: the taker sold."""
        return self.side is Side.SELL

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "price": self.price,
            "quantity": self.quantity,
            "size": self.quantity,
            "side": str(self.side),
            "trade_id": self.trade_id,
            "is_buyer_maker": self.is_buyer_maker,
        }


class AggTrade(MarketData, frozen=True, gc=False):
    """Fills of one taker order at one price, merged by the venue.

    Attributes:
        trade_id: The venue's id of the aggregate (an id space of its own).
        first_trade_id: Id of the first trade in it.
        last_trade_id: Id of the last trade in it.
    """

    price: float
    quantity: float
    side: Side
    trade_id: int
    first_trade_id: int
    last_trade_id: int

    data_type: ClassVar[str] = "agg_trade"

    @property
    def is_buyer_maker(self) -> bool:
        """True when the resting order was the buy: the taker sold."""
        return self.side is Side.SELL

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "price": self.price,
            "quantity": self.quantity,
            "size": self.quantity,
            "side": str(self.side),
            "trade_id": self.trade_id,
            "is_buyer_maker": self.is_buyer_maker,
            "first_trade_id": self.first_trade_id,
            "last_trade_id": self.last_trade_id,
        }


class Quote(MarketData, frozen=True, gc=False):
    """Best bid and offer.

    Attributes:
        bid_price: Highest bid.
        bid_quantity: Size at it, base units.
        ask_price: Lowest offer.
        ask_quantity: Size at it, base units.
        update_id: The book's update number it belongs to, 0 where the venue gives none.
    """

    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float
    update_id: int

    data_type: ClassVar[str] = "book_ticker"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "bid_price": self.bid_price,
            "bid_quantity": self.bid_quantity,
            "ask_price": self.ask_price,
            "ask_quantity": self.ask_quantity,
        }


class Ticker(MarketData, frozen=True, gc=False):
    """Rolling 24 h statistics with the last price. None where the venue gives no such value."""

    price: float
    price_change: float | None
    price_change_percent: float | None
    open: float | None
    high: float | None
    low: float | None
    volume: float | None
    quote_volume: float | None
    vwap: float | None
    best_bid: float | None
    best_bid_quantity: float | None
    best_ask: float | None
    best_ask_quantity: float | None
    last_quantity: float | None
    trade_id: int | None

    data_type: ClassVar[str] = "ticker"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "price": self.price,
            "last_price": self.price,
            "price_change": self.price_change,
            "price_change_percent": self.price_change_percent,
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "volume_24h": self.volume,
            "volume": self.volume,
            "quote_volume": self.quote_volume,
            "vwap": self.vwap,
            "best_bid": self.best_bid,
            "best_bid_size": self.best_bid_quantity,
            "best_bid_quantity": self.best_bid_quantity,
            "best_ask": self.best_ask,
            "best_ask_size": self.best_ask_quantity,
            "best_ask_quantity": self.best_ask_quantity,
            "last_quantity": self.last_quantity,
            "trade_id": self.trade_id,
        }


class MiniTicker(MarketData, frozen=True, gc=False):
    """Rolling 24 h open, high, low, last and volumes."""

    price: float
    open: float
    high: float
    low: float
    volume: float
    quote_volume: float

    data_type: ClassVar[str] = "mini_ticker"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "last_price": self.price,
            "price": self.price,
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "volume": self.volume,
            "quote_volume": self.quote_volume,
        }


class Candle(MarketData, frozen=True, gc=False):
    """One bar of a candlestick series, complete or in the making.

    Attributes:
        interval: "1s", "1m" ... "1M".
        open_time_ns: Start of the bar.
        close_time_ns: End of the bar, exclusive (where a venue sends ...999 ms we give the next
            start).
        volume: Base units.
        trades: Number of trades, None where the venue does not count them.
        is_closed: True for the final state of a bar.
    """

    interval: str
    open_time_ns: int
    close_time_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int | None
    is_closed: bool

    data_type: ClassVar[str] = "kline"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "interval": self.interval,
            "open_time": utc_datetime(self.open_time_ns),
            "close_time": utc_datetime(self.close_time_ns),
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
            "trades": self.trades,
            "is_closed": self.is_closed,
        }


class BookSnapshot(MarketData, frozen=True, gc=False):
    """A whole book (or its top levels) at one moment.

    Attributes:
        bids: (price, size) pairs in the venue's order.
        asks: The same for the offers.
        sequence: The update number it stands at, 0 where the venue gives none.
        checksum: The venue's checksum over the result, None where it gives none.
    """

    bids: list[Level]
    asks: list[Level]
    sequence: int
    checksum: int | None

    data_type: ClassVar[str] = "orderbook_snapshot"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {"bids": self.bids, "asks": self.asks, "sequence": self.sequence}


class BookDelta(MarketData, frozen=True, gc=False):
    """Changes of a book. Sizes are absolute, 0 removes the level, in the order given.

    Attributes:
        first: First update number folded in, 0 where the venue gives none.
        last: Last update number folded in, 0 where the venue gives none.
        previous: The number the venue says came before, 0 where it gives none (futures: `pu`).
        checksum: The venue's checksum over the result, None where it gives none.
    """

    bids: list[Level]
    asks: list[Level]
    first: int
    last: int
    previous: int
    checksum: int | None

    data_type: ClassVar[str] = "orderbook_update"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        changes: list[list[Any]] = [["buy", price, size] for price, size in self.bids]
        changes += [["sell", price, size] for price, size in self.asks]
        return {"changes": changes}


class DepthDelta(BookDelta, frozen=True, gc=False):
    """A `BookDelta` in the words of Binance's diff depth stream."""

    data_type: ClassVar[str] = "depth"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "first_update_id": self.first,
            "final_update_id": self.last,
            "bids": self.bids,
            "asks": self.asks,
        }


class Heartbeat(MarketData, frozen=True, gc=False):
    """A sign of life.

    Attributes:
        sequence: The venue's counter, 0 where it gives none.
        last_trade_id: Newest trade id of the symbol, 0 where the venue gives none; proves the tail.
    """

    sequence: int
    last_trade_id: int

    data_type: ClassVar[str] = "heartbeat"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {"sequence": self.sequence, "last_trade_id": self.last_trade_id}


class VenueStatus(MarketData, frozen=True, gc=False):
    """State of a venue or of its products.

    Attributes:
        system: The venue's word for its own state ("online", "maintenance"), empty where it gives
            none.
        products: The venue's own product entries.
    """

    system: str
    products: list[dict[str, Any]]

    data_type: ClassVar[str] = "status"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {"system": self.system, "products": self.products}


class OrderEvent(MarketData, frozen=True, gc=False):
    """One event of an order-by-order feed (Coinbase `full`).

    Attributes:
        kind: received, open, done, match, change or activate.
        sequence: Number within the product's full feed, +1 per event; 0 for `activate`.
        order_id: The order concerned (a match: the maker's).
        side: Side of that order.
        price: Its price, None for market orders.
        size: Size that applies: received size, remaining size, matched size or new size; None if
            absent.
        fields: The venue's own fields, as sent.
    """

    kind: str
    sequence: int
    order_id: str
    side: Side
    price: float | None
    size: float | None
    fields: dict[str, Any]

    data_type: ClassVar[str] = "full"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return self.fields | {"type": self.kind, "sequence": self.sequence}
