"""The levels of one book: fast to change, fast to read at the top, exact to the last digit.

Why floats are the keys and not integers: below 2**51 units two different decimals never share a
float and one decimal never has two (`model.numbers`), whatever zeros or exponent the venue writes
it with. So a float *is* the price, exactly, and turning every level into an integer first would
only cost time: more than the whole of an update (`benchmarks/book_ladder.py`). Integers are made
where they are wanted: `top_units` for checksums, `Decimal` for the exact view. A number beyond
2**51 units is kept as the `Decimal` of the venue's own text; the two compare and hash alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from crossfeed.books.ladder_side import LadderSide
from crossfeed.model.events import Level
from crossfeed.model.numbers import SCALE_MAX, to_units

__all__ = ["ExactLevel", "Ladder"]

ExactLevel = tuple[Decimal, Decimal]
"""(price, size) as the venue wrote it."""

_UNITS_MAX: Final = 2**51
_POWERS: Final = tuple(10**n for n in range(SCALE_MAX + 1))
_NO_LIMIT: Final = float("inf")


class Ladder:
    """Bids and asks of one book. Owned and written by one `BookSync`, read through `OrderBook`.

    Attributes:
        bids: Bid prices ascending: the best is last. A look at the live list: not to be changed.
        asks: Ask prices *negated*, ascending: the best is last here too.
        bid_sizes: Price -> size of the bids; likewise.
        ask_sizes: Price (not negated) -> size of the asks.
        price_scale: Decimals of a price unit; raised by itself when a price needs more.
        size_scale: Decimals of a size unit; raised by itself when a size needs more.
        bid_floor: Bids below are not kept (they cannot be proven complete); 0: all are.
        ask_ceiling: Asks above are not kept; infinite: all are.
        unknown_removals: Removals of a price the book does not know: normal, counted.
        out_of_window: Levels not kept because of floor or ceiling.
    """

    __slots__ = (
        "_asks",
        "_bids",
        "_price_limit",
        "_size_limit",
        "has_wide",
        "price_scale",
        "size_scale",
    )

    def __init__(self, price_scale: int = 8, size_scale: int = 8) -> None:
        """Start empty, with the instrument's decimals of price and size (0..18)."""
        self._bids = LadderSide(1)
        self._asks = LadderSide(-1)
        self.has_wide = False
        self.set_scales(price_scale, size_scale)

    def __repr__(self) -> str:
        """Return the number of levels and the top."""
        bids, asks = self.counts
        return f"Ladder({bids} bids, {asks} asks, top {self.best()})"

    def set_scales(self, price_scale: int, size_scale: int) -> None:
        """Take over the instrument's decimals (they change when a tick size changes)."""
        assert 0 <= price_scale <= SCALE_MAX, f"price scale {price_scale}"
        assert 0 <= size_scale <= SCALE_MAX, f"size scale {size_scale}"
        self.price_scale = price_scale
        self.size_scale = size_scale
        self._price_limit = _UNITS_MAX / _POWERS[price_scale]
        self._size_limit = _UNITS_MAX / _POWERS[size_scale]
        for side in (self._bids, self._asks):
            side.texts.clear()
            side.row = None

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Set levels in the order given; size 0 removes.

        Returns:
            True when done. False if a number is too wide for a float to be exact: then the book is
            changed in part and the caller must `apply_exact` the same message (sizes are absolute,
            so doing it again from the start gives the right book).

        Cost: see `LadderSide.apply`.
        """
        prices, sizes = self._price_limit, self._size_limit
        return not (
            (bids and not self._bids.apply(bids, prices, sizes))
            or (asks and not self._asks.apply(asks, prices, sizes))
        )

    def apply_exact(self, bids: Iterable[ExactLevel], asks: Iterable[ExactLevel]) -> None:
        """Set levels from the venue's own decimals; as `apply`, whatever their length.

        Raises:
            ValueError: A price has more digits than the decimal context keeps (28, unless the
                program chose otherwise). The levels before it are set.
        """
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            for price, size in levels:
                if price >= self._price_limit and +price != price:
                    msg = f"price {price} has too many digits"
                    raise ValueError(msg)
                side.set(
                    self._number(price, self._price_limit), self._number(size, self._size_limit)
                )
            side.order()

    def _number(self, exact: Decimal, limit: float) -> float:
        """Return the float of a decimal, or the decimal itself where no float is exact.

        The type checker does not see the Decimal among the floats; they compare and hash alike.
        """
        if exact < limit:
            return float(exact)
        self.has_wide = True
        return exact  # type: ignore[return-value]

    def load(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """Replace everything by a snapshot, in whatever order its levels come.

        Returns:
            As `apply`; after False the caller must `load_exact`.
        """
        self.clear()
        bid_sizes = {price: size for price, size in bids if size}
        ask_sizes = {price: size for price, size in asks if size}
        for sizes in (bid_sizes, ask_sizes):
            if not sizes:
                continue
            if max(sizes) >= self._price_limit or max(sizes.values()) >= self._size_limit:
                return False
        self._bids.fill(bid_sizes)
        self._asks.fill(ask_sizes)
        return True

    def load_exact(self, bids: Iterable[ExactLevel], asks: Iterable[ExactLevel]) -> None:
        """Replace everything by a snapshot in the venue's own decimals."""
        self.clear()
        self.apply_exact(bids, asks)

    def clear(self) -> None:
        """Forget all levels and the window; scales and counters stay."""
        self._bids.clear()
        self._asks.clear()
        self.has_wide = False

    def cut(self, depth: int) -> int:
        """Keep only the best `depth` levels of each side; return how many were cut off.

        A book that was cut once is counted after each message: its emptied levels are cleared away
        at once from then on.
        """
        return self._bids.cut(depth) + self._asks.cut(depth)

    def limit_window(self, bid_floor: float, ask_ceiling: float) -> None:
        """Keep only levels within these prices from now on; what lies outside is dropped.

        A REST snapshot that was cut at n levels says nothing about what lies beyond its last one.
        """
        self._bids.limit(bid_floor)
        self._asks.limit(-ask_ceiling)

    # ── reading ─────────────────────────────────────────────────────────────

    @property
    def bids(self) -> list[float]:
        """Bid prices; see the class."""
        return self._bids.ordered()

    @property
    def asks(self) -> list[float]:
        """Negated ask prices; see the class."""
        return self._asks.ordered()

    @property
    def bid_sizes(self) -> dict[float, float]:
        """Sizes of the bids; see the class."""
        self._bids.sweep()
        return self._bids.sizes

    @property
    def ask_sizes(self) -> dict[float, float]:
        """Sizes of the asks; see the class."""
        self._asks.sweep()
        return self._asks.sizes

    @property
    def bid_floor(self) -> float:
        """Lowest bid kept; see the class."""
        return self._bids.worst

    @bid_floor.setter
    def bid_floor(self, price: float) -> None:
        """Move the floor."""
        self._bids.worst = price

    @property
    def ask_ceiling(self) -> float:
        """Highest ask kept; see the class."""
        return -self._asks.worst

    @ask_ceiling.setter
    def ask_ceiling(self, price: float) -> None:
        """Move the ceiling."""
        self._asks.worst = -price

    @property
    def unknown_removals(self) -> int:
        """Removals of unknown prices; see the class."""
        return self._bids.unknown + self._asks.unknown

    @unknown_removals.setter
    def unknown_removals(self, count: int) -> None:
        """Begin the count anew."""
        self._bids.unknown, self._asks.unknown = count, 0

    @property
    def out_of_window(self) -> int:
        """Levels not kept; see the class."""
        return self._bids.outside + self._asks.outside

    @out_of_window.setter
    def out_of_window(self, count: int) -> None:
        """Begin the count anew."""
        self._bids.outside, self._asks.outside = count, 0

    @property
    def has_window(self) -> bool:
        """Whether a side is known only as far as its floor or ceiling."""
        return self.bid_floor > 0 or self.ask_ceiling < _NO_LIMIT

    def best(self) -> tuple[float, float, float, float] | None:
        """Return (bid price, bid size, ask price, ask size), None while a side is empty."""
        bids, asks = self._bids, self._asks
        if not (bids.keys and asks.keys):
            return None
        bid, ask = bids.keys[-1], -asks.keys[-1]
        top = (bid, bids.sizes[bid], ask, asks.sizes[ask])
        return (
            (float(top[0]), float(top[1]), float(top[2]), float(top[3])) if self.has_wide else top
        )

    @property
    def counts(self) -> tuple[int, int]:
        """Levels of (bids, asks). Cost O(levels)."""
        return self._bids.count, self._asks.count

    def is_thinner_than(self, count: int) -> bool:
        """Say whether a side has fewer levels than `count`. Cost O(count)."""
        return not (self._bids.holds(count) and self._asks.holds(count))

    def levels(self, *, is_bid: bool) -> Iterator[Level]:
        """Yield one side as (price, size), best first. Valid until the next change."""
        side = self._bids if is_bid else self._asks
        levels = side.levels()
        if self.has_wide:
            return ((float(price), float(size)) for price, size in levels)
        return levels

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return the best `count` (bids, asks) as (price, size), best first. Cost O(count)."""
        bids, asks = self._bids.top(count), self._asks.top(count)
        if self.has_wide:
            bids = [(float(price), float(size)) for price, size in bids]
            asks = [(float(price), float(size)) for price, size in asks]
        return bids, asks

    def depth_exact(self, count: int) -> tuple[list[ExactLevel], list[ExactLevel]]:
        """Return the best `count` (bids, asks) as exact decimals, best first."""
        return (
            [(_decimal(price), _decimal(size)) for price, size in self._bids.top(count)],
            [(_decimal(price), _decimal(size)) for price, size in self._asks.top(count)],
        )

    def top_units(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the best `count` (bids, asks) as (price units, size units), best first.

        The scales rise first if a number needs more decimals than they have.
        """
        bids, asks = self._bids.top(count), self._asks.top(count)
        try:
            return self._units(bids), self._units(asks)
        except ValueError:
            levels = [(_decimal(price), _decimal(size)) for price, size in bids + asks]
            self.raise_scales(levels)
            return self._units(bids), self._units(asks)

    def top_digits(self, count: int) -> tuple[bytes, bytes]:
        """Return the digits of `top_units`, (bids, asks): price and size of each level in a row.

        The digits of a level are remembered: most of a book's top is as it was a message ago.
        """
        try:
            return self._row(self._bids, count), self._row(self._asks, count)
        except ValueError:
            self.top_units(count)  # the scales rise
            return self._row(self._bids, count), self._row(self._asks, count)

    def _row(self, side: LadderSide, count: int) -> bytes:
        row = side.row
        if row is not None and row[0] == count:
            return row[1]
        side.keep_swept()
        texts = side.texts
        keys = side.keys[: -count - 1 : -1]
        digits = b"".join([texts.get(key) or self._spell(side, key) for key in keys])
        side.row = (count, digits)
        return digits

    def _spell(self, side: LadderSide, key: float) -> bytes:
        price = side.sign * key
        text = side.texts[key] = b"%d%d" % self._units([(price, side.sizes[price])])[0]
        return text

    def _units(self, levels: list[Level]) -> list[tuple[int, int]]:
        price_power, size_power = _POWERS[self.price_scale], _POWERS[self.size_scale]
        units: list[tuple[int, int]] = []
        for price, size in levels:
            # The inlined fast path of `to_units`: exact if it leads back to the very same float.
            price_units, size_units = round(price * price_power), round(size * size_power)
            if price_units / price_power != price:
                price_units = to_units(price, self.price_scale)
            if size_units / size_power != size:
                size_units = to_units(size, self.size_scale)
            units.append((price_units, size_units))
        return units

    def raise_scales(self, levels: Iterable[ExactLevel]) -> bool:
        """Raise the scales to the decimals of `levels` as written; return whether they rose."""
        price_scale, size_scale = self.price_scale, self.size_scale
        for price, size in levels:
            price_scale = max(price_scale, -int(price.as_tuple().exponent))
            size_scale = max(size_scale, -int(size.as_tuple().exponent))
        has_risen = (price_scale, size_scale) != (self.price_scale, self.size_scale)
        if has_risen:
            self.set_scales(min(price_scale, SCALE_MAX), min(size_scale, SCALE_MAX))
        return has_risen

    def adopt_scales(self, levels: Sequence[ExactLevel]) -> None:
        """Take over the decimals `levels` are written with, more or fewer; none if there are none.

        For venues that write every number at the pair's full precision (Kraken).
        """
        if levels:
            prices = max(-int(price.as_tuple().exponent) for price, _ in levels)
            sizes = max(-int(size.as_tuple().exponent) for _, size in levels)
            self.set_scales(*(min(max(scale, 0), SCALE_MAX) for scale in (prices, sizes)))

    @staticmethod
    def shortest(levels: Iterable[Level]) -> list[ExactLevel]:
        """Return levels as the shortest decimals of their floats."""
        return [(_decimal(price), _decimal(size)) for price, size in levels]

    def check(self) -> None:
        """Assert what must always hold. Cost O(levels); for tests and after a rebuild."""
        self._bids.check()
        self._asks.check()


def _decimal(number: object) -> Decimal:
    """Return the shortest decimal of a float, which is the venue's own below 2**51 units."""
    return number if isinstance(number, Decimal) else Decimal(repr(number))
