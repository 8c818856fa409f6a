"""Where do my API keys go? Coinbase's order-by-order feed, which it gives to key holders only.

Keys are never shown: not in a repr, an error, a log line or a statistic.

    COINBASE_KEY=... COINBASE_SECRET=... COINBASE_PASSPHRASE=... python examples/api_keys.py --live
"""

import os
from collections import Counter

from _venues import Options, run, venues

from crossfeed import CoinbaseChannel, CoinbaseConfig, CoinbaseWebSocket, OrderEvent
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET


async def main(options: Options) -> None:
    """Count the orders' events."""
    async with venues(options, "coinbase") as settings:
        config = CoinbaseConfig(
            product_ids=["BTC-USD"],
            channels=[CoinbaseChannel.FULL],
            # Offline the keys of the simulator, which open nothing anywhere else.
            api_key=os.getenv("COINBASE_KEY", "" if options.is_live else TEST_KEY),
            api_secret=os.getenv("COINBASE_SECRET", "" if options.is_live else TEST_SECRET),
            api_passphrase=os.getenv("COINBASE_PASSPHRASE", TEST_PASSPHRASE),
            settings=settings["coinbase"],
        )
        client = CoinbaseWebSocket(config)
        kinds: Counter[str] = Counter()

        @client.on_full
        def count(event: OrderEvent) -> None:
            kinds[event.kind] += 1

        print(config)
        async with client:
            await options.wait()
        print(dict(kinds))


run(main)
