"""python-binance: raw dicts from its multiplex socket, handed to a callback. Ticks only."""

import asyncio
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from harness import Counter, serve

WORDS = {"trade": "trade", "quote": "bookTicker"}


async def start(order: dict[str, Any], counter: Counter) -> asyncio.Task[None]:
    """Open the multiplex socket of the order's streams."""
    (feed,) = order["feeds"]
    manager = BinanceSocketManager(AsyncClient(), max_queue_size=1 << 22)
    manager.STREAM_URL = f"ws://127.0.0.1:{feed['port']}/"
    names = [f"{s.lower()}@{WORDS[kind]}" for s in feed["symbols"] for kind in feed["kinds"]]
    socket = manager.multiplex_socket(names)
    opened = asyncio.Event()

    async def read() -> None:
        async with socket as stream:
            opened.set()
            while True:
                counter.take(await stream.recv())

    task = asyncio.create_task(read())
    await asyncio.wait_for(opened.wait(), 20)
    return task


asyncio.run(serve(start))
