"""What did I miss? Every hole in a stream is told, fetched again, and written down.

Offline the simulated venue loses three trades, twice.

    python examples/gaps.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import Gap, Mark, Trade, VenueClient
from crossfeed.simulator import FaultRule

HOLES = FaultRule(kind="drop", channels=("trades",), at=(10, 30), run=3)


async def main(options: Options) -> None:
    """Print holes as they are found and closed, and the late trades that close them."""
    async with venues(options, "kraken", faults=(HOLES,)) as settings:
        client = VenueClient(
            "kraken", symbols=["BTC/USD"], kinds=["trade"], settings=settings["kraken"]
        )

        @client.on_gap
        def show_gap(gap: Gap) -> None:
            record = gap.record
            print(f"{record.stream} {record.first}-{record.last} {record.cause}: {record.state}")

        @client.on("trade")
        def show_late_ones(trade: Trade) -> None:
            if trade.marks & Mark.BACKFILLED:
                print(f"late: {trade.trade_id} {trade.quantity} at {trade.price}")

        async with client:
            await options.wait()
        print(client.gaps.totals())


run(main)
