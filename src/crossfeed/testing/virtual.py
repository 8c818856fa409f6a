"""Whole clients in virtual time: hours of a simulated venue in seconds, without a socket or a loop.

```python
world = VirtualWorld(rate_per_s=50, seed=7, faults="default")
feed = world.feed("binance", [("trade", "BTC/USD"), ("book", "BTC/USD")])
world.run(3600)
world.drain()
assert not world.verdict().violations
```
The pure path is the product's own (`PureCore`, `StreamSet`, codecs, freshness, reconnect rules);
the venues are the simulator's session machines. Only what lies between them, sockets and asyncio,
is played here. The same seed and the same calls give the same events.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossfeed.runtime.clock import SystemRandom
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.clock import ManualClock
from crossfeed.simulator.faults import FaultRule, Schedule
from crossfeed.simulator.memory import MemorySimulator
from crossfeed.testing.checker import (
    BookVerdict,
    Fault,
    NumberedVerdict,
    Violation,
    judge_books,
    judge_numbered,
)
from crossfeed.testing.checker_truth import MarketTruth
from crossfeed.testing.virtual_feed import VirtualFeed

__all__ = ["VirtualWorld", "WorldVerdict"]

NS: Final = 1_000_000_000
VENUES: Final = ("binance", "coinbase", "coinbase_advanced", "kraken")
START_MONO_NS: Final = 1_000 * NS


class WorldVerdict(Struct):
    """What the judge says of all feeds of a world.

    Attributes:
        streams: (feed, symbol) -> verdict on its trades.
        books: (feed, symbol) -> verdict on its book.
        violations: Everything that was wrong, in words, with feed and symbol before it.
    """

    streams: dict[tuple[str, str], NumberedVerdict] = {}
    books: dict[tuple[str, str], BookVerdict] = {}
    violations: list[str] = []
    count: int = 0

    def total(self, name: str) -> int:
        """Return the sum of one figure over all numbered streams."""
        return sum(getattr(verdict, name) for verdict in self.streams.values())

    def of(self, fault: Fault) -> int:
        """Return how many of the violations kept in words are of one sort."""
        judged: tuple[NumberedVerdict | BookVerdict, ...] = (
            *self.streams.values(),
            *self.books.values(),
        )
        return sum(one.fault is fault for each in judged for one in each.violations)

    def add(self, feed: str, symbol: str, found: Sequence[Violation], number: int) -> None:
        """Note violations."""
        self.count += number
        self.violations += [f"{feed} {symbol}: {one.fault}: {one.detail}" for one in found]


class WorldClock:
    """The clients' clock, for what asks for one. Made by the world."""

    def __init__(self, world: VirtualWorld) -> None:
        """Show the time of `world`."""
        self._world = world

    def now_ns(self) -> int:
        """Return wall time."""
        return self._world.now_ns()

    def monotonic_ns(self) -> int:
        """Return monotonic time."""
        return self._world.mono_ns()

    async def sleep(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            AssertionError: Nothing that waits lives in this world.
        """
        raise AssertionError(f"nobody sleeps {seconds} s in virtual time")


class VirtualWorld:
    """Simulated venues and clients under one clock that stands until `run` moves it.

    Attributes:
        room: The venues.
        feeds: The clients, by name.
        wall: Their clock, for recorders.
        wall_jump_ns: Added to the clients' wall clock (fault K01).
    """

    def __init__(
        self,
        venues: Sequence[str] = VENUES,
        symbols: Sequence[str] = ("BTC/USD", "ETH/USD"),
        *,
        rate_per_s: float | Mapping[str, float] = 20.0,
        seed: int = 1,
        faults: str | Path | Schedule | Sequence[FaultRule] | None = None,
        tick_s: float = 0.1,
        round_trip_s: float = 0.01,
        orders_wanted: int = 60,
    ) -> None:
        """Build the venues; no client yet.

        Args:
            venues: Names of venues.
            symbols: Unified symbols.
            rate_per_s: Market actions a second per venue.
            seed: Same seed, same world.
            faults: As for `Simulator`, or a list of rules.
            tick_s: How often the clients' timers run (the product: ten times a second).
            round_trip_s: Of a REST request or a handshake.
            orders_wanted: Resting orders per market.
        """
        if isinstance(faults, Sequence) and not isinstance(faults, str):
            faults = Schedule(fault=tuple(faults))
        self.clock = ManualClock()
        self.seed = seed
        self.room = MemorySimulator(
            tuple(venues),
            tuple(symbols),
            rate_per_s=rate_per_s,
            seed=seed,
            faults=faults,
            clock=self.clock,
            orders_wanted=orders_wanted,
        )
        self.feeds: dict[str, VirtualFeed] = {}
        self.wall_jump_ns = 0
        self.half_trip_ns = round(round_trip_s * NS / 2)
        self.wall = WorldClock(self)
        self._start_ns = self.clock.now_ns()
        self._tick_ns = round(tick_s * NS)
        self._tick_due_ns = self._start_ns + self._tick_ns
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._truths: dict[tuple[str, str], MarketTruth] = {}
        self._books: dict[tuple[str, str], BookVerdict] = {}
        self._look_due_ns = self._start_ns
        #: Distance of the looks at all books; 0: only by hand.
        self.look_ns = round(0.5 * NS)

    # ── time ────────────────────────────────────────────────────────────────

    def now_ns(self) -> int:
        """Return the clients' wall time, ns since 1970 UTC."""
        return self.clock.now_ns() + self.wall_jump_ns

    def mono_ns(self) -> int:
        """Return the clients' monotonic time, ns."""
        return self.clock.now_ns() - self._start_ns + START_MONO_NS

    def after(self, delay_ns: int, task: Callable[[], None]) -> None:
        """Do something later, in the clients' world."""
        due_ns = self.clock.now_ns() + max(0, delay_ns)
        heapq.heappush(self._agenda, (due_ns, next(self._order), task))

    def run(self, seconds: float) -> None:
        """Let time pass for venues and clients."""
        end_ns = self.clock.now_ns() + round(seconds * NS)
        while self._step(end_ns):
            pass

    def _step(self, end_ns: int) -> bool:
        """Go to the next moment at which anything can happen; False at the end."""
        venues_ns = self.room.simulator.world.scheduler.next_due_ns()
        due_ns = min(end_ns, self._tick_due_ns, end_ns if venues_ns is None else venues_ns)
        if self._agenda:
            due_ns = min(due_ns, self._agenda[0][0])
        now_ns = self.clock.now_ns()
        if due_ns <= now_ns:  # something was made due at once by what a client sent
            due_ns = now_ns
            self.room.simulator.world.step(now_ns)
        self.room.advance_to(due_ns)
        for feed in self.feeds.values():
            feed.pump()
        while self._agenda and self._agenda[0][0] <= due_ns:
            heapq.heappop(self._agenda)[2]()
        if due_ns >= self._tick_due_ns:
            self._tick_due_ns += self._tick_ns
            for feed in self.feeds.values():
                feed.tick()
            if self.look_ns and due_ns >= self._look_due_ns:
                self._look_due_ns = due_ns + self.look_ns
                self.look()
        return due_ns < end_ns

    def freeze(self, seconds: float) -> None:
        """Stop the clients for a while (SIGSTOP): venues go on, nothing is read, no timer runs."""
        self.room.advance(round(seconds * NS))
        self._tick_due_ns = max(self._tick_due_ns, self.clock.now_ns())

    def drain(self, *, grace_s: float = 8.0, limit_s: float = 20.0, rest_s: float = 30.0) -> None:
        """End the faults, let every loss show itself, and let the clients finish their repairs."""
        self.room.simulator.begin_drain(grace_s=grace_s, limit_s=limit_s)
        for _ in range(round(grace_s + limit_s + 10)):
            self.run(1.0)
            if self.room.simulator.is_drained:
                break
        left_s = rest_s
        while left_s > 0 and any(feed.open_holes() for feed in self.feeds.values()):
            self.run(1.0)
            left_s -= 1.0
        self.look()

    # ── clients ─────────────────────────────────────────────────────────────

    def feed(
        self,
        venue: str,
        requests: Sequence[tuple[str, str]],
        *,
        settings: FeedSettings | None = None,
        name: str = "",
        recorder: Recorder | None = None,
    ) -> VirtualFeed:
        """Start a client of one venue.

        Args:
            venue: The venue.
            requests: (kind, unified or venue symbol) each.
            settings: How it runs; `lines=2` gives two connections.
            name: Its name if it is not the only one of its venue.
            recorder: Records what enters it; made with `self.wall` as its clock.
        """
        name = name or venue
        assert name not in self.feeds, f"there is a feed {name!r} already"
        random = SystemRandom(zlib.crc32(f"{self.seed}/{name}".encode()))
        tap = None if recorder is None else recorder.tap(name)
        feed = VirtualFeed(self, venue, requests, settings or FeedSettings(), random, tap)
        for symbol in feed.symbols():
            self.truth(venue, symbol)
        self.feeds[name] = feed
        feed.open()
        return feed

    def truth(self, venue: str, symbol: str) -> MarketTruth:
        """Return what the venue makes of a symbol; watched from the first call on."""
        key = venue, symbol
        found = self._truths.get(key)
        if found is None:
            exchange = self.room.simulator.exchanges[venue]
            unified = exchange.instruments[symbol].unified
            found = MarketTruth(self.room.simulator.world, exchange.owner, unified)
            self._truths[key] = found
        return found

    # ── judging ─────────────────────────────────────────────────────────────

    def look(self) -> None:
        """Look at all books of all clients now, and judge them while the truth is fresh."""
        for name, feed in self.feeds.items():
            for symbol, seen in feed.look():
                truth = self.truth(feed.venue.name, symbol)
                judge_books(truth, (seen,), self._books.setdefault((name, symbol), BookVerdict()))

    def verdict(self, *, may_be_open: bool = False) -> WorldVerdict:
        """Judge everything that all clients gave out so far."""
        verdict = WorldVerdict()
        for name, feed in self.feeds.items():
            for (_, symbol), records in feed.recording.numbered.items():
                truth = self.truth(feed.venue.name, symbol)
                one = judge_numbered(truth.epochs, records, may_be_open=may_be_open)
                verdict.streams[name, symbol] = one
                verdict.add(name, symbol, one.violations, one.count)
        for (name, symbol), book in self._books.items():
            verdict.books[name, symbol] = book
            verdict.add(name, f"{symbol} book", book.violations, book.count)
        return verdict
