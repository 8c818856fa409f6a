"""Can I buy here and sell there with a profit? Watches the best prices over the exchanges.

The two quote currencies are different money: `quote_basis` says what a USDT is worth in USD, and
fees are what turns most opportunities into none.

    python examples/arbitrage.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import AggregatorConfig, ArbitrageDetector, MarketDataAggregator, UnifiedMarketData


async def main(options: Options) -> None:
    """Print every crossed consolidated quote that is left after the fees."""
    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(
            exchanges=["binance", "coinbase"],
            symbols=["BTC/USD", "ETH/USD", "SOL/USD"],
            quote_basis={"USDT/USD": 1.0},
        )
        aggregator = MarketDataAggregator(config, venues=settings)
        detector = ArbitrageDetector(
            min_spread_percent=0.5 if options.is_live else 0.001,
            fees_percent={"binance": 0.1, "coinbase": 0.6} if options.is_live else {},
        )

        def handle_book(data: UnifiedMarketData) -> None:
            if detector.check_opportunity(data):
                opp = detector.opportunities[-1]
                print(f"Arbitrage: Buy @ {opp['buy_exchange']} ${opp['buy_price']}")
                print(f"          Sell @ {opp['sell_exchange']} ${opp['sell_price']}")
                print(f"          Profit: {opp['spread_percent']:.4f}%")

        aggregator.subscribe("*", "book_ticker", handle_book)
        async with aggregator:
            await options.wait()
        print(f"{len(detector.opportunities)} opportunities; turned down: {detector.rejected}")


run(main)
