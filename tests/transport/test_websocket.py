"""The strict connection against hostile servers: RFC 6455 as a client must keep it.

Checked case by case what picows does itself; the wrapper mends the rest. The list of cases is the
Autobahn suite's, groups 1 to 7 and 10.
"""

import asyncio
import gc
import logging
import re
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha1

import pytest

from crossfeed.errors import (
    ConnectionLostError,
    CrossfeedError,
    NotConnectedError,
    ProtocolViolationError,
    SendRejectedError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.transport.address import Resolver
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.listener import FrameListener, ListenerFactory
from crossfeed.transport.wallclock import WallOffset
from crossfeed.transport.websocket import WebSocketConnection

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]

UUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Client:
    """A connection and what it delivered."""

    def __init__(
        self,
        url: str,
        *,
        budget: SendBudget | None = None,
        listener: ListenerFactory = FrameListener,
        **config: object,
    ) -> None:
        clock = SystemClock()
        self.frames: list[bytes] = []
        self.stamps: list[tuple[int, int]] = []
        self.faults: list[BaseException] = []
        self.resolver = Resolver(clock)
        self.connection = WebSocketConnection(
            WebSocketConfig(url=url, name="test", **config),
            url,
            on_frame=self.on_frame,
            budget=budget or SendBudget(limit=0, window_s=1.0),
            wall=WallOffset(clock),
            on_fault=self.faults.append,
            listener_factory=listener,
        )

    def on_frame(self, payload: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        """Keep what comes."""
        self.frames.append(payload)
        self.stamps.append((ts_recv_ns, ts_mono_ns))

    async def open(self) -> WebSocketConnection:
        """Connect."""
        await self.connection.open(resolver=self.resolver, tls=None)
        return self.connection

    async def end(self) -> CrossfeedError:
        """Wait for the end; return why."""
        async with asyncio.timeout(DEADLINE_S):
            error = await self.connection.wait_closed()
            await self.connection.close()
        return error


@pytest.fixture(params=["python", "compiled"])
def listener(request: pytest.FixtureRequest) -> ListenerFactory:
    """Return a listener: what holds for the one in Python must hold for the compiled one."""
    if request.param == "python":
        return FrameListener
    hook = pytest.importorskip(
        "crossfeed.native._hook", reason="the accelerator is not built", exc_type=ImportError
    )
    return hook.FrameListener


@pytest.fixture
async def connect(
    serve: Serve, listener: ListenerFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Yield a function that connects a client to a server running a script after the upgrade."""
    clients: list[Client] = []
    monkeypatch.setattr("crossfeed.transport.websocket.LINGER_S", 0.01)

    async def start(script, **config: object) -> Client:
        async def run(peer) -> None:
            await peer.upgrade()
            await script(peer)

        server = await serve(run)
        client = Client(server.url, listener=listener, **config)
        clients.append(client)
        await client.open()
        return client

    yield start
    for client in clients:
        client.connection.abort()
        await client.connection.close()


# ── what is right ─────────────────────────────────────────────────────────────


async def test_messages_are_delivered_in_order_with_times(connect) -> None:
    """Messages are delivered in order with times."""

    async def script(peer) -> None:
        for number in range(100):
            peer.text(b"message %d" % number)
        peer.frame(CLOSE, b"\x03\xe8done")
        await peer.gone()

    client = await connect(script)
    error = await client.end()
    assert client.frames == [b"message %d" % number for number in range(100)]
    assert isinstance(error, ConnectionLostError)
    assert (error.close_code, error.reason) == (1000, "done")
    walls, monos = zip(*client.stamps, strict=True)
    assert list(monos) == sorted(monos)
    offset = client.connection.wall.offset_ns
    assert all(wall - mono == offset for wall, mono in zip(walls, monos, strict=True))
    assert client.connection.message_count == 100
    assert client.connection.byte_count == sum(map(len, client.frames))
    assert client.connection.last_message_ns == monos[-1]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1_000_000])
async def test_sizes_around_the_borders_of_the_length_field(connect, size: int) -> None:
    """Sizes around the borders of the length field."""

    async def script(peer) -> None:
        peer.text(b"x" * size)
        peer.frame(CLOSE, b"\x03\xe8")
        await peer.gone()

    client = await connect(script)
    await client.end()
    assert client.frames == [b"x" * size]


@pytest.mark.parametrize("chop", [1, 2, 3, 997])
async def test_frames_in_any_pieces(connect, chop: int) -> None:
    """Frames in any pieces."""

    async def script(peer) -> None:
        await asyncio.sleep(0)
        data = b"".join(_frames_of("häßlich 😀".encode() * 20))
        for start in range(0, len(data), chop):
            peer.send(data[start : start + chop])
            await peer.drain()
            await asyncio.sleep(0)
        await peer.gone()

    client = await connect(script)
    await client.end()
    assert client.frames == ["häßlich 😀".encode() * 20] * 2


def _frames_of(payload: bytes) -> list[bytes]:
    """Return the payload as one frame, in three fragments around a ping, then a close frame."""
    third = len(payload) // 3
    return [
        _frame(TEXT, payload),
        _frame(TEXT, payload[:third], fin=False),
        _frame(CONT, payload[third : 2 * third], fin=False),
        _frame(PING, b"between"),
        _frame(CONT, payload[2 * third :]),
        _frame(CLOSE, b"\x03\xe8"),
    ]


def _frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    head = bytes([fin << 7 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    return head + bytes([126]) + len(payload).to_bytes(2, "big") + payload


async def test_pings_are_answered_with_their_payload(connect) -> None:
    """Pings are answered with their payload."""
    answered: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        payloads = [b"", b"hello", bytes(range(125))]
        for payload in payloads:
            peer.frame(PING, payload)
        answered.set_result([await peer.read_until(PONG) for _ in payloads])

    client = await connect(script)
    async with asyncio.timeout(DEADLINE_S):
        assert await answered == [b"", b"hello", bytes(range(125))]
    assert client.connection.pongs_sent == 3
    assert client.connection.last_frame_ns > 0
    assert client.frames == []


@pytest.mark.fault("C08")
async def test_pongs_are_counted_and_the_latest_ping_is_answered_when_there_is_room(
    connect,
) -> None:
    """Of more pings than the budget allows the latest is answered later (RFC 6455 5.5.3)."""
    budget = SendBudget(limit=3, window_s=0.2)
    last: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    pinged = asyncio.Event()

    async def script(peer) -> None:
        for number in range(10):
            peer.frame(PING, b"%d" % number)
        peer.text(b"sent")
        pinged.set()
        for _ in range(3):
            await peer.read_until(PONG)
        last.set_result(await peer.read_until(PONG))

    client = await connect(script, budget=budget)
    async with asyncio.timeout(DEADLINE_S):
        while not client.frames:  # noqa: ASYNC110 - polled, as by the manager
            await asyncio.sleep(0)
        assert client.connection.pongs_sent == 3
        assert budget.used(client.connection.clock.monotonic_ns()) == 3
        while not last.done():
            client.connection.check(client.connection.clock.monotonic_ns())
            await asyncio.sleep(0)
        assert await last == b"9"
    assert client.connection.pongs_sent == 4
    assert client.connection.pongs_skipped == 6


async def test_unasked_pongs_are_taken_calmly(connect) -> None:
    """Unasked pongs are taken calmly."""

    async def script(peer) -> None:
        peer.frame(PONG, b"unasked")
        peer.text(b"after")
        await peer.gone()

    client = await connect(script)
    pongs = []
    client.connection.on_pong = lambda _at, payload: pongs.append(payload)
    async with asyncio.timeout(DEADLINE_S):
        while not client.frames:  # noqa: ASYNC110 - polled, as by the manager
            await asyncio.sleep(0)
    assert pongs in ([b"unasked"], [])  # it may have come before the hook was set


async def test_we_close_in_good_order(connect) -> None:
    """We close in good order."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        payload = await peer.read_until(CLOSE)
        seen.set_result(int.from_bytes(payload[:2], "big"))
        peer.frame(CLOSE, payload)

    client = await connect(script)
    async with asyncio.timeout(DEADLINE_S):
        await client.connection.close()
        assert await seen == 1000
        await client.connection.close()  # safe twice
    assert not client.connection.is_open
    assert "closed by us" in str(await client.connection.wait_closed())


async def test_a_peer_that_does_not_answer_our_close_is_cut(connect) -> None:
    """A peer that does not answer our close is cut."""

    async def script(peer) -> None:
        await peer.gone()

    client = await connect(script, close_timeout_s=0.05)
    async with asyncio.timeout(DEADLINE_S):
        await client.connection.close()
    assert not client.connection.is_open


# ── violations ────────────────────────────────────────────────────────────────


async def violation(connect, *frames: tuple[int, bytes, dict[str, object]], **config: object):
    """Let the server send frames; return the client, its error, the close code sent."""
    seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        peer.text(b"good")
        for opcode, payload, bits in frames:
            peer.frame(opcode, payload, **bits)
        peer.text(b"after the violation")
        try:
            seen.set_result(await peer.read_close())
        except (OSError, asyncio.IncompleteReadError):
            seen.set_result(-1)

    client = await connect(script, **config)
    error = await client.end()
    async with asyncio.timeout(DEADLINE_S):
        return client, error, await seen


CASES = {
    "rsv1 text": ((TEXT, b"x", {"rsv": 4}),),
    "rsv2 text": ((TEXT, b"x", {"rsv": 2}),),
    "rsv3 text": ((TEXT, b"x", {"rsv": 1}),),
    "rsv1 ping": ((PING, b"x", {"rsv": 4}),),
    "rsv close": ((CLOSE, b"\x03\xe8", {"rsv": 4}),),
    "rsv continuation": ((TEXT, b"x", {"fin": False}), (CONT, b"x", {"rsv": 4})),
    "reserved opcode 3": ((3, b"", {}),),
    "reserved opcode 7": ((7, b"x", {}),),
    "reserved opcode 11": ((11, b"", {}),),
    "reserved opcode 15": ((15, b"x", {}),),
    "fragmented ping": ((PING, b"x", {"fin": False}),),
    "fragmented close": ((CLOSE, b"\x03\xe8", {"fin": False}),),
    "long ping": ((PING, b"x" * 126, {}),),
    "long close": ((CLOSE, b"\x03\xe8" + b"x" * 124, {}),),
    "stray continuation": ((CONT, b"x", {}),),
    "stray open continuation": ((CONT, b"x", {"fin": False}),),
    "text inside fragments": ((TEXT, b"x", {"fin": False}), (TEXT, b"y", {})),
    "binary inside fragments": ((TEXT, b"x", {"fin": False}), (BINARY, b"y", {})),
    "continuation after the end": (
        (TEXT, b"x", {"fin": False}),
        (CONT, b"y", {}),
        (CONT, b"z", {}),
    ),
    "masked": ((TEXT, b"x", {"masked": True}),),
    "close code 0": ((CLOSE, b"\0\0", {}),),
    "close code 999": ((CLOSE, (999).to_bytes(2, "big"), {}),),
    "close code 1004": ((CLOSE, (1004).to_bytes(2, "big"), {}),),
    "close code 1005": ((CLOSE, (1005).to_bytes(2, "big"), {}),),
    "close code 1006": ((CLOSE, (1006).to_bytes(2, "big"), {}),),
    "close code 1015": ((CLOSE, (1015).to_bytes(2, "big"), {}),),
    "close code 2999": ((CLOSE, (2999).to_bytes(2, "big"), {}),),
    "close code 5000": ((CLOSE, (5000).to_bytes(2, "big"), {}),),
    "half a close code": ((CLOSE, b"\x03", {}),),
    "16-bit length not needed": ((TEXT, b"x", {"length": -126}),),
}


@pytest.mark.fault("C05")
@pytest.mark.parametrize("name", CASES)
async def test_violations_end_the_connection_with_1002(connect, name: str) -> None:
    """Violations end the connection with 1002."""
    frames = CASES[name]
    if name.startswith("16-bit"):
        frames = ()

        async def script(peer) -> None:
            peer.text(b"good")
            peer.send(b"\x81\x7e\x00\x01x")
            seen.set_result(await peer.read_close())

        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        client = await connect(script)
        error, code = await client.end(), await seen
    else:
        client, error, code = await violation(connect, *frames)
    assert isinstance(error, ProtocolViolationError), error
    assert error.close_code == 1002
    assert code == 1002
    expected = [b"good", b"xy"] if name == "continuation after the end" else [b"good"]
    assert client.frames == expected
    assert str(error).startswith("test (ws://127.0.0.1")


INVALID = {
    "whole": ((TEXT, b"bad \xff", {}),),
    "surrogate": ((TEXT, b"\xed\xa0\x80", {}),),
    "in fragments": ((TEXT, b"ok", {"fin": False}), (CONT, b"\xff", {})),
    "cut off": ((TEXT, b"\xe2\x82", {}),),
    "close reason": ((CLOSE, b"\x03\xe8\xff", {}),),
}


@pytest.mark.fault("D12")
@pytest.mark.parametrize("name", INVALID)
async def test_invalid_utf8_ends_the_connection_with_1007(connect, name: str) -> None:
    """Invalid UTF-8 ends the connection with 1007."""
    client, error, code = await violation(connect, *INVALID[name])
    assert isinstance(error, ProtocolViolationError), error
    assert error.close_code == 1007
    assert code == 1007
    assert client.frames == [b"good"]


@pytest.mark.fault("D14")
@pytest.mark.parametrize(
    "frames",
    [
        ((TEXT, b"x" * 2001, {}),),
        ((TEXT, b"", {"length": 100_000_000}),),
        ((TEXT, b"", {"length": 2**62}),),
        ((TEXT, b"x" * 1500, {"fin": False}), (CONT, b"x" * 501, {"fin": False})),
        ((TEXT, b"", {"fin": False}), *(((CONT, b"", {"fin": False}),) * 64)),
    ],
    ids=["whole", "100 MB announced", "4 EB announced", "joined", "64 empty fragments"],
)
async def test_oversize_ends_the_connection_with_1009(connect, frames) -> None:
    """Oversize ends the connection with 1009."""
    client, error, code = await violation(connect, *frames, frame_bytes_max=2000, fragments_max=64)
    assert isinstance(error, ProtocolViolationError), error
    assert error.close_code == 1009
    assert code == 1009
    assert client.frames == [b"good"]


async def test_the_limit_itself_is_allowed(connect) -> None:
    """The limit itself is allowed."""

    async def script(peer) -> None:
        peer.text(b"x" * 2000)
        peer.frame(TEXT, b"x" * 1000, fin=False)
        peer.frame(CONT, b"y" * 1000)
        peer.frame(CLOSE, b"\x03\xe8")
        await peer.gone()

    client = await connect(script, frame_bytes_max=2000)
    await client.end()
    assert client.frames == [b"x" * 2000, b"x" * 1000 + b"y" * 1000]


@pytest.mark.fault("D14")
async def test_a_flood_behind_an_oversize_header_is_not_buffered(connect) -> None:
    """The parser goes on reading for some ms after it has refused a frame: nothing may pile up."""
    stopped = asyncio.Event()

    async def script(peer) -> None:
        peer.frame(TEXT, b"", length=2**40)
        try:
            for _ in range(2000):
                peer.send(b"x" * 100_000)
                await peer.drain()
        except OSError:
            pass
        finally:
            stopped.set()

    client = await connect(script, frame_bytes_max=100_000)
    error = await client.end()
    assert isinstance(error, ProtocolViolationError)
    async with asyncio.timeout(DEADLINE_S):
        await stopped.wait()


@pytest.mark.fault("D15")
async def test_compressed_frames_are_refused_not_inflated(connect) -> None:
    """Compressed frames are refused not inflated."""
    _, error, code = await violation(connect, (TEXT, b"\x78" * 100, {"rsv": 4}))
    assert isinstance(error, ProtocolViolationError)
    assert code == 1002


@pytest.mark.fault("D13")
async def test_binary_messages_are_dropped_counted_and_reported_unless_wanted(connect) -> None:
    """Binary messages are dropped counted and reported unless wanted."""

    async def script(peer) -> None:
        peer.frame(BINARY, b"\x00\xff")
        peer.frame(BINARY, b"\x00", fin=False)
        peer.frame(CONT, b"\xff")
        peer.text(b"text")
        peer.frame(CLOSE, b"\x03\xe8")
        await peer.gone()

    client = await connect(script)
    await client.end()
    assert client.frames == [b"text"]
    assert client.connection.binary_dropped == 2
    assert [fault.close_code for fault in client.faults] == [1003, 1003]
    client = await connect(script, accept_binary=True)
    await client.end()
    assert client.frames == [b"\x00\xff", b"\x00\xff", b"text"]


async def test_nothing_after_the_peers_close_is_delivered(connect) -> None:
    """Nothing after the peer's close is delivered."""

    async def script(peer) -> None:
        peer.text(b"before")
        peer.frame(CLOSE, b"\x03\xe9going")
        peer.text(b"after")
        peer.frame(PING, b"after")
        peer.frame(CLOSE, b"\x03\xe8again")
        await peer.gone()

    client = await connect(script)
    error = await client.end()
    assert isinstance(error, ConnectionLostError)
    assert (error.close_code, error.reason) == (1001, "going")
    assert client.frames == [b"before"]


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa4bye"])
async def test_the_peers_close_is_echoed(connect, payload: bytes) -> None:
    """The peer's close is echoed."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        peer.frame(CLOSE, payload)
        seen.set_result(await peer.read_until(CLOSE))

    client = await connect(script)
    error = await client.end()
    async with asyncio.timeout(DEADLINE_S):
        assert await seen == payload
    assert error.close_code == (int.from_bytes(payload[:2], "big") or 1005)


@pytest.mark.fault("C05")
async def test_a_reason_cannot_forge_a_log_line(connect) -> None:
    """A reason cannot forge a log line."""

    async def script(peer) -> None:
        peer.frame(CLOSE, b"\x0f\xa0x\nERROR forged\x1b[2J")
        await peer.gone()

    client = await connect(script)
    error = await client.end()
    assert error.reason == "x\\x0aERROR forged\\x1b[2J"
    assert "\n" not in str(error)


# ── broken lines ──────────────────────────────────────────────────────────────


@pytest.mark.fault("T01")
async def test_a_reset_in_mid_frame_delivers_nothing_of_it(connect) -> None:
    """A reset in mid frame delivers nothing of it."""

    async def script(peer) -> None:
        peer.text(b"whole")
        peer.frame(TEXT, b"half of it", length=20)
        await peer.drain()
        peer.reset()

    client = await connect(script)
    error = await client.end()
    assert isinstance(error, ConnectionLostError)
    assert error.close_code == 1006
    assert client.frames in ([b"whole"], [])  # a reset may overtake what was sent before


@pytest.mark.fault("T01")
async def test_a_reset_that_comes_together_with_data_is_seen(listener) -> None:
    """Nothing else would tell: there are no pings, and the readers of uvloop drop such a reset."""
    spoken = threading.Event()

    def serve_once(server: socket.socket) -> None:
        sock, _ = server.accept()
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", sock.recv(65_536))
        assert key is not None
        answer = b64encode(sha1(key[1] + UUID).digest())  # noqa: S324 - RFC 6455
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
        sock.sendall(b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + answer + b"\r\n\r\n")
        sock.recv(100)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(b"\x81\x04last")
        sock.close()
        spoken.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = asyncio.create_task(asyncio.to_thread(serve_once, server))
        url = f"ws://127.0.0.1:{server.getsockname()[1]}"
        client = Client(url, listener=listener, ping_interval_s=0.0, heartbeat_interval=60.0)
        await client.open()
        client.connection.send_text(b"go")
        spoken.wait(DEADLINE_S)  # blocks the loop: it is to find both at once
        assert isinstance(await client.end(), ConnectionLostError)
        await serving


@pytest.mark.fault("T02")
@pytest.mark.parametrize("rest", [b"", b"\x81", b"\x81\x05hel", b"\x01\x03abc"])
async def test_an_end_without_close_frame_is_no_clean_end(connect, rest: bytes) -> None:
    """An end without close frame is no clean end."""

    async def script(peer) -> None:
        peer.text(b"whole")
        peer.send(rest)
        await peer.drain()
        peer.writer.close()

    client = await connect(script)
    error = await client.end()
    assert isinstance(error, ConnectionLostError)
    assert isinstance(error, ConnectionError)
    assert error.close_code == 1006
    assert "without a close frame" in str(error)
    assert client.frames == [b"whole"]


@pytest.mark.fault("T07")
async def test_fragments_that_stop_coming_end_the_connection(connect) -> None:
    """Fragments that stop coming end the connection."""

    async def script(peer) -> None:
        peer.frame(TEXT, b"x", fin=False)
        peer.frame(PING, b"still here")
        await peer.gone()

    client = await connect(script, frame_timeout_s=10)
    connection = client.connection
    async with asyncio.timeout(DEADLINE_S):
        while not connection.pongs_sent:  # noqa: ASYNC110 - polled, as by the manager
            await asyncio.sleep(0)
    now_ns = connection.clock.monotonic_ns()
    connection.check(now_ns + 9 * 10**9)
    assert connection.is_open
    connection.check(now_ns + 11 * 10**9)
    error = await client.end()
    assert isinstance(error, ProtocolViolationError)
    assert "not complete after 10 s" in str(error)


@pytest.mark.fault("P02")
async def test_a_raising_frame_handler_does_not_end_the_connection(connect) -> None:
    """A raising frame handler does not end the connection."""

    async def script(peer) -> None:
        await peer.read_until(TEXT)
        for kind in (b"error", b"cancel", b"exit", b"fine"):
            peer.text(kind)
        peer.frame(TEXT, b"er", fin=False)
        peer.frame(CONT, b"ror")
        peer.text(b"fine")
        peer.frame(CLOSE, b"\x03\xe8")
        await peer.gone()

    got = []

    def handler(payload: bytes, _recv: int, _mono: int) -> None:
        got.append(payload)
        match payload:
            case b"error":
                raise ValueError("handler's fault")
            case b"cancel":
                raise asyncio.CancelledError
            case b"exit":
                raise SystemExit

    client = await connect(script)
    client.connection.rebind(handler)
    client.connection.send_text(b"go")
    await client.end()
    kinds = [type(fault) for fault in client.faults]
    assert kinds == [ValueError, asyncio.CancelledError, SystemExit, ValueError]
    assert client.connection.handler_errors == 4
    assert client.connection.message_count == 6
    assert got == [b"error", b"cancel", b"exit", b"fine", b"error", b"fine"]


# ── sending ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65535, 65536, 300_000])
async def test_what_we_send_arrives_masked_and_whole(connect, size: int) -> None:
    """What we send arrives masked and whole."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        seen.set_result(await peer.read_until(TEXT))
        await peer.gone()

    client = await connect(script)
    client.connection.send_text(b"y" * size)
    async with asyncio.timeout(DEADLINE_S):
        assert await seen == b"y" * size


async def test_sending_after_the_end_is_refused(connect) -> None:
    """Sending after the end is refused."""

    async def script(peer) -> None:
        peer.frame(CLOSE, b"\x03\xe8")
        await peer.gone()

    client = await connect(script)
    await client.end()
    with pytest.raises(NotConnectedError):
        client.connection.send_text(b"late")
    with pytest.raises(NotConnectedError):
        client.connection.send_ping(b"late")


async def test_a_peer_that_does_not_read_is_not_buffered_for(connect) -> None:
    """A peer that does not read is not buffered for."""
    release = asyncio.Event()

    async def script(peer) -> None:
        peer.writer.transport.pause_reading()
        await release.wait()

    client = await connect(script, write_buffer_bytes_max=100_000)

    def fill() -> None:
        for _ in range(1000):
            client.connection.send_text(b"z" * 100_000)

    with pytest.raises(SendRejectedError, match="does not read"):
        fill()
    client.connection.fail(ConnectionLostError("enough"))
    assert str(await client.end()) == "enough"
    release.set()


async def test_a_peer_that_reads_again_is_sent_to_again(connect) -> None:
    """A peer that reads again is sent to again; pings in between are not answered, but counted."""
    filled, read_again = asyncio.Event(), asyncio.Event()

    async def script(peer) -> None:
        await filled.wait()
        peer.frame(PING, b"while we do not read")
        peer.text(b"pinged")
        await read_again.wait()
        await peer.gone()

    client = await connect(script, write_buffer_bytes_max=100_000)
    connection = client.connection
    async with asyncio.timeout(DEADLINE_S):
        while not connection.is_write_paused:
            connection.send_text(b"z" * 100_000)
        filled.set()
        while not client.frames:  # noqa: ASYNC110 - polled, as by the manager
            await asyncio.sleep(0)
        assert connection.pongs_skipped == 1
        with pytest.raises(SendRejectedError):
            connection.send_ping(b"")
        read_again.set()
        while connection.is_write_paused:  # noqa: ASYNC110 - polled, as by the manager
            await asyncio.sleep(0)
    connection.send_text(b"again")


# ── cleanliness ───────────────────────────────────────────────────────────────


async def test_nothing_is_logged_by_picows_and_nothing_is_left_unretrieved(
    connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged by picows and nothing is left unretrieved."""
    problems = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: problems.append(context)
    )
    with caplog.at_level(logging.DEBUG, "picows"):
        for name in ("masked", "reserved opcode 3", "close code 999"):
            await violation(connect, *CASES[name])
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []
    assert caplog.records == []


async def test_a_connection_says_what_it_is(connect) -> None:
    """A connection says what it is."""

    async def script(peer) -> None:
        await peer.gone()

    client = await connect(script)
    assert "open, 0 messages" in repr(client.connection)
    client.connection.abort()
    error = await client.end()
    assert "cut by us" in str(error)
    assert "closed" in repr(client.connection)
