"""ccxt pro: its own unified trades, tickers and order books.

Its `watch_*` calls give the latest state, not each message, so a consumer that keeps awaiting them
sees several messages as one. Counted is therefore in its handlers, right after ccxt has made its
unified object of a message; one consumer awaits each `watch_*` beside it, as a program would.
"""

import asyncio
from typing import Any

import ccxt.pro
from harness import Counter, feed_of, main


class Binance(ccxt.pro.binance):
    """Tells the counter of each message it has handled."""

    counter: Counter

    def handle_trade(self, client: Any, message: Any) -> None:
        """Handle, then count."""
        super().handle_trade(client, message)
        self.counter.take(None)

    def handle_bids_asks(self, client: Any, message: Any) -> None:
        """Handle, then count."""
        super().handle_bids_asks(client, message)
        self.counter.take(None)

    def handle_order_book_message(self, client: Any, message: Any, orderbook: Any) -> Any:
        """Apply, read the top, then count."""
        result = super().handle_order_book_message(client, message, orderbook)
        self.counter.take_top(orderbook["bids"][0], orderbook["asks"][0])
        return result


async def start(order: dict[str, Any], counter: Counter) -> object:
    """Point the client at loopback and watch what the order says."""
    feed = feed_of(order)
    client = Binance({"options": {"fetchMarkets": {"types": ["spot"]}}, "enableRateLimit": False})
    client.counter = counter
    client.has["fetchCurrencies"] = False
    client.urls["api"]["public"] = f"http://127.0.0.1:{feed['port']}/api/v3"
    client.urls["api"]["ws"]["spot"] = f"ws://127.0.0.1:{feed['port']}/ws"
    await client.load_markets()
    symbols = [f"{name.removesuffix('USDT')}/USDT" for name in feed["symbols"]]
    watches = {
        "trade": client.watch_trades_for_symbols,
        "quote": client.watch_bids_asks,
        "depth": client.watch_order_book_for_symbols,
    }

    async def follow(kind: str) -> None:
        while True:
            await watches[kind](symbols)

    tasks = [asyncio.create_task(follow(kind)) for kind in feed["kinds"]]
    await asyncio.sleep(1.0)
    return client, tasks


main(start)
