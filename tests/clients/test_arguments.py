"""What somebody without a type checker gets wrong: said at once, with what is right."""

import asyncio
import logging

import pytest

import crossfeed
from crossfeed import (
    AggregatorConfig,
    BinanceConfig,
    BinanceWebSocket,
    CoinbaseConfig,
    CoinbaseWebSocket,
    ConfigError,
    FeatureExtractor,
    FeedSettings,
    MarketDataAggregator,
    UnknownSymbolError,
    UnknownVenueError,
    UnsupportedChannelError,
    VenueClient,
    WebSocketConfig,
    WebSocketManager,
    WebSocketPool,
    rate_limit,
)


def client(**parts) -> VenueClient:
    given = {"venue": "kraken", "symbols": ["BTC/USD"], "kinds": ["trade"], **parts}
    return VenueClient(given.pop("venue"), **given)


def binance(**parts) -> BinanceWebSocket:
    return BinanceWebSocket(BinanceConfig(**{"symbols": ["BTCUSDT"], **parts}))


def aggregator() -> MarketDataAggregator:
    return MarketDataAggregator(AggregatorConfig(exchanges=["kraken"], symbols=["BTC/USD"]))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: client(venue=None), UnknownVenueError, "no venue named None"),
        (lambda: client(symbols=None), ConfigError, "symbols: give a list of texts, not None"),
        (lambda: client(symbols=[1]), ConfigError, "symbols: 1 is no text"),
        (lambda: client(kinds=[None]), ConfigError, "kinds: None is no text"),
        (lambda: client(settings={"lines": 2}), ConfigError, "give FeedSettings"),
        (lambda: FeedSettings(lines="2"), ConfigError, "lines: must be `int`, is `str`"),
        (lambda: FeedSettings(keep_raw="no"), ConfigError, "keep_raw: must be `bool`"),
        (lambda: FeedSettings(parameters={"a": 1}), ConfigError, "parameters: must be `str`"),
        (lambda: binance(symbols="BTCUSDT"), ConfigError, "symbols: give a list"),
        (lambda: binance(streams="trade"), ConfigError, "streams: give a list"),
        (lambda: binance(kline_intervals="5m"), ConfigError, "kline_intervals: give a list"),
        (lambda: BinanceWebSocket({"symbols": []}), ConfigError, "give BinanceConfig"),
        (
            lambda: CoinbaseWebSocket(CoinbaseConfig(channels="ticker")),
            ConfigError,
            "channels: give a list",
        ),
        (lambda: CoinbaseWebSocket(None), ConfigError, "give CoinbaseConfig"),
        (lambda: MarketDataAggregator({}), ConfigError, "give AggregatorConfig"),
        (lambda: WebSocketManager("wss://x.example"), ConfigError, "give WebSocketConfig"),
        (lambda: client().on("trades", print), UnsupportedChannelError, "mean 'trade'"),
        (lambda: client().on("kline_1m", print), UnsupportedChannelError, "mean 'kline'"),
        (lambda: client().stream("trade", "x"), UnsupportedChannelError, "'x'.*there are: "),
        (lambda: client().on("trade", "print"), TypeError, "callable, got str"),
        (lambda: aggregator().subscribe("*", "trade", None), TypeError, "callable"),
        (lambda: aggregator().stream("trades"), UnsupportedChannelError, "there are"),
        (lambda: aggregator().stream("trade", symbol="BTCUSD"), UnknownSymbolError, "BTC/USD"),
        (lambda: rate_limit(max_calls=0, time_window=1), ConfigError, "max_calls"),
        (lambda: rate_limit(max_calls=1, time_window=0), ConfigError, "time_window"),
    ],
)
def test_a_mistake_is_named(make, error, words) -> None:
    with pytest.raises(error, match=words):
        make()


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="api_secret: must be `str`") as caught:
        FeedSettings(api_key="key", api_secret=4711)
    assert "4711" not in str(caught.value)


def test_every_data_type_of_an_event_can_be_asked_for() -> None:
    kinds = ["*", "trade", "agg_trade", "ticker", "mini_ticker", "kline", "depth", "book"]
    kinds += ["orderbook_snapshot", "orderbook_update", "book_ticker", "heartbeat", "status"]
    stream = client().stream(*kinds, "full", "gap", "feed_status")
    assert "trade/*" in repr(stream)
    stream.close()


def test_the_nearest_symbols_are_each_named_once() -> None:
    with pytest.raises(UnknownSymbolError, match=r"did you mean BTC/USD, BTC/USDT") as caught:
        client().instrument("btc/usd")
    assert str(caught.value).count("BTC/USD,") == 1


async def test_run_in_a_notebook_says_to_await(recwarn) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"write `await \.\.\.`"):
        crossfeed.run(work())
    assert not recwarn.list


def test_objects_show_what_they_are() -> None:
    one = client()
    subscription = one.add_handler("trade", print)
    assert repr(subscription) == (
        "<Subscription print[trade/*] inline: 0 delivered, 0 dropped, 0 failures>"
    )
    assert "trade/* open: 0 waiting" in repr(one.stream("trade"))
    pool = WebSocketPool()
    assert repr(pool) == "<WebSocketPool without connections>"
    pool.add_connection("a", WebSocketConfig(url="ws://127.0.0.1"))
    assert repr(pool) == "<WebSocketPool a disconnected>"
    assert repr(FeatureExtractor(["spread"])) == "FeatureExtractor(spread)"


async def test_an_event_shows_its_values_and_never_its_frame(simulate, reach, until) -> None:
    venue = await simulate(venues=("kraken",), symbols=("BTC/USD",), rate_per_s=300)
    events = []
    settings = reach(venue, "kraken")
    async with VenueClient(
        "kraken", symbols=["BTC/USD"], kinds=["trade", "book"], settings=settings
    ) as one:
        one.on("trade", events.append)
        one.on("orderbook_snapshot", events.append)
        await until(lambda: {event.data_type for event in events} >= {"trade"})
        trade = next(event for event in events if event.data_type == "trade")
    text = repr(trade)
    assert text.startswith(f"<Trade kraken BTC/USD {trade.timestamp:%Y-%m-%dT%H:%M:%S}")
    assert f" price={trade.price!r} " in text
    assert f" side={trade.side.value} " in text
    assert text.endswith(" SOUND>")
    assert len(text) < 200


async def test_the_first_failure_of_a_handler_says_where_it_failed(
    simulate, reach, until, caplog
) -> None:
    venue = await simulate(venues=("kraken",), symbols=("BTC/USD",), rate_per_s=300)
    caplog.set_level(logging.ERROR, "crossfeed.delivery")

    def my_strategy(_trade: object) -> None:
        raise ValueError("a fault of mine")

    one = client(settings=reach(venue, "kraken"))
    subscription = one.add_handler("trade", my_strategy)
    async with one:
        await until(lambda: subscription.failures >= 10)
    assert caplog.text.count("Traceback") == 1
    assert "in my_strategy" in caplog.text
