"""Pre-built frames of the real protocols, from a seed: what the load generator sends.

Prices never cross and numbers never skip, so that a client has nothing to repair; the shapes (bytes
and levels a message) are those of recorded sessions.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from msgspec import Struct

__all__ = ["Feed", "Frame", "Tape", "make_tape"]

Frame = tuple[str, bytes]
"""(subscription it belongs to, payload)."""
PRICE_MID = 6_400_000
DEPTH_DEFAULT = 1000
UPDATE_FIRST = 1_000_000
KRAKEN_DEPTH = 10
TOP_CHANGES = 2
"""Two changes a message: both are of the top, so that every message moves it."""


SYMBOL: dict[str, Any] = {
    "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8,
    "orderTypes": ["LIMIT", "MARKET"], "icebergAllowed": True, "ocoAllowed": True,
    "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": True,
    "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
    "permissions": ["SPOT"], "permissionSets": [["SPOT"]],
}  # fmt: skip
"""What Binance says of each symbol beside its name; other people's clients insist on it."""


class Feed(Struct, frozen=True, kw_only=True):
    """One venue's part of a scenario.

    Attributes:
        venue: "binance", "coinbase" or "kraken", or a copy of one of them ("binance_2").
        symbols: The venue's symbols.
        shares: Sort of message -> weight ("trade", "quote", "depth"; Kraken and Coinbase alike).
        messages: Messages in all.
        levels: Levels of each side of a book.
        changes: Changed levels in each book message.
    """

    venue: str
    symbols: tuple[str, ...]
    shares: Mapping[str, float]
    messages: int
    levels: int = DEPTH_DEFAULT
    changes: int = 23

    @property
    def protocol(self) -> str:
        """The venue whose protocol it speaks."""
        return self.venue.partition("_")[0]


class Tape(Struct):
    """All that a venue says in one run.

    Attributes:
        first: Subscription -> frames sent right after it was acknowledged (images).
        frames: The messages, in order.
        rest: Path, with its symbol where it has one -> body.
    """

    first: dict[str, list[bytes]]
    frames: list[Frame]
    rest: dict[str, bytes]


def make_tape(feed: Feed, seed: int = 1) -> Tape:
    """Write the messages of a feed. Cost some 10 us a message."""
    random_source = random.Random(f"{seed}/{feed.venue}/{feed.symbols}")  # noqa: S311
    maker: type[Any] = {"binance": _Binance, "coinbase": _Coinbase, "kraken": _Kraken}[
        feed.protocol
    ]
    made = maker(feed, random_source)
    tape = Tape(first={}, frames=[], rest={})
    made.open(tape)
    writers: dict[tuple[str, str], Iterator[Frame]] = {}
    kinds, weights = list(feed.shares), list(feed.shares.values())
    choices = random_source.choices(kinds, weights, k=feed.messages)
    for index, kind in enumerate(choices):
        symbol = feed.symbols[index % len(feed.symbols)]
        writer = writers.get((kind, symbol))
        if writer is None:
            writer = writers[kind, symbol] = getattr(made, kind)(symbol)
        tape.frames.append(next(writer))
    return tape


class _Maker:
    """What the venues share: prices and the pools of levels."""

    def __init__(self, feed: Feed, source: random.Random) -> None:
        self.feed = feed
        self.random = source
        self.now_ms = time.time_ns() // 1_000_000

    def sizes(self, n: int) -> list[int]:
        """Return sizes in units; a third of them removals."""
        return [0 if self.random.random() < 1 / 3 else self.random.randint(1, 10**8)
                for _ in range(n)]  # fmt: skip

    def level_numbers(self, n: int) -> list[int]:
        """Return distances from the top, most of them near it."""
        last = self.feed.levels - 1
        rate = 8 / max(self.feed.levels, 8)
        return [min(int(self.random.expovariate(rate)), last) for _ in range(n)]

    def iso(self, index: int) -> str:
        """Return a time in the venues' spelling."""
        seconds, micro = divmod(self.now_ms * 1000 + index, 1_000_000)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micro:06d}Z"


class _Binance(_Maker):
    """Binance spot, combined mode."""

    def open(self, tape: Tape) -> None:
        """Write what REST serves: instruments, and an image of each book."""
        filters = [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000",
             "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "0.00000001", "maxQty": "9000.00000000",
             "stepSize": "0.00000001"},
        ]  # fmt: skip
        tape.rest["/api/v3/exchangeInfo"] = json.dumps({
            "timezone": "UTC", "serverTime": self.now_ms, "rateLimits": [], "exchangeFilters": [],
            "symbols": [
                {"symbol": s, "status": "TRADING", "baseAsset": s.removesuffix("USDT"),
                 "quoteAsset": "USDT", "filters": filters, **SYMBOL}
                for s in self.feed.symbols
            ],
        }).encode()  # fmt: skip
        bids = [_pair(PRICE_MID - 1 - n, 10**8 + n) for n in range(self.feed.levels)]
        asks = [_pair(PRICE_MID + 1 + n, 10**8 + n) for n in range(self.feed.levels)]
        image = (
            f'{{"lastUpdateId":{UPDATE_FIRST},"bids":[{",".join(bids)}],"asks":[{",".join(asks)}]}}'
        )
        for symbol in self.feed.symbols:
            tape.rest[f"/api/v3/depth?{symbol}"] = image.encode()

    def trade(self, symbol: str) -> Iterator[Frame]:
        """Write trades."""
        key = f"{symbol.lower()}@trade"
        for index in count(1):
            ms = self.now_ms + index // 10
            price = PRICE_MID + self.random.randint(-500, 500)
            yield (
                key,
                (
                    f'{{"stream":"{key}","data":{{"e":"trade","E":{ms},"s":"{symbol}","t":{10**9 + index},'
                    f'"p":"{_price(price)}","q":"{_price(self.random.randint(1, 10**5))}","T":{ms},'
                    f'"m":{"true" if index & 1 else "false"},"M":true}}}}'
                ).encode(),
            )

    def quote(self, symbol: str) -> Iterator[Frame]:
        """Write best bids and offers."""
        key = f"{symbol.lower()}@bookTicker"
        for index in count(1):
            price = PRICE_MID + self.random.randint(-500, 500)
            size = self.random.randint(1, 10**5)
            yield (
                key,
                (
                    f'{{"stream":"{key}","data":{{"u":{10**9 + index},"s":"{symbol}","b":"{_price(price)}",'
                    f'"B":"{_price(size)}","a":"{_price(price + 1)}","A":"{_price(size + 7)}"}}}}'
                ).encode(),
            )

    def depth(self, symbol: str) -> Iterator[Frame]:
        """Write changes of the book."""
        key = f"{symbol.lower()}@depth@100ms"
        update, half = UPDATE_FIRST + 1, self.feed.changes // 2
        for index in count(1):
            bids = zip(self.level_numbers(half), self.sizes(half), strict=True)
            rest = self.feed.changes - half
            asks = zip(self.level_numbers(rest), self.sizes(rest), strict=True)
            low = ",".join(_pair(PRICE_MID - 1 - n, size) for n, size in bids)
            high = ",".join(_pair(PRICE_MID + 1 + n, size) for n, size in asks)
            yield (
                key,
                (
                    f'{{"stream":"{key}","data":{{"e":"depthUpdate","E":{self.now_ms + index // 10},'
                    f'"s":"{symbol}","U":{update},"u":{update + 4},"b":[{low}],"a":[{high}]}}}}'
                ).encode(),
            )
            update += 5


class _Coinbase(_Maker):
    """Coinbase Exchange."""

    def open(self, tape: Tape) -> None:
        """Write what comes first: an image of each book."""
        bids = [_pair(PRICE_MID - 1 - n, 10**8 + n) for n in range(self.feed.levels)]
        asks = [_pair(PRICE_MID + 1 + n, 10**8 + n) for n in range(self.feed.levels)]
        for symbol in self.feed.symbols:
            tape.first[f"level2_batch/{symbol}"] = [
                (
                    f'{{"type":"snapshot","product_id":"{symbol}","asks":[{",".join(asks)}],'
                    f'"bids":[{",".join(bids)}],"time":"{self.iso(0)}"}}'
                ).encode()
            ]

    def trade(self, symbol: str) -> Iterator[Frame]:
        """Write matches."""
        for index in count(1):
            price = PRICE_MID + self.random.randint(-500, 500)
            yield (
                f"matches/{symbol}",
                (
                    f'{{"type":"match","trade_id":{10**9 + index},"maker_order_id":'
                    '"15bcb7f5-f2ba-4e6f-a5c0-0f0f5a6f4d2c","taker_order_id":'
                    f'"13d7bc0d-2e0a-4a3c-9d4e-8b1f0a7c6e55","side":"{"buy" if index & 1 else "sell"}",'
                    f'"size":"{_price(self.random.randint(1, 10**5))}","price":"{_cents(price)}",'
                    f'"product_id":"{symbol}","sequence":{10**10 + index},"time":"{self.iso(index)}"}}'
                ).encode(),
            )

    def quote(self, symbol: str) -> Iterator[Frame]:
        """Write tickers."""
        for index in count(1):
            price = PRICE_MID + self.random.randint(-500, 500)
            yield (
                f"ticker/{symbol}",
                (
                    f'{{"type":"ticker","sequence":{10**10 + index},"product_id":"{symbol}","price":'
                    f'"{_cents(price)}","open_24h":"63437.94","volume_24h":"42492.05081975","low_24h":'
                    '"62423.37","high_24h":"65259.37","volume_30d":"1093827.95195495","best_bid":'
                    f'"{_cents(price)}","best_bid_size":"0.61540890","best_ask":"{_cents(price + 1)}",'
                    f'"best_ask_size":"0.18528568","side":"sell","time":"{self.iso(index)}","trade_id":'
                    f'{10**9 + index},"last_size":"0.05"}}'
                ).encode(),
            )

    def depth(self, symbol: str) -> Iterator[Frame]:
        """Write changes of the book."""
        changes = self.feed.changes
        is_top_only = changes == TOP_CHANGES
        for index in count(1):
            numbers = [0] * changes if is_top_only else self.level_numbers(changes)
            sizes = [index, index + 1] if is_top_only else self.sizes(changes)
            rows = ",".join(
                f'["buy","{_cents(PRICE_MID - 1 - n)}","{_size(size)}"]'
                if number & 1
                else f'["sell","{_cents(PRICE_MID + 1 + n)}","{_size(size)}"]'
                for number, (n, size) in enumerate(zip(numbers, sizes, strict=True))
            )
            yield (
                f"level2_batch/{symbol}",
                (
                    f'{{"type":"l2update","product_id":"{symbol}","changes":[{rows}],'
                    f'"time":"{self.iso(index)}"}}'
                ).encode(),
            )


class _Kraken(_Maker):
    """Kraken, version 2, books of ten levels with their checksums."""

    def __init__(self, feed: Feed, source: random.Random) -> None:
        super().__init__(feed, source)
        self.books: dict[str, tuple[dict[int, int], dict[int, int]]] = {}

    def open(self, tape: Tape) -> None:
        """Write what comes first: an image of each book."""
        for symbol in self.feed.symbols:
            bids = {PRICE_MID - 10 - 10 * n: 10**8 + n for n in range(KRAKEN_DEPTH)}
            asks = {PRICE_MID + 10 + 10 * n: 10**8 + n for n in range(KRAKEN_DEPTH)}
            self.books[symbol] = (bids, asks)
            frame = self._book(symbol, "snapshot", list(bids.items()), list(asks.items()), 0)
            tape.first[f"book/{symbol}"] = [frame]

    def _book(
        self,
        symbol: str,
        word: str,
        bids: list[tuple[int, int]],
        asks: list[tuple[int, int]],
        index: int,
    ) -> bytes:
        low, high = (
            ",".join(f'{{"price":{_tenths(price)},"qty":{_size(size)}}}' for price, size in rows)
            for rows in (bids, asks)
        )
        book_bids, book_asks = self.books[symbol]
        digits = "".join(f"{p // 10}{book_asks[p]}" for p in sorted(book_asks))
        digits += "".join(f"{p // 10}{book_bids[p]}" for p in sorted(book_bids, reverse=True))
        return (
            f'{{"channel":"book","type":"{word}","data":[{{"symbol":"{symbol}","bids":[{low}],'
            f'"asks":[{high}],"checksum":{zlib.crc32(digits.encode())},'
            f'"timestamp":"{self.iso(index)}"}}]}}'
        ).encode()

    def trade(self, symbol: str) -> Iterator[Frame]:
        """Write trades."""
        for index in count(1):
            price = PRICE_MID + 10 * self.random.randint(-50, 50)
            yield (
                f"trade/{symbol}",
                (
                    f'{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":'
                    f'"{"buy" if index & 1 else "sell"}","price":{_tenths(price)},'
                    f'"qty":{_size(self.random.randint(1, 10**8))},"ord_type":"limit",'
                    f'"trade_id":{10**7 + index},"timestamp":"{self.iso(index)}"}}]}}'
                ).encode(),
            )

    def quote(self, symbol: str) -> Iterator[Frame]:
        """Write tickers."""
        for index in count(1):
            price = PRICE_MID + 10 * self.random.randint(-50, 50)
            yield (
                f"ticker/{symbol}",
                (
                    f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}",'
                    f'"bid":{_tenths(price)},"bid_qty":1.25000000,"ask":{_tenths(price + 10)},'
                    f'"ask_qty":0.70000000,"last":{_tenths(price)},"volume":1500.12500001,'
                    '"vwap":63900.1,"low":63000.0,"high":65100.5,"change":-120.3,"change_pct":-0.19,'
                    f'"timestamp":"{self.iso(index)}"}}]}}'
                ).encode(),
            )

    def depth(self, symbol: str) -> Iterator[Frame]:
        """Write changes: a new size of one level, or one level for another."""
        for index in count(1):
            side = index & 1
            levels = self.books[symbol][side]
            price = self.random.choice(list(levels))
            rows = [(price, self.random.randint(1, 10**8))]
            if self.random.random() < 0.4:  # noqa: PLR2004 - share of levels that go
                sign = 1 if side else -1
                free = (PRICE_MID + sign * 10 * n for n in range(1, 40))
                fresh = self.random.choice([p for p in free if p not in levels][:5])
                rows = [(price, 0), (fresh, self.random.randint(1, 10**8))]
                del levels[price]
                price = fresh
            levels[price] = rows[-1][1]
            bids, asks = ([], rows) if side else (rows, [])
            yield f"book/{symbol}", self._book(symbol, "update", bids, asks, index)


def _price(units: int) -> str:
    return f"{units // 100}.{units % 100:02d}000000"


def _cents(units: int) -> str:
    return f"{units // 100}.{units % 100:02d}"


def _tenths(units: int) -> str:
    return f"{units // 100}.{units % 100 // 10}"


def _size(units: int) -> str:
    return f"{units // 10**8}.{units % 10**8:08d}"


def _pair(price: int, size: int) -> str:
    return f'["{_price(price)}","{_size(size)}"]'
