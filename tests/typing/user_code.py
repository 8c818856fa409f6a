"""What users write, checked by mypy and pyright in strict mode (`make check`); never run.

A statement that a checker must refuse carries an ignore: were it accepted one day, the unused
ignore would be the error.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from datetime import UTC, datetime
from typing import assert_type

import crossfeed
from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    BinanceConfig,
    BinanceStream,
    BinanceWebSocket,
    Gap,
    MarketData,
    MarketDataAggregator,
    OrderBook,
    Trade,
    Trust,
    UnifiedMarketData,
    VenueClient,
    WebSocketConfig,
    WebSocketManager,
)


async def read_one_venue() -> None:
    """Read events as they come, and the book beside them."""
    async with VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade", "book"]) as client:
        assert_type(client, VenueClient)
        async for event in client.stream("trade"):
            if isinstance(event, Trade) and event.trust is Trust.SOUND:
                assert_type(event.price, float)
                assert_type(event.timestamp, datetime)
        assert_type(client.book("BTC/USD"), OrderBook)

        @client.on_gap
        def on_gap(gap: Gap) -> None:
            assert_type(gap.record.missing, int)

        VenueClient("kraken", symbol="BTC/USD")  # type: ignore[call-arg]


async def use_binance() -> None:
    """Use a venue's own client with handlers, as decorators."""
    config = BinanceConfig(symbols=["BTCUSDT"], streams=[BinanceStream.TRADE])
    client = BinanceWebSocket(config)

    @client.on_trade
    def handle(data: MarketData) -> None:
        assert_type(data.exchange, str)

    await client.connect()
    await client.subscribe_symbols(["ETHUSDT"], ["trade"])
    await client.close()


async def aggregate() -> None:
    """Combine venues."""
    config = AggregatorConfig(
        exchanges=["binance", "kraken"],
        symbols=["BTC/USD"],
        aggregation_strategy=AggregationStrategy.MEDIAN,
    )
    aggregator = MarketDataAggregator(config)

    def show(data: UnifiedMarketData) -> None:
        assert_type(data.symbol, str)

    aggregator.subscribe("*", "ticker", show)
    await aggregator.start()
    await aggregator.stop()


def make_events_by_hand() -> list[MarketData | UnifiedMarketData]:
    """Construct events with the keywords of the document."""
    event = MarketData(
        exchange="binance",
        symbol="BTCUSDT",
        data_type="trade",
        timestamp=datetime.now(UTC),
        data={"price": 45000.00, "quantity": 0.5, "trade_id": 12345, "is_buyer_maker": False},
        raw_message={},
    )
    assert_type(event.symbol, str)
    MarketData("binance", "BTCUSDT")  # type: ignore[call-arg]
    value = UnifiedMarketData(
        symbol="BTC/USD",
        data_type="trade",
        timestamp=event.timestamp,
        exchanges=["binance"],
        data={"price": 45000.00},
        source_data=[event],
    )
    return [event, value]


async def own_connection() -> None:
    """Use the connection alone."""
    manager = WebSocketManager(WebSocketConfig(url="wss://example.invalid"))

    @manager.on_message
    async def on_message(message: object) -> None:
        del message

    await manager.connect()
    await manager.send({"op": "subscribe"})


crossfeed.run(read_one_venue())
