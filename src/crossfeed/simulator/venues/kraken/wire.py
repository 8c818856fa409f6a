"""Kraken v2 messages, written as the venue writes them: numbers as JSON numbers, full precision."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from crossfeed.simulator.bars import Bar
from crossfeed.simulator.decimals import plain, ratio
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.market import Market, Trade
from crossfeed.simulator.stamps import iso_micro, iso_nano

__all__ = [
    "HEARTBEAT",
    "Numbers",
    "book",
    "checksum",
    "instrument_asset",
    "instrument_pair",
    "ohlc",
    "status",
    "ticker",
    "trades",
]

HEARTBEAT = b'{"channel":"heartbeat"}'
CHECKSUM_LEVELS = 10
VERSION = "2.0.10"


class Numbers:
    """Writes one pair's prices and sizes at their full precision."""

    __slots__ = ("_grid", "_lots", "_ticks")

    def __init__(self, instrument: Instrument) -> None:
        """Prepare the scales of one pair."""
        self._grid = instrument.grid
        self._ticks = instrument.ticks
        self._lots = instrument.lots

    def price(self, ticks: int) -> str:
        """Write a price."""
        return plain(ticks, self._grid.price_decimals)

    def size(self, lots: int) -> str:
        """Write a size."""
        return plain(lots, self._grid.lot_decimals)

    def average(self, bar: Bar) -> str:
        """Write a bar's volume-weighted price, 0 without trades."""
        return ratio(bar.turnover, bar.lots * self._ticks, self._grid.price_decimals)


def checksum(bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> int:
    """Return the CRC32 over ten levels a side: asks ascending, then bids descending.

    Price and size without point and leading zeros are just the integers of ticks and lots.
    Source: docs.kraken.com/exchange/guides/websockets/book-checksum-v2.
    """
    text = "".join(f"{price}{lots}" for side in (asks, bids) for price, lots in side)
    return zlib.crc32(text.encode())


def _levels(numbers: Numbers, pairs: Iterable[tuple[int, int]]) -> str:
    return ",".join(
        f'{{"price":{numbers.price(price)},"qty":{numbers.size(lots)}}}' for price, lots in pairs
    )


def book(
    numbers: Numbers,
    symbol: str,
    kind: str,
    bids: Sequence[tuple[int, int]],
    asks: Sequence[tuple[int, int]],
    crc: int,
    now_ns: int,
) -> bytes:
    """Write a snapshot or update of a book."""
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}",'
        f'"bids":[{_levels(numbers, bids)}],"asks":[{_levels(numbers, asks)}],'
        f'"checksum":{crc},"timestamp":"{iso_micro(now_ns)}"}}]}}'
    ).encode()


def trades(numbers: Numbers, symbol: str, kind: str, fills: Iterable[Trade]) -> bytes:
    """Write the trades of one event together."""
    rows = ",".join(
        f'{{"symbol":"{symbol}","side":"{"buy" if one.is_buy else "sell"}",'
        f'"price":{numbers.price(one.price)},"qty":{numbers.size(one.lots)},'
        f'"ord_type":"{"limit" if one.is_limit else "market"}","trade_id":{one.id},'
        f'"timestamp":"{iso_micro(one.time_ns)}"}}'
        for one in fills
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'.encode()


def ticker(numbers: Numbers, market: Market, kind: str, now_ns: int) -> bytes:
    """Write best prices and 24-hour statistics."""
    day = market.bars.day(now_ns)
    bid, bid_lots, ask, ask_lots = market.top
    price, size = numbers.price, numbers.size
    moved = day.close - day.open
    change = "-" + price(-moved) if moved < 0 else price(moved)
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{'
        f'"symbol":"{market.instrument.symbol}","bid":{price(bid)},"bid_qty":{size(bid_lots)},'
        f'"ask":{price(ask)},"ask_qty":{size(ask_lots)},"last":{price(day.close)},'
        f'"volume":{size(day.lots)},"vwap":{numbers.average(day)},"low":{price(day.low)},'
        f'"high":{price(day.high)},"change":{change},'
        f'"change_pct":{ratio(moved * 100, day.open, 2)},'
        f'"timestamp":"{iso_micro(now_ns)}"}}]}}'
    ).encode()


def ohlc(
    numbers: Numbers,
    symbol: str,
    kind: str,
    interval: int,
    bars: Iterable[Bar],
    now_ns: int,
) -> bytes:
    """Write candles; `timestamp` is the deprecated end of each."""
    price = numbers.price
    length_ns = interval * 60_000_000_000
    rows = ",".join(
        f'{{"symbol":"{symbol}","open":{price(bar.open)},"high":{price(bar.high)},'
        f'"low":{price(bar.low)},"close":{price(bar.close)},"trades":{bar.count},'
        f'"volume":{numbers.size(bar.lots)},"vwap":{numbers.average(bar)},'
        f'"interval_begin":"{iso_nano(bar.start_ns)}","interval":{interval},'
        f'"timestamp":"{iso_micro(bar.start_ns + length_ns)}"}}'
        for bar in bars
    )
    return (
        f'{{"channel":"ohlc","type":"{kind}","timestamp":"{iso_nano(now_ns)}","data":[{rows}]}}'
    ).encode()


def status(system: str, connection_id: int) -> bytes:
    """Write the system's state."""
    return (
        f'{{"channel":"status","type":"update","data":[{{"version":"{VERSION}",'
        f'"system":"{system}","api_version":"v2","connection_id":{connection_id}}}]}}'
    ).encode()


def instrument_pair(instrument: Instrument, status: str) -> dict[str, Any]:
    """Build one pair of the instrument channel."""
    grid = instrument.grid
    return {
        "symbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "status": status,
        "qty_precision": grid.lot_decimals,
        "qty_increment": 10**-grid.lot_decimals,
        "price_precision": grid.price_decimals,
        "cost_precision": 5,
        "marginable": False,
        "has_index": True,
        "cost_min": 0.5,
        "tick_size": 10**-grid.price_decimals,
        "price_increment": 10**-grid.price_decimals,
        "qty_min": max(1, round(5 / instrument.level * instrument.lots)) / instrument.lots,
    }


def instrument_asset(name: str) -> dict[str, Any]:
    """Build one asset of the instrument channel."""
    is_fiat = name in {"USD", "EUR", "GBP"}
    return {
        "id": name,
        "status": "enabled",
        "precision": 4 if is_fiat else 10,
        "precision_display": 2 if is_fiat else 5,
        "borrowable": True,
        "collateral_value": 1.0,
        "margin_rate": 0.02,
    }
