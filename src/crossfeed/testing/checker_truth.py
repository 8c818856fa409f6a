"""The judge's source: what a simulated venue made, read off its own market, past all its wires."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from crossfeed.simulator.market import Market
from crossfeed.simulator.truth import BookState
from crossfeed.simulator.world import World
from crossfeed.testing.checker import Levels

__all__ = ["MarketTruth"]

_US = 1_000


class MarketTruth:
    """Watches one simulated market from now on.

    Attributes:
        epochs: Every trade made, number -> (price, size) as the nearest floats of the venue's
            decimals; a new mapping each time the venue begins to count anew.
    """

    def __init__(self, world: World, owner: str, unified: str) -> None:
        """Watch the market of `unified` at venue `owner`; trades it keeps already are included."""
        self.market: Market = world.market(owner, unified)
        grid = self.market.instrument.grid
        self._tick = Decimal(1).scaleb(-grid.price_decimals)
        self._lot = Decimal(1).scaleb(-grid.lot_decimals)
        self.epochs: list[dict[int, tuple[float, float]]] = [{}]
        for trade in self.market.trades:
            self._note(trade.id, trade.price, trade.lots)
        world.watch(self.market, self)

    def _note(self, number: int, price: int, lots: int) -> None:
        self.epochs[-1][number] = float(price * self._tick), float(lots * self._lot)

    def on_action(self, now_ns: int) -> None:
        """Keep the trades of the market's last action."""
        del now_ns
        for trade in self.market.fills:
            self._note(trade.id, trade.price, trade.lots)

    def on_restart(self) -> None:
        """Begin a new numbering (two venues that show one market may both say so)."""
        if self.epochs[-1]:
            self.epochs.append({})

    def at(self, sequence: int, event_ns: int) -> Iterable[tuple[Levels, Levels]]:
        """Yield the books that an update of that number or time may stand for.

        Venues whose books have no numbers give times cut to the microsecond.
        """
        history = self.market.history
        if sequence:
            state = history.at(sequence)
            if state is not None and state.update_id == sequence:
                yield self._levels(state)
            return
        for moment_ns in (event_ns, event_ns + _US - 1):
            state = history.at_time(moment_ns)
            if state is not None:
                yield self._levels(state)

    def _levels(self, state: BookState) -> tuple[Levels, Levels]:
        def exact(side: dict[int, int], *, is_bid: bool) -> Levels:
            return [
                (float(price * self._tick), float(lots * self._lot))
                for price, lots in sorted(side.items(), reverse=is_bid)
            ]

        return exact(state.bids, is_bid=True), exact(state.asks, is_bid=False)
