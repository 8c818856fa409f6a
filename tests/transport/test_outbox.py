"""Sending under a limit: turns, queue, deadlines, peers that do not read."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import (
    NotConnectedError,
    SendRejectedError,
    StaleConnectionError,
)

TEXT, CLOSE = 0x1, 0x8
DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]


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
    server = await serve(serve.quiet)
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
    server = await serve(serve.quiet)
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
