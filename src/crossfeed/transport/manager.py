"""`WebSocketManager`: one connection kept up, from connecting to giving up or recovering.

The rules are the pure machines beside this file (`reconnect`, `breaker`, `heartbeat`, `limits`,
`canary`); this is the shell that runs them: one runner task that owns everything, and under it,
while connected, one task each for sending, the heartbeat and the open hook.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from crossfeed.errors import (
    CircuitOpenError,
    ConnectFailedError,
    CrossfeedError,
    DeadlineError,
    MalformedFrameError,
    NotConnectedError,
    SendRejectedError,
    StaleConnectionError,
)
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.transport.address import Resolver
from crossfeed.transport.breaker import Breaker
from crossfeed.transport.canary import Attempt
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.deadline import deadline
from crossfeed.transport.defaults import default_clock, default_random
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.handlers import Handlers
from crossfeed.transport.handshake import make_tls_context
from crossfeed.transport.heartbeat import Heartbeat, Pulse
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.masking import LogLimiter, escape
from crossfeed.transport.outbox import Outbox
from crossfeed.transport.reconnect import ReconnectPolicy, Refusal
from crossfeed.transport.state import ConnectionState
from crossfeed.transport.wallclock import WallOffset
from crossfeed.transport.websocket import (
    FrameListener,
    ListenerFactory,
    OnFrame,
    WebSocketConnection,
)

__all__ = ["OnOpen", "UrlProvider", "WebSocketManager"]

logger = logging.getLogger("crossfeed.transport")
logger.addHandler(logging.NullHandler())

NS_PER_S: Final = 1_000_000_000
DRAIN_TIMEOUT_S: Final = 2.0
CHECK_INTERVAL_S: Final = 1.0

_H = TypeVar("_H", bound=Callable[..., Any])

OnOpen = Callable[["WebSocketManager"], Awaitable[None]]
"""Subscribes on a new connection; awaited before CONNECTED, within `open_timeout_s`."""

UrlProvider = Callable[[int], str]
"""Gives the address for an attempt; takes the number of failed attempts in a row."""


class WebSocketManager:
    """Keeps one WebSocket connection up and hands out what it receives.

    ```python
    manager = WebSocketManager(WebSocketConfig(url="wss://stream.example.com/ws"))


    @manager.on_message
    def show(message): ...


    async with manager:
        await manager.send({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        await manager.run()
    ```
    Handlers may be functions or coroutine functions. Belongs to one event loop; used as `async
    with`, or closed by `close()`, which is safe at any time and any number of times.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        *,
        clock: Clock | None = None,
        random: RandomSource | None = None,
        gate: VenueGate | None = None,
        resolver: Resolver | None = None,
        send_budget: SendBudget | None = None,
        listener_factory: ListenerFactory = FrameListener,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            config: Everything about the connection.
            clock: Source of time; the system's by default.
            random: Source of jitter; the system's by default.
            gate: Shared by all connections to the venue: connect budget, canary, bans. Own by
                default.
            resolver: Shared lookup of names. Own by default.
            send_budget: Shared where a venue counts messages over all connections. Own by default.
            listener_factory: Makes the picows listener; a compiled one may take its place.
        """
        self.config = config
        self._clock = clock if clock is not None else default_clock()
        self._random = random if random is not None else default_random()
        self._gate = gate or VenueGate(clock=self._clock, random=self._random)
        self._resolver = resolver or Resolver(self._clock)
        self._listener_factory = listener_factory
        self._log = LogLimiter(logger, self._clock)
        self._policy = ReconnectPolicy(
            config.backoff,
            self._random,
            statuses=config.status_meanings,
            close_codes=config.close_code_meanings,
        )
        self._breaker = Breaker(
            failures_max=1,
            cooldown_s=config.breaker_cooldown_s,
            cooldown_max_s=config.breaker_cooldown_max_s,
            trial_timeout_s=config.connect_timeout_s + config.open_timeout_s,
        )
        self._outbox = Outbox(
            send_budget or config.make_send_budget(),
            self._clock,
            queue_max=config.send_queue_max,
            timeout_s=config.send_timeout_s,
            where=config.label,
        )
        self._wall = WallOffset(self._clock)
        self._error_handlers = self._make_handlers(self._log_handler_error)
        self._message_handlers = self._make_handlers(self._report)
        self._state_handlers = self._make_handlers(self._report)
        self._jump_handlers = self._make_handlers(self._report)
        self._frame_hook: OnFrame | None = None
        self._open_hook: OnOpen | None = None
        self._url_provider: UrlProvider = self._own_url
        self._state = ConnectionState.DISCONNECTED
        self._state_waiters: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None
        self._end: CrossfeedError | None = None
        self._last_error: CrossfeedError | None = None
        self._connection: WebSocketConnection | None = None
        self._heartbeat: Heartbeat | None = None
        self._tls: ssl.SSLContext | None = None
        self._url_index = 0
        self._connected_ns = 0
        self._totals = dict.fromkeys(_COUNTERS, 0)
        self._last_message_ns = 0

    # ── handlers and hooks ────────────────────────────────────────────────────

    def on_message(self, handler: _H) -> _H:
        """Call `handler(message)` for each message, decoded as `config.decode` says."""
        self._message_handlers.add(handler)
        self._rebind()
        return handler

    def on_error(self, handler: _H) -> _H:
        """Call `handler(error)` for each lost connection, refusal, bad message, failed handler."""
        self._error_handlers.add(handler)
        return handler

    def on_state_change(self, handler: _H) -> _H:
        """Call `handler(old, new)` for each change of state. Decorator or call."""
        self._state_handlers.add(handler)
        return handler

    def on_clock_jump(self, handler: _H) -> _H:
        """Call `handler(jump_ns)` when the wall clock jumps by half a second or more."""
        self._jump_handlers.add(handler)
        return handler

    def on_frame(self, hook: OnFrame) -> OnFrame:
        """Call `hook(payload, ts_recv_ns, ts_mono_ns)` for each message, before message handlers.

        One hook, sync; a further call replaces it. The bytes are the hook's to keep.
        """
        self._frame_hook = hook
        self._rebind()
        return hook

    def on_open(self, hook: OnOpen) -> OnOpen:
        """Await `hook(manager)` on each new connection before CONNECTED is announced. One hook."""
        self._open_hook = hook
        return hook

    def set_url_provider(self, provider: UrlProvider) -> None:
        """Ask `provider(failures)` for each address; by default url and alternates in turn."""
        self._url_provider = provider

    def off(self, handler: Callable[..., Any]) -> None:
        """Remove a handler wherever it was registered."""
        for handlers in self._all_handlers():
            handlers.remove(handler)
        self._rebind()

    # ── life ──────────────────────────────────────────────────────────────────

    @property
    def state(self) -> ConnectionState:
        """The state now."""
        return self._state

    def start(self) -> None:
        """Begin to connect in the background and keep at it; no effect if under way."""
        if self._is_running():
            return
        self._end = None
        self._last_error = None
        self._policy.reset()
        for handlers in self._all_handlers():
            handlers.resume()
        self._runner = asyncio.create_task(self._run(), name=f"websocket {self.config.label}")

    async def connect(self) -> None:
        """Connect; return when the connection is up and the open hook is done.

        Reconnecting goes on in the background afterwards. If the connection cannot be made within
        the attempts allowed, or is refused for good, everything is stopped again and the reason
        raised, whatever `on_exhausted` says; `start()` keeps trying instead.

        Raises:
            TransportError: why the connection could not be made; state FAILED.
            VenueError: the open hook was refused for good; state FAILED.
            CircuitOpenError: the venue has banned us for now; state FAILED.
        """
        is_first = not self._is_running()
        self.start()
        try:
            while self._state is not ConnectionState.CONNECTED:
                self._raise_if_ended()
                if is_first and self._state is ConnectionState.OPEN:
                    error = self._last_error or self._circuit_open()
                    self._end = error
                    await self._stop(ConnectionState.FAILED)
                    raise error
                await self._wait_change()
        except asyncio.CancelledError:
            await self.close()
            raise

    async def wait_connected(self) -> None:
        """Wait until the state is CONNECTED, through outages, after `start()` or `connect()`.

        Raises:
            TransportError: the manager gave up or was closed.
        """
        while self._state is not ConnectionState.CONNECTED:
            self._raise_if_ended()
            await self._wait_change()

    async def run(self) -> None:
        """Connect if need be and wait until the manager is closed or gives up.

        Raises:
            CrossfeedError: it gave up (`on_exhausted="fail"`) or could not connect at first.
        """
        if not self._is_running():
            await self.connect()
        while self._is_running():
            await self._wait_change()
        if self._end is not None:
            raise self._end

    async def close(self) -> None:
        """Close the connection and end everything, within 5 s. Safe at any time, repeatedly.

        Messages queued for async handlers are still handled as far as time allows. May be called
        from a handler.
        """
        await self._stop(ConnectionState.DISCONNECTED)

    async def reconnect(self, cause: str) -> None:
        """Give up the present connection, if any, and make a new one after a short wait."""
        if self._connection is not None:
            text = f"reconnecting: {escape(cause)}"
            where = self._connection.where
            self._connection.fail(StaleConnectionError(text, limit_s=0.0, where=where))

    async def __aenter__(self) -> Self:
        """Connect, as `connect()`."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, as `close()`."""
        await self.close()

    # ── sending ───────────────────────────────────────────────────────────────

    async def send(self, message: object) -> None:
        """Send one message: bytes and text as they are, anything else as JSON.

        Raises:
            NotConnectedError: there is no open connection.
            SendRejectedError: it cannot be encoded, the queue is full, or its turn did not come in
                time.
        """
        if isinstance(message, str):
            payload = message.encode("utf-8", "surrogatepass")
        elif isinstance(message, bytes | bytearray | memoryview):
            payload = bytes(message)
        else:
            try:
                payload = msgspec.json.encode(message)
            except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
                text = f"cannot be encoded as JSON: {exc}"
                raise SendRejectedError(text, where=self.config.label) from exc
        await self._outbox.send(payload)

    async def send_text(self, payload: bytes) -> None:
        """Send one text message, UTF-8; waits for its turn under the send limit.

        Raises:
            NotConnectedError: there is no open connection, or it ended while the message waited.
            SendRejectedError: the queue is full, its turn did not come in time, or the peer does
                not read.
        """
        await self._outbox.send(payload)

    # ── watching ──────────────────────────────────────────────────────────────

    def get_stats(self) -> dict[str, Any]:
        """Return what there is to know, as a new dict.

        `state`, `message_count`, `error_count`, `reconnect_attempts` (all since the beginning),
        `last_message_time` (seconds since 1970, None if none), `uptime_seconds` (of the present
        connection), and more counters by their names.
        """
        now_ns = self._clock.monotonic_ns()
        connection = self._connection
        last_ns = max(self._last_message_ns, connection.last_message_ns if connection else 0)
        is_up = self._state is ConnectionState.CONNECTED
        heartbeat = self._heartbeat
        totals = dict(self._totals)
        if connection is not None:
            for name, value in connection.counters().items():
                totals[name] += value
        return {
            "state": self._state.value,
            **totals,
            "last_message_time": (last_ns + self._wall.offset_ns) / NS_PER_S if last_ns else None,
            "uptime_seconds": (now_ns - self._connected_ns) / NS_PER_S if is_up else 0.0,
            "url": connection.where if connection else "",
            "last_error": str(self._last_error) if self._last_error else "",
            "failures_in_row": self._policy.failures,
            "sent_count": self._outbox.sent_count,
            "send_rejected_count": self._outbox.rejected_count,
            "send_queue_length": len(self._outbox),
            "handler_failed_count": sum(h.failed for h in self._all_handlers()),
            "handler_dropped_count": sum(h.dropped for h in self._all_handlers()),
            "handler_quarantined_count": sum(h.quarantined for h in self._all_handlers()),
            "clock_jump_count": self._wall.jumps,
            "rtt_ms": heartbeat.rtt_ns / 1e6 if heartbeat else 0.0,
        }

    def __repr__(self) -> str:
        stats = self.get_stats()
        counts = f"{stats['message_count']} messages, {stats['error_count']} errors"
        return f"<WebSocketManager {self.config.label}: {self._state.value}, {counts}>"

    # ── the runner ────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        try:
            await self._keep_up()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            # A fault of ours must be seen, never end the feed silently.
            self._give_up(ConnectFailedError(f"internal error: {exc!r}", where=self.config.label))
            raise
        finally:
            self._notify()

    async def _keep_up(self) -> None:
        """Make attempt after attempt until one rule says to give up."""
        self._set_state(ConnectionState.CONNECTING)
        while True:
            if self._gate.forced_wait_ns:
                self._set_state(ConnectionState.OPEN)
            attempt = await self._gate.admit()
            if self._state is ConnectionState.OPEN:
                self._set_state(ConnectionState.CONNECTING)
            self._breaker.admit(self._clock.monotonic_ns())
            error, good_data_ns = await self._attempt(attempt)
            wait_ns = self._plan(error, good_data_ns)
            if wait_ns is None:
                return
            self._totals["reconnect_attempts"] += 1
            await self._clock.sleep(wait_ns / NS_PER_S)

    async def _attempt(self, attempt: Attempt) -> tuple[CrossfeedError, int]:
        """Live through one connection; return why it ended and how long good data had flowed."""
        is_reported = False
        connection: WebSocketConnection | None = None
        try:
            connection = self._make_connection()
            self._connection = connection
            await connection.open(resolver=self._resolver, tls=await self._get_tls(connection.url))
            error = await self._serve(connection, attempt)
        except CrossfeedError as exc:
            error = exc
        except BaseException:
            self._gate.abandoned(attempt)
            is_reported = True
            raise
        finally:
            if connection is not None:
                self._absorb(connection)
                await connection.close()
        assert not is_reported
        if self._connected_ns:
            self._gate.lost()
        else:
            self._gate.failed(attempt, error, has_alternative=self._has_alternative())
        good_data_ns = 0
        if connection is not None and self._connected_ns and connection.last_message_ns:
            good_data_ns = connection.last_message_ns - self._connected_ns
        self._connected_ns = 0
        return error, good_data_ns

    async def _serve(self, connection: WebSocketConnection, attempt: Attempt) -> CrossfeedError:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._outbox.run(connection), name="outbox"),
                group.create_task(self._beat(connection), name="heartbeat"),
                group.create_task(self._announce(connection, attempt), name="open hook"),
            ]
            error = await connection.wait_closed()
            for task in tasks:
                task.cancel()
        return error

    async def _announce(self, connection: WebSocketConnection, attempt: Attempt) -> None:
        """Run the open hook, then announce CONNECTED; a failing hook fails the connection."""
        if self._open_hook is not None:
            what, limit_s = "the open hook", self.config.open_timeout_s
            try:
                async with deadline(self._clock, limit_s, what, where=connection.where):
                    await self._open_hook(self)
            except CrossfeedError as exc:
                connection.fail(exc)
                return
            except Exception as exc:  # noqa: BLE001 - the hook is foreign code; its fault becomes ours to report
                text = f"the open hook failed: {exc!r}"
                connection.fail(ConnectFailedError(text, where=connection.where))
                return
        if connection.is_open:
            now_ns = self._clock.monotonic_ns()
            self._connected_ns = now_ns
            self._gate.succeeded(attempt)
            self._breaker.on_success(now_ns, is_lasting=False)
            self._set_state(ConnectionState.CONNECTED)

    async def _beat(self, connection: WebSocketConnection) -> None:
        """Run the heartbeat rule and the once-a-second checks."""
        heartbeat = Heartbeat(self.config.heartbeat, self._clock.monotonic_ns())
        self._heartbeat = heartbeat
        while True:
            now_ns = self._clock.monotonic_ns()
            jump_ns = self._wall.sample()
            if jump_ns:
                self._jump_handlers.emit(jump_ns)
            connection.check(now_ns)
            pulse = heartbeat.poll(now_ns, connection.last_frame_ns)
            if pulse is not Pulse.NOTHING:
                if not self._act(pulse, connection, heartbeat, now_ns):
                    return
                continue
            wait_s = CHECK_INTERVAL_S
            next_ns = heartbeat.next_poll_ns(connection.last_frame_ns)
            if next_ns is not None:
                wait_s = min(wait_s, max(0.0, (next_ns - now_ns) / NS_PER_S))
            await self._clock.sleep(wait_s)

    def _act(
        self, pulse: Pulse, connection: WebSocketConnection, heartbeat: Heartbeat, now_ns: int
    ) -> bool:
        """Do what the heartbeat asks; return False when the connection is given up."""
        config = self.config
        try:
            match pulse:
                case Pulse.PING:
                    connection.send_ping(heartbeat.ping_payload(now_ns))
                case Pulse.APP_PING:
                    connection.send_text(config.app_ping.encode())
                case Pulse.DEAD_PING:
                    text = f"no pong and no data within {config.ping_timeout_s:g} s of a ping"
                    limit_s = config.ping_timeout_s
                    connection.fail(
                        StaleConnectionError(text, limit_s=limit_s, where=connection.where)
                    )
                    return False
                case Pulse.DEAD_SILENT:
                    limit_s = config.heartbeat_interval
                    text = f"silent for {limit_s:g} s"
                    connection.fail(
                        StaleConnectionError(text, limit_s=limit_s, where=connection.where)
                    )
                    return False
                case Pulse.NOTHING:
                    pass
        except SendRejectedError:
            pass  # The peer does not read. The ping counts as sent; its deadline decides.
        except NotConnectedError:
            return False
        return True

    def _plan(self, error: CrossfeedError, good_data_ns: int) -> int | None:
        """Decide what follows `error`: the wait in ns before the next attempt, None to give up."""
        now_ns = self._clock.monotonic_ns()
        config = self.config
        if good_data_ns >= config.backoff_reset_after_s * NS_PER_S:
            self._breaker.on_success(now_ns)
        decision = self._policy.on_failure(error, good_data_ns=good_data_ns)
        self._last_error = error
        has_alternative = self._has_alternative()
        self._url_index += 1
        self._report(error)
        is_permanent = decision.refusal is Refusal.PERMANENT and not has_alternative
        if config.on_exhausted == "fail":
            if is_permanent or decision.is_exhausted:
                self._give_up(error)
                return None
            self._set_state(self._retrying_state())
            return decision.wait_ns if not has_alternative else min(decision.wait_ns, NS_PER_S)
        if decision.is_for_venue:
            self._breaker.force_open(now_ns + decision.wait_ns)
        elif is_permanent:
            self._breaker.hold(now_ns, decision.wait_ns)
        elif decision.is_exhausted:
            self._breaker.on_failure(now_ns)
        else:
            self._set_state(self._retrying_state())
            return decision.wait_ns
        self._set_state(ConnectionState.OPEN)
        return self._breaker.retry_at_ns(now_ns) - now_ns

    def _retrying_state(self) -> ConnectionState:
        if self._state is ConnectionState.CONNECTING:
            return ConnectionState.CONNECTING
        return ConnectionState.RECONNECTING

    def _give_up(self, error: CrossfeedError) -> None:
        self._end = error
        self._set_state(ConnectionState.FAILED)

    # ── inside ────────────────────────────────────────────────────────────────

    def _make_connection(self) -> WebSocketConnection:
        return WebSocketConnection(
            self.config,
            self._url_provider(self._policy.failures),
            on_frame=self._frame_target(),
            budget=self._outbox.budget,
            wall=self._wall,
            on_pong=self._on_pong,
            on_fault=self._report,
            listener_factory=self._listener_factory,
        )

    async def _get_tls(self, url: str) -> ssl.SSLContext | None:
        if not url.startswith("wss:"):
            return None
        if self._tls is None:
            # Reading the CA file takes some 10 ms: not on the loop.
            self._tls = await asyncio.to_thread(make_tls_context, self.config.tls_ca_file)
        return self._tls

    def _own_url(self, _failures: int) -> str:
        urls = (self.config.url, *self.config.alternate_urls)
        return urls[self._url_index % len(urls)]

    def _has_alternative(self) -> bool:
        return (self._url_index + 1) % (1 + len(self.config.alternate_urls)) != 0

    def _frame_target(self) -> OnFrame:
        if len(self._message_handlers):
            return self._dispatch
        return self._frame_hook or _ignore_frame

    def _rebind(self) -> None:
        if self._connection is not None:
            self._connection.rebind(self._frame_target())

    def _dispatch(self, payload: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        if self._frame_hook is not None:
            self._frame_hook(payload, ts_recv_ns, ts_mono_ns)
        try:
            message = _DECODERS[self.config.decode](payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            self._totals["decode_errors"] += 1
            self._report(MalformedFrameError(self.config.label, "syntax", str(exc), payload))
            return
        self._message_handlers.emit(message)

    def _on_pong(self, ts_mono_ns: int, payload: bytes) -> None:
        if self._heartbeat is not None:
            self._heartbeat.on_pong(ts_mono_ns, payload)

    def _absorb(self, connection: WebSocketConnection) -> None:
        """Add a finished connection's counters to the totals."""
        for name, value in connection.counters().items():
            self._totals[name] += value
        if self._heartbeat is not None:
            self._totals["ping_failures"] += self._heartbeat.ping_failures
        self._last_message_ns = max(self._last_message_ns, connection.last_message_ns)
        self._connection = None

    def _set_state(self, new: ConnectionState) -> None:
        old = self._state
        if old is new:
            return
        self._state = new
        self._log.log(logging.INFO, f"{self.config.label}: {old.value} -> {new.value}")
        self._notify()
        self._state_handlers.emit(old, new)

    def _notify(self) -> None:
        waiters, self._state_waiters = self._state_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _wait_change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._state_waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._state_waiters:
                self._state_waiters.remove(waiter)

    def _is_running(self) -> bool:
        return self._runner is not None and not self._runner.done()

    def _raise_if_ended(self) -> None:
        if not self._is_running():
            raise self._end or NotConnectedError("closed", where=self.config.label)

    def _circuit_open(self) -> CircuitOpenError:
        retry_at_ns = self._clock.monotonic_ns() + self._gate.forced_wait_ns
        return CircuitOpenError(self.config.label, retry_at_ns=retry_at_ns)

    async def _stop(self, state: ConnectionState) -> None:
        runner = self._runner
        try:
            if runner is not None and not runner.done() and runner is not asyncio.current_task():
                runner.cancel()
                await asyncio.wait({runner})
            if self._state is not ConnectionState.FAILED:
                self._set_state(state)
            self._notify()
            with contextlib.suppress(DeadlineError):
                async with deadline(self._clock, DRAIN_TIMEOUT_S, "finishing handlers"):
                    for handlers in self._all_handlers():
                        await handlers.drain()
        finally:
            if self._connection is not None:
                self._connection.abort()
            for handlers in self._all_handlers():
                handlers.cancel()

    def _make_handlers(self, report: Callable[[BaseException], None]) -> Handlers:
        return Handlers(
            report,
            queue_max=self.config.handler_queue_max,
            failures_max=self.config.handler_failures_max,
        )

    def _all_handlers(self) -> Iterator[Handlers]:
        yield from (
            self._message_handlers,
            self._state_handlers,
            self._jump_handlers,
            self._error_handlers,
        )

    def _report(self, error: BaseException) -> None:
        """Count an error, log it, hand it to the error handlers."""
        self._totals["error_count"] += 1
        self._log.log(logging.WARNING, f"{self.config.label}: {error!r}")
        self._error_handlers.emit(error)

    def _log_handler_error(self, error: BaseException) -> None:
        self._log.log(logging.ERROR, f"{self.config.label}: an error handler failed: {error!r}")


_COUNTERS: Final = (
    "message_count",
    "byte_count",
    "error_count",
    "reconnect_attempts",
    "decode_errors",
    "ping_failures",
    "pongs_sent",
    "pongs_skipped",
    "binary_dropped",
)

_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "json": msgspec.json.Decoder().decode,
    "text": bytes.decode,
    "bytes": bytes,
}


def _ignore_frame(_payload: bytes, _ts_recv_ns: int, _ts_mono_ns: int) -> None:
    """Take a message nobody asked for: it is counted, that is all."""
