"""`MarketDataAggregator`: several venues' clients, one view."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import DATA_TYPES, AggregatorConfig
from crossfeed.aggregation.consolidated import ConsolidatedBook
from crossfeed.clients.arguments import check_instance, check_unified_types
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import (
    ConfigError,
    ConnectFailedError,
    CrossfeedError,
    UnknownSymbolError,
)
from crossfeed.model.events import MarketData
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.model.status import FeedStatus
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.clock import SystemClock, SystemRandom
from crossfeed.runtime.delivery import DeliveryMode, EventStream, Router, Subscription
from crossfeed.runtime.queues import OverflowPolicy
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.tasks import TaskOwner

__all__ = ["MarketDataAggregator"]

log = logging.getLogger("crossfeed.aggregator")

ALL: Final = "*"
TIMER_S_MIN: Final = 0.002
TIMER_S_MAX: Final = 0.05
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 30.0
FEED_TYPES: Final = ("trade", "ticker", "book_ticker", "gap")
QUEUE_CAPACITY: Final = 10_000


class MarketDataAggregator:
    """One view over several venues.

    ```python
    aggregator = MarketDataAggregator(
        AggregatorConfig(exchanges=["binance", "coinbase"], symbols=[...])
    )
    aggregator.subscribe("*", "book_ticker", show)
    await aggregator.start()
    ```

    `start()` connects, `stop()` ends everything; it may be started again. All calls belong to one
    event loop. What the data types need at each venue is subscribed by itself.

    Args:
        config: Venues, symbols, strategy.
        venues: Settings of single venues, by name.
        clock: Source of time; default: the system's.
        random: Source of jitter; default: the system's.
        recorder: Where everything that comes in is recorded; default: nowhere.

    Attributes:
        clients: The venues' clients by name.

    Raises:
        ConfigError: A venue or symbol that does not exist, two feeds of one venue.
    """

    def __init__(
        self,
        config: AggregatorConfig,
        *,
        venues: Mapping[str, FeedSettings] | None = None,
        clock: Clock | None = None,
        random: RandomSource | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Check the configuration; nothing is connected yet."""
        check_instance(config, AggregatorConfig, "config")
        self.config = config
        self._clock = clock or SystemClock()
        settings = venues or {}
        for name in settings:
            if name not in config.exchanges:
                known = ", ".join(config.exchanges)
                raise ConfigError(f"not among the exchanges ({known})", field=f"venues.{name}")
        self.clients: dict[str, VenueClient] = {
            name: VenueClient(
                name,
                settings=settings.get(name),
                clock=clock,
                random=random or SystemRandom(),
                recorder=recorder,
            )
            for name in config.exchanges
        }
        self._tap = None if recorder is None else recorder.tap("aggregator")
        self._router = Router()
        self._tasks = TaskOwner("crossfeed:aggregator", self._router.tell)
        self._machine = Aggregator(config, symbols=self._resolved())
        self._wanted: set[str] = set()
        self._is_running = False
        self._stopped: asyncio.Event | None = None
        self.unreachable: dict[str, CrossfeedError] = {}
        for client in self.clients.values():
            for data_type in FEED_TYPES:
                client.add_handler(data_type, self._on_event, mode=DeliveryMode.INLINE)
            client.add_handler("feed_status", self._on_status, mode=DeliveryMode.INLINE)
            client.on_error(self._router.tell)

    def __repr__(self) -> str:
        """Return a status line."""
        return f"<MarketDataAggregator {self._machine!r}>"

    # ── symbols ─────────────────────────────────────────────────────────────

    @property
    def symbols(self) -> dict[str, dict[str, str]]:
        """Unified symbol -> venue -> the venue's own symbol, as far as the venues list them."""
        return self._resolved()

    def _resolved(self) -> dict[str, dict[str, str]]:
        """Find each unified symbol at each venue; a venue that does not list it is left out.

        Raises:
            UnknownSymbolError: A symbol that the configuration names for a venue does not exist
                there, or no venue lists a symbol at all.
        """
        resolved: dict[str, dict[str, str]] = {}
        for unified, named in self.config.symbol_map.items():
            found: dict[str, str] = {}
            refusals: list[str] = []
            for venue, client in self.clients.items():
                if named and venue not in named:
                    continue
                try:
                    found[venue] = client.instrument(named.get(venue, unified)).symbol
                except UnknownSymbolError as error:
                    if named:
                        raise
                    refusals.append(str(error))
            if not found:
                raise UnknownSymbolError("; ".join(refusals) or f"no venue for {unified}")
            resolved[unified] = found
        return resolved

    # ── subscriptions ───────────────────────────────────────────────────────

    def subscribe(
        self,
        symbol: str,
        data_type: str,
        handler: Callable[[UnifiedMarketData], Any],
        *,
        mode: DeliveryMode | None = None,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> Subscription:
        """Call `handler` with each value of `symbol` ("*": all) and `data_type`.

        Sync handlers run inline in the feed, async ones from a bounded queue. While running, what
        the venues lack for it is subscribed in the background.

        Raises:
            UnknownSymbolError: The symbol is not configured.
            UnsupportedChannelError: No such data type; there are trade, ticker and book_ticker.
        """
        self._check(symbol, data_type)
        subscription = self._router.subscribe(
            data_type, symbol, handler, mode=mode, capacity=capacity, policy=policy
        )
        self._refresh_wanted()
        return subscription

    def _check(self, symbol: str, *data_types: str) -> None:
        """Refuse what could bring nothing: nobody would ever be told."""
        if symbol != ALL and symbol not in self._machine.symbols:
            known = ", ".join(self._machine.symbols)
            raise UnknownSymbolError(f"{symbol!r} is not configured (there are: {known})")
        check_unified_types(data_types)

    def unsubscribe(
        self, symbol: str, data_type: str, handler: Callable[[UnifiedMarketData], Any]
    ) -> bool:
        """Call `handler` no more; say whether it was subscribed so."""
        found = self._router.find(data_type, symbol, handler)
        for subscription in found:
            subscription.close()
        self._refresh_wanted()
        return bool(found)

    def stream(
        self,
        *data_types: str,
        symbol: str = ALL,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> EventStream:
        """Return `async for value in ...` over the values of `data_types` (none: all of them).

        Raises:
            UnknownSymbolError: The symbol is not configured.
            UnsupportedChannelError: No such data type.
        """
        self._check(symbol, *data_types)
        stream = self._router.stream(data_types, symbol, capacity=capacity, policy=policy)
        self._refresh_wanted()
        return stream

    def on_error(self, handler: Callable[[BaseException], Any]) -> Callable[[BaseException], Any]:
        """Call `handler` with every error of the venues' clients and of subscribers."""
        self._router.on_error(handler)
        return handler

    def _refresh_wanted(self) -> None:
        """Aggregate only what somebody listens to; subscribe at the venues what is newly wanted."""
        wanted = {kind for kind in DATA_TYPES if self._router.wants(kind)}
        for kind in DATA_TYPES:
            self._machine.set_wanted(ALL, kind, is_wanted=kind in wanted)
        new = wanted - self._wanted
        self._wanted |= wanted
        if self._is_running and new:
            for name in self.clients:
                self._tasks.spawn(self._subscribe_venue(name, new), f"subscribe:{name}")

    async def _subscribe_venue(self, name: str, kinds: set[str]) -> None:
        symbols = [venues[name] for venues in self._resolved().values() if name in venues]
        await self.clients[name].subscribe(symbols, sorted(kinds))
        for venue, symbol in self.config.rate_sources:
            if venue == name:
                await self.clients[name].subscribe([symbol], ["ticker"])

    # ── life ────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Connect to all venues; return when every one is up or has failed once.

        A venue that cannot be reached does not stop the others: it is named in `unreachable` and
        tried again in the background.

        Raises:
            ConfigError: A symbol that a venue does not list. Nothing runs then.
            ConnectFailedError: No venue could be reached; the text says why for each.
        """
        if self._is_running:
            return
        self._is_running = True
        self._stopped = asyncio.Event()
        self._tasks.reopen()
        self._router.start()
        if not self._wanted:
            self._wanted = set(DATA_TYPES)
        try:
            await self._connect_all()
        except BaseException:
            await self.stop()
            raise
        self._tasks.spawn(self._run_timer(), "timer")

    async def _connect_all(self) -> None:
        learned = await asyncio.gather(
            *(client.learn_instruments() for client in self.clients.values()),
            return_exceptions=True,
        )
        for result in learned:
            if isinstance(result, BaseException) and not isinstance(result, CrossfeedError):
                raise result
        if not self._is_running:  # stopped meanwhile: nothing more is begun
            return
        resolved = self._resolved()
        if self._tap is not None:
            self._tap.aggregating(self.config, resolved)
        self._machine = Aggregator(self.config, symbols=resolved)
        self._refresh_wanted()
        results = await asyncio.gather(
            *(self._connect(name) for name in self.clients), return_exceptions=True
        )
        failures: dict[str, CrossfeedError] = {}
        for name, result in zip(self.clients, results, strict=True):
            if isinstance(result, ConfigError) or (
                isinstance(result, BaseException) and not isinstance(result, CrossfeedError)
            ):
                raise result
            if isinstance(result, CrossfeedError):
                failures[name] = result
        if failures and len(failures) == len(self.clients):
            if len(failures) == 1:
                raise next(iter(failures.values()))
            why = "; ".join(f"{name}: {error}" for name, error in failures.items())
            raise ConnectFailedError(f"no venue could be reached: {why}")
        self.unreachable = failures
        for name, error in failures.items():
            log.warning("%s is left out for now: %s", name, error)
            self._tasks.spawn(self._keep_trying(name), f"retry:{name}")

    async def _connect(self, name: str) -> None:
        client = self.clients[name]
        await self._subscribe_venue(name, self._wanted)
        if self._is_running:
            await client.connect()
        self.unreachable.pop(name, None)

    async def _keep_trying(self, name: str) -> None:
        wait_s = RETRY_S_MIN
        while True:
            await self._clock.sleep(wait_s)
            try:
                await self._connect(name)
            except CrossfeedError as error:
                self.unreachable[name] = error
                wait_s = min(RETRY_S_MAX, wait_s * 2)
            else:
                log.info("%s has joined", name)
                return

    async def stop(self) -> None:
        """Publish what is still held back, then end everything. Stopping twice is harmless."""
        if self._tap is not None and self._is_running:
            self._tap.step("", "aggregator_stop")
        self._is_running = False
        await self._tasks.close()
        await asyncio.gather(*(client.close() for client in self.clients.values()))
        mono_ns, now_ns = self._clock.monotonic_ns(), self._clock.now_ns()
        if self._tap is not None:
            self._tap.step("", "aggregator_close", now_ns, mono_ns)
        self._publish(self._machine.close(mono_ns, now_ns))
        await self._router.close()
        if self._stopped is not None:
            self._stopped.set()

    async def run(self) -> None:
        """Start if need be, and wait until stopped or until this call is cancelled."""
        await self.start()
        stopped = self._stopped
        try:
            if stopped is not None:
                await stopped.wait()
        finally:
            await self.stop()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def consolidated_book(self, symbol: str) -> ConsolidatedBook:
        """Return the depth over all venues of a symbol; the venues' books are subscribed for it.

        Its top is what BEST_BID_ASK publishes. Call while running.

        Raises:
            UnknownSymbolError: The symbol is not configured.
            CrossfeedError: No venue could subscribe its book; see the venues' own errors.
        """
        venues = self._resolved().get(symbol)
        if venues is None:
            known = ", ".join(self._machine.symbols)
            raise UnknownSymbolError(f"{symbol!r} is not configured (there are: {known})")
        book = ConsolidatedBook(symbol, self.config, rates=self._machine.rates)
        failures: list[CrossfeedError] = []
        for name, own in venues.items():
            client = self.clients[name]
            try:
                await client.subscribe([own], ["book"])
            except CrossfeedError as error:
                failures.append(error)
            else:
                book.attach(client.venue.profile.exchange, client.book(own))
        if len(failures) == len(venues):
            raise failures[0]
        return book

    # ── the way of the data ─────────────────────────────────────────────────

    def _on_event(self, event: MarketData) -> None:
        values = self._machine.on_event(event, event.ts_mono_ns, event.ts_recv_ns)
        if values:
            self._publish(values)

    def _on_status(self, status: FeedStatus) -> None:
        """Follow the trust of the streams; closing them ourselves says nothing against them."""
        if self._is_running:
            self._on_event(status)

    def _publish(self, values: Iterable[UnifiedMarketData]) -> None:
        for value in values:
            self._router.publish(value)

    async def _run_timer(self) -> None:
        while True:
            due_ns = self._machine.next_due_ns
            now_ns = self._clock.monotonic_ns()
            wait_s = TIMER_S_MAX if due_ns is None else (due_ns - now_ns) / 1e9
            await self._clock.sleep(min(TIMER_S_MAX, max(TIMER_S_MIN, wait_s)))
            mono_ns, now_ns = self._clock.monotonic_ns(), self._clock.now_ns()
            due_ns = self._machine.next_due_ns
            if self._tap is not None and due_ns is not None and mono_ns >= due_ns:
                self._tap.timer("", "aggregator", now_ns, mono_ns)
            self._publish(self._machine.on_timer(mono_ns, now_ns))

    # ── statistics ──────────────────────────────────────────────────────────

    def get_stats(self) -> dict[str, Any]:
        """Return the counters of the aggregator.

        At least `messages_received, updates_published, exchanges_active, symbols, subscribers`, the
        middle ones as counts; beside them the machine's own.
        """
        stats = self._machine.stats(self._clock.monotonic_ns())
        return {
            "messages_received": stats.messages_received,
            "updates_published": stats.updates_published,
            "exchanges_active": stats.exchanges_active,
            "symbols": stats.symbols,
            "subscribers": len(self._router.subscriptions),
            "refused": stats.refused,
            "ignored": stats.ignored,
            "unrouted": stats.unrouted,
            "trades_pending": stats.trades_pending,
            "gaps_open": stats.gaps_open,
            "unreachable": {name: str(error) for name, error in self.unreachable.items()},
        }
