"""How do I get every change with the least delay? The configuration for high-frequency trading.

python examples/configuration_high_frequency.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import (
    AggregationStrategy,
    AggregatorConfig,
    MarketDataAggregator,
    UnifiedMarketData,
)
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.histogram import Histogram


async def main(options: Options) -> None:
    """Measure the time from the socket to the handler."""
    config = AggregatorConfig(
        exchanges=["binance", "coinbase"],
        symbols={"BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"}},
        aggregation_strategy=AggregationStrategy.FIRST,  # Lowest latency
        update_interval=0.0,  # No throttling
        buffer_size=10,  # Small buffer for speed
    )
    clock, delays = SystemClock(), Histogram()

    def handle(data: UnifiedMarketData) -> None:
        # A plain function runs in the feed itself: no queue, no task, no lock.
        delays.add(clock.monotonic_ns() - data.ts_source_mono_ns)

    async with venues(options, "binance", "coinbase") as settings:
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("*", "*", handle)
        async with aggregator:
            await options.wait()
    p50_us, p99_us = (delays.quantile(share) / 1000 for share in (0.5, 0.99))
    print(f"{delays.count} updates, socket to handler p50 {p50_us:.1f} us, p99 {p99_us:.1f} us")


run(main)
