"""Reconnecting, giving up, recovering: states, addresses, bans."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import (
    CircuitOpenError,
    ConnectFailedError,
    ConnectionLostError,
    HandshakeRejectedError,
    NotConnectedError,
    StaleConnectionError,
    TransportError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.manager import ConnectionState

TEXT, CLOSE = 0x1, 0x8
DEADLINE_S = 5.0
S = ConnectionState

Serve = Callable[..., Awaitable[object]]


# ── reconnecting ──────────────────────────────────────────────────────────────────


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
    server = await serve(serve.sending(b"1", then=b"\x03\xf3"))
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
    server = await serve(serve.quiet)
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
    server = await serve(serve.refusing(status))
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

    server = await serve(serve.sending(b"1", then=b"\x03\xf0policy"))
    watched = watch(server.url)
    await watched.manager.connect()
    with pytest.raises(ConnectionLostError, match="policy"):
        await watched.manager.run()
    assert server.connections == 1
    server = await serve(serve.sending(b"1", then=b"\x03\xf0policy"), serve.quiet)
    watched = watch(server.url, close_code_meanings={1008: Refusal.PASSING})
    await watched.manager.connect()
    await watched.until(lambda: watched.path.count(S.CONNECTED) == 2)


async def test_alternate_addresses_are_tried_in_turn(serve: Serve, watch) -> None:
    """Alternate addresses are tried in turn."""
    blocked, open_one = await serve(serve.refusing(451)), await serve(serve.quiet)
    watched = watch(blocked.url, alternate_urls=(open_one.url,))
    await watched.manager.connect()
    assert (blocked.connections, open_one.connections) == (1, 1)
    assert str(open_one.port) in watched.manager.get_stats()["url"]


async def test_the_url_provider_chooses_each_address(serve: Serve, watch) -> None:
    """The url provider chooses each address."""
    first, second = await serve(serve.refusing(500)), await serve(serve.quiet)
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
    server = await serve(serve.quiet)
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
    server = await serve(serve.refusing(500), serve.refusing(503), serve.quiet)
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
    server = await serve(serve.sending(b"1", then=b"\x03\xe8"), serve.quiet)
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


# ── the breaker ───────────────────────────────────────────────────────────────────


async def test_exhausted_opens_probes_and_recovers_by_itself(serve: Serve, watch) -> None:
    """Exhausted opens probes and recovers by itself."""
    failing = [serve.sending(b"1", then=b"\x03\xf3")] + [serve.refusing(500)] * 5
    server = await serve(*failing, serve.quiet)
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
    server = await serve(serve.refusing(500))
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
    server = await serve(serve.quiet, serve.refusing(status, b"Retry-After: 3600"), serve.quiet)
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
