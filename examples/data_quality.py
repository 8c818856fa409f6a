"""Can I believe this number? Three ways to ask: the value, its history, and its stream.

python examples/data_quality.py [--live] [--seconds 3]
"""

from collections import Counter

from _venues import Options, run, venues

from crossfeed import FeedStatus, MarketData, Trust, VenueClient, validate_data, validate_price
from crossfeed.simulator import FaultRule

HOLES = FaultRule(kind="drop", channels=("trades",), every=40)


async def main(options: Options) -> None:
    """Count what passes and what does not; offline some trades are lost on the way."""
    verdicts: Counter[str] = Counter()
    async with venues(options, "binance", faults=(HOLES,)) as settings:
        client = VenueClient(
            "binance", symbols=["BTC/USD"], kinds=["trade"], settings=settings["binance"]
        )

        @client.on("trade")
        def check(data: MarketData) -> None:
            # The value itself: finite, positive, complete, not from the future.
            if not validate_data(data):
                verdicts["invalid"] += 1
            # Against its recent history: not half, not double.
            elif not validate_price(data.data["price"], data.symbol):
                verdicts["suspicious"] += 1
            # What is known of its stream: a hole before it makes it less than sound.
            elif data.trust is not Trust.SOUND:
                verdicts[data.trust.name.lower()] += 1
            else:
                verdicts["believed"] += 1

        @client.on_feed_status
        def tell(status: FeedStatus) -> None:
            print(f"{status.channel}: {status.previous.name} -> {status.current.name}", end=" ")
            print(f"({status.cause})")

        async with client:
            await options.wait()
        print(dict(verdicts), client.gaps)


run(main)
