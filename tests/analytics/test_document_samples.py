"""The document's use cases, as it writes them, on unified values made as it makes them."""

from datetime import UTC, datetime, timedelta

from crossfeed.analytics.arbitrage import ArbitrageDetector
from crossfeed.analytics.features import FeatureExtractor
from crossfeed.analytics.price_monitor import PriceMonitor
from crossfeed.analytics.validation import DataValidator, validate_price
from crossfeed.model.unified import MarketData, UnifiedMarketData

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


def unified(data_type: str, **data) -> UnifiedMarketData:
    """Make a unified value with the document's keywords."""
    return UnifiedMarketData(
        symbol="BTC/USD",
        data_type=data_type,
        timestamp=NOON,
        exchanges=["binance", "coinbase"],
        data=data,
        source_data=[],
    )


BOOK = unified(
    "book_ticker",
    best_bid=45300.0,
    best_bid_quantity=2.5,
    best_bid_exchange="binance",
    best_ask=45010.0,
    best_ask_quantity=1.8,
    best_ask_exchange="coinbase",
    spread=-290.0,
    spread_percent=-0.642,
)


def test_real_time_price_monitoring(capsys) -> None:
    """Use case 1."""
    monitor = PriceMonitor("BTC/USD", window_size=20)
    alerts = []

    def alert(text):
        alerts.append(text)

    def handle_trade(data):
        monitor.update(data.data["price"], data.data["volume"])

        if monitor.detect_spike(threshold_stdev=2.0):
            alert("Price spike detected!")

        stats = monitor.get_stats()
        print(f"Mean: ${stats['mean']:.2f}, StdDev: ${stats['stdev']:.2f}")

    for step in range(20):
        handle_trade(unified("trade", price=45000.0 + step % 3, volume=1.0, num_trades=1))
    assert alerts == []
    handle_trade(unified("trade", price=45100.0, volume=1.0, num_trades=1))
    assert alerts == ["Price spike detected!"]
    assert capsys.readouterr().out.splitlines()[0] == "Mean: $45000.00, StdDev: $0.00"


def test_cross_exchange_arbitrage(capsys) -> None:
    """Use case 2."""
    detector = ArbitrageDetector(min_spread_percent=0.5)

    def handle_book(data: UnifiedMarketData):
        if detector.check_opportunity(data):
            opp = detector.opportunities[-1]
            print(f"Arbitrage: Buy @ {opp['buy_exchange']} ${opp['buy_price']}")
            print(f"          Sell @ {opp['sell_exchange']} ${opp['sell_price']}")
            print(f"          Profit: {opp['spread_percent']:.2f}%")

    handle_book(BOOK)
    assert capsys.readouterr().out.splitlines() == [
        "Arbitrage: Buy @ coinbase $45010.0",
        "          Sell @ binance $45300.0",
        "          Profit: 0.64%",
    ]


def test_ml_model_features() -> None:
    """Use case 5."""
    feature_extractor = FeatureExtractor()
    inputs = []

    def handle_orderbook(data: UnifiedMarketData):
        features = feature_extractor.extract(
            {
                "spread": data.data["spread_percent"],
                "bid_volume": data.data["best_bid_quantity"],
                "ask_volume": data.data["best_ask_quantity"],
                "num_exchanges": len(data.exchanges),
            }
        )

        model_input = features.to_numpy()
        inputs.append(model_input)

    handle_orderbook(BOOK)
    assert inputs[0].tolist() == [-0.642, 2.5, 1.8, 2.0]


def test_data_quality() -> None:
    """The document's validator, with its two errors corrected: NaN and the naive clock."""
    validate_data = DataValidator(clock=lambda: int(NOON.timestamp()) * 10**9)

    def event(price, seconds=0):
        return MarketData(
            exchange="binance",
            symbol="BTCUSDT",
            data_type="trade",
            timestamp=NOON + timedelta(seconds=seconds),
            data={"price": price, "quantity": 0.5, "trade_id": 12345, "is_buyer_maker": False},
            raw_message={},
        )

    assert validate_data(event(45000.0))
    assert not validate_data(event(0))
    assert not validate_data(event(float("nan")))
    assert not validate_data(event(45000.0, seconds=61))


def test_price_against_recent_history() -> None:
    """The document's band of half the lowest to double the highest recent price."""
    symbol = "SAMPLE/USD"
    assert validate_price(45000.0, symbol)
    assert not validate_price(22499.0, symbol)
    assert not validate_price(90001.0, symbol)
    assert validate_price(46000.0, symbol)
