"""A limit order book with price-time priority in integer ticks and lots: the L3 and L2 truth."""

from __future__ import annotations

from bisect import bisect_left, insort

__all__ = ["Book", "Level", "Order"]


class Order:
    """A resting order. `place` is its position in the book's list of all orders."""

    __slots__ = ("id", "is_bid", "lots", "place", "price")

    def __init__(self, order_id: int, price: int, lots: int, *, is_bid: bool) -> None:
        """Build an order that is not in a book yet."""
        self.id = order_id
        self.is_bid = is_bid
        self.price = price
        self.lots = lots
        self.place = -1


class Level:
    """The orders at one price, oldest first, and the sum of their lots."""

    __slots__ = ("queue", "total")

    def __init__(self) -> None:
        """Build an empty level."""
        self.queue: dict[int, Order] = {}
        self.total = 0


class Book:
    """Both sides of one market.

    `bid_prices` and `ask_prices` are sorted ascending: the best bid is last, the best ask first.
    Adding or removing a level costs O(levels) in a memmove, everything else O(1) or O(log levels).
    """

    __slots__ = ("ask_prices", "asks", "bid_prices", "bids", "orders")

    def __init__(self) -> None:
        """Build an empty book."""
        self.bids: dict[int, Level] = {}
        self.asks: dict[int, Level] = {}
        self.bid_prices: list[int] = []
        self.ask_prices: list[int] = []
        self.orders: list[Order] = []

    def add(self, order: Order) -> int:
        """Let an order rest behind the others at its price; return the level's new total."""
        levels, prices = (
            (self.bids, self.bid_prices) if order.is_bid else (self.asks, self.ask_prices)
        )
        level = levels.get(order.price)
        if level is None:
            level = levels[order.price] = Level()
            insort(prices, order.price)
        level.queue[order.id] = order
        level.total += order.lots
        order.place = len(self.orders)
        self.orders.append(order)
        return level.total

    def reduce(self, order: Order, lots: int) -> int:
        """Take `lots` off a resting order, removing it at 0; return the level's new total."""
        levels = self.bids if order.is_bid else self.asks
        level = levels[order.price]
        assert 0 < lots <= order.lots, "an order cannot lose more than it has"
        order.lots -= lots
        level.total -= lots
        if order.lots == 0:
            del level.queue[order.id]
            self._forget(order)
            if not level.queue:
                del levels[order.price]
                prices = self.bid_prices if order.is_bid else self.ask_prices
                prices.pop(bisect_left(prices, order.price))
        return level.total

    def _forget(self, order: Order) -> None:
        """Take an order out of the list of all orders by moving the last one into its place."""
        last = self.orders.pop()
        if last is not order:
            self.orders[order.place] = last
            last.place = order.place
        order.place = -1

    def top(self) -> tuple[int, int, int, int]:
        """Return (bid price, bid lots, ask price, ask lots); zeros for an empty side."""
        bid = bid_lots = ask = ask_lots = 0
        if self.bid_prices:
            bid = self.bid_prices[-1]
            bid_lots = self.bids[bid].total
        if self.ask_prices:
            ask = self.ask_prices[0]
            ask_lots = self.asks[ask].total
        return bid, bid_lots, ask, ask_lots

    def depth(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the `count` best (price, lots) of bids and of asks, best first."""
        bids, asks = self.bids, self.asks
        best_bids = self.bid_prices[: -count - 1 : -1] if count else []
        return (
            [(price, bids[price].total) for price in best_bids],
            [(price, asks[price].total) for price in self.ask_prices[:count]],
        )
