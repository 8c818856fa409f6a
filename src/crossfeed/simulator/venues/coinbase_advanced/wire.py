"""Coinbase Advanced Trade messages, written as the venue writes them.

Every stream message holds `MARK` in place of its number; the session puts in its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from crossfeed.simulator.bars import Bar
from crossfeed.simulator.decimals import ratio, trimmed
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.market import Market, Trade
from crossfeed.simulator.stamps import iso_nano, iso_trimmed

__all__ = ["MARK", "Numbers", "candles", "envelope", "heartbeat", "level2", "ticker", "trades"]

MARK = b'"sequence_num":?'
_NS = 1_000_000_000
#: Made-up yearly extremes, relative to the day's.
_YEAR_LOW, _YEAR_HIGH = 6, 19


class Numbers:
    """Writes one product's prices and sizes without trailing zeros."""

    __slots__ = ("_grid",)

    def __init__(self, instrument: Instrument) -> None:
        """Prepare the scales of one product."""
        self._grid = instrument.grid

    def price(self, ticks: int) -> str:
        """Write a price."""
        return trimmed(ticks, self._grid.price_decimals)

    def size(self, lots: int) -> str:
        """Write a size."""
        return trimmed(lots, self._grid.lot_decimals)


def envelope(channel: str, now_ns: int, events: str) -> bytes:
    """Write the envelope around the events of one message."""
    return (
        f'{{"channel":"{channel}","timestamp":"{iso_nano(now_ns)}",'
        f'"sequence_num":?,"events":[{events}]}}'
    ).encode()


def heartbeat(now_ns: int, counter: int) -> bytes:
    """Write a heartbeat; its time is a Go time text, not RFC 3339."""
    second, part = divmod(now_ns, _NS)
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))
    moment = f"{text}.{part:09d} +0000 UTC m=+{counter}.{part:09d}"
    return envelope(
        "heartbeats", now_ns, f'{{"current_time":"{moment}","heartbeat_counter":{counter}}}'
    )


def trades(numbers: Numbers, product: str, kind: str, fills: Iterable[Trade], now_ns: int) -> bytes:
    """Write trades newest first; `side` is the maker's."""
    rows = ",".join(
        f'{{"product_id":"{product}","trade_id":"{one.id}","price":"{numbers.price(one.price)}",'
        f'"size":"{numbers.size(one.lots)}","time":"{iso_trimmed(one.time_ns)}",'
        f'"side":"{"SELL" if one.is_buy else "BUY"}"}}'
        for one in fills
    )
    return envelope("market_trades", now_ns, f'{{"type":"{kind}","trades":[{rows}]}}')


def ticker(numbers: Numbers, market: Market, channel: str, kind: str, now_ns: int) -> bytes:
    """Write a ticker; ticker_batch has no best prices."""
    day = market.bars.day(now_ns)
    bid, bid_lots, ask, ask_lots = market.top
    price, size = numbers.price, numbers.size
    best = (
        f',"best_bid":"{price(bid)}","best_ask":"{price(ask)}",'
        f'"best_bid_quantity":"{size(bid_lots)}","best_ask_quantity":"{size(ask_lots)}"'
        if channel == "ticker"
        else ""
    )
    change = ratio((day.close - day.open) * 100, day.open, 14)
    return envelope(
        channel,
        now_ns,
        f'{{"type":"{kind}","tickers":[{{"type":"ticker",'
        f'"product_id":"{market.instrument.symbol}","price":"{price(day.close)}",'
        f'"volume_24_h":"{size(day.lots)}","low_24_h":"{price(day.low)}",'
        f'"high_24_h":"{price(day.high)}","low_52_w":"{price(day.low * _YEAR_LOW // 10)}",'
        f'"high_52_w":"{price(day.high * _YEAR_HIGH // 10)}",'
        f'"price_percent_chg_24_h":"{change}"{best}}}]}}',
    )


def level2(
    numbers: Numbers,
    product: str,
    kind: str,
    bids: Iterable[tuple[int, int]],
    asks: Iterable[tuple[int, int]],
    now_ns: int,
) -> bytes:
    """Write levels; asks are called offers."""
    stamp = iso_trimmed(now_ns)
    rows = ",".join(
        f'{{"side":"{side}","event_time":"{stamp}","price_level":"{numbers.price(price)}",'
        f'"new_quantity":"{numbers.size(lots)}"}}'
        for side, levels in (("bid", bids), ("offer", asks))
        for price, lots in levels
    )
    return envelope(
        "l2_data", now_ns, f'{{"type":"{kind}","product_id":"{product}","updates":[{rows}]}}'
    )


def candles(numbers: Numbers, product: str, kind: str, bars: Iterable[Bar], now_ns: int) -> bytes:
    """Write five-minute candles; `start` is UNIX seconds as text."""
    price = numbers.price
    rows = ",".join(
        f'{{"start":"{bar.start_ns // _NS}","high":"{price(bar.high)}","low":"{price(bar.low)}",'
        f'"open":"{price(bar.open)}","close":"{price(bar.close)}",'
        f'"volume":"{numbers.size(bar.lots)}","product_id":"{product}"}}'
        for bar in bars
    )
    return envelope("candles", now_ns, f'{{"type":"{kind}","candles":[{rows}]}}')


def status_product(instrument: Instrument, *, is_trading: bool) -> dict[str, Any]:
    """Build one product of the status channel."""
    grid = instrument.grid
    return {
        "product_type": "SPOT",
        "id": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "base_increment": trimmed(1, grid.lot_decimals),
        "quote_increment": trimmed(1, grid.price_decimals),
        "display_name": f"{instrument.base}/{instrument.quote}",
        "status": "online" if is_trading else "offline",
        "status_message": "",
        "min_market_funds": "1",
    }
