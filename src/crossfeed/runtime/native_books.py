"""Ladders whose levels are set by compiled code, where it is there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from crossfeed.books.ladder import Ladder
from crossfeed.model.events import Level
from crossfeed.model.numbers import SCALE_MAX
from crossfeed.runtime.core_choice import engine_module

__all__ = ["ladder_type"]

_POWERS = tuple(float(10**n) for n in range(SCALE_MAX + 1))


def ladder_type() -> type[Ladder]:
    """Return the class of new ladders."""
    module = engine_module()
    return Ladder if module is None else _native_ladder(module)


@functools.cache
def _native_ladder(engine_module: Any) -> type[Ladder]:  # noqa: ANN401 - a compiled module
    """Make the ladder class that works with `engine_module`."""
    apply_side, units_of = engine_module.apply_side, engine_module.units_of

    class NativeLadder(Ladder):
        """A `Ladder` whose levels are set by compiled code: the same lists and dicts."""

        __slots__ = ()

        def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> bool:
            """See `Ladder.apply`."""
            if type(bids) is not list or type(asks) is not list:
                return Ladder.apply(self, bids, asks)
            limits = (self._price_limit, self._size_limit)
            is_done, unknown, outside = apply_side(
                self.bids, self.bid_sizes, bids, 1, self.bid_floor, *limits
            )
            if is_done:
                is_done, more_unknown, more_outside = apply_side(
                    self.asks, self.ask_sizes, asks, -1, self.ask_ceiling, *limits
                )
                unknown += more_unknown
                outside += more_outside
            if not is_done:
                return Ladder.apply(self, bids, asks)
            if unknown:
                self.unknown_removals += unknown
            if outside:
                self.out_of_window += outside
            return True

        def top_units(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
            """See `Ladder.top_units`."""
            powers = (_POWERS[self.price_scale], _POWERS[self.size_scale])
            bids = units_of(self.bids, self.bid_sizes, 1, count, *powers)
            asks = units_of(self.asks, self.ask_sizes, -1, count, *powers)
            if bids is None or asks is None:
                return Ladder.top_units(self, count)
            return bids, asks

    return NativeLadder
