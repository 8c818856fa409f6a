"""Cancellation at every await: nothing is left behind, wherever it strikes."""

import asyncio
import contextlib
import gc
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from crossfeed.errors import CrossfeedError
from crossfeed.runtime.clock import SystemClock
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.http import HttpClient
from crossfeed.transport.manager import ConnectionState, WebSocketManager
from crossfeed.transport.pool import WebSocketPool

TEXT, CLOSE = 0x1, 0x8
DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]


def config(url: str) -> WebSocketConfig:
    """Return a configuration with short waits."""
    return WebSocketConfig(
        url=url,
        name="test",
        backoff_base_s=0.001,
        backoff_cap_s=0.002,
        close_timeout_s=0.02,
        send_limit=3,
        send_window_s=0.01,
    )


class ImpatientClock(SystemClock):
    """The system's clock, but short sleeps (waits before a reconnect) take one pass of the loop."""

    async def sleep(self, seconds: float) -> None:
        """Wait, if it is long."""
        await asyncio.sleep(0 if seconds < 0.01 else seconds)


async def chatty(peer) -> None:
    """Accept, answer one message, close; then the next connection."""
    await peer.upgrade()
    peer.text(b'{"n":1}')
    peer.text(await peer.read_until(TEXT))
    peer.frame(CLOSE, b"\x03\xe9")
    await peer.gone()


def open_sockets() -> int:
    """Count the sockets this process holds (where the system shows them)."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return 0
    count = 0
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


async def rest() -> None:
    """Let everything that can end, end: tasks first, then closed sockets."""
    async with asyncio.timeout(DEADLINE_S):
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - tasks have no such event
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)


async def strike(scenario: Callable[[], Awaitable[object]], passes: int) -> bool:
    """Run a scenario, cancel it after so many loop passes; return whether it still ran."""
    task = asyncio.ensure_future(scenario())
    for _ in range(passes):
        await asyncio.sleep(0)
    was_running = not task.done()
    task.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        error = task.exception()
        assert isinstance(error, CrossfeedError), error
    return was_running


async def use_manager(manager: WebSocketManager) -> None:
    """Live a whole life: connect, send, receive, reconnect, send again, wait."""
    handled = asyncio.Event()

    @manager.on_message
    async def handle(_message: object) -> None:
        await asyncio.sleep(0)
        handled.set()

    @manager.on_open
    async def subscribe() -> None:
        await manager.send({"subscribe": 1})

    async with manager:
        for number in range(5):
            try:
                await manager.send({"n": number})
            except CrossfeedError:
                await manager.wait_connected()
        await handled.wait()
        await manager.run()


@pytest.mark.fault("P05")
async def test_a_manager_cancelled_at_any_point_leaves_nothing(serve: Serve) -> None:
    """A manager cancelled at any point leaves nothing."""
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: problems.append(said))
    server = await serve(chatty)
    await rest_of(server)
    before = open_sockets()
    lives = 0
    # The last ones only if a quick loop has passed too often to see several connections.
    for passes in (*range(160), *(160 << n for n in range(8))):
        if passes >= 160 and lives >= 2:
            break
        manager = WebSocketManager(
            config(server.url), clock=ImpatientClock(), random=random.Random(passes)
        )
        await strike(lambda manager=manager: use_manager(manager), passes)
        assert manager.state in (ConnectionState.DISCONNECTED, ConnectionState.FAILED)
        await rest_of(server)
        assert open_sockets() == before, passes
        lives = max(lives, manager.get_stats()["reconnect_attempts"])
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []
    assert lives >= 2, "the longest lives must have seen several connections"


@pytest.mark.fault("P05", "H04")
async def test_a_stalled_handshake_cancelled_at_any_point_leaves_nothing(serve: Serve) -> None:
    """A stalled handshake cancelled at any point leaves nothing."""

    async def stalled(peer) -> None:
        await peer.gone()

    server = await serve(stalled)
    before = open_sockets()
    for passes in range(40):
        manager = WebSocketManager(config(server.url))
        assert await strike(manager.connect, passes)
        await rest_of(server)
        assert open_sockets() == before, passes


@pytest.mark.fault("P05")
async def test_closing_cancelled_at_any_point_can_be_finished(serve: Serve) -> None:
    """Closing cancelled at any point can be finished."""
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: problems.append(said))

    async def deaf(peer) -> None:
        await peer.upgrade()
        await peer.gone()

    server = await serve(deaf)
    before = open_sockets()
    for passes in range(40):
        manager = WebSocketManager(config(server.url))
        await manager.connect()
        await strike(manager.close, passes)
        await manager.close()
        assert manager.state is ConnectionState.DISCONNECTED
        await rest_of(server)
        assert open_sockets() == before, passes
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []


@pytest.mark.fault("P05")
async def test_a_pool_cancelled_at_any_point_leaves_nothing(serve: Serve) -> None:
    """A pool cancelled at any point leaves nothing."""
    server = await serve(chatty)
    before = open_sockets()

    async def scenario() -> None:
        pool = WebSocketPool()
        for number in range(3):
            pool.add_connection(f"c{number}", config(server.url))
        async with pool:
            await pool.run()

    for passes in range(0, 120, 3):
        await strike(scenario, passes)
        await rest_of(server)
        assert open_sockets() == before, passes


@pytest.mark.fault("P05")
async def test_a_request_cancelled_at_any_point_leaves_nothing(serve: Serve) -> None:
    """A request cancelled at any point leaves nothing."""

    async def script(peer) -> None:
        await peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await peer.drain()
        await asyncio.sleep(0)
        peer.send(b"def")
        await peer.gone()

    server = await serve(script)
    before = open_sockets()
    base = server.url.replace("ws:", "http:")

    async def scenario() -> None:
        async with HttpClient(base) as client:
            await client.get("/time")

    for passes in range(40):
        await strike(scenario, passes)
        await rest_of(server)
        assert open_sockets() == before, passes


async def rest_of(server) -> None:
    """Wait until the server's side of every connection has ended too, then let the loop rest."""
    await server.idle()
    await rest()
