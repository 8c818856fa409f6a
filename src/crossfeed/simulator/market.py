"""A small matching market: orders in, trades and level changes out, every number exact.

One market is one (venue's book, symbol). It is advanced by actions at given times; it reads no
clock. After each action its public fields tell what happened: `fills`, `fill_groups`,
`bid_changes`, `ask_changes`, `has_top_moved`, and (if wanted) `feed`, the order-by-order events.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Literal

import msgspec

from crossfeed.simulator.bars import BarSeries
from crossfeed.simulator.book import Book, Order
from crossfeed.simulator.instruments import Instrument
from crossfeed.simulator.truth import BookHistory

__all__ = ["Aggregate", "FeedEvent", "Ids", "Market", "Trade"]

#: Trades kept for REST history and backfill, per market.
TRADES_KEPT = 50_000


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One fill. Prices in ticks, sizes in lots, time in ns since 1970 UTC."""

    id: int
    price: int
    lots: int
    time_ns: int
    #: True if the taker bought (the resting order was a sell).
    is_buy: bool
    maker_id: int
    taker_id: int
    #: Number of this match in the market's order-by-order feed.
    sequence: int
    #: True if the taker's order had a limit price.
    is_limit: bool


class Aggregate(msgspec.Struct, frozen=True, gc=False):
    """The fills of one taker order at one price, together."""

    id: int
    price: int
    lots: int
    first_id: int
    last_id: int
    time_ns: int
    is_buy: bool


class FeedEvent(msgspec.Struct, frozen=True, gc=False):
    """One order-by-order event, as a full feed tells it."""

    kind: Literal["received", "open", "done", "match", "change"]
    sequence: int
    time_ns: int
    order_id: int
    is_bid: bool
    #: Limit price in ticks, 0 for a market order.
    price: int
    #: received: size; open, done: remaining size; change: new size. In lots.
    lots: int
    #: change only: size before.
    lots_before: int = 0
    #: done only: the order left because it was filled, not cancelled.
    is_filled: bool = False
    trade: Trade | None = None


class Ids(msgspec.Struct):
    """The counters of one market. Each holds the number given out last."""

    trade: int
    #: Grows by one per changed price level.
    update: int
    #: Grows by one per order-by-order event.
    sequence: int
    order: int
    #: Fills of one order at one price, counted as one.
    aggregate: int = 0


class Market:
    """Matches orders and keeps the truth about what happened.

    Created by the world. Not thread-safe: one loop drives it. The book is never crossed.
    """

    def __init__(
        self, instrument: Instrument, ids: Ids, seed: str, start_ns: int, *, lots_mean: int
    ) -> None:
        """Build an empty market.

        Args:
            instrument: What is traded.
            ids: Counters to continue from.
            seed: Seeds the made-up past of the candles.
            start_ns: Time of the first action, ns since 1970 UTC.
            lots_mean: Typical size of a trade, lots.
        """
        self.instrument = instrument
        self.ids = ids
        self.book = Book()
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.start_price = max(1, round(instrument.level * instrument.ticks))
        self.bars = BarSeries(
            f"{seed}/past", start_ns, self.start_price, ids.trade + 1, max(1, lots_mean)
        )
        self.history = BookHistory(self.book)
        self.aggregates: deque[Aggregate] = deque(maxlen=TRADES_KEPT)
        self.trade_count = 0
        self.lots_traded = 0
        self.last_price = self.start_price
        self.last_trade: Trade | None = None
        self.now_ns = start_ns
        self.is_feed_wanted = False
        self.epoch = 0
        # What the last action did:
        self.fills: list[Trade] = []
        self.fill_groups: list[Aggregate] = []
        self.bid_changes: dict[int, int] = {}
        self.ask_changes: dict[int, int] = {}
        self.feed: list[FeedEvent] = []
        self.has_top_moved = False
        self._top = (0, 0, 0, 0)

    # ── actions ────────────────────────────────────────────────────────────

    def begin(self, now_ns: int) -> None:
        """Open an action at `now_ns`: forget what the last one did."""
        self.now_ns = now_ns
        if self.fills:
            self.fills = []
            self.fill_groups = []
        self.bid_changes = {}
        self.ask_changes = {}
        if self.is_feed_wanted:
            self.feed = []

    def end(self) -> None:
        """Close the action: number the changed levels, note the truth, look at the top."""
        if self.fills:
            self._aggregate()
        changed = len(self.bid_changes) + len(self.ask_changes)
        if changed:
            self.ids.update += changed
            self.history.note(self.now_ns, self.ids.update, self.bid_changes, self.ask_changes)
        top = self.book.top()
        self.has_top_moved = top != self._top
        self._top = top

    def _aggregate(self) -> None:
        """Merge neighbouring fills at one price."""
        first = self.fills[0]
        lots = 0
        last = first
        for trade in self.fills:
            if trade.price != first.price:
                self._add_aggregate(first, last, lots)
                first, lots = trade, 0
            lots += trade.lots
            last = trade
        self._add_aggregate(first, last, lots)

    def _add_aggregate(self, first: Trade, last: Trade, lots: int) -> None:
        self.ids.aggregate += 1
        group = Aggregate(
            self.ids.aggregate, first.price, lots, first.id, last.id, first.time_ns, first.is_buy
        )
        self.fill_groups.append(group)
        self.aggregates.append(group)

    @property
    def top(self) -> tuple[int, int, int, int]:
        """Best (bid price, bid lots, ask price, ask lots) after the last action; zeros if none."""
        return self._top

    def limit(self, price: int, lots: int, *, is_buy: bool) -> None:
        """Place a limit order: match what crosses, let the rest rest."""
        order_id = self._received(price, lots, is_buy=is_buy)
        left = self._match(order_id, lots, price, is_buy=is_buy)
        if left == 0:
            self._done(order_id, price, 0, is_bid=is_buy, is_filled=True)
            return
        order = Order(order_id, price, left, is_bid=is_buy)
        total = self.book.add(order)
        (self.bid_changes if is_buy else self.ask_changes)[price] = total
        self.ids.sequence += 1
        if self.is_feed_wanted:
            self.feed.append(
                FeedEvent("open", self.ids.sequence, self.now_ns, order_id, is_buy, price, left)
            )

    def take(self, lots: int, *, is_buy: bool) -> None:
        """Execute a market order; what the book cannot fill is cancelled."""
        order_id = self._received(0, lots, is_buy=is_buy)
        left = self._match(order_id, lots, 0, is_buy=is_buy)
        self._done(order_id, 0, left, is_bid=is_buy, is_filled=left == 0)

    def cancel(self, order: Order) -> None:
        """Take a resting order out of the book."""
        left = order.lots
        total = self.book.reduce(order, left)
        (self.bid_changes if order.is_bid else self.ask_changes)[order.price] = total
        self._done(order.id, order.price, left, is_bid=order.is_bid, is_filled=False)

    def amend(self, order: Order, lots: int) -> None:
        """Shrink a resting order to `lots` (> 0, less than it has), keeping its place."""
        before = order.lots
        total = self.book.reduce(order, before - lots)
        (self.bid_changes if order.is_bid else self.ask_changes)[order.price] = total
        self.ids.sequence += 1
        if self.is_feed_wanted:
            self.feed.append(
                FeedEvent(
                    "change",
                    self.ids.sequence,
                    self.now_ns,
                    order.id,
                    order.is_bid,
                    order.price,
                    lots,
                    before,
                )
            )

    # ── matching ───────────────────────────────────────────────────────────

    def _received(self, price: int, lots: int, *, is_buy: bool) -> int:
        """Number a new order and tell that it was received."""
        ids = self.ids
        ids.order += 1
        ids.sequence += 1
        if self.is_feed_wanted:
            self.feed.append(
                FeedEvent("received", ids.sequence, self.now_ns, ids.order, is_buy, price, lots)
            )
        return ids.order

    def _done(self, order_id: int, price: int, left: int, *, is_bid: bool, is_filled: bool) -> None:
        """Tell that an order is no longer on the book."""
        self.ids.sequence += 1
        if self.is_feed_wanted:
            self.feed.append(
                FeedEvent(
                    "done",
                    self.ids.sequence,
                    self.now_ns,
                    order_id,
                    is_bid,
                    price,
                    left,
                    is_filled=is_filled,
                )
            )

    def _match(self, taker_id: int, lots: int, limit: int, *, is_buy: bool) -> int:
        """Fill an incoming order against the other side; return the lots left over.

        Args:
            taker_id: The incoming order.
            lots: Its size.
            limit: Its worst price, 0 for none.
            is_buy: Its side.
        """
        book = self.book
        prices = book.ask_prices if is_buy else book.bid_prices
        levels = book.asks if is_buy else book.bids
        changes = self.ask_changes if is_buy else self.bid_changes
        while lots and prices:
            price = prices[0] if is_buy else prices[-1]
            if limit and (price > limit if is_buy else price < limit):
                break
            maker = next(iter(levels[price].queue.values()))
            filled = min(lots, maker.lots)
            lots -= filled
            changes[price] = book.reduce(maker, filled)
            self._trade(maker, taker_id, price, filled, is_buy=is_buy, is_limit=limit != 0)
        return lots

    def _trade(
        self, maker: Order, taker_id: int, price: int, lots: int, *, is_buy: bool, is_limit: bool
    ) -> None:
        """Book one fill."""
        ids = self.ids
        ids.trade += 1
        ids.sequence += 1
        trade = Trade(
            ids.trade,
            price,
            lots,
            self.now_ns,
            is_buy,
            maker.id,
            taker_id,
            ids.sequence,
            is_limit,
        )
        self.fills.append(trade)
        self.trades.append(trade)
        self.trade_count += 1
        self.lots_traded += lots
        self.last_price = price
        self.last_trade = trade
        self.bars.add(self.now_ns, ids.trade, price, lots, is_buy=is_buy)
        if self.is_feed_wanted:
            self.feed.append(
                FeedEvent(
                    "match",
                    ids.sequence,
                    self.now_ns,
                    maker.id,
                    maker.is_bid,
                    price,
                    lots,
                    trade=trade,
                )
            )
        if maker.lots == 0:
            self._done(maker.id, price, 0, is_bid=maker.is_bid, is_filled=True)

    # ── reading and faults ─────────────────────────────────────────────────

    def trades_from(self, first_id: int, limit: int) -> list[Trade]:
        """Return up to `limit` kept trades with id >= `first_id`, ascending."""
        trades = self.trades
        if not trades or limit <= 0:
            return []
        at = max(0, first_id - trades[0].id)
        return list(islice(trades, at, at + limit))

    def trades_between(self, first_id: int, last_id: int) -> list[Trade]:
        """Return the kept trades with ids in `first_id..last_id`, ascending."""
        oldest = self.trades[0].id if self.trades else 0
        first_id = max(first_id, oldest)
        return self.trades_from(first_id, last_id - first_id + 1)

    def restart_ids(self, after: int = 0) -> None:
        """Begin all numbering again after `after`, as a venue does after rebuilding its engine."""
        self.epoch += 1
        self.ids.trade = after
        self.ids.update = after
        self.ids.sequence = after
        self.ids.aggregate = after
        self.aggregates.clear()
        self.trades.clear()
