"""nautilus_trader: a live node with its Binance adapter; an actor gets its ticks and books."""

import asyncio
from typing import Any

from harness import Counter, feed_of, main
from nautilus_trader.adapters.binance.common.enums import BinanceAccountType
from nautilus_trader.adapters.binance.config import (
    BinanceDataClientConfig,
    BinanceInstrumentProviderConfig,
)
from nautilus_trader.adapters.binance.factories import BinanceLiveDataClientFactory
from nautilus_trader.common.actor import Actor
from nautilus_trader.config import LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import InstrumentId


class Watcher(Actor):
    """Subscribes what the order says and counts."""

    def __init__(self, feed: dict[str, Any], counter: Counter) -> None:
        """Remember both."""
        super().__init__()
        self.feed, self.counter = feed, counter
        self.ids = [InstrumentId.from_str(f"{name}.BINANCE") for name in feed["symbols"]]
        self.images: set[InstrumentId] = set()
        self.books: dict[InstrumentId, OrderBook] = {}

    def on_start(self) -> None:
        """Subscribe."""
        for each in self.ids:
            if "trade" in self.feed["kinds"]:
                self.subscribe_trade_ticks(each)
            if "quote" in self.feed["kinds"]:
                self.subscribe_quote_ticks(each)
            if "depth" in self.feed["kinds"]:
                self.subscribe_order_book_deltas(each, BookType.L2_MBP)

    def on_trade_tick(self, tick: Any) -> None:
        """Count a trade."""
        self.counter.take(tick)

    def on_quote_tick(self, tick: Any) -> None:
        """Count a quote."""
        self.counter.take(tick)

    def on_order_book_deltas(self, deltas: Any) -> None:
        """Read the top of the book that the node has applied them to."""
        name = deltas.instrument_id
        if name not in self.images:
            self.images.add(name)
            return
        book = self.books.get(name) or self.books.setdefault(name, self.cache.order_book(name))
        self.counter.take_top(book.best_bid_price(), book.best_ask_price())


async def start(order: dict[str, Any], counter: Counter) -> object:
    """Run a node in this loop, its endpoints at loopback."""
    feed = feed_of(order)
    ids = frozenset(InstrumentId.from_str(f"{name}.BINANCE") for name in feed["symbols"])
    node = TradingNode(
        config=TradingNodeConfig(
            trader_id="BENCH-001",
            logging=LoggingConfig(log_level="ERROR"),
            data_clients={
                "BINANCE": BinanceDataClientConfig(
                    account_type=BinanceAccountType.SPOT,
                    base_url_http=f"http://127.0.0.1:{feed['port']}",
                    base_url_ws=f"ws://127.0.0.1:{feed['port']}",
                    instrument_provider=BinanceInstrumentProviderConfig(load_ids=ids),
                    update_instruments_interval_mins=None,
                )
            },
        ),
        loop=asyncio.get_running_loop(),
    )
    node.trader.add_actor(Watcher(feed, counter))
    node.add_data_client_factory("BINANCE", BinanceLiveDataClientFactory)
    node.build()
    task = asyncio.create_task(node.run_async())
    await asyncio.sleep(3.0)
    if task.done():
        task.result()
    return node, task


main(start)
