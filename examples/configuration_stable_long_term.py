"""How do I get a calm series for analysis? The configuration for stable long-term data.

python examples/configuration_stable_long_term.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    MarketDataAggregator,
    UnifiedMarketData,
)


async def main(options: Options) -> None:
    """Print the median of three exchanges now and then."""
    config = AggregatorConfig(
        exchanges=["binance", "coinbase", "kraken"],
        symbols=["BTC/USD", "ETH/USD"],
        aggregation_strategy=AggregationStrategy.MEDIAN,  # Robust to outliers
        update_interval=5.0 if options.is_live else 0.5,  # 5-second updates
        buffer_size=1000,  # Large buffer for analysis
    )

    def handle_ticker(data: UnifiedMarketData) -> None:
        low, high = data.data["price_range"]
        print(f"{data.symbol} {data.data['price']:.2f} ({low:.2f}-{high:.2f})", end=" ")
        print(f"from {', '.join(data.exchanges)}; {len(data.source_data)} sources")

    async with venues(options, "binance", "coinbase", "kraken") as settings:
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("*", "ticker", handle_ticker)
        async with aggregator:
            await options.wait()


run(main)
