"""unicorn-binance-websocket-api on picows: raw dicts, or dicts in the words of its UnicornFy.

It has no order book (that is another package, unicorn-binance-local-depth-cache).
"""

import asyncio
import logging
import sys
from typing import Any

from harness import Counter, feed_of, main
from unicorn_binance_websocket_api import BinanceWebSocketApiManager

OUTPUT = "UnicornFy" if "--unicornfy" in sys.argv else "dict"
# UnicornFy 0.17.2 fails on a trade without order ids ("b", "a"); Binance no longer sends them.
CHANNELS = {"trade": "aggTrade" if OUTPUT == "UnicornFy" else "trade", "quote": "bookTicker"}


async def start(order: dict[str, Any], counter: Counter) -> object:
    """Open one stream with everything the order says; its thread calls us back."""
    feed = feed_of(order)
    logging.disable(logging.CRITICAL)

    def take(event: Any) -> None:
        if "result" not in event:
            counter.take(event)

    manager = BinanceWebSocketApiManager(
        exchange="binance.com",
        output_default=OUTPUT,
        warn_on_update=False,
        high_performance=True,
        websocket_base_uri=f"ws://127.0.0.1:{feed['port']}/",
        websocket_library="picows",
    )
    stream = manager.create_stream(
        channels=[CHANNELS[kind] for kind in feed["kinds"]],
        markets=[symbol.lower() for symbol in feed["symbols"]],
        process_stream_data=take,
    )
    await asyncio.to_thread(manager.wait_till_stream_has_started, stream)
    await asyncio.sleep(1.0)
    return manager


main(start)
