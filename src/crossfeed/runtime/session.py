"""One venue's session.

Spreads subscriptions over connections and carries out the commands of the pipeline.

Nothing here is on the way of a message; that is `pipeline.py`. This is the control path:
connecting, subscribing, REST requests, timers, fall-back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from crossfeed.books.book import OrderBook
from crossfeed.errors import (
    AuthRejectedError,
    ConfigError,
    SubscriptionRejectedError,
    UnsupportedChannelError,
    VenueError,
)
from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.commands import Command, Refused, Want
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.auditor import Auditor
from crossfeed.runtime.command_desk import CommandDesk
from crossfeed.runtime.connection import Connection
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.histogram import Histogram
from crossfeed.runtime.kinds import TICKERS, channel_of
from crossfeed.runtime.line_parts import freshness_of, lines_of
from crossfeed.runtime.links import Links
from crossfeed.runtime.native_core import make_core
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.recording import FeedTap, make_streams
from crossfeed.runtime.rest import RestDesk
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.tasks import TaskOwner
from crossfeed.runtime.watchdog import LoopWatchdog
from crossfeed.transport.state import ConnectionState
from crossfeed.venues.base import CodecOptions, Venue
from crossfeed.venues.symbols import SymbolTable

__all__ = ["PROVEN_BY_HEARTBEAT", "Request", "Session"]

log = logging.getLogger("crossfeed.session")

TICK_S = 0.1
PROVEN_BY_HEARTBEAT = ("trade", "full")
WORST_FIRST = (
    ConnectionState.FAILED,
    ConnectionState.OPEN,
    ConnectionState.RECONNECTING,
    ConnectionState.CONNECTING,
    ConnectionState.DISCONNECTED,
    ConnectionState.CONNECTED,
)


class Request(NamedTuple):
    """What a user asked for: one kind of data of one symbol as the user wrote it.

    An empty symbol means the venue as a whole.
    """

    kind: str
    symbol: str


class Session:
    """All connections to one venue, their shared streams, budgets and background work.

    Made by a `VenueClient`; `open` and `close` may alternate.

    Args:
        venue: The venue.
        settings: How to run.
        router: Where events go.
        ledger: Where gaps are kept.
        clock: Source of time.
        random: Source of jitter.
        tap: Where what enters is recorded, if it is.
    """

    def __init__(
        self,
        venue: Venue,
        settings: FeedSettings,
        *,
        router: Router,
        ledger: GapLedger,
        clock: Clock,
        random: RandomSource,
        tap: FeedTap | None = None,
    ) -> None:
        """Prepare; nothing is opened yet."""
        self.venue = venue
        self.settings = settings
        self.router = router
        self.clock = clock
        self.table = SymbolTable(venue.name, venue.builtin())
        self.options = CodecOptions(
            keep_raw=settings.keep_raw,
            api_key=settings.api_key,
            api_secret=settings.api_secret,
            api_passphrase=settings.api_passphrase,
            parameters=settings.parameters,
        )
        self.tap = tap
        self.streams = make_streams(venue, ledger, settings, tap)
        self.tasks = TaskOwner(f"crossfeed:{venue.name}", self.report)
        self.links = Links(venue, settings, clock, random)
        self.rest = RestDesk(self, self.links.rest_urls())
        self.watchdog = LoopWatchdog(clock, self.report)
        self.auditor = Auditor(self, settings.audit_interval_s)
        self.desk = CommandDesk(self)
        self.connections: list[Connection] = []
        self.processing = Histogram()
        self.state_handlers: list[Callable[[Any, Any], Any]] = []
        self._asked: set[Request] = set()
        self._requests: dict[Request, Want] = {}
        self._turned_down: dict[Want, Refused] = {}
        self._number = 0
        self._shards = 0
        self._opened_mono_ns = 0
        self._is_open = False

    # ── what may be asked ───────────────────────────────────────────────────

    def is_venue_wide(self, kind: str) -> bool:
        """Say whether `kind` has no symbol (status)."""
        channel = self.venue.profile.channel(kind.partition("_")[0])
        channel = self.venue.profile.channel(kind) or channel
        return channel is not None and not channel.has_symbol

    def check(self, request: Request) -> None:
        """Check a request as far as possible without the network.

        Raises:
            ConfigError: A kind the venue has not, or a text that can be no symbol.
        """
        symbol = request.symbol
        if symbol != symbol.strip() or (not symbol and not self.is_venue_wide(request.kind)):
            raise ConfigError(f"not a symbol: {symbol!r}", field="symbols")
        want = self.venue.want(request.kind, symbol, self.options)
        if channel_of(self.venue.profile, request.kind) is None:
            own = self.venue.profile.named(want.channel.partition(":")[0])
            ours = f"; ours is {own.kind!r}" if own is not None else ""
            msg = f"{request.kind!r} is the word of {self.venue.name}{ours}"
            raise UnsupportedChannelError(msg, field="kinds")

    def resolve(self, request: Request) -> tuple[Want, Instrument | None]:
        """Turn a request into the venue's want.

        Raises:
            UnknownSymbolError: The venue lists no such symbol.
        """
        if not request.symbol:
            return self.venue.want(request.kind, "", self.options), None
        instrument = self.table.resolve(request.symbol, quotes=self.venue.profile.quote_order)
        return self.venue.want(request.kind, instrument.symbol, self.options), instrument

    def instrument(self, name: str) -> Instrument:
        """Return the instrument of a venue symbol or a unified one.

        Raises:
            UnknownSymbolError: The venue lists no such thing.
        """
        return self.table.resolve(name, quotes=self.venue.profile.quote_order)

    def _with_companions(self, requests: Sequence[Request]) -> list[Request]:
        """Add what proves the tail of a stream: the heartbeat that names its newest number."""
        heartbeat = self.venue.profile.channel("heartbeat")
        if heartbeat is None or not heartbeat.has_symbol or heartbeat.needs_key:
            return list(requests)
        proven = [request for request in requests if request.kind in PROVEN_BY_HEARTBEAT]
        companions = [Request("heartbeat", request.symbol) for request in proven]
        return list(dict.fromkeys([*requests, *companions]))

    # ── life ────────────────────────────────────────────────────────────────

    async def learn_instruments(self) -> None:
        """Learn the venue's instruments ahead of `open`."""
        self.rest.open()
        await self.rest.learn_instruments(())

    async def open(self, requests: Sequence[Request]) -> None:
        """Learn the instruments, connect, subscribe; return when the venue acknowledged.

        Raises:
            UnknownSymbolError: A symbol the venue does not list.
            SubscriptionRejectedError: Everything was refused, or something with `strict`.
            TransportError: No connection in `connect_deadline_s`.
        """
        self.tasks.reopen()
        self._is_open = True
        self._opened_mono_ns = self.clock.monotonic_ns()
        self.rest.open()
        await self.rest.learn_instruments(request.symbol for request in requests)
        wants = self._note(self._with_companions(requests))
        self._asked.update(requests)
        self.watchdog.start()
        self.tasks.spawn(self._tick(), "timer")
        await self._connect(self._place(wants))
        self._check_refusals(wants)

    async def _connect(self, new: Sequence[Connection]) -> None:
        """Open connections. One of several that was refused all it asked for is done without.

        What could not be opened carries nothing: the call can be repeated.
        """
        try:
            await self.links.connect(new, self.settings.connect_deadline_s)
        except BaseException as error:
            refused = [c for c in new if all(want in c.refused for want in c.wants)]
            is_refusal = isinstance(error, SubscriptionRejectedError | AuthRejectedError)
            if not is_refusal or self.settings.strict or len(refused) == len(new):
                await self._discard([c for c in new if not c.is_live])
                raise
            for connection in refused:
                self._turned_down |= connection.refused
            await self._discard(refused)

    async def _discard(self, useless: Sequence[Connection]) -> None:
        for connection in useless:
            await connection.manager.close()
            out = Output()
            connection.on_lost("refused", out)
            self.deliver(out)
            self.streams.forget(connection.name)
        self.connections = [c for c in self.connections if c not in useless]

    async def add(self, requests: Sequence[Request]) -> None:
        """Add requests to the running session; return when the venue answered."""
        await self.rest.learn_instruments(request.symbol for request in requests)
        wants = self._note(self._with_companions(requests))
        self._asked.update(requests)
        fresh = [want for want in wants if self._carrier(want) is None]
        await asyncio.gather(
            *(c.add(late) for c in self.connections if (late := c.unsettled(wants)))
        )
        capacity = self._capacity()
        for path, group in self.links.by_path(fresh, self.table, self.options).items():
            fitting = [c for c in self.connections if c.path == path]
            room = [c for c in fitting if len(c.wants) + len(group) <= capacity]
            if room:
                lines = [c for c in self.connections if c.shard == room[0].shard]
                await asyncio.gather(*(connection.add(group) for connection in lines))
            else:
                await self._connect(self._place(group))
        try:
            self._check_refusals(wants)
        except VenueError:
            await self.remove(requests)
            raise

    async def remove(self, requests: Sequence[Request]) -> None:
        """Remove requests; a want without any request left is unsubscribed."""
        self._asked.difference_update(requests)
        needed = set(self._with_companions(list(self._asked)))
        for request in self._with_companions(requests):
            want = None if request in needed else self._requests.get(request)
            if want is None:
                continue
            # Only when the venue is done with it is it forgotten: a cancelled call can be repeated.
            if all(w != want for r, w in self._requests.items() if r != request):
                for connection in self._carriers(want):
                    await connection.remove([want])
                self._turned_down.pop(want, None)
            self._requests.pop(request, None)
            self.streams.close(want, request.kind)

    async def close(self) -> None:
        """End everything. Closing twice is harmless."""
        self._is_open = False
        self.watchdog.close()
        await self.tasks.close()
        out = Output()
        for connection in self.connections:
            connection.on_lost("closed", out)
        self._deliver(out)
        for connection in self.connections:
            await connection.manager.close()
            self.streams.forget(connection.name)
        await self.rest.close()
        for request, want in self._requests.items():
            self.streams.close(want, request.kind)
        self.connections.clear()
        self._requests.clear()
        self._turned_down.clear()
        self._asked.clear()

    def _note(self, requests: Sequence[Request]) -> list[Want]:
        """Resolve all requests (or none, if one is unknown) and open their streams."""
        resolved = [(request, *self.resolve(request)) for request in requests]
        self._check_tickers([(request.kind, want) for request, want, _ in resolved])
        for request, want, instrument in resolved:
            self._requests[request] = want
            self.streams.open(want, request.kind, instrument)
        return list(dict.fromkeys(want for _, want, _ in resolved))

    def _check_tickers(self, asked: Sequence[tuple[str, Want]]) -> None:
        """Refuse two kinds whose events nobody could tell apart."""
        known = [(request.kind, want) for request, want in self._requests.items()]
        kinds: dict[str, str] = {}
        for kind, want in (*known, *asked):
            if kind in TICKERS and kinds.setdefault(want.symbol, kind) != kind:
                msg = f"{self.venue.name} sends both kinds of tickers alike: take one of them"
                raise UnsupportedChannelError(
                    f"{want.symbol}: {msg} ({kinds[want.symbol]}, {kind})"
                )

    def _capacity(self) -> int:
        own = self.settings.streams_per_connection
        venue = self.venue.profile.limits.streams_per_connection
        return min(own or venue or 1 << 30, venue or 1 << 30)

    def _place(self, wants: Sequence[Want]) -> list[Connection]:
        """Make the connections `wants` need: filled to the venue's limit, one for each line."""
        made: list[Connection] = []
        size = self._capacity()
        for path, group in self.links.by_path(wants, self.table, self.options).items():
            for start in range(0, len(group), size):
                self._shards += 1
                part, lines = group[start : start + size], range(self.settings.lines)
                made += [self._make(part, self._shards, line, path) for line in lines]
        self.connections += made
        return made

    def _make(self, wants: Sequence[Want], shard: int, place: int, path: str) -> Connection:
        """Make one connection for `wants`; it is not opened yet."""
        self._number += 1
        codec = self.venue.make_codec(self.table, self.options)
        name = f"{self.venue.name}-{self._number}"
        core = make_core(codec, self.streams, name)
        made = self.links.make_connection(self, name, core, wants)
        made.shard, made.place, made.path = shard, place, path
        return made

    def twin(self, connection: Connection) -> Connection:
        """Make a second connection for the same subscriptions.

        It takes part when it is connected.
        """
        wants = [want for want in connection.wants if want not in connection.refused]
        return self._make(wants, connection.shard, connection.place, connection.path)

    def replace(self, old: Connection, new: Connection) -> None:
        """Put `new` into the place of `old`, which is about to be closed."""
        new.freshness.carry_on(old.freshness)
        self.connections = [new if c is old else c for c in self.connections]

    def _carriers(self, want: Want) -> list[Connection]:
        return [connection for connection in self.connections if want in connection.wants]

    def _carrier(self, want: Want) -> Connection | None:
        return next(iter(self._carriers(want)), None)

    def _check_refusals(self, wants: Sequence[Want]) -> None:
        refused = [w for w in wants if any(w in c.refused for c in self._carriers(w))]
        if refused and (self.settings.strict or len(refused) == len(wants)):
            carrier = self._carrier(refused[0])
            assert carrier is not None
            raise carrier.rejection(refused)

    # ── commands, and what the venue says ───────────────────────────────────

    def execute(self, connection: Connection, commands: Iterable[Command]) -> None:
        """Carry out what the pipeline asked for; see `CommandDesk`."""
        self.desk.execute(connection, commands)

    def on_refused(self, connection: Connection, said: Refused) -> None:
        """Tell subscribers in the stream that these wants will bring nothing."""
        out = Output()
        now_ns, mono_ns = self.clock.now_ns(), self.clock.monotonic_ns()
        for want in said.wants:
            self.streams.refused(want, said.reason, now_ns, mono_ns, out)
        self._deliver(out)
        self.report(connection.rejection(said.wants))

    def on_connection_state(
        self, connection: Connection, old: ConnectionState, new: ConnectionState
    ) -> None:
        """Follow a connection's state: trust of its streams, fall-back, handlers."""
        out = Output()
        if old is ConnectionState.CONNECTED:
            connection.on_lost("disconnected", out)
        if new is ConnectionState.OPEN and self.settings.rest_fallback and self._is_open:
            self.rest.start_polling(connection)
        self._deliver(out)
        for handler in self.state_handlers:
            self._guarded(handler, old, new)

    def _guarded(self, handler: Callable[..., Any], *arguments: object) -> None:
        try:
            handler(*arguments)
        except Exception as error:  # noqa: BLE001 - supervision point: user code, the timers
            self.report(error)

    def report(self, error: BaseException) -> None:
        """Hand an error to the client's error handlers."""
        self.router.tell(error)

    # ── time ────────────────────────────────────────────────────────────────

    async def _tick(self) -> None:
        """Run the timers of the pipeline ten times a second, whatever one run comes to."""
        while True:
            await self.clock.sleep(TICK_S)
            self.watchdog.beat()
            self._guarded(self._run_timers)

    def _run_timers(self) -> None:
        out = Output()
        now_ns, mono_ns = self.clock.now_ns(), self.clock.monotonic_ns()
        self.streams.on_timer(now_ns, mono_ns, out)
        self.auditor.on_timer(mono_ns)
        self._deliver(out)
        for connection in self.connections:
            connection.on_timer(now_ns, mono_ns)
            if 0 < connection.rotate_at_ns <= mono_ns and connection.is_live:
                connection.rotate_at_ns = 0
                self.tasks.spawn(self.links.rotate(self, connection, "age"), "rotate")

    def _deliver(self, out: Output, core_owner: Connection | None = None) -> None:
        for event in out.events:
            self.router.publish(event)
        if out.commands:
            carrier = core_owner or next(iter(self.connections), None)
            if carrier is not None:
                self.execute(carrier, out.commands)

    def deliver(self, out: Output, core: PureCore | None = None) -> None:
        """Hand over what something outside the frame path produced (REST answers, timers)."""
        owner = next((c for c in self.connections if c.core is core), None)
        self._deliver(out, owner)

    # ── books ───────────────────────────────────────────────────────────────

    def listeners_changed(self) -> None:
        """Tell the books whether anybody wants their changes as events."""
        self.streams.set_wanted(
            deltas=self.router.wants("orderbook_update") or self.router.wants("orderbook_snapshot"),
            books=self.router.wants("book"),
        )

    def book(self, name: str) -> OrderBook | None:
        """Return the maintained book of a symbol (either name), None if there is none."""
        try:
            instrument = self.table.resolve(name, quotes=self.venue.profile.quote_order)
        except ConfigError:
            return None
        return self.streams.book(instrument.symbol)

    def resync(self, name: str) -> None:
        """Rebuild the book of a symbol."""
        instrument = self.table.resolve(name, quotes=self.venue.profile.quote_order)
        out = Output()
        self.streams.resync(instrument.symbol, self.clock.now_ns(), self.clock.monotonic_ns(), out)
        self._deliver(out)

    # ── statistics ──────────────────────────────────────────────────────────

    def state(self) -> ConnectionState:
        """Return the worst state of all connections."""
        states = {connection.manager.state for connection in self.connections}
        return next((s for s in WORST_FIRST if s in states), ConnectionState.DISCONNECTED)

    def stats(self) -> dict[str, Any]:
        """Return the session's counters; see `VenueClient.get_stats`."""
        each = {c.name: c.manager.get_stats() for c in self.connections}
        refused = {
            f"{want.channel}:{want.symbol}": said.reason
            for each_refused in (*(c.refused for c in self.connections), self._turned_down)
            for want, said in each_refused.items()
        }
        mono_ns = self.clock.monotonic_ns()
        uptime_s = (mono_ns - self._opened_mono_ns) / 1e9 if self._is_open else 0.0
        last = [s["last_message_time"] for s in each.values() if s["last_message_time"] is not None]
        return {
            "state": self.state().value,
            "message_count": sum(s["message_count"] for s in each.values()),
            "error_count": sum(s["error_count"] for s in each.values())
            + self.streams.counters.invalid,
            "reconnect_attempts": sum(s["reconnect_attempts"] for s in each.values()),
            "last_message_time": max(last) if last else None,
            "uptime_seconds": uptime_s,
            "refused": refused,
            "connections": each,
            "subscriptions": len(self._requests),
            "loop_blocks": self.watchdog.blocks,
            "freshness": freshness_of(self.connections),
            "lines": lines_of(self.streams),
            **self.streams.stats(),
        }
