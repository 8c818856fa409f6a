"""Random but repeatable order flow around the common reference price."""

from __future__ import annotations

import math
from random import Random

from crossfeed.simulator.bars import MINUTE_NS
from crossfeed.simulator.market import Market
from crossfeed.simulator.reference import ReferencePrice

__all__ = ["OrderFlow", "lots_mean_of"]

#: Typical value of an order, quote units.
ORDER_VALUE = 900.0
#: Half the spread a new quote keeps from the fair price, and how far quotes spread, both relative.
HALF_SPREAD = 0.1e-4
QUOTE_SPREAD = 6e-4
#: A share of new quotes is meant for the top of the book and keeps much closer.
_TOP_SHARE = 0.5
_TOP_SPREAD = 0.3e-4
#: A share of new quotes sits at round prices, so that levels hold several orders.
_ROUND_SHARE = 0.35
_ROUND_TICKS = 10
_AMEND_SHARE = 0.04
_MS = 1_000_000
_HALF = 0.5
_REFILLS = 2
_LARGE_TAKER_SHARE = 0.08


def lots_mean_of(level: float, lots_per_unit: int) -> int:
    """Return the typical order size in lots for a price level in quote units."""
    return max(2, round(ORDER_VALUE / level * lots_per_unit))


class OrderFlow:
    """Decides what happens next in one market. One call of `act` is one action.

    An action is one of: a market order, a limit order (which matches if the fair price has run
    over the book), a cancellation, an amendment. Random numbers come from the flow's own seeded
    generator only.
    """

    def __init__(
        self,
        market: Market,
        reference: ReferencePrice,
        seed: str,
        *,
        basis: float,
        taker_share: float,
        orders_wanted: int,
        lots_mean: int,
    ) -> None:
        """Build the flow of one market.

        Args:
            market: Where orders go.
            reference: The fair price in quote units.
            seed: Seeds every decision.
            basis: This venue's price relative to the reference (1.0 = the same).
            taker_share: Share of actions that are market orders.
            orders_wanted: Resting orders the flow steers towards, both sides together.
            lots_mean: Typical order size, lots.
        """
        self.market = market
        self._reference = reference
        self._random = Random(seed).random
        self._scale = basis * market.instrument.ticks
        self._taker_share = taker_share
        self._orders_wanted = orders_wanted
        self._lots_mean = lots_mean

    def open_book(self, now_ns: int, trades: int = 60) -> None:
        """Fill the empty book and make so many trades, so that there is a market to show."""
        market = self.market
        while len(market.book.orders) < self._orders_wanted:
            market.begin(now_ns)
            self._place(self._fair(now_ns), is_buy=len(market.book.orders) % 2 == 0)
            market.end()
        minute_ns = now_ns // MINUTE_NS * MINUTE_NS
        for number in range(trades):
            market.begin(max(minute_ns, now_ns - (trades - number) * _MS))
            market.take(self._lots(), is_buy=self._coin())
            market.end()
            while len(market.book.orders) < self._orders_wanted:
                market.begin(market.now_ns)
                self._place(self._fair(now_ns), is_buy=self._coin())
                market.end()

    def act(self, now_ns: int) -> None:
        """Do one action at `now_ns`; the market's fields tell what came of it."""
        market = self.market
        market.begin(now_ns)
        fair = self._fair(now_ns)
        roll = self._random()
        orders = market.book.orders
        if roll < self._taker_share:
            self._take(fair)
            # What was taken is quoted anew, or a market of takers only would run dry.
            for _ in range(_REFILLS):
                if len(orders) < self._orders_wanted:
                    book = market.book
                    self._place(fair, is_buy=len(book.bid_prices) < len(book.ask_prices))
        else:
            surplus = len(orders) / self._orders_wanted - 1.0
            if self._random() < _HALF + 2.0 * surplus:
                order = orders[int(self._random() * len(orders))]
                if order.lots > 1 and self._random() < _AMEND_SHARE:
                    market.amend(order, 1 + int(self._random() * (order.lots - 1)))
                else:
                    market.cancel(order)
            else:
                self._place(fair, is_buy=self._coin())
        market.end()

    def trade_once(self, now_ns: int) -> None:
        """Make sure that a trade happens now: used to close every stream visibly at the end."""
        market = self.market
        market.begin(now_ns)
        if not market.book.ask_prices:
            self._place(self._fair(now_ns), is_buy=False)
        market.take(1, is_buy=True)
        market.end()

    def _coin(self) -> bool:
        """Toss a coin."""
        return self._random() < _HALF

    def _fair(self, now_ns: int) -> float:
        """Return this venue's fair price in ticks."""
        return self._reference.at(now_ns) * self._scale

    def _lots(self) -> int:
        """Draw an order size: exponential around the mean, at least one lot."""
        return 1 + int(-math.log(1.0 - self._random()) * self._lots_mean)

    def _take(self, fair: float) -> None:
        """Send a market order, towards the fair price if the book has left it."""
        bid, _, ask, _ = self.market.top
        if ask and fair > ask:
            is_buy = True
        elif bid and fair < bid:
            is_buy = False
        else:
            is_buy = self._coin()
        lots = self._lots()
        if self._random() < _LARGE_TAKER_SHARE:
            lots *= 4
        self.market.take(lots, is_buy=is_buy)

    def _place(self, fair: float, *, is_buy: bool) -> None:
        """Quote at a random distance from the fair price."""
        spread = _TOP_SPREAD if self._random() < _TOP_SHARE else QUOTE_SPREAD
        away = fair * (HALF_SPREAD - spread * math.log(1.0 - self._random()))
        price = math.floor(fair - away) if is_buy else math.ceil(fair + away)
        if self._random() < _ROUND_SHARE:
            down = price - price % _ROUND_TICKS
            price = down if is_buy else down + _ROUND_TICKS
        self.market.limit(max(1, price), 2 * self._lots(), is_buy=is_buy)
