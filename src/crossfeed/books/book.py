"""Reading a book: best, depth, cost of a size, imbalance, immutable images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, Protocol

from msgspec import Struct

from crossfeed.books.ladder import ExactLevel, Ladder
from crossfeed.books.ports import TrustKeeper
from crossfeed.model.events import Level, MarketData
from crossfeed.model.status import Stream
from crossfeed.model.trust import Integrity, Side, Trust

__all__ = ["BookImage", "BookSource", "OrderBook", "Top", "Walk"]

_INFINITE: Final = float("inf")


class Top(Struct, frozen=True, gc=False):
    """Best bid and ask with their sizes, base units."""

    bid_price: float
    bid_quantity: float
    ask_price: float
    ask_quantity: float

    @property
    def mid(self) -> float:
        """Half way between bid and ask."""
        return (self.bid_price + self.ask_price) / 2

    @property
    def spread(self) -> float:
        """Ask minus bid: 0 in a locked book, negative in a crossed one."""
        return self.ask_price - self.bid_price

    @property
    def microprice(self) -> float:
        """Mid weighted by the sizes at the other side: nearer to the side that will give way."""
        total = self.bid_quantity + self.ask_quantity
        return (self.bid_price * self.ask_quantity + self.ask_price * self.bid_quantity) / total


class Walk(Struct, frozen=True):
    """What taking a size from a book costs.

    Attributes:
        side: BUY takes from the asks, SELL from the bids.
        size: Size wished for, base units.
        filled: Size the known depth holds, at most `size`.
        cost: Quote units paid (BUY) or received (SELL) for `filled`, fees not included.
        worst_price: Price of the last level touched; None if nothing was filled.
        levels: Levels touched.
    """

    side: Side
    size: float
    filled: float
    cost: float
    worst_price: float | None
    levels: int

    @property
    def average_price(self) -> float | None:
        """Quote units per base unit over all that was filled; None if nothing was."""
        return self.cost / self.filled if self.filled else None

    @property
    def is_partial(self) -> bool:
        """True where the known depth does not hold the size."""
        return self.filled < self.size


class BookImage(Struct, frozen=True, gc=False):
    """A book at one moment; never changes.

    Attributes:
        stream: Where it comes from.
        unified: Unified symbol, empty where it is unknown.
        sequence: Update number it stands at, 0 where the venue gives none.
        ts_event_ns: Venue time of the last update in it, 0 where the venue gives none.
        ts_recv_ns: Wall time of the receipt of that update.
        ts_mono_ns: Monotonic time of the same.
        trust: Trust when the image was taken.
        integrity: How well the venue lets us prove it.
        bids: (price, size), best first.
        asks: (price, size), best first.
    """

    stream: Stream
    unified: str
    sequence: int
    ts_event_ns: int
    ts_recv_ns: int
    ts_mono_ns: int
    trust: Trust
    integrity: Integrity
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    def best(self) -> Top | None:
        """Return the top, None while a side is empty."""
        if not (self.bids and self.asks):
            return None
        return Top(*self.bids[0], *self.asks[0])

    def walk(self, side: Side, size: float) -> Walk:
        """Return what taking `size` (> 0) costs; see `Walk`."""
        return _walk(side, size, self.asks if side is Side.BUY else self.bids)

    def imbalance(self, count: int) -> float | None:
        """Return (bids - asks) / (bids + asks) of the sizes of the best `count` levels, -1..1."""
        return _imbalance(self.bids[:count], self.asks[:count])


class BookSource(Protocol):
    """What a book is read from: a `BookSync`."""

    @property
    def trust(self) -> TrustKeeper:
        """The stream's trust."""
        ...

    @property
    def ladder(self) -> Ladder:
        """The levels."""
        ...

    @property
    def sequence(self) -> int:
        """Update number the levels stand at."""
        ...

    @property
    def last_applied(self) -> MarketData | None:
        """Newest message in the levels."""
        ...


class OrderBook:
    """The public view of one maintained book. Live: reads what is there now.

    Everything may be read at any time from the feed's own thread; whether it can be relied on says
    `trust`. After a loss the last levels stay readable, UNSOUND, until the book is rebuilt. Take an
    `image()` to keep a state or to hand it to another thread.
    """

    __slots__ = ("_source",)

    data_type: ClassVar[str] = "book"
    """Under this name subscribers are handed the book itself after each change."""

    def __init__(self, source: BookSource) -> None:
        """Read from `source`; the pipeline may `switch` it to another line."""
        self._source = source

    def __repr__(self) -> str:
        """Return stream, trust and top."""
        return f"OrderBook({self.stream}: {self.trust.name}, {self.best()})"

    def switch(self, source: BookSource) -> None:
        """Read from another line's book from now on."""
        self._source = source

    @property
    def stream(self) -> Stream:
        """Where it comes from."""
        return self._source.trust.stream

    @property
    def exchange(self) -> str:
        """Name of the venue."""
        return self._source.trust.stream.venue

    @property
    def symbol(self) -> str:
        """The venue's own symbol."""
        return self._source.trust.stream.symbol

    @property
    def unified(self) -> str:
        """Unified symbol, empty where it is unknown."""
        return self._source.trust.unified

    @property
    def trust(self) -> Trust:
        """Whether it can be relied on now."""
        return self._source.trust.current

    @property
    def cause(self) -> str:
        """Why `trust` is what it is."""
        return self._source.trust.cause

    @property
    def integrity(self) -> Integrity:
        """How well the venue lets us prove it."""
        return self._source.trust.integrity

    @property
    def sequence(self) -> int:
        """Update number it stands at, 0 where the venue gives none."""
        return self._source.sequence

    @property
    def ts_event_ns(self) -> int:
        """Venue time of the last update, 0 where the venue gives none or there was none yet."""
        event = self._source.last_applied
        return 0 if event is None else event.ts_event_ns

    def age_ms(self, mono_ns: int) -> float | None:
        """Return the milliseconds since the last update was received; None before the first.

        Args:
            mono_ns: Monotonic time now.
        """
        event = self._source.last_applied
        return None if event is None else (mono_ns - event.ts_mono_ns) / 1e6

    def best(self) -> Top | None:
        """Return the top, None while a side is empty. Cost 0.3 us."""
        top = self._source.ladder.best()
        return None if top is None else Top(*top)

    @property
    def mid(self) -> float | None:
        """Half way between best bid and ask, None while a side is empty."""
        top = self.best()
        return None if top is None else top.mid

    @property
    def spread(self) -> float | None:
        """Best ask minus best bid, None while a side is empty."""
        top = self.best()
        return None if top is None else top.spread

    @property
    def microprice(self) -> float | None:
        """Mid weighted by the sizes at the top (see `Top`), None while a side is empty."""
        top = self.best()
        return None if top is None else top.microprice

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return the best `count` (>= 1) levels as (bids, asks), best first. Cost O(count)."""
        return self._source.ladder.depth(_positive(count))

    def depth_exact(self, count: int) -> tuple[list[ExactLevel], list[ExactLevel]]:
        """Return `depth` in exact decimals."""
        return self._source.ladder.depth_exact(_positive(count))

    @property
    def level_counts(self) -> tuple[int, int]:
        """Levels kept: (bids, asks)."""
        return self._source.ladder.counts

    def walk(self, side: Side, size: float) -> Walk:
        """Return what taking `size` (> 0) costs; see `Walk`. Cost O(levels touched)."""
        levels = self._source.ladder.levels(is_bid=side is not Side.BUY)
        return _walk(side, size, levels)

    def imbalance(self, count: int) -> float | None:
        """Return (bids - asks) / (bids + asks) of the sizes of the best `count` levels, -1..1.

        None while a side is empty.
        """
        return _imbalance(*self.depth(count))

    def image(self, count: int | None = None) -> BookImage:
        """Take an immutable image of the best `count` levels, of all if it is None."""
        source, trust = self._source, self._source.trust
        event = source.last_applied
        bids, asks = source.ladder.depth(max(self.level_counts) if count is None else count)
        return BookImage(
            stream=trust.stream,
            unified=trust.unified,
            sequence=source.sequence,
            ts_event_ns=0 if event is None else event.ts_event_ns,
            ts_recv_ns=0 if event is None else event.ts_recv_ns,
            ts_mono_ns=0 if event is None else event.ts_mono_ns,
            trust=trust.current,
            integrity=trust.integrity,
            bids=tuple(bids),
            asks=tuple(asks),
        )


def _positive(count: int) -> int:
    if count < 1:
        msg = f"count is {count}, must be at least 1"
        raise ValueError(msg)
    return count


def _walk(side: Side, size: float, levels: Iterable[Level]) -> Walk:
    """Add up levels until `size` is filled; what float subtraction leaves over is not a rest."""
    if not 0 < size < _INFINITE:
        msg = f"size is {size}, must be above 0 and finite"
        raise ValueError(msg)
    left, dust, cost, touched = size, size * 1e-12, 0.0, 0
    worst: float | None = None
    for price, quantity in levels:
        taken = min(left, quantity)
        cost += taken * price
        left -= taken
        worst = price
        touched += 1
        if left <= dust:
            left = 0.0
            break
    return Walk(side, size, size - left, cost, worst, touched)


def _imbalance(bids: Sequence[Level], asks: Sequence[Level]) -> float | None:
    if not (bids and asks):
        return None
    bid_size = sum(size for _, size in bids)
    ask_size = sum(size for _, size in asks)
    return (bid_size - ask_size) / (bid_size + ask_size)
