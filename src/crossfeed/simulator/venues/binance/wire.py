"""Binance spot messages, written as the venue writes them: key order and eight decimals.

Every function returns one payload. `div` divides nanoseconds into the connection's time unit:
1,000,000 for milliseconds, 1,000 for microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from crossfeed.simulator.bars import Bar
from crossfeed.simulator.decimals import padded, ratio
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.market import Aggregate, Market, Trade

__all__ = [
    "Numbers",
    "agg_trade",
    "book_ticker",
    "combined",
    "depth_update",
    "kline",
    "mini_ticker",
    "partial_depth",
    "rolling_ticker",
    "ticker",
    "trade",
]

DAY_NS = 86_400_000_000_000


class Numbers:
    """Writes one instrument's prices, sizes and amounts with eight decimals."""

    __slots__ = ("_lot_decimals", "_lot_pad", "_lots", "_price_pad", "_ticks", "_turnover_decimals")

    def __init__(self, instrument: Instrument) -> None:
        """Prepare the scales of one instrument."""
        grid = instrument.grid
        self._ticks = instrument.ticks
        self._lots = instrument.lots
        self._price_pad = 10 ** (8 - grid.price_decimals)
        self._lot_pad = 10 ** (8 - grid.lot_decimals)
        self._lot_decimals = grid.lot_decimals
        self._turnover_decimals = grid.price_decimals + grid.lot_decimals

    def price(self, ticks: int) -> str:
        """Write a price."""
        whole, part = divmod(ticks, self._ticks)
        return f"{whole}.{part * self._price_pad:08d}"

    def size(self, lots: int) -> str:
        """Write a size."""
        whole, part = divmod(lots, self._lots)
        return f"{whole}.{part * self._lot_pad:08d}"

    def amount(self, turnover: int) -> str:
        """Write a quote amount given in ticks times lots."""
        return padded(turnover, self._turnover_decimals, 8)

    def average(self, bar: Bar) -> str:
        """Write a bar's volume-weighted price."""
        return ratio(bar.turnover, bar.lots * self._ticks, 8)

    def change(self, ticks: int) -> str:
        """Write a price difference, which may be negative."""
        return "-" + self.price(-ticks) if ticks < 0 else self.price(ticks)


def combined(prefix: bytes, body: bytes) -> bytes:
    """Wrap a payload for a combined stream; `prefix` is `{"stream":"…","data":`."""
    return prefix + body + b"}"


def trade(numbers: Numbers, symbol: str, one: Trade, div: int) -> bytes:
    """Write a trade."""
    time = one.time_ns // div
    return (
        f'{{"e":"trade","E":{time},"s":"{symbol}","t":{one.id},"p":"{numbers.price(one.price)}",'
        f'"q":"{numbers.size(one.lots)}","T":{time},'
        f'"m":{"false" if one.is_buy else "true"},"M":true}}'
    ).encode()


def agg_trade(numbers: Numbers, symbol: str, one: Aggregate, div: int) -> bytes:
    """Write an aggregate trade."""
    time = one.time_ns // div
    return (
        f'{{"e":"aggTrade","E":{time},"s":"{symbol}","a":{one.id},'
        f'"p":"{numbers.price(one.price)}","q":"{numbers.size(one.lots)}",'
        f'"f":{one.first_id},"l":{one.last_id},"T":{time},'
        f'"m":{"false" if one.is_buy else "true"},"M":true}}'
    ).encode()


def book_ticker(numbers: Numbers, market: Market) -> bytes:
    """Write the best bid and ask."""
    bid, bid_lots, ask, ask_lots = market.top
    return (
        f'{{"u":{market.ids.update},"s":"{market.instrument.symbol}",'
        f'"b":"{numbers.price(bid)}","B":"{numbers.size(bid_lots)}",'
        f'"a":"{numbers.price(ask)}","A":"{numbers.size(ask_lots)}"}}'
    ).encode()


def levels(numbers: Numbers, pairs: Iterable[tuple[int, int]]) -> str:
    """Write levels as arrays of two texts."""
    return ",".join(f'["{numbers.price(price)}","{numbers.size(lots)}"]' for price, lots in pairs)


def depth_update(
    numbers: Numbers,
    symbol: str,
    first: int,
    last: int,
    bids: dict[int, int],
    asks: dict[int, int],
    time: int,
) -> bytes:
    """Write a diff of the book: bids from the best down, asks from the best up."""
    return (
        f'{{"e":"depthUpdate","E":{time},"s":"{symbol}","U":{first},"u":{last},'
        f'"b":[{levels(numbers, sorted(bids.items(), reverse=True))}],'
        f'"a":[{levels(numbers, sorted(asks.items()))}]}}'
    ).encode()


def partial_depth(numbers: Numbers, market: Market, count: int) -> bytes:
    """Write the top of the book: neither symbol nor time, as on the wire."""
    bids, asks = market.book.depth(count)
    return (
        f'{{"lastUpdateId":{market.ids.update},"bids":[{levels(numbers, bids)}],'
        f'"asks":[{levels(numbers, asks)}]}}'
    ).encode()


def ticker(numbers: Numbers, market: Market, now_ns: int, div: int) -> bytes:
    """Write the 24-hour statistics."""
    bar = market.bars.day(now_ns)
    bid, bid_lots, ask, ask_lots = market.top
    last_lots = market.last_trade.lots if market.last_trade is not None else 0
    price, size = numbers.price, numbers.size
    return (
        f'{{"e":"24hrTicker","E":{now_ns // div},"s":"{market.instrument.symbol}",'
        f'{_change(numbers, bar)},"x":"{price(market.bars.price_before_day(now_ns))}",'
        f'"c":"{price(bar.close)}","Q":"{size(last_lots)}",'
        f'"b":"{price(bid)}","B":"{size(bid_lots)}","a":"{price(ask)}","A":"{size(ask_lots)}",'
        f"{_range(numbers, bar)},{_ends(bar, now_ns - DAY_NS, now_ns, div)}}}"
    ).encode()


def rolling_ticker(
    numbers: Numbers, symbol: str, window: str, bar: Bar, now_ns: int, div: int
) -> bytes:
    """Write the statistics of a 1h, 4h or 1d window."""
    return (
        f'{{"e":"{window}Ticker","E":{now_ns // div},"s":"{symbol}",{_change(numbers, bar)},'
        f'"c":"{numbers.price(bar.close)}",{_range(numbers, bar)},'
        f"{_ends(bar, bar.start_ns, now_ns, div)}}}"
    ).encode()


def _change(numbers: Numbers, bar: Bar) -> str:
    """Write p, P and w."""
    moved = bar.close - bar.open
    return (
        f'"p":"{numbers.change(moved)}","P":"{ratio(moved * 100, bar.open, 3)}",'
        f'"w":"{numbers.average(bar)}"'
    )


def _range(numbers: Numbers, bar: Bar) -> str:
    """Write o, h, l, v and q."""
    return (
        f'"o":"{numbers.price(bar.open)}","h":"{numbers.price(bar.high)}",'
        f'"l":"{numbers.price(bar.low)}","v":"{numbers.size(bar.lots)}",'
        f'"q":"{numbers.amount(bar.turnover)}"'
    )


def _ends(bar: Bar, start_ns: int, end_ns: int, div: int) -> str:
    """Write O, C, F, L and n."""
    return (
        f'"O":{start_ns // div},"C":{end_ns // div},'
        f'"F":{bar.first_id},"L":{bar.last_id},"n":{bar.count}'
    )


def mini_ticker(numbers: Numbers, symbol: str, bar: Bar, now_ns: int, div: int) -> bytes:
    """Write the short 24-hour statistics."""
    price = numbers.price
    return (
        f'{{"e":"24hrMiniTicker","E":{now_ns // div},"s":"{symbol}","c":"{price(bar.close)}",'
        f'"o":"{price(bar.open)}","h":"{price(bar.high)}","l":"{price(bar.low)}",'
        f'"v":"{numbers.size(bar.lots)}","q":"{numbers.amount(bar.turnover)}"}}'
    ).encode()


def kline(
    numbers: Numbers,
    symbol: str,
    interval: str,
    bar: Bar,
    end_ns: int,
    *,
    is_closed: bool,
    now_ns: int,
    div: int,
) -> bytes:
    """Write a candle; `end_ns` is its exclusive end."""
    price, size, amount = numbers.price, numbers.size, numbers.amount
    return (
        f'{{"e":"kline","E":{now_ns // div},"s":"{symbol}","k":{{"t":{bar.start_ns // div},'
        f'"T":{end_ns // div - 1},"s":"{symbol}","i":"{interval}","f":{bar.first_id},'
        f'"L":{bar.last_id},"o":"{price(bar.open)}","c":"{price(bar.close)}",'
        f'"h":"{price(bar.high)}","l":"{price(bar.low)}","v":"{size(bar.lots)}",'
        f'"n":{bar.count},"x":{"true" if is_closed else "false"},"q":"{amount(bar.turnover)}",'
        f'"V":"{size(bar.buy_lots)}","Q":"{amount(bar.buy_turnover)}","B":"0"}}}}'
    ).encode()
