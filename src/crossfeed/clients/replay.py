"""`Replay`: a recorded journal, played through the same cores, books and aggregator as live."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.books.book import OrderBook
from crossfeed.clients.arguments import check_data_types, check_unified_types
from crossfeed.clients.listening import ALL, Listening
from crossfeed.clients.replay_aggregate import ReplayAggregate
from crossfeed.clients.replay_stats import ReplayStats
from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.journal.reader import Damage
from crossfeed.journal.records import Loss
from crossfeed.model.events import MarketData
from crossfeed.model.ports import Clock
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.delivery import DeliveryMode, EventStream, Router, Subscription
from crossfeed.runtime.pace import Pace
from crossfeed.runtime.player import Player, PlayerHooks
from crossfeed.runtime.reel import NS_MAX, Reel
from crossfeed.runtime.replay import FeedReplay
from crossfeed.runtime.seek import WarmUp, ns_of, warm_up_for

__all__ = ["Replay", "ReplayStats"]

QUEUE_CAPACITY: Final = 100_000
BEHIND_MAX: Final = 50_000
"""Events that may wait for one queued handler or stream before the replay waits for it."""
NEWS_S: Final = 0.05
RUN_RECORDS: Final = 500
PLAY_RECORDS: Final = 1 << 30
BOOK_TYPES: Final = frozenset({ALL, "orderbook_update", "orderbook_snapshot"})


class Replay(Listening):
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
        start: Give out nothing before this wall time: ns, or an aware datetime. As much of what
            came earlier as it takes for books, sequences and trust to stand as they did is played
            silently: since the openings and images of what was up then (see `warm_ups`).
        end: End after this wall time.
        feeds: Play only these feeds; empty: all.
        aggregator: Aggregate on the way; True takes the configuration that was recorded.
        follow: The journal is being written: at its end `run` waits for more, until closed.
        clock: Paces `speed`; default: the system's.

    Attributes:
        pace: Its speed and whether it is paused; both may be set while it runs.
        warm_ups: With `start`: where reading began in each journal, known once it plays.
        warmed_records: Records played silently before `start`.

    Raises:
        ConfigError: A time, speed or combination that cannot work.
    """

    queue_capacity = QUEUE_CAPACITY

    def __init__(
        self,
        *folders: str | Path,
        speed: float = 0.0,
        start: int | datetime = 0,
        end: int | datetime = 0,
        feeds: Collection[str] = (),
        aggregator: AggregatorConfig | bool = False,
        follow: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Check the arguments; nothing is read yet."""
        if not folders:
            raise ConfigError("name at least one journal folder", field="folders")
        self.router = Router()
        self.updates = Router()
        self._start_ns = ns_of(start, "start")
        self._end_ns = ns_of(end, "end") or NS_MAX
        self.pace = Pace(clock or SystemClock(), speed)
        config = aggregator if isinstance(aggregator, AggregatorConfig) else None
        machine = ReplayAggregate(config, self._feeds, self._publish)
        self.aggregate = machine if aggregator else None
        self._players = [Player(folder, _Hooks(self), feeds=feeds) for folder in folders]
        self._streams: list[EventStream] = []
        self._reel: Reel | None = None
        self._follows = follow
        self._is_muted = self._start_ns > 0
        self._updates = 0
        self._is_closed = self._is_over = False
        self.warm_ups: list[WarmUp] = []
        self.warmed_records = 0
        # Counts the events on their way, the compiled one included, without a call into Python.
        self._tally = self.router.subscribe(ALL, ALL, deque[MarketData](maxlen=0).append)

    def __repr__(self) -> str:
        return f"<Replay {self.stats()}>"

    # ── subscribing ─────────────────────────────────────────────────────────

    def on_update(
        self,
        handler: Callable[[UnifiedMarketData], Any],
        data_type: str = ALL,
        symbol: str = ALL,
    ) -> Subscription:
        """Call `handler` with each aggregated value (needs `aggregator`).

        Raises:
            ConfigError: Nothing is aggregated.
            UnsupportedChannelError: No such data type; there are trade, ticker and book_ticker.
        """
        if self.aggregate is None:
            raise ConfigError(
                "nothing is aggregated: Replay(..., aggregator=True)", field="aggregator"
            )
        check_unified_types([data_type])
        return self.updates.subscribe(data_type, symbol, handler)

    def stream(self, *data_types: str, symbol: str = ALL) -> EventStream:
        """Return `async for event in ...`; the replay waits for a reader that falls behind.

        Close what is read no more (`async with` does it).

        Raises:
            UnsupportedChannelError: No event has such a data type.
        """
        check_data_types(data_types)
        stream = self.router.stream(data_types, symbol, capacity=QUEUE_CAPACITY)
        self._streams.append(stream)
        self._listeners_changed()
        return stream

    def _listeners_changed(self) -> None:
        asked = {each.data_type for each in self.router.subscriptions if each is not self._tally}
        deltas = not asked.isdisjoint(BOOK_TYPES)
        for feed in self.feeds.values():
            feed.set_wanted(deltas=deltas, books="book" in asked)

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

    @property
    def names(self) -> list[str]:
        """Names of all feeds met so far, chosen or not."""
        return sorted({name for player in self._players for name in player.names})

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

    def span(self) -> tuple[int, int]:
        """Return the wall times between which events are given out; 0, 0 for an empty journal.

        Raises:
            JournalError: A folder cannot be read.
        """
        spans = [span for player in self._players if (span := player.journal.span())[1]]
        first_ns = min((span[0] for span in spans), default=0)
        last_ns = max((span[1] for span in spans), default=0)
        return max(first_ns, self._start_ns), min(last_ns, self._end_ns)

    @property
    def is_over(self) -> bool:
        """Whether everything has been played."""
        return self._is_over

    @property
    def is_warming(self) -> bool:
        """Whether what lies before `start` is still being played silently."""
        return self._is_muted

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
            events=self._tally.delivered,
            updates=self._updates,
            runs=sum(player.runs for player in self._players),
            interruptions=sum(player.interruptions for player in self._players),
            refused=sum(feed.refused for feed in self.feeds.values()),
            now_ns=self.now_ns,
        )

    # ── playing ─────────────────────────────────────────────────────────────

    def _opened(self) -> Reel:
        """Return what gives out the records; find where to begin on first use."""
        if self._reel is None:
            self.warm_ups = [
                warm_up_for(player.journal, self._start_ns) if self._start_ns else WarmUp()
                for player in self._players
            ]
            first = [each.segment for each in self.warm_ups]
            self._reel = Reel(self._players, first, is_followed=self._follows)
        return self._reel

    def _advance(self, records: int, until_ns: int = NS_MAX) -> int:
        """Play up to `records` records of one block; return how many, 0 if none is left."""
        reel = self._opened()
        if self._is_over:
            return 0
        limit_ns = self._start_ns - 1 if self._is_muted else min(until_ns, self._end_ns)
        taken = reel.take(records, limit_ns)
        if taken is not None and not taken[1] and self._is_muted:
            self._unmute()
            return self._advance(records, until_ns)
        if taken is None or (not taken[1] and limit_ns == self._end_ns):
            self._is_over = not self._follows or taken is not None
            return 0
        player, block = taken
        if self.aggregate is not None and self.aggregate.has_timers:
            for record in block:
                self.aggregate.advance(record.wall_ns, record.mono_ns)
                player.play(record)
        else:
            player.play_all(block)
        return len(block)

    def _unmute(self) -> None:
        """Reach the wanted moment: from here on events are given out."""
        self._is_muted = False
        self.warmed_records = sum(player.records for player in self._players)
        for player in self._players:
            player.turn()

    def play(self) -> ReplayStats:
        """Play everything now, without an event loop: sync handlers only, `speed` is ignored.

        Raises:
            JournalError: A folder cannot be read.
        """
        self.step(PLAY_RECORDS)
        return self.stats()

    def step(self, records: int = 1) -> int:
        """Play the next records now; return how many there were, 0 at the end.

        Raises:
            JournalError: A folder cannot be read.
        """
        played = 0
        while played < records:
            number = self._advance(records - played)
            if not number:
                break
            played += number
        return played

    def next_event(self) -> bool:
        """Play until at least one event is given out; False at the end.

        Raises:
            JournalError: A folder cannot be read.
        """
        before = self._tally.delivered
        while self._tally.delivered == before:
            if not self._advance(PLAY_RECORDS if self._is_muted else 1):
                return False
        return True

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
            while self._advance(PLAY_RECORDS):
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
            while not self._is_closed:
                if not await self._run_some():
                    if self._is_over or not self._follows:
                        break
                    await self.pace.nap(NEWS_S)
        finally:
            await self.close()
        return self.stats()

    async def _run_some(self) -> bool:
        """Play what is due, let everybody else run; False at the end."""
        if self._is_muted or self.pace.is_free:
            is_more = self.step(RUN_RECORDS) > 0
        else:
            is_more = await self._run_paced()
        await self._let_read()
        return is_more

    async def _run_paced(self) -> bool:
        """Wait until the next record is due, then play what is due by then."""
        record = self._opened().next()
        if record is None:
            return False
        due_ns = record.wall_ns if record.flags else await self.pace.wait_for(record.wall_ns)
        return not self._is_closed and self._advance(RUN_RECORDS, due_ns) > 0

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
        self.pace.end()
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
            self.router.publish(event)
        if self.aggregate is not None:
            self.aggregate.on_event(event)

    @property
    def straight(self) -> Router | None:
        """The router, where events may go there without us in between."""
        return None if self._is_muted or self.aggregate is not None else self.router

    def feeds_changed(self) -> None:
        """Learn that a feed began: it is told what is listened to."""
        self._listeners_changed()

    def run_changed(self) -> None:
        """Learn that another run begins: its monotonic times have nothing to do with the last."""
        self.pace.rebase()
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

    @property
    def router(self) -> Router | None:  # type: ignore[override]
        """Straight to the subscribers, unless an aggregator listens or nobody may hear yet."""
        return self._replay.straight

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
