"""Kraken public REST: HTTP 200 even for errors, results under Kraken's own pair names.

Source: docs.kraken.com/exchange/api-reference/spot-rest-api (market data).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.decimals import padded, plain, ratio, trimmed
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.limits import TokenBucket
from crossfeed.simulator.market import Trade
from crossfeed.simulator.stamps import iso_micro
from crossfeed.simulator.venues.kraken.profile import INTERVALS, REST_LIMIT, rest_names

if TYPE_CHECKING:
    from crossfeed.simulator.venues.kraken.board import KrakenBoard
    from crossfeed.simulator.venues.kraken.exchange import KrakenExchange

__all__ = ["KrakenRest"]

_NS = 1_000_000_000
_MINUTE_NS = 60 * _NS
_DEPTH_MAX = 500
_TRADES_MAX = 1_000
_BARS_MAX = 720


class _RefusedError(Exception):
    """An answer with an error text. Private to this venue."""


class KrakenRest:
    """Answers `/0/public/…`."""

    def __init__(self, venue: KrakenExchange) -> None:
        """Serve one venue."""
        self._venue = venue
        self._buckets: dict[str, TokenBucket] = {}
        self._names: dict[str, str] = {}
        for one in venue.instruments.values():
            key, altname, wsname, _, _ = rest_names(one.base, one.quote)
            for name in (key, altname, wsname, one.symbol):
                self._names[name] = one.symbol
        self._routes: dict[str, Callable[[dict[str, str], int], object]] = {
            "Time": self._time,
            "SystemStatus": self._system_status,
            "Assets": self._assets,
            "AssetPairs": self._asset_pairs,
            "Ticker": self._ticker,
            "Depth": self._depth,
            "Trades": self._trades,
            "OHLC": self._ohlc,
        }

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer one request within the rate limit."""
        name = request.path.removeprefix("/0/public/")
        route = self._routes.get(name)
        if not request.path.startswith("/0/public/") or route is None:
            return json_response({"error": ["EGeneral:Unknown method"]}, 404)
        if not self._buckets.setdefault(peer, TokenBucket(*REST_LIMIT)).hit(now_ns):
            self._venue.violation("REST rate")
            return json_response({"error": ["EGeneral:Too many requests"]})
        params = request.params
        if request.method == "POST":
            params = {**params, **Request("", "", request.body.decode("latin-1"), {}).params}
        try:
            return json_response({"error": [], "result": route(params, now_ns)})
        except _RefusedError as error:
            return json_response({"error": [str(error)]})

    # ── reading ────────────────────────────────────────────────────────────

    def _board(self, params: dict[str, str]) -> tuple[str, KrakenBoard]:
        """Return the key and board of the mandatory pair."""
        symbol = self._names.get(params.get("pair", ""))
        if symbol is None:
            raise _RefusedError("EQuery:Unknown asset pair")
        board = self._venue.kraken_board(symbol)
        assert board is not None, "all names are of listed pairs"
        one = board.market.instrument
        return rest_names(one.base, one.quote)[0], board

    def _chosen(self, params: dict[str, str]) -> list[Instrument]:
        """Return the instruments of an optional, comma-separated `pair`."""
        if not params.get("pair"):
            return list(self._venue.instruments.values())
        chosen: list[Instrument] = []
        for name in params["pair"].split(","):
            if name not in self._names:
                raise _RefusedError("EQuery:Unknown asset pair")
            chosen.append(self._venue.instruments[self._names[name]])
        return chosen

    # ── endpoints ──────────────────────────────────────────────────────────

    @staticmethod
    def _time(params: dict[str, str], now_ns: int) -> object:
        del params
        second = now_ns // _NS
        text = time.strftime("%a, %d %b %y %H:%M:%S +0000", time.gmtime(second))
        return {"unixtime": second, "rfc1123": text}

    def _system_status(self, params: dict[str, str], now_ns: int) -> object:
        del params
        return {"status": self._venue.system, "timestamp": iso_micro(now_ns)[:19] + "Z"}

    def _assets(self, params: dict[str, str], now_ns: int) -> object:
        del params, now_ns
        assets: dict[str, Any] = {}
        for one in self._venue.instruments.values():
            _, altname, wsname, base, quote = rest_names(one.base, one.quote)
            del altname
            for name, short in zip((base, quote), wsname.split("/"), strict=True):
                is_fiat = name.startswith("Z")
                assets[name] = {
                    "aclass": "currency",
                    "altname": short,
                    "decimals": 4 if is_fiat else 10,
                    "display_decimals": 2 if is_fiat else 5,
                    "status": "enabled",
                }
        return assets

    def _asset_pairs(self, params: dict[str, str], now_ns: int) -> object:
        del now_ns
        status_of = self._venue.status_of
        return dict(_asset_pair(one, status_of(one.symbol)) for one in self._chosen(params))

    def _ticker(self, params: dict[str, str], now_ns: int) -> object:
        rows: dict[str, Any] = {}
        for one in self._chosen(params):
            board = self._venue.kraken_board(one.symbol)
            assert board is not None, "listed"
            rows[rest_names(one.base, one.quote)[0]] = _ticker_row(board, now_ns)
        return rows

    def _depth(self, params: dict[str, str], now_ns: int) -> object:
        key, board = self._board(params)
        count = min(_integer(params, "count", 100), _DEPTH_MAX)
        bids, asks = board.market.book.depth(max(1, count))
        grid = board.market.instrument.grid
        second = now_ns // _NS

        def rows(levels: list[tuple[int, int]]) -> list[list[Any]]:
            return [
                [
                    padded(price, grid.price_decimals, 5),
                    padded(lots, grid.lot_decimals, 3),
                    second,
                ]
                for price, lots in levels
            ]

        return {key: {"asks": rows(asks), "bids": rows(bids)}}

    def _trades(self, params: dict[str, str], now_ns: int) -> object:
        """Return trades after `since` (ns, exclusive), oldest first."""
        del now_ns
        key, board = self._board(params)
        count = max(1, min(_integer(params, "count", _TRADES_MAX), _TRADES_MAX))
        market = board.market
        since_ns = _integer(params, "since", 0)
        if 0 < since_ns < _NS * _NS // 1_000 and len(str(since_ns)) <= 10:  # noqa: PLR2004
            since_ns *= _NS  # seconds are accepted as well
        if since_ns:
            page = [one for one in market.trades if one.time_ns > since_ns][:count]
        else:
            page = market.trades_from(market.ids.trade - count + 1, count)
        last = page[-1].time_ns if page else since_ns
        return {key: [_trade_row(board, one) for one in page], "last": str(last)}

    def _ohlc(self, params: dict[str, str], now_ns: int) -> object:
        key, board = self._board(params)
        interval = _integer(params, "interval", 1)
        if interval not in INTERVALS:
            raise _RefusedError("EGeneral:Invalid arguments")
        length_ns = interval * _MINUTE_NS
        since_ns = _integer(params, "since", 0) * _NS
        bars = board.market.bars.bars(
            since_ns, now_ns + 1, lambda ns: ns // length_ns * length_ns, limit=_BARS_MAX
        )
        number = board.numbers
        rows = [
            [
                bar.start_ns // _NS,
                number.price(bar.open),
                number.price(bar.high),
                number.price(bar.low),
                number.price(bar.close),
                number.average(bar),
                number.size(bar.lots),
                bar.count,
            ]
            for bar in bars
        ]
        last = bars[-2].start_ns if len(bars) > 1 else now_ns
        return {key: rows, "last": last // _NS}


def _integer(params: dict[str, str], name: str, default: int) -> int:
    """Return an integer parameter."""
    text = params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
        raise _RefusedError("EGeneral:Invalid arguments")
    return int(text)


def _trade_row(board: KrakenBoard, one: Trade) -> list[Any]:
    """Write a trade; the side is the taker's."""
    grid = board.market.instrument.grid
    second, part = divmod(one.time_ns, _NS)
    stamp = f"{second}.{part // 100:07d}"
    return [
        padded(one.price, grid.price_decimals, 5),
        plain(one.lots, grid.lot_decimals),
        msgspec.Raw(stamp.encode()),
        "b" if one.is_buy else "s",
        "l" if one.is_limit else "m",
        "",
        one.id,
    ]


def _ticker_row(board: KrakenBoard, now_ns: int) -> dict[str, Any]:
    """Write one pair of Ticker: [price, whole lots, lots] and [today, 24 h] pairs."""
    market, number = board.market, board.numbers
    day = market.bars.day(now_ns)
    bid, bid_lots, ask, ask_lots = market.top
    whole = market.instrument.lots
    last = market.last_trade
    assert last is not None, "a market opens with trades"
    average = ratio(day.turnover, day.lots * market.instrument.ticks, 5)
    return {
        "a": [number.price(ask), str(ask_lots // whole), number.size(ask_lots)],
        "b": [number.price(bid), str(bid_lots // whole), number.size(bid_lots)],
        "c": [number.price(last.price), number.size(last.lots)],
        "v": [number.size(day.lots)] * 2,
        "p": [average] * 2,
        "t": [day.count] * 2,
        "l": [number.price(day.low)] * 2,
        "h": [number.price(day.high)] * 2,
        "o": number.price(day.open),
    }


def _asset_pair(one: Instrument, status: str) -> tuple[str, dict[str, Any]]:
    """Write one entry of AssetPairs."""
    key, altname, wsname, base, quote = rest_names(one.base, one.quote)
    grid = one.grid
    smallest = max(1, round(5 / one.level * one.lots))
    return key, {
        "altname": altname,
        "wsname": wsname,
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": grid.price_decimals,
        "lot_decimals": grid.lot_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4], [10_000, 0.35]],
        "fees_maker": [[0, 0.25], [10_000, 0.2]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": trimmed(smallest, grid.lot_decimals),
        "costmin": "0.5",
        "tick_size": trimmed(1, grid.price_decimals),
        "status": status,
        "execution_venue": "international",
    }
