"""Each simulated exchange by itself: what it sends arrives, what it does wrong is told."""

import asyncio

import pytest

from crossfeed import ConnectionState, GapState, Mark, Trust, VenueClient
from crossfeed.simulator import FaultRule

VENUES = ("binance", "coinbase", "coinbase_advanced", "kraken")
TRADES = {"binance": "trade", "coinbase": "matches", "kraken": "trade"}
CHANNELS = {
    "binance": {
        "trade": "trade",
        "agg_trade": "aggTrade",
        "book_ticker": "bookTicker",
        "depth": "depth@100ms",
        "ticker": "ticker",
        "mini_ticker": "miniTicker",
    },
    "coinbase": {
        "trade": "matches",
        "ticker": "ticker",
        "book": "level2_batch",
        "heartbeat": "heartbeat",
    },
    "coinbase_advanced": {"trade": "market_trades", "ticker": "ticker", "book": "level2"},
    "kraken": {"trade": "trade", "book_ticker": "ticker-bbo"},
}


@pytest.fixture
def connect(reach):
    """Make a client of one simulated venue."""

    def make(simulator, venue, kinds, symbols=("BTC/USD",), **changes) -> VenueClient:
        settings = reach(simulator, venue, **changes)
        return VenueClient(venue, symbols=symbols, kinds=kinds, settings=settings)

    return make


# ── what is sent arrives ──────────────────────────────────────────────────────


@pytest.mark.parametrize("venue", VENUES)
async def test_every_message_of_every_channel_arrives(simulate, connect, until, venue) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD", "ETH/USD"), rate_per_s=400)
    client = connect(simulator, venue, list(CHANNELS[venue]), ("BTC/USD", "ETH/USD"))
    async with client:
        await until(lambda: client.get_stats()["messages"] > 500)
        if venue in {"binance", "coinbase"}:  # the slow ones come once a second
            slow = "miniTicker" if venue == "binance" else "heartbeat"
            await until(lambda: simulator.ledger.by_channel()[f"{venue}.{slow}"].get("messages"))
        simulator.pause()
        await asyncio.sleep(0.1)  # what is paced (books, tickers) is still on its way

        def sent() -> list[int]:
            channels = simulator.ledger.by_channel()
            names = (f"{venue}.{channel}" for channel in CHANNELS[venue].values())
            return [channels[name].get("messages", 0) for name in names]

        await until(lambda: client.get_stats()["messages"] == sum(sent()))
        stats = client.get_stats()
    assert all(sent())
    for name in ("invalid", "gaps", "duplicates", "error_count", "rebuilds"):
        assert stats[name] == 0, name
    assert simulator.ledger.totals()["violations"] == 0


@pytest.mark.parametrize("venue", ["binance", "coinbase", "coinbase_advanced"])
async def test_the_book_is_the_exchanges_own(simulate, connect, until, true_depth, venue) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=400)
    owner = simulator.venues[venue].owner
    client = connect(simulator, venue, ["book"])
    async with client, asyncio.timeout(10):
        seen = 0
        async for book in client.books("BTC/USD"):
            seen += book.trust is Trust.SOUND
            if seen == 10:
                break
        simulator.pause()
        book = client.book("BTC/USD")
        await until(lambda: book.depth_exact(30) == true_depth(simulator, owner, "BTC/USD", 30))
        assert book.trust is Trust.SOUND


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_trades_equal_the_markets(simulate, connect, until, venue) -> None:
    """Price, size, side and time of each trade, to the last digit."""
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=400)
    trades = []
    changes = {"parameters": {"time_unit": "MICROSECOND"}} if venue == "binance" else {}
    client = connect(simulator, venue, ["trade"], **changes)
    client.on("trade", trades.append)
    async with client:
        await until(lambda: len(trades) > 100)
    market = simulator.world.market(venue, "BTC/USD")
    truth = {
        trade.id: trade for trade in market.trades_between(trades[0].trade_id, trades[-1].trade_id)
    }
    ticks, lots = market.instrument.ticks, market.instrument.lots
    for trade in trades:
        true = truth[trade.trade_id]
        assert trade.exact["price"] * ticks == true.price
        assert trade.exact["quantity"] * lots == true.lots
        assert trade.side == ("buy" if true.is_buy else "sell")
        assert trade.ts_event_ns == true.time_ns // 1000 * 1000


# ── what is wrong is told ─────────────────────────────────────────────────────


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
@pytest.mark.parametrize("mode", ["json", "nan", "zero", "missing"])
@pytest.mark.fault("D01", "D06", "D11")
async def test_a_spoilt_message_is_refused_and_what_it_held_is_fetched(
    simulate, connect, until, venue, mode
) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=500)
    simulator.inject(FaultRule(kind="corrupt", mode=mode, channels=("trades",), at=(10,), limit=1))
    trades, gaps = [], []
    client = connect(simulator, venue, ["trade"])
    client.on("trade", trades.append)
    client.on_gap(gaps.append)
    async with client:
        await until(lambda: gaps and gaps[-1].record.state is GapState.BACKFILLED)
        stats = client.get_stats()
    assert stats["invalid"] == 1
    assert stats["gaps"] == 1
    ids = sorted(trade.trade_id for trade in trades)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(trade.price > 0 and trade.quantity > 0 for trade in trades)


@pytest.mark.fault("D12")
async def test_a_message_that_is_no_text_ends_the_connection(simulate, connect, until) -> None:
    """Bad UTF-8 breaks the protocol itself (close 1007); what it held is fetched all the same."""
    simulator = await simulate(venues=("coinbase",), symbols=("BTC/USD",), rate_per_s=500)
    simulator.inject(
        FaultRule(kind="corrupt", mode="utf8", channels=("trades",), at=(10,), limit=1)
    )
    gaps, errors = [], []
    client = connect(simulator, "coinbase", ["trade"])
    client.on_gap(gaps.append)
    client.on_error(errors.append)
    async with client:
        await until(lambda: gaps and gaps[-1].record.state is GapState.BACKFILLED)
        assert client.get_stats()["reconnect_attempts"] == 1
    assert [error.close_code for error in errors] == [1007]


@pytest.mark.fault("C09")
async def test_maintenance_takes_the_venue_out_and_back(simulate, connect, until) -> None:
    simulator = await simulate(venues=("kraken",), symbols=("BTC/USD",), rate_per_s=300)
    client = connect(simulator, "kraken", ["trade"])
    statuses = []
    client.on_feed_status(lambda status: statuses.append((status.channel, status.current)))
    async with client:
        await until(lambda: ("trade", Trust.SOUND) in statuses)
        statuses.clear()
        simulator.inject(FaultRule(kind="maintenance", at_s=(0.1,), duration_s=0.5))
        await until(lambda: ("trade", Trust.UNAVAILABLE) in statuses)
        await until(lambda: statuses[-1] == ("trade", Trust.SOUND))


@pytest.mark.fault("C07")
async def test_a_shutdown_notice_costs_nothing(simulate, connect, until) -> None:
    """Make before break: the new connection carries on before the old one is closed."""
    simulator = await simulate(venues=("binance",), symbols=("BTC/USD",), rate_per_s=500)
    client = connect(simulator, "binance", ["trade", "book"])
    ids, statuses = [], []
    client.on("trade", lambda trade: ids.append(trade.trade_id))
    client.on_feed_status(statuses.append)
    async with client:
        await until(lambda: len(ids) > 20 and client.book("BTC/USD").trust is Trust.SOUND)
        first = list(client.get_stats()["connections"])
        statuses.clear()
        simulator.inject(FaultRule(kind="shutdown", at_s=(0.05,), duration_s=5.0))
        await until(lambda: list(client.get_stats()["connections"]) != first)
        count = len(ids)
        await until(lambda: len(ids) > count + 50)
        stats = client.get_stats()
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert (stats["gaps"], stats["state"]) == (0, "connected")
    assert [status for status in statuses[:-2] if status.current > Trust.STALE] == []


@pytest.mark.fault("H05")
async def test_retry_after_is_obeyed(simulate, connect, until) -> None:
    simulator = await simulate(venues=("coinbase",), symbols=("BTC/USD",))
    client = connect(simulator, "coinbase", ["trade"])
    clock = simulator.clock
    async with client:
        simulator.inject(FaultRule(kind="handshake", status=429, retry_after_s=1, limit=1))
        simulator.cut_all(mode="reset")
        await until(lambda: client.get_stats()["error_count"] == 2)
        refused_ns = clock.monotonic_ns()
        await until(lambda: client.get_stats()["state"] == "connected")
        assert (clock.monotonic_ns() - refused_ns) / 1e9 > 0.95
    assert simulator.ledger.connections["coinbase", "accepted"] == 2


@pytest.mark.parametrize("venue", ["binance", "coinbase"])
@pytest.mark.fault("S10")
async def test_a_snapshot_that_cannot_be_had_is_asked_for_again(
    simulate, connect, until, true_depth, venue
) -> None:
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD",), rate_per_s=300)
    for status in ({"mode": "status", "status": 503}, {"mode": "html"}, {"mode": "truncated"}):
        simulator.inject(FaultRule(kind="rest", path="depth", limit=1, **status))
    client = connect(simulator, venue, ["book"], metadata="builtin")
    async with client:
        await until(lambda: client.book("BTC/USD").trust is Trust.SOUND)
        simulator.pause()
        book = client.book("BTC/USD")
        await until(lambda: book.depth_exact(30) == true_depth(simulator, venue, "BTC/USD", 30))


async def test_rest_stands_in_while_the_breaker_is_open(simulate, connect, until) -> None:
    """Polled data is marked, and ends when the stream is back."""
    simulator = await simulate(venues=("binance",), symbols=("BTC/USD",), rate_per_s=300)
    client = connect(
        simulator,
        "binance",
        ["ticker", "book_ticker"],
        reconnect_attempts_max=2,
        breaker_cooldown_s=0.4,
        poll_interval_s=0.05,
    )
    states, polled, streamed = [], [], []
    client.on_state_change(lambda _old, new: states.append(new))
    client.on("*", lambda event: (polled if event.marks & Mark.REST else streamed).append(event))
    async with client:
        await until(lambda: streamed)
        simulator.inject(FaultRule(kind="handshake", status=503, limit=3))
        simulator.cut_all(mode="reset")
        await until(lambda: ConnectionState.OPEN in states)
        await until(lambda: {event.data_type for event in polled} >= {"ticker", "book_ticker"})
        assert client.get_stats()["state"] in {"open", "connecting"}
        await until(lambda: states[-1] is ConnectionState.CONNECTED)
        count = len(streamed)
        await until(lambda: len(streamed) > count + 20)
    assert all(event.source == "rest" for event in polled)
    assert all(event.data["source"] == "rest" for event in polled)
    assert all(event.source == "stream" for event in streamed)


@pytest.mark.parametrize("venue", VENUES)
async def test_no_venue_limit_is_broken_by_many_changes(simulate, connect, until, venue) -> None:
    """Subscribing and unsubscribing in a hurry stays within what the venue allows."""
    symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    simulator = await simulate(venues=(venue,), symbols=symbols, rate_per_s=200)
    seen = set()
    client = connect(simulator, venue, ["trade"])
    client.on("trade", lambda trade: seen.add(trade.unified[:3]))
    async with client:
        for _ in range(3):
            await client.subscribe(symbols[1:], ["trade"])
            await client.unsubscribe(symbols[1:], ["trade"])
        await client.subscribe(symbols[1:], ["trade"])
        await until(lambda: seen == {"BTC", "ETH", "SOL"})
    assert simulator.ledger.violations == {}
