"""What is the price, over all exchanges? One view with the best bid and ask and who makes them.

python examples/unified_view.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    MarketDataAggregator,
    UnifiedMarketData,
)


def handle_trade(data: UnifiedMarketData) -> None:
    """Print the volume-weighted price of the last interval."""
    print(f"{data.symbol}: ${data.data['price']}")
    print(f"Volume: {data.data['volume']} from {len(data.exchanges)} exchanges")


def handle_book(data: UnifiedMarketData) -> None:
    """Print the best prices over the exchanges."""
    print(f"Best Bid: ${data.data['best_bid']} @ {data.data['best_bid_exchange']}")
    print(f"Best Ask: ${data.data['best_ask']} @ {data.data['best_ask_exchange']}")
    print(f"Spread: {data.data['spread_percent']:.3f}%")


async def main(options: Options) -> None:
    """Aggregate two exchanges, at most one value of each kind a second."""
    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(
            exchanges=["binance", "coinbase"],
            symbols={
                "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"},
                "ETH/USD": {"binance": "ETHUSDT", "coinbase": "ETH-USD"},
            },
            aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
            update_interval=1.0,  # minimum seconds between updates
        )
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("BTC/USD", "trade", handle_trade)
        aggregator.subscribe("*", "book_ticker", handle_book)  # all symbols
        async with aggregator:
            await options.wait()
        print(f"{aggregator.get_stats()['updates_published']} updates")


run(main)
