"""Trades: one price over venues, and every traded unit counted exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import ClassVar, Final

from crossfeed.aggregation.board import NOTHING, Board, BoardRules, Published, standing
from crossfeed.aggregation.slot import NEVER_NS, VALUE_MAX, Slot
from crossfeed.model.events import MarketData, Trade
from crossfeed.model.trust import Mark, Trust

__all__ = ["TradeBoard"]

_BACKFILLED: Final = int(Mark.BACKFILLED)
_SUSPECT: Final = int(Mark.SUSPECT)


class TradeBoard(Board):
    """Trades of one symbol since the last publication. Also the `PriceView` of its strategy.

    Prices and totals are apart. `volume` and `num_trades` count every trade, whatever is known
    against its stream: a trade of an UNSOUND stream happened all the same. The price is made only
    of those that take part. Backfilled trades count and do not move the price: they tell of the
    past.

    Where no price can be given (nobody takes part) totals are carried to the next publication;
    `close` publishes what is left, with the trust it deserves.
    """

    data_type: ClassVar[str] = "trade"
    is_watched: ClassVar[bool] = False

    def __init__(
        self,
        symbol: str,
        slots: Sequence[Slot],
        rules: BoardRules,
        schedule: Callable[[int, Board], None],
    ) -> None:
        """Start empty."""
        super().__init__(symbol, slots, rules, schedule)
        self._sound_only = rules.admission.sound_only
        self._spans_venues = rules.strategy.spans_venues
        self._window: list[MarketData] = []
        self._window_max = 2 * rules.buffer_size
        self._published_price: float | None = None
        self._last_price = 0.0
        self._source_ns = 0
        self._shown: list[Slot] = []
        self._recent: dict[Slot, None] = {}  # by their latest trade, oldest first
        self._clear()

    def _clear(self) -> None:
        """Start the next window."""
        self._window = []
        self._volume = 0.0
        self._trades = 0
        self._backfilled = 0
        self._priced_volume = 0.0
        self._notional = 0.0
        self._low = inf
        self._high = 0.0
        self._others: dict[Slot, None] = {}
        self._other_notional = 0.0
        self._other_trust = Trust.SOUND
        for slot in self.slots:
            slot.trades = 0

    def set_wanted(self, *, is_wanted: bool) -> None:
        """Publish and count from now on, or not."""
        super().set_wanted(is_wanted=is_wanted)
        if not is_wanted:
            self._clear()

    @property
    def pending_trades(self) -> int:
        """Trades counted and not yet published."""
        return self._trades

    def on_event(
        self,
        slot: Slot,
        event: Trade,
        now_ns: int,
        wall_ns: int,
        original: MarketData | None = None,
    ) -> Published:
        """Take one trade."""
        ready = self.flush(now_ns, wall_ns) if now_ns >= self.flush_at_ns else NOTHING
        price, quantity = event.price, event.quantity
        if not (0.0 < price < VALUE_MAX and 0.0 < quantity < VALUE_MAX):
            self.refused += 1
            return ready
        source = event if original is None else original
        ts_ns = event.ts_mono_ns or now_ns
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
            if int(event.marks) & _BACKFILLED:
                return (*ready, *self._count_only(slot, event, source, now_ns, wall_ns))
            self._admit(slot, event)
            if slot.conversion is not None:
                price *= slot.rate
        slot.event, slot.ts_ns, slot.price = source, ts_ns, price
        if now_ns > self.expires_ns or slot.is_member is not (not slot.reason):
            self._regroup(now_ns)
        if not slot.is_member:
            return (*ready, *self._count_only(slot, event, source, now_ns, wall_ns))
        self._last_price, self._source_ns = price, ts_ns
        if not self.is_wanted:
            return ready
        self._count(slot, source, price, quantity)
        if now_ns < self._opens_ns and not self._keeps_last:
            return ready
        published = self._offer(now_ns, wall_ns)
        return (*ready, *published) if ready else published

    def _count(self, slot: Slot, source: MarketData, price: float, quantity: float) -> None:
        """Count a trade whose price takes part."""
        self._keep(source)
        self._volume += quantity
        slot.trades += 1
        self._priced_volume += quantity
        self._notional += price * quantity
        if price < self._low:  # noqa: PLR1730 - a call costs five times as much
            self._low = price
        if price > self._high:  # noqa: PLR1730 - likewise
            self._high = price
        if self._spans_venues:
            self._recent.pop(slot, None)
            self._recent[slot] = None

    def _count_only(
        self, slot: Slot, event: Trade, source: MarketData, now_ns: int, wall_ns: int
    ) -> Published:
        """Count a trade whose price takes no part."""
        if not self.is_wanted:
            return NOTHING
        marks = int(event.marks)
        self._keep(source)
        self._volume += event.quantity
        self._backfilled += bool(marks & _BACKFILLED)
        self._others[slot] = None
        self._other_notional += event.price * event.quantity
        trust = Trust.UNSOUND if marks & _SUSPECT else event.trust
        self._other_trust = max(self._other_trust, trust)
        self._source_ns = max(self._source_ns, event.ts_mono_ns or now_ns)
        # It cannot be the first datum of an interval, but its volume must not wait for one.
        return self._offer(now_ns, wall_ns) if self._keeps_last else NOTHING

    def _keep(self, source: MarketData) -> None:
        """Count a trade and keep it for `source_data`, cut to the newest now and then."""
        self._trades += 1
        window = self._window
        window.append(source)
        if len(window) > self._window_max:
            del window[: -self._buffer_size]

    # ── what a strategy sees ──────────────────────────────────────────────────

    @property
    def last_price(self) -> float:
        """The newest price that takes part."""
        return self._last_price

    def latest_prices(self) -> list[float]:
        """Return the price of each venue's latest trade."""
        return [slot.price for slot in self._shown]

    def weighted_price(self) -> float | None:
        """Return the volume-weighted price of the interval's trades, None where it has none."""
        if not self._priced_volume:
            return None
        # An average of equal prices must not differ from them in its last digit.
        return min(max(self._notional / self._priced_volume, self._low), self._high)

    def default_price(self) -> float:
        """Return the volume-weighted price; the newest one where the interval has no trade."""
        weighted = self.weighted_price()
        return self._last_price if weighted is None else weighted

    # ── what goes out ─────────────────────────────────────────────────────────

    def _publish(self, now_ns: int, wall_ns: int) -> Published:
        if not self._trades:
            return NOTHING
        if now_ns > self.expires_ns:
            self._regroup(now_ns)
        if self._priced_volume:
            used = [slot for slot in self.slots if slot.trades]
        elif self.members:
            newest = max(self.members, key=lambda slot: slot.ts_ns)
            self._last_price = newest.price
            used = [newest]
        else:
            return NOTHING  # carried until somebody can be trusted
        # At a late end all may be too old by now: then the interval's own venues have to do.
        self._shown = self.members or used
        if self._spans_venues:
            used = self._shown
        return self._give_out(self._strategy.price(self), used, now_ns, wall_ns)

    def close(self, now_ns: int, wall_ns: int) -> Published:
        """Publish the totals that are left, so that nothing is lost.

        Their price is, in this order: what the strategy makes of them; under a strategy that keeps
        the first datum the price already published; their own average, with the trust it deserves.
        """
        self.flush_at_ns = NEVER_NS
        if not self._keeps_last and self._trades and self._published_price is not None:
            used = [slot for slot in self.slots if slot.trades] or list(self._others)
            return self._give_out(self._published_price, used, now_ns, wall_ns)
        published = self._publish(now_ns, wall_ns)
        if published or not self._trades:
            return published
        price = self._other_notional / self._volume
        return self._give_out(price, list(self._others), now_ns, wall_ns, self._other_trust)

    def _give_out(
        self, price: float, used: list[Slot], now_ns: int, wall_ns: int, trust: Trust | None = None
    ) -> Published:
        """Make the value and start the next window."""
        known = self._standing if used is self.members else standing(used)
        worst, self._integrity, self._is_mismatch = known
        self._trust = (Trust.SOUND if self._sound_only else worst) if trust is None else trust
        exchanges = [slot.exchange for slot in used]
        data = {
            "price": price,
            "volume": self._volume,
            "num_trades": self._trades,
            "num_backfilled": self._backfilled,
            "exchanges": exchanges.copy(),
        }
        sources = self._window
        if self._spans_venues:
            sources = self._with_latest(sources)
        if len(sources) > self._buffer_size:
            del sources[: -self._buffer_size]
        self._published_price = price
        value = self._unified(data, exchanges, sources, self._source_ns, now_ns, wall_ns)
        self._clear()
        return (value,)

    def _with_latest(self, sources: list[MarketData]) -> list[MarketData]:
        """Put the latest trades of the members that had none in this window before it."""
        return [
            slot.event
            for slot in self._recent
            if slot.is_member and not slot.trades and slot.event is not None
        ] + sources
