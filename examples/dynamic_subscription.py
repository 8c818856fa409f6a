"""How do I change what I watch while it runs? Symbols and streams come and go on one connection.

python examples/dynamic_subscription.py [--live] [--seconds 3]
"""

import asyncio
from collections import Counter

from _venues import Options, run, venues

from crossfeed import BinanceConfig, BinanceWebSocket, CoinbaseConfig, CoinbaseWebSocket, MarketData

PAUSE_S = 0.4


async def main(options: Options) -> None:
    """Add SOL at two exchanges, then take it away again."""
    seen: Counter[tuple[str, str, str]] = Counter()

    def count(event: MarketData) -> None:
        seen[event.exchange, event.symbol, event.data_type] += 1

    async def look(title: str) -> None:
        seen.clear()
        await asyncio.sleep(PAUSE_S)
        print(title, sorted(seen))

    async with venues(options, "binance", "coinbase") as settings:
        binance = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], settings=settings["binance"]))
        coinbase = CoinbaseWebSocket(
            CoinbaseConfig(product_ids=["BTC-USD"], settings=settings["coinbase"])
        )
        for client in (binance, coinbase):
            client.on("*", count)
        async with binance, coinbase:
            await look("at first:")

            # Add symbols on the fly
            await binance.subscribe_symbols(["SOLUSDT"], ["trade", "ticker"])
            # Subscribe to additional products
            await coinbase.subscribe_products(["SOL-USD"], ["ticker", "matches"])
            await look("with SOL:")

            await binance.unsubscribe_symbols(["SOLUSDT"], ["trade"])
            await coinbase.unsubscribe_products(["SOL-USD"], ["ticker"])
            await look("less SOL:")
            await options.wait()


run(main)
