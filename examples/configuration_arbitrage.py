"""How do I watch for crossed prices without a flood? The configuration for arbitrage detection.

python examples/configuration_arbitrage.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    MarketDataAggregator,
    UnifiedMarketData,
)


async def main(options: Options) -> None:
    """Print how far best bid and best ask are apart, and when they are crossed."""
    config = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols=["BTC/USD", "ETH/USD"],
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,  # Critical for arbitrage
        update_interval=0.1,  # Fast updates
        buffer_size=50,
    )

    def handle_book(data: UnifiedMarketData) -> None:
        spread = data.data["spread"]
        state = "CROSSED" if spread < 0 else "normal"
        note = " (USD and USDT mixed)" if data.quote_mismatch else ""
        print(f"{data.symbol} {state} spread {spread:+.2f}{note}")

    async with venues(options, "binance", "coinbase") as settings:
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("*", "book_ticker", handle_book)
        async with aggregator:
            await options.wait()


run(main)
