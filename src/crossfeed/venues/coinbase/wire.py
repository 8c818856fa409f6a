"""The messages of Coinbase Exchange, stream and REST, in its own words."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Raw

from crossfeed.model.events import BookDelta, BookSnapshot, Heartbeat, Ticker, Trade, VenueStatus
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.venues.wire import (
    Choice,
    Count,
    Int,
    IsoTime,
    Num,
    PairLevels,
    Price,
    Probe,
    Quantity,
    Route,
    Routes,
    SidedLevels,
    Size,
    Symbol,
    Text,
    Wire,
)

__all__ = ["KINDS", "REST_ROUTES", "ROUTES", "ErrorFrame", "OrderMessage", "Subscriptions"]

MaybeId = Annotated[int, Meta(ge=-1)]
"""An id that may be missing (-1)."""

# `side` of matches and of REST trades is the maker's: a resting sell was hit by a buyer.
_TAKER_SIDE: Final = {"buy": Side.SELL, "sell": Side.BUY}
_NO_NUMBERS: Final = {"first": 0, "last": 0, "previous": 0, "checksum": None}
_NO_STATISTICS: Final = {
    "price_change": None,
    "price_change_percent": None,
    "quote_volume": None,
    "vwap": None,
}


class Match(Wire):
    """A trade.

    `{"type":"match","trade_id":1052119289,"maker_order_id":"15bc…","taker_order_id":"13d7…",
    "side":"sell","size":"0.2","price":"63514.6","product_id":"BTC-USD","sequence":132235026010,
    "time":"2026-07-07T22:58:17.164892Z"}`
    """

    trade_id: Annotated[Count, Int("trade_id")]
    side: Annotated[Literal["buy", "sell"], Choice("side", _TAKER_SIDE)]
    size: Annotated[Quantity, Num("quantity")]
    price: Annotated[Price, Num("price")]
    product_id: Annotated[str, Symbol()]
    time: Annotated[str, IsoTime("ts_event_ns")]


class TickerMessage(Wire):
    """Last trade, best prices and rolling statistics; the same for `ticker` and `ticker_batch`.

    `{"type":"ticker","sequence":50978628538,"product_id":"BTC-USD","price":"17165.16",
    "open_24h":"16437.94","volume_24h":"42492.05081975","low_24h":"16423.37","high_24h":"17259.37",
    "volume_30d":"1093827.95195495","best_bid":"17165.15","best_bid_size":"0.61540890",
    "best_ask":"17167.76","best_ask_size":"0.18528568","side":"sell",
    "time":"2022-12-01T00:00:00.122581Z","trade_id":463751434,"last_size":"0.05"}`

    Its `side` is the taker's, unlike that of matches; no event carries it. Sizes exist since 2022;
    what concerns the last trade is missing where there was none lately. What is missing reads as
    0 (ids: -1) here and becomes None: "null" as a text, which a nullable number takes, is refused.
    """

    product_id: Annotated[str, Symbol()]
    price: Annotated[Price, Num("price")]
    volume_24h: Annotated[Size, Num("volume")]
    open_24h: Annotated[Size, Num("open", zero_is_none=True)] = 0.0
    high_24h: Annotated[Size, Num("high", zero_is_none=True)] = 0.0
    low_24h: Annotated[Size, Num("low", zero_is_none=True)] = 0.0
    best_bid: Annotated[Size, Num("best_bid", zero_is_none=True)] = 0.0
    best_bid_size: Annotated[Size, Num("best_bid_quantity", zero_is_none=True)] = 0.0
    best_ask: Annotated[Size, Num("best_ask", zero_is_none=True)] = 0.0
    best_ask_size: Annotated[Size, Num("best_ask_quantity", zero_is_none=True)] = 0.0
    last_size: Annotated[Size, Num("last_quantity", zero_is_none=True)] = 0.0
    trade_id: Annotated[MaybeId, Int("trade_id", negative_is_none=True)] = -1
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None


class Snapshot(Wire):
    """The whole book, in no promised order. `time` exists since 2023-03-02.

    `{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],
    "asks":[["10102.55","0.57753524"]],"time":"2023-03-02T15:25:05.010758Z"}`
    """

    product_id: Annotated[str, Symbol()]
    bids: Annotated[list[tuple[Price, Size]], PairLevels("bids")]
    asks: Annotated[list[tuple[Price, Size]], PairLevels("asks")]
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None


class Update(Wire):
    """Changed levels, sizes absolute; no number and no checksum.

    `{"type":"l2update","product_id":"BTC-USD","changes":[["buy","22356.270000","0.00000000"],
    ["buy","22356.300000","1.00000000"]],"time":"2022-08-04T15:25:05.010758Z"}`
    """

    product_id: Annotated[str, Symbol()]
    changes: Annotated[list[tuple[Literal["buy", "sell"], Price, Size]], SidedLevels(bid="buy")]
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None


class HeartbeatMessage(Wire):
    """Every second for each product; `last_trade_id` shows matches lost at the tail.

    `{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD",
    "time":"2014-11-07T08:19:28.464459Z"}`
    """

    product_id: Annotated[str, Symbol()]
    sequence: Annotated[Count, Int("sequence")]
    last_trade_id: Annotated[Count, Int("last_trade_id")]
    time: Annotated[str, IsoTime("ts_event_ns")]


class StatusMessage(Wire):
    """All products (and currencies, which are left out).

    `{"type":"status","products":[{"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD",
    "base_increment":"0.00000001","quote_increment":"0.01","status":"online", …}],"currencies":[…]}`
    """

    products: Annotated[list[dict[str, Any]], Text("products")]


class OrderMessage(Wire):
    """One event of `full`; which fields there are depends on `type`.

    `{"type":"received","order_id":"1451…","order_type":"limit","size":"1.06548906",
    "price":"1950.34","side":"sell","product_id":"ETH-USD","time":"2022-05-25T13:29:58.006556Z",
    "sequence":29892914014}`
    `{"type":"open","price":"1948.35","order_id":"dbeb…","remaining_size":"1.8", …}`
    `{"type":"done","reason":"canceled","price":"1948.63","remaining_size":"0.44704", …}`
    `{"type":"change","reason":"modify_order","old_size":"80","new_size":"80","old_price":"7",
    "new_price":"6", …}`
    """

    type: Literal["received", "open", "done", "match", "change", "activate"]
    product_id: str
    side: Literal["buy", "sell"]
    sequence: Count = 0
    order_id: str = ""
    maker_order_id: str = ""
    time: str = ""
    price: Annotated[Size | None, Num("price")] = None
    new_price: Annotated[Size | None, Num("price")] = None
    size: Annotated[Size | None, Num("size")] = None
    remaining_size: Annotated[Size | None, Num("size")] = None
    new_size: Annotated[Size | None, Num("size")] = None


class ListedChannel(Wire):
    """One channel of the subscriptions list."""

    name: str
    product_ids: list[str] | None = None


class Subscriptions(Wire):
    """The answer to every request: the whole list, under the channels' echo names.

    `{"type":"subscriptions","channels":[{"name":"level2_50","product_ids":["BTC-USD"],
    "account_ids":null}]}`
    """

    channels: list[ListedChannel]


class ErrorFrame(Wire):
    """A refusal; a `subscriptions` frame with what remains follows at once.

    `{"type":"error","message":"Failed to subscribe","reason":"FOO-BAR is not a valid product"}`
    """

    message: str = ""
    reason: str = ""


class TypeProbe(Probe):
    """Tells the messages apart."""

    type: str = ""

    def tag(self) -> str:
        """Return the type."""
        return self.type


_ORDER: Final = Route(wire=OrderMessage, handler="on_order", integrity=Integrity.SEQUENCED)
KINDS: Final = ("received", "open", "done", "change", "activate")

ROUTES: Final = Routes(
    guess=re.compile(rb'\s*\{"type":"([a-z0-9_]+)"'),
    probe=TypeProbe,
    head_end=b",",
    table={
        "match": Route(wire=Match, event=Trade, integrity=Integrity.SEQUENCED),
        "last_match": Route(
            wire=Match, event=Trade, integrity=Integrity.SEQUENCED, marks=Mark.HISTORY
        ),
        "ticker": Route(
            wire=TickerMessage,
            event=Ticker,
            integrity=Integrity.SELF_CONTAINED,
            constants=_NO_STATISTICS,
        ),
        "snapshot": Route(
            wire=Snapshot,
            event=BookSnapshot,
            marks=Mark.SNAPSHOT,
            constants={"sequence": 0, "checksum": None},
        ),
        "l2update": Route(wire=Update, event=BookDelta, constants=_NO_NUMBERS),
        "heartbeat": Route(
            wire=HeartbeatMessage, event=Heartbeat, integrity=Integrity.SELF_CONTAINED
        ),
        "status": Route(
            wire=StatusMessage,
            event=VenueStatus,
            integrity=Integrity.SELF_CONTAINED,
            constants={"symbol": "", "unified": "", "system": ""},
        ),
        "subscriptions": Route(wire=Subscriptions, handler="on_subscriptions"),
        "error": Route(wire=ErrorFrame, handler="on_error"),
    }
    | dict.fromkeys(KINDS, _ORDER),
)


# ── REST ──────────────────────────────────────────────────────────────────────

# REST bodies carry no product. The reader looks up "" as the product that was asked for.


class RestTrade(Wire):
    """One trade of `GET /products/{id}/trades`; `side` is the maker's.

    `{"trade_id":74,"side":"sell","size":"0.01000000","price":"10.00000000",
    "time":"2014-11-07T22:19:28.578544Z"}`
    """

    trade_id: Annotated[Count, Int("trade_id")]
    side: Annotated[Literal["buy", "sell"], Choice("side", _TAKER_SIDE)]
    size: Annotated[Quantity, Num("quantity")]
    price: Annotated[Price, Num("price")]
    time: Annotated[str, IsoTime("ts_event_ns")]
    product_id: Annotated[str, Symbol()] = ""


class RestTicker(Wire):
    """`GET /products/{id}/ticker`.

    `{"ask":"6267.71","bid":"6265.15","volume":"53602.03940154","trade_id":86326522,
    "price":"6268.48","size":"0.00698254","time":"2020-03-20T00:22:57.833897Z"}`
    """

    price: Annotated[Price, Num("price")]
    volume: Annotated[Size, Num("volume")]
    bid: Annotated[Size, Num("best_bid", zero_is_none=True)] = 0.0
    ask: Annotated[Size, Num("best_ask", zero_is_none=True)] = 0.0
    size: Annotated[Size, Num("last_quantity", zero_is_none=True)] = 0.0
    trade_id: Annotated[MaybeId, Int("trade_id", negative_is_none=True)] = -1
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None
    product_id: Annotated[str, Symbol()] = ""


class RestBook(Wire):
    """`GET /products/{id}/book?level=2`: every level, with its number of orders.

    `{"bids":[["63527.87","0.48883646",8]],"asks":[["63527.88","0.000018",1]],
    "sequence":132236333487,"auction_mode":false,"auction":null,
    "time":"2026-07-07T23:36:24.683209774Z"}`
    """

    bids: Annotated[list[tuple[Price, Size, Count]], PairLevels("bids")]
    asks: Annotated[list[tuple[Price, Size, Count]], PairLevels("asks")]
    sequence: Annotated[Count, Int("sequence")]
    time: Annotated[str | None, IsoTime("ts_event_ns")] = None
    product_id: Annotated[str, Symbol()] = ""


class RestProbe(Probe):
    """Tells the REST bodies apart by what they hold; messages of the stream have a `type`."""

    type: str = ""
    channel: str = ""
    side: str = ""
    volume: Raw = Raw()
    bids: Raw = Raw()

    def tag(self) -> str:
        """Return the sort of body, empty where it is a message of the stream."""
        if self.type or self.channel:
            return ""
        if self.side:
            return "trade"
        if memoryview(self.bids).nbytes:
            return "book"
        return "ticker" if memoryview(self.volume).nbytes else ""


REST_ROUTES: Final = Routes(
    guess=re.compile(rb"(?!)"),
    probe=RestProbe,
    table={
        "trade": Route(
            wire=RestTrade,
            event=Trade,
            integrity=Integrity.SEQUENCED,
            marks=Mark.REST,
        ),
        "ticker": Route(
            wire=RestTicker,
            event=Ticker,
            integrity=Integrity.SELF_CONTAINED,
            marks=Mark.REST,
            constants=_NO_STATISTICS
            | {
                "open": None,
                "high": None,
                "low": None,
                "best_bid_quantity": None,
                "best_ask_quantity": None,
            },
        ),
        "book": Route(
            wire=RestBook,
            event=BookSnapshot,
            marks=Mark.REST | Mark.SNAPSHOT,
            constants={"checksum": None},
        ),
    },
)
