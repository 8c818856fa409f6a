"""What a client cannot be cheaper than: the same transport with nothing, or very little, behind it.

`floor:raw` counts frames. `floor:msgspec` is what a skilled user would write by hand for one known
venue: picows, one typed decoder a stream, floats, a callback; books as a dict and a sorted list. No
checks, no trust, no reconnecting, no raw.
"""

from __future__ import annotations

import asyncio
import ssl
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any, Final

import msgspec
import picows
from msgspec import Struct, field

__all__ = ["FLOORS", "run_floor"]

Handler = Callable[[Any], None]


class _BinanceTrade(Struct, gc=False):
    s: str
    t: int
    p: float
    q: float
    T: int
    m: bool


class _BinanceQuote(Struct, gc=False):
    s: str
    u: int
    b: float
    B: float
    a: float
    A: float


class _BinanceDepth(Struct, gc=False):
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class _StreamTrade(Struct, gc=False):
    data: _BinanceTrade


class _StreamQuote(Struct, gc=False):
    data: _BinanceQuote


class _StreamDepth(Struct, gc=False):
    data: _BinanceDepth


class _Match(Struct, gc=False):
    product_id: str
    trade_id: int
    price: float
    size: float
    side: str
    time: str


class _Ticker(Struct, gc=False):
    product_id: str
    price: float
    best_bid: float
    best_bid_size: float
    best_ask: float
    best_ask_size: float
    time: str


class _Update(Struct, gc=False):
    product_id: str
    changes: list[tuple[str, float, float]]


class _Row(Struct, gc=False):
    price: float
    qty: float


class _KrakenItem(Struct, gc=False):
    symbol: str
    bids: list[_Row]
    asks: list[_Row]
    checksum: int


class _KrakenBook(Struct, gc=False):
    kind: str = field(name="type")
    data: list[_KrakenItem]


def _decoder(kind: type[Any]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


class Ladder:
    """The fast hand-written book: sizes in a dict, prices in a sorted list."""

    def __init__(self) -> None:
        """Start empty."""
        self.bids: list[float] = []
        self.asks: list[float] = []
        self.bid_sizes: dict[float, float] = {}
        self.ask_sizes: dict[float, float] = {}

    def set_bid(self, price: float, size: float) -> None:
        """Set or remove one bid."""
        if size:
            if price not in self.bid_sizes:
                insort(self.bids, price)
            self.bid_sizes[price] = size
        elif price in self.bid_sizes:
            del self.bid_sizes[price]
            del self.bids[bisect_left(self.bids, price)]

    def set_ask(self, price: float, size: float) -> None:
        """Set or remove one offer."""
        if size:
            if price not in self.ask_sizes:
                insort(self.asks, -price)
            self.ask_sizes[price] = size
        elif price in self.ask_sizes:
            del self.ask_sizes[price]
            del self.asks[bisect_left(self.asks, -price)]

    def top(self) -> tuple[float, float] | None:
        """Return best bid and best offer."""
        return (self.bids[-1], -self.asks[-1]) if self.bids and self.asks else None


class _Floor:
    """One hand-written client; `take` is called with each frame."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.books: dict[str, Ladder] = {}

    def take(self, frame: bytes) -> None:
        """Count the frame."""
        self.handler(frame)

    def book(self, symbol: str) -> Ladder:
        """Return the book of a symbol."""
        found = self.books.get(symbol)
        if found is None:
            found = self.books[symbol] = Ladder()
        return found


class _BinanceFloor(_Floor):
    """Binance."""

    trade = staticmethod(_decoder(_StreamTrade))
    quote = staticmethod(_decoder(_StreamQuote))
    depth = staticmethod(_decoder(_StreamDepth))

    def take(self, frame: bytes) -> None:
        """Decode by the stream's name."""
        if frame.find(b"@bookTicker", 0, 48) > 0:
            self.handler(self.quote(frame).data)
        elif frame.find(b"@trade", 0, 48) > 0:
            self.handler(self.trade(frame).data)
        elif frame.find(b"@depth", 0, 48) > 0:
            data = self.depth(frame).data
            book = self.book(data.s)
            for price, size in data.b:
                book.set_bid(price, size)
            for price, size in data.a:
                book.set_ask(price, size)
            book.top()
            self.handler(book)


class _CoinbaseFloor(_Floor):
    """Coinbase Exchange."""

    match = staticmethod(_decoder(_Match))
    ticker = staticmethod(_decoder(_Ticker))
    update = staticmethod(_decoder(_Update))

    def take(self, frame: bytes) -> None:
        """Decode by the type."""
        if frame.startswith(b'{"type":"match"'):
            self.handler(self.match(frame))
        elif frame.startswith(b'{"type":"ticker"'):
            self.handler(self.ticker(frame))
        elif frame.startswith(b'{"type":"l2update"'):
            update = self.update(frame)
            book = self.book(update.product_id)
            for side, price, size in update.changes:
                if side == "buy":
                    book.set_bid(price, size)
                else:
                    book.set_ask(price, size)
            book.top()
            self.handler(book)


class _KrakenFloor(_Floor):
    """Kraken's books, without the checksum."""

    decode = staticmethod(_decoder(_KrakenBook))

    def take(self, frame: bytes) -> None:
        """Decode books only."""
        if frame.startswith(b'{"channel":"book","type":"update"'):
            for item in self.decode(frame).data:
                book = self.book(item.symbol)
                for row in item.bids:
                    book.set_bid(row.price, row.qty)
                for row in item.asks:
                    book.set_ask(row.price, row.qty)
                book.top()
                self.handler(book)


class _RawFloor(_Floor):
    """Counts data frames: acknowledgements and images are told apart by one byte or two."""

    def take(self, frame: bytes) -> None:
        """Count what is no answer to a subscription."""
        if not frame.startswith((b'{"result"', b'{"type":"s', b'{"method"')):
            self.handler(frame)


FLOORS: Final[dict[str, type[_Floor]]] = {
    "binance": _BinanceFloor,
    "coinbase": _CoinbaseFloor,
    "kraken": _KrakenFloor,
}


class _Listener(picows.WSListener):
    def __init__(self, floor: _Floor) -> None:
        self._take = floor.take

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:  # noqa: ARG002
        self._take(frame.get_payload_as_bytes())


async def run_floor(
    name: str,
    venue: str,
    url: str,
    subscribe: list[dict[str, Any]],
    handler: Handler,
    ca_file: str = "",
) -> picows.WSTransport:
    """Connect and subscribe a floor; return the open transport."""
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    floor = (_RawFloor if name == "floor:raw" else FLOORS[venue])(handler)
    path = "/stream" if venue == "binance" else ""
    transport, _ = await picows.ws_connect(  # pyright: ignore[reportUnknownMemberType]
        lambda: _Listener(floor), url + path, ssl_context=tls
    )
    for message in subscribe:
        transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(message))
    await asyncio.sleep(0.3)
    return transport
