"""Binance REST market data with weights, 429 and 418.

Source: binance-spot-api-docs rest-api.md and errors.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.bars import Bar
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.limits import WeightWindow
from crossfeed.simulator.market import Aggregate, Market, Trade
from crossfeed.simulator.venues.binance import wire
from crossfeed.simulator.venues.binance.info import exchange_info
from crossfeed.simulator.venues.binance.profile import INTERVALS, WEIGHT_LIMIT
from crossfeed.simulator.venues.binance.streams import interval_floor, interval_next

if TYPE_CHECKING:
    from crossfeed.simulator.venues.binance.board import BinanceBoard
    from crossfeed.simulator.venues.binance.exchange import BinanceExchange

__all__ = ["BinanceRest"]

_NS = 1_000_000_000
_MS = 1_000_000
#: A ban begins when a client goes on after this many 429 answers in one window, and lasts 2 min.
_BAN_AFTER = 20
_BAN_S = 120
_MICRO_FROM = 10**15


class ApiError(Exception):
    """An answer with a code. Private to this venue."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        """Build from the code, the text and the HTTP status."""
        self.body = {"code": code, "msg": text}
        self.status = status
        super().__init__(text)


class _Query:
    """One request's parameters, checked as they are read."""

    def __init__(self, rest: BinanceRest, request: Request, now_ns: int) -> None:
        self.params = request.params
        self.now_ns = now_ns
        self.div = 1_000 if request.headers.get("x-mbx-time-unit", "").upper() == (
            "MICROSECOND"
        ) else _MS  # fmt: skip
        self._rest = rest

    def board(self) -> BinanceBoard:
        """Return the board of the mandatory symbol."""
        symbol = self.params.get("symbol")
        if symbol is None:
            raise ApiError(
                -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
            )
        board = self._rest.venue.binance_board(symbol)
        if board is None:
            raise ApiError(-1121, "Invalid symbol.")
        return board

    def boards(self) -> list[BinanceBoard]:
        """Return the boards of `symbol`, `symbols` or all."""
        if "symbol" in self.params:
            return [self.board()]
        names = self._rest.venue.lively()
        if "symbols" in self.params:
            try:
                names = msgspec.json.decode(self.params["symbols"], type=list[str])
            except msgspec.MsgspecError:
                raise ApiError(-1100, "Illegal characters found in parameter 'symbols'.") from None
        found = [self._rest.venue.binance_board(name) for name in names]
        if None in found:
            raise ApiError(-1121, "Invalid symbol.")
        return [board for board in found if board is not None]

    def number(self, name: str, default: int | None = None) -> int | None:
        """Return an integer parameter."""
        text = self.params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20):  # noqa: PLR2004
            raise ApiError(-1100, f"Illegal characters found in parameter '{name}'.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """Return the page length."""
        value = self.number("limit", default)
        assert value is not None, "there is a default"
        if value < 1:
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, most)

    def time_ns(self, name: str) -> int | None:
        """Return a time parameter, given in ms or us."""
        value = self.number(name)
        if value is None:
            return None
        return value * 1_000 if value >= _MICRO_FROM else value * _MS


Handler = Callable[[_Query], object]


class BinanceRest:
    """Answers `/api/v3/…`."""

    def __init__(self, venue: BinanceExchange) -> None:
        """Serve one venue."""
        self.venue = venue
        self._windows: dict[str, WeightWindow] = {}
        self._strikes: dict[str, int] = {}
        self._banned_until_ns: dict[str, int] = {}
        self._routes: dict[str, tuple[Callable[[_Query], int], Handler]] = {
            "ping": (lambda _: 1, lambda _: {}),
            "time": (lambda _: 1, lambda q: {"serverTime": q.now_ns // q.div}),
            "exchangeInfo": (lambda _: 20, self._exchange_info),
            "depth": (_depth_weight, self._depth),
            "trades": (lambda _: 25, self._trades),
            "historicalTrades": (lambda _: 25, self._historical),
            "aggTrades": (lambda _: 4, self._agg_trades),
            "klines": (lambda _: 2, self._klines),
            "uiKlines": (lambda _: 2, self._klines),
            "avgPrice": (lambda _: 2, self._average),
            "ticker/24hr": (_tickers_weight, self._day_tickers),
            "ticker/price": (lambda q: 2 if "symbol" in q.params else 4, self._prices),
            "ticker/bookTicker": (lambda q: 2 if "symbol" in q.params else 4, self._tops),
        }

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer one request within the weight limit."""
        route = self._routes.get(request.path.removeprefix("/api/v3/"))
        if not request.path.startswith("/api/v3/") or route is None:
            return json_response({"code": -1000, "msg": "Not found"}, 404)
        if request.method != "GET":
            return json_response({"code": -1000, "msg": "Method not allowed"}, 405)
        weigh, handle = route
        query = _Query(self, request, now_ns)
        window = self._windows.setdefault(peer, WeightWindow(WEIGHT_LIMIT))
        try:
            limited = self._limit(window, peer, weigh(query), now_ns)
            response = limited if limited is not None else json_response(handle(query))
        except ApiError as error:
            response = json_response(error.body, error.status)
        response.headers["X-MBX-USED-WEIGHT-1M"] = str(window.used)
        return response

    def _limit(self, window: WeightWindow, peer: str, weight: int, now_ns: int) -> Response | None:
        """Count the weight; return 429, or 418 for those who go on regardless."""
        until_ns = self._banned_until_ns.get(peer, 0)
        if now_ns < until_ns:
            return self._ban(until_ns, now_ns)
        if window.hit(now_ns, weight):
            self._strikes[peer] = 0
            return None
        self.venue.violation("REST weight")
        self._strikes[peer] = self._strikes.get(peer, 0) + 1
        if self._strikes[peer] > _BAN_AFTER:
            self._banned_until_ns[peer] = now_ns + _BAN_S * _NS
            self._strikes[peer] = 0
            return self._ban(self._banned_until_ns[peer], now_ns)
        text = (
            f"Too much request weight used; current limit is {window.limit} request weight per "
            "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
        )
        headers = {"Retry-After": str(window.retry_after_s(now_ns))}
        return json_response({"code": -1003, "msg": text}, 429, headers)

    @staticmethod
    def _ban(until_ns: int, now_ns: int) -> Response:
        """Return the answer to a banned address."""
        text = (
            f"Way too much request weight used; IP banned until {until_ns // _MS}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        headers = {"Retry-After": str(-(-(until_ns - now_ns) // _NS))}
        return json_response({"code": -1003, "msg": text}, 418, headers)

    # ── endpoints ──────────────────────────────────────────────────────────

    def _exchange_info(self, query: _Query) -> object:
        if {"symbol", "symbols"} & query.params.keys():
            instruments = [board.market.instrument for board in query.boards()]
        else:
            instruments = list(self.venue.instruments.values())
        venue = self.venue
        halted = venue.halted if venue.system == "online" else venue.instruments.keys()
        return exchange_info(instruments, halted, query.now_ns // query.div)

    def _depth(self, query: _Query) -> object:
        board = query.board()
        limit = query.limit(100, 5_000)
        return msgspec.Raw(wire.partial_depth(board.numbers, board.market, limit))

    def _trades(self, query: _Query) -> object:
        board = query.board()
        limit = query.limit(500, 1_000)
        market = board.market
        return [
            _trade_row(board, one, query.div)
            for one in market.trades_from(market.ids.trade - limit + 1, limit)
        ]

    def _historical(self, query: _Query) -> object:
        board = query.board()
        limit = query.limit(500, 1_000)
        first = query.number("fromId", board.market.ids.trade - limit + 1)
        assert first is not None, "there is a default"
        return [_trade_row(board, one, query.div) for one in board.market.trades_from(first, limit)]

    def _agg_trades(self, query: _Query) -> object:
        board = query.board()
        limit = query.limit(500, 1_000)
        start_ns, end_ns = query.time_ns("startTime"), query.time_ns("endTime")
        first = query.number("fromId")
        rows = [
            one
            for one in board.market.aggregates
            if (first is None or one.id >= first)
            and (start_ns is None or one.time_ns >= start_ns)
            and (end_ns is None or one.time_ns // _MS <= end_ns // _MS)
        ]
        is_newest = first is None and start_ns is None
        page = rows[-limit:] if is_newest else rows[:limit]
        return [_aggregate_row(board, one, query.div) for one in page]

    def _klines(self, query: _Query) -> object:
        board = query.board()
        interval = query.params.get("interval", "")
        if interval not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        limit = query.limit(500, 1_000)
        start_ns, end_ns = query.time_ns("startTime"), query.time_ns("endTime")
        if interval == "1s":
            bars = _second_bars(board.market)
        else:
            bars = board.market.bars.bars(
                0, query.now_ns + 1, lambda ns: interval_floor(interval, ns), limit=1 << 30
            )
        bars = [
            bar
            for bar in bars
            if (start_ns is None or bar.start_ns >= start_ns)
            and (end_ns is None or bar.start_ns <= end_ns)
        ]
        page = bars[-limit:] if start_ns is None else bars[:limit]
        return [_kline_row(board, bar, interval, query.div) for bar in page]

    def _average(self, query: _Query) -> object:
        board = query.board()
        last = board.market.last_trade
        last_ns = last.time_ns if last is not None else query.now_ns
        return {
            "mins": 5,
            "price": board.average_price(query.now_ns),
            "closeTime": last_ns // query.div,
        }

    def _day_tickers(self, query: _Query) -> object:
        rows = [_day_ticker(board, query) for board in query.boards()]
        return rows[0] if "symbol" in query.params else rows

    def _prices(self, query: _Query) -> object:
        rows = [
            {"symbol": board.symbol, "price": board.numbers.price(board.market.last_price)}
            for board in query.boards()
        ]
        return rows[0] if "symbol" in query.params else rows

    def _tops(self, query: _Query) -> object:
        rows = [_top_row(board) for board in query.boards()]
        return rows[0] if "symbol" in query.params else rows


def _depth_weight(query: _Query) -> int:
    """Return the weight of a depth request."""
    limit = query.limit(100, 5_000)
    return next(
        weight for most, weight in ((100, 5), (500, 25), (1_000, 50), (5_000, 250)) if limit <= most
    )


def _tickers_weight(query: _Query) -> int:
    """Return the weight of a 24hr ticker request."""
    if "symbol" in query.params:
        return 2
    count = query.params["symbols"].count(",") + 1 if "symbols" in query.params else 1 << 30
    return next(weight for most, weight in ((20, 2), (100, 40), (1 << 30, 80)) if count <= most)


def _trade_row(board: BinanceBoard, one: Trade, div: int) -> dict[str, Any]:
    numbers = board.numbers
    return {
        "id": one.id,
        "price": numbers.price(one.price),
        "qty": numbers.size(one.lots),
        "quoteQty": numbers.amount(one.price * one.lots),
        "time": one.time_ns // div,
        "isBuyerMaker": not one.is_buy,
        "isBestMatch": True,
    }


def _aggregate_row(board: BinanceBoard, one: Aggregate, div: int) -> dict[str, Any]:
    return {
        "a": one.id,
        "p": board.numbers.price(one.price),
        "q": board.numbers.size(one.lots),
        "f": one.first_id,
        "l": one.last_id,
        "T": one.time_ns // div,
        "m": not one.is_buy,
        "M": True,
    }


def _second_bars(market: Market) -> list[Bar]:
    """Build 1-second candles from the kept trades."""
    bars: dict[int, Bar] = {}
    for one in market.trades:
        start_ns = one.time_ns // _NS * _NS
        bar = bars.get(start_ns)
        if bar is None:
            bar = bars[start_ns] = Bar(start_ns, one.price)
        bar.add(one.id, one.price, one.lots, is_buy=one.is_buy)
    return list(bars.values())


def _kline_row(board: BinanceBoard, bar: Bar, interval: str, div: int) -> list[Any]:
    numbers = board.numbers
    return [
        bar.start_ns // div,
        numbers.price(bar.open),
        numbers.price(bar.high),
        numbers.price(bar.low),
        numbers.price(bar.close),
        numbers.size(bar.lots),
        interval_next(interval, bar.start_ns) // div - 1,
        numbers.amount(bar.turnover),
        bar.count,
        numbers.size(bar.buy_lots),
        numbers.amount(bar.buy_turnover),
        "0",
    ]


def _top_row(board: BinanceBoard) -> dict[str, str]:
    bid, bid_lots, ask, ask_lots = board.market.top
    numbers = board.numbers
    return {
        "symbol": board.symbol,
        "bidPrice": numbers.price(bid),
        "bidQty": numbers.size(bid_lots),
        "askPrice": numbers.price(ask),
        "askQty": numbers.size(ask_lots),
    }


def _day_ticker(board: BinanceBoard, query: _Query) -> dict[str, Any]:
    """Build a 24hr ticker from the same bytes as the stream's, under REST's names."""
    stream = msgspec.json.decode(
        wire.ticker(board.numbers, board.market, query.now_ns, query.div), type=dict[str, Any]
    )
    names = {
        "symbol": "s",
        "priceChange": "p",
        "priceChangePercent": "P",
        "weightedAvgPrice": "w",
        "prevClosePrice": "x",
        "lastPrice": "c",
        "lastQty": "Q",
        "bidPrice": "b",
        "bidQty": "B",
        "askPrice": "a",
        "askQty": "A",
        "openPrice": "o",
        "highPrice": "h",
        "lowPrice": "l",
        "volume": "v",
        "quoteVolume": "q",
        "openTime": "O",
        "closeTime": "C",
        "firstId": "F",
        "lastId": "L",
        "count": "n",
    }
    return {name: stream[key] for name, key in names.items()}
