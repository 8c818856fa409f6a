"""Kraken's messages in its own words, each with the fields that mean something to us.

Numbers are JSON numbers, exponents included (5.1e-05). The payloads in the docstrings follow the
protocol sheet of Spot WebSocket v2.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Candle,
    Heartbeat,
    Quote,
    Trade,
    VenueStatus,
)
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.venues.kraken.profile import INTERVALS
from crossfeed.venues.wire import (
    Choice,
    Count,
    Int,
    IsoTime,
    LevelPrice,
    LevelSize,
    Num,
    ObjectLevels,
    Plain,
    Price,
    Probe,
    Quantity,
    Real,
    Route,
    Routes,
    Size,
    Symbol,
    Text,
    Wire,
)

__all__ = [
    "ROUTES",
    "BookMessage",
    "ErrorMessage",
    "InstrumentMessage",
    "OhlcMessage",
    "PairItem",
    "Pong",
    "Reply",
    "StatusMessage",
    "TickerItem",
    "TickerMessage",
    "TradeMessage",
]

Checksum = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
"""CRC32 as an unsigned number of 32 bits."""
Precision = Annotated[int, Meta(ge=0, le=18)]
"""Decimals of a price or size."""
Minutes = Literal[1, 5, 15, 30, 60, 240, 1440, 10080, 21600]


class TradeItem(Wire):
    """One trade of a trade message. `side` is the taker's."""

    symbol: Annotated[str, Symbol()]
    side: Annotated[Literal["buy", "sell"], Choice("side", {"buy": Side.BUY, "sell": Side.SELL})]
    price: Annotated[Price, Num("price")]
    qty: Annotated[Quantity, Num("quantity")]
    trade_id: Annotated[Count, Int("trade_id")]
    timestamp: Annotated[str, IsoTime("ts_event_ns")]


class TradeMessage(Wire):
    """All trades of one taker order.

    `{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.20,
    "qty":0.00027625,"ord_type":"limit","trade_id":10218208,"timestamp":"2023-10-06T17:35:55.440295Z"}]}`
    """

    data: list[TradeItem]


class TickerItem(Wire):
    """Best bid and offer and the values of 24 hours; 0 for none (a closed tokenized asset).

    The slots of a `Quote`; what a `Ticker` needs besides is read by the codec where one is wanted.
    """

    symbol: Annotated[str, Symbol()]
    bid: Annotated[Size, Num("bid_price")]
    bid_qty: Annotated[Size, Num("bid_quantity")]
    ask: Annotated[Size, Num("ask_price")]
    ask_qty: Annotated[Size, Num("ask_quantity")]
    last: Annotated[Size, Num("price")]
    volume: Annotated[Size, Num("volume")]
    vwap: Annotated[Size, Num("vwap")]
    low: Annotated[Size, Num("low")]
    high: Annotated[Size, Num("high")]
    change: Annotated[Real, Num("price_change")]
    change_pct: Annotated[Real, Num("price_change_percent")]
    timestamp: Annotated[str | None, IsoTime("ts_event_ns")] = None


class TickerMessage(Wire):
    """One ticker.

    `{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":64010.10,"bid_qty":1.25,
    "ask":64010.20,"ask_qty":0.70000000,"last":64009.90,"volume":1500.12500001,"vwap":63900.12345,
    "low":63000.00,"high":65100.50,"change":-120.30,"change_pct":-0.19,"timestamp":"..."}]}`
    """

    data: list[TickerItem]


class OhlcItem(Wire):
    """One bar, complete or in the making: nothing in it says which."""

    symbol: Annotated[str, Symbol()]
    open: Annotated[Price, Num("open")]
    high: Annotated[Price, Num("high")]
    low: Annotated[Price, Num("low")]
    close: Annotated[Price, Num("close")]
    volume: Annotated[Size, Num("volume")]
    trades: Annotated[Count, Int("trades")]
    interval_begin: Annotated[str, IsoTime("open_time_ns")]
    interval: Annotated[Minutes, Choice("interval", INTERVALS)]


class OhlcMessage(Wire):
    """Bars; a snapshot brings the latest ones.

    `{"channel":"ohlc","type":"update","timestamp":"2026-03-01T12:26:30.524394914Z","data":[{
    "symbol":"BTC/USD","open":64000.0,"high":64020.5,"low":63990.1,"close":64010.2,"trades":17,
    "volume":12.34567801,"vwap":64005.5,"interval_begin":"2026-03-01T12:25:00.000000000Z",
    "interval":5,"timestamp":"2026-03-01T12:30:00.000000Z"}]}`
    """

    data: list[OhlcItem]
    timestamp: Annotated[str | None, IsoTime("ts_event_ns")] = None


class BookRow(Wire):
    """One level."""

    price: Annotated[Price, LevelPrice()]
    qty: Annotated[Size, LevelSize()]


class BookItem(Wire):
    """One symbol's levels and the checksum of the book they lead to."""

    symbol: Annotated[str, Symbol()]
    bids: Annotated[list[BookRow], ObjectLevels("bids")]
    asks: Annotated[list[BookRow], ObjectLevels("asks")]
    checksum: Annotated[Checksum, Int("checksum")]
    timestamp: Annotated[str | None, IsoTime("ts_event_ns")] = None


class BookMessage(Wire):
    """A whole book (type snapshot) or changes (type update), of the same keys.

    `{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[{"price":64010.20,
    "qty":2.50000001}],"checksum":1234567890,"timestamp":"2026-03-01T12:00:03.500001Z"}]}`
    """

    data: list[BookItem]


class PairItem(Wire):
    """What we use of one pair of the instrument channel; the event carries all of it."""

    symbol: str
    base: str
    quote: str
    status: str
    price_precision: Precision
    qty_precision: Precision
    price_increment: Price | None = None
    qty_increment: Price | None = None


class InstrumentData(Wire):
    """Here `data` is an object, not an array."""

    pairs: Annotated[list[dict[str, Any]], Text("products")]


class InstrumentMessage(Wire):
    """All pairs, or those that changed.

    `{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[{"symbol":"BTC/USD",
    "base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,
    "price_precision":1,"price_increment":0.1,"cost_precision":4,"qty_min":0.001,...}]}}`
    """

    data: InstrumentData


class StatusItem(Wire):
    """State of the trading engine: online, cancel_only, post_only or maintenance."""

    system: Annotated[str, Text("system")]


class StatusMessage(Wire):
    """Sent unasked after connecting and at each change.

    `{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2",
    "connection_id":12393906104898154338,"version":"2.0.4"}]}`
    """

    data: list[StatusItem]


class HeartbeatMessage(Wire):
    """Once a second while nothing else is sent: `{"channel":"heartbeat"}`."""

    channel: str


class Result(Wire):
    """What a reply says was subscribed."""

    channel: str = ""
    symbol: str = ""
    depth: int = 0
    interval: int = 0
    warnings: list[str] | None = None


class Reply(Wire):
    """Answer to a subscribe or unsubscribe: one for each symbol.

    `{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},
    "success":true,"time_in":"2026-08-02T05:43:30.758130Z","time_out":"2026-08-02T05:43:30.758189Z",
    "req_id":1}` or `{"method":"subscribe","success":false,"error":"Currency pair not supported
    BTC/XXX", "symbol":"BTC/XXX","time_in":"...","time_out":"...","req_id":1}`
    """

    method: str
    success: bool
    result: Result | None = None
    error: str = ""
    symbol: str = ""
    req_id: int = 0


class Pong(Wire):
    """Answer to our ping: `{"method":"pong","req_id":101,"time_in":"...","time_out":"..."}`."""

    req_id: int = 0


class ErrorMessage(Wire):
    """An error that answers no known request: `{"Error":"Exceeded msg rate"}`."""

    error: str = ""
    error_capital: str = field(default="", name="Error")


class KrakenProbe(Probe):
    """The keys that name a message."""

    channel: str = ""
    type: str = ""
    method: str = ""
    error: str = ""
    error_capital: str = field(default="", name="Error")

    def tag(self) -> str:
        """Return "channel/type", the method, or "error"."""
        if self.channel:
            return f"{self.channel}/{self.type}" if self.type else self.channel
        if self.method in {"subscribe", "unsubscribe", "pong"}:
            return self.method
        return "error" if self.error or self.error_capital else ""


_VENUE_WIDE: Final[dict[str, object]] = {"symbol": "", "unified": ""}
_NO_PRODUCTS: Final[list[dict[str, Any]]] = []
_TRADE: Final = Route(wire=TradeMessage, event=Trade, integrity=Integrity.SEQUENCED)
_TRADE_HISTORY: Final = Route(
    wire=TradeMessage, event=Trade, integrity=Integrity.SEQUENCED, marks=Mark.HISTORY
)
_STATUS: Final = Route(
    wire=StatusMessage,
    event=VenueStatus,
    integrity=Integrity.SELF_CONTAINED,
    constants=_VENUE_WIDE | {"products": _NO_PRODUCTS},
)


def _ticker(marks: Mark) -> Route:
    return Route(
        wire=TickerMessage,
        event=Quote,
        refine="on_ticker",
        plain=Plain("quoted", ("bid_price", "ask_price", "ts_event_ns")),
        integrity=Integrity.SELF_CONTAINED,
        constants={"update_id": 0},
        marks=marks,
    )


def _ohlc(refine: str, marks: Mark) -> Route:
    return Route(
        wire=OhlcMessage,
        event=Candle,
        refine=refine,
        integrity=Integrity.SELF_CONTAINED,
        constants={"close_time_ns": 0, "is_closed": False},
        marks=marks,
    )


def _instrument(marks: Mark) -> Route:
    return Route(
        wire=InstrumentMessage,
        event=VenueStatus,
        refine="on_instrument",
        integrity=Integrity.SELF_CONTAINED,
        constants=_VENUE_WIDE | {"system": ""},
        marks=marks,
    )


ROUTES: Final = Routes(
    guess=re.compile(rb'\s*\{\s*"channel":\s*"([a-z]{1,16})",\s*"type":\s*"([a-z]{1,16})"'),
    probe=KrakenProbe,
    payload_key="data",
    head_end=b"[",
    table={
        "book/update": Route(
            wire=BookMessage,
            event=BookDelta,
            integrity=Integrity.CHECKSUMMED,
            constants={"first": 0, "last": 0, "previous": 0},
        ),
        "book/snapshot": Route(
            wire=BookMessage,
            event=BookSnapshot,
            integrity=Integrity.CHECKSUMMED,
            constants={"sequence": 0},
            marks=Mark.SNAPSHOT,
        ),
        "trade/update": _TRADE,
        "trade/snapshot": _TRADE_HISTORY,
        "ticker/update": _ticker(Mark.NONE),
        "ticker/snapshot": _ticker(Mark.SNAPSHOT),
        "ohlc/update": _ohlc("on_ohlc", Mark.NONE),
        "ohlc/snapshot": _ohlc("on_ohlc_snapshot", Mark.SNAPSHOT),
        "instrument/update": _instrument(Mark.NONE),
        "instrument/snapshot": _instrument(Mark.SNAPSHOT),
        "status/update": _STATUS,
        "status/snapshot": _STATUS,
        "heartbeat": Route(
            wire=HeartbeatMessage,
            event=Heartbeat,
            constants=_VENUE_WIDE | {"sequence": 0, "last_trade_id": 0},
        ),
        "subscribe": Route(wire=Reply, handler="on_subscribed"),
        "unsubscribe": Route(wire=Reply, handler="on_unsubscribed"),
        "pong": Route(wire=Pong, handler="on_pong"),
        "error": Route(wire=ErrorMessage, handler="on_error"),
    },
)
