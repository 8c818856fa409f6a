"""Binance spot's messages in its own words, each with the events it becomes.

Prices and quantities are decimal texts, ids are integers, times are integers in ms (us with the
option `timeUnit=MICROSECOND`). Two spellings of each message exist: wrapped in
`{"stream": ..., "data": ...}` on `/stream`, bare on `/ws`. Source: web-socket-streams.md (see
profile.py), as are the payloads in the docstrings.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, field

from crossfeed.model.events import AggTrade, Candle, DepthDelta, MiniTicker, Quote, Ticker, Trade
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.venues.wire import (
    Choice,
    Count,
    Int,
    Num,
    PairLevels,
    Price,
    Probe,
    Quantity,
    Real,
    Route,
    Routes,
    Size,
    Symbol,
    Text,
    UnixTime,
    Wire,
    Yes,
)

__all__ = ["ROUTES", "TAKER", "Interval", "MaybeId", "Refusal", "Reply", "WrappedRefusal"]

TAKER: Final = {True: Side.SELL, False: Side.BUY}
"""By `m`, "is the buyer the maker?": then the taker sold."""

MaybeId = Annotated[int, Meta(ge=-1)]
"""A trade id, or -1 where there was no trade."""
Interval = Literal[
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h",
    "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M",
]  # fmt: skip
"""Kline intervals. Source: web-socket-streams.md, "Kline/Candlestick chart intervals"."""


# Fields stand in the order in which they are sent: finding one then takes no search (a tenth of
# decoding a trade).

# ── market data ───────────────────────────────────────────────────────────────


class TradeMessage(Wire):
    """`<symbol>@trade`: one trade. Binance.US still sends the order ids `b` and `a`: ignored.

    {"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",
     "T":1672515782136,"m":true,"M":true}
    """

    E: Annotated[int, UnixTime("ts_sent_ns")]
    s: Annotated[str, Symbol()]
    t: Annotated[Count, Int("trade_id")]
    p: Annotated[Price, Num("price")]
    q: Annotated[Quantity, Num("quantity")]
    T: Annotated[int, UnixTime("ts_event_ns")]
    m: Annotated[bool, Choice("side", TAKER)]


class AggTradeMessage(Wire):
    """`<symbol>@aggTrade`: fills of one taker order at one price.

    {"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":12345,"p":"0.001","q":"100","f":100,"l":105,
     "T":1672515782136,"m":true,"M":true}
    """

    E: Annotated[int, UnixTime("ts_sent_ns")]
    s: Annotated[str, Symbol()]
    a: Annotated[Count, Int("trade_id")]
    p: Annotated[Price, Num("price")]
    q: Annotated[Quantity, Num("quantity")]
    f: Annotated[Count, Int("first_trade_id")]
    last: Annotated[Count, Int("last_trade_id")] = field(name="l")
    T: Annotated[int, UnixTime("ts_event_ns")]
    m: Annotated[bool, Choice("side", TAKER)]


class TickerMessage(Wire):
    """`<symbol>@ticker`: rolling 24 h. Price 0 and id -1 say "none": an empty side, no trade.

    {"e":"24hrTicker","E":1672515782136,"s":"BNBBTC","p":"0.0015","P":"250.00","w":"0.0018",
     "x":"0.0009","c":"0.0025","Q":"10","b":"0.0024","B":"10","a":"0.0026","A":"100","o":"0.0010",
     "h":"0.0025","l":"0.0010","v":"10000","q":"18","O":0,"C":1675216573749,"F":0,"L":18150,
     "n":18151}
    """

    E: Annotated[int, UnixTime("ts_event_ns")]
    s: Annotated[str, Symbol()]
    p: Annotated[Real, Num("price_change")]
    P: Annotated[Real, Num("price_change_percent")]
    w: Annotated[Size, Num("vwap", zero_is_none=True)]
    c: Annotated[Price, Num("price")]
    Q: Annotated[Size, Num("last_quantity")]
    b: Annotated[Size, Num("best_bid", zero_is_none=True)]
    B: Annotated[Size, Num("best_bid_quantity")]
    a: Annotated[Size, Num("best_ask", zero_is_none=True)]
    A: Annotated[Size, Num("best_ask_quantity")]
    o: Annotated[Size, Num("open", zero_is_none=True)]
    h: Annotated[Size, Num("high", zero_is_none=True)]
    low: Annotated[Size, Num("low", zero_is_none=True)] = field(name="l")
    v: Annotated[Size, Num("volume")]
    q: Annotated[Size, Num("quote_volume")]
    L: Annotated[MaybeId, Int("trade_id", negative_is_none=True)]


class MiniTickerMessage(Wire):
    """`<symbol>@miniTicker`: rolling 24 h in short. It does carry volume.

    {"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.0025","o":"0.0010","h":"0.0025",
     "l":"0.0010","v":"10000","q":"18"}
    """

    s: Annotated[str, Symbol()]
    E: Annotated[int, UnixTime("ts_event_ns")]
    c: Annotated[Price, Num("price")]
    o: Annotated[Price, Num("open")]
    h: Annotated[Price, Num("high")]
    low: Annotated[Price, Num("low")] = field(name="l")
    v: Annotated[Size, Num("volume")]
    q: Annotated[Size, Num("quote_volume")]


class KlineBar(Wire):
    """The bar in a kline message. `T` is its last instant: the next bar starts one unit later."""

    t: Annotated[int, UnixTime("open_time_ns")]
    T: Annotated[int, UnixTime("close_time_ns", add=1)]
    i: Annotated[Interval, Text("interval")]
    o: Annotated[Price, Num("open")]
    h: Annotated[Price, Num("high")]
    low: Annotated[Price, Num("low")] = field(name="l")
    c: Annotated[Price, Num("close")]
    v: Annotated[Size, Num("volume")]
    n: Annotated[Count, Int("trades")]
    x: Annotated[bool, Yes("is_closed")]


class KlineMessage(Wire):
    """`<symbol>@kline_<interval>`: the current bar; `x` marks its final state.

    {"e":"kline","E":1672515782136,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,"s":"BNBBTC",
     "i":"1m","f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,
     "x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}
    """

    s: Annotated[str, Symbol()]
    E: Annotated[int, UnixTime("ts_event_ns")]
    k: KlineBar


class BookTickerMessage(Wire):
    """`<symbol>@bookTicker`: best bid and offer. No event name and no time.

    {"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}
    """

    u: Annotated[Count, Int("update_id")]
    s: Annotated[str, Symbol()]
    b: Annotated[Price, Num("bid_price")]
    B: Annotated[Size, Num("bid_quantity")]
    a: Annotated[Price, Num("ask_price")]
    A: Annotated[Size, Num("ask_quantity")]


class DepthMessage(Wire):
    """`<symbol>@depth@100ms`: changed levels, sizes absolute, updates `U..u` folded in.

    {"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.0024","10"]],
     "a":[["0.0026","100"]]}
    """

    E: Annotated[int, UnixTime("ts_event_ns")]
    s: Annotated[str, Symbol()]
    U: Annotated[Count, Int("first")]
    u: Annotated[Count, Int("last")]
    b: Annotated[list[tuple[Price, Size]], PairLevels("bids")]
    a: Annotated[list[tuple[Price, Size]], PairLevels("asks")]


# ── the same, wrapped ─────────────────────────────────────────────────────────


class StreamTrade(Wire):
    """{"stream":"btcusdt@trade","data":{...}}."""

    data: TradeMessage


class StreamAggTrade(Wire):
    """{"stream":"btcusdt@aggTrade","data":{...}}."""

    data: AggTradeMessage


class StreamTicker(Wire):
    """{"stream":"btcusdt@ticker","data":{...}}."""

    data: TickerMessage


class StreamMiniTicker(Wire):
    """{"stream":"btcusdt@miniTicker","data":{...}}."""

    data: MiniTickerMessage


class StreamKline(Wire):
    """{"stream":"btcusdt@kline_1m","data":{...}}."""

    data: KlineMessage


class StreamBookTicker(Wire):
    """{"stream":"btcusdt@bookTicker","data":{...}}."""

    data: BookTickerMessage


class StreamDepth(Wire):
    """{"stream":"btcusdt@depth@100ms","data":{...}}."""

    data: DepthMessage


# ── service messages ──────────────────────────────────────────────────────────


class ShutdownMessage(Wire):
    """The server is about to go: {"e":"serverShutdown","E":1770123456789}, unasked."""

    e: Literal["serverShutdown"]


class StreamShutdown(Wire):
    """{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}."""

    data: ShutdownMessage


class Reply(Wire):
    """Answer to a control message, never wrapped: {"result":null,"id":1}.

    `result` is null (done), a list of stream names (LIST_SUBSCRIPTIONS) or a property's value.
    """

    result: list[str] | bool | int | float | str | None
    id: int | str | None = None


class Refusal(Wire):
    """{"code":0,"msg":"Unknown property","id":1}; most errors carry no id."""

    code: int
    msg: str
    id: int | str | None = None


class RefusalBody(Wire):
    """The inner part of a wrapped error."""

    code: int
    msg: str


class WrappedRefusal(Wire):
    """{"error":{"code":2,"msg":"Invalid request: ..."},"id":1}; some deployments wrap errors so."""

    error: RefusalBody
    id: int | str | None = None


# ── routes ────────────────────────────────────────────────────────────────────


class _Absent:
    """Stands for "this key was not there"; null is a value."""


_ABSENT: Final = _Absent()


class BinanceProbe(Probe):
    """The keys that tell messages apart."""

    stream: str = ""
    e: str = ""
    result: Any = _ABSENT
    error: Any = _ABSENT
    code: Any = _ABSENT
    u: Any = _ABSENT
    B: Any = _ABSENT

    def tag(self) -> str:
        """Return the channel's word, "e/<event>" if bare, or what kind of service message it is."""
        if self.stream:
            word = self.stream.partition("@")[2].partition("@")[0] or self.stream
            return "kline" if word.startswith("kline_") else word
        if self.e:
            return f"e/{self.e}"
        if self.error is not _ABSENT:
            return "wrapped refusal"
        if self.code is not _ABSENT:
            return "refusal"
        if self.result is not _ABSENT:
            return "reply"
        return "e/bookTicker" if self.u is not _ABSENT and self.B is not _ABSENT else ""


def _routes() -> dict[str, Route]:
    """Make both spellings of each channel's route."""
    sequenced, whole = Integrity.SEQUENCED, Integrity.SELF_CONTAINED
    diff = {"previous": 0, "checksum": None}
    untimed = Mark.RECEIVE_TIME
    table = {
        "trade": Route(wire=StreamTrade, event=Trade, integrity=sequenced),
        "e/trade": Route(wire=TradeMessage, event=Trade, integrity=sequenced),
        "aggTrade": Route(wire=StreamAggTrade, event=AggTrade, integrity=sequenced),
        "e/aggTrade": Route(wire=AggTradeMessage, event=AggTrade, integrity=sequenced),
        "ticker": Route(wire=StreamTicker, event=Ticker, integrity=whole),
        "e/24hrTicker": Route(wire=TickerMessage, event=Ticker, integrity=whole),
        "miniTicker": Route(wire=StreamMiniTicker, event=MiniTicker, integrity=whole),
        "e/24hrMiniTicker": Route(wire=MiniTickerMessage, event=MiniTicker, integrity=whole),
        "kline": Route(wire=StreamKline, event=Candle, integrity=whole),
        "e/kline": Route(wire=KlineMessage, event=Candle, integrity=whole),
        "bookTicker": Route(wire=StreamBookTicker, event=Quote, integrity=whole, marks=untimed),
        "e/bookTicker": Route(wire=BookTickerMessage, event=Quote, integrity=whole, marks=untimed),
        "depth": Route(wire=StreamDepth, event=DepthDelta, integrity=sequenced, constants=diff),
        "e/depthUpdate": Route(
            wire=DepthMessage, event=DepthDelta, integrity=sequenced, constants=diff
        ),
        "!serverShutdown": Route(wire=StreamShutdown, handler="on_shutdown"),
        "e/serverShutdown": Route(wire=ShutdownMessage, handler="on_shutdown"),
        "reply": Route(wire=Reply, handler="on_reply"),
        "refusal": Route(wire=Refusal, handler="on_refusal"),
        "wrapped refusal": Route(wire=WrappedRefusal, handler="on_wrapped_refusal"),
    }
    return table  # noqa: RET504 - the name says what it is


ROUTES: Final = Routes(
    # The stream's name from "@" on, with which the wrapped spelling starts. "kline_1m" is cut at
    # "_"; other names with "_" (ticker_1h), escaped names and the bare spelling are the probe's.
    guess=re.compile(rb'\s*\{"stream":"[^"@\\]*@(kline(?=_)|[0-9A-Za-z]+(?=["@]))'),
    probe=BinanceProbe,
    head_end=b',"data"',
    payload_key="data",
    table=_routes(),
)
