"""The document's handlers of unified values, as it writes them."""

from datetime import UTC, datetime

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
from crossfeed.model.unified import UnifiedMarketData

CONFIG = {
    "exchanges": ["binance", "coinbase"],
    "symbols": {"BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"}},
}


def test_trade_and_book_handlers(make, capsys) -> None:
    """`handle_trade` and `handle_book` of the section on usage."""

    def handle_trade(data: UnifiedMarketData):
        print(f"{data.symbol}: ${data.data['price']}")
        print(f"Volume: {data.data['volume']} from {len(data.exchanges)} exchanges")

    def handle_book(data: UnifiedMarketData):
        print(f"Best Bid: ${data.data['best_bid']} @ {data.data['best_bid_exchange']}")
        print(f"Best Ask: ${data.data['best_ask']} @ {data.data['best_ask_exchange']}")
        print(f"Spread: {data.data['spread_percent']:.3f}%")

    config = AggregatorConfig(
        **CONFIG, aggregation_strategy=AggregationStrategy.BEST_BID_ASK, update_interval=1.0
    )
    aggregator = Aggregator(config)
    events = [
        make.trade("binance", 45005.0, 4.0),
        make.quote("binance", 45000.0, 45020.0),
        make.trade("coinbase", 45005.0, 0.3, 0.5),
        make.quote("coinbase", 44990.0, 45010.0, 0.6),
    ]
    for value in [*make.feed(aggregator, events), *make.wait(aggregator, 1.0)][2:]:
        {"trade": handle_trade, "book_ticker": handle_book}[value.data_type](value)
    assert capsys.readouterr().out.splitlines() == [
        "BTC/USD: $45005.0",
        "Volume: 0.3 from 1 exchanges",
        "Best Bid: $45000.0 @ binance",
        "Best Ask: $45010.0 @ coinbase",
        "Spread: 0.022%",
    ]


def test_live_trading_signals(make) -> None:
    """`handle_ticker` compares the deviation over venues and the combined volume."""
    calls = []
    threshold = 4.0

    class Strategy:
        def reduce_position_size(self):
            calls.append("reduce")

        def enable_aggressive_orders(self):
            calls.append("aggressive")

    strategy = Strategy()

    def handle_ticker(data: UnifiedMarketData):
        if data.data["price_std"] > threshold:
            strategy.reduce_position_size()
        if data.data["volume_24h"] > 1000000:
            strategy.enable_aggressive_orders()

    aggregator = Aggregator(AggregatorConfig(**CONFIG))
    tickers = [
        make.ticker("binance", 44995.0, 900_000.0),
        make.ticker("coinbase", 45005.0, 200_000.0, 0.1),
    ]
    for value in make.feed(aggregator, tickers):
        handle_ticker(value)
    assert calls == ["reduce", "aggressive"]


def test_market_data_recording(make) -> None:
    """`handle_trade` hands the fields of a unified trade to a database."""
    rows = []

    class Database:
        def insert_trade(self, **row):
            rows.append(row)

    db = Database()

    def handle_trade(data: UnifiedMarketData):
        db.insert_trade(
            symbol=data.symbol,
            price=data.data["price"],
            volume=data.data["volume"],
            exchanges=data.exchanges,
            timestamp=data.timestamp,
        )

    aggregator = Aggregator(AggregatorConfig(**CONFIG))
    for value in make.feed(aggregator, [make.trade("coinbase", 45000.0, 0.5, 1)]):
        handle_trade(value)
    assert rows == [
        {
            "symbol": "BTC/USD",
            "price": 45000.0,
            "volume": 0.5,
            "exchanges": ["coinbase"],
            "timestamp": datetime(2026, 9, 21, 14, 13, 21, tzinfo=UTC),
        }
    ]


def test_configuration_examples(make) -> None:
    """The three configurations of the document, with the symbols it leaves out."""
    symbols = {"BTC/USD": make.venues}
    fast = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols=symbols,
        aggregation_strategy=AggregationStrategy.FIRST,
        update_interval=0.0,
        buffer_size=10,
    )
    stable = AggregatorConfig(
        exchanges=["binance", "coinbase", "kraken"],
        symbols=symbols,
        aggregation_strategy=AggregationStrategy.MEDIAN,
        update_interval=5.0,
        buffer_size=1000,
    )
    arbitrage = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols=symbols,
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
        update_interval=0.1,
        buffer_size=50,
    )
    for config in (fast, stable, arbitrage):
        assert len(make.feed(Aggregator(config), [make.trade("binance", 1.0)])) == 1
