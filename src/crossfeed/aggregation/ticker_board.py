"""Tickers: one price over venues, with their combined volume and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import fsum
from typing import ClassVar

from crossfeed.aggregation.board import NOTHING, Board, BoardRules, Published
from crossfeed.aggregation.combine import median, population_std, vwap
from crossfeed.aggregation.slot import VALUE_MAX, Slot
from crossfeed.model.events import MarketData, Ticker

__all__ = ["TickerBoard"]


class TickerBoard(Board):
    """Price and 24 h statistics of one symbol. Also the `PriceView` of its strategy.

    `price_range` and `price_std` (population) are over the latest prices of the venues that take
    part. `volume_24h` adds what the venues give, in base units; 0 where none gives any.
    """

    data_type: ClassVar[str] = "ticker"

    def __init__(
        self,
        symbol: str,
        slots: Sequence[Slot],
        rules: BoardRules,
        schedule: Callable[[int, Board], None],
    ) -> None:
        """Start empty."""
        super().__init__(symbol, slots, rules, schedule)
        self._recent: dict[Slot, MarketData] = {}  # oldest first

    def on_event(
        self,
        slot: Slot,
        event: Ticker,
        now_ns: int,
        wall_ns: int,
        original: MarketData | None = None,
    ) -> Published:
        """Take one venue's ticker."""
        ready = self.flush(now_ns, wall_ns) if now_ns >= self.flush_at_ns else NOTHING
        price, volume = event.price, event.volume
        if not (0.0 < price < VALUE_MAX and (volume is None or 0.0 <= volume < VALUE_MAX)):
            self.refused += 1
            return ready
        if (
            slot.reason
            or event.marks is not slot.marks
            or event.trust is not slot.trust
            or event.integrity is not slot.integrity
            or slot.conversion is not None
        ):
            if self._is_history(event):
                self.ignored += 1
                return ready
            self._admit(slot, event)
            if slot.conversion is not None:
                price *= slot.rate
        source = event if original is None else original
        slot.event = source
        slot.ts_ns = event.ts_mono_ns or now_ns
        slot.price, slot.volume = price, volume
        self._recent.pop(slot, None)
        self._recent[slot] = source
        is_changed = False
        if now_ns > self.expires_ns or slot.is_member is not (not slot.reason):
            is_changed = self._regroup(now_ns)
        if not slot.is_member:
            return (*ready, *self._changed(now_ns, wall_ns)) if is_changed else ready
        if not self.is_wanted or (now_ns < self._opens_ns and not self._keeps_last):
            return ready
        published = self._offer(now_ns, wall_ns)
        return (*ready, *published) if ready else published

    # ── what a strategy sees ──────────────────────────────────────────────────

    @property
    def last_price(self) -> float:
        """The price of the venue that spoke last."""
        return next(slot.price for slot in reversed(self._recent) if slot.is_member)

    def latest_prices(self) -> list[float]:
        """Return each venue's latest price."""
        return [slot.price for slot in self.members]

    def weighted_price(self) -> float | None:
        """Return the price weighted by 24 h volume; venues that give none do not weigh."""
        return vwap(self.latest_prices(), [slot.volume or 0.0 for slot in self.members])

    def default_price(self) -> float:
        """Return the median."""
        return median(self.latest_prices())

    def _publish(self, now_ns: int, wall_ns: int) -> Published:
        members = self.members
        if not members:
            return NOTHING
        prices = [slot.price for slot in members]
        data = {
            "price": self._strategy.price(self),
            "volume_24h": fsum([slot.volume or 0.0 for slot in members]),
            "num_exchanges": len(members),
            "price_range": [min(prices), max(prices)],
            "price_std": population_std(prices),
        }
        sources = [event for slot, event in self._recent.items() if slot.is_member]
        del sources[: -self._buffer_size]
        source_ns = max(slot.ts_ns for slot in members)
        exchanges = self._exchanges.copy()
        return (self._unified(data, exchanges, sources, source_ns, now_ns, wall_ns),)
