"""`Replay`: a recorded journal, played through the same cores, books and aggregator as live."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from msgspec import Struct

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.books.book import OrderBook
from crossfeed.clients.replay_aggregate import ReplayAggregate
from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.journal.reader import Damage
from crossfeed.journal.records import Loss, Record
from crossfeed.model.events import MarketData
from crossfeed.model.ports import Clock
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.delivery import DeliveryMode, EventStream, Router, Subscription
from crossfeed.runtime.player import Player, PlayerHooks
from crossfeed.runtime.queues import OverflowPolicy
from crossfeed.runtime.replay import FeedReplay

__all__ = ["Replay", "ReplayStats"]

ALL: Final = "*"
QUEUE_CAPACITY: Final = 100_000
AHEAD_S: Final = 0.001
"""Records due within this time are played at once."""
PAUSE_S_MAX: Final = 0.25
"""Longest wait between two looks whether the replay has been closed."""
BEHIND_MAX: Final = 50_000
"""Events that may wait for one queued handler or stream before the replay waits for it."""
RUN_RECORDS: Final = 500
EVENTS_RECORDS: Final = 2_000
PLAY_RECORDS: Final = 1 << 30
NS: Final = 1_000_000_000
NS_MAX: Final = (1 << 63) - 1
Handler = TypeVar("Handler", bound=Callable[..., Any])


class ReplayStats(Struct, frozen=True, kw_only=True):
    """How a replay stands.

    Attributes:
        records: Records played.
        events: Events given out.
        updates: Aggregated values given out.
        runs: Runs of the recorder met.
        interruptions: Times the streams were told that records are missing.
        refused: Records that could not be played.
        now_ns: Recorded wall time.
    """

    records: int
    events: int
    updates: int
    runs: int
    interruptions: int
    refused: int
    now_ns: int


class Replay:
    """Plays one or more journals; the same callbacks as `VenueClient`.

    ```python
    replay = Replay("recording", speed=10)
    replay.on("trade", print)
    await replay.run()
    ```
    Several folders are merged by receive time. With `aggregator` an aggregator runs on top, its
    timers driven by the recorded time: those of the recorded one where there was one. All calls
    belong to one event loop (or one thread, with `events`, `step` and `play`).

    Args:
        folders: The journals' folders.
        speed: 1 plays as fast as it was recorded, 10 ten times; 0 as fast as possible.
        start: Give out nothing before this wall time: ns, or an aware datetime. What came earlier
            in that run of the recorder is played silently, so that books and trust stand as they
            did.
        end: End after this wall time.
        feeds: Play only these feeds; empty: all.
        aggregator: Aggregate on the way; True takes the configuration that was recorded.
        clock: Paces `speed`; default: the system's.

    Raises:
        ConfigError: A time, speed or combination that cannot work.
    """

    def __init__(
        self,
        *folders: str | Path,
        speed: float = 0.0,
        start: int | datetime = 0,
        end: int | datetime = 0,
        feeds: Collection[str] = (),
        aggregator: AggregatorConfig | bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Check the arguments; nothing is read yet."""
        if not folders:
            raise ConfigError("name at least one journal folder", field="folders")
        if not 0 <= speed < float("inf"):
            raise ConfigError(f"{speed!r} is no speed: 0 or more", field="speed")
        self.router = Router()
        self.updates = Router()
        self.speed = speed
        self._start_ns = _ns(start, "start")
        self._end_ns = _ns(end, "end") or NS_MAX
        self._clock = clock or SystemClock()
        config = aggregator if isinstance(aggregator, AggregatorConfig) else None
        self.aggregate = ReplayAggregate(config, self._feeds, self._publish) if aggregator else None
        self._players = [Player(folder, _Hooks(self), feeds=feeds) for folder in folders]
        self._streams: list[EventStream] = []
        self._cursor: Iterator[tuple[Player, Record]] | None = None
        self._is_muted = self._start_ns > 0
        self._events = self._updates = 0
        self._is_closed = False
        self._base: tuple[int, int] | None = None

    def __repr__(self) -> str:
        """Return a status line."""
        stats = self.stats()
        return f"<Replay {stats.records} records, {stats.events} events at {stats.now_ns} ns>"

    # ── subscribing ─────────────────────────────────────────────────────────

    def on(self, data_type: str, handler: Handler, symbol: str = ALL) -> Handler:
        """Call `handler` with each event of `data_type` ("trade", "gap", "feed_status", "*")."""
        self.add_handler(data_type, handler, symbol)
        return handler

    def add_handler(
        self,
        data_type: str,
        handler: Callable[..., Any],
        symbol: str = ALL,
        *,
        mode: DeliveryMode | None = None,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> Subscription:
        """Subscribe `handler` with a mode of delivery; the returned subscription can be closed."""
        subscription = self.router.subscribe(
            data_type, symbol, handler, mode=mode, capacity=capacity, policy=policy
        )
        self._refresh_wanted()
        return subscription

    def on_gap(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call `handler` with each `Gap`."""
        self.on("gap", handler)
        return handler

    def on_feed_status(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call `handler` with each `FeedStatus`."""
        self.on("feed_status", handler)
        return handler

    def on_error(self, handler: Callable[[BaseException], Any]) -> Callable[[BaseException], Any]:
        """Call `handler` with every error of a subscriber."""
        self.router.on_error(handler)
        return handler

    def on_update(
        self,
        handler: Callable[[UnifiedMarketData], Any],
        data_type: str = ALL,
        symbol: str = ALL,
    ) -> Subscription:
        """Call `handler` with each aggregated value (needs `aggregator`)."""
        return self.updates.subscribe(data_type, symbol, handler)

    def stream(self, *data_types: str, symbol: str = ALL) -> EventStream:
        """Return `async for event in ...`; the replay waits for a reader that falls behind.

        Close what is read no more (`async with` does it).
        """
        stream = self.router.stream(data_types, symbol, capacity=QUEUE_CAPACITY)
        self._streams.append(stream)
        self._refresh_wanted()
        return stream

    def _refresh_wanted(self) -> None:
        router = self.router
        deltas = router.wants("orderbook_update") or router.wants("orderbook_snapshot")
        for feed in self.feeds.values():
            feed.set_wanted(deltas=deltas, books=router.wants("book"))

    # ── what stands now ─────────────────────────────────────────────────────

    @property
    def feeds(self) -> dict[str, FeedReplay]:
        """The feeds of the present run by name: their gap ledgers, streams and instruments."""
        return {
            (name if len(self._players) == 1 else f"{number}:{name}"): feed
            for number, player in enumerate(self._players)
            for name, feed in player.feeds.items()
        }

    def _feeds(self) -> list[FeedReplay]:
        return list(self.feeds.values())

    def book(self, feed: str, symbol: str) -> OrderBook:
        """Return the book of a symbol as it stood at this moment.

        Raises:
            UnknownSymbolError: No book of it was recorded.
        """
        found = self.feeds.get(feed)
        book = None
        if found is not None:
            book = found.streams.book(found.instrument(symbol).symbol)
        if book is None:
            raise UnknownSymbolError(f"the journal holds no book of {symbol!r} from {feed!r}")
        return book

    @property
    def now_ns(self) -> int:
        """Recorded wall time, ns."""
        return max(player.now_ns for player in self._players)

    @property
    def losses(self) -> list[Loss]:
        """What the journals themselves say they lack, as far as they were played."""
        return [loss for player in self._players for loss in player.losses]

    @property
    def damages(self) -> list[Damage]:
        """What could not be read, in the segments played to their end."""
        return [damage for player in self._players for damage in player.damages]

    def stats(self) -> ReplayStats:
        """Return how the replay stands."""
        return ReplayStats(
            records=sum(player.records for player in self._players),
            events=self._events,
            updates=self._updates,
            runs=sum(player.runs for player in self._players),
            interruptions=sum(player.interruptions for player in self._players),
            refused=sum(feed.refused for feed in self.feeds.values()),
            now_ns=self.now_ns,
        )

    # ── playing ─────────────────────────────────────────────────────────────

    def _blocks(self) -> Iterator[Iterable[tuple[Player, Record]]]:
        """Yield the records in order: block by block, or merged by time for several journals."""
        sources = [self._source(player) for player in self._players]
        if len(sources) == 1:
            yield from sources[0]
            return
        flat = (_timed(source) for source in sources)
        for _, _, pair in heapq.merge(*flat, key=lambda moment: moment[:2]):
            yield (pair,)

    def _source(self, player: Player) -> Iterator[list[tuple[Player, Record]]]:
        first = player.first_segment_for(self._start_ns) if self._start_ns else 0
        for block in player.blocks(first_segment=first):
            yield [(player, record) for record in block]

    def _play(self, player: Player, record: Record) -> bool:
        """Play one record; False at the end of what was asked for."""
        if record.wall_ns > self._end_ns and record.flags == 0:
            return False
        if self._is_muted and record.wall_ns >= self._start_ns and record.flags == 0:
            self._is_muted = False
        if self.aggregate is not None:
            self.aggregate.advance(record.wall_ns, record.mono_ns)
        player.play(record)
        return True

    def play(self) -> ReplayStats:
        """Play everything now, without an event loop: sync handlers only, `speed` is ignored.

        Raises:
            JournalError: A folder cannot be read.
        """
        while self.step(PLAY_RECORDS):
            pass
        return self.stats()

    def step(self, records: int = 1) -> int:
        """Play the next records now; return how many there were, 0 at the end.

        Raises:
            JournalError: A folder cannot be read.
        """
        if self._cursor is None:
            self._cursor = (pair for block in self._blocks() for pair in block)
        played = 0
        for player, record in self._cursor:
            if not self._play(player, record):
                self._cursor = iter(())
                break
            played += 1
            if played >= records:
                break
        return played

    def events(self, *data_types: str, symbol: str = ALL) -> Iterator[Any]:
        """Play and yield the events of `data_types` (none: all of them), without an event loop.

        Raises:
            JournalError: A folder cannot be read.
        """
        found: list[Any] = []
        made = [
            self.add_handler(kind, found.append, symbol, mode=DeliveryMode.INLINE)
            for kind in data_types or (ALL,)
        ]
        try:
            while self.step(EVENTS_RECORDS):
                batch, found[:] = list(found), []
                yield from batch
        finally:
            for subscription in made:
                subscription.close()

    async def run(self) -> ReplayStats:
        """Play to the end at `speed`, or until closed; async handlers and streams keep up.

        Raises:
            JournalError: A folder cannot be read.
        """
        self.router.start()
        self.updates.start()
        try:
            while not self._is_closed and await self._run_some():
                pass
        finally:
            await self.close()
        return self.stats()

    async def _run_some(self) -> bool:
        """Play what is due, let everybody else run; False at the end."""
        if not self.speed or self._is_muted:
            is_more = self.step(RUN_RECORDS) > 0
        else:
            is_more = await self._run_paced()
        await self._let_read()
        return is_more

    async def _run_paced(self) -> bool:
        if self._cursor is None:
            self._cursor = (pair for block in self._blocks() for pair in block)
        pair = next(self._cursor, None)
        if pair is None:
            return False
        player, record = pair
        if record.flags == 0:
            await self._wait_for(record)
        return not self._is_closed and self._play(player, record)

    async def _wait_for(self, record: Record) -> None:
        """Wait until a record is due. Pauses between runs are not waited for."""
        clock_ns = self._clock.monotonic_ns()
        if self._base is None or record.wall_ns < self._base[0]:
            self._base = (record.wall_ns, clock_ns)
        due_ns = self._base[1] + round((record.wall_ns - self._base[0]) / self.speed)
        while (left_s := (due_ns - self._clock.monotonic_ns()) / NS) > AHEAD_S:
            if self._is_closed:
                return
            await self._clock.sleep(min(left_s, PAUSE_S_MAX))

    async def _let_read(self) -> None:
        """Give the loop a turn; wait for queued handlers and streams that have fallen behind."""
        await asyncio.sleep(0)
        while not self._is_closed and (  # noqa: ASYNC110 - what they wait for is their reader
            any(subscription.waiting > BEHIND_MAX for subscription in self.router.subscriptions)
            or any(stream.waiting > BEHIND_MAX for stream in self._streams if stream.is_open)
        ):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """End the replay; queued events are handed over first. Closing twice is harmless."""
        self._is_closed = True
        await self.router.close()
        await self.updates.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    # ── what the players tell ───────────────────────────────────────────────

    def give(self, event: MarketData) -> None:
        """Deliver one event, and let the aggregator have it."""
        if not self._is_muted:
            self._events += 1
            self.router.publish(event)
        if self.aggregate is not None:
            self.aggregate.on_event(event)

    def feeds_changed(self) -> None:
        """Learn that a feed began: it is told what is listened to."""
        self._refresh_wanted()

    def run_changed(self) -> None:
        """Learn that another run begins: its monotonic times have nothing to do with the last."""
        self._base = None
        if self.aggregate is not None:
            self.aggregate.reset()

    def _publish(self, values: Iterable[UnifiedMarketData]) -> None:
        if self._is_muted:
            return
        for value in values:
            self._updates += 1
            self.updates.publish(value)


class _Hooks(PlayerHooks):
    """Leads what a player tells to its replay."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        # The data path: no call of our own in between.
        self.on_event = replay.give  # type: ignore[method-assign]

    def on_feed(self, feed: FeedReplay) -> None:
        """A feed begins: tell it what is listened to."""
        del feed
        self._replay.feeds_changed()

    def on_aggregator(self, config: dict[str, Any]) -> None:
        """An aggregator was recorded."""
        if self._replay.aggregate is not None:
            self._replay.aggregate.adopt(config)

    def on_aggregator_stop(self) -> None:
        """It was about to be stopped."""
        if self._replay.aggregate is not None:
            self._replay.aggregate.stop()

    def on_aggregator_timer(self, now_ns: int, mono_ns: int, *, is_end: bool) -> None:
        """Its timers ran, for the last time with `is_end`."""
        if self._replay.aggregate is not None:
            self._replay.aggregate.on_timer(now_ns, mono_ns, is_end=is_end)

    def on_run(self) -> None:
        """Monotonic times start anew: the aggregator too."""
        self._replay.run_changed()


def _timed(
    source: Iterator[list[tuple[Player, Record]]],
) -> Iterator[tuple[int, int, tuple[Player, Record]]]:
    """Yield records with the latest wall time so far: a clock set back does not reorder them."""
    newest_ns = 0
    for block in source:
        for number, (player, record) in enumerate(block):
            if record.flags == 0:
                newest_ns = max(newest_ns, record.wall_ns)
            yield newest_ns, number, (player, record)


def _ns(moment: int | datetime, field: str) -> int:
    """Return a moment as ns since 1970.

    Raises:
        ConfigError: A naive datetime, or before 1970.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ConfigError("give an aware datetime (with a time zone)", field=field)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        moment = (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1_000
    if moment < 0:
        raise ConfigError("must not be before 1970", field=field)
    return moment
