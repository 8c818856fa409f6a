"""Life signs on real connections: pings, silence, the venue's own ping, clock jumps."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import (
    StaleConnectionError,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.manager import ConnectionState, WebSocketManager

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
DEADLINE_S = 5.0
S = ConnectionState

Serve = Callable[..., Awaitable[object]]


@pytest.mark.fault("T03")
async def test_a_peer_that_answers_no_ping_is_given_up_in_time(serve: Serve, watch) -> None:
    """A peer that answers no ping is given up in time."""

    async def dead(peer) -> None:
        await peer.upgrade()
        await peer.gone()

    server = await serve(dead, serve.quiet)
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
    server = await serve(serve.quiet)
    clock = ManualClock()
    manager = WebSocketManager(
        WebSocketConfig(url=server.url, close_timeout_s=0.05, ping_interval_s=0),
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
