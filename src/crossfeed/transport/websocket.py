"""One WebSocket connection over picows, made strict: what leaves here obeys RFC 6455.

`listener` has the data path; this has everything beside it: life, sending, pongs, and every frame
that is not a whole plain text message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

import picows

from crossfeed.errors import (
    ConnectionLostError,
    CrossfeedError,
    NotConnectedError,
    ProtocolViolationError,
    SendRejectedError,
)
from crossfeed.transport.address import Resolver
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.framing import (
    CLOSE_NO_STATUS,
    Close,
    FrameRules,
    Message,
    Ping,
    Pong,
    check_text,
)
from crossfeed.transport.handshake import open_transport
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.listener import (
    FrameListener,
    ListenerFactory,
    OnFrame,
    PicowsLog,
)
from crossfeed.transport.masking import escape, mask_url
from crossfeed.transport.wallclock import WallOffset

__all__ = ["WebSocketConnection"]

NS_PER_S: Final = 1_000_000_000
CLOSE_ABNORMAL: Final = 1006
LINGER_S: Final = 0.05


class WebSocketConnection:
    """One open connection. Made by `open`, ends once; `wait_closed` says why.

    Attributes:
        url: Address it was opened with.
        where: The same for logs, secrets masked.
        opened_ns: Monotonic time of the opening.
        on_pong: Gets the monotonic time and payload of each pong, if set.
        pongs_sent: Pongs sent in answer to pings.
        pongs_skipped: Pings left unanswered: superseded by a later one, or the peer does not read.
        binary_dropped: Binary messages dropped because they are not accepted.
        handler_errors: Exceptions of the frame handler.
    """

    def __init__(
        self,
        config: WebSocketConfig,
        url: str,
        *,
        on_frame: OnFrame,
        budget: SendBudget,
        wall: WallOffset,
        on_fault: Callable[[BaseException], None] | None = None,
        listener_factory: ListenerFactory = FrameListener,
    ) -> None:
        """Prepare; nothing is opened yet. `on_fault` gets faults that do not end the connection."""
        self.url = url
        self.where = f"{config.label} ({mask_url(url)})"
        self.clock = wall.clock
        self.on_frame = on_frame
        self.wall = wall
        self.opened_ns = 0
        self.pongs_sent = 0
        self.pongs_skipped = 0
        self.binary_dropped = 0
        self.handler_errors = 0
        self.is_write_paused = False
        self._config = config
        self._budget = budget
        self.on_pong: Callable[[int, bytes], None] | None = None
        self._on_fault = on_fault
        self._rules = FrameRules(
            bytes_max=config.frame_bytes_max,
            fragments_max=config.fragments_max,
            where=self.where,
        )
        self._listener_factory = listener_factory
        self._listener: Any = None
        self._transport: picows.WSTransport | None = None
        self._cause: CrossfeedError | None = None
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        self._is_closing = False
        self._last_control_ns = 0
        self._fragment_since_ns = 0
        self._pong_payload: bytes | None = None
        self._linger: asyncio.TimerHandle | None = None

    # ── life ──────────────────────────────────────────────────────────────────

    async def open(self, *, resolver: Resolver, tls: ssl.SSLContext | None) -> None:
        """Connect and upgrade. Frames may be delivered before this returns.

        Raises:
            TransportError: as `open_transport`; nothing is left open.
        """
        await open_transport(
            self._config,
            self.url,
            clock=self.clock,
            resolver=resolver,
            tls=tls,
            listener_factory=self._make_listener,
            logger=PicowsLog(self),
        )

    async def wait_closed(self) -> CrossfeedError:
        """Wait for the end; return why it ended. Cancelling the wait changes nothing."""
        await asyncio.shield(self._lost)
        assert self._cause is not None
        return self._cause

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order: send a close frame, wait `close_timeout_s` for the peer's, then cut.

        Returns when the socket is closed. Cancelled in between, it cuts at once.
        """
        if self._watch is None:
            return
        if not self._is_closing:
            self._finish(ConnectionLostError("closed by us", close_code=code, where=self.where))
            self._send_close(code, reason)
        timer = asyncio.ensure_future(self.clock.sleep(self._config.close_timeout_s))
        try:
            await asyncio.wait({self._watch, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            self.abort()
        await asyncio.wait({self._watch})

    def fail(self, error: CrossfeedError, *, close_code: int = 1001) -> None:
        """End the connection because of `error`: send a close frame if possible, cut soon after."""
        if self._is_closing:
            return
        self._finish(error)
        self._send_close(close_code, "")
        self._cut_soon()

    def abort(self) -> None:
        """Cut the connection now, without a close frame."""
        self._finish(ConnectionLostError("cut by us", where=self.where))
        if self._transport is not None and not self._lost.done():
            self._transport.underlying_transport.abort()

    def rebind(self, on_frame: OnFrame) -> None:
        """Deliver to `on_frame` from the next message on."""
        self.on_frame = on_frame
        if self._listener is not None:
            self._listener.on_frame = on_frame

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._transport is not None and not self._is_closing and not self._lost.done()

    @property
    def message_count(self) -> int:
        """Messages delivered."""
        return int(self._listener.frame_count) if self._listener is not None else 0

    @property
    def byte_count(self) -> int:
        """Bytes of the messages delivered."""
        return int(self._listener.byte_count) if self._listener is not None else 0

    @property
    def last_message_ns(self) -> int:
        """Monotonic time of the last message, 0 if none came."""
        return int(self._listener.last_frame_ns) if self._listener is not None else 0

    @property
    def last_frame_ns(self) -> int:
        """Monotonic time of the last frame of any kind, 0 if none came."""
        return max(self.last_message_ns, self._last_control_ns)

    def counters(self) -> dict[str, int]:
        """Return what was counted so far, by name."""
        return {
            "message_count": self.message_count,
            "byte_count": self.byte_count,
            "pongs_sent": self.pongs_sent,
            "pongs_skipped": self.pongs_skipped,
            "binary_dropped": self.binary_dropped,
        }

    def __repr__(self) -> str:
        state = "open" if self.is_open else f"closed ({self._cause})"
        return f"<WebSocketConnection {self.where}: {state}, {self.message_count} messages>"

    # ── sending ───────────────────────────────────────────────────────────────

    def send_text(self, payload: bytes) -> None:
        """Send one text message now; counted in the budget, whose waits the caller minds.

        Raises:
            NotConnectedError: the connection is not open.
            SendRejectedError: the peer has not read what was sent before.
        """
        transport = self._writable()
        self._budget.record(self.clock.monotonic_ns())
        transport.send(picows.WSMsgType.TEXT, payload)

    def control_wait_ns(self, now_ns: int) -> int:
        """Return how long a ping must wait for its place in the send budget; 0 if it need not."""
        return self._budget.control_wait_ns(now_ns)

    def send_ping(self, payload: bytes) -> None:
        """Send a ping now.

        Raises:
            NotConnectedError: the connection is not open.
            SendRejectedError: the peer has not read what was sent before.
        """
        transport = self._writable()
        self._budget.record(self.clock.monotonic_ns())
        transport.send_ping(payload)

    def _writable(self) -> picows.WSTransport:
        if self._transport is None or not self.is_open:
            raise NotConnectedError("the connection is not open", where=self.where)
        if self.is_write_paused:
            raise SendRejectedError("the peer does not read what we send", where=self.where)
        return self._transport

    def _answer(self, payload: bytes) -> None:
        """Answer a ping, or the latest of several once the budget allows (RFC 6455 5.5.3)."""
        if self._pong_payload is not None:
            self.pongs_skipped += 1
        self._pong_payload = payload
        self._send_pong()

    def _send_pong(self) -> None:
        payload, self._pong_payload = self._pong_payload, None
        if payload is None or self._transport is None or not self.is_open:
            return
        if self.is_write_paused:
            self.pongs_skipped += 1
            return
        now_ns = self.clock.monotonic_ns()
        if self._budget.control_wait_ns(now_ns):
            self._pong_payload = payload  # For the next check, within a second.
            return
        self._budget.record(now_ns)
        self.pongs_sent += 1
        self._transport.send_pong(payload)

    def _send_close(self, code: int, reason: str) -> None:
        if self._transport is not None and not self.is_write_paused:
            self._transport.send_close(code, reason.encode()[:120])  # type: ignore[arg-type]

    # ── what the listener calls ───────────────────────────────────────────────

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Note the opening."""
        self._transport = transport
        self.opened_ns = self.clock.monotonic_ns()
        transport.underlying_transport.set_write_buffer_limits(
            high=self._config.write_buffer_bytes_max
        )
        # picows puts a parser error into a future that somebody must look at.
        self._watch = asyncio.create_task(self._see_off(transport), name="websocket-end")

    def accepts_text(self, payload: bytes) -> bool:
        """Say whether `payload` is UTF-8; fail the connection with 1007 if it is not."""
        try:
            check_text(payload, self.where)
        except ProtocolViolationError as exc:
            self._violate(exc)
            return False
        return True

    def receive(self, frame: picows.WSFrame, ts_mono_ns: int) -> None:
        """Take any frame but a whole plain text message; ignore it after the end."""
        if self._is_closing and frame.msg_type is not picows.WSMsgType.CLOSE:
            return
        self._last_control_ns = ts_mono_ns
        rsv = frame.rsv1 << 2 | frame.rsv2 << 1 | frame.rsv3
        payload = frame.get_payload_as_bytes()
        try:
            done = self._rules.receive(
                frame.msg_type.value, payload, is_final=bool(frame.fin), rsv=rsv
            )
        except ProtocolViolationError as exc:
            self._violate(exc)
            return
        fragments = self._rules.fragments
        self._listener.is_plain = not fragments and not self._is_closing
        if fragments == 1 and not isinstance(done, Ping | Pong | Close):
            self._fragment_since_ns = ts_mono_ns
        match done:
            case Message():
                self._deliver(done, ts_mono_ns)
            case Ping():
                self._answer(done.payload)
            case Pong():
                if self.on_pong is not None:
                    self.on_pong(ts_mono_ns, done.payload)
            case Close():
                self._on_close(done, payload)
            case None:
                pass

    def on_parser_error(self, code: int, text: str) -> None:
        """Take a violation that picows found: it has sent its close frame already."""
        if self._is_closing:
            return
        error = ProtocolViolationError(escape(text), close_code=code, where=self.where)
        # The frame before the bad one is delivered after this call, hence the end of it later.
        self._cause = error
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._finish, error)
        self._cut_soon()

    def on_handler_error(self, exc: BaseException) -> None:
        """Count and report an exception of the frame handler; the connection goes on."""
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        self.handler_errors += 1
        if self._on_fault is not None:
            self._on_fault(exc)

    def on_ws_disconnected(self, _transport: picows.WSTransport) -> None:
        """Note the end."""
        self._finish(
            ConnectionLostError(
                "the connection ended without a close frame",
                close_code=CLOSE_ABNORMAL,
                where=self.where,
            )
        )
        if self._linger is not None:
            self._linger.cancel()
        if not self._lost.done():
            self._lost.set_result(None)

    # ── housekeeping, called by the manager about once a second ───────────────

    def check(self, now_ns: int) -> None:
        """Renew the wall clock's offset, send a pong that had to wait, end a stuck message."""
        if self._listener is not None:
            self._listener.wall_offset_ns = self.wall.offset_ns
        self._send_pong()
        limit_s = self._config.frame_timeout_s
        if self._rules.fragments and now_ns - self._fragment_since_ns > limit_s * NS_PER_S:
            text = f"fragmented message not complete after {limit_s:g} s"
            self._violate(ProtocolViolationError(text, close_code=1002, where=self.where))

    # ── inside ────────────────────────────────────────────────────────────────

    def _make_listener(self) -> picows.WSListener:
        listener = self._listener_factory(self)
        self._listener = listener
        return listener  # type: ignore[no-any-return]

    async def _see_off(self, transport: picows.WSTransport) -> None:
        try:
            await transport.wait_disconnected()
        except picows.WSError:
            pass  # Known already: it came by way of the log.
        except OSError:
            pass

    def _deliver(self, message: Message, ts_mono_ns: int) -> None:
        if not message.is_text and not self._config.accept_binary:
            self.binary_dropped += 1
            if self._on_fault is not None:
                text = (
                    f"binary message of {len(message.payload)} bytes dropped (accept_binary is off)"
                )
                self._on_fault(ProtocolViolationError(text, close_code=1003, where=self.where))
            return
        listener = self._listener
        listener.last_frame_ns = ts_mono_ns
        listener.frame_count += 1
        listener.byte_count += len(message.payload)
        try:
            self.on_frame(message.payload, ts_mono_ns + listener.wall_offset_ns, ts_mono_ns)
        except BaseException as exc:  # noqa: BLE001 - a handler's fault must not end the feed
            self.on_handler_error(exc)

    def _on_close(self, close: Close, payload: bytes) -> None:
        reason = escape(close.reason)
        code = close.code
        said = "without a code" if code == CLOSE_NO_STATUS else f"with {code}"
        text = f"closed by the peer {said}" + (f" ({reason})" if reason else "")
        self._finish(ConnectionLostError(text, close_code=code, reason=reason, where=self.where))
        if self._transport is not None:
            # Echo code and reason as they came. `send_close` cannot send an empty one.
            if not self._transport.is_close_frame_sent and not self.is_write_paused:
                self._transport.send(picows.WSMsgType.CLOSE, payload)
            self._transport.underlying_transport.close()
        self._cut_soon(self._config.close_timeout_s)

    def _violate(self, error: ProtocolViolationError) -> None:
        if self._is_closing:
            return
        self._finish(error)
        self._send_close(error.close_code, "")
        self._cut_soon()

    def _finish(self, cause: CrossfeedError) -> None:
        """Stop delivering; the first cause given is the one reported."""
        self._is_closing = True
        if self._cause is None:
            self._cause = cause
        if self._listener is not None:
            self._listener.is_plain = False

    def _cut_soon(self, delay_s: float | None = None) -> None:
        """Cut after `delay_s`; by default read no more, wait only for our close frame to leave."""
        if self._transport is None or self._lost.done():
            return
        if delay_s is None and not self._transport.underlying_transport.is_closing():
            self._transport.underlying_transport.pause_reading()
        if self._linger is None:
            loop = asyncio.get_running_loop()
            wait_s = LINGER_S if delay_s is None else delay_s
            self._linger = loop.call_later(wait_s, self._transport.underlying_transport.abort)
