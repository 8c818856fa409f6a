"""Ladders whose levels lie in compiled arrays, where those are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, ClassVar, Final

from crossfeed.books.ladder import ExactLevel, Ladder
from crossfeed.model.events import Level
from crossfeed.model.numbers import SCALE_MAX
from crossfeed.runtime.core_choice import compiled_modules

__all__ = ["NativeLadder", "ladder_type", "native_ladder"]

_POWERS: Final = tuple(float(10**n) for n in range(SCALE_MAX + 1))
_UNCUT: Final = (0.0, float("inf"))
CHUNK: Final = 64
_PURE: Final[Any] = Ladder


def ladder_type() -> type[Ladder]:
    """Return the class of new ladders."""
    native = compiled_modules()
    return Ladder if native is None else native_ladder(native.ladder.Levels)


def native_ladder(levels_type: Any) -> type[Ladder]:  # noqa: ANN401 - a compiled class
    """Return the ladder class over compiled levels."""
    NativeLadder.levels_type = levels_type
    return NativeLadder


class NativeLadder(Ladder):
    """A `Ladder` over compiled arrays.

    The first number that no float can hold exactly turns it into a plain `Ladder` (the arrays
    are given up for lists and dicts); the next snapshot without such numbers turns it back.
    """

    __slots__ = ("_levels",)
    levels_type: ClassVar[Any]

    def __init__(self, price_scale: int = 8, size_scale: int = 8) -> None:
        self._levels: Any = None
        super().__init__(price_scale, size_scale)
        self._levels = self.levels_type()
        self._tell()

    def _tell(self) -> None:
        """Tell the arrays what they may hold."""
        levels = self._levels
        if levels is not None:
            levels.floor, levels.ceiling = self.bid_floor, self.ask_ceiling
            levels.price_limit, levels.size_limit = self._price_limit, self._size_limit
            levels.price_power = _POWERS[self.price_scale]
            levels.size_power = _POWERS[self.size_scale]

    def set_scales(self, price_scale: int, size_scale: int) -> None:
        """See `Ladder.set_scales`."""
        super().set_scales(price_scale, size_scale)
        self._tell()

    def _give_up(self) -> None:
        """Go on with lists and dicts."""
        levels = self._levels
        if levels is None:
            return
        unknown, outside = self.unknown_removals, self.out_of_window
        self._levels = None
        self.unknown_removals, self.out_of_window = unknown, outside
        bid_sizes, ask_sizes = levels.sizes()
        self._bids.fill(bid_sizes)
        self._asks.fill(ask_sizes)

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """See `Ladder.apply`."""
        levels = self._levels
        if levels is not None and levels.apply(bids, asks):
            return True
        self._give_up()
        return super().apply(bids, asks)

    def apply_exact(self, bids: Iterable[ExactLevel], asks: Iterable[ExactLevel]) -> None:
        """See `Ladder.apply_exact`."""
        self._give_up()
        super().apply_exact(bids, asks)

    def load(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
        """See `Ladder.load`."""
        self.clear()
        if self._levels.load(list(bids), list(asks)):
            return True
        # A price written twice, or an integer among the floats: once more, in their plain form.
        if self._levels.load(_plain(bids), _plain(asks)):
            return True
        self._levels.clear()
        return False

    def load_exact(self, bids: Iterable[ExactLevel], asks: Iterable[ExactLevel]) -> None:
        """See `Ladder.load_exact`."""
        self.clear()
        self.apply_exact(bids, asks)

    def clear(self) -> None:
        """See `Ladder.clear`."""
        if self._levels is None:
            self._levels = self.levels_type()
        self._levels.clear()
        self.bid_floor, self.ask_ceiling = _UNCUT
        self.has_wide = False
        self._tell()

    def cut(self, depth: int) -> int:
        """See `Ladder.cut`."""
        levels = self._levels
        return super().cut(depth) if levels is None else int(levels.cut(depth))

    def limit_window(self, bid_floor: float, ask_ceiling: float) -> None:
        """See `Ladder.limit_window`."""
        if self._levels is None:
            super().limit_window(bid_floor, ask_ceiling)
            return
        self.bid_floor, self.ask_ceiling = bid_floor, ask_ceiling
        self._tell()
        self.out_of_window += self._levels.limit(bid_floor, ask_ceiling)

    def best(self) -> tuple[float, float, float, float] | None:
        """See `Ladder.best`."""
        levels = self._levels
        if levels is None:
            return super().best()
        top: tuple[float, float, float, float] | None = levels.best()
        return top

    def depth(self, count: int) -> tuple[list[Level], list[Level]]:
        """See `Ladder.depth`."""
        levels = self._levels
        if levels is None:
            return super().depth(count)
        pairs: tuple[list[Level], list[Level]] = levels.depth(count)
        return pairs

    def depth_exact(self, count: int) -> tuple[list[ExactLevel], list[ExactLevel]]:
        """See `Ladder.depth_exact`."""
        if self._levels is None:
            return super().depth_exact(count)
        bids, asks = self._levels.depth(count)
        return self.shortest(bids), self.shortest(asks)

    @property
    def counts(self) -> tuple[int, int]:
        """See `Ladder.counts`."""
        levels = self._levels
        if levels is None:
            return super().counts
        counts: tuple[int, int] = levels.counts()
        return counts

    def is_thinner_than(self, count: int) -> bool:
        """See `Ladder.is_thinner_than`."""
        return super().is_thinner_than(count) if self._levels is None else min(self.counts) < count

    def levels(self, *, is_bid: bool) -> Iterator[Level]:
        """See `Ladder.levels`."""
        levels = self._levels
        if levels is None:
            yield from super().levels(is_bid=is_bid)
            return
        for start in count(0, CHUNK):
            part = levels.side(is_bid, start, CHUNK)
            yield from part
            if len(part) < CHUNK:
                return

    def top_units(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """See `Ladder.top_units`."""
        if self._levels is not None:
            powers = (_POWERS[self.price_scale], _POWERS[self.size_scale])
            units: tuple[list[tuple[int, int]], list[tuple[int, int]]] | None = self._levels.units(
                count, *powers
            )
            if units is not None:
                return units
        return super().top_units(count)

    def top_digits(self, count: int) -> tuple[bytes, bytes]:
        """See `Ladder.top_digits`."""
        if self._levels is not None:
            powers = (_POWERS[self.price_scale], _POWERS[self.size_scale])
            digits: tuple[bytes, bytes] | None = self._levels.digits(count, *powers)
            if digits is not None:
                return digits
        return super().top_digits(count)


def _plain(levels: Sequence[Level]) -> list[Level]:
    """Return each price once, with the last size written for it."""
    return list({float(price): float(size) for price, size in levels if size}.items())


def _view(name: str, at: int, method: str) -> property:
    """Make an attribute that is read from the arrays while they are there. Cost O(levels)."""
    slot: Any = getattr(Ladder, name)

    def read(ladder: Any) -> object:  # noqa: ANN401 - a class made at run time
        levels = ladder._levels  # noqa: SLF001
        return slot.__get__(ladder) if levels is None else getattr(levels, method)()[at]

    return property(read, slot.__set__)


def _counter(name: str, source: str) -> property:
    """Make a counter that goes on in the arrays."""
    slot: Any = getattr(Ladder, name)

    def read(ladder: Any) -> int:  # noqa: ANN401 - a class made at run time
        levels = ladder._levels  # noqa: SLF001
        counted: int = slot.__get__(ladder)
        return counted if levels is None else counted + int(getattr(levels, source))

    def write(ladder: Any, value: int) -> None:  # noqa: ANN401 - a class made at run time
        slot.__set__(ladder, value)
        if ladder._levels is not None:  # noqa: SLF001
            setattr(ladder._levels, source, 0)  # noqa: SLF001

    return property(read, write)


setattr(NativeLadder, "unknown_removals", _counter("unknown_removals", "unknown"))  # noqa: B010
setattr(NativeLadder, "out_of_window", _counter("out_of_window", "outside"))  # noqa: B010
for _at, _name in enumerate(("bids", "asks")):
    setattr(NativeLadder, _name, _view(_name, _at, "keys"))
    setattr(NativeLadder, f"{_name[:-1]}_sizes", _view(f"{_name[:-1]}_sizes", _at, "sizes"))
