"""The document's section on the WebSocket manager, its error handling and its states."""

import asyncio
import inspect
import itertools
import logging

import pytest

from crossfeed import (
    ConnectFailedError,
    ConnectionLostError,
    ConnectionState,
    WebSocketConfig,
    WebSocketManager,
    WebSocketPool,
)
from crossfeed.runtime.clock import SystemClock, SystemRandom
from crossfeed.simulator import FaultRule

STATS = {
    "state",
    "message_count",
    "error_count",
    "reconnect_attempts",
    "last_message_time",
    "uptime_seconds",
}
QUICK = {"backoff_base_s": 0.01, "backoff_cap_s": 0.05, "breaker_cooldown_s": 0.05}
TRADES = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}


@pytest.fixture
async def venue(simulate):
    """A simulated Binance of a quick market."""
    return await simulate(venues=("binance",), symbols=("BTC/USD",), rate_per_s=500)


@pytest.fixture
def config(venue):
    """Make configurations that lead there, with short waits."""
    return lambda **more: WebSocketConfig(
        **{"url": venue.ws_url("binance") + "/stream", **QUICK, **more}
    )


# ── key classes ───────────────────────────────────────────────────────────────


def test_the_classes_have_the_documents_methods() -> None:
    for name in ("connect", "close", "send"):
        assert inspect.iscoroutinefunction(getattr(WebSocketManager, name))
    assert inspect.iscoroutinefunction(WebSocketPool.connect_all)
    assert inspect.iscoroutinefunction(WebSocketPool.close_all)
    assert list(inspect.signature(WebSocketManager.send).parameters) == ["self", "message"]
    assert list(inspect.signature(WebSocketManager.on_message).parameters) == ["self", "handler"]
    names = list(inspect.signature(WebSocketPool.add_connection).parameters)
    assert names == ["self", "name", "config"]
    names = list(inspect.signature(WebSocketPool.subscribe).parameters)
    assert names == ["self", "channel", "handler"]


def test_the_defaults_are_the_documents() -> None:
    config = WebSocketConfig(url="wss://stream.example.com/ws")
    assert config.heartbeat_interval == 30
    assert config.max_reconnect_attempts == 10
    assert config.on_exhausted == "fail"
    assert config.backoff_cap_s > config.backoff_base_s > 0
    assert {state.name for state in ConnectionState} == {
        "DISCONNECTED",
        "CONNECTING",
        "CONNECTED",
        "RECONNECTING",
        "FAILED",
        "OPEN",
    }


async def test_connect_send_and_receive(config, until) -> None:
    manager = WebSocketManager(config())
    messages = []

    @manager.on_message
    def keep(message):
        messages.append(message)

    assert manager.get_stats()["state"] == "disconnected"
    await manager.connect()
    assert manager.state is ConnectionState.CONNECTED
    await manager.send(TRADES)
    await until(lambda: len(messages) > 10)
    await manager.close()

    assert {"result": None, "id": 1} in messages
    trades = [message["data"] for message in messages if "data" in message]
    assert all(trade["e"] == "trade" and trade["s"] == "BTCUSDT" for trade in trades)
    assert manager.state is ConnectionState.DISCONNECTED


async def test_handlers_are_sync_or_async_decorators_or_calls(config, until) -> None:
    manager = WebSocketManager(config())
    seen = {"called": 0, "decorated": 0}

    @manager.on_message
    async def decorated(_message):
        await asyncio.sleep(0)
        seen["decorated"] += 1

    def called(_message):
        seen["called"] += 1

    assert manager.on_message(called) is called
    async with manager:
        await manager.send(TRADES)
        await until(lambda: min(seen.values()) > 5)


# ── statistics ────────────────────────────────────────────────────────────────


async def test_the_statistics_of_the_document_are_tracked(config, venue, until) -> None:
    manager = WebSocketManager(config())
    before = manager.get_stats()
    assert before.keys() >= STATS
    assert before["message_count"] == before["error_count"] == before["reconnect_attempts"] == 0
    assert before["last_message_time"] is None
    assert before["uptime_seconds"] == 0

    async with manager:
        await manager.send(TRADES)
        await until(lambda: manager.get_stats()["message_count"] > 5)
        during = manager.get_stats()
        assert during["state"] == "connected"
        assert during["uptime_seconds"] > 0
        now_s = venue.clock.now_ns() / 1e9
        assert during["last_message_time"] == pytest.approx(now_s, abs=5)
        venue.cut_all(mode="reset")
        await until(lambda: manager.get_stats()["reconnect_attempts"])
        await until(lambda: manager.state is ConnectionState.CONNECTED)
        after = manager.get_stats()
        assert after["error_count"] == 1
        assert after["message_count"] >= during["message_count"]
        assert after["uptime_seconds"] < during["uptime_seconds"] + 5


# ── features: states, reconnecting, heartbeat ─────────────────────────────────


@pytest.mark.parametrize("mode", ["clean", "eof", "reset", "mid_frame"])
async def test_a_lost_connection_is_made_again(config, venue, until, mode) -> None:
    manager = WebSocketManager(config())
    states, errors = [], []
    manager.on_state_change(lambda old, new: states.append((old.name, new.name)))
    manager.on_error(errors.append)
    async with manager:
        await manager.send(TRADES)
        venue.cut_all(mode=mode)
        await until(lambda: states.count(("RECONNECTING", "CONNECTED")) == 1)
        await manager.send(TRADES)
        count = manager.get_stats()["message_count"]
        await until(lambda: manager.get_stats()["message_count"] > count + 5)
    assert states == [
        ("DISCONNECTED", "CONNECTING"),
        ("CONNECTING", "CONNECTED"),
        ("CONNECTED", "RECONNECTING"),
        ("RECONNECTING", "CONNECTED"),
        ("CONNECTED", "DISCONNECTED"),
    ]
    assert len(errors) == 1
    assert isinstance(errors[0], ConnectionLostError | ConnectionError)


async def test_it_ends_failed_after_the_attempts_allowed(config, venue) -> None:
    states = []
    manager = WebSocketManager(config(max_reconnect_attempts=3))
    manager.on_state_change(lambda _old, new: states.append(new.name))
    async with manager:
        venue.inject(FaultRule(kind="handshake", status=503))
        venue.cut_all(mode="reset")
        with pytest.raises(Exception, match="503"):
            await manager.wait_closed()
        assert manager.state is ConnectionState.FAILED
    assert states == ["CONNECTING", "CONNECTED", "RECONNECTING", "FAILED"]
    assert manager.get_stats()["reconnect_attempts"] == 3
    assert manager.get_stats()["state"] == "failed"


async def test_nobody_listens(venue) -> None:
    url = venue.ws_url("binance")
    await venue.close()
    manager = WebSocketManager(WebSocketConfig(url=url, max_reconnect_attempts=2, **QUICK))
    with pytest.raises(ConnectFailedError, match=r"127\.0\.0\.1"):
        await manager.connect()
    assert manager.state is ConnectionState.FAILED


async def test_the_waits_grow_up_to_their_cap(venue) -> None:
    """Exponential backoff up to ten attempts: the distances of the failures show it."""
    url = venue.ws_url("binance")
    await venue.close()
    config = WebSocketConfig(url=url, backoff_base_s=0.01, backoff_cap_s=0.2)
    manager = WebSocketManager(config, random=SystemRandom(7))
    clock = SystemClock()
    failures = []
    manager.on_error(lambda _: failures.append(clock.monotonic_ns()))
    with pytest.raises(ConnectFailedError):
        await manager.connect()
    waits_s = [(late - early) / 1e9 for early, late in itertools.pairwise(failures)]
    assert len(waits_s) == 10
    assert max(waits_s) > 3 * waits_s[0]
    assert sum(waits_s) > 10 * config.backoff_base_s


async def test_the_heartbeat_finds_a_stale_connection(config, until) -> None:
    """Nothing comes on a connection without subscriptions: that is what a dead one looks like."""
    manager = WebSocketManager(config(heartbeat_interval=0.15, ping_interval_s=0.0))
    errors, states = [], []
    manager.on_error(errors.append)
    manager.on_state_change(lambda _old, new: states.append(new))
    async with manager:
        await until(lambda: ConnectionState.RECONNECTING in states)
        await until(lambda: states[-1] is ConnectionState.CONNECTED)
    assert isinstance(errors[0], TimeoutError)
    assert "0.15" in str(errors[0])


# ── connection pooling ────────────────────────────────────────────────────────


async def test_the_pool_connects_in_parallel_and_routes_by_channel(simulate, until) -> None:
    venues = await simulate(symbols=("BTC/USD", "ETH/USD"), rate_per_s=500)
    url = venues.ws_url("binance") + "/stream"
    pool = WebSocketPool()

    def channel_of(message):
        return message.get("data", {}).get("e")

    for name, stream in (("btc", "btcusdt@trade"), ("eth", "ethusdt@trade")):
        config = WebSocketConfig(url=f"{url}?streams={stream}", channel_of=channel_of, **QUICK)
        pool.add_connection(name, config)
    pool.add_connection("idle", WebSocketConfig(url=venues.ws_url("kraken"), **QUICK))
    symbols = set()

    def handle_trade(message):
        symbols.add(message["data"]["s"])

    pool.subscribe("trade", handle_trade)
    await pool.connect_all()
    await until(lambda: symbols == {"BTCUSDT", "ETHUSDT"})
    stats = pool.get_stats()
    await pool.close_all()

    assert stats.keys() == {"btc", "eth", "idle"}
    assert all(each.keys() >= STATS and each["state"] == "connected" for each in stats.values())
    assert {each["state"] for each in pool.get_stats().values()} == {"disconnected"}


async def test_the_pool_connects_as_long_as_the_slowest_takes(simulate) -> None:
    """In parallel: a stalled handshake of one does not keep the others waiting."""
    venues = await simulate(venues=("binance", "kraken"), symbols=("BTC/USD",))
    venues.inject(FaultRule(kind="handshake", venues=("kraken",), mode="stalled"))
    pool = WebSocketPool()
    for name in ("kraken", "binance"):
        url = venues.ws_url(name) + ("/ws" if name == "binance" else "")
        config = WebSocketConfig(url=url, connect_timeout_s=0.3, max_reconnect_attempts=1, **QUICK)
        pool.add_connection(name, config)
    with pytest.raises(TimeoutError):
        await pool.connect_all()
    assert pool.get_stats()["binance"]["state"] == "connected"
    assert pool.get_stats()["kraken"]["state"] == "failed"
    await pool.close_all()


# ── error handling ────────────────────────────────────────────────────────────


async def test_connection_errors(config, venue, until, caplog) -> None:
    """The document's error handler, with our lost connection in place of the library's."""
    logger = logging.getLogger("app")
    alerts = []

    def alert_ops(text):
        alerts.append(text)

    manager = WebSocketManager(config(heartbeat_interval=0.3, ping_interval_s=0.0))

    @manager.on_error
    async def handle_error(error: Exception):
        logger.error(f"WebSocket error: {error}")  # noqa: G004 - as the document writes it

        if isinstance(error, ConnectionLostError):
            # Connection closed, will auto-reconnect
            alert_ops("WebSocket connection lost, reconnecting...")
        elif isinstance(error, asyncio.TimeoutError):
            # Timeout, check network
            alert_ops("WebSocket timeout, check network connectivity")

    async with manager:
        venue.cut_all(mode="eof")
        await until(lambda: "WebSocket connection lost, reconnecting..." in alerts)
        await until(lambda: "WebSocket timeout, check network connectivity" in alerts)
    assert "WebSocket error: " in caplog.text


async def test_state_changes(config, venue, until) -> None:
    """The document's switch to a backup source while the breaker is open, and back."""
    done = []
    manager = WebSocketManager(config(on_exhausted="open", max_reconnect_attempts=2))

    @manager.on_state_change
    def handle_state_change(old_state, new_state):
        if new_state == ConnectionState.OPEN:
            done.append(f"breaker opened after {old_state.name}")
            done.append("rest")

        elif new_state == ConnectionState.CONNECTED:
            done.append("websocket")

    async with manager:
        assert done == ["websocket"]
        venue.inject(FaultRule(kind="handshake", status=503, limit=3))
        venue.cut_all(mode="reset")
        await until(lambda: len(done) > 1 and done[-1] == "websocket")
    assert done == [
        "websocket",
        "breaker opened after RECONNECTING",
        "rest",
        "breaker opened after CONNECTING",  # one probe failed
        "rest",
        "websocket",
    ]


async def test_permanent_refusals_are_told_apart_from_passing_ones(config, venue) -> None:
    """451 is not tried ten times: the document's client would knock until it is banned."""
    venue.inject(FaultRule(kind="handshake", status=451))
    manager = WebSocketManager(config())
    with pytest.raises(Exception, match="451"):
        await manager.connect()
    assert manager.get_stats()["reconnect_attempts"] == 0
    assert manager.state is ConnectionState.FAILED
