"""What would it cost to buy one bitcoin now? Keeps an order book and walks through it.

python examples/order_book.py [--live] [--seconds 3]
"""

import asyncio
import contextlib

from _venues import Options, run, venues

from crossfeed import Side, Trust, VenueClient


async def main(options: Options) -> None:
    """Follow the book; speak of it only while it is proven."""
    async with venues(options, "binance") as settings:
        client = VenueClient(
            "binance", symbols=["BTC/USD"], kinds=["book"], settings=settings["binance"]
        )
        async with client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(options.seconds or None):
                    async for book in client.books("BTC/USD"):
                        if book.trust is not Trust.SOUND:
                            print(f"not yet: {book.trust.name} ({book.cause})")
                            continue
                        walk = book.walk(Side.BUY, 1.0)
                        bids, asks = book.depth(3)
                        print(f"bids {bids} asks {asks}")
                        price = walk.average_price
                        if price is not None:
                            print(
                                f"1 BTC: {price:.2f} on average; imbalance {book.imbalance(5):+.2f}"
                            )
                        await asyncio.sleep(0.3)  # conflated: the next one is the newest again


run(main)
