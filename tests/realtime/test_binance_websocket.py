"""The document's section on the Binance client: every sample, and what the contract adds."""

import asyncio
import os
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from crossfeed import (
    BinanceConfig,
    BinanceStream,
    BinanceWebSocket,
    ConfigError,
    MarketData,
    UnknownSymbolError,
)
from crossfeed.simulator import FaultRule
from crossfeed.simulator.outgoing import Cut

STATS = {
    "state",
    "message_count",
    "error_count",
    "reconnect_attempts",
    "last_message_time",
    "uptime_seconds",
    "refused",
    "connections",
}
TRADE = {"price", "quantity", "size", "side", "trade_id", "is_buyer_maker"}
KEYS = {
    "trade": TRADE,
    "agg_trade": TRADE | {"first_trade_id", "last_trade_id"},
    "ticker": {
        "price",
        "last_price",
        "price_change",
        "price_change_percent",
        "open",
        "high",
        "low",
        "volume_24h",
        "volume",
        "best_bid",
        "best_ask",
    },
    "mini_ticker": {"last_price", "open", "high", "low", "volume", "quote_volume"},
    "kline": {
        "interval",
        "open_time",
        "close_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "trades",
        "is_closed",
    },
    "book_ticker": {"bid_price", "bid_quantity", "ask_price", "ask_quantity"},
    "depth": {"first_update_id", "final_update_id", "bids", "asks"},
}


@pytest.fixture
async def venue(simulate):
    """A simulated Binance."""
    symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    return await simulate(venues=("binance",), symbols=symbols, rate_per_s=600)


@pytest.fixture
def settings(venue, reach):
    """The settings that lead there."""
    return reach(venue, "binance")


# ── usage ─────────────────────────────────────────────────────────────────────


async def test_usage(settings, until, capsys) -> None:
    config = BinanceConfig(
        symbols=["BTCUSDT", "ETHUSDT"],
        streams=[BinanceStream.TRADE, BinanceStream.TICKER, BinanceStream.BOOK_TICKER],
        settings=settings,
    )

    client = BinanceWebSocket(config)
    seen = set()

    @client.on_trade
    def handle_trade(data: MarketData):
        seen.add((data.data_type, data.symbol))
        print(f"Trade: {data.symbol} ${data.data['price']} x {data.data['quantity']}")

    @client.on_ticker
    def handle_ticker(data: MarketData):
        seen.add((data.data_type, data.symbol))
        print(f"24h: ${data.data['last_price']} ({data.data['price_change_percent']}%)")

    await client.connect()
    await until(lambda: len(seen) == 4)
    await client.close()

    assert seen == {(kind, sym) for kind in ("trade", "ticker") for sym in ("BTCUSDT", "ETHUSDT")}
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("Trade: BTCUSDT $") and " x 0." in line for line in lines)
    assert any(line.startswith("24h: $") and line.endswith("%)") for line in lines)


async def test_dynamic_subscription(settings, until) -> None:
    client = BinanceWebSocket(
        BinanceConfig(symbols=["BTCUSDT"], streams=[BinanceStream.TRADE], settings=settings)
    )
    seen = []
    client.on_trade(lambda trade: seen.append(("trade", trade.symbol)))
    client.on_ticker(lambda ticker: seen.append(("ticker", ticker.symbol)))
    async with client:
        await until(lambda: seen)
        assert {symbol for _, symbol in seen} == {"BTCUSDT"}

        # Add symbols on the fly
        await client.subscribe_symbols(["SOLUSDT"], ["trade", "ticker"])
        await until(lambda: {("trade", "SOLUSDT"), ("ticker", "SOLUSDT")} <= set(seen))

        # Remove symbols
        await client.unsubscribe_symbols(["SOLUSDT"], ["trade"])
        seen.clear()
        await until(lambda: ("ticker", "SOLUSDT") in seen and seen.count(("trade", "BTCUSDT")) > 20)
        assert ("trade", "SOLUSDT") not in seen
        assert client.get_stats()["subscriptions"] == 2


async def test_message_format(settings, until) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings))
    events = []
    client.on_trade(events.append)
    async with client:
        await until(lambda: events)
    trade = events[0]
    assert isinstance(trade, MarketData)
    assert (trade.exchange, trade.symbol, trade.data_type) == ("binance", "BTCUSDT", "trade")
    assert trade.timestamp.tzinfo is UTC
    assert abs((datetime.now(UTC) - trade.timestamp).total_seconds()) < 30
    assert trade.data.keys() >= TRADE
    assert type(trade.data["price"]) is float
    assert type(trade.data["quantity"]) is float
    assert type(trade.data["trade_id"]) is int
    assert trade.data["size"] == trade.data["quantity"]
    assert trade.data["is_buyer_maker"] is (trade.data["side"] == "sell")
    raw = trade.raw_message
    assert raw["e"] == "trade"
    assert raw["t"] == trade.data["trade_id"]
    assert float(raw["p"]) == trade.data["price"]
    assert trade.exact["price"] == Decimal(raw["p"])
    assert (trade.price, trade.quantity) == (trade.data["price"], trade.data["quantity"])


def test_market_data_is_made_with_the_documents_keywords() -> None:
    event = MarketData(
        exchange="binance",
        symbol="BTCUSDT",
        data_type="trade",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        data={"price": 45000.00, "quantity": 0.5, "trade_id": 12345, "is_buyer_maker": False},
        raw_message={"e": "trade"},
    )
    assert event.data["price"] == 45000.0
    assert event.raw_message == {"e": "trade"}
    assert event.timestamp == datetime(2026, 1, 1, tzinfo=UTC)
    assert isinstance(event, MarketData)


# ── supported streams ─────────────────────────────────────────────────────────


async def test_all_seven_streams_with_the_keys_of_the_vocabulary(settings, until) -> None:
    config = BinanceConfig(symbols=["BTCUSDT"], streams=list(BinanceStream), settings=settings)
    client = BinanceWebSocket(config)
    found = {}
    for register in (
        client.on_trade,
        client.on_agg_trade,
        client.on_ticker,
        client.on_kline,
        client.on_depth,
        client.on_book_ticker,
        client.on_mini_ticker,
    ):

        @register
        def keep(event):
            found.setdefault(event.data_type, event)

    async with client:
        await until(lambda: found.keys() == KEYS.keys())
    for kind, event in found.items():
        assert event.data.keys() >= KEYS[kind], kind
        assert event.symbol == "BTCUSDT"
        assert event.raw_message, kind
    assert found["mini_ticker"].data["volume"] > 0  # the document is wrong: it does carry volume
    assert found["kline"].data["interval"] == "1m"
    quote = found["book_ticker"]
    assert quote.ts_event_ns == 0  # the venue gives no time, none is made up
    assert quote.timestamp.timestamp() == pytest.approx(quote.ts_recv_ns / 1e9)
    assert found["depth"].data["first_update_id"] <= found["depth"].data["final_update_id"]


@pytest.mark.parametrize(
    ("streams", "intervals", "expected"),
    [
        ([BinanceStream.KLINE], ("1m", "5m", "15m"), {"1m", "5m", "15m"}),
        (["kline_5m"], ("1m",), {"5m"}),
    ],
)
async def test_kline_intervals(settings, until, streams, intervals, expected) -> None:
    config = BinanceConfig(
        symbols=["BTCUSDT"], streams=streams, kline_intervals=intervals, settings=settings
    )
    seen = set()
    async with BinanceWebSocket(config) as client:
        client.on_kline(lambda candle: seen.add(candle.data["interval"]))
        await until(lambda: seen >= expected)
    assert seen == expected


def test_streams_are_named_as_in_the_document_or_as_the_venue_does() -> None:
    names = {"TRADE", "AGG_TRADE", "TICKER", "KLINE", "DEPTH", "BOOK_TICKER", "MINI_TICKER"}
    assert {stream.name for stream in BinanceStream} == names
    texts = ["trade", "aggTrade", "agg_trade", "bookTicker", "book_ticker", "kline_15m", "depth"]
    kinds = BinanceConfig(symbols=["BTCUSDT"], streams=texts).kinds()
    assert kinds == ["trade", "agg_trade", "book_ticker", "kline_15m", "depth"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"streams": ["trades"]}, ["streams", "'trades'", "aggTrade"]),
        ({"streams": ["kline_7m"]}, ["kline_7m"]),
        ({"symbols": [" BTCUSDT"]}, ["symbols", "' BTCUSDT'"]),
        ({"symbols": "BTCUSDT"}, ["symbols", "list"]),
        ({"host": "nowhere"}, ["endpoint", "nowhere", "production"]),
        ({"time_unit": "SECOND"}, ["time_unit", "SECOND"]),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(parts, words) -> None:
    with pytest.raises(ConfigError) as caught:
        BinanceWebSocket(BinanceConfig(**{"symbols": ["BTCUSDT"], **parts}))
    assert all(word in str(caught.value) for word in words)


# ── connect ───────────────────────────────────────────────────────────────────


async def test_connect_returns_when_acknowledged_and_data_flows_behind(settings, until) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings))
    assert client.get_stats()["state"] == "disconnected"
    await client.connect()
    stats = client.get_stats()
    assert stats["state"] == "connected"
    assert stats.keys() >= STATS
    assert stats["refused"] == {}
    await until(lambda: client.get_stats()["message_count"] > 10)
    await client.connect()  # connecting twice is harmless
    await client.close()
    await client.close()
    assert client.get_stats()["state"] == "disconnected"


async def test_it_can_be_connected_again(settings, until) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings))
    seen = []
    client.on_trade(seen.append)
    for _ in range(2):
        seen.clear()
        async with client:
            await until(lambda: len(seen) > 3)


async def test_run_lasts_until_closed_or_cancelled(settings, until) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings))
    seen = []
    client.on_trade(seen.append)
    running = asyncio.create_task(client.run())
    await until(lambda: seen)
    assert not running.done()
    await client.close()
    await asyncio.wait_for(running, 5)

    running = asyncio.create_task(client.run())
    await until(lambda: client.get_stats()["state"] == "connected")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert client.get_stats()["state"] == "disconnected"


async def test_stream_stands_beside_callbacks(settings, until) -> None:
    config = BinanceConfig(symbols=["BTCUSDT", "ETHUSDT"], settings=settings)
    called, got = [], []
    async with BinanceWebSocket(config) as client:
        client.on_trade(called.append)
        async with client.stream("trade", symbol="ETHUSDT") as stream:
            async for event in stream:
                got.append(event)
                if len(got) == 5:
                    break
        await until(lambda: {event.symbol for event in called} == {"BTCUSDT", "ETHUSDT"})
    assert {event.symbol for event in got} == {"ETHUSDT"}
    assert set(got) <= set(called)


async def test_async_handlers_are_awaited_in_order(settings, until) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings))
    ids = []

    @client.on_trade
    async def handle(trade):
        await asyncio.sleep(0)
        ids.append(trade.trade_id)

    async with client:
        await until(lambda: len(ids) > 20)
    assert ids == list(range(ids[0], ids[0] + len(ids)))


# ── refused symbols ───────────────────────────────────────────────────────────


async def test_an_unknown_symbol_is_refused_with_the_nearest_ones(settings) -> None:
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSTD"], settings=settings))
    with pytest.raises(UnknownSymbolError, match="did you mean BTCUSDT"):
        await client.connect()
    assert client.get_stats()["state"] == "disconnected"


async def test_unified_symbols_are_found(settings, until) -> None:
    seen = set()
    config = BinanceConfig(symbols=["BTC/USDT", "ETH/USD"], settings=settings)
    async with BinanceWebSocket(config) as client:
        client.on_trade(lambda trade: seen.add((trade.symbol, trade.unified)))
        await until(lambda: len(seen) == 2)
    assert seen == {("BTCUSDT", "BTC/USDT"), ("ETHUSDT", "ETH/USDT")}


async def test_adding_an_unknown_symbol_changes_nothing(settings, until) -> None:
    seen = set()
    async with BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings)) as client:
        client.on_trade(lambda trade: seen.add(trade.symbol))
        with pytest.raises(UnknownSymbolError, match="NOSUCH"):
            await client.subscribe_symbols(["ETHUSDT", "NOSUCH"], ["trade"])
        await until(lambda: seen)
        assert client.get_stats()["subscriptions"] == 1
        assert seen == {"BTCUSDT"}


# ── configuration ─────────────────────────────────────────────────────────────


def test_api_keys(monkeypatch) -> None:
    """The document's future enhancement: taken, masked, never needed."""
    monkeypatch.setenv("BINANCE_API_KEY", "not-a-key-4711")
    monkeypatch.setenv("BINANCE_API_SECRET", "not-a-secret-4711")
    config = BinanceConfig(
        symbols=["BTCUSDT"],
        api_key=os.getenv("BINANCE_API_KEY"),
        api_secret=os.getenv("BINANCE_API_SECRET"),
    )
    client = BinanceWebSocket(config)
    assert "4711" not in repr(config) + repr(client) + repr(client.get_stats())


async def test_microseconds(settings, until) -> None:
    config = BinanceConfig(symbols=["BTCUSDT"], settings=settings, time_unit="MICROSECOND")
    times = []
    async with BinanceWebSocket(config) as client:
        client.on_trade(lambda trade: times.append(trade.ts_event_ns))
        await until(lambda: len(times) > 10)
    assert any(time % 1_000_000 for time in times)


@pytest.mark.parametrize("path", ["", "/", "/stream", "/stream/"])
async def test_hosts_of_ones_own(venue, until, path) -> None:
    """A host given as a user would copy it from somewhere."""
    config = BinanceConfig(
        symbols=["BTCUSDT"],
        host=venue.ws_url("binance") + path,
        rest_url=venue.rest_url("binance"),
    )
    seen = []
    async with BinanceWebSocket(config) as client:
        client.on_trade(seen.append)
        await until(lambda: seen)


async def test_streams_are_spread_over_connections(venue, reach, until) -> None:
    """Beyond the venue's number of streams further connections are made, for one client."""
    config = BinanceConfig(
        symbols=["BTCUSDT", "ETHUSDT", "SOLUSDT"],
        streams=["trade", "book_ticker"],
        settings=reach(venue, "binance", streams_per_connection=2),
    )
    seen = set()
    async with BinanceWebSocket(config) as client:
        client.on_trade(lambda trade: seen.add(trade.symbol))
        await until(lambda: len(seen) == 3)
        stats = client.get_stats()
        assert len(stats["connections"]) == 3
        assert all(each["state"] == "connected" for each in stats["connections"].values())
        assert stats["message_count"] == sum(
            each["message_count"] for each in stats["connections"].values()
        )


async def test_the_state_is_the_worst_of_its_connections(venue, reach, until) -> None:
    config = BinanceConfig(
        symbols=["BTCUSDT", "ETHUSDT"], settings=reach(venue, "binance", streams_per_connection=1)
    )
    async with BinanceWebSocket(config) as client:
        venue.inject(FaultRule(kind="handshake", status=503))
        session = next(iter(venue.exchanges["binance"].sessions.values()))
        session.cut(Cut("reset"), venue.clock.now_ns())
        await until(lambda: client.get_stats()["state"] == "reconnecting")
        states = sorted(each["state"] for each in client.get_stats()["connections"].values())
        assert states == ["connected", "reconnecting"]
