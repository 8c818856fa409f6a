"""How do I keep the trades? Writes them to a database, in a thread of its own.

A database blocks; in a thread it cannot delay the feed. The queue is bounded, and if the disk
cannot follow, the recorder is told so instead of losing trades without a word.

    python examples/trade_recording.py [--live] [--seconds 3]
"""

import sqlite3

from _venues import Options, run, venues

from crossfeed import (
    AggregatorConfig,
    DeliveryMode,
    MarketDataAggregator,
    OverflowPolicy,
    UnifiedMarketData,
)


async def main(options: Options) -> None:
    """Record for a while, then count what is there."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("CREATE TABLE trades (symbol, price, volume, exchanges, timestamp)")

    def handle_trade(data: UnifiedMarketData) -> None:
        # Save to database
        row = (data.symbol, data.data["price"], data.data["volume"], ",".join(data.exchanges))
        with db:
            db.execute("INSERT INTO trades VALUES (?, ?, ?, ?, ?)", (*row, str(data.timestamp)))

    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(exchanges=["binance", "coinbase"], symbols=["BTC/USD", "ETH/USD"])
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe(
            "*",
            "trade",
            handle_trade,
            mode=DeliveryMode.THREAD,
            capacity=100_000,
            policy=OverflowPolicy.DISCONNECT,
        )
        async with aggregator:
            await options.wait()

    query = "SELECT symbol, count(*), sum(volume) FROM trades GROUP BY symbol ORDER BY symbol"
    for symbol, count, volume in db.execute(query):
        print(f"{symbol}: {count} rows, volume {volume:.6f}")
    db.close()


run(main)
