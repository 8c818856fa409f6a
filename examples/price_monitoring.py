"""Is the price doing something unusual? Watches the trades of all venues for spikes.

python examples/price_monitoring.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import AggregatorConfig, MarketDataAggregator, PriceMonitor, UnifiedMarketData


async def main(options: Options) -> None:
    """Compare each new price with the twenty before it."""
    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(
            exchanges=["binance", "coinbase"], symbols=["BTC/USD"], update_interval=0.2
        )
        aggregator = MarketDataAggregator(config, venues=settings)
        monitor = PriceMonitor("BTC/USD", window_size=20)

        def handle_trade(data: UnifiedMarketData) -> None:
            monitor.update(data.data["price"], data.data["volume"])

            if monitor.detect_spike(threshold_stdev=2.0):
                print("Price spike detected!")

            stats = monitor.get_stats()
            if stats["mean"] is not None and stats["stdev"] is not None:
                print(f"Mean: ${stats['mean']:.2f}, StdDev: ${stats['stdev']:.2f}")

        aggregator.subscribe("BTC/USD", "trade", handle_trade)
        async with aggregator:
            await options.wait()


run(main)
