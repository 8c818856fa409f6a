"""What if the connection is lost? Every error comes to one place; the feed mends itself.

Offline the simulated venue cuts the connection twice, so that there is something to see.

    python examples/error_handling.py [--live] [--seconds 3]
"""

import asyncio
import logging

from _venues import Options, run, venues

from crossfeed import ConnectionLostError, VenueClient
from crossfeed.simulator import FaultRule

logger = logging.getLogger("example")


def alert_ops(text: str) -> None:
    """Stand in for your alerting."""
    print(f"ALERT: {text}")


async def main(options: Options) -> None:
    """Report what goes wrong and what it cost."""
    cuts = FaultRule(kind="cut", mode="reset", at_s=(0.3, 1.5))
    async with venues(options, "binance", faults=(cuts,)) as settings:
        client = VenueClient(
            "binance", symbols=["BTC/USD"], kinds=["trade"], settings=settings["binance"]
        )

        @client.on_error
        async def handle_error(error: Exception) -> None:
            logger.warning("WebSocket error: %s", error)

            if isinstance(error, ConnectionLostError):
                # Connection closed, will auto-reconnect
                alert_ops("WebSocket connection lost, reconnecting...")
            elif isinstance(error, asyncio.TimeoutError):
                # Timeout, check network
                alert_ops("WebSocket timeout, check network connectivity")

        async with client:
            await options.wait()
            stats = client.get_stats()
        print(f"{stats['reconnect_attempts']} reconnections, {stats['gaps']} gaps,")
        print(f"{stats['events_missing']} trades missed, {stats['events_repaired']} fetched again")


run(main)
