"""The messages of Coinbase Advanced Trade, stream and REST, in its own words.

Every frame is `{"channel":…,"timestamp":…,"sequence_num":…,"events":[…]}`; older ones also have a
`client_id`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Raw

from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Candle,
    Heartbeat,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.venues.wire import (
    Choice,
    Count,
    Int,
    IsoTime,
    LevelPrice,
    LevelSide,
    LevelSize,
    Num,
    ObjectLevels,
    Price,
    Probe,
    Quantity,
    Real,
    Route,
    Routes,
    Size,
    SnapshotFlag,
    Symbol,
    Text,
    UnixTime,
    Wire,
)

__all__ = [
    "CANDLE_NS",
    "REST_ROUTES",
    "ROUTES",
    "ErrorFrame",
    "MarketTicker",
    "Numbered",
    "Subscriptions",
    "TradeItem",
]

CANDLE_NS: Final = 300 * 1_000_000_000
"""Length of the only candles there are."""

# `side` is the maker's, in the stream as in REST: a resting SELL was hit by a buyer.
_TAKER_SIDE: Final = {"BUY": Side.SELL, "SELL": Side.BUY}
Kind = Literal["snapshot", "update"]


class TradeItem(Wire):
    """One trade of an event."""

    product_id: Annotated[str, Symbol()]
    trade_id: Annotated[Count, Int("trade_id")]
    price: Annotated[Price, Num("price")]
    size: Annotated[Quantity, Num("quantity")]
    side: Annotated[Literal["BUY", "SELL"], Choice("side", _TAKER_SIDE)]
    time: Annotated[str, IsoTime("ts_event_ns")]


class TradesEvent(Wire):
    """Trades, newest first; a snapshot holds old ones."""

    type: Annotated[Kind, SnapshotFlag("snapshot")]
    trades: list[TradeItem]


class Trades(Wire):
    """Channel `market_trades`.

    `{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":9,
    "events":[{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"1068572091",
    "price":"65083.67","size":"0.01034361","time":"2026-08-09T21:05:48.167634Z","side":"SELL"}]}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_sent_ns")]
    sequence_num: Count
    events: list[TradesEvent]


class TickerItem(Wire):
    """One ticker; `ticker_batch` leaves the best prices out. What is missing reads as 0: None."""

    product_id: Annotated[str, Symbol()]
    price: Annotated[Price, Num("price")]
    volume_24_h: Annotated[Size, Num("volume")]
    price_percent_chg_24_h: Annotated[Real, Num("price_change_percent")]
    low_24_h: Annotated[Size, Num("low", zero_is_none=True)] = 0.0
    high_24_h: Annotated[Size, Num("high", zero_is_none=True)] = 0.0
    best_bid: Annotated[Size, Num("best_bid", zero_is_none=True)] = 0.0
    best_bid_quantity: Annotated[Size, Num("best_bid_quantity", zero_is_none=True)] = 0.0
    best_ask: Annotated[Size, Num("best_ask", zero_is_none=True)] = 0.0
    best_ask_quantity: Annotated[Size, Num("best_ask_quantity", zero_is_none=True)] = 0.0


class TickersEvent(Wire):
    """Tickers; a snapshot is the current state."""

    type: Annotated[Kind, SnapshotFlag("snapshot")]
    tickers: list[TickerItem]


class Tickers(Wire):
    """Channels `ticker` and `ticker_batch`; a ticker has no time and no trade id of its own.

    `{"channel":"ticker","timestamp":"2026-08-09T21:05:48.298032046Z","sequence_num":10,"events":[{
    "type":"update","tickers":[{"type":"ticker","product_id":"ETH-USD","price":"1919.41",
    "volume_24_h":"19975.95927439","low_24_h":"1911.04","high_24_h":"1925","low_52_w":"1505",
    "high_52_w":"4955.9","price_percent_chg_24_h":"0.02501394006035","best_bid":"1919.44",
    "best_ask":"1919.49","best_bid_quantity":"0.02858092","best_ask_quantity":"0.07814824"}]}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_event_ns")]
    sequence_num: Count
    events: list[TickersEvent]


class LevelItem(Wire):
    """One level. Its `event_time` is left out: in snapshots it may be 1970."""

    side: Annotated[Literal["bid", "offer"], LevelSide("bid")]
    price_level: Annotated[Price, LevelPrice()]
    new_quantity: Annotated[Size, LevelSize()]


class LevelsEvent(Wire):
    """A whole book, or changes of it with absolute sizes."""

    type: Annotated[Kind, SnapshotFlag("snapshot")]
    product_id: Annotated[str, Symbol()]
    updates: Annotated[list[LevelItem], ObjectLevels()]


class Levels(Wire):
    """Channel `level2`, which calls itself `l2_data`.

    `{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.506659391Z","sequence_num":15,"events":[{
    "type":"update","product_id":"BTC-USD","updates":[{"side":"offer",
    "event_time":"2026-08-09T21:05:48.264069Z","price_level":"65155.5","new_quantity":"0.00000011"}
    ]}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_event_ns")]
    sequence_num: Count
    events: list[LevelsEvent]


class CandleItem(Wire):
    """One bar; there is no word on whether it is complete."""

    product_id: Annotated[str, Symbol()]
    start: Annotated[int, UnixTime("open_time_ns", 1_000_000_000)]
    open: Annotated[Price, Num("open")]
    high: Annotated[Price, Num("high")]
    low: Annotated[Price, Num("low")]
    close: Annotated[Price, Num("close")]
    volume: Annotated[Size, Num("volume")]


class CandlesEvent(Wire):
    """Bars; a snapshot holds about a hundred old ones and the current one."""

    type: Annotated[Kind, SnapshotFlag("snapshot")]
    candles: list[CandleItem]


class Candles(Wire):
    """Channel `candles`: bars of 5 minutes.

    `{"channel":"candles","timestamp":"2026-08-09T21:05:51.491081826Z","sequence_num":138,
    "events":[{"type":"update","candles":[{"start":"1786309500","high":"1919.6","low":"1919.27",
    "open":"1919.58","close":"1919.41","volume":"36.36630914","product_id":"ETH-USD"}]}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_sent_ns")]
    sequence_num: Count
    events: list[CandlesEvent]


class HeartbeatItem(Wire):
    """One beat. `current_time` is no RFC 3339 time ("… +0000 UTC m=+41691.2") and left out."""

    heartbeat_counter: Annotated[Count, Int("sequence")]


class Heartbeats(Wire):
    """Channel `heartbeats`; the counter is a number, or a text as in the documents.

    `{"channel":"heartbeats","timestamp":"2026-08-09T21:05:48.856364007Z","sequence_num":35,
    "events":[{"current_time":"2026-08-09 21:05:48.854840045 +0000 UTC m=+41691.260485341",
    "heartbeat_counter":41691}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_event_ns")]
    sequence_num: Count
    events: list[HeartbeatItem]


class StatusEvent(Wire):
    """All products, or those that changed."""

    type: Annotated[Kind, SnapshotFlag("snapshot")]
    products: Annotated[list[dict[str, Any]], Text("products")]


class Status(Wire):
    """Channel `status`.

    `{"channel":"status","timestamp":"2023-02-09T20:29:49.753424311Z","sequence_num":0,"events":[{
    "type":"snapshot","products":[{"product_type":"SPOT","id":"BTC-USD","base_currency":"BTC",
    "quote_currency":"USD","base_increment":"0.00000001","quote_increment":"0.01",
    "display_name":"BTC/USD","status":"online","status_message":"","min_market_funds":"1"}]}]}`
    """

    timestamp: Annotated[str, IsoTime("ts_event_ns")]
    sequence_num: Count
    events: list[StatusEvent]


class SubscriptionsEvent(Wire):
    """The whole current list, channel -> products. Values of heartbeats are of no fixed form."""

    subscriptions: dict[str, Any]


class Subscriptions(Wire):
    """The answer to every request.

    `{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.228846629Z","sequence_num":2,
    "events":[{"subscriptions":{"market_trades":["BTC-USD","ETH-USD"]}}]}`
    """

    sequence_num: Count
    events: list[SubscriptionsEvent]


class ErrorFrame(Wire):
    """A refusal: no channel and no number.

    `{"type":"error","message":"authentication failure"}`
    """

    message: str = ""
    reason: str = ""
    sequence_num: Count | None = None


class ChannelProbe(Probe):
    """Tells the messages apart; an error has a `type` where all others have a `channel`.

    Other words in `type` belong to Coinbase Exchange, whose events carry the same exchange.
    """

    channel: str = ""
    type: str = ""

    def tag(self) -> str:
        """Return the channel, or "error"."""
        return self.channel or ("error" if self.type == "error" else "")


class Numbered(Wire):
    """What counts of a frame that is not for us: its number, and how many events it holds."""

    sequence_num: Count
    events: list[Raw]


_TICKER: Final = Route(
    wire=Tickers,
    event=Ticker,
    integrity=Integrity.SELF_CONTAINED,
    constants={
        "price_change": None,
        "open": None,
        "quote_volume": None,
        "vwap": None,
        "last_quantity": None,
        "trade_id": None,
    },
)

ROUTES: Final = Routes(
    guess=re.compile(rb'\s*\{"channel":"([a-z0-9_]+)"'),
    probe=ChannelProbe,
    head_end=b",",
    table={
        # The venue sends the newest first.
        "market_trades": Route(
            wire=Trades,
            event=Trade,
            order="trade_id",
            integrity=Integrity.SEQUENCED,
            snapshot_marks=Mark.HISTORY | Mark.SNAPSHOT,
        ),
        "ticker": _TICKER,
        "ticker_batch": _TICKER,
        "l2_data": Route(
            wire=Levels,
            event=BookDelta,
            snapshot=BookSnapshot,
            integrity=Integrity.CONNECTION_SEQUENCED,
            constants={"first": 0, "last": 0, "previous": 0, "sequence": 0, "checksum": None},
        ),
        # The codec gives them their end and tells which ones are complete.
        "candles": Route(
            wire=Candles,
            event=Candle,
            handler="on_candles",
            integrity=Integrity.SELF_CONTAINED,
            constants={"interval": "5m", "close_time_ns": 0, "trades": None, "is_closed": False},
        ),
        "heartbeats": Route(
            wire=Heartbeats,
            event=Heartbeat,
            integrity=Integrity.CONNECTION_SEQUENCED,
            constants={"symbol": "", "unified": "", "last_trade_id": 0},
        ),
        "status": Route(
            wire=Status,
            event=VenueStatus,
            integrity=Integrity.SELF_CONTAINED,
            constants={"symbol": "", "unified": "", "system": ""},
        ),
        "subscriptions": Route(wire=Subscriptions, handler="on_subscriptions"),
        "error": Route(wire=ErrorFrame, handler="on_error"),
    },
)


# ── REST ──────────────────────────────────────────────────────────────────────


class ExchangeTrade(Wire):
    """One trade of Coinbase Exchange's `GET /products/{id}/trades`; `side` is the maker's.

    `{"trade_id":74,"side":"sell","size":"0.01000000","price":"10.00000000",
    "time":"2014-11-07T22:19:28.578544Z"}`; the reader looks up "" as the product asked for.
    """

    trade_id: Annotated[Count, Int("trade_id")]
    side: Annotated[Literal["buy", "sell"], Choice("side", {"buy": Side.SELL, "sell": Side.BUY})]
    size: Annotated[Quantity, Num("quantity")]
    price: Annotated[Price, Num("price")]
    time: Annotated[str, IsoTime("ts_event_ns")]
    product_id: Annotated[str, Symbol()] = ""


class MarketTicker(Wire):
    """`GET /market/products/{id}/ticker`: the last trades, newest first, and the best prices.

    `{"trades":[{"trade_id":"995098700","product_id":"BTC-USD","price":"68900.50","size":"0.0015",
    "time":"2026-04-07T14:30:02.789012Z","side":"BUY","bid":"","ask":"","exchange":"coinbase"}],
    "best_bid":"68900.49","best_ask":"68900.50"}`
    """

    trades: list[Raw]
    best_bid: str = ""
    best_ask: str = ""


class BookItem(Wire):
    """One level of a REST book."""

    price: Annotated[Price, LevelPrice()]
    size: Annotated[Size, LevelSize()]


class PriceBook(Wire):
    """The book inside a `MarketBook`."""

    product_id: Annotated[str, Symbol()]
    bids: Annotated[list[BookItem], ObjectLevels("bids")]
    asks: Annotated[list[BookItem], ObjectLevels("asks")]
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None


class MarketBook(Wire):
    """`GET /market/product_book`: at most 1000 levels a side, without a number.

    `{"pricebook":{"product_id":"BTC-USD","bids":[{"price":"68900.49","size":"0.2"}],"asks":[{
    "price":"68900.50","size":"0.1"}],"time":"2026-04-07T14:30:02.789012Z"},"last":"68900.50", …}`
    """

    pricebook: PriceBook


class RestProbe(Probe):
    """Tells the REST bodies apart by what they hold; stream messages have channel or type."""

    channel: str = ""
    type: str = ""
    side: str = ""
    pricebook: Raw = Raw()

    def tag(self) -> str:
        """Return the sort of body, empty where it is a message of the stream."""
        if self.channel or self.type:
            return ""
        if self.side:
            return "market_trade" if self.side.isupper() else "exchange_trade"
        return "book" if memoryview(self.pricebook).nbytes else ""


REST_ROUTES: Final = Routes(
    guess=re.compile(rb"(?!)"),
    probe=RestProbe,
    table={
        "exchange_trade": Route(
            wire=ExchangeTrade, event=Trade, integrity=Integrity.SEQUENCED, marks=Mark.REST
        ),
        "market_trade": Route(
            wire=TradeItem, event=Trade, integrity=Integrity.SEQUENCED, marks=Mark.REST
        ),
        "book": Route(
            wire=MarketBook,
            event=BookSnapshot,
            integrity=Integrity.CONNECTION_SEQUENCED,
            marks=Mark.REST | Mark.SNAPSHOT,
            constants={"sequence": 0, "checksum": None},
        ),
    },
)
