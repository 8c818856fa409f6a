"""One venue's client: life, subscriptions, callbacks, refusals, and what its users do to it."""

import asyncio
import contextlib
import gc
import threading

import pytest

from crossfeed import (
    ConfigError,
    ConnectionLostError,
    ConnectionState,
    DeadlineError,
    DeliveryMode,
    HandshakeRejectedError,
    OverflowPolicy,
    SubscriptionRejectedError,
    Trust,
    UnknownSymbolError,
    UnknownVenueError,
    UnsupportedChannelError,
    VenueClient,
)
from crossfeed.errors import CrossfeedError, HandlerQuarantinedError, QueueOverflowError
from crossfeed.simulator import FaultRule

DEADLINE_S = 5.0


def gapless(ids: list[int]) -> bool:
    """Say whether trade ids follow each other."""
    return ids == list(range(ids[0], ids[0] + len(ids)))


# ── making one ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parts", "error", "words"),
    [
        ({"venue": "binanse"}, UnknownVenueError, "did you mean binance"),
        ({"venue": "ftx"}, UnknownVenueError, "there are: binance"),
        ({"kinds": ["trades"]}, UnsupportedChannelError, "trades"),
        ({"venue": "coinbase", "kinds": ["matches"]}, UnsupportedChannelError, "ours is 'trade'"),
        ({"venue": "kraken", "kinds": ["instrument"]}, UnsupportedChannelError, "'status'"),
        ({"kinds": "trade"}, ConfigError, "list of texts"),
        ({"symbols": "BTC/USD"}, ConfigError, "list of texts"),
        ({"symbols": [""]}, ConfigError, "not a symbol"),
        ({"symbols": ["BTC/USD "]}, ConfigError, "not a symbol"),
    ],
)
def test_mistakes_are_told_at_once(parts, error, words) -> None:
    given = {"venue": "binance", "symbols": ["BTC/USD"], "kinds": ["trade"], **parts}
    with pytest.raises(error, match=words):
        VenueClient(given.pop("venue"), **given)


def test_a_client_that_was_never_connected_can_be_asked_everything() -> None:
    client = VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade"])
    assert client.get_stats()["state"] == "disconnected"
    assert "kraken disconnected 0 messages 1 subscriptions" in repr(client)
    assert list(client.trusts()) == []
    assert list(client.passed_by_kind()) == []
    assert client.gaps.totals().found == 0
    assert client.instrument("BTC/USD").symbol == "BTC/USD"
    with pytest.raises(UnknownSymbolError, match="did you mean"):
        client.instrument("BTC/USDD")
    with pytest.raises(UnknownSymbolError, match='subscribe kind "book"'):
        client.book("BTC/USD")


async def test_closing_what_was_never_connected_is_harmless() -> None:
    client = VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade"])
    await client.close()
    await client.close()
    assert client.get_stats()["state"] == "disconnected"


async def test_without_subscriptions_it_connects_and_waits(binance, connect, until) -> None:
    seen = []
    client = connect(binance, kinds=(), symbols=())
    client.on("trade", seen.append)
    async with client:
        await client.subscribe(["BTC/USD"], ["trade"])
        await until(lambda: seen)


# ── subscriptions ─────────────────────────────────────────────────────────────


async def test_subscribing_before_connecting_is_noted(binance, connect, until) -> None:
    client = connect(binance, kinds=())
    seen = set()
    client.on("*", lambda event: seen.add((event.data_type, event.symbol)))
    await client.subscribe(["ETH/USD"], ["trade"])
    await client.subscribe(["ETHUSDT"], ["trade"])  # the same under its own name: no second one
    async with client:
        await until(lambda: ("trade", "ETHUSDT") in seen)
        assert len(client.get_stats()["connections"]) == 1


async def test_what_two_asked_for_stays_until_both_are_done(coinbase, connect, until) -> None:
    """Book and best price come over one subscription of the venue."""
    client = connect(coinbase, "coinbase", ["book", "book_ticker"])
    quotes, books = [], []
    client.on("book_ticker", quotes.append)
    client.on("orderbook_update", books.append)
    async with client:
        await until(lambda: quotes and books)
        await client.unsubscribe(["BTC/USD"], ["book"])
        quotes.clear()
        books.clear()
        await until(lambda: len(quotes) > 5)
        assert books == []
        with pytest.raises(UnknownSymbolError):
            client.book("ETH/USD")
        await client.unsubscribe(["BTC/USD"], ["book_ticker"])
        assert coinbase.status()["venues"]["coinbase"]["subscriptions"] == 0
        await client.unsubscribe(["BTC/USD"], ["book_ticker"])  # nothing left to remove: harmless


async def test_handlers_of_one_symbol_by_either_name(binance, connect, until) -> None:
    client = connect(binance, symbols=["BTC/USD", "ETH/USD"])
    seen = {"own": set(), "unified": set(), "meant": set(), "all": set()}
    client.on("trade", lambda t: seen["own"].add(t.symbol), "BTCUSDT")
    client.on("trade", lambda t: seen["unified"].add(t.symbol), "BTC/USDT")
    client.on("trade", lambda t: seen["meant"].add(t.symbol), "BTC/USD")
    client.on("trade", lambda t: seen["all"].add(t.symbol))
    async with client:
        await until(lambda: len(seen["all"]) == 2 and all(seen.values()))
    assert seen["own"] == seen["unified"] == seen["meant"] == {"BTCUSDT"}


@pytest.mark.fault("D20")
async def test_data_after_an_unsubscribe_is_dropped_and_counted(binance, connect, until) -> None:
    client = connect(binance, symbols=["BTC/USD", "ETH/USD"])
    async with client:
        await until(lambda: client.get_stats()["messages"] > 20)
        after = []
        await client.unsubscribe(["ETH/USD"], ["trade"])
        client.on("trade", after.append)
        await until(lambda: len(after) > 20)
        assert {trade.symbol for trade in after} == {"BTCUSDT"}
        stats = client.get_stats()
        assert stats["events"] == stats["messages"] + stats["unasked"]


async def test_resync_builds_the_book_anew(binance, connect, until) -> None:
    client = connect(binance, kinds=["book"])
    statuses = []
    client.on_feed_status(lambda status: statuses.append(status.current))
    async with client:
        await until(lambda: client.book("BTC/USD").trust is Trust.SOUND)
        statuses.clear()
        client.resync("BTC/USD")
        await until(lambda: statuses[-1:] == [Trust.SOUND])
        assert statuses[0] is Trust.UNSOUND
        with pytest.raises(UnknownSymbolError):
            client.resync("SOL/USD")


# ── acknowledgements ──────────────────────────────────────────────────────────


@pytest.mark.fault("D19")
async def test_a_lost_acknowledgement_is_asked_for_again(coinbase, connect, until, caplog) -> None:
    coinbase.inject(FaultRule(kind="ack", mode="lost", limit=1))
    client = connect(coinbase, "coinbase", ["ticker"])
    seen = []
    client.on("ticker", seen.append)
    async with client:
        await until(lambda: seen)
        assert client.get_stats()["refused"] == {}
    assert "no acknowledgement for ticker:BTC-USD, asking again" in caplog.text


@pytest.mark.fault("D19")
async def test_nothing_acknowledged_is_no_connection(coinbase, connect) -> None:
    coinbase.inject(FaultRule(kind="ack", mode="lost"))
    client = connect(coinbase, "coinbase", ["ticker"], connect_deadline_s=1.0)
    with pytest.raises(DeadlineError, match=r"acknowledgement|subscribed"):
        await client.connect()
    assert client.get_stats()["state"] == "disconnected"


async def test_the_deadline_of_connect_holds(binance, connect) -> None:
    binance.inject(FaultRule(kind="handshake", mode="stalled"))
    client = connect(binance, connect_deadline_s=0.3, metadata="builtin")
    with pytest.raises(DeadlineError, match=r"within 0\.3 s"):
        await client.connect()
    assert client.get_stats()["state"] == "disconnected"


async def test_a_refused_handshake_is_told(binance, connect) -> None:
    binance.inject(FaultRule(kind="handshake", status=451))
    client = connect(binance)
    with pytest.raises(HandshakeRejectedError) as caught:
        await client.connect()
    assert caught.value.status == 451
    assert caught.value.is_permanent


async def test_after_a_failure_it_can_be_connected_again(binance, connect, until) -> None:
    binance.inject(FaultRule(kind="handshake", status=503, limit=2))
    client = connect(binance, reconnect_attempts_max=1)
    with pytest.raises(HandshakeRejectedError):
        await client.connect()
    seen = []
    client.on("trade", seen.append)
    async with client:
        await until(lambda: seen)


# ── states and errors ─────────────────────────────────────────────────────────


async def test_states_and_errors_are_told_and_handlers_that_fail_do_no_harm(
    binance, connect, until
) -> None:
    client = connect(binance)
    states, errors, ids = [], [], []

    @client.on_state_change
    def told(old, new):
        states.append((old.name, new.name))
        raise ValueError("state handler")

    client.on_error(errors.append)
    client.on("trade", lambda trade: ids.append(trade.trade_id))
    async with client:
        await until(lambda: len(ids) > 5)
        binance.cut_all(mode="reset")
        await until(lambda: ("RECONNECTING", "CONNECTED") in states)
        count = len(ids)
        await until(lambda: len(ids) > count + 5)
        await until(lambda: not client.get_stats()["gaps_open"])
    assert states[:2] == [("DISCONNECTED", "CONNECTING"), ("CONNECTING", "CONNECTED")]
    assert any(isinstance(error, ConnectionLostError) for error in errors)
    assert any(str(error) == "state handler" for error in errors)
    assert gapless(sorted(ids))


async def test_async_error_and_state_handlers(binance, connect, until) -> None:
    """The document's own error handler is a coroutine function."""
    client = connect(binance)
    told = {"errors": 0, "states": 0}

    @client.on_error
    async def handle_error(_error):
        await asyncio.sleep(0)
        told["errors"] += 1

    @client.on_state_change
    async def handle_state(_old, _new):
        await asyncio.sleep(0)
        told["states"] += 1

    async with client:
        binance.cut_all(mode="reset")
        await until(lambda: told["errors"] >= 1 and told["states"] >= 4)


# ── P01, P02: slow and failing handlers ───────────────────────────────────────


@pytest.mark.fault("P01")
async def test_slow_consumers_lose_by_policy_and_slow_nobody_down(binance, connect, until) -> None:
    client = connect(binance)
    ids, errors = [], []
    stuck = asyncio.Event()

    async def sleepy(_event):
        await stuck.wait()

    client.on_error(errors.append)
    oldest = client.add_handler("trade", sleepy, capacity=5)
    newest = client.add_handler("trade", sleepy, capacity=5, policy=OverflowPolicy.CONFLATE)
    cut = client.add_handler("trade", sleepy, capacity=5, policy=OverflowPolicy.DISCONNECT)
    client.on("trade", lambda trade: ids.append(trade.trade_id))
    async with client:
        await until(lambda: len(ids) > 100)
        # Each handler holds one event in its hands; the rest waits or was dropped.
        assert oldest.delivered == oldest.dropped + oldest.waiting + 1
        assert (oldest.waiting, newest.waiting) == (5, 1)
        assert newest.delivered == newest.dropped + newest.waiting + 1
        stuck.set()
        await until(lambda: cut.is_closed)
    assert any(isinstance(error, QueueOverflowError) for error in errors)
    assert gapless(ids)


@pytest.mark.fault("P01")
async def test_a_handler_in_a_thread_may_block(binance, connect, until) -> None:
    client = connect(binance)
    ids, handled, go = [], [], threading.Event()

    def block(event):
        go.wait(DEADLINE_S)
        handled.append(event.trade_id)

    subscription = client.add_handler("trade", block, mode=DeliveryMode.THREAD, capacity=5)
    client.on("trade", lambda trade: ids.append(trade.trade_id))
    async with client:
        await until(lambda: len(ids) > 100)
        assert subscription.dropped == subscription.delivered - 6
        go.set()
    assert gapless(ids)
    assert handled[1:6] == sorted(handled[1:6])


@pytest.mark.fault("P02")
async def test_a_failing_handler_is_taken_out_and_the_feed_goes_on(binance, connect, until) -> None:
    client = connect(binance, handler_failures_max=5)
    ids, errors, calls = [], [], []

    def fail(event):
        calls.append(event)
        raise [ValueError("mine"), asyncio.CancelledError(), SystemExit(3)][len(calls) % 3]

    client.on_error(errors.append)
    failing = client.add_handler("trade", fail)
    client.on("trade", lambda trade: ids.append(trade.trade_id))
    async with client:
        await until(lambda: len(ids) > 50)
    assert gapless(ids)
    assert len(calls) == 5
    assert failing.is_quarantined
    assert isinstance(errors[-1], HandlerQuarantinedError)


# ── P04: whatever inside a handler ────────────────────────────────────────────


@pytest.mark.fault("P04")
async def test_subscribe_and_unsubscribe_inside_an_async_handler(binance, connect, until) -> None:
    client = connect(binance)
    symbols = []

    @client.on_gap
    async def ignore(_gap): ...

    async def more(event):
        if "ETHUSDT" not in symbols:
            symbols.append("ETHUSDT")
            await client.subscribe(["ETH/USD"], ["trade"])
            await client.unsubscribe(["BTC/USD"], ["trade"])
        symbols.append(event.symbol)

    client.on("trade", more)
    async with client:
        await until(lambda: symbols.count("ETHUSDT") > 5)
        assert client.get_stats()["subscriptions"] == 1


@pytest.mark.fault("P04")
async def test_close_inside_an_async_handler(binance, connect) -> None:
    client = connect(binance)
    closed = asyncio.Event()

    @client.on("trade")
    async def end(_event):
        await client.close()
        closed.set()

    await client.connect()
    async with asyncio.timeout(2.0):  # not the 5 s that a queue is given to empty itself
        await closed.wait()
    assert client.get_stats()["state"] == "disconnected"
    await client.close()


@pytest.mark.fault("P04")
async def test_run_ends_when_a_handler_closes(binance, connect) -> None:
    client = connect(binance)
    ends = []
    client.on("trade", lambda _: ends.append(asyncio.ensure_future(client.close())))
    async with asyncio.timeout(DEADLINE_S):
        await client.run()
    await asyncio.gather(*ends)
    assert ends
    assert client.get_stats()["state"] == "disconnected"


# ── P05: cancellation anywhere ────────────────────────────────────────────────


async def strike(work, passes: int) -> bool:
    """Run `work`, cancel it after so many loop passes; return whether it still ran."""
    task = asyncio.ensure_future(work)
    for _ in range(passes):
        await asyncio.sleep(0)
        if task.done():
            break
    was_running = not task.done()
    task.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        assert isinstance(task.exception(), CrossfeedError), task.exception()
    return was_running


@pytest.mark.fault("P05")
@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_connect_cancelled_at_any_point_leaves_nothing(
    simulate, connect, until, venue
) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=50)
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: problems.append(said))
    own = {*asyncio.all_tasks()}
    kinds = ["trade", "ticker", "book_ticker"]
    was_running, passes = True, 0
    while was_running:
        client = connect(simulator, venue, kinds)
        was_running = await strike(client.connect(), passes)
        if not was_running:
            await client.close()
        assert client.get_stats()["state"] == "disconnected", passes
        await until(lambda: asyncio.all_tasks() <= own)
        passes += 1 + passes // 20
    await until(lambda: not simulator.exchanges[venue].sessions)
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []
    assert passes > 20


@pytest.mark.fault("P05")
async def test_close_cancelled_at_any_point_can_be_repeated(binance, connect, until) -> None:
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: problems.append(said))
    own = {*asyncio.all_tasks()}
    was_running, passes = True, 0
    while was_running:
        client = connect(binance, kinds=["trade", "book"])

        async def slow(_event):
            await asyncio.sleep(0)

        client.on("trade", slow)
        await client.connect()
        was_running = await strike(client.close(), passes)
        async with asyncio.timeout(DEADLINE_S):
            await client.close()
        assert client.get_stats()["state"] == "disconnected", passes
        await until(lambda: asyncio.all_tasks() <= own)
        passes += 1 + passes // 4
    gc.collect()
    await asyncio.sleep(0)
    assert problems == []


@pytest.mark.fault("P05")
async def test_subscribe_cancelled_at_any_point_harms_nothing(binance, connect, until) -> None:
    """The subscription is there afterwards or not; a further call sets it right."""
    client = connect(binance)
    symbols = set()
    client.on("trade", lambda trade: symbols.add(trade.symbol))
    async with client:
        for passes in (0, 1, 2, 4, 8):
            await strike(client.subscribe(["ETH/USD"], ["trade"]), passes)
            await client.subscribe(["ETH/USD"], ["trade"])
            symbols.clear()
            await until(lambda: symbols == {"BTCUSDT", "ETHUSDT"})
            with contextlib.suppress(CrossfeedError):
                await strike(client.unsubscribe(["ETH/USD"], ["trade"]), passes)
            await client.unsubscribe(["ETH/USD"], ["trade"])
            assert client.get_stats()["subscriptions"] == 1, passes


# ── lines, sharding, raw ──────────────────────────────────────────────────────


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_two_lines_give_everything_once(simulate, connect, until, venue) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=500)
    client = connect(simulator, venue, ["trade", "ticker", "book_ticker"], lines=2)
    trades, quotes = [], []
    client.on("trade", lambda trade: trades.append(trade) if not trade.marks else None)
    client.on("book_ticker", quotes.append)
    async with client:
        await until(lambda: len(trades) > 30)
        assert len(client.get_stats()["connections"]) == 2
        session = next(iter(simulator.exchanges[venue].sessions.values()))
        from crossfeed.simulator.outgoing import Cut

        session.cut(Cut("reset"), simulator.clock.now_ns())
        count = len(trades)
        await until(lambda: len(trades) > count + 50)
        await until(lambda: client.get_stats()["state"] == "connected")
        stats = client.get_stats()
    assert gapless([trade.trade_id for trade in trades])
    assert (stats["gaps"], stats["gaps_open"]) == (0, 0)
    times = [quote.ts_mono_ns for quote in quotes]
    assert times == sorted(times)


async def test_without_raw_frames_nothing_is_kept_of_them(binance, connect, until) -> None:
    client = connect(binance, keep_raw=False)
    trades = []
    client.on("trade", trades.append)
    async with client:
        await until(lambda: trades)
    trade = trades[0]
    assert trade.raw is None
    assert trade.raw_message == {}
    assert float(trade.exact["price"]) == trade.price


async def test_more_streams_than_a_connection_takes(coinbase, connect, until) -> None:
    client = connect(
        coinbase,
        "coinbase",
        ["trade", "ticker", "heartbeat"],
        ["BTC/USD", "ETH/USD"],
        streams_per_connection=4,
    )
    seen = set()
    client.on("*", lambda event: seen.add((event.data_type, event.symbol)))
    async with client:
        await until(lambda: len({kind for kind, _ in seen} & {"trade", "ticker", "heartbeat"}) == 3)
        connections = client.get_stats()["connections"]
        assert len(connections) == 2
        await client.unsubscribe(["BTC/USD"], ["ticker"])
        await client.subscribe(["BTC/USD"], ["book"])
        await until(lambda: client.book("BTC/USD").trust is Trust.SOUND)
    assert all(
        state is ConnectionState.DISCONNECTED
        for state in {connection.manager.state for connection in client._session.connections}
    )


@pytest.mark.fault("D19")
async def test_one_refused_of_several_connections(simulate, connect, until) -> None:
    venue = await simulate(venues=("coinbase",), symbols=("BTC/USD",), rate_per_s=300)
    client = connect(
        venue,
        "coinbase",
        ["ticker"],
        ["BTC/USD", "ETH/USD"],
        metadata="builtin",
        streams_per_connection=1,
    )
    seen = []
    client.on("ticker", seen.append)
    async with client:
        await until(lambda: seen)
        assert list(client.get_stats()["refused"]) == ["ticker:ETH-USD"]
    strict = connect(
        venue,
        "coinbase",
        ["ticker"],
        ["BTC/USD", "ETH/USD"],
        metadata="builtin",
        streams_per_connection=1,
        strict=True,
    )
    with pytest.raises(SubscriptionRejectedError, match="ETH-USD"):
        await strict.connect()
