"""The managed connection: contract, states, reconnecting, handlers, sending, ends."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from crossfeed.errors import (
    CircuitOpenError,
    ConnectFailedError,
    ConnectionLostError,
    CrossfeedError,
    DeadlineError,
    HandlerQuarantinedError,
    HandshakeRejectedError,
    MalformedFrameError,
    NotConnectedError,
    SendRejectedError,
    StaleConnectionError,
    SubscriptionRejectedError,
    TransportError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.manager import ConnectionState, WebSocketManager

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
DEADLINE_S = 5.0
S = ConnectionState

Serve = Callable[..., Awaitable[object]]


class QuickClock(SystemClock):
    """The system's clock, but long sleeps of the manager are over at once when told so."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note the sleep; make waits for a reconnect (0.1 s and more) as short as possible."""
        self.slept.append(seconds)
        await asyncio.sleep(min(seconds, 0.01))


def quick(url: str, **config: object) -> dict[str, object]:
    """Return a configuration whose waits are short."""
    return {
        "url": url,
        "name": "test",
        "backoff_base_s": 0.01,
        "backoff_cap_s": 0.02,
        "backoff_overload_s": 0.03,
        "backoff_permanent_s": 0.02,
        "breaker_cooldown_s": 0.02,
        "breaker_cooldown_max_s": 0.04,
        "close_timeout_s": 0.05,
        "connect_timeout_s": 2.0,
        **config,
    }


class Watched:
    """A manager and what it told."""

    def __init__(
        self, url: str, *, gate: VenueGate | None = None, go: bool = True, **config: object
    ) -> None:
        self.manager = WebSocketManager(
            WebSocketConfig(**quick(url, **config)), random=random.Random(1), gate=gate
        )
        self.messages: list[object] = []
        self.errors: list[BaseException] = []
        self.states: list[tuple[ConnectionState, ConnectionState]] = []
        self.changed = asyncio.Event()
        self.manager.on_message(self._note(self.messages))
        self.manager.on_error(self._note(self.errors))
        self.manager.on_state_change(lambda old, new: self._note(self.states)((old, new)))
        if go:
            self.manager.on_state_change(self._say_go)

    async def _say_go(self, _old: ConnectionState, new: ConnectionState) -> None:
        """Tell the server that we are connected and may be sent things, or closed."""
        if new is S.CONNECTED:
            with contextlib.suppress(NotConnectedError):
                await self.manager.send_text(b"go")

    def _note(self, kept: list) -> Callable[[object], None]:
        def note(item: object) -> None:
            kept.append(item)
            self.changed.set()

        return note

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, looked at after each thing told."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @property
    def path(self) -> list[ConnectionState]:
        """The states gone through."""
        return [new for _, new in self.states]


@pytest.fixture
async def watch() -> AsyncIterator[Callable[..., Watched]]:
    """Return `watch(url, ...)`: a watched manager, closed after the test."""
    made: list[Watched] = []

    def start(url: str, **config: object) -> Watched:
        made.append(Watched(url, **config))
        return made[-1]

    yield start
    for watched in made:
        await watched.manager.close()


async def quiet(peer) -> None:
    """Accept, then answer the close."""
    await peer.upgrade()
    payload = await peer.read_until(CLOSE)
    peer.frame(CLOSE, payload)
    await peer.gone()


def sending(*messages: bytes, then: bytes = b"\x03\xe8") -> Callable[..., Awaitable[None]]:
    """Return a script that is told to go, sends messages and closes with the payload `then`."""

    async def script(peer) -> None:
        await peer.upgrade()
        await peer.read_until(TEXT)
        for message in messages:
            peer.text(message)
        peer.frame(CLOSE, then)
        await peer.gone()

    return script


def refusing(status: int, *headers: bytes) -> Callable[..., Awaitable[None]]:
    """Return a script that refuses the upgrade."""

    async def script(peer) -> None:
        await peer.refuse(status, *headers)

    return script


# ── the contract ──────────────────────────────────────────────────────────────


async def test_connects_sends_receives_and_closes(serve: Serve, watch) -> None:
    """Connects sends receives and closes."""

    async def echo(peer) -> None:
        await peer.upgrade()
        peer.text(await peer.read_until(TEXT))
        payload = await peer.read_until(CLOSE)
        peer.frame(CLOSE, payload)
        await peer.gone()

    server = await serve(echo)
    watched = watch(server.url, go=False)
    manager = watched.manager
    assert manager.state is S.DISCONNECTED
    async with manager:
        assert manager.state is S.CONNECTED
        await manager.send({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
        await watched.until(lambda: watched.messages)
        stats = manager.get_stats()
        assert stats["state"] == "connected"
        assert stats["message_count"] == 1
        assert stats["error_count"] == 0
        assert stats["reconnect_attempts"] == 0
        assert abs(stats["last_message_time"] - SystemClock().now_ns() / 1e9) < 5
        assert 0 < stats["uptime_seconds"] < 5
        assert "test: connected, 1 messages" in repr(manager)
    assert watched.messages == [{"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}]
    assert watched.path == [S.CONNECTING, S.CONNECTED, S.DISCONNECTED]
    stats = manager.get_stats()
    assert stats["state"] == "disconnected"
    assert stats["uptime_seconds"] == 0
    assert stats["message_count"] == 1


async def test_handlers_are_functions_or_coroutine_functions(serve: Serve, watch) -> None:
    """Handlers are functions or coroutine functions."""
    server = await serve(sending(b"[1]", b"[2]"))
    watched = watch(server.url, on_exhausted="open", max_reconnect_attempts=1)
    manager = watched.manager
    got: list[object] = []
    states: list[object] = []
    errors: list[BaseException] = []

    @manager.on_message
    async def handle(message: object) -> None:
        await asyncio.sleep(0)
        got.append(message)

    @manager.on_state_change
    async def handle_state(old: object, new: object) -> None:
        states.append((old, new))

    @manager.on_error
    async def handle_error(error: Exception) -> None:
        errors.append(error)
        watched.changed.set()

    assert callable(handle)
    await manager.connect()
    await watched.until(lambda: errors)
    await manager.close()
    assert got[:2] == [[1], [2]]
    assert states[:2] == [(S.DISCONNECTED, S.CONNECTING), (S.CONNECTING, S.CONNECTED)]
    assert isinstance(errors[0], ConnectionLostError)
    assert isinstance(errors[0], ConnectionError)


@pytest.mark.parametrize(
    ("decode", "expected"), [("json", {"a": 1}), ("text", '{"a":1}'), ("bytes", b'{"a":1}')]
)
async def test_messages_are_decoded_as_configured(serve: Serve, watch, decode, expected) -> None:
    """Messages are decoded as configured."""
    server = await serve(sending(b'{"a":1}'))
    watched = watch(server.url, decode=decode)
    await watched.manager.connect()
    await watched.until(lambda: watched.messages)
    assert watched.messages[0] == expected


@pytest.mark.fault("D11", "D16", "D01")
async def test_broken_json_is_reported_and_the_line_kept(serve: Serve, watch) -> None:
    """Broken JSON is reported and the line kept."""
    broken = [b'{"a":1', b"", b"[" * 200_000, b"\x00", b"NaN", b"\xef\xbb\xbf{}"]
    server = await serve(sending(*broken, b'{"fine":1}'))
    watched = watch(server.url)
    await watched.manager.connect()
    await watched.until(lambda: watched.messages)
    assert watched.messages == [{"fine": 1}]
    bad = [error for error in watched.errors if isinstance(error, MalformedFrameError)]
    assert len(bad) == len(broken)
    assert watched.manager.get_stats()["decode_errors"] == len(broken)
    assert all(len(error.excerpt) <= 480 for error in bad)


@pytest.mark.parametrize("message", ["text", b"bytes", bytearray(b"array"), [1, 2], {"k": 1.5}])
async def test_what_can_be_sent(serve: Serve, watch, message: object) -> None:
    """What can be sent."""
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(peer) -> None:
        await peer.upgrade()
        seen.set_result(await peer.read_until(TEXT))
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, go=False)
    await watched.manager.connect()
    await watched.manager.send(message)
    async with asyncio.timeout(DEADLINE_S):
        got = await seen
    expected = {list: b"[1,2]", dict: b'{"k":1.5}', str: b"text"}
    assert got == expected.get(
        type(message), bytes(message) if isinstance(message, bytes | bytearray) else b""
    )


@pytest.mark.parametrize("message", [object(), {1j: 2}, "\ud800", b"\xff"])
async def test_what_cannot_be_sent_is_refused(serve: Serve, watch, message: object) -> None:
    """What cannot be sent is refused."""
    server = await serve(quiet)
    watched = watch(server.url)
    await watched.manager.connect()
    with pytest.raises(SendRejectedError):
        await watched.manager.send(message)
    assert watched.manager.state is S.CONNECTED


async def test_sending_without_a_connection_is_refused(watch) -> None:
    """Sending without a connection is refused."""
    watched = watch("ws://127.0.0.1:1/")
    with pytest.raises(NotConnectedError):
        await watched.manager.send({})
    assert watched.manager.get_stats()["send_rejected_count"] == 1


# ── the frame hook and the open hook ──────────────────────────────────────────


async def test_the_frame_hook_gets_raw_frames_and_times(serve: Serve) -> None:
    """The frame hook gets raw frames and times."""
    server = await serve(sending(b"raw 1", b"raw 2"))
    manager = WebSocketManager(WebSocketConfig(**quick(server.url)))
    got: list[tuple[bytes, int, int]] = []
    manager.on_frame(lambda *frame: got.append(frame))
    await manager.connect()
    await manager.send("go")
    async with asyncio.timeout(DEADLINE_S):
        while len(got) < 2:  # noqa: ASYNC110 - the hook is what is tested
            await asyncio.sleep(0)
    await manager.close()
    payloads = [payload for payload, _, _ in got]
    assert payloads[:2] == [b"raw 1", b"raw 2"]
    clock = SystemClock()
    _, recv_ns, mono_ns = got[0]
    assert abs(recv_ns - clock.now_ns()) < 5e9
    assert abs(mono_ns - clock.monotonic_ns()) < 5e9


async def test_the_open_hook_subscribes_before_connected_is_announced(serve: Serve, watch) -> None:
    """The open hook subscribes before connected is announced."""

    async def script(peer) -> None:
        await peer.upgrade()
        peer.text(b'{"ack":%s}' % await peer.read_until(TEXT))
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, go=False)
    manager = watched.manager

    @manager.on_open
    async def subscribe() -> None:
        assert manager.state is S.CONNECTING
        await manager.send_text(b"7")
        await watched.until(lambda: watched.messages)

    await manager.connect()
    assert watched.messages == [{"ack": 7}]


async def test_an_open_hook_that_takes_too_long_fails_the_connection(serve: Serve, watch) -> None:
    """An open hook that takes too long fails the connection."""
    server = await serve(quiet)
    watched = watch(server.url, open_timeout_s=0.05, max_reconnect_attempts=1)
    watched.manager.on_open(lambda: asyncio.Event().wait())
    with pytest.raises(DeadlineError, match="open hook"):
        await watched.manager.connect()
    assert watched.manager.state is S.FAILED
    assert server.connections == 2


async def test_an_open_hook_that_raises_fails_the_connection(serve: Serve, watch) -> None:
    """An open hook that raises fails the connection."""
    server = await serve(quiet)
    watched = watch(server.url, max_reconnect_attempts=1)

    @watched.manager.on_open
    async def subscribe() -> None:
        raise ZeroDivisionError("a fault of the hook")

    with pytest.raises(ConnectFailedError, match="a fault of the hook"):
        await watched.manager.connect()


@pytest.mark.fault("P02")
async def test_an_open_hook_that_is_cancelled_from_inside_fails_the_connection(
    serve: Serve, watch
) -> None:
    """An open hook that is cancelled from inside fails the connection."""
    server = await serve(quiet)
    watched = watch(server.url, max_reconnect_attempts=1)

    @watched.manager.on_open
    async def subscribe() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectFailedError, match="hook was cancelled"):
        await watched.manager.connect()


@pytest.mark.fault("P04")
async def test_an_open_hook_may_close(serve: Serve, watch) -> None:
    """An open hook may close."""
    server = await serve(quiet)
    watched = watch(server.url)
    watched.manager.on_open(watched.manager.close)
    with pytest.raises(NotConnectedError):
        await watched.manager.connect()
    assert watched.manager.state is S.DISCONNECTED


@pytest.mark.parametrize("on_exhausted", ["fail", "open"])
async def test_a_refusal_for_good_by_the_venue_ends_connect_at_once(
    serve: Serve, watch, on_exhausted: str
) -> None:
    """A refusal for good by the venue ends connect at once."""
    server = await serve(quiet)
    watched = watch(server.url, on_exhausted=on_exhausted)

    @watched.manager.on_open
    async def subscribe() -> None:
        raise SubscriptionRejectedError("venue", {"NOPE": "unknown symbol"})

    with pytest.raises(SubscriptionRejectedError, match="NOPE"):
        await watched.manager.connect()
    assert server.connections == 1
    assert watched.manager.state is S.FAILED


async def test_the_venues_refusal_of_one_does_not_hold_up_others(serve: Serve, watch) -> None:
    """The venue's refusal of one does not hold up others."""
    server = await serve(quiet)
    gate = VenueGate(AdmissionLimits(), random=random.Random(1))
    refused = watch(server.url, gate=gate)

    @refused.manager.on_open
    async def subscribe() -> None:
        raise SubscriptionRejectedError("venue", {"NOPE": "unknown symbol"})

    with pytest.raises(SubscriptionRejectedError):
        await refused.manager.connect()
    other = watch(server.url, gate=gate)
    async with asyncio.timeout(DEADLINE_S):
        await other.manager.connect()


# ── reconnecting ──────────────────────────────────────────────────────────────


@pytest.mark.fault("C01", "T01", "T02")
@pytest.mark.parametrize("end", ["1000", "1001", "1011", "1012", "silent", "reset", "garbage"])
async def test_a_lost_connection_is_replaced(serve: Serve, watch, end: str) -> None:
    """A lost connection is replaced."""

    async def first(peer) -> None:
        await peer.upgrade()
        await peer.read_until(TEXT)
        peer.text(b"1")
        if end.isdigit():
            peer.frame(CLOSE, int(end).to_bytes(2, "big"))
            await peer.gone()
        elif end == "reset":
            await peer.drain()
            peer.reset()
        elif end == "garbage":
            peer.send(b"\xff\xff\xff\xff")
            await peer.gone()

    async def second(peer) -> None:
        await peer.upgrade()
        peer.text(b"2")
        await peer.gone()

    server = await serve(first, second)
    watched = watch(server.url)
    await watched.manager.connect()
    await watched.until(lambda: 2 in watched.messages)
    await watched.until(lambda: watched.manager.state is S.CONNECTED)
    assert watched.path == [S.CONNECTING, S.CONNECTED, S.RECONNECTING, S.CONNECTED]
    assert watched.manager.get_stats()["reconnect_attempts"] == 1
    assert len(watched.errors) == 1
    assert isinstance(watched.errors[0], TransportError)


@pytest.mark.fault("H13")
async def test_a_server_that_accepts_and_closes_uses_up_the_attempts(serve: Serve, watch) -> None:
    """A server that accepts and closes uses up the attempts."""
    server = await serve(sending(b"1", then=b"\x03\xf3"))
    watched = watch(server.url, max_reconnect_attempts=3)
    await watched.manager.connect()
    with pytest.raises(ConnectionLostError):
        await watched.manager.run()
    assert server.connections == 4
    assert watched.manager.state is S.FAILED
    assert watched.manager.get_stats()["reconnect_attempts"] == 3
    await watched.manager.close()
    assert watched.manager.state is S.FAILED


@pytest.mark.fault("T13")
async def test_a_refused_connection_is_tried_so_often_and_no_more(serve: Serve, watch) -> None:
    """A refused connection is tried so often and no more."""
    server = await serve(quiet)
    url = server.url
    server.refuse_connections()
    watched = watch(url, max_reconnect_attempts=3)
    with pytest.raises(ConnectFailedError):
        await watched.manager.connect()
    assert watched.path == [S.CONNECTING, S.FAILED]
    assert len(watched.errors) == 4
    assert watched.manager.get_stats()["last_error"] != ""


@pytest.mark.fault("H07")
@pytest.mark.parametrize("status", [401, 403, 451])
async def test_permanent_refusals_are_not_tried_again(serve: Serve, watch, status: int) -> None:
    """Permanent refusals are not tried again."""
    server = await serve(refusing(status))
    watched = watch(server.url)
    with pytest.raises(HandshakeRejectedError) as caught:
        await watched.manager.connect()
    assert caught.value.status == status
    assert server.connections == 1
    assert watched.manager.state is S.FAILED


@pytest.mark.fault("C02")
async def test_1008_is_permanent_unless_the_venue_says_otherwise(serve: Serve, watch) -> None:
    """1008 is permanent unless the venue says otherwise."""
    from crossfeed.transport.reconnect import Refusal

    server = await serve(sending(b"1", then=b"\x03\xf0policy"))
    watched = watch(server.url)
    await watched.manager.connect()
    with pytest.raises(ConnectionLostError, match="policy"):
        await watched.manager.run()
    assert server.connections == 1
    server = await serve(sending(b"1", then=b"\x03\xf0policy"), quiet)
    watched = watch(server.url, close_code_meanings={1008: Refusal.PASSING})
    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)


async def test_alternate_addresses_are_tried_in_turn(serve: Serve, watch) -> None:
    """Alternate addresses are tried in turn."""
    blocked, open_one = await serve(refusing(451)), await serve(quiet)
    watched = watch(blocked.url, alternate_urls=(open_one.url,))
    await watched.manager.connect()
    assert (blocked.connections, open_one.connections) == (1, 1)
    assert str(open_one.port) in watched.manager.get_stats()["url"]


async def test_the_url_provider_chooses_each_address(serve: Serve, watch) -> None:
    """The url provider chooses each address."""
    first, second = await serve(refusing(500)), await serve(quiet)
    watched = watch("ws://127.0.0.1:1/never")
    asked: list[int] = []

    def choose(failures: int) -> str:
        asked.append(failures)
        return first.url if failures == 0 else second.url

    watched.manager.set_url_provider(choose)
    await watched.manager.connect()
    assert asked == [0, 1]


async def test_reconnect_on_command(serve: Serve, watch) -> None:
    """Reconnect on command."""
    server = await serve(quiet)
    watched = watch(server.url)
    await watched.manager.reconnect("not connected yet: nothing happens")
    await watched.manager.connect()
    await watched.manager.reconnect("stream BTCUSDT\nis silent")
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)
    assert isinstance(watched.errors[0], StaleConnectionError)
    assert "stream BTCUSDT\\x0ais silent" in str(watched.errors[0])
    assert server.connections == 2


async def test_wait_connected_waits_through_outages(serve: Serve, watch) -> None:
    """Wait connected waits through outages."""
    server = await serve(refusing(500), refusing(503), quiet)
    watched = watch(server.url)
    watched.manager.start()
    watched.manager.start()  # no second runner
    async with asyncio.timeout(DEADLINE_S):
        await watched.manager.wait_connected()
        await watched.manager.connect()  # at once
    assert server.connections == 3
    await watched.manager.close()
    with pytest.raises(NotConnectedError):
        await watched.manager.wait_connected()


async def test_a_closed_manager_can_be_connected_again(serve: Serve, watch) -> None:
    """A closed manager can be connected again."""
    server = await serve(sending(b"1", then=b"\x03\xe8"), quiet)
    watched = watch(server.url)
    got = []

    @watched.manager.on_message
    async def slow(message: object) -> None:
        got.append(message)

    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)
    await watched.manager.close()
    assert got == [1]
    await watched.manager.connect()
    assert watched.manager.state is S.CONNECTED


# ── the breaker ───────────────────────────────────────────────────────────────


async def test_exhausted_opens_probes_and_recovers_by_itself(serve: Serve, watch) -> None:
    """Exhausted opens probes and recovers by itself."""
    failing = [sending(b"1", then=b"\x03\xf3")] + [refusing(500)] * 5
    server = await serve(*failing, quiet)
    watched = watch(server.url, on_exhausted="open", max_reconnect_attempts=2)
    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)
    assert watched.path == [
        S.CONNECTING,
        S.CONNECTED,
        S.RECONNECTING,
        S.OPEN,
        S.CONNECTING,
        S.OPEN,
        S.CONNECTING,
        S.OPEN,
        S.CONNECTING,
        S.OPEN,
        S.CONNECTING,
        S.CONNECTED,
    ]


async def test_connect_raises_when_the_breaker_opens_at_first(serve: Serve, watch) -> None:
    """Connect raises when the breaker opens at first."""
    server = await serve(refusing(500))
    watched = watch(server.url, on_exhausted="open", max_reconnect_attempts=1)
    with pytest.raises(HandshakeRejectedError):
        await watched.manager.connect()
    assert watched.path == [S.CONNECTING, S.OPEN, S.FAILED]
    await watched.manager.close()
    assert watched.manager.state is S.FAILED


@pytest.mark.fault("H06", "H05")
@pytest.mark.parametrize("status", [418, 429])
async def test_a_ban_of_one_connection_stops_all_of_the_venue(
    serve: Serve, watch, status: int
) -> None:
    """A ban of one connection stops all of the venue."""
    server = await serve(quiet, refusing(status, b"Retry-After: 3600"), quiet)
    gate = VenueGate(AdmissionLimits(), random=random.Random(1))
    first = watch(server.url, gate=gate, on_exhausted="open")
    await first.manager.connect()
    second = watch(server.url, gate=gate, on_exhausted="open")
    with pytest.raises(HandshakeRejectedError):
        await second.manager.connect()
    third = watch(server.url, gate=gate, on_exhausted="open")
    with pytest.raises(CircuitOpenError) as caught:
        await third.manager.connect()
    assert caught.value.retry_at_ns - SystemClock().monotonic_ns() > 3590e9
    await first.manager.reconnect("test")
    await first.until(lambda: first.manager.state is S.OPEN)
    assert server.connections == 2
    assert gate.forced_wait_ns > 3590e9


# ── life signs ────────────────────────────────────────────────────────────────


@pytest.mark.fault("T03")
async def test_a_peer_that_answers_no_ping_is_given_up_in_time(serve: Serve, watch) -> None:
    """A peer that answers no ping is given up in time."""

    async def dead(peer) -> None:
        await peer.upgrade()
        await peer.gone()

    server = await serve(dead, quiet)
    watched = watch(server.url, ping_interval_s=0.1, ping_timeout_s=0.1)
    await watched.manager.connect()
    started = SystemClock().monotonic_ns()
    await watched.until(lambda: watched.errors)
    assert SystemClock().monotonic_ns() - started <= 0.7e9
    assert isinstance(watched.errors[0], StaleConnectionError)
    assert isinstance(watched.errors[0], TimeoutError)


@pytest.mark.fault("T07")
async def test_a_frame_that_comes_byte_by_byte_is_given_up(serve: Serve, watch) -> None:
    """Inside an unfinished frame no pong can come, so the ping's deadline bounds the frame."""

    async def drip(peer) -> None:
        await peer.upgrade()
        peer.frame(TEXT, b"", length=1000)
        for _ in range(1000):
            peer.send(b"x")
            await peer.drain()
            await asyncio.sleep(0.01)

    server = await serve(drip)
    watched = watch(server.url, ping_interval_s=0.1, ping_timeout_s=0.1)
    await watched.manager.connect()
    await watched.until(lambda: watched.errors)
    assert isinstance(watched.errors[0], StaleConnectionError)
    assert watched.messages == []


async def test_a_silent_peer_is_given_up_without_pings(serve: Serve, watch) -> None:
    """A silent peer is given up without pings."""

    async def silent(peer) -> None:
        await peer.upgrade()
        await peer.gone()

    server = await serve(silent)
    watched = watch(server.url, ping_interval_s=0, heartbeat_interval=0.1)
    await watched.manager.connect()
    await watched.until(lambda: watched.errors)
    assert isinstance(watched.errors[0], StaleConnectionError)
    assert "silent for 0.1 s" in str(watched.errors[0])


@pytest.mark.fault("C08")
async def test_pings_wait_for_their_place_in_the_budget(serve: Serve, watch) -> None:
    """Pings wait for their place in the budget."""
    times: list[float] = []
    done = asyncio.Event()

    async def script(peer) -> None:
        await peer.upgrade()
        for _ in range(4):
            peer.frame(PONG, await peer.read_until(PING))
            times.append(asyncio.get_running_loop().time())
        done.set()
        await peer.gone()

    server = await serve(script)
    watched = watch(
        server.url,
        go=False,
        send_limit=1,
        send_window_s=0.1,
        ping_interval_s=0.01,
        ping_timeout_s=1,
    )
    await watched.manager.connect()
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()
    assert times[3] - times[0] >= 0.29


@pytest.mark.fault("T05")
async def test_data_without_pongs_keeps_the_connection(serve: Serve, watch) -> None:
    """Data without pongs keeps the connection."""

    async def chatty(peer) -> None:
        await peer.upgrade()
        while True:
            peer.text(b"1")
            await peer.drain()
            await asyncio.sleep(0.01)

    server = await serve(chatty)
    watched = watch(server.url, ping_interval_s=0.05, ping_timeout_s=0.05)
    await watched.manager.connect()
    await watched.until(lambda: watched.manager.get_stats()["ping_failures"] >= 2)
    assert watched.manager.state is S.CONNECTED
    assert watched.errors == []
    assert server.connections == 1


async def test_pongs_give_the_round_trip(serve: Serve, watch) -> None:
    """Pongs give the round trip."""

    async def polite(peer) -> None:
        await peer.upgrade()
        peer.frame(PONG, await peer.read_until(PING))
        peer.text(b"1")
        await peer.gone()

    server = await serve(polite)
    watched = watch(server.url, ping_interval_s=0.02, ping_timeout_s=5)
    await watched.manager.connect()
    await watched.until(lambda: watched.messages)
    assert 0 < watched.manager.get_stats()["rtt_ms"] < 1000


@pytest.mark.fault("T06")
async def test_the_venues_own_ping_is_sent_under_load(serve: Serve, watch) -> None:
    """The venue's own ping is sent under load."""
    pinged = asyncio.Event()

    async def script(peer) -> None:
        await peer.upgrade()

        async def flood() -> None:
            while True:
                peer.text(b"1")
                await peer.drain()
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            flooding = group.create_task(flood())
            for _ in range(3):
                assert await peer.read_until(TEXT) == b'{"op":"ping"}'
            flooding.cancel()
        pinged.set()
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, app_ping='{"op":"ping"}', app_ping_interval_s=0.05, go=False)
    await watched.manager.connect()
    async with asyncio.timeout(DEADLINE_S):
        await pinged.wait()


@pytest.mark.fault("K01")
async def test_wall_clock_jumps_are_told_and_change_nothing_else(serve: Serve) -> None:
    """Wall clock jumps are told and change nothing else."""
    server = await serve(quiet)
    clock = ManualClock()
    manager = WebSocketManager(
        WebSocketConfig(**quick(server.url, ping_interval_s=0)),
        clock=clock,
        random=random.Random(1),
    )
    jumps: list[int] = []
    manager.on_clock_jump(jumps.append)
    connecting = asyncio.ensure_future(manager.connect())
    async with asyncio.timeout(DEADLINE_S):
        await connecting
    await clock.settle()
    clock.jump(-3600)
    await clock.advance(1.5)
    assert jumps == [-3600 * 10**9]
    assert manager.state is S.CONNECTED
    assert manager.get_stats()["clock_jump_count"] == 1
    assert manager.get_stats()["reconnect_attempts"] == 0
    await manager.close()


# ── sending under a limit ─────────────────────────────────────────────────────


@pytest.mark.fault("C08")
async def test_messages_wait_for_their_turn_in_order(serve: Serve, watch) -> None:
    """Messages wait for their turn in order."""
    times: list[float] = []
    got: list[bytes] = []
    done = asyncio.Event()

    async def script(peer) -> None:
        await peer.upgrade()
        for _ in range(9):
            got.append(await peer.read_until(TEXT))
            times.append(asyncio.get_running_loop().time())
        done.set()
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, send_limit=4, send_window_s=0.2, go=False)
    await watched.manager.connect()
    await asyncio.gather(*(watched.manager.send_text(b"%d" % number) for number in range(9)))
    async with asyncio.timeout(DEADLINE_S):
        await done.wait()
    assert got == [b"%d" % number for number in range(9)]
    assert times[8] - times[0] >= 0.39  # three messages in any 0.2 s, a place kept for pongs
    assert watched.manager.get_stats()["sent_count"] == 9


async def test_a_full_queue_and_a_passed_deadline_refuse(serve: Serve, watch) -> None:
    """A full queue and a passed deadline refuse."""
    server = await serve(quiet)
    watched = watch(
        server.url, send_limit=2, send_window_s=60, send_queue_max=2, send_timeout_s=0.05, go=False
    )
    manager = watched.manager
    await manager.connect()
    await manager.send_text(b"goes")
    results = await asyncio.gather(
        *(manager.send_text(b"waits") for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [SendRejectedError] * 3
    assert "wait already" in str(results[2])
    assert "not sent within" in str(results[0])
    stats = manager.get_stats()
    assert (stats["sent_count"], stats["send_rejected_count"]) == (1, 3)


async def test_messages_do_not_survive_their_connection(serve: Serve, watch) -> None:
    """Messages do not survive their connection."""
    server = await serve(quiet)
    watched = watch(server.url, send_limit=2, send_window_s=60, go=False)
    manager = watched.manager
    await manager.connect()
    await manager.send_text(b"goes")
    waiting = asyncio.ensure_future(manager.send_text(b"waits"))
    cancelled = asyncio.ensure_future(manager.send_text(b"is cancelled"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    await manager.reconnect("test")
    with pytest.raises(NotConnectedError, match="before the message was sent"):
        await waiting
    assert cancelled.cancelled()


async def test_a_cancelled_message_does_not_hold_up_those_behind_it(serve: Serve, watch) -> None:
    """A cancelled message does not hold up those behind it."""
    got: list[bytes] = []
    done = asyncio.Event()

    async def script(peer) -> None:
        await peer.upgrade()
        got.extend([await peer.read_until(TEXT), await peer.read_until(TEXT)])
        done.set()
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, go=False, send_limit=2, send_window_s=0.1)
    await watched.manager.connect()
    await watched.manager.send_text(b"first")
    cancelled = asyncio.ensure_future(watched.manager.send_text(b"cancelled"))
    behind = asyncio.ensure_future(watched.manager.send_text(b"behind"))
    await asyncio.sleep(0)
    cancelled.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await behind
        await done.wait()
    assert got == [b"first", b"behind"]


async def test_a_message_whose_peer_stopped_reading_is_refused_in_its_turn(
    serve: Serve, watch
) -> None:
    """A message whose peer stopped reading is refused in its turn."""

    async def deaf(peer) -> None:
        await peer.upgrade()
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    server = await serve(deaf)
    watched = watch(
        server.url,
        go=False,
        send_limit=2,
        send_window_s=0.02,
        write_buffer_bytes_max=100_000,
        app_ping="ping",
        app_ping_interval_s=0.01,
        ping_interval_s=0.2,
        ping_timeout_s=0.2,
    )
    manager = watched.manager
    await manager.connect()
    results = await asyncio.gather(
        *(manager.send_text(b"z" * 5_000_000) for _ in range(4)), return_exceptions=True
    )
    refused = [result for result in results if result is not None]
    assert refused
    assert {type(result) for result in refused} <= {SendRejectedError, NotConnectedError}
    await watched.until(lambda: watched.errors)
    assert isinstance(watched.errors[0], StaleConnectionError)


# ── handlers ──────────────────────────────────────────────────────────────────


@pytest.mark.fault("P02")
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("exc", [ValueError, asyncio.CancelledError, SystemExit, GeneratorExit])
async def test_a_failing_handler_is_isolated_and_quarantined(
    serve: Serve, watch, exc: type[BaseException], *, is_async: bool
) -> None:
    """A failing handler is isolated and quarantined."""

    async def script(peer) -> None:
        await peer.upgrade()
        for number in range(20):
            peer.text(b"%d" % number)
        await peer.gone()

    server = await serve(script)
    watched = watch(server.url, handler_failures_max=3)
    calls: list[object] = []

    def fail(message: object) -> None:
        calls.append(message)
        raise exc

    async def fail_async(message: object) -> None:
        fail(message)

    watched.manager.on_message(fail_async if is_async else fail)
    await watched.manager.connect()
    await watched.until(lambda: len(watched.errors) == 4)
    await watched.until(lambda: len(watched.messages) == 20)
    assert calls == [0, 1, 2]
    assert [type(error) for error in watched.errors] == [exc] * 3 + [HandlerQuarantinedError]
    assert watched.manager.state is S.CONNECTED
    stats = watched.manager.get_stats()
    assert stats["handler_failed_count"] == 3
    assert stats["handler_quarantined_count"] == 1
    assert stats["error_count"] == 4


async def test_one_success_forgives_a_handler(serve: Serve, watch) -> None:
    """One success forgives a handler."""
    server = await serve(sending(*(b"%d" % n for n in range(20))))
    watched = watch(server.url, handler_failures_max=2)

    @watched.manager.on_message
    def odd(message: int) -> None:
        if message % 2:
            raise ValueError(message)

    await watched.manager.connect()
    await watched.until(lambda: len(watched.messages) >= 20)
    assert watched.manager.get_stats()["handler_quarantined_count"] == 0


async def test_failing_error_and_state_handlers_do_no_harm(serve: Serve, watch) -> None:
    """Failing error and state handlers do no harm."""
    server = await serve(sending(b"1", then=b"\x03\xf3"), quiet)
    watched = watch(server.url)

    @watched.manager.on_error
    def fail(_error: BaseException) -> None:
        raise ValueError("in the error handler")

    @watched.manager.on_state_change
    def fail_too(_old: object, _new: object) -> None:
        raise ValueError("in the state handler")

    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)


@pytest.mark.fault("P01")
async def test_a_slow_async_handler_drops_the_oldest_and_counts(serve: Serve, watch) -> None:
    """A slow async handler drops the oldest and counts."""
    server = await serve(sending(*(b"%d" % n for n in range(100)), then=b"\x03\xe8"), quiet)
    watched = watch(server.url, handler_queue_max=10)
    release = asyncio.Event()
    got: list[object] = []

    @watched.manager.on_message
    async def slow(message: object) -> None:
        await release.wait()
        got.append(message)

    await watched.manager.connect()
    await watched.until(lambda: len(watched.messages) == 100)
    dropped = watched.manager.get_stats()["handler_dropped_count"]
    release.set()
    await watched.manager.close()
    assert dropped + len(got) == 100
    assert got[-10:] == list(range(90, 100))
    assert dropped >= 89


@pytest.mark.fault("P04")
async def test_handlers_may_add_remove_and_close(serve: Serve, watch) -> None:
    """Handlers may add remove and close."""
    server = await serve(sending(b"1", b"2", b"3", then=b"\x03\xe8"), quiet)
    watched = watch(server.url)
    manager = watched.manager
    late: list[object] = []

    @manager.on_message
    def once(_message: object) -> None:
        manager.off(once)
        manager.on_message(late.append)

    closed = asyncio.Event()

    @manager.on_message
    async def close(message: object) -> None:
        if message == 3:
            await manager.close()
            closed.set()

    await manager.connect()
    async with asyncio.timeout(DEADLINE_S):
        await closed.wait()
    assert late == [2, 3]
    assert manager.state is S.DISCONNECTED


# ── ends ──────────────────────────────────────────────────────────────────────


async def test_a_managed_connection_over_tls(serve: Serve, watch, pki) -> None:
    """A managed connection over TLS."""
    server = await serve(sending(b"1", then=b"\x03\xe8"), quiet, ssl=pki.context(pki.good))
    url = f"wss://localhost:{server.port}/ws"
    watched = watch(url, tls_ca_file=str(pki.ca))
    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)
    assert watched.messages == [1]
    stranger = watch(url)
    with pytest.raises(ConnectFailedError, match="certificate not accepted"):
        await stranger.manager.connect()
    assert len(stranger.errors) == 1  # a bad certificate is not tried again


async def test_closing_is_safe_twice_and_at_the_same_time(serve: Serve, watch) -> None:
    """Closing is safe twice and at the same time."""
    server = await serve(quiet)
    watched = watch(server.url)
    await watched.manager.close()  # before anything
    await watched.manager.connect()
    await asyncio.gather(*(watched.manager.close() for _ in range(3)))
    await watched.manager.close()
    assert watched.path == [S.CONNECTING, S.CONNECTED, S.DISCONNECTED]


async def test_closing_ends_every_wait(serve: Serve, watch) -> None:
    """Closing ends every wait."""
    server = await serve(refusing(500))
    watched = watch(server.url, backoff_base_s=60, backoff_cap_s=60)
    connecting = asyncio.ensure_future(watched.manager.connect())
    waiting = asyncio.ensure_future(watched.manager.wait_connected())
    await watched.until(lambda: watched.errors)
    await watched.manager.close()
    for wait in (connecting, waiting):
        with pytest.raises(NotConnectedError):
            await wait


async def test_run_ends_when_closed(serve: Serve, watch) -> None:
    """Run ends when closed."""
    server = await serve(quiet)
    watched = watch(server.url)
    running = asyncio.ensure_future(watched.manager.run())
    await watched.until(lambda: watched.manager.state is S.CONNECTED)
    await watched.manager.close()
    async with asyncio.timeout(DEADLINE_S):
        await running


async def test_a_handler_that_hangs_cannot_hold_up_closing(serve: Serve) -> None:
    """A handler that hangs cannot hold up closing."""
    server = await serve(sending(b"1"))
    clock = QuickClock()
    manager = WebSocketManager(WebSocketConfig(**quick(server.url)), clock=clock)
    started = asyncio.Event()

    @manager.on_message
    async def hang(_message: object) -> None:
        started.set()
        await asyncio.Event().wait()

    await manager.connect()
    await manager.send("go")
    async with asyncio.timeout(DEADLINE_S):
        await started.wait()
        await manager.close()
    assert 2.0 in clock.slept


async def test_an_internal_fault_is_seen_not_silent(serve: Serve, watch) -> None:
    """An internal fault is seen not silent."""
    server = await serve(quiet)
    watched = watch(server.url)

    def broken(_failures: int) -> str:
        raise LookupError("a fault of ours")

    watched.manager.set_url_provider(broken)
    with pytest.raises(ConnectFailedError, match="a fault of ours"):
        await watched.manager.connect()
    assert watched.manager.state is S.FAILED
    assert isinstance(watched.errors[0], CrossfeedError)


@pytest.mark.fault("T18")
async def test_secrets_are_in_no_log_and_no_error(
    serve: Serve, watch, caplog: pytest.LogCaptureFixture
) -> None:
    """Secrets are in no log and no error."""
    server = await serve(refusing(500))
    watched = watch(
        server.url + "?apiKey=hunter2",
        headers={"X-Key": "hunter3"},
        proxy="http://me:hunter4@127.0.0.1:1",
        max_reconnect_attempts=1,
    )
    with caplog.at_level("DEBUG"), pytest.raises(TransportError) as caught:
        await watched.manager.connect()
    text = caplog.text + str(caught.value) + repr(watched.manager.config) + str(watched.errors)
    assert "hunter" not in text
