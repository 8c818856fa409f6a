"""How do I keep within the exchange's limits? A decorator for what you call yourself.

A client's subscriptions and requests keep the venue's limits by themselves; this is for your own
calls.

    python examples/rate_limiting.py [--live] [--seconds 3]
"""

from _venues import Options, run, venues

from crossfeed import BinanceConfig, BinanceWebSocket, rate_limit
from crossfeed.runtime.clock import SystemClock

STREAMS = ["trade"]


async def main(options: Options) -> None:
    """Add three symbols, two calls each second."""
    async with venues(options, "binance") as settings:
        client = BinanceWebSocket(
            BinanceConfig(symbols=["BTCUSDT"], streams=STREAMS, settings=settings["binance"])
        )

        @rate_limit(max_calls=2, time_window=1.0)
        async def subscribe_symbols(symbols: list[str]) -> None:
            await client.subscribe_symbols(symbols, STREAMS)

        clock = SystemClock()
        async with client:
            began_ns = clock.monotonic_ns()
            for symbol in ("ETHUSDT", "SOLUSDT", "BTCUSDT"):
                await subscribe_symbols([symbol])
                after_s = (clock.monotonic_ns() - began_ns) / 1e9
                print(f"{symbol} subscribed after {after_s:.2f} s")


run(main)
