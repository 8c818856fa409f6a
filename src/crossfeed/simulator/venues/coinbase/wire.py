"""Coinbase Exchange messages, written as the venue writes them.

Sizes and prices are trimmed in matches and padded in books, as captured in 2026.
"""

from __future__ import annotations

from collections.abc import Iterable

from crossfeed.simulator.decimals import plain, trimmed
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.market import FeedEvent, Market, Trade
from crossfeed.simulator.stamps import iso_micro

__all__ = [
    "Numbers",
    "feed_event",
    "heartbeat",
    "l2update",
    "level3_event",
    "match",
    "order_uuid",
    "snapshot",
    "ticker",
]

_MIX = 0x9E3779B97F4A7C15F39CC0605CEDC835
_MASK = (1 << 128) - 1


def order_uuid(order_id: int) -> str:
    """Write an order number as the UUID the venue would have given it."""
    digits = f"{order_id * _MIX & _MASK:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class Numbers:
    """Writes one product's prices and sizes."""

    __slots__ = ("_grid", "_lots", "_ticks")

    def __init__(self, instrument: Instrument) -> None:
        """Prepare the scales of one product."""
        self._grid = instrument.grid
        self._ticks = instrument.ticks
        self._lots = instrument.lots

    def price(self, ticks: int) -> str:
        """Write a price with all its decimals."""
        return plain(ticks, self._grid.price_decimals)

    def size(self, lots: int) -> str:
        """Write a size with all its decimals."""
        return plain(lots, self._grid.lot_decimals)

    def short_price(self, ticks: int) -> str:
        """Write a price without trailing zeros."""
        return trimmed(ticks, self._grid.price_decimals)

    def short_size(self, lots: int) -> str:
        """Write a size without trailing zeros."""
        return trimmed(lots, self._grid.lot_decimals)


def match(numbers: Numbers, product: str, one: Trade, kind: str = "match") -> bytes:
    """Write a match or last_match; `side` is the maker's."""
    return (
        f'{{"type":"{kind}","trade_id":{one.id},"maker_order_id":"{order_uuid(one.maker_id)}",'
        f'"taker_order_id":"{order_uuid(one.taker_id)}",'
        f'"side":"{"sell" if one.is_buy else "buy"}","size":"{numbers.short_size(one.lots)}",'
        f'"price":"{numbers.short_price(one.price)}","product_id":"{product}",'
        f'"sequence":{one.sequence},"time":"{iso_micro(one.time_ns)}"}}'
    ).encode()


def ticker(numbers: Numbers, market: Market, now_ns: int) -> bytes:
    """Write a ticker after the last trade; `side` is the taker's."""
    day = market.bars.day(now_ns)
    bid, bid_lots, ask, ask_lots = market.top
    last = market.last_trade
    assert last is not None, "a market opens with trades"
    price, size = numbers.price, numbers.size
    return (
        f'{{"type":"ticker","sequence":{last.sequence},'
        f'"product_id":"{market.instrument.symbol}","price":"{numbers.short_price(last.price)}",'
        f'"open_24h":"{numbers.short_price(day.open)}","volume_24h":"{size(day.lots)}",'
        f'"low_24h":"{numbers.short_price(day.low)}","high_24h":"{numbers.short_price(day.high)}",'
        f'"volume_30d":"{size(day.lots * 30)}","best_bid":"{price(bid)}",'
        f'"best_bid_size":"{size(bid_lots)}","best_ask":"{price(ask)}",'
        f'"best_ask_size":"{size(ask_lots)}","side":"{"buy" if last.is_buy else "sell"}",'
        f'"time":"{iso_micro(last.time_ns)}","trade_id":{last.id},'
        f'"last_size":"{numbers.short_size(last.lots)}"}}'
    ).encode()


def heartbeat(market: Market, now_ns: int) -> bytes:
    """Write a heartbeat with the newest trade id."""
    return (
        f'{{"type":"heartbeat","last_trade_id":{market.ids.trade},'
        f'"product_id":"{market.instrument.symbol}","sequence":{market.ids.sequence},'
        f'"time":"{iso_micro(now_ns)}"}}'
    ).encode()


def snapshot(numbers: Numbers, market: Market, now_ns: int) -> bytes:
    """Write the whole book, best first."""
    bids, asks = market.book.depth(1 << 30)

    def side(levels: list[tuple[int, int]]) -> str:
        return ",".join(
            f'["{numbers.price(price)}","{numbers.size(lots)}"]' for price, lots in levels
        )

    return (
        f'{{"type":"snapshot","product_id":"{market.instrument.symbol}","asks":[{side(asks)}],'
        f'"bids":[{side(bids)}],"time":"{iso_micro(now_ns)}"}}'
    ).encode()


def l2update(
    numbers: Numbers, product: str, bids: dict[int, int], asks: dict[int, int], now_ns: int
) -> bytes:
    """Write changed levels with their new sizes."""

    def side(name: str, levels: Iterable[tuple[int, int]]) -> list[str]:
        return [
            f'["{name}","{numbers.price(price)}","{numbers.size(lots)}"]' for price, lots in levels
        ]

    changes = ",".join((*side("buy", bids.items()), *side("sell", asks.items())))
    return (
        f'{{"type":"l2update","product_id":"{product}","changes":[{changes}],'
        f'"time":"{iso_micro(now_ns)}"}}'
    ).encode()


def feed_event(numbers: Numbers, product: str, event: FeedEvent) -> bytes:
    """Write one message of the full channel."""
    if event.trade is not None:
        return match(numbers, product, event.trade)
    side = "buy" if event.is_bid else "sell"
    tail = (
        f'"side":"{side}","product_id":"{product}","time":"{iso_micro(event.time_ns)}",'
        f'"sequence":{event.sequence}}}'
    )
    order = f'"order_id":"{order_uuid(event.order_id)}",'
    price = f'"price":"{numbers.short_price(event.price)}",' if event.price else ""
    size = numbers.short_size(event.lots)
    if event.kind == "received":
        kind = "limit" if event.price else "market"
        head = f'{order}"order_type":"{kind}","size":"{size}",{price}"type":"received",'
    elif event.kind == "open":
        head = f'{price}{order}"remaining_size":"{size}","type":"open",'
    elif event.kind == "change":
        head = (
            f'{order}"reason":"modify_order","new_size":"{size}",'
            f'"old_size":"{numbers.short_size(event.lots_before)}",'
            f'"new_price":"{numbers.short_price(event.price)}",'
            f'"old_price":"{numbers.short_price(event.price)}","type":"change",'
        )
    else:
        reason = "filled" if event.is_filled else "canceled"
        left = f'"remaining_size":"{size}",' if event.price else ""
        head = f'{order}"reason":"{reason}",{price}{left}"type":"done",'
    return f"{{{head}{tail}".encode()


def level3_event(numbers: Numbers, product: str, event: FeedEvent) -> bytes:
    """Write one compact message of the level3 channel: field order as in its schema message."""
    time, sequence = iso_micro(event.time_ns), event.sequence
    order = order_uuid(event.order_id)
    price, size = numbers.short_price(event.price), numbers.short_size(event.lots)
    one = event.trade
    if one is not None:
        fields = [
            "match",
            product,
            str(sequence),
            order_uuid(one.maker_id),
            order_uuid(one.taker_id),
            numbers.short_price(one.price),
            numbers.short_size(one.lots),
            time,
        ]
    elif event.kind == "open":
        side = "buy" if event.is_bid else "sell"
        fields = ["open", product, str(sequence), order, side, price, size, time]
    elif event.kind == "change":
        fields = ["change", product, str(sequence), order, price, size, time]
    elif event.kind == "done":
        fields = ["done", product, str(sequence), order, time]
    else:
        fields = ["noop", product, str(sequence), time]
    return ("[" + ",".join(f'"{field}"' for field in fields) + "]").encode()


LEVEL3_SCHEMA = (
    b'{"type":"level3","schema":{"change":["type","product_id","sequence","order_id","price",'
    b'"size","time"],"done":["type","product_id","sequence","order_id","time"],"match":["type",'
    b'"product_id","sequence","maker_order_id","taker_order_id","price","size","time"],"noop":'
    b'["type","product_id","sequence","time"],"open":["type","product_id","sequence","order_id",'
    b'"side","price","size","time"]}}'
)
