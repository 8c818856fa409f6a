"""cryptofeed: its own Trade and Ticker objects, and its OrderBook with updates applied."""

import asyncio
from typing import Any

import cryptofeed.feed
from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint, WSAsyncConn
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import Binance
from harness import Counter, feed_of, main


class PlainConn(WSAsyncConn):
    """Its connection takes only wss addresses; opened is the plain one, as by all others."""

    async def _open(self) -> None:
        self.address = self.address.replace("wss:", "ws:", 1)
        await super()._open()


CHANNELS = {"trade": TRADES, "quote": TICKER, "depth": L2_BOOK}


async def start(order: dict[str, Any], counter: Counter) -> object:
    """Point its Binance feed at loopback and run its handler in this loop."""
    feed = feed_of(order)
    port = feed["port"]
    cryptofeed.feed.WSAsyncConn = PlainConn
    Binance.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{port}")]
    Binance.rest_endpoints = [
        RestEndpoint(
            f"http://127.0.0.1:{port}",
            routes=Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}"),
        )
    ]

    async def take(event: object, _received_s: float) -> None:
        counter.take(event)

    images: set[str] = set()

    async def take_book(book: Any, _received_s: float) -> None:
        bid, ask = book.book.bids.index(0), book.book.asks.index(0)
        if book.symbol in images:
            counter.take_top(bid, ask)
        images.add(book.symbol)

    callbacks = {CHANNELS[kind]: take_book if kind == "depth" else take for kind in feed["kinds"]}
    handler = FeedHandler(config={"log": {"disabled": True}})
    # Its table of symbols is loaded with a blocking request: before the loop has anything to do.
    symbols = [f"{name.removesuffix('USDT')}-USDT" for name in feed["symbols"]]
    handler.add_feed(Binance(symbols=symbols, channels=list(callbacks), callbacks=callbacks))
    task = asyncio.create_task(handler.run_async(install_signal_handlers=False))
    await asyncio.sleep(1.0)
    if task.done():
        task.result()
    return handler, task


main(start)
