"""The order book against a naive one."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crossfeed.simulator.book import Book, Order


class BookMachine(RuleBasedStateMachine):
    """Random adds and reductions on both."""

    def __init__(self):
        super().__init__()
        self.book = Book()
        self.naive = {}
        self.number = 0

    @rule(price=st.integers(1, 12), lots=st.integers(1, 9), is_bid=st.booleans())
    def add(self, price, lots, is_bid):
        # Bids below 100, asks above: a book never crosses, its users see to that.
        price = price if is_bid else price + 100
        self.number += 1
        total = self.book.add(Order(self.number, price, lots, is_bid=is_bid))
        self.naive[self.number] = [price, lots, is_bid]
        assert total == self._total(price)

    @precondition(lambda self: self.naive)
    @rule(data=st.data())
    def reduce(self, data):
        place = data.draw(st.integers(0, len(self.book.orders) - 1))
        order = self.book.orders[place]
        lots = data.draw(st.integers(1, order.lots))
        entry = self.naive[order.id]
        entry[1] -= lots
        if entry[1] == 0:
            del self.naive[order.id]
        assert self.book.reduce(order, lots) == self._total(entry[0])

    def _total(self, price):
        return sum(lots for one, lots, _ in self.naive.values() if one == price)

    @invariant()
    def same_levels(self):
        levels = {price: self._total(price) for price, _, _ in self.naive.values()}
        bids, asks = self.book.depth(1 << 30)
        assert bids == sorted(((p, q) for p, q in levels.items() if p < 100), reverse=True)
        assert asks == sorted((p, q) for p, q in levels.items() if p > 100)
        assert self.book.top() == (
            *(bids[0] if bids else (0, 0)),
            *(asks[0] if asks else (0, 0)),
        )

    @invariant()
    def same_orders_in_time_priority(self):
        assert {order.id for order in self.book.orders} == set(self.naive)
        assert all(self.book.orders[order.place] is order for order in self.book.orders)
        for side in (self.book.bids, self.book.asks):
            for level in side.values():
                assert list(level.queue) == sorted(level.queue)


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_depth_is_limited():
    book = Book()
    for number in range(1, 6):
        book.add(Order(number, number, 1, is_bid=True))
        book.add(Order(number + 10, number + 10, 1, is_bid=False))
    assert book.depth(2) == ([(5, 1), (4, 1)], [(11, 1), (12, 1)])
    assert book.depth(0) == ([], [])
