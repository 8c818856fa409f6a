"""The document's section on the aggregator: every sample, and what the contract adds."""

import asyncio
import itertools
import statistics
import urllib.request
from datetime import UTC, datetime

import pytest

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    ConfigError,
    ConnectFailedError,
    DeliveryMode,
    MarketData,
    MarketDataAggregator,
    OverflowPolicy,
    SubscriptionRejectedError,
    Trust,
    UnifiedMarketData,
    UnknownSymbolError,
    UnsupportedChannelError,
    VenueClient,
)
from crossfeed.clients.figures import venue_figures
from crossfeed.servers.metrics import MetricsServer
from crossfeed.simulator import FaultRule

SYMBOLS = {
    "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"},
    "ETH/USD": {"binance": "ETHUSDT", "coinbase": "ETH-USD"},
}
KEYS = {
    "trade": {"price", "volume", "num_trades", "exchanges"},
    "ticker": {"price", "volume_24h", "num_exchanges", "price_range", "price_std"},
    "book_ticker": {
        "best_bid",
        "best_bid_quantity",
        "best_bid_exchange",
        "best_ask",
        "best_ask_quantity",
        "best_ask_exchange",
        "spread",
        "spread_percent",
    },
}
VENUES = ["binance", "coinbase"]


@pytest.fixture
async def venues(simulate):
    """Simulated Binance, Coinbase and Kraken of one market per symbol."""
    return await simulate(symbols=("BTC/USD", "ETH/USD"), rate_per_s=300)


@pytest.fixture
def build(venues, reach):
    """Make aggregators over the simulated venues."""

    def make(**parts) -> MarketDataAggregator:
        changes = parts.pop("settings", {})
        config = AggregatorConfig(**{"exchanges": VENUES, "symbols": SYMBOLS, **parts})
        settings = {name: reach(venues, name, **changes.get(name, {})) for name in config.exchanges}
        return MarketDataAggregator(config, venues=settings)

    return make


# ── configuration, usage ──────────────────────────────────────────────────────


async def test_usage(venues, reach, until, capsys) -> None:
    config = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols={
            "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"},
            "ETH/USD": {"binance": "ETHUSDT", "coinbase": "ETH-USD"},
        },
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
        update_interval=0.2,  # Minimum seconds between updates; 1.0 in the document
    )

    settings = {name: reach(venues, name) for name in config.exchanges}
    aggregator = MarketDataAggregator(config, venues=settings)

    # Subscribe to aggregated data
    def handle_trade(data: UnifiedMarketData):
        print(f"{data.symbol}: ${data.data['price']}")
        print(f"Volume: {data.data['volume']} from {len(data.exchanges)} exchanges")

    def handle_book(data: UnifiedMarketData):
        print(f"Best Bid: ${data.data['best_bid']} @ {data.data['best_bid_exchange']}")
        print(f"Best Ask: ${data.data['best_ask']} @ {data.data['best_ask_exchange']}")
        print(f"Spread: {data.data['spread_percent']:.3f}%")

    aggregator.subscribe("BTC/USD", "trade", handle_trade)
    aggregator.subscribe("*", "book_ticker", handle_book)  # All symbols

    await aggregator.start()  # Connects to all exchanges
    lines = []

    def is_complete() -> bool:
        lines.extend(capsys.readouterr().out.splitlines())
        return sum(line.startswith("Volume: ") for line in lines) >= 3

    await until(is_complete)
    await aggregator.stop()

    assert {line for line in lines if line.startswith("ETH/USD")} == set()
    assert any(line.startswith("BTC/USD: $6") for line in lines)
    assert any(line.endswith("from 2 exchanges") for line in lines)
    exchanges = {line.rpartition(" @ ")[2] for line in lines if line.startswith("Best ")}
    assert exchanges <= {"binance", "coinbase"}
    assert any(line.startswith("Spread: ") and line.endswith("%") for line in lines)


async def test_the_unified_data_format(build, until) -> None:
    aggregator = build(update_interval=0.2)
    values = {}
    for kind in KEYS:
        aggregator.subscribe(
            "BTC/USD", kind, lambda value: values.setdefault(value.data_type, []).append(value)
        )
    async with aggregator:
        await until(
            lambda: (
                values.keys() == KEYS.keys()
                and all(len(found[-1].exchanges) == 2 for found in values.values())
            )
        )
    whole = {
        kind: next(value for value in reversed(found) if len(value.exchanges) == 2)
        for kind, found in values.items()
    }
    for kind, value in whole.items():
        assert value.symbol == "BTC/USD"
        assert value.data_type == kind
        assert value.timestamp.tzinfo is UTC
        assert value.exchanges == ["binance", "coinbase"]
        assert value.data.keys() >= KEYS[kind]
        assert value.source_data
        assert all(isinstance(event, MarketData) for event in value.source_data)
        assert {event.exchange for event in value.source_data} <= {"binance", "coinbase"}
        assert value.trust is Trust.SOUND
    book = whole["book_ticker"].data
    assert book["spread"] == pytest.approx(book["best_ask"] - book["best_bid"])
    mid = (book["best_ask"] + book["best_bid"]) / 2
    assert book["spread_percent"] == pytest.approx(book["spread"] / mid * 100)
    ticker = whole["ticker"].data
    low, high = ticker["price_range"]
    assert low <= ticker["price"] <= high
    assert ticker["num_exchanges"] == 2


def test_unified_market_data_is_made_with_the_documents_keywords() -> None:
    value = UnifiedMarketData(
        symbol="BTC/USD",
        data_type="book_ticker",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        exchanges=["binance", "coinbase"],
        data={"best_bid": 45000.00, "best_ask": 45010.00, "spread": 10.00},
        source_data=[],
    )
    assert value.data["spread"] == 10.0
    assert value.exchanges == ["binance", "coinbase"]


async def test_prices_in_different_currencies_are_marked(build, until) -> None:
    """BTCUSDT and BTC-USD under one name: the mapping is honoured and the mixture is said."""
    values = []
    aggregator = build()
    aggregator.subscribe("BTC/USD", "book_ticker", values.append)
    async with aggregator:
        await until(lambda: values and len(values[-1].exchanges) == 2)
        assert values[-1].quote_mismatch is True

    values.clear()
    aggregator = build(quote_basis={"USDT/USD": 1.0})
    aggregator.subscribe("BTC/USD", "book_ticker", values.append)
    async with aggregator:
        await until(lambda: values and len(values[-1].exchanges) == 2)
        assert values[-1].quote_mismatch is False


# ── strategies ────────────────────────────────────────────────────────────────


def latest_per_exchange(value: UnifiedMarketData) -> dict:
    """Return the newest source event of each venue."""
    return {event.exchange: event for event in value.source_data}


def is_right(strategy: AggregationStrategy, value: UnifiedMarketData) -> bool:
    """Check a value against its own sources."""
    events, data = value.source_data, value.data
    latest = latest_per_exchange(value)
    if value.data_type == "book_ticker":
        return data["best_bid"] == max(event.bid_price for event in latest.values()) and data[
            "best_ask"
        ] == min(event.ask_price for event in latest.values())
    prices = [event.price for event in latest.values()]
    volume = sum(event.quantity for event in events) if value.data_type == "trade" else 0.0
    wanted = {
        AggregationStrategy.FIRST: lambda: events[-1].price,
        AggregationStrategy.LAST: lambda: events[-1].price,
        AggregationStrategy.AVERAGE: lambda: statistics.mean(prices),
        AggregationStrategy.MEDIAN: lambda: statistics.median(prices),
        AggregationStrategy.WEIGHTED: lambda: (
            sum(event.price * event.quantity for event in events) / volume
        ),
        AggregationStrategy.BEST_BID_ASK: lambda: (
            sum(event.price * event.quantity for event in events) / volume
        ),
    }[strategy]()
    return data["price"] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("strategy", list(AggregationStrategy))
async def test_the_six_strategies(build, until, strategy) -> None:
    """Every value of a live feed agrees with the events it says it was made from."""
    interval_s = 0.1
    values = []
    aggregator = build(
        aggregation_strategy=strategy, update_interval=interval_s, buffer_size=100_000
    )
    aggregator.subscribe("*", "trade", values.append)
    aggregator.subscribe("BTC/USD", "book_ticker", values.append)
    async with aggregator:
        await until(lambda: len(values) > 20)
        taken = values[:]
    # A first datum goes out alone; what came after it in its interval is only counted.
    trades = [value for value in taken if value.data_type == "trade"]
    assert all(is_right(strategy, value) for value in taken)
    assert all(value.data["volume"] > 0 and value.data["num_trades"] > 0 for value in trades)
    for symbol in SYMBOLS:
        times = [value.ts_mono_ns for value in trades if value.symbol == symbol]
        distances_s = [(late - early) / 1e9 for early, late in itertools.pairwise(times)]
        assert all(distance_s >= interval_s * 0.999 for distance_s in distances_s)


async def test_no_volume_is_lost_whatever_the_interval(build, until) -> None:
    """FIRST publishes the first datum of an interval; the totals of the others are not lost."""
    clients, published = [], []
    aggregator = build(aggregation_strategy="first", update_interval=0.25)
    aggregator.subscribe("BTC/USD", "trade", published.append)
    for client in aggregator.clients.values():
        client.on("trade", clients.append)
    async with aggregator:
        await until(lambda: len(published) > 3)
    counted = [trade for trade in clients if trade.unified.startswith("BTC/") and not trade.marks]
    assert sum(value.data["num_trades"] for value in published) == len(counted)
    assert sum(value.data["volume"] for value in published) == pytest.approx(
        sum(trade.quantity for trade in counted)
    )


# ── subscriptions ─────────────────────────────────────────────────────────────


async def test_subscribers_come_and_go_while_it_runs(build, until) -> None:
    aggregator = build()
    trades, tickers = [], []
    aggregator.subscribe("BTC/USD", "trade", trades.append)
    async with aggregator:
        await until(lambda: trades)
        assert aggregator.get_stats()["subscribers"] == 1
        aggregator.subscribe("ETH/USD", "ticker", tickers.append)  # not yet asked of the venues
        await until(lambda: tickers)
        assert {value.symbol for value in tickers} == {"ETH/USD"}
        assert aggregator.unsubscribe("BTC/USD", "trade", trades.append)
        assert not aggregator.unsubscribe("BTC/USD", "trade", trades.append)
        trades.clear()
        count = len(tickers)
        await until(lambda: len(tickers) > count + 3)
        assert trades == []


async def test_async_handlers_threads_and_streams(build) -> None:
    aggregator = build()
    seen = {"async": 0, "thread": 0, "stream": 0}

    async def handle(_value):
        await asyncio.sleep(0)
        seen["async"] += 1

    def work(_value):
        seen["thread"] += 1

    aggregator.subscribe("*", "trade", handle)
    aggregator.subscribe("*", "trade", work, mode=DeliveryMode.THREAD)
    stream = aggregator.stream("book_ticker", policy=OverflowPolicy.CONFLATE)
    async with aggregator, stream:
        async for value in stream:
            assert value.data_type == "book_ticker"
            seen["stream"] += 1
            if min(seen.values()) > 5:
                break


@pytest.mark.parametrize(
    ("symbol", "kind", "error"),
    [
        ("BTC/EUR", "trade", UnknownSymbolError),
        ("BTCUSDT", "trade", UnknownSymbolError),
        ("*", "depth", UnsupportedChannelError),
    ],
)
def test_a_subscription_that_can_bring_nothing_is_refused(symbol, kind, error) -> None:
    aggregator = MarketDataAggregator(AggregatorConfig(exchanges=VENUES, symbols=SYMBOLS))
    with pytest.raises(error, match="there are"):
        aggregator.subscribe(symbol, kind, print)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"exchanges": ["binanse"]}, ["binanse"]),
        ({"exchanges": ["ftx"], "symbols": ["BTC/USD"]}, ["ftx"]),
        ({"exchanges": []}, ["exchanges"]),
        ({"aggregation_strategy": "best"}, ["aggregation_strategy", "best"]),
        ({"update_interval": -1.0}, ["update_interval"]),
        ({"update_interval": float("nan")}, ["update_interval"]),
        ({"buffer_size": 0}, ["buffer_size"]),
        ({"symbols": ["BTCUSD"]}, ["symbols", "BTCUSD"]),
        (
            {"exchanges": ["coinbase", "coinbase_advanced"], "symbols": ["BTC/USD"]},
            ["one venue"],
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(parts, words) -> None:
    with pytest.raises(ConfigError) as caught:
        MarketDataAggregator(AggregatorConfig(**{"exchanges": VENUES, "symbols": SYMBOLS, **parts}))
    assert all(word in str(caught.value) for word in words)


# ── start and stop ────────────────────────────────────────────────────────────


async def test_a_venue_out_of_reach_does_not_stop_the_others(build, venues, until) -> None:
    venues.inject(FaultRule(kind="handshake", venues=("coinbase",), status=503, until_s=2.5))
    quick = {"reconnect_attempts_max": 1, "rest_fallback": False}
    aggregator = build(settings={"coinbase": quick})
    values = []
    aggregator.subscribe("BTC/USD", "book_ticker", values.append)
    async with aggregator:
        assert list(aggregator.unreachable) == ["coinbase"]
        assert "503" in aggregator.get_stats()["unreachable"]["coinbase"]
        await until(lambda: values)
        assert values[0].exchanges == ["binance"]
        assert [(left.exchange, left.reason) for left in values[0].excluded] == [
            ("coinbase", "no_data")
        ]
        await until(lambda: values[-1].exchanges == VENUES)  # it is tried again by itself
        await until(lambda: aggregator.get_stats()["unreachable"] == {})


async def test_start_raises_when_nobody_can_be_reached_and_says_why(build, venues) -> None:
    venues.inject(FaultRule(kind="handshake", venues=("coinbase",), status=503))
    venues.inject(FaultRule(kind="handshake", venues=("binance",), status=451))
    quick = {"reconnect_attempts_max": 1}
    aggregator = build(settings=dict.fromkeys(VENUES, quick))
    with pytest.raises(ConnectFailedError) as caught:
        await aggregator.start()
    assert "binance: " in str(caught.value)
    assert "451" in str(caught.value)
    assert "coinbase: " in str(caught.value)
    assert "503" in str(caught.value)
    assert all(c.get_stats()["state"] == "disconnected" for c in aggregator.clients.values())


async def test_it_is_started_stopped_and_started_again(build, until) -> None:
    aggregator = build()
    values = []
    aggregator.subscribe("*", "trade", values.append)
    for _ in range(2):
        values.clear()
        await aggregator.start()
        await aggregator.start()
        await until(lambda: len(values) > 3)
        await aggregator.stop()
        await aggregator.stop()


async def test_run_lasts_until_stopped(build, until) -> None:
    aggregator = build()
    values = []
    aggregator.subscribe("*", "trade", values.append)
    running = asyncio.create_task(aggregator.run())
    await until(lambda: values)
    assert not running.done()
    await aggregator.stop()
    await asyncio.wait_for(running, 5)


async def test_a_refused_symbol_is_said(simulate, reach) -> None:
    """The venue lists less than we thought."""
    venue = await simulate(venues=("coinbase",), symbols=("BTC/USD",))
    config = AggregatorConfig(exchanges=["coinbase"], symbols=["ETH/USD"])
    settings = {"coinbase": reach(venue, "coinbase", metadata="builtin")}
    aggregator = MarketDataAggregator(config, venues=settings)
    with pytest.raises(SubscriptionRejectedError, match="ETH-USD"):
        await aggregator.start()


async def test_symbols_as_a_list_are_found_at_the_venues(build, until) -> None:
    aggregator = build(exchanges=["binance", "coinbase", "kraken"], symbols=["BTC/USD"])
    values = []
    aggregator.subscribe("BTC/USD", "book_ticker", values.append)
    async with aggregator:
        await until(lambda: values and len(values[-1].exchanges) == 3)
        assert aggregator.symbols == {
            "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"}
        }


# ── monitoring ────────────────────────────────────────────────────────────────


async def test_key_metrics(build, until, capsys) -> None:
    aggregator = build()
    aggregator.subscribe("*", "trade", lambda _: None)
    async with aggregator:
        await until(lambda: aggregator.get_stats()["updates_published"] > 10)
        await until(lambda: aggregator.get_stats()["exchanges_active"] == 2)
        stats = aggregator.get_stats()

        print(f"Messages received: {stats['messages_received']}")
        print(f"Updates published: {stats['updates_published']}")
        print(f"Exchanges active: {stats['exchanges_active']}")
        print(f"Symbols tracked: {stats['symbols']}")
        print(f"Subscribers: {stats['subscribers']}")

    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == ["Exchanges active: 2", "Symbols tracked: 2", "Subscribers: 1"]
    assert stats["messages_received"] >= stats["updates_published"] > 10


async def test_per_exchange_stats(build, until, capsys) -> None:
    aggregator = build()
    async with aggregator:
        await until(lambda: aggregator.get_stats()["messages_received"] > 10)

        for name, client in aggregator.clients.items():
            stats = client.get_stats()
            print(f"\n{name}:")
            print(f"  State: {stats['state']}")
            print(f"  Messages: {stats['message_count']}")
            print(f"  Errors: {stats['error_count']}")
            print(f"  Reconnections: {stats['reconnect_attempts']}")
            print(f"  Uptime: {stats['uptime_seconds']:.0f}s")

        assert all(isinstance(client, VenueClient) for client in aggregator.clients.values())
    text = capsys.readouterr().out
    for name in VENUES:
        assert f"\n{name}:\n  State: connected\n  Messages: " in text
    assert text.count("  Errors: 0\n  Reconnections: 0\n  Uptime: ") == 2


async def test_prometheus_metrics(build, until) -> None:
    """The names and labels of the document, read from plain counters when they are asked for."""
    aggregator = build()
    async with aggregator:
        await until(lambda: aggregator.get_stats()["messages_received"] > 100)
        clients = list(aggregator.clients.values())
        server = MetricsServer(lambda: venue_figures(clients), 0)
        try:
            url = f"http://127.0.0.1:{server.port}/metrics"
            answer = await asyncio.to_thread(urllib.request.urlopen, url, timeout=5)
            text = answer.read().decode()
            answer.close()
        finally:
            await asyncio.to_thread(server.close)
    for line in (
        'ws_messages_received_total{exchange="binance"} ',
        'ws_messages_received_total{exchange="coinbase"} ',
        'ws_messages_processed_total{exchange="binance",type="trade"} ',
        'ws_message_processing_seconds_bucket{le="+Inf"} ',
        "ws_message_processing_seconds_sum ",
        'ws_connections_active{exchange="binance"} 1.0',
        'ws_reconnection_attempts_total{exchange="coinbase"} 0.0',
        "# TYPE ws_invalid_messages_total counter",
    ):
        assert line in text, text
