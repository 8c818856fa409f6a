"""Coinbase Advanced Trade public REST: `/api/v3/brokerage/…`.

Source: docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api (public endpoints) and a
capture of the product list of 2026-08-09.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crossfeed.simulator.decimals import ratio, trimmed
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.limits import TokenBucket
from crossfeed.simulator.market import Trade
from crossfeed.simulator.stamps import iso_nano, iso_trimmed
from crossfeed.simulator.venues.coinbase_advanced.profile import REST_LIMIT

if TYPE_CHECKING:
    from crossfeed.simulator.venues.coinbase_advanced.board import AdvancedBoard
    from crossfeed.simulator.venues.coinbase_advanced.exchange import AdvancedExchange

__all__ = ["AdvancedRest"]

_NS = 1_000_000_000
_BASE = "/api/v3/brokerage/"
_TRADES_MAX = 100
_CANDLES_MAX = 350
_LEVELS_MAX = 1_000
_GRANULARITIES = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1_800,
    "ONE_HOUR": 3_600,
    "TWO_HOUR": 7_200,
    "SIX_HOUR": 21_600,
    "ONE_DAY": 86_400,
}


class _RefusedError(Exception):
    """An answer with an error. Private to this venue."""

    def __init__(self, status: int, error: str, message: str) -> None:
        self.status = status
        self.body = {"error": error, "message": message}
        super().__init__(message)


class AdvancedRest:
    """Answers the public endpoints."""

    def __init__(self, venue: AdvancedExchange) -> None:
        """Serve one venue."""
        self._venue = venue
        self._buckets: dict[str, TokenBucket] = {}

    def answer(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer one request within the rate limit."""
        if not self._buckets.setdefault(peer, TokenBucket(*REST_LIMIT)).hit(now_ns):
            self._venue.violation("REST rate")
            return json_response({"error": "RATE_LIMIT", "message": "Too many requests"}, 429)
        try:
            return json_response(self._route(request, now_ns))
        except _RefusedError as error:
            return json_response(error.body, error.status)

    def _route(self, request: Request, now_ns: int) -> object:
        """Find and call the endpoint of a path."""
        path = request.path.removeprefix(_BASE).strip("/")
        params = request.params
        if not request.path.startswith(_BASE) or request.method != "GET":
            raise _RefusedError(404, "NOT_FOUND", "unknown path")
        if path == "time":
            return {
                "iso": iso_trimmed(now_ns),
                "epochSeconds": str(now_ns // _NS),
                "epochMillis": str(now_ns // 1_000_000),
            }
        if path == "market/products":
            return self._products(params, now_ns)
        if path == "market/product_book":
            return self._book(params, now_ns)
        parts = path.split("/")
        actions: dict[str, Callable[[AdvancedBoard, dict[str, str], int], object]] = {
            "": lambda board, _, now: _product(board, now),
            "ticker": self._ticker,
            "candles": self._candles,
        }
        action = actions.get(parts[3] if len(parts) == 4 else "")  # noqa: PLR2004
        if parts[:2] != ["market", "products"] or action is None or not 3 <= len(parts) <= 4:  # noqa: PLR2004
            raise _RefusedError(404, "NOT_FOUND", "unknown path")
        return action(self._board(parts[2]), params, now_ns)

    def _board(self, name: str) -> AdvancedBoard:
        """Return a product's board."""
        product = self._venue.resolve(name)
        if product not in self._venue.instruments:
            raise _RefusedError(404, "NOT_FOUND", f"Product {name} not supported")
        return self._venue.advanced_board(product)

    def _products(self, params: dict[str, str], now_ns: int) -> object:
        wanted = params.get("product_ids")
        names = wanted.split(",") if wanted else self._venue.lively()
        if params.get("product_type", "SPOT") != "SPOT":
            names = []
        rows = [_product(self._board(name), now_ns) for name in names]
        return {"products": rows, "num_products": len(rows)}

    def _book(self, params: dict[str, str], now_ns: int) -> object:
        board = self._board(params.get("product_id", ""))
        count = max(1, min(_integer(params, "limit", _LEVELS_MAX), _LEVELS_MAX))
        bids, asks = board.market.book.depth(count)
        numbers, market = board.numbers, board.market
        bid, _, ask, _ = market.top
        decimals = market.instrument.grid.price_decimals

        def rows(levels: list[tuple[int, int]]) -> list[dict[str, str]]:
            return [
                {"price": numbers.price(price), "size": numbers.size(lots)}
                for price, lots in levels
            ]

        return {
            "pricebook": {
                "product_id": board.symbol,
                "bids": rows(bids),
                "asks": rows(asks),
                "time": iso_nano(now_ns),
            },
            "last": numbers.price(market.last_price),
            "mid_market": trimmed((bid + ask) * 5, decimals + 1),
            "spread_bps": ratio((ask - bid) * 20_000, bid + ask, 3),
            "spread_absolute": numbers.price(ask - bid),
        }

    @staticmethod
    def _ticker(board: AdvancedBoard, params: dict[str, str], now_ns: int) -> object:
        """Return the newest trades of a time window; there is no paging by id."""
        limit = max(1, min(_integer(params, "limit", _TRADES_MAX), _TRADES_MAX))
        start_ns = _integer(params, "start", 0) * _NS
        end_ns = (_integer(params, "end", now_ns // _NS) + 1) * _NS
        numbers = board.numbers
        found: list[Trade] = []
        for one in reversed(board.market.trades):
            if one.time_ns < start_ns or len(found) == limit:
                break
            if one.time_ns < end_ns:
                found.append(one)
        bid, _, ask, _ = board.market.top
        return {
            "trades": [
                {
                    "trade_id": str(one.id),
                    "product_id": board.symbol,
                    "price": numbers.price(one.price),
                    "size": numbers.size(one.lots),
                    "time": iso_trimmed(one.time_ns),
                    "side": "SELL" if one.is_buy else "BUY",
                    "bid": "",
                    "ask": "",
                    "exchange": "CBE",
                }
                for one in found
            ],
            "best_bid": numbers.price(bid),
            "best_ask": numbers.price(ask),
        }

    @staticmethod
    def _candles(board: AdvancedBoard, params: dict[str, str], now_ns: int) -> object:
        seconds = _GRANULARITIES.get(params.get("granularity", ""))
        if seconds is None:
            raise _RefusedError(400, "INVALID_ARGUMENT", "granularity is not valid")
        length_ns = seconds * _NS
        end_ns = _integer(params, "end", now_ns // _NS) * _NS
        start_ns = _integer(params, "start", end_ns // _NS - _CANDLES_MAX * seconds) * _NS
        if end_ns - start_ns > (_CANDLES_MAX + 1) * length_ns:
            raise _RefusedError(400, "INVALID_ARGUMENT", "number of candles requested > 350")
        bars = board.market.bars.bars(
            start_ns, end_ns + 1, lambda ns: ns // length_ns * length_ns, limit=_CANDLES_MAX
        )
        price = board.numbers.price
        return {
            "candles": [
                {
                    "start": str(bar.start_ns // _NS),
                    "low": price(bar.low),
                    "high": price(bar.high),
                    "open": price(bar.open),
                    "close": price(bar.close),
                    "volume": board.numbers.size(bar.lots),
                }
                for bar in reversed(bars)
            ]
        }


def _integer(params: dict[str, str], name: str, default: int) -> int:
    """Return an integer parameter."""
    text = params.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004
        raise _RefusedError(400, "INVALID_ARGUMENT", f"{name} must be an integer")
    return int(text)


def _product(board: AdvancedBoard, now_ns: int) -> dict[str, Any]:
    """Write one product of the list."""
    instrument, numbers = board.market.instrument, board.numbers
    day = board.market.bars.day(now_ns)
    grid = instrument.grid
    tick = trimmed(1, grid.price_decimals)
    turnover_decimals = grid.price_decimals + grid.lot_decimals
    return {
        "product_id": instrument.symbol,
        "price": numbers.price(day.close),
        "price_percentage_change_24h": ratio((day.close - day.open) * 100, day.open, 14),
        "volume_24h": numbers.size(day.lots),
        "volume_percentage_change_24h": "0",
        "base_increment": trimmed(1, grid.lot_decimals),
        "quote_increment": tick,
        "quote_min_size": "1",
        "quote_max_size": "150000000",
        "base_min_size": trimmed(1, grid.lot_decimals),
        "base_max_size": "3400",
        "base_name": instrument.base,
        "quote_name": instrument.quote,
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "SPOT",
        "quote_currency_id": instrument.quote,
        "base_currency_id": instrument.base,
        "fcm_trading_session_details": None,
        "mid_market_price": "",
        "alias": "",
        "alias_to": [f"{instrument.base}-USDC"] if instrument.quote == "USD" else [],
        "base_display_symbol": instrument.base,
        "quote_display_symbol": instrument.quote,
        "view_only": False,
        "price_increment": tick,
        "display_name": instrument.symbol,
        "product_venue": "CBE",
        "approximate_quote_24h_volume": trimmed(day.turnover, turnover_decimals),
        "best_bid_price": "",
        "best_ask_price": "",
        "high_24h": numbers.price(day.high),
        "low_24h": numbers.price(day.low),
    }
