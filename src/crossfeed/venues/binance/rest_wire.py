"""Binance spot's REST answers in its own words, each with the event it becomes.

Declared like the stream's messages; a list is decoded entry by entry. Most answers do not repeat
the symbol, so it has a default that the reader fills from the request. Times are ms here, whatever
the stream's unit is: us would need a request header. Source: rest-api.md (see profile.py).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from msgspec import field

from crossfeed.model.events import (
    AggTrade,
    BookSnapshot,
    Candle,
    MiniTicker,
    Quote,
    Ticker,
    Trade,
)
from crossfeed.model.trust import Integrity, Mark
from crossfeed.venues.binance.wire import TAKER, MaybeId
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
    UnixTime,
    Wire,
)

__all__ = ["REST_ROUTES"]


class RestDepth(Wire):
    """A book: neither symbol nor time.

    {"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}
    """

    sequence: Annotated[Count, Int("sequence")] = field(name="lastUpdateId")
    bids: Annotated[list[tuple[Price, Size]], PairLevels("bids")]
    asks: Annotated[list[tuple[Price, Size]], PairLevels("asks")]
    symbol: Annotated[str, Symbol()] = ""


class RestTrade(Wire):
    """One entry of trades and historicalTrades; `id` is the stream's `t`.

    {"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012",
     "time":1499865549590,"isBuyerMaker":true,"isBestMatch":true}
    """

    id: Annotated[Count, Int("trade_id")]
    price: Annotated[Price, Num("price")]
    qty: Annotated[Quantity, Num("quantity")]
    time: Annotated[int, UnixTime("ts_event_ns")]
    is_buyer_maker: Annotated[bool, Choice("side", TAKER)] = field(name="isBuyerMaker")
    symbol: Annotated[str, Symbol()] = ""


class RestAggTrade(Wire):
    """One entry of aggTrades.

    {"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,
     "M":true}
    """

    a: Annotated[Count, Int("trade_id")]
    p: Annotated[Price, Num("price")]
    q: Annotated[Quantity, Num("quantity")]
    f: Annotated[Count, Int("first_trade_id")]
    last: Annotated[Count, Int("last_trade_id")] = field(name="l")
    T: Annotated[int, UnixTime("ts_event_ns")]
    m: Annotated[bool, Choice("side", TAKER)]
    symbol: Annotated[str, Symbol()] = ""


class RestTicker(Wire):
    """ticker/24hr of one symbol.

    {"symbol":"BNBBTC","priceChange":"-94.9","priceChangePercent":"-95.9","weightedAvgPrice":"0.2",
     "prevClosePrice":"0.1","lastPrice":"4.0","lastQty":"200","bidPrice":"4.0","bidQty":"100",
     "askPrice":"4.2","askQty":"100","openPrice":"99","highPrice":"100","lowPrice":"0.1",
     "volume":"8913.3","quoteVolume":"15.3","openTime":1499783499040,"closeTime":1499869899040,
     "firstId":28385,"lastId":28460,"count":76}
    """

    symbol: Annotated[str, Symbol()]
    price: Annotated[Price, Num("price")] = field(name="lastPrice")
    change: Annotated[Real, Num("price_change")] = field(name="priceChange")
    percent: Annotated[Real, Num("price_change_percent")] = field(name="priceChangePercent")
    open: Annotated[Size, Num("open", zero_is_none=True)] = field(name="openPrice")
    high: Annotated[Size, Num("high", zero_is_none=True)] = field(name="highPrice")
    low: Annotated[Size, Num("low", zero_is_none=True)] = field(name="lowPrice")
    volume: Annotated[Size, Num("volume")]
    quote_volume: Annotated[Size, Num("quote_volume")] = field(name="quoteVolume")
    vwap: Annotated[Size, Num("vwap", zero_is_none=True)] = field(name="weightedAvgPrice")
    bid: Annotated[Size, Num("best_bid", zero_is_none=True)] = field(name="bidPrice")
    bid_size: Annotated[Size, Num("best_bid_quantity")] = field(name="bidQty")
    ask: Annotated[Size, Num("best_ask", zero_is_none=True)] = field(name="askPrice")
    ask_size: Annotated[Size, Num("best_ask_quantity")] = field(name="askQty")
    last_size: Annotated[Size, Num("last_quantity")] = field(name="lastQty")
    last_id: Annotated[MaybeId, Int("trade_id", negative_is_none=True)] = field(name="lastId")
    close_time: Annotated[int, UnixTime("ts_event_ns")] = field(name="closeTime")


class RestMiniTicker(Wire):
    """The part of a `RestTicker` that makes a mini ticker."""

    symbol: Annotated[str, Symbol()]
    price: Annotated[Price, Num("price")] = field(name="lastPrice")
    open: Annotated[Price, Num("open")] = field(name="openPrice")
    high: Annotated[Price, Num("high")] = field(name="highPrice")
    low: Annotated[Price, Num("low")] = field(name="lowPrice")
    volume: Annotated[Size, Num("volume")]
    quote_volume: Annotated[Size, Num("quote_volume")] = field(name="quoteVolume")
    close_time: Annotated[int, UnixTime("ts_event_ns")] = field(name="closeTime")


class RestBookTicker(Wire):
    """ticker/bookTicker of one symbol: neither time nor update id.

    {"symbol":"LTCBTC","bidPrice":"4.00","bidQty":"431","askPrice":"4.02","askQty":"9"}
    """

    symbol: Annotated[str, Symbol()]
    bid: Annotated[Price, Num("bid_price")] = field(name="bidPrice")
    bid_size: Annotated[Size, Num("bid_quantity")] = field(name="bidQty")
    ask: Annotated[Price, Num("ask_price")] = field(name="askPrice")
    ask_size: Annotated[Size, Num("ask_quantity")] = field(name="askQty")


class RestKline(Wire, array_like=True):
    """One row of klines.

    [1499040000000,"0.01","0.80","0.01","0.02","148976.1",1499644799999,"2434.19",308,"1756.8","28.4","0"]
    """

    open_time: Annotated[int, UnixTime("open_time_ns")]
    open: Annotated[Price, Num("open")]
    high: Annotated[Price, Num("high")]
    low: Annotated[Price, Num("low")]
    close: Annotated[Price, Num("close")]
    volume: Annotated[Size, Num("volume")]
    close_time: Annotated[int, UnixTime("close_time_ns", add=1)]
    quote_volume: Size
    trades: Annotated[Count, Int("trades")]
    taker_volume: Size
    taker_quote_volume: Size
    ignored: str
    symbol: Annotated[str, Symbol()] = ""


class RestProbe(Probe):
    """The keys that tell one entry of an answer from another; for reading kept entries again."""

    depth: Any = field(name="lastUpdateId", default=None)
    trade: Any = field(name="isBuyerMaker", default=None)
    agg_trade: Any = field(name="a", default=None)
    ticker: Any = field(name="lastPrice", default=None)
    book_ticker: Any = field(name="bidPrice", default=None)

    def tag(self) -> str:
        """Return the channel whose entry it is."""
        if self.depth is not None:
            return "depth"
        if self.trade is not None:
            return "trade"
        if self.agg_trade is not None:
            return "aggTrade"
        if self.ticker is not None:
            return "ticker"
        return "bookTicker" if self.book_ticker is not None else ""


REST_ROUTES: Final = Routes(
    guess=re.compile(rb"(?!)"),
    probe=RestProbe,
    table={
        "depth": Route(
            wire=RestDepth,
            event=BookSnapshot,
            integrity=Integrity.SEQUENCED,
            constants={"checksum": None},
            marks=Mark.SNAPSHOT | Mark.RECEIVE_TIME,
        ),
        "trade": Route(wire=RestTrade, event=Trade, integrity=Integrity.SEQUENCED),
        "aggTrade": Route(wire=RestAggTrade, event=AggTrade, integrity=Integrity.SEQUENCED),
        "ticker": Route(wire=RestTicker, event=Ticker, integrity=Integrity.SELF_CONTAINED),
        "miniTicker": Route(
            wire=RestMiniTicker, event=MiniTicker, integrity=Integrity.SELF_CONTAINED
        ),
        "bookTicker": Route(
            wire=RestBookTicker,
            event=Quote,
            integrity=Integrity.SELF_CONTAINED,
            constants={"update_id": 0},
            marks=Mark.RECEIVE_TIME,
        ),
        "kline": Route(
            wire=RestKline,
            event=Candle,
            integrity=Integrity.SELF_CONTAINED,
            constants={"interval": "", "is_closed": True},
            marks=Mark.RECEIVE_TIME,
        ),
    },
)
