"""The document's section on the Coinbase client: every sample, and what the contract adds."""

import logging
from datetime import UTC

import pytest

from crossfeed import (
    AuthRejectedError,
    CoinbaseChannel,
    CoinbaseConfig,
    CoinbaseWebSocket,
    ConfigError,
    Mark,
    MarketData,
    SubscriptionRejectedError,
    Trust,
    UnknownSymbolError,
    UnsupportedChannelError,
)
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET

KEYS = {
    "trade": {"price", "quantity", "size", "side", "trade_id", "is_buyer_maker"},
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
        "best_bid_size",
        "best_ask",
        "best_ask_size",
    },
    "orderbook_snapshot": {"bids", "asks"},
    "orderbook_update": {"changes"},
    "heartbeat": {"sequence", "last_trade_id"},
    "status": {"products", "system"},
    "full": {"type", "sequence"},
}
SIGNED = {"api_key": TEST_KEY, "api_secret": TEST_SECRET, "api_passphrase": TEST_PASSPHRASE}


@pytest.fixture
async def venue(simulate):
    """A simulated Coinbase Exchange."""
    symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    return await simulate(venues=("coinbase",), symbols=symbols, rate_per_s=600)


@pytest.fixture
def settings(venue, reach):
    """The settings that lead there."""
    return reach(venue, "coinbase")


# ── usage ─────────────────────────────────────────────────────────────────────


async def test_usage(settings, until, capsys) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD", "ETH-USD"],
        channels=[CoinbaseChannel.TICKER, CoinbaseChannel.MATCHES, CoinbaseChannel.LEVEL2],
        settings=settings,
    )

    client = CoinbaseWebSocket(config)

    @client.on_ticker
    def handle_ticker(data: MarketData):
        print(f"{data.symbol}: ${data.data['price']}")

    @client.on_matches
    def handle_trade(data: MarketData):
        print(f"Trade: {data.symbol} ${data.data['price']} x {data.data['size']}")

    @client.on_level2
    def handle_orderbook(data: MarketData):
        if data.data_type == "orderbook_snapshot":
            print(f"Snapshot: {len(data.data['bids'])} bids, {len(data.data['asks'])} asks")
        else:
            print(f"Update: {len(data.data['changes'])} changes")

    lines = []
    await client.connect()

    def is_complete() -> bool:
        lines.extend(capsys.readouterr().out.splitlines())
        words = {line.split(" ")[0] for line in lines}
        return words >= {"BTC-USD:", "ETH-USD:", "Trade:", "Snapshot:", "Update:"}

    await until(is_complete)
    await client.close()

    snapshots = [line for line in lines if line.startswith("Snapshot: ")]
    assert len(snapshots) == 2
    assert all(int(line.split(" ")[1]) > 20 for line in snapshots)
    assert lines.index(snapshots[0]) < next(
        place for place, line in enumerate(lines) if line.startswith("Update:")
    )


async def test_dynamic_subscription(settings, until) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=[CoinbaseChannel.TICKER], settings=settings
    )
    client = CoinbaseWebSocket(config)
    seen = []
    client.on_ticker(lambda ticker: seen.append(("ticker", ticker.symbol)))
    client.on_matches(lambda trade: seen.append(("trade", trade.symbol)))
    async with client:
        await until(lambda: len(seen) > 5)
        assert set(seen) == {("ticker", "BTC-USD")}

        # Subscribe to additional products
        await client.subscribe_products(["SOL-USD"], ["ticker", "matches"])
        await until(lambda: {("ticker", "SOL-USD"), ("trade", "SOL-USD")} <= set(seen))

        # Unsubscribe
        await client.unsubscribe_products(["SOL-USD"], ["ticker"])
        seen.clear()
        await until(lambda: seen.count(("trade", "SOL-USD")) > 5 and len(seen) > 20)
        assert set(seen) == {("ticker", "BTC-USD"), ("trade", "SOL-USD")}


# ── supported channels ────────────────────────────────────────────────────────


async def test_all_six_channels_with_the_keys_of_the_vocabulary(settings, until) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=list(CoinbaseChannel), settings=settings, **SIGNED
    )
    client = CoinbaseWebSocket(config)
    found = {}
    for register in (
        client.on_ticker,
        client.on_matches,
        client.on_level2,
        client.on_heartbeat,
        client.on_status,
        client.on_full,
    ):

        @register
        def keep(event):
            found.setdefault(event.data_type, event)

    async with client:
        await until(lambda: found.keys() == KEYS.keys())
    for kind, event in found.items():
        assert event.data.keys() >= KEYS[kind], kind
        assert event.exchange == "coinbase"
        assert event.timestamp.tzinfo is UTC
    types = {"received", "open", "done", "match", "change", "activate"}
    assert found["full"].data["type"] in types
    assert found["trade"].raw_message["type"] in {"match", "last_match"}


async def test_the_side_of_a_trade_is_the_takers(settings, until) -> None:
    """Coinbase writes the maker's side; the document's client would have handed that on."""
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=[CoinbaseChannel.MATCHES], settings=settings
    )
    trades = []
    async with CoinbaseWebSocket(config) as client:
        client.on_matches(trades.append)
        await until(lambda: {trade.side for trade in trades} >= {"buy", "sell"})
    opposite = {"buy": "sell", "sell": "buy"}
    assert all(trade.side == opposite[trade.raw_message["side"]] for trade in trades)
    assert all(trade.data["is_buyer_maker"] is (trade.side == "sell") for trade in trades)


async def test_the_last_match_before_the_subscription_is_marked(settings, until) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=[CoinbaseChannel.MATCHES], settings=settings
    )
    client = CoinbaseWebSocket(config)
    trades = []
    client.on_matches(trades.append)
    async with client:
        await until(lambda: len(trades) > 3)
    assert trades[0].raw_message["type"] == "last_match"
    assert trades[0].marks & Mark.HISTORY
    assert trades[0].data["history"] is True
    assert not any(trade.marks & Mark.HISTORY for trade in trades[1:])
    ids = [trade.trade_id for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_the_book_of_level2_is_maintained(settings, venue, until, true_depth) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=[CoinbaseChannel.LEVEL2], settings=settings
    )
    changes = []
    async with CoinbaseWebSocket(config) as client:
        client.on_level2(changes.append)
        await until(lambda: len(changes) > 10)
        venue.pause()
        book = client.book("BTC-USD")
        await until(lambda: book.depth_exact(50) == true_depth(venue, "coinbase", "BTC/USD", 50))
        assert book.trust is Trust.SOUND
        assert book.spread > 0


async def test_batched_tickers(settings, until) -> None:
    """The same tickers, fewer of them; beside `ticker` nobody could tell the two apart."""
    config = CoinbaseConfig(product_ids=["BTC-USD"], channels=["ticker_batch"], settings=settings)
    tickers = []
    client = CoinbaseWebSocket(config)
    client.on_ticker(tickers.append)
    async with client:
        await until(lambda: tickers)
        assert tickers[0].data.keys() >= KEYS["ticker"]
        with pytest.raises(UnsupportedChannelError, match=r"BTC-USD: coinbase .* take one of them"):
            await client.subscribe_products(["BTC-USD"], ["ticker"])
        await client.subscribe_products(["ETH-USD"], ["ticker"])


# ── keys ──────────────────────────────────────────────────────────────────────


async def test_level2_without_a_key_uses_the_batches_and_says_so(settings, until, caplog) -> None:
    caplog.set_level(logging.INFO, "crossfeed.session")
    config = CoinbaseConfig(
        product_ids=["BTC-USD"], channels=[CoinbaseChannel.LEVEL2], settings=settings
    )
    events = []
    client = CoinbaseWebSocket(config)
    client.on_level2(events.append)
    async with client:
        await until(lambda: len(events) > 3)
        assert client.get_stats()["refused"] == {}
    assert "level2 needs an API key; the books come from level2_batch" in caplog.text


def test_full_without_a_key_is_a_clear_mistake() -> None:
    config = CoinbaseConfig(product_ids=["BTC-USD"], channels=[CoinbaseChannel.FULL])
    with pytest.raises(UnsupportedChannelError, match=r"full: .*api_key.*api_secret"):
        CoinbaseWebSocket(config)


async def test_a_wrong_key_is_said_to_be_wrong(settings) -> None:
    config = CoinbaseConfig(
        product_ids=["BTC-USD"],
        channels=[CoinbaseChannel.FULL],
        settings=settings,
        api_key="somebody",
        api_secret=TEST_SECRET,
        api_passphrase="else",
    )
    client = CoinbaseWebSocket(config)
    with pytest.raises(AuthRejectedError, match="signature, key or passphrase") as caught:
        await client.connect()
    assert TEST_SECRET not in str(caught.value)
    assert client.get_stats()["state"] == "disconnected"


def test_keys_are_masked_wherever_they_are_shown() -> None:
    config = CoinbaseConfig(product_ids=["BTC-USD"], channels=["full"], **SIGNED)
    client = CoinbaseWebSocket(config)
    shown = repr(config) + repr(client) + repr(client.settings) + repr(client.get_stats())
    assert not any(secret in shown for secret in SIGNED.values())


# ── mistakes and refusals ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"channels": ["level3"]}, ["channels", "'level3'", "level2"]),
        ({"api": "pro"}, ["api", "'pro'", "advanced"]),
        ({"product_ids": "BTC-USD"}, ["symbols", "list"]),
        ({"api": "advanced", "channels": ["full"], **SIGNED}, ["full", "Advanced"]),
        ({"api_key": "alone"}, ["api_key", "api_secret"]),
    ],
)
def test_mistakes_are_named_before_anything_is_opened(parts, words) -> None:
    with pytest.raises(ConfigError) as caught:
        CoinbaseWebSocket(CoinbaseConfig(**{"product_ids": ["BTC-USD"], **parts}))
    assert all(word in str(caught.value) for word in words)


async def test_an_unknown_product_is_refused_with_the_nearest_ones(settings) -> None:
    client = CoinbaseWebSocket(CoinbaseConfig(product_ids=["BTC-USDD"], settings=settings))
    with pytest.raises(UnknownSymbolError, match="did you mean BTC-USD"):
        await client.connect()


@pytest.fixture
async def small(simulate, reach):
    """A venue that lists less than our built-in table: it will refuse some products itself."""
    venue = await simulate(venues=("coinbase",), symbols=("BTC/USD",), rate_per_s=600)
    return lambda **more: reach(venue, "coinbase", metadata="builtin", **more)


async def test_connect_raises_when_the_venue_refuses_everything(small) -> None:
    config = CoinbaseConfig(product_ids=["ETH-USD", "SOL-USD"], settings=small())
    client = CoinbaseWebSocket(config)
    with pytest.raises(SubscriptionRejectedError) as caught:
        await client.connect()
    assert caught.value.symbols.keys() == {"ETH-USD", "SOL-USD"}
    assert "ETH-USD" in str(caught.value)
    assert "not a valid product" in str(caught.value)
    assert client.get_stats()["state"] == "disconnected"


@pytest.mark.fault("D19")
async def test_connect_goes_on_with_what_is_left(small, until) -> None:
    """One bad product spoils a whole request at Coinbase; ours names it and asks for the rest."""
    config = CoinbaseConfig(product_ids=["BTC-USD", "ETH-USD"], settings=small())
    client = CoinbaseWebSocket(config)
    seen, statuses, errors = set(), [], []
    client.on_ticker(lambda ticker: seen.add(ticker.symbol))
    client.on_feed_status(statuses.append)
    client.on_error(errors.append)
    async with client:
        await until(lambda: seen)
        refused = client.get_stats()["refused"]
    assert list(refused) == ["ticker:ETH-USD"]
    assert "not a valid product" in refused["ticker:ETH-USD"]
    (status,) = [each for each in statuses if each.cause == "refused"]
    assert (status.symbol, status.current) == ("ETH-USD", Trust.UNAVAILABLE)
    assert [type(error) for error in errors] == [SubscriptionRejectedError]
    assert seen == {"BTC-USD"}


async def test_strict_raises_for_one_refused(small) -> None:
    config = CoinbaseConfig(product_ids=["BTC-USD", "ETH-USD"], settings=small(strict=True))
    client = CoinbaseWebSocket(config)
    with pytest.raises(SubscriptionRejectedError) as caught:
        await client.connect()
    assert caught.value.symbols.keys() == {"ETH-USD"}
    assert client.get_stats()["state"] == "disconnected"


# ── Advanced Trade ────────────────────────────────────────────────────────────


async def test_the_advanced_api_is_the_same_venue(simulate, reach, until) -> None:
    venue = await simulate(venues=("coinbase_advanced",), symbols=("BTC/USD",), rate_per_s=600)
    config = CoinbaseConfig(
        product_ids=["BTC-USD"],
        channels=["ticker", "matches", "level2", "heartbeat", "candles"],
        api="advanced",
        settings=reach(venue, "coinbase_advanced"),
    )
    client = CoinbaseWebSocket(config)
    found = {}
    for register in (client.on_ticker, client.on_matches, client.on_level2):

        @register
        def keep(event):
            found.setdefault(event.data_type, event)

    async with client:
        await until(
            lambda: found.keys() >= {"ticker", "trade", "orderbook_snapshot", "orderbook_update"}
        )
    for kind, event in found.items():
        assert event.exchange == "coinbase"
        assert event.symbol == "BTC-USD"
        assert event.data.keys() >= KEYS[kind]
