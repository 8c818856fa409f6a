"""One side of a book: the sizes of all levels in a dict, the best levels in order.

Most messages change levels far from the top, and empty some that nobody has looked at. So an update
only writes sizes; a new price enters the order if it is among the best ones, and an emptied level
stays, with size 0, until it is the best or the levels have doubled. Who asks for more levels than
are in order pays for a sort.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Final

from crossfeed.model.events import Level

__all__ = ["LadderSide"]

ORDERED_MIN: Final = 128
"""Levels put in order at a time; the next when all of them are gone."""
ROOM_MIN: Final = 64
_EVERYTHING: Final = float("-inf")


class LadderSide:
    """The bids or the asks of one `Ladder`, which owns it.

    Attributes:
        sign: 1 for bids, -1 for asks.
        sizes: Price -> size, 0 for an emptied level.
        keys: Sign times price of the levels from `edge` on, ascending: the best is last, where a
            list is cheap to change. Emptied levels are among them, but never as the last one.
        edge: Levels whose key is below are in no order.
        worst: Levels whose key is below are not kept (they cannot be proven complete).
        unknown: Removals of a price that has no place.
        outside: Prices not kept because of `worst`.
        is_swept: All levels are in order, and emptied ones are cleared away at once: a side that is
            cut to a depth is counted after each message.
        texts: Key -> digits of that level, where the ladder's owner has spelled them; forgotten
            when the level changes.
        row: (levels, digits) of the best levels in a row, likewise; None when a level has changed.
    """

    __slots__ = (
        *("_room", "edge", "is_swept", "keys", "outside", "row", "sign", "sizes", "texts"),
        *("unknown", "worst"),
    )

    def __init__(self, sign: int) -> None:
        """Start empty."""
        self.sign = sign
        self.unknown = 0
        self.outside = 0
        self.clear()

    def clear(self) -> None:
        """Forget all levels and the window; the counters stay."""
        self.worst = 0.0 if self.sign > 0 else _EVERYTHING
        self.is_swept = False
        self.fill({})

    def fill(self, sizes: dict[float, float]) -> None:
        """Take these levels in the place of all others."""
        self.sizes = sizes
        self.keys: list[float] = []
        self.texts: dict[float, bytes] = {}
        self.row: tuple[int, bytes] | None = None
        self.order()

    def sweep(self) -> None:
        """Clear away the emptied levels. Cost O(n)."""
        sign = self.sign
        self.sizes = sizes = {price: size for price, size in self.sizes.items() if size}
        self.keys = [key for key in self.keys if sign * key in sizes]
        self._room = 2 * len(sizes) + ROOM_MIN

    def order(self, count: int = 0) -> None:
        """Put the best levels in order, at least `count`, and sweep. Cost O(n log n)."""
        self.sweep()
        sizes, count = self.sizes, max(count, ORDERED_MIN)
        keys = sorted(sizes) if self.sign > 0 else sorted([-price for price in sizes])
        is_whole = self.is_swept or len(keys) <= count
        self.keys = keys if is_whole else keys[-count:]
        self.edge = _EVERYTHING if is_whole else self.keys[0]

    def apply(self, levels: Sequence[Level], price_limit: float, size_limit: float) -> bool:
        """Set levels in the order given; size 0 removes.

        Returns:
            False at the first number from the limits on; the levels before it are set.

        Cost: about 0.1 us a level, 0.3 us for a new price among the best.
        """
        sizes = self.sizes
        placed = len(sizes)
        is_exact = True
        for price, size in levels:
            if size >= size_limit:
                is_exact = False
                break
            sizes[price] = size
        if len(sizes) > placed:
            is_exact &= self._place(len(sizes) - placed, price_limit)
        keys = self.keys
        if self.is_swept:
            self._settle(levels)
        elif not keys or not self.sizes[self.sign * keys[-1]]:
            self.trim()
        return is_exact

    def _place(self, count: int, price_limit: float) -> bool:
        """Give the `count` newest prices of `sizes` their places; False if one is too wide."""
        sizes, keys, sign, worst, edge = self.sizes, self.keys, self.sign, self.worst, self.edge
        is_exact = True
        for price in list(islice(reversed(sizes), count)):
            key = sign * price
            if not sizes[price]:
                self.unknown += 1
            elif key < worst:
                self.outside += 1
            elif price >= price_limit:
                is_exact = False
            else:
                if key >= edge:
                    insort(keys, key)
                continue
            del sizes[price]
        if len(sizes) > self._room:
            self.sweep()
        return is_exact

    def set(self, price: float, size: float) -> None:
        """Set one level, floats or decimals; size 0 removes. `order` when the message is done."""
        sizes = self.sizes
        self.row = None
        self.texts.pop(self.sign * price, None)
        if price in sizes or (size and self.sign * price >= self.worst):
            sizes[price] = size

    def trim(self) -> None:
        """Clear away the emptied levels in front of the best one."""
        keys, sizes, sign = self.keys, self.sizes, self.sign
        while keys and not sizes[sign * keys[-1]]:
            del sizes[sign * keys.pop()]
        if not keys and sizes:
            self.order()

    def _settle(self, levels: Sequence[Level]) -> None:
        """Clear away what `levels` emptied, and what was noted of the others."""
        sizes, keys, texts = self.sizes, self.keys, self.texts
        self.row = None
        for price, size in levels:
            key = self.sign * price
            texts.pop(key, None)
            if not size and price in sizes and not sizes[price]:
                del sizes[price]
                del keys[bisect_left(keys, key)]

    def keep_swept(self) -> None:
        """Hold no emptied levels, and all others in order, from now on."""
        if not self.is_swept:
            self.is_swept = True
            self.order()

    def cut(self, depth: int) -> int:
        """Keep only the best `depth` levels, from now on swept; return how many were cut off."""
        if not self.is_swept:
            self.keep_swept()
        excess = len(self.keys) - depth
        if excess <= 0:
            return 0
        self._drop_worst(excess)
        return excess

    def limit(self, worst: float) -> int:
        """Keep only keys from `worst` on, from now on; return how many levels were dropped."""
        self.worst = worst
        outside = bisect_left(self.ordered(), worst)
        self._drop_worst(outside)
        self.outside += outside
        self.order()
        return outside

    def _drop_worst(self, count: int) -> None:
        self.row = None
        for key in self.keys[:count]:
            del self.sizes[self.sign * key]
            self.texts.pop(key, None)
        del self.keys[:count]

    # ── reading ─────────────────────────────────────────────────────────────

    def ordered(self) -> list[float]:
        """Put all levels in order, without emptied ones; return `keys`. Cost O(n log n)."""
        if not self.is_swept:
            self.order(len(self.sizes))
        return self.keys

    def levels(self) -> Iterator[Level]:
        """Yield (price, size), best first. Valid until the next change."""
        sizes, sign, edge = self.sizes, self.sign, self.edge
        for key in reversed(self.keys):
            price = sign * key
            size = sizes[price]
            if size:
                yield price, size
        if edge > _EVERYTHING:
            rest = [key for price, size in sizes.items() if size and (key := sign * price) < edge]
            for key in sorted(rest, reverse=True):
                yield sign * key, sizes[sign * key]

    def top(self, count: int) -> list[Level]:
        """Return the best `count` levels as (price, size), best first. Cost O(count)."""
        if count > len(self.keys) and self.edge > _EVERYTHING:
            self.order(count)
        sizes, sign = self.sizes, self.sign
        found = [(price := sign * key, sizes[price]) for key in self.keys[: -count - 1 : -1]]
        if self.is_swept or all(size for _, size in found):
            return found
        return list(islice(self.levels(), count))

    def holds(self, count: int) -> bool:
        """Say whether there are at least `count` levels. Cost O(count)."""
        return len(self.sizes) >= count and len(self.top(count)) == count

    @property
    def count(self) -> int:
        """Levels that are not emptied. Cost O(n)."""
        return len(self.sizes) - list(self.sizes.values()).count(0.0)

    def check(self) -> None:
        """Assert what must always hold. Cost O(n)."""
        keys, sizes, sign = self.keys, self.sizes, self.sign
        placed = [price for price in sizes if sign * price >= self.edge]
        assert len(keys) == len(placed), "a price without a size or the reverse"
        assert all(a < b for a, b in pairwise(keys)), "prices out of order"
        assert all(sign * key in sizes for key in keys), "a price without a size"
        assert all(size >= 0 for size in sizes.values()), "a size below 0"
        assert bool(keys) == bool(sizes), "levels, but none in order"
        assert not keys or sizes[sign * keys[-1]], "an emptied level as the best"
        assert not self.is_swept or all(sizes.values()), "an emptied level in a swept side"
