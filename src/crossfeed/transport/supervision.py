"""Keeps one connection up: attempt after attempt, until a rule says to give up.

The rules are pure machines (`canary`, `reconnect`, `breaker`, `heartbeat`); this runs them in one
task, under which, while connected, there is one task each for sending, for the pulse and for the
open hook.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from crossfeed.errors import ConnectFailedError, CrossfeedError, VenueError
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.transport.address import Resolver
from crossfeed.transport.breaker import Breaker
from crossfeed.transport.canary import Attempt
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.deadline import deadline
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.handshake import make_tls_context
from crossfeed.transport.listener import FrameListener, ListenerFactory, OnFrame
from crossfeed.transport.outbox import Outbox
from crossfeed.transport.pulse import PulseKeeper
from crossfeed.transport.reconnect import ReconnectPolicy, Refusal
from crossfeed.transport.state import ConnectionState, StateBoard
from crossfeed.transport.wallclock import WallOffset
from crossfeed.transport.websocket import WebSocketConnection

__all__ = ["Hooks", "OnOpen", "Supervisor", "UrlProvider"]

NS_PER_S: Final = 1_000_000_000

OnOpen = Callable[[], Awaitable[None]]
"""Subscribes on a new connection; awaited before CONNECTED, within `open_timeout_s`."""

UrlProvider = Callable[[int], str]
"""Gives the address for an attempt; takes the number of failed attempts in a row."""

COUNTERS: Final[tuple[str, ...]] = (
    "message_count",
    "byte_count",
    "reconnect_attempts",
    "ping_failures",
    "pongs_sent",
    "pongs_skipped",
    "binary_dropped",
)


class Hooks(Struct):
    """What a supervisor calls. May be changed at any time.

    Attributes:
        on_frame: Gets each message.
        on_error: Gets each error.
        on_clock_jump: Gets wall-clock jumps, ns.
        on_open: The open hook, if there is one.
        next_url: Gives the address of each attempt; the configuration's addresses in turn if None.
        listener_factory: Makes the picows listener of each connection.
    """

    on_frame: OnFrame
    on_error: Callable[[BaseException], None]
    on_clock_jump: Callable[[int], None]
    on_open: OnOpen | None = None
    next_url: UrlProvider | None = None
    listener_factory: ListenerFactory = FrameListener


class Supervisor:
    """Runs the life of one managed connection; its manager owns the task that `run` is.

    Attributes:
        connection: The connection there is now, None between attempts.
        last_error: Why the last attempt or connection ended.
        end: Why it gave up, None while it has not.
        connected_ns: Monotonic time of the last CONNECTED; 0 while not connected.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        hooks: Hooks,
        board: StateBoard,
        *,
        clock: Clock,
        random: RandomSource,
        gate: VenueGate,
        resolver: Resolver,
        outbox: Outbox,
    ) -> None:
        """Prepare; nothing is opened yet."""
        self.connection: WebSocketConnection | None = None
        self.last_error: CrossfeedError | None = None
        self.end: CrossfeedError | None = None
        self.connected_ns = 0
        self.wall = WallOffset(clock)
        self._config = config
        self._hooks = hooks
        self._board = board
        self._clock = clock
        self._gate = gate
        self._resolver = resolver
        self._outbox = outbox
        self._policy = ReconnectPolicy(
            config.backoff,
            random,
            statuses=config.status_meanings,
            close_codes=config.close_code_meanings,
        )
        self._breaker = Breaker(
            failures_max=1,
            cooldown_s=config.breaker_cooldown_s,
            cooldown_max_s=config.breaker_cooldown_max_s,
            trial_timeout_s=config.connect_timeout_s + config.open_timeout_s,
        )
        self._pulse: PulseKeeper | None = None
        self._tls: ssl.SSLContext | None = None
        self._url_index = 0
        self._totals: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        self._last_message_ns = 0

    # ── watching ──────────────────────────────────────────────────────────────

    @property
    def failures(self) -> int:
        """Failed attempts in a row."""
        return self._policy.failures

    @property
    def last_message_ns(self) -> int:
        """Monotonic time of the last message, 0 if none came."""
        present = self.connection.last_message_ns if self.connection is not None else 0
        return max(self._last_message_ns, present)

    @property
    def rtt_ns(self) -> int:
        """Round trip of the last answered ping, 0 if none."""
        return self._pulse.rule.rtt_ns if self._pulse is not None else 0

    def counters(self) -> dict[str, int]:
        """Return what was counted over all connections."""
        totals = dict(self._totals)
        if self.connection is not None:
            for name, value in self._count(self.connection).items():
                totals[name] += value
        return totals

    # ── running ───────────────────────────────────────────────────────────────

    def reset(self) -> None:
        """Forget earlier failures, before a new run."""
        self.end = None
        self.last_error = None
        self._policy.reset()

    async def run(self) -> None:
        """Make attempt after attempt until a rule gives up or the task is cancelled.

        Nothing is left open either way. The state is left to the caller, except FAILED after giving
        up.
        """
        board = self._board
        board.set(ConnectionState.CONNECTING)
        while True:
            attempt = await self._gate.admit(lambda: board.set(ConnectionState.OPEN))
            if board.state is ConnectionState.OPEN:
                board.set(ConnectionState.CONNECTING)
            self._breaker.admit(self._clock.monotonic_ns())
            error, good_data_ns = await self._attempt(attempt)
            wait_ns = self._plan(error, good_data_ns)
            if wait_ns is None:
                return
            self._totals["reconnect_attempts"] += 1
            await self._clock.sleep(wait_ns / NS_PER_S)

    def give_up(self, error: CrossfeedError) -> None:
        """End FAILED because of `error`."""
        self.end = error
        self._board.set(ConnectionState.FAILED)

    async def _attempt(self, attempt: Attempt) -> tuple[CrossfeedError, int]:
        """Live through one connection; return why it ended and how long good data had flowed."""
        connection: WebSocketConnection | None = None
        self.connected_ns = 0
        try:
            connection = self._make_connection()
            self.connection = connection
            await connection.open(resolver=self._resolver, tls=await self._get_tls(connection.url))
            error = await self._serve(connection, attempt)
        except CrossfeedError as exc:
            error = exc
        except BaseException:
            self._gate.abandoned(attempt)
            raise
        finally:
            if connection is not None:
                self._absorb(connection)
                await connection.close()
        good_data_ns = 0
        if self.connected_ns:
            self._gate.lost()
            if connection is not None:
                good_data_ns = max(0, connection.last_message_ns - self.connected_ns)
        elif isinstance(error, VenueError) and not error.retryable:
            # Refused by the venue, not by the network: the venue is up.
            self._gate.succeeded(attempt)
        else:
            self._gate.failed(attempt, error, has_alternative=self._has_alternative())
        self.connected_ns = 0
        return error, good_data_ns

    async def _serve(self, connection: WebSocketConnection, attempt: Attempt) -> CrossfeedError:
        """Run the connection's tasks until it ends; return why it ended."""
        pulse = PulseKeeper(connection, self._config, self._hooks.on_clock_jump)
        self._pulse = pulse
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._outbox.run(connection), name="outbox"),
                group.create_task(pulse.run(), name="pulse"),
                group.create_task(self._announce(connection, attempt), name="open hook"),
            ]
            error = await connection.wait_closed()
            for task in tasks:
                task.cancel()
        return error

    async def _announce(self, connection: WebSocketConnection, attempt: Attempt) -> None:
        """Run the open hook, then announce CONNECTED; a failing hook fails the connection."""
        hook = self._hooks.on_open
        if hook is not None:
            limit_s, where = self._config.open_timeout_s, connection.where
            try:
                async with deadline(self._clock, limit_s, "the open hook", where=where):
                    await hook()
            except CrossfeedError as exc:
                connection.fail(exc)
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                connection.fail(ConnectFailedError("the open hook was cancelled", where=where))
                return
            except Exception as exc:  # noqa: BLE001 - foreign code: its fault is ours to report
                connection.fail(ConnectFailedError(f"the open hook failed: {exc!r}", where=where))
                return
        if connection.is_open:
            now_ns = self._clock.monotonic_ns()
            self.connected_ns = now_ns
            self._gate.succeeded(attempt)
            self._breaker.on_success(now_ns, is_lasting=False)
            self._board.set(ConnectionState.CONNECTED)

    def _plan(self, error: CrossfeedError, good_data_ns: int) -> int | None:
        """Decide what follows `error`: the wait in ns before the next attempt, None to give up."""
        now_ns = self._clock.monotonic_ns()
        config = self._config
        if good_data_ns >= config.backoff_reset_after_s * NS_PER_S:
            self._breaker.on_success(now_ns)
        decision = self._policy.on_failure(error, good_data_ns=good_data_ns)
        self.last_error = error
        has_alternative = self._has_alternative()
        self._url_index += 1
        self._hooks.on_error(error)
        is_permanent = decision.refusal is Refusal.PERMANENT and not has_alternative
        wait_ns = decision.wait_ns
        if decision.refusal is Refusal.PERMANENT and has_alternative:
            wait_ns = round(config.backoff_base_s * NS_PER_S)
        if config.on_exhausted == "fail":
            if is_permanent or decision.is_exhausted:
                self.give_up(error)
                return None
        elif decision.is_for_venue or is_permanent or decision.is_exhausted:
            if decision.is_for_venue:
                self._breaker.force_open(now_ns + wait_ns)
            elif is_permanent:
                self._breaker.hold(now_ns, wait_ns)
            else:
                self._breaker.on_failure(now_ns)
            self._board.set(ConnectionState.OPEN)
            return self._breaker.retry_at_ns(now_ns) - now_ns
        if self._board.state is not ConnectionState.CONNECTING:
            self._board.set(ConnectionState.RECONNECTING)
        return wait_ns

    # ── inside ────────────────────────────────────────────────────────────────

    def _make_connection(self) -> WebSocketConnection:
        next_url = self._hooks.next_url or self._own_url
        return WebSocketConnection(
            self._config,
            next_url(self._policy.failures),
            on_frame=self._hooks.on_frame,
            budget=self._outbox.budget,
            wall=self.wall,
            on_fault=self._hooks.on_error,
            listener_factory=self._hooks.listener_factory,
        )

    async def _get_tls(self, url: str) -> ssl.SSLContext | None:
        if not url.startswith("wss:"):
            return None
        if self._tls is None:
            # Reading the CA file takes some 10 ms: not on the loop.
            self._tls = await asyncio.to_thread(make_tls_context, self._config.tls_ca_file)
        return self._tls

    def _own_url(self, _failures: int) -> str:
        urls = (self._config.url, *self._config.alternate_urls)
        return urls[self._url_index % len(urls)]

    def _has_alternative(self) -> bool:
        """Say whether the next attempt goes to an address not yet tried in this round."""
        return (self._url_index + 1) % (1 + len(self._config.alternate_urls)) != 0

    def _count(self, connection: WebSocketConnection) -> dict[str, int]:
        pulse = self._pulse
        failures = pulse.rule.ping_failures if pulse is not None else 0
        return {**connection.counters(), "ping_failures": failures}

    def _absorb(self, connection: WebSocketConnection) -> None:
        """Add a finished connection's counters to the totals."""
        for name, value in self._count(connection).items():
            self._totals[name] += value
        self._last_message_ns = max(self._last_message_ns, connection.last_message_ns)
        self.connection = None
        self._pulse = None
