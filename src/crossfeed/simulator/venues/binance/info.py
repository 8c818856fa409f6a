"""The exchangeInfo document.

Source: binance-spot-api-docs rest-api.md (Exchange information) and filters.md.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from crossfeed.simulator.decimals import padded, plain
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.venues.binance.profile import WEIGHT_LIMIT

__all__ = ["exchange_info"]

_ORDER_TYPES = [
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]


def exchange_info(
    instruments: Sequence[Instrument], halted: Container[str], server_time: int
) -> dict[str, Any]:
    """Build the document for some instruments; those in `halted` do not trade."""
    return {
        "timezone": "UTC",
        "serverTime": server_time,
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, WEIGHT_LIMIT),
            _limit("ORDERS", "SECOND", 10, 100),
            _limit("ORDERS", "DAY", 1, 200_000),
            _limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
        ],
        "exchangeFilters": [],
        "symbols": [
            _symbol(one, "HALT" if one.symbol in halted else "TRADING") for one in instruments
        ],
    }


def _limit(kind: str, interval: str, count: int, limit: int) -> dict[str, Any]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": count,
        "limit": limit,
    }


def _symbol(instrument: Instrument, status: str) -> dict[str, Any]:
    """Build one symbol's entry."""
    return {
        "symbol": instrument.symbol,
        "status": status,
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _ORDER_TYPES,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(instrument),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(instrument: Instrument) -> list[dict[str, Any]]:
    """Build the filters that matter to market data."""
    grid = instrument.grid
    tick = padded(1, grid.price_decimals, 8)
    lot = padded(1, grid.lot_decimals, 8)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": plain(10**6 * 10**8, 8),
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": lot,
            "maxQty": plain(9_000 * 10**8, 8),
            "stepSize": lot,
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": plain(0, 8),
            "maxQty": plain(100 * 10**8, 8),
            "stepSize": plain(0, 8),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": plain(5 * 10**8, 8),
            "applyMinToMarket": True,
            "maxNotional": plain(9 * 10**6 * 10**8, 8),
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ]
