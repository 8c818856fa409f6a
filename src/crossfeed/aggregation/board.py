"""What the three data types share: who takes part, and when something is published."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from msgspec import Struct

from crossfeed.aggregation.slot import NEVER_NS, Admission, Slot
from crossfeed.aggregation.strategies.base import Strategy
from crossfeed.model.events import MarketData
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.model.unified import Excluded, UnifiedMarketData

__all__ = ["NOTHING", "Board", "BoardRules", "Published", "standing"]

Published = Sequence[UnifiedMarketData]
"""What one step gives: nothing, one value, or two where an overdue one comes first."""

NOTHING: Final[Published] = ()

_HISTORY: Final = int(Mark.HISTORY)
_BACKFILLED: Final = int(Mark.BACKFILLED)
_from_timestamp = datetime.fromtimestamp


class BoardRules(Struct, frozen=True, kw_only=True):
    """What a board is told.

    Attributes:
        admission: Which values take part.
        strategy: How prices are combined.
        interval_ns: Least distance between two publications.
        buffer_size: Most events handed on as `source_data`.
    """

    admission: Admission
    strategy: Strategy
    interval_ns: int
    buffer_size: int


class Board(ABC):
    """The venues of one (symbol, data type). Made by the `Aggregator`, one per pair.

    Who takes part: `members`. The grouping is kept between events and made anew when a slot's
    standing changed or a member may have passed its age limit (`expires_ns`, a lower bound), so an
    ordinary event costs a few comparisons.

    When: a value is published at once if the interval since the last one is over. Otherwise the
    board is due when the interval ends (`flush_at_ns`) and then publishes what is the latest; under
    a strategy that keeps only the first datum nothing is due.

    Attributes:
        symbol: Unified symbol.
        slots: All venues, in configured order.
        members: Those that take part, as of the last grouping.
        age_limit_ns: A venue's value older than this takes no part.
        is_wanted: False keeps the values up to date without publishing or counting.
        refused: Events with values that no market can have.
        ignored: Events from before the subscription, or from a worse source than the one in use.
        published: Values published.
    """

    data_type: ClassVar[str]
    is_watched: ClassVar[bool] = True
    """Whether a venue that passes its age limit changes what was published."""

    def __init__(
        self,
        symbol: str,
        slots: Sequence[Slot],
        rules: BoardRules,
        schedule: Callable[[int, Board], None],
    ) -> None:
        """Start empty. `schedule(due_ns, board)` asks for `on_due` at that monotonic time."""
        self.symbol = symbol
        self.slots = tuple(slots)
        self.members: list[Slot] = []
        self.is_wanted = True
        self.refused = self.ignored = self.published = 0
        self.flush_at_ns = NEVER_NS
        self.expires_ns = NEVER_NS
        self.age_limit_ns = rules.admission.age_limit_ns
        self._admission = rules.admission
        self._strategy = rules.strategy
        self._keeps_last = rules.strategy.keeps_last
        self._interval_ns = rules.interval_ns
        self._buffer_size = rules.buffer_size
        self._schedule = schedule
        self._opens_ns = -NEVER_NS
        self._watch_at_ns = NEVER_NS
        self._exchanges: list[str] = []
        self._left_out: list[tuple[Slot, str]] = [(slot, "no_data") for slot in slots]
        self._standing = standing(())
        self._trust, self._integrity, self._is_mismatch = self._standing

    # ── what comes in ─────────────────────────────────────────────────────────

    @abstractmethod
    def on_event(
        self,
        slot: Slot,
        event: Any,  # noqa: ANN401 - the one event type of the board, chosen by the routing
        now_ns: int,
        wall_ns: int,
        original: MarketData | None = None,
    ) -> Published:
        """Take one event of `slot`'s venue; return what is to be published.

        Args:
            slot: The venue's place.
            event: Of the type this board is made of.
            now_ns: Monotonic time, never falling.
            wall_ns: Wall time, for the stamp.
            original: The hand-made event that `event` was read from; goes to `source_data` instead.
        """

    def on_trust(self, slot: Slot, trust: Trust, now_ns: int, wall_ns: int) -> Published:
        """Take a change of trust in `slot`'s stream.

        A value from before a break does not come back with the stream: the venue takes part again
        with its next event. A stream that was quiet, and is known to be alive, keeps its value.
        """
        if trust <= Trust.STALE < slot.trust:
            slot.event = None
        slot.trust = trust
        return self._judged(slot, now_ns, wall_ns)

    def on_withdrawn(self, slot: Slot, now_ns: int, wall_ns: int) -> Published:
        """Take back a slot's value: the venue takes part again with its next event."""
        slot.event = None
        return self._judged(slot, now_ns, wall_ns)

    def _judged(self, slot: Slot, now_ns: int, wall_ns: int) -> Published:
        if not slot.judge(self._admission):
            return NOTHING
        return self._changed(now_ns, wall_ns) if self._regroup(now_ns) else NOTHING

    def on_rate_lost(self, now_ns: int, wall_ns: int) -> Published:
        """Look again who takes part: a rate between currencies is not known any more."""
        return self._changed(now_ns, wall_ns) if self._regroup(now_ns) else NOTHING

    def on_due(self, now_ns: int, wall_ns: int) -> Published:
        """Do what is due at `now_ns`; harmless when nothing is."""
        ready = NOTHING
        if now_ns >= self._watch_at_ns:
            self._watch_at_ns = NEVER_NS
            if now_ns > self.expires_ns and self._regroup(now_ns):
                ready = self._changed(now_ns, wall_ns)
            self._watch()
        if now_ns >= self.flush_at_ns:
            ready = (*ready, *self.flush(now_ns, wall_ns))
        return ready

    def flush(self, now_ns: int, wall_ns: int) -> Published:
        """Publish what waits for the end of its interval, now."""
        if self.flush_at_ns == NEVER_NS:
            return NOTHING
        self.flush_at_ns = NEVER_NS
        if now_ns > self.expires_ns:
            self._regroup(now_ns)
        return self._publish(now_ns, wall_ns)

    def close(self, now_ns: int, wall_ns: int) -> Published:
        """Publish what is still held back; the board is not used after."""
        return self.flush(now_ns, wall_ns)

    def set_wanted(self, *, is_wanted: bool) -> None:
        """Publish from now on, or not; what waits for the end of an interval is dropped then."""
        self.is_wanted = is_wanted
        if not is_wanted:
            self.flush_at_ns = NEVER_NS

    # ── who takes part ────────────────────────────────────────────────────────

    def _admit(self, slot: Slot, event: MarketData, *, is_crossed: bool = False) -> None:
        """Take over what an event says of its stream, where it differs from what the slot has."""
        if slot.conversion is not None:
            slot.use_rate()
        is_other = slot.trust is not event.trust or slot.integrity is not event.integrity
        slot.trust, slot.integrity, slot.marks = event.trust, event.integrity, event.marks
        slot.is_crossed = is_crossed
        slot.event = event
        if slot.judge(self._admission) or is_other:
            self.expires_ns = -NEVER_NS  # group anew

    def _is_history(self, event: MarketData) -> bool:
        """Say whether an event happened before the subscription, and is no repair of a gap."""
        marks = int(event.marks)
        return bool(marks & _HISTORY) and not marks & _BACKFILLED

    def _regroup(self, now_ns: int) -> bool:
        """Decide anew who takes part at `now_ns`; say whether that changed."""
        limit_ns = self.age_limit_ns
        before = self.members
        members: list[Slot] = []
        self._left_out = []
        for slot in self.slots:
            reason = slot.reason_at(now_ns, limit_ns)
            slot.is_member = not reason
            if reason:
                self._left_out.append((slot, reason))
            else:
                members.append(slot)
        self.members = members
        self._exchanges = [slot.exchange for slot in members]
        self._standing = standing(members)
        self._trust, self._integrity, self._is_mismatch = self._standing
        self.expires_ns = min((s.fresh_until_ns(limit_ns) for s in members), default=NEVER_NS)
        self._watch()
        return members != before

    def _watch(self) -> None:
        """Have the age limits looked at again when the first member may pass its own."""
        if self.is_watched and self.members:
            due_ns = 1 + min(slot.fresh_until_ns(self.age_limit_ns) for slot in self.members)
            if due_ns < self._watch_at_ns:
                self._watch_at_ns = due_ns
                self._schedule(due_ns, self)

    # ── when something is published ───────────────────────────────────────────

    def _offer(self, now_ns: int, wall_ns: int) -> Published:
        """Publish now if the interval is over, else when it ends."""
        if now_ns >= self._opens_ns:
            return self._publish(now_ns, wall_ns)
        if self.flush_at_ns == NEVER_NS:
            self.flush_at_ns = self._opens_ns
            self._schedule(self.flush_at_ns, self)
        return NOTHING

    def _changed(self, now_ns: int, wall_ns: int) -> Published:
        """Publish because a venue left without a datum: the last value is no longer true."""
        if not (self.is_watched and self.is_wanted and self.members and self.published):
            return NOTHING
        return self._offer(now_ns, wall_ns)

    @abstractmethod
    def _publish(self, now_ns: int, wall_ns: int) -> Published:
        """Publish the value at hand; nothing where there is none."""

    def _unified(
        self,
        data: dict[str, Any],
        exchanges: list[str],
        sources: list[MarketData],
        source_ns: int,
        now_ns: int,
        wall_ns: int,
    ) -> UnifiedMarketData:
        """Make the value, start the next interval."""
        self._opens_ns = now_ns + self._interval_ns
        self.flush_at_ns = NEVER_NS
        self.published += 1
        return UnifiedMarketData(
            symbol=self.symbol,
            data_type=self.data_type,
            # Whole microseconds are below 2**53: they come back from the division unchanged.
            timestamp=_from_timestamp(wall_ns // 1000 / 1e6, UTC),
            exchanges=exchanges,
            data=data,
            source_data=sources,
            excluded=self._excluded(now_ns, exchanges) if self._left_out else (),
            trust=self._trust,
            integrity=self._integrity,
            quote_mismatch=self._is_mismatch,
            ts_mono_ns=now_ns,
            ts_source_mono_ns=source_ns,
        )

    def _excluded(self, now_ns: int, exchanges: list[str]) -> tuple[Excluded, ...]:
        return tuple(
            Excluded(slot.exchange, reason, slot.age_s(now_ns))
            for slot, reason in self._left_out
            if slot.exchange not in exchanges
        )

    def __repr__(self) -> str:
        """Return symbol, kind and who takes part."""
        taking = ", ".join(self._exchanges) or "nobody"
        return f"{type(self).__name__}({self.symbol}, {taking}, {self.published} published)"


def standing(slots: Sequence[Slot]) -> tuple[Trust, Integrity, bool]:
    """Return the worst trust, the weakest integrity and whether quote currencies are mixed."""
    if not slots:
        return Trust.SOUND, Integrity.NONE, False
    if len(slots) == 1:
        return slots[0].trust, slots[0].integrity, False
    trust = max([slot.trust for slot in slots])
    integrity = min([slot.integrity for slot in slots])
    return trust, integrity, len({slot.quote for slot in slots}) > 1
