"""The managed connection: contract, hooks, handlers, ends, the system's limits."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import (
    ConnectFailedError,
    ConnectionLostError,
    CrossfeedError,
    DeadlineError,
    HandlerQuarantinedError,
    MalformedFrameError,
    NotConnectedError,
    SendRejectedError,
    SubscriptionRejectedError,
    TransportError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.address import Address, Resolver
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.manager import ConnectionState, WebSocketManager

TEXT, CLOSE = 0x1, 0x8
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


# ── the contract ──────────────────────────────────────────────────────────────────


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
    server = await serve(serve.sending(b"[1]", b"[2]"))
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
    server = await serve(serve.sending(b'{"a":1}'))
    watched = watch(server.url, decode=decode)
    await watched.manager.connect()
    await watched.until(lambda: watched.messages)
    assert watched.messages[0] == expected


@pytest.mark.fault("D11", "D16", "D01")
async def test_broken_json_is_reported_and_the_line_kept(serve: Serve, watch) -> None:
    """Broken JSON is reported and the line kept."""
    broken = [b'{"a":1', b"", b"[" * 200_000, b"\x00", b"NaN", b"\xef\xbb\xbf{}"]
    server = await serve(serve.sending(*broken, b'{"fine":1}'))
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
    server = await serve(serve.quiet)
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


# ── the frame hook and the open hook ──────────────────────────────────────────────


async def test_the_frame_hook_gets_raw_frames_and_times(serve: Serve) -> None:
    """The frame hook gets raw frames and times."""
    server = await serve(serve.sending(b"raw 1", b"raw 2"))
    manager = WebSocketManager(WebSocketConfig(url=server.url, close_timeout_s=0.05))
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
    server = await serve(serve.quiet)
    watched = watch(server.url, open_timeout_s=0.05, max_reconnect_attempts=1)
    watched.manager.on_open(lambda: asyncio.Event().wait())
    with pytest.raises(DeadlineError, match="open hook"):
        await watched.manager.connect()
    assert watched.manager.state is S.FAILED
    assert server.connections == 2


async def test_an_open_hook_that_raises_fails_the_connection(serve: Serve, watch) -> None:
    """An open hook that raises fails the connection."""
    server = await serve(serve.quiet)
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
    server = await serve(serve.quiet)
    watched = watch(server.url, max_reconnect_attempts=1)

    @watched.manager.on_open
    async def subscribe() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ConnectFailedError, match="hook was cancelled"):
        await watched.manager.connect()


@pytest.mark.fault("P04")
async def test_an_open_hook_may_close(serve: Serve, watch) -> None:
    """An open hook may close."""
    server = await serve(serve.quiet)
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
    server = await serve(serve.quiet)
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
    server = await serve(serve.quiet)
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


# ── handlers ──────────────────────────────────────────────────────────────────────


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
    server = await serve(serve.sending(*(b"%d" % n for n in range(20))))
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
    server = await serve(serve.sending(b"1", then=b"\x03\xf3"), serve.quiet)
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
    server = await serve(
        serve.sending(*(b"%d" % n for n in range(100)), then=b"\x03\xe8"), serve.quiet
    )
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
    server = await serve(serve.sending(b"1", b"2", b"3", then=b"\x03\xe8"), serve.quiet)
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


# ── ends ──────────────────────────────────────────────────────────────────────────


async def test_a_managed_connection_over_tls(serve: Serve, watch, pki) -> None:
    """A managed connection over TLS."""
    server = await serve(
        serve.sending(b"1", then=b"\x03\xe8"), serve.quiet, ssl=pki.context(pki.good)
    )
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
    server = await serve(serve.quiet)
    watched = watch(server.url)
    await watched.manager.close()  # before anything
    await watched.manager.connect()
    await asyncio.gather(*(watched.manager.close() for _ in range(3)))
    await watched.manager.close()
    assert watched.path == [S.CONNECTING, S.CONNECTED, S.DISCONNECTED]


async def test_closing_ends_every_wait(serve: Serve, watch) -> None:
    """Closing ends every wait."""
    server = await serve(serve.refusing(500))
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
    server = await serve(serve.quiet)
    watched = watch(server.url)
    running = asyncio.ensure_future(watched.manager.run())
    await watched.until(lambda: watched.manager.state is S.CONNECTED)
    await watched.manager.close()
    async with asyncio.timeout(DEADLINE_S):
        await running


async def test_a_handler_that_hangs_cannot_hold_up_closing(serve: Serve) -> None:
    """A handler that hangs cannot hold up closing."""
    server = await serve(serve.sending(b"1"))
    clock = QuickClock()
    manager = WebSocketManager(WebSocketConfig(url=server.url, close_timeout_s=0.05), clock=clock)
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
    server = await serve(serve.quiet)
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
    server = await serve(serve.refusing(500))
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


# ── the system's limits ───────────────────────────────────────────────────────────


@pytest.mark.fault("T19", "T20")
@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), OSError(99, "No address")])
async def test_out_of_files_or_ports_slows_new_connections_and_keeps_what_lives(
    serve: Serve, watch, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Out of files or ports slows new connections and keeps what lives."""
    server = await serve(serve.quiet)
    living = watch(server.url)
    await living.manager.connect()
    attempts = 0

    class Refusing(socket.socket):
        def __init__(self, *_args: object) -> None:
            nonlocal attempts
            attempts += 1
            raise error

    monkeypatch.setattr("crossfeed.transport.address.socket.socket", Refusing)
    late = watch(server.url, max_reconnect_attempts=0, backoff_base_s=0.05, backoff_cap_s=0.1)
    late.manager.start()
    await late.until(lambda: len(late.errors) == 3)
    assert attempts == 3
    assert living.manager.state is S.CONNECTED
    monkeypatch.undo()
    await late.until(lambda: late.manager.state is S.CONNECTED)


@pytest.mark.fault("T14")
async def test_an_address_that_swallows_everything_costs_the_connect_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An address that swallows everything costs the connect timeout, on the injected clock."""
    loop = asyncio.get_running_loop()
    if type(loop).__module__.startswith("uvloop"):
        pytest.skip("a uvloop loop takes no other methods")

    async def swallow(*_args: object) -> None:
        await asyncio.Event().wait()

    async def lookup(_host: str, _port: int) -> list[Address]:
        return [Address(socket.AF_INET, ("127.0.0.1", 1))]  # the system's takes a thread, real time

    monkeypatch.setattr(loop, "sock_connect", swallow)
    clock = ManualClock()
    config = WebSocketConfig(url="ws://127.0.0.1:1/", max_reconnect_attempts=1)
    resolver = Resolver(clock, lookup)
    manager = WebSocketManager(config, clock=clock, random=random.Random(1), resolver=resolver)
    connecting = asyncio.ensure_future(manager.connect())
    await clock.advance(9.9)
    assert not connecting.done()
    await clock.advance(15)
    with pytest.raises(DeadlineError, match="connecting took longer than 10 s"):
        await connecting
    assert manager.state is S.FAILED
