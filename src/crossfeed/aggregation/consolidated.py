"""The depth of one symbol over all venues, and what a size would really cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from crossfeed.aggregation.combine import clamp
from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.aggregation.conversion import Conversion, RateTable, quote_of
from crossfeed.aggregation.slot import NEVER_NS, VALUE_MAX, Admission, refusal
from crossfeed.model.events import Level
from crossfeed.model.instrument import split_unified
from crossfeed.model.trust import Integrity, Side, Trust
from crossfeed.model.unified import Excluded

__all__ = [
    "ConsolidatedBook",
    "ConsolidatedDepth",
    "ConsolidatedLevel",
    "DepthSource",
    "Execution",
    "FixedDepth",
    "Leg",
]


DUST: Final = 1e-12
"""Share of a size that float subtraction may leave over: no rest that wants another level."""


class DepthSource(Protocol):
    """One venue's book, as far as the consolidated one needs it. Read at each view, never kept."""

    @property
    def unified(self) -> str:
        """What the venue's metadata calls the instrument ("BTC/USDT"); empty where unknown."""
        ...

    @property
    def trust(self) -> Trust:
        """Whether the book is proven now."""
        ...

    @property
    def integrity(self) -> Integrity:
        """How well it can be proven."""
        ...

    def age_ms(self, mono_ns: int) -> float | None:
        """Return the milliseconds since its last update; None before the first."""
        ...

    def depth(self, count: int) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the best `count` (price, size) pairs of bids and asks, best first."""
        ...


class FixedDepth(Struct, frozen=True, kw_only=True):
    """A `DepthSource` that does not move: a snapshot, or a quote as a book of one level.

    Attributes:
        bids: Best first.
        asks: Best first.
        ts_mono_ns: Monotonic receive time, 0 where there was none yet.
        trust: Whether it was proven.
        integrity: How well it can be proven.
        unified: Unified name of the instrument, empty where unknown.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]
    ts_mono_ns: int
    trust: Trust = Trust.SOUND
    integrity: Integrity = Integrity.NONE
    unified: str = ""

    def age_ms(self, mono_ns: int) -> float | None:
        """Return the milliseconds since it was received."""
        return (mono_ns - self.ts_mono_ns) / 1e6 if self.ts_mono_ns else None

    def depth(self, count: int) -> tuple[Sequence[Level], Sequence[Level]]:
        """Return the best `count` of both sides."""
        return self.bids[:count], self.asks[:count]


class ConsolidatedLevel(Struct, frozen=True, gc=False):
    """One level of one venue.

    Attributes:
        price: In `quote` per base unit, before fees.
        quantity: Base units.
        exchange: The venue.
        quote: Currency of the price: the symbol's own where it could be converted, else the
            venue's.
        price_net: What a taker pays (asks) or gets (bids) per base unit after the venue's fee.
        age_s: Age of the venue's book, seconds.
    """

    price: float
    quantity: float
    exchange: str
    quote: str
    price_net: float
    age_s: float


class ConsolidatedDepth(Struct, frozen=True, kw_only=True):
    """The books of all venues that take part, merged, at one moment.

    Attributes:
        symbol: Unified symbol.
        bids: Highest price first; of equal prices the larger size, then the configured venue order.
        asks: Lowest price first, likewise.
        exchanges: Venues that take part, configured order.
        excluded: Venues that were left out, with the reason.
        trust: Worst trust among those that take part.
        integrity: Weakest integrity among them.
        quote_mismatch: True where prices in different currencies stand side by side unconverted.
        ts_mono_ns: Monotonic time it was made.
    """

    symbol: str
    bids: tuple[ConsolidatedLevel, ...]
    asks: tuple[ConsolidatedLevel, ...]
    exchanges: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    trust: Trust
    integrity: Integrity
    quote_mismatch: bool
    ts_mono_ns: int

    @property
    def best_bid(self) -> ConsolidatedLevel | None:
        """The highest bid; None if there is none."""
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> ConsolidatedLevel | None:
        """The lowest offer; None if there is none."""
        return self.asks[0] if self.asks else None

    @property
    def is_crossed(self) -> bool:
        """Whether somebody bids more than somebody else asks: the arbitrage case."""
        return bool(self.bids and self.asks) and self.bids[0].price > self.asks[0].price


class Leg(Struct, frozen=True, gc=False):
    """One venue's part of an execution.

    Attributes:
        exchange: The venue.
        quantity: Base units.
        price: Average price there, before fees.
        fee: Taker fee, quote units.
        quote: Currency of price and fee.
    """

    exchange: str
    quantity: float
    price: float
    fee: float
    quote: str


class Execution(Struct, frozen=True, kw_only=True):
    """What taking a size at once would come to.

    Attributes:
        side: The taker's side: BUY lifts offers, SELL hits bids.
        size: What was asked for, base units.
        filled: What the visible depth gives, at most `size`.
        price: Average before fees, quote units per base unit; None if nothing is filled.
        price_net: Average after fees; None if nothing is filled.
        price_worst: Last price touched, before fees; None if nothing is filled.
        legs: Parts by venue, in the order in which they were first touched.
        quote_mismatch: True where the parts are in different currencies: the averages then mix
            them.
    """

    side: Side
    size: float
    filled: float
    price: float | None
    price_net: float | None
    price_worst: float | None
    legs: tuple[Leg, ...]
    quote_mismatch: bool

    @property
    def is_complete(self) -> bool:
        """Whether the whole size is filled."""
        return self.filled >= self.size


class ConsolidatedBook:
    """The books of one symbol at several venues, seen as one.

    Books are attached once and read when asked: nothing is copied per update. A book takes part
    under the rules of a book ticker (SOUND, fresh, provable enough, convertible), so the top of
    this book is what BEST_BID_ASK publishes for the same input.
    """

    def __init__(
        self, symbol: str, config: AggregatorConfig, *, rates: RateTable | None = None
    ) -> None:
        """Start without books.

        Args:
            symbol: Unified symbol.
            config: Fees, age limit (of book tickers), integrity and quote basis.
            rates: `Aggregator.rates`, so that live rates are shared; None makes its own (then only
                fixed ones are ever known).
        """
        self.symbol = symbol
        self._quote = split_unified(symbol)[1]
        self._admission = Admission(
            config.age_limit_ns("book_ticker"), config.integrity_min, config.sound_only
        )
        self._fees_percent: Mapping[str, float] = config.fees_percent
        self._rates = rates or RateTable.of(config.quote_basis, config.rate_age_limit_s)
        self._order = {exchange: index for index, exchange in enumerate(config.exchanges)}
        self._books: dict[str, tuple[DepthSource, str, Conversion | None]] = {}

    def attach(self, exchange: str, book: DepthSource, *, quote: str = "") -> None:
        """Let a venue's book take part; replaces the one it had.

        Args:
            exchange: Name of the venue.
            book: Its book; read at each view.
            quote: Currency of its prices; empty takes it from the name of the instrument, and where
                that is unknown from the symbol.
        """
        currency = quote or quote_of(self.symbol, "", book.unified)
        self._books[exchange] = (book, currency, self._rates.find(currency, self._quote))
        self._order.setdefault(exchange, len(self._order))

    def detach(self, exchange: str) -> None:
        """Forget a venue's book; harmless if it has none."""
        self._books.pop(exchange, None)

    def view(self, now_mono_ns: int, levels: int = 10) -> ConsolidatedDepth:
        """Merge the best `levels` of each venue and keep the best `levels` of each side.

        Cost O(venues * levels * log).
        """
        bids: list[ConsolidatedLevel] = []
        asks: list[ConsolidatedLevel] = []
        taking: list[tuple[str, DepthSource, str]] = []
        excluded: list[Excluded] = []
        for exchange in sorted(self._books, key=self._order.__getitem__):
            book, quote, conversion = self._books[exchange]
            age_ms = book.age_ms(now_mono_ns)
            age_s = 0.0 if age_ms is None else max(age_ms, 0.0) / 1e3
            own_bids, own_asks = book.depth(levels)
            reason = self._reason(book, conversion, age_ms, now_mono_ns)
            if not reason and own_bids and own_asks and own_bids[0][0] > own_asks[0][0]:
                reason = "suspect"  # crossed in itself
            if reason:
                excluded.append(Excluded(exchange, reason, age_s))
                continue
            rate = 1.0 if conversion is None else conversion.value or 0.0
            shown = quote if conversion is None else self._quote
            fee = self._fees_percent.get(exchange, 0.0) / 100
            part = (exchange, shown, age_s)
            bids.extend(_levels(own_bids, rate, 1 - fee, part))
            asks.extend(_levels(own_asks, rate, 1 + fee, part))
            taking.append((exchange, book, shown))
        bids.sort(key=lambda level: (-level.price, -level.quantity))
        asks.sort(key=lambda level: (level.price, -level.quantity))
        return ConsolidatedDepth(
            symbol=self.symbol,
            bids=tuple(bids[:levels]),
            asks=tuple(asks[:levels]),
            exchanges=tuple(exchange for exchange, _, _ in taking),
            excluded=tuple(excluded),
            trust=max((book.trust for _, book, _ in taking), default=Trust.SOUND),
            integrity=min((book.integrity for _, book, _ in taking), default=Integrity.NONE),
            quote_mismatch=len({shown for _, _, shown in taking}) > 1,
            ts_mono_ns=now_mono_ns,
        )

    def _reason(
        self, book: DepthSource, conversion: Conversion | None, age_ms: float | None, now_ns: int
    ) -> str:
        reason = refusal(book.trust, book.integrity, self._admission)
        if reason:
            return reason
        if age_ms is None:
            return "no_data"
        if age_ms * 1e6 > self._admission.age_limit_ns:
            return "stale"
        if conversion is None:
            return ""
        is_known = conversion.value and now_ns <= conversion.fresh_until_ns(never=NEVER_NS)
        return "" if is_known else "quote"

    def price_for(self, side: Side, size: float, now_mono_ns: int, levels: int = 1000) -> Execution:
        """Walk the depth of all venues, cheapest after fees first.

        Args:
            side: BUY or SELL, the taker's.
            size: Base units, above 0.
            now_mono_ns: Monotonic time.
            levels: Levels looked at per venue.

        Raises:
            ValueError: `size` is not above 0 and finite, or `side` is unknown.
        """
        if not 0.0 < size < VALUE_MAX:
            raise ValueError(f"{size!r} is no size; give base units above 0")
        if side not in {Side.BUY, Side.SELL}:
            raise ValueError(f"{side!r} is no side; give Side.BUY or Side.SELL")
        is_buy = side == Side.BUY
        depth = self.view(now_mono_ns, levels)
        ladder = sorted(
            depth.asks if is_buy else depth.bids,
            key=lambda level: level.price_net if is_buy else -level.price_net,
        )
        taken: list[tuple[ConsolidatedLevel, float]] = []
        left = size
        for level in ladder:
            quantity = min(level.quantity, left)
            taken.append((level, quantity))
            left -= quantity
            if left <= size * DUST:
                break
        filled = size if left <= size * DUST else size - left
        return _execution(Side(side), size, taken, filled=filled)


def _levels(
    levels: Sequence[Level], rate: float, fee_factor: float, part: tuple[str, str, float]
) -> list[ConsolidatedLevel]:
    """Turn one venue's levels into ours; what no market can have is left out."""
    exchange, quote, age_s = part
    return [
        ConsolidatedLevel(price * rate, size, exchange, quote, price * rate * fee_factor, age_s)
        for price, size in levels
        if 0.0 < price < VALUE_MAX and 0.0 < size < VALUE_MAX
    ]


def _execution(
    side: Side, size: float, taken: Sequence[tuple[ConsolidatedLevel, float]], *, filled: float
) -> Execution:
    """Add up what was taken."""
    parts: dict[str, list[tuple[ConsolidatedLevel, float]]] = {}
    for level, quantity in taken:
        parts.setdefault(level.exchange, []).append((level, quantity))
    legs = tuple(_leg(exchange, part) for exchange, part in parts.items())
    total = sum(quantity for _, quantity in taken)
    notional = sum(level.price * quantity for level, quantity in taken)
    net = sum(level.price_net * quantity for level, quantity in taken)
    prices = [level.price for level, _ in taken]
    if not taken:
        return Execution(
            side=side,
            size=size,
            filled=0.0,
            price=None,
            price_net=None,
            price_worst=None,
            legs=(),
            quote_mismatch=False,
        )
    return Execution(
        side=side,
        size=size,
        filled=filled,
        price=clamp(notional / total, min(prices), max(prices)),
        price_net=net / total,
        price_worst=max(prices) if side is Side.BUY else min(prices),
        legs=legs,
        quote_mismatch=len({level.quote for level, _ in taken}) > 1,
    )


def _leg(exchange: str, part: Sequence[tuple[ConsolidatedLevel, float]]) -> Leg:
    quantity = sum(amount for _, amount in part)
    notional = sum(level.price * amount for level, amount in part)
    net = sum(level.price_net * amount for level, amount in part)
    return Leg(exchange, quantity, notional / quantity, abs(net - notional), part[0][0].quote)
