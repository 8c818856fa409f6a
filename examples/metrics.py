"""How is my feed doing? Statistics as dictionaries, and for Prometheus over HTTP.

python examples/metrics.py [--live] [--seconds 3]
"""

import asyncio
import urllib.request

from _venues import Options, run, venues

from crossfeed import AggregatorConfig, MarketDataAggregator
from crossfeed.clients.figures import venue_figures
from crossfeed.servers.metrics import MetricsServer


async def main(options: Options) -> None:
    """Print all figures at the end."""
    async with venues(options, "binance", "coinbase") as settings:
        config = AggregatorConfig(exchanges=["binance", "coinbase"], symbols=["BTC/USD"])
        aggregator = MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("*", "trade", lambda _: None)
        async with aggregator:
            clients = aggregator.clients
            server = MetricsServer(lambda: venue_figures(clients.values()), port=0)
            await options.wait()

            stats = aggregator.get_stats()
            print(f"Messages received: {stats['messages_received']}")
            print(f"Updates published: {stats['updates_published']}")
            print(f"Exchanges active: {stats['exchanges_active']}")
            print(f"Symbols tracked: {stats['symbols']}")
            print(f"Subscribers: {stats['subscribers']}")

            for name, client in clients.items():
                stats = client.get_stats()
                print(f"\n{name}:")
                print(f"  State: {stats['state']}")
                print(f"  Messages: {stats['message_count']}")
                print(f"  Errors: {stats['error_count']}")
                print(f"  Reconnections: {stats['reconnect_attempts']}")
                print(f"  Uptime: {stats['uptime_seconds']:.0f}s")

            url = f"http://127.0.0.1:{server.port}/metrics"
            page = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
            print("", *(row for row in page.splitlines() if row.startswith("ws_mess")), sep="\n")
            await asyncio.to_thread(server.close)


run(main)
