"""python-binance: raw dicts from its multiplex socket; its DepthCache where a book is asked for."""

import asyncio
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from binance.ws.depthcache import DepthCache
from harness import Counter, feed_of, main

WORDS = {"trade": "trade", "quote": "bookTicker", "depth": "depth@100ms"}
LIMIT = 1000


async def start(order: dict[str, Any], counter: Counter) -> object:
    """Open the multiplex socket of the order's streams; books as its DepthCacheManager has them.

    Its DepthCacheManager reads one symbol from a socket of its own; here the same DepthCache is
    fed from the multiplex socket, so that one connection carries everything. The top is read as
    its documentation says: `get_bids()[0]`, which sorts the whole side.
    """
    feed = feed_of(order)
    client = AsyncClient()
    client.API_URL = f"http://127.0.0.1:{feed['port']}/api"
    manager = BinanceSocketManager(client, max_queue_size=1 << 22)
    manager.STREAM_URL = f"ws://127.0.0.1:{feed['port']}/"
    names = [f"{s.lower()}@{WORDS[kind]}" for s in feed["symbols"] for kind in feed["kinds"]]
    socket = manager.multiplex_socket(names)
    books: dict[str, DepthCache] = {}
    if "depth" in feed["kinds"]:
        for symbol in feed["symbols"]:
            image = await client.get_order_book(symbol=symbol, limit=LIMIT)
            book = books[symbol] = DepthCache(symbol)
            for bid in image["bids"]:
                book.add_bid(bid)
            for ask in image["asks"]:
                book.add_ask(ask)
    opened = asyncio.Event()

    async def read() -> None:
        async with socket as stream:
            opened.set()
            while True:
                message = (await stream.recv())["data"]
                if message.get("e") != "depthUpdate":
                    counter.take(message)
                    continue
                book = books[message["s"]]
                for bid in message["b"]:
                    book.add_bid(bid)
                for ask in message["a"]:
                    book.add_ask(ask)
                counter.take_top(book.get_bids()[0], book.get_asks()[0])

    task = asyncio.create_task(read())
    await asyncio.wait_for(opened.wait(), 20)
    return task


main(start)
