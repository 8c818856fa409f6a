"""When shall my strategy change its mind? Signals from tickers over several exchanges.

python examples/trading_signals.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import AggregatorConfig, MarketDataAggregator, UnifiedMarketData

THRESHOLD = 0.5  # dollars between the exchanges


class Strategy:
    """Stands in for yours."""

    def reduce_position_size(self) -> None:
        """Do less while the exchanges disagree."""
        print("exchanges disagree: smaller positions")

    def enable_aggressive_orders(self) -> None:
        """Do more while there is plenty to trade with."""
        print("high volume: aggressive orders")


async def main(options: Options) -> None:
    """Feed a strategy with what the exchanges say together."""
    strategy = Strategy()

    def handle_ticker(data: UnifiedMarketData) -> None:
        if data.data["price_std"] > THRESHOLD:
            # High volatility across exchanges
            strategy.reduce_position_size()

        if data.data["volume_24h"] > 1_000:
            # High volume, good liquidity
            strategy.enable_aggressive_orders()

    async with venues(options, "binance", "coinbase", "kraken") as settings:
        config = AggregatorConfig(
            exchanges=["binance", "coinbase", "kraken"], symbols=["BTC/USD"], update_interval=0.25
        )
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("BTC/USD", "ticker", handle_ticker)
        async with aggregator:
            await options.wait()


run(main)
