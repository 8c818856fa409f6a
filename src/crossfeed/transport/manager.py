"""`WebSocketManager`: one connection kept up, from connecting to giving up or recovering.

This is the front: handlers, state, sending, statistics. `supervision` runs the connection behind
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
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
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig, check_config
from crossfeed.transport.deadline import deadline
from crossfeed.transport.defaults import default_clock, default_random
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.handlers import Handlers
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.listener import FrameListener, ListenerFactory, OnFrame
from crossfeed.transport.masking import LogLimiter, escape
from crossfeed.transport.outbox import Outbox
from crossfeed.transport.state import ConnectionState, StateBoard
from crossfeed.transport.supervision import Hooks, OnOpen, Supervisor, UrlProvider

__all__ = ["ConnectionState", "OnOpen", "UrlProvider", "WebSocketManager"]

logger = logging.getLogger("crossfeed.transport")
logger.addHandler(logging.NullHandler())
_limited = LogLimiter(logger)

NS_PER_S: Final = 1_000_000_000
DRAIN_TIMEOUT_S: Final = 2.0

_H = TypeVar("_H", bound=Callable[..., Any])


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
        check_config(config)
        self.config = config
        self._clock = clock if clock is not None else default_clock()
        random = random if random is not None else default_random()
        self._error_handlers = self._make_handlers(self._log_handler_error)
        self._message_handlers = self._make_handlers(self._report)
        self._state_handlers = self._make_handlers(self._report)
        self._jump_handlers = self._make_handlers(self._report)
        self._handlers = (
            self._message_handlers,
            self._state_handlers,
            self._jump_handlers,
            self._error_handlers,
        )
        self._frame_hook: OnFrame | None = None
        self._hooks = Hooks(
            _ignore_frame,
            self._report,
            self._jump_handlers.emit,
            listener_factory=listener_factory,
        )
        self._board = StateBoard(self._on_state)
        self._outbox = Outbox(
            send_budget or config.make_send_budget(),
            self._clock,
            queue_max=config.send_queue_max,
            timeout_s=config.send_timeout_s,
            where=config.label,
        )
        self._gate = gate or VenueGate(
            AdmissionLimits(backoff=config.backoff), clock=self._clock, random=random
        )
        self._supervisor = Supervisor(
            config,
            self._hooks,
            self._board,
            clock=self._clock,
            random=random,
            gate=self._gate,
            resolver=resolver or Resolver(self._clock),
            outbox=self._outbox,
        )
        self._decode = _DECODERS[config.decode]
        self._runner: asyncio.Task[None] | None = None
        self._error_count = 0
        self._decode_errors = 0

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
        """Call `handler(old, new)` for each change of state."""
        self._state_handlers.add(handler)
        return handler

    def on_clock_jump(self, handler: _H) -> _H:
        """Call `handler(jump_ns)` when the wall clock jumps by half a second or more."""
        self._jump_handlers.add(handler)
        return handler

    def on_frame(self, hook: OnFrame) -> OnFrame:
        """Call `hook(payload, ts_recv_ns, ts_mono_ns)` for each message, before message handlers.

        One hook, sync, without any decoding; a further call replaces it. The bytes are the hook's
        to keep.
        """
        self._frame_hook = hook
        self._rebind()
        return hook

    def on_open(self, hook: OnOpen) -> OnOpen:
        """Await `hook()` on each new connection before CONNECTED is announced. One hook.

        A hook that raises fails the connection; an error that is not `retryable` counts as refused
        for good.
        """
        self._hooks.on_open = hook
        return hook

    def set_url_provider(self, provider: UrlProvider) -> None:
        """Ask `provider(failures)` for each address; by default url and alternates in turn."""
        self._hooks.next_url = provider

    def off(self, handler: Callable[..., Any]) -> None:
        """Remove a handler wherever it was registered."""
        for handlers in self._handlers:
            handlers.remove(handler)
        self._rebind()

    # ── life ──────────────────────────────────────────────────────────────────

    @property
    def state(self) -> ConnectionState:
        """The state now."""
        return self._board.state

    def start(self) -> None:
        """Begin to connect in the background and keep at it; no effect if under way."""
        if self._is_running():
            return
        self._supervisor.reset()
        for handlers in self._handlers:
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
            while self.state is not ConnectionState.CONNECTED:
                is_refused = is_first and self.state is ConnectionState.OPEN
                if is_refused and self._is_running():
                    self._supervisor.give_up(self._supervisor.last_error or self._circuit_open())
                if is_refused or not self._is_running():
                    await self._stop()
                    self._raise_if_ended()
                await self._board.wait_change()
        except asyncio.CancelledError:
            await self.close()
            raise

    async def wait_connected(self) -> None:
        """Wait until the state is CONNECTED, through outages, after `start()` or `connect()`.

        Raises:
            CrossfeedError: the manager gave up or was closed.
        """
        while self.state is not ConnectionState.CONNECTED:
            self._raise_if_ended()
            await self._board.wait_change()

    async def run(self) -> None:
        """Connect if need be and wait until the manager is closed or gives up.

        Raises:
            CrossfeedError: it gave up (`on_exhausted="fail"`) or could not connect at first.
        """
        if not self._is_running():
            await self.connect()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the manager is closed or gives up; return at once if it is not running.

        Raises:
            CrossfeedError: it gave up.
        """
        while self._is_running():
            await self._board.wait_change()
        if self._supervisor.end is not None:
            raise self._supervisor.end

    async def close(self) -> None:
        """Close the connection and end everything, within 5 s. Safe at any time, repeatedly.

        Messages queued for async handlers are still handled as far as time allows. May be called
        from a handler. State DISCONNECTED, or FAILED if that was reached before.
        """
        await self._stop()

    async def reconnect(self, cause: str) -> None:
        """Give up the present connection, if any, and make a new one after a short wait."""
        connection = self._supervisor.connection
        if connection is not None:
            text = f"reconnecting: {escape(cause)}"
            connection.fail(StaleConnectionError(text, limit_s=0.0, where=connection.where))

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
        elif isinstance(message, bytes | bytearray):
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
        supervisor = self._supervisor
        last_ns = supervisor.last_message_ns
        connection = supervisor.connection
        uptime_ns = 0
        if self.state is ConnectionState.CONNECTED:
            uptime_ns = self._clock.monotonic_ns() - supervisor.connected_ns
        wall_offset_ns = supervisor.wall.offset_ns
        return {
            "state": self.state.value,
            **supervisor.counters(),
            "error_count": self._error_count,
            "last_message_time": (last_ns + wall_offset_ns) / NS_PER_S if last_ns else None,
            "uptime_seconds": uptime_ns / NS_PER_S,
            "url": connection.where if connection is not None else "",
            "last_error": str(supervisor.last_error) if supervisor.last_error else "",
            "failures_in_row": supervisor.failures,
            "decode_errors": self._decode_errors,
            "sent_count": self._outbox.sent_count,
            "send_rejected_count": self._outbox.rejected_count,
            "send_queue_length": len(self._outbox),
            "handler_failed_count": sum(h.failed for h in self._handlers),
            "handler_dropped_count": sum(h.dropped for h in self._handlers),
            "handler_quarantined_count": sum(h.quarantined for h in self._handlers),
            "clock_jump_count": supervisor.wall.jumps,
            "rtt_ms": supervisor.rtt_ns / 1e6,
        }

    def __repr__(self) -> str:
        counts = f"{self._supervisor.counters()['message_count']} messages"
        return f"<WebSocketManager {self.config.label}: {self.state.value}, {counts}>"

    # ── inside ────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        try:
            await self._supervisor.run()
        except asyncio.CancelledError:
            self._set_disconnected()
            raise
        except Exception as exc:  # noqa: BLE001 - a fault of ours must be seen, never end silently
            error = ConnectFailedError(f"internal error: {exc!r}", where=self.config.label)
            error.__cause__ = exc
            self._supervisor.give_up(error)
            self._report(error)
        finally:
            # The runner counts as done only after this step, and that is what the waiters look at.
            asyncio.get_running_loop().call_soon(self._board.notify)

    async def _stop(self) -> None:
        runner = self._runner
        try:
            if runner is not None and not runner.done() and runner is not asyncio.current_task():
                runner.cancel()
                await asyncio.wait({runner})
            self._set_disconnected()
            with contextlib.suppress(DeadlineError):
                async with deadline(self._clock, DRAIN_TIMEOUT_S, "finishing handlers"):
                    for handlers in self._handlers:
                        await handlers.drain()
        finally:
            if self._supervisor.connection is not None:
                self._supervisor.connection.abort()
            for handlers in self._handlers:
                handlers.cancel()

    def _set_disconnected(self) -> None:
        if self.state is not ConnectionState.FAILED:
            self._board.set(ConnectionState.DISCONNECTED)

    def _is_running(self) -> bool:
        return self._runner is not None and not self._runner.done()

    def _raise_if_ended(self) -> None:
        if not self._is_running():
            raise self._supervisor.end or NotConnectedError("closed", where=self.config.label)

    def _circuit_open(self) -> CrossfeedError:
        retry_at_ns = self._clock.monotonic_ns() + self._gate.forced_wait_ns
        return CircuitOpenError(self.config.label, retry_at_ns=retry_at_ns)

    def _make_handlers(self, report: Callable[[BaseException], None]) -> Handlers:
        return Handlers(
            report,
            queue_max=self.config.handler_queue_max,
            failures_max=self.config.handler_failures_max,
        )

    def _rebind(self) -> None:
        """Deliver straight to the frame hook unless messages must be decoded."""
        target = self._frame_hook or _ignore_frame
        if len(self._message_handlers):
            target = self._dispatch
        self._hooks.on_frame = target
        if self._supervisor.connection is not None:
            self._supervisor.connection.rebind(target)

    def _dispatch(self, payload: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        if self._frame_hook is not None:
            self._frame_hook(payload, ts_recv_ns, ts_mono_ns)
        try:
            message = self._decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            self._decode_errors += 1
            self._report(MalformedFrameError(self.config.label, "syntax", str(exc), payload))
            return
        self._message_handlers.emit(message)

    def _on_state(self, old: ConnectionState, new: ConnectionState) -> None:
        self._log(logging.INFO, f"{old.value} -> {new.value}")
        self._state_handlers.emit(old, new)

    def _report(self, error: BaseException) -> None:
        """Count an error, log it, hand it to the error handlers."""
        self._error_count += 1
        self._log(logging.WARNING, repr(error))
        self._error_handlers.emit(error)

    def _log(self, level: int, text: str) -> None:
        _limited.log(level, f"{self.config.label}: {text}", self._clock.monotonic_ns())

    def _log_handler_error(self, error: BaseException) -> None:
        self._log(logging.ERROR, f"an error handler failed: {error!r}")


_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "json": msgspec.json.Decoder().decode,
    "text": bytes.decode,
    "bytes": bytes,
}


def _ignore_frame(_payload: bytes, _ts_recv_ns: int, _ts_mono_ns: int) -> None:
    """Take a message nobody asked for: it is counted, that is all."""
