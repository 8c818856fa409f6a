"""How do I read events at my own pace? An asynchronous iterator beside the callbacks.

The queue is bounded and says what it dropped; CONFLATE keeps the newest value of each kind.

    python examples/streams.py [--live] [--seconds 3]
"""

import asyncio
import contextlib

from _venues import Options, run, venues

from crossfeed import OverflowPolicy, VenueClient


async def main(options: Options) -> None:
    """Read every trade, and now and then the newest quote."""
    async with venues(options, "kraken") as settings:
        client = VenueClient(
            "kraken",
            symbols=["BTC/USD"],
            kinds=["trade", "book_ticker"],
            settings=settings["kraken"],
        )

        async def read_trades() -> None:
            async for trade in client.stream("trade"):
                print(trade.unified, trade.side, trade.quantity, "at", trade.price)

        async def read_quotes() -> None:
            policy = OverflowPolicy.CONFLATE
            async with client.stream("book_ticker", capacity=1, policy=policy) as quotes:
                async for quote in quotes:
                    print("bid", quote.bid_price, "ask", quote.ask_price)
                    await asyncio.sleep(0.3)  # slow on purpose: what it misses is replaced
                    print(f"{quotes.dropped} quotes replaced so far")

        async with client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.seconds or None), asyncio.TaskGroup() as group:
                    group.create_task(read_trades())
                    group.create_task(read_quotes())


run(main)
