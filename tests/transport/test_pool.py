"""Several connections under one roof."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from crossfeed.errors import ConfigError, HandshakeRejectedError, TransportError
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.manager import ConnectionState
from crossfeed.transport.pool import WebSocketPool

TEXT, CLOSE = 0x1, 0x8
DEADLINE_S = 5.0

Serve = Callable[..., Awaitable[object]]


def config(url: str, **more: object) -> WebSocketConfig:
    """Return a configuration with short waits."""
    values = {"backoff_base_s": 0.01, "backoff_cap_s": 0.02, "close_timeout_s": 0.05, **more}
    return WebSocketConfig(url=url, **values)


def channel_of(message: dict[str, str]) -> str | None:
    """Name the channel of a test message."""
    return message.get("channel")


def telling(*messages: bytes) -> Callable[..., Awaitable[None]]:
    """Return a script that is told to go, then sends."""

    async def script(peer) -> None:
        await peer.upgrade()
        await peer.read_until(TEXT)
        for message in messages:
            peer.text(message)
        await peer.gone()

    return script


async def test_channels_are_routed_over_all_connections(serve: Serve) -> None:
    """Channels are routed over all connections."""
    first = await serve(telling(b'{"channel":"trade","n":1}', b'{"channel":"book","n":2}', b"{}"))
    second = await serve(telling(b'{"channel":"trade","n":3}', b'{"channel":"trade","n":4}'))
    pool = WebSocketPool()
    trades: list[int] = []
    books: list[int] = []
    others: list[object] = []
    complete = asyncio.Event()

    def note(kept: list[int], message: dict[str, int]) -> None:
        kept.append(message["n"])
        if len(trades) == 3 and len(books) == 1:
            complete.set()

    pool.add_connection("a", config(first.url, channel_of=channel_of))
    pool.subscribe("trade", lambda message: note(trades, message))
    pool.add_connection("b", config(second.url, channel_of=channel_of))

    @pool["a"].on_message
    def other(message: object) -> None:
        others.append(message)

    async def take_book(message: dict[str, int]) -> None:
        note(books, message)

    pool.subscribe("book", take_book)
    async with pool:
        assert pool.get_stats()["a"]["state"] == "connected"
        for name in pool:
            await pool[name].send("go")
        async with asyncio.timeout(DEADLINE_S):
            await complete.wait()
        stats = pool.get_stats()
    assert sorted(trades) == [1, 3, 4]
    assert books == [2]
    assert {} in others
    assert stats["a"]["message_count"] == 3
    assert stats["b"]["message_count"] == 2
    assert pool.get_stats()["b"]["state"] == "disconnected"


async def test_connecting_is_parallel_and_within_the_hosts_budget(serve: Serve) -> None:
    """Connecting is parallel and within the host's budget."""
    server = await serve(serve.quiet)
    pool = WebSocketPool(limits=AdmissionLimits(windows=((3, 0.1),), burst=100, rate_per_s=1000))
    for number in range(7):
        pool.add_connection(f"c{number}", config(server.url))
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(DEADLINE_S), pool:
        took = loop.time() - started
        assert server.connections == 7
        assert took >= 0.19  # three in any tenth of a second
        assert len(pool) == 7
        assert "c6" in pool


async def test_one_that_cannot_connect_does_not_stop_the_others(serve: Serve) -> None:
    """One that cannot connect does not stop the others."""
    good, bad = await serve(serve.quiet), await serve(lambda peer: peer.refuse(403))
    pool = WebSocketPool()
    errors: list[BaseException] = []
    pool.on_error(errors.append)
    pool.add_connection("good", config(good.url))
    pool.add_connection("bad", config(bad.url))
    pool.add_connection("behind", config(bad.url))
    with pytest.raises(HandshakeRejectedError) as caught:
        await pool.connect_all()
    assert {note.split(":")[0] for note in caught.value.__notes__} == {"bad", "behind"}
    assert pool["good"].state is ConnectionState.CONNECTED
    assert pool["bad"].state is ConnectionState.FAILED
    assert pool["behind"].state is ConnectionState.FAILED
    assert bad.connections == 1  # the refusal is the host's, it binds the next one
    assert len(errors) == 1
    await pool.close_all()
    await pool.close_all()
    assert pool["good"].state is ConnectionState.DISCONNECTED


async def test_entering_closes_again_what_did_connect(serve: Serve) -> None:
    """Entering closes again what did connect."""
    good, bad = await serve(serve.quiet), await serve(lambda peer: peer.refuse(403))
    pool = WebSocketPool()
    pool.add_connection("good", config(good.url))
    pool.add_connection("bad", config(bad.url))
    with pytest.raises(TransportError):
        async with pool:
            raise AssertionError("must not be entered")
    assert pool["good"].state is ConnectionState.DISCONNECTED


async def test_run_waits_for_the_end_of_all(serve: Serve) -> None:
    """Run waits for the end of all."""
    server = await serve(serve.quiet)
    pool = WebSocketPool()
    pool.add_connection("a", config(server.url))
    pool.add_connection("b", config(server.url))
    async with pool:
        running = asyncio.ensure_future(pool.run())
        await pool["a"].close()
        await asyncio.sleep(0)
        assert not running.done()
        await pool["b"].close()
        async with asyncio.timeout(DEADLINE_S):
            await running


async def test_a_failing_channel_handler_is_reported_and_isolated(serve: Serve) -> None:
    """A failing channel handler is reported and isolated."""
    server = await serve(telling(*[b'{"channel":"trade"}'] * 5))
    pool = WebSocketPool(handler_failures_max=2)
    pool.add_connection("a", config(server.url, channel_of=channel_of))
    errors: list[BaseException] = []
    seen: list[object] = []
    complete = asyncio.Event()

    def fail(_message: object) -> None:
        raise ValueError("in the handler")

    def count(message: object) -> None:
        seen.append(message)
        if len(seen) == 5:
            complete.set()

    pool.on_error(errors.append)
    pool.subscribe("trade", fail)
    pool.subscribe("trade", count)
    pool.unsubscribe("nothing", count)
    async with pool:
        await pool["a"].send("go")
        async with asyncio.timeout(DEADLINE_S):
            await complete.wait()
        assert pool["a"].state is ConnectionState.CONNECTED
    assert [type(error).__name__ for error in errors[:3]] == [
        "ValueError",
        "ValueError",
        "HandlerQuarantinedError",
    ]
    pool.unsubscribe("trade", count)


def test_names_and_numbers_are_checked() -> None:
    """Names and numbers are checked."""
    pool = WebSocketPool(connections_max=2)
    pool.add_connection("a", config("ws://127.0.0.1:1/"))
    with pytest.raises(ConfigError, match="already"):
        pool.add_connection("a", config("ws://127.0.0.1:1/"))
    with pytest.raises(ConfigError, match="names channels"):
        pool.subscribe("trade", print)
    pool.add_connection("b", config("ws://127.0.0.1:2/"))
    with pytest.raises(ConfigError, match="2 connections"):
        pool.add_connection("c", config("ws://127.0.0.1:3/"))


@pytest.mark.fault("C10")
async def test_a_hundred_lost_at_once_come_back_behind_one_canary(serve: Serve) -> None:
    """Here with real sockets and a quicker pace; the rule itself is tested in virtual time."""
    lost = asyncio.Event()

    async def until_lost(peer) -> None:
        await peer.upgrade()
        await lost.wait()
        peer.reset()

    server = await serve(*[until_lost] * 100, serve.quiet)
    pool = WebSocketPool(limits=AdmissionLimits(burst=10, rate_per_s=1000))
    down: set[str] = set()
    all_down = asyncio.Event()

    def note(name: str, new: ConnectionState) -> None:
        if new is ConnectionState.RECONNECTING:
            down.add(name)
            if len(down) == 100:
                all_down.set()

    for number in range(100):
        manager = pool.add_connection(f"c{number}", config(server.url))
        manager.on_state_change(lambda _old, new, name=f"c{number}": note(name, new))
    async with asyncio.timeout(20):
        await pool.connect_all()
        lost.set()
        await all_down.wait()
        for name in pool:
            await pool[name].wait_connected()
        await pool.close_all()
    assert server.connections == 200
