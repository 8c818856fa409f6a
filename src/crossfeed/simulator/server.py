"""The thin shell: TCP connections in, the venue's pure machines inside, bytes out."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from crossfeed.errors import ConfigError
from crossfeed.simulator.framing import (
    FrameDecoder,
    FrameError,
    Opcode,
    accept_key,
    encode,
    encode_close,
    header,
)
from crossfeed.simulator.http import (
    HttpError,
    Request,
    RequestParser,
    Response,
    json_response,
    write_response,
)
from crossfeed.simulator.outgoing import Close, Cut, Outgoing, Ping, Pong
from crossfeed.simulator.session import Session

__all__ = ["Connection", "Endpoint", "PortServer", "cannot_listen", "check_port"]

PORT_MAX = 65_535

#: How long the client may take to answer a close frame, and a cut to reach it, seconds.
CLOSE_WAIT_S = 2.0
_CUT_POLL_S = 0.002
_CUT_POLLS_MAX = 500
#: Connections one port accepts at a time; more are refused.
CONNECTIONS_MAX = 4_096
#: Turns of the loop in which aborted connections must have reported their end.
_ENDS_MAX = 1_000
_NO_LINGER = struct.pack("ii", 1, 0)


class Endpoint(Protocol):
    """What a port serves: a venue, or the control interface."""

    def connect(self, request: Request, peer: str, now_ns: int) -> Session | Response:
        """Answer an upgrade request."""
        ...

    def handle(
        self, request: Request, peer: str, now_ns: int
    ) -> Response | Coroutine[Any, Any, Response]:
        """Answer any other request, later if that takes time."""
        ...


class Connection(asyncio.Protocol):
    """One TCP connection: HTTP until an upgrade succeeds, WebSocket from then on."""

    def __init__(self, server: PortServer) -> None:
        """Belong to a server, which created this connection."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._http = RequestParser()
        self._frames: FrameDecoder | None = None
        self.session: Session | None = None
        self._is_closing = False
        self._timer: asyncio.TimerHandle | None = None

    # ── asyncio's side ─────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; over the connection limit, end at once."""
        # uvloop's transports have the methods of `asyncio.Transport`, but are no instances of it.
        self._transport = cast("asyncio.Transport", transport)
        name: tuple[object, ...] | None = transport.get_extra_info("peername")
        self._peer = str(name[0]) if name else "local"
        # Plain TCP only: a TLS transport reports the socket as well, the option is the same.
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._server.add(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes: frames, or requests."""
        now_ns = self._server.advance()
        if self._frames is not None:
            self._on_frames(data, now_ns)
            return
        try:
            requests = self._http.feed(data)
        except HttpError as error:
            self._respond(json_response({"message": str(error)}, error.status), is_last=True)
            return
        for request in requests:
            if request.is_upgrade:
                self._upgrade(request, now_ns)
            else:
                response = self._server.endpoint.handle(request, self._peer, now_ns)
                is_last = request.headers.get("connection", "").lower() == "close"
                if isinstance(response, Response):
                    self._respond(response, is_last=is_last)
                else:
                    self._server.run(self._respond_later(response, is_last=is_last))

    def eof_received(self) -> bool:
        """Take the end of the client's bytes: the connection is over."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        del exc
        if self._timer is not None:
            self._timer.cancel()
        self._server.remove(self)
        self._transport = None
        if self.session is not None:
            self.session.finish("lost", self._server.advance())

    # ── HTTP ───────────────────────────────────────────────────────────────

    def _respond(self, response: Response, *, is_last: bool) -> None:
        """Send an answer, late if it asks for that."""
        if self._transport is None:
            return
        data = write_response(response, is_last=is_last)
        if response.delay_s > 0:
            self._later(response.delay_s, lambda: self._send(data, is_last=is_last))
        else:
            self._send(data, is_last=is_last)

    async def _respond_later(
        self, answering: Coroutine[Any, Any, Response], *, is_last: bool
    ) -> None:
        self._respond(await answering, is_last=is_last)

    def _send(self, data: bytes, *, is_last: bool) -> None:
        if self._transport is not None:
            self._transport.write(data)
            if is_last:
                self._transport.close()

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call once after a delay; a later wish replaces an earlier one."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, call)

    def _upgrade(self, request: Request, now_ns: int) -> None:
        """Answer a handshake."""
        key = request.headers.get("sec-websocket-key", "")
        if request.method != "GET" or not key.isascii() or not key:
            self._respond(json_response({"message": "bad handshake"}, 400), is_last=True)
            return
        if request.headers.get("sec-websocket-version") != "13":
            response = Response(426, b"", {"Sec-WebSocket-Version": "13"})
            self._respond(response, is_last=True)
            return
        outcome = self._server.endpoint.connect(request, self._peer, now_ns)
        if isinstance(outcome, Response):
            self._respond(outcome, is_last=True)
            return
        self.session = outcome
        self._frames = FrameDecoder()
        head = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(key),
        }
        assert self._transport is not None, "data came from it"
        self._transport.write(write_response(Response(101, headers=head)))
        rest = self._http.rest
        if rest:
            self._on_frames(rest, now_ns)
        self.flush()

    # ── WebSocket ──────────────────────────────────────────────────────────

    def _on_frames(self, data: bytes, now_ns: int) -> None:
        """Hand the client's messages to the session."""
        session, decoder = self.session, self._frames
        assert session is not None, "frames follow an upgrade"
        assert decoder is not None, "frames follow an upgrade"
        try:
            frames = decoder.feed(data)
        except FrameError as error:
            session.exchange.violation("framing")
            session.close(error.code, str(error), now_ns)
            frames = []
        for frame in frames:
            if self._is_closing:
                if frame.opcode is Opcode.CLOSE and self._transport is not None:
                    self._transport.close()
                return
            session.on_frame(frame, now_ns)
            if frame.opcode is Opcode.CLOSE and self._transport is not None:
                self.flush()
                self._transport.close()
                return
        self.flush()

    def flush(self) -> None:
        """Write what the session has to say; close a client that does not read."""
        session, transport = self.session, self._transport
        if session is None or transport is None or not session.out:
            return
        buffer = bytearray()
        for item in session.take():
            if type(item) is bytes:
                buffer += header(len(item))
                buffer += item
            else:
                self._special(item, buffer)
        if buffer and not self._is_closing:
            transport.write(buffer)
        if transport.get_write_buffer_size() > session.rules.unread_bytes_max:
            self._end_slow(session)

    def _special(self, item: Outgoing, buffer: bytearray) -> None:
        """Write a control frame, a close, or an end without one."""
        transport = self._transport
        assert transport is not None, "checked by flush"
        if isinstance(item, Ping):
            buffer += encode(item.payload, Opcode.PING)
        elif isinstance(item, Pong):
            buffer += encode(item.payload, Opcode.PONG)
        elif isinstance(item, Close):
            transport.write(bytes(buffer) + encode_close(item.code, item.reason))
            buffer.clear()
            self._is_closing = True
            self._later(CLOSE_WAIT_S, transport.abort)
        elif isinstance(item, Cut):
            if item.mode == "mid_frame":
                buffer += header(len(item.payload)) + item.payload[: len(item.payload) // 2]
            transport.write(bytes(buffer))
            buffer.clear()
            self._is_closing = True
            if item.mode in {"eof", "clean"}:
                transport.close()
            else:
                self._reset(_CUT_POLLS_MAX)
        else:
            assert not isinstance(item, bytes), "texts are written by flush"
            buffer += item.data

    def _reset(self, polls: int) -> None:
        """Reset the connection once everything written before has reached the client's kernel.

        A reset throws away what is still on this side: without the wait the ledger could not
        know what the client has.
        """
        transport = self._transport
        if transport is None:
            return
        sock: socket.socket = transport.get_extra_info("socket")
        if polls and (transport.get_write_buffer_size() or _unsent(sock)):
            self._later(_CUT_POLL_S, lambda: self._reset(polls - 1))
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()

    def _end_slow(self, session: Session) -> None:
        """Close a client that leaves too much unread."""
        assert self._transport is not None, "checked by flush"
        session.finish("slow client", session.exchange.scheduler.now_ns)
        self._is_closing = True
        self._transport.write(
            encode_close(session.rules.slow_close_code, session.rules.slow_reason)
        )
        self._later(CLOSE_WAIT_S, self._transport.abort)

    @property
    def unsent_bytes(self) -> int:
        """Bytes written here and not yet taken by the system."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()


def _unsent(sock: socket.socket) -> int:
    """Return the bytes the peer's kernel has not acknowledged, 0 where that cannot be asked."""
    try:
        import fcntl
        import termios

        raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (ImportError, OSError):
        return 0
    return int(struct.unpack("i", raw)[0])


def check_port(port: int, field: str, *, count: int = 1) -> None:
    """Refuse a port that is none; `count` are listened on from it.

    Raises:
        ConfigError: It is none, with those there are.
    """
    last = PORT_MAX - count + 1
    if not 0 <= port <= last:
        what = "port" if count == 1 else f"port for the first of {count}"
        raise ConfigError(f"{port} is no {what} (0..{last})", field=field)


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Return in words why nothing listens there; asyncio's own text names the address twice."""
    errno = error.errno or 0
    return f"cannot listen on {host}:{port}: {os.strerror(errno) if errno > 0 else error.strerror}"


class PortServer:
    """One listening port and its connections."""

    def __init__(self, endpoint: Endpoint, advance: Callable[[], int]) -> None:
        """Serve `endpoint`; `advance` brings simulated time up to now and returns it."""
        self.endpoint = endpoint
        self.advance = advance
        self.connections: set[Connection] = set()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            ConfigError: the address is taken or none of this machine's; the text names it.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self), host, port, ssl=tls, backlog=1_024
            )
        except OSError as error:
            raise ConfigError(cannot_listen(host, port, error), field="port") from error
        self.port = int(self._server.sockets[0].getsockname()[1])

    def add(self, connection: Connection) -> bool:
        """Keep a new connection; False if there are too many."""
        if len(self.connections) >= CONNECTIONS_MAX:
            return False
        self.connections.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self.connections.discard(connection)

    def run(self, answering: Coroutine[Any, Any, None]) -> None:
        """Answer a request that takes time; ended when the port is closed."""
        task = asyncio.get_running_loop().create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled():
            task.result()  # what it raises is told by the loop, as of any other request

    def flush(self) -> None:
        """Write what all sessions have to say."""
        for connection in tuple(self.connections):
            connection.flush()

    def unsent_bytes(self, session: Session) -> int:
        """Return what a session's connection still has to write; 0 if it is gone."""
        return sum(c.unsent_bytes for c in self.connections if c.session is session)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
            for connection in tuple(self.connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None
        answering = tuple(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        for _ in range(_ENDS_MAX):
            if not self.connections:
                break
            await asyncio.sleep(0)
