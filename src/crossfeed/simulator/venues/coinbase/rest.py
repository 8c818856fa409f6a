"""Coinbase Exchange REST market data.

Source: docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products and public observation
notes on paging (`before` gives the newest page, not the next one).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.decimals import trimmed
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.limits import TokenBucket
from crossfeed.simulator.market import Trade
from crossfeed.simulator.stamps import iso_micro, iso_trimmed
from crossfeed.simulator.venues.coinbase import wire
from crossfeed.simulator.venues.coinbase.profile import REST_LIMIT

if TYPE_CHECKING:
    from crossfeed.simulator.venues.coinbase.board import CoinbaseBoard
    from crossfeed.simulator.venues.coinbase.exchange import CoinbaseExchange

__all__ = ["CoinbaseRest", "currencies", "product", "status_product"]

_NS = 1_000_000_000
_GRANULARITIES = (60, 300, 900, 3_600, 21_600, 86_400)
_CANDLES_MAX = 300
_TRADES_MAX = 1_000
_LEVEL_ORDERS = 3


class _RefusedError(Exception):
    """An answer with a message. Private to this venue."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.body = {"message": message}
        super().__init__(message)


class CoinbaseRest:
    """Answers the public endpoints."""

    def __init__(self, venue: CoinbaseExchange) -> None:
        """Serve one venue."""
        self._venue = venue
        self._buckets: dict[str, TokenBucket] = {}
        self._product_routes: dict[
            str, Callable[[CoinbaseBoard, dict[str, str], int], Response]
        ] = {
            "": lambda board, _, __: json_response(product(board.market.instrument)),
            "book": self._book,
            "ticker": self._ticker,
            "trades": self._trades,
            "candles": self._candles,
            "stats": lambda board, _, now: json_response(_stats(board, now)),
        }

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer one request within the rate limit."""
        if not self._buckets.setdefault(peer, TokenBucket(*REST_LIMIT)).hit(now_ns):
            self._venue.violation("REST rate")
            return json_response({"message": "Public rate limit exceeded"}, 429)
        if request.method != "GET":
            return json_response({"message": "Unsupported method"}, 405)
        try:
            return self._route(request, now_ns)
        except _RefusedError as error:
            return json_response(error.body, error.status)

    def _route(self, request: Request, now_ns: int) -> Response:
        """Find and call the endpoint of a path."""
        parts = request.path.strip("/").split("/")
        if parts == ["time"]:
            return json_response({"iso": iso_trimmed(now_ns), "epoch": now_ns // 1_000_000 / 1e3})
        if parts == ["currencies"]:
            return json_response(currencies(self._venue.instruments.values()))
        if parts == ["products"]:
            venue = self._venue
            return json_response(
                [
                    product(one, is_trading=venue.is_trading(one.symbol))
                    for one in venue.instruments.values()
                ]
            )
        if parts == ["products", "stats"]:
            return json_response(
                {
                    name: {"stats_24hour": _stats(self._venue.coinbase_board(name), now_ns)}
                    for name in self._venue.lively()
                }
            )
        action = self._product_routes.get(parts[2] if len(parts) > 2 else "")  # noqa: PLR2004
        if parts[0] != "products" or action is None or not 2 <= len(parts) <= 3:  # noqa: PLR2004
            raise _RefusedError(404, "NotFound")
        if parts[1] not in self._venue.instruments:
            raise _RefusedError(404, "NotFound")
        return action(self._venue.coinbase_board(parts[1]), request.params, now_ns)

    # ── endpoints ──────────────────────────────────────────────────────────

    @staticmethod
    def _book(board: CoinbaseBoard, params: dict[str, str], now_ns: int) -> Response:
        """Return the book: level 1 the best, 2 all levels, 3 all orders."""
        level = _integer(params, "level", 1)
        if not 1 <= level <= _LEVEL_ORDERS:
            raise _RefusedError(400, "Invalid level")
        market, numbers = board.market, board.numbers
        book = market.book
        sides: dict[str, list[list[Any]]] = {"bids": [], "asks": []}
        bids, asks = book.depth(1 if level == 1 else 1 << 30)
        for name, pairs, levels in (("bids", bids, book.bids), ("asks", asks, book.asks)):
            for price, lots in pairs:
                queue = levels[price].queue
                text = numbers.short_price(price)
                if level == _LEVEL_ORDERS:
                    sides[name].extend(
                        [text, numbers.short_size(order.lots), wire.order_uuid(order.id)]
                        for order in queue.values()
                    )
                else:
                    sides[name].append([text, numbers.short_size(lots), len(queue)])
        return json_response(
            {
                **sides,
                "sequence": market.ids.sequence,
                "auction_mode": False,
                "auction": None,
                "time": iso_micro(now_ns),
            }
        )

    @staticmethod
    def _ticker(board: CoinbaseBoard, params: dict[str, str], now_ns: int) -> Response:
        del params
        market, numbers = board.market, board.numbers
        bid, _, ask, _ = market.top
        last = market.last_trade
        assert last is not None, "a market opens with trades"
        return json_response(
            {
                "ask": numbers.short_price(ask),
                "bid": numbers.short_price(bid),
                "volume": numbers.short_size(market.bars.day(now_ns).lots),
                "trade_id": last.id,
                "price": numbers.short_price(last.price),
                "size": numbers.short_size(last.lots),
                "time": iso_micro(last.time_ns),
                "rfq_volume": "0",
            }
        )

    @staticmethod
    def _trades(board: CoinbaseBoard, params: dict[str, str], now_ns: int) -> Response:
        """Return trades newest first.

        `after=X` gives ids below X. `before=X` gives the newest page of ids above X, not the page
        next to X.
        """
        del now_ns
        limit = _integer(params, "limit", _TRADES_MAX)
        if not 1 <= limit <= _TRADES_MAX:
            raise _RefusedError(400, "limit must be between 1 and 1000")
        market = board.market
        after = min(_integer(params, "after", 1 << 62), market.ids.trade + 1)
        before = _integer(params, "before", 0)
        first = max(after - limit, before + 1)
        page = market.trades_between(first, after - 1)
        rows = [_trade_row(board, one) for one in reversed(page)]
        headers = {"CB-BEFORE": str(page[-1].id), "CB-AFTER": str(page[0].id)} if page else {}
        return json_response(rows, headers=headers)

    @staticmethod
    def _candles(board: CoinbaseBoard, params: dict[str, str], now_ns: int) -> Response:
        """Return [time, low, high, open, close, volume] as numbers, newest first."""
        seconds = _integer(params, "granularity", 60)
        if seconds not in _GRANULARITIES:
            raise _RefusedError(400, "Unsupported granularity")
        end_ns = _instant(params, "end", now_ns)
        start_ns = _instant(params, "start", end_ns - _CANDLES_MAX * seconds * _NS)
        if end_ns - start_ns > _CANDLES_MAX * seconds * _NS:
            raise _RefusedError(
                400,
                "granularity too small for the requested time range. "
                "Count of aggregations requested exceeds 300",
            )
        length_ns = seconds * _NS
        bars = board.market.bars.bars(
            start_ns, end_ns + 1, lambda ns: ns // length_ns * length_ns, limit=_CANDLES_MAX
        )
        number = board.numbers
        return json_response(
            [
                [
                    bar.start_ns // _NS,
                    *(
                        msgspec.Raw(number.short_price(price).encode())
                        for price in (bar.low, bar.high, bar.open, bar.close)
                    ),
                    msgspec.Raw(number.short_size(bar.lots).encode()),
                ]
                for bar in reversed(bars)
            ]
        )


def _integer(params: dict[str, str], name: str, default: int) -> int:
    """Return an integer parameter."""
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
        raise _RefusedError(400, f"{name} must be an integer")
    return int(text)


def _instant(params: dict[str, str], name: str, default_ns: int) -> int:
    """Return a time parameter: UNIX seconds or ISO 8601."""
    text = params.get(name)
    if text is None:
        return default_ns
    if text.isascii() and text.isdigit() and len(text) < 12:  # noqa: PLR2004
        return int(text) * _NS
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _RefusedError(400, f"invalid {name}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp()) * _NS


def _trade_row(board: CoinbaseBoard, one: Trade) -> dict[str, Any]:
    """Write a trade; `side` is the maker's."""
    return {
        "trade_id": one.id,
        "side": "sell" if one.is_buy else "buy",
        "size": board.numbers.size(one.lots),
        "price": board.numbers.price(one.price),
        "time": iso_micro(one.time_ns),
    }


def _stats(board: CoinbaseBoard, now_ns: int) -> dict[str, str]:
    day = board.market.bars.day(now_ns)
    numbers = board.numbers
    return {
        "open": numbers.short_price(day.open),
        "high": numbers.short_price(day.high),
        "low": numbers.short_price(day.low),
        "last": numbers.short_price(board.market.last_price),
        "volume": numbers.short_size(day.lots),
        "volume_30day": numbers.short_size(day.lots * 30),
        "rfq_volume_24hour": "0",
        "rfq_volume_30day": "0",
    }


def product(instrument: Instrument, *, is_trading: bool = True) -> dict[str, Any]:
    """Write one entry of GET /products."""
    grid = instrument.grid
    return {
        "id": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "quote_increment": trimmed(1, grid.price_decimals),
        "base_increment": trimmed(1, grid.lot_decimals),
        "display_name": f"{instrument.base}-{instrument.quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": not is_trading,
        "status": "online" if is_trading else "offline",
        "status_message": "",
        "trading_disabled": not is_trading,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def status_product(instrument: Instrument, *, is_trading: bool) -> dict[str, Any]:
    """Write one product of the status channel."""
    return {
        **product(instrument, is_trading=is_trading),
        "display_name": f"{instrument.base}/{instrument.quote}",
        "type": "spot",
    }


def currencies(instruments: Iterable[Instrument]) -> list[dict[str, Any]]:
    """Write the currencies of some products."""
    names: dict[str, None] = {}
    for instrument in instruments:
        names.setdefault(instrument.base)
        names.setdefault(instrument.quote)
    return [
        {
            "id": name,
            "name": name,
            "display_name": name,
            "min_size": "0.00000001",
            "status": "online",
            "status_message": "",
            "max_precision": "0.00000001",
            "convertible_to": [],
            "details": {
                "type": "fiat" if name in {"USD", "EUR", "GBP"} else "crypto",
                "symbol": "",
            },
            "default_network": "",
            "supported_networks": [],
        }
        for name in names
    ]
