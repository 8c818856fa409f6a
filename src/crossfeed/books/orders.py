"""The resting orders of one book, and the levels they add up to."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.books.ladder import Ladder
from crossfeed.model.events import OrderEvent
from crossfeed.model.numbers import decimals_of, exact_units, from_units, to_units
from crossfeed.model.trust import Side

__all__ = ["OrderPool", "RestingOrder"]


class RestingOrder(Struct, frozen=True, gc=False):
    """One order in the book.

    Attributes:
        order_id: The venue's id.
        side: Its side.
        price: Its price.
        units: What is left of it, as an integer count of the ladder's size units; these are finer
            than the instrument's lot once an order was.
        ts_event_ns: When it came into the book, venue's clock.
    """

    order_id: str
    side: Side
    price: float
    units: int
    ts_event_ns: int


class OrderPool:
    """All resting orders of one book by id; keeps the ladder's levels equal to their sums.

    Sums are integers of the size scale: adding and taking away thousands of orders leaves no dust.

    Attributes:
        unknown: Events about orders that do not rest here (normal; counted).
    """

    def __init__(self, ladder: Ladder) -> None:
        """Keep the levels of `ladder`."""
        self._ladder = ladder
        self._orders: dict[str, RestingOrder] = {}
        self._queues: dict[tuple[Side, float], dict[str, None]] = {}
        self._sums: dict[tuple[Side, float], int] = {}
        self.unknown = 0

    def __len__(self) -> int:
        """Return the number of resting orders."""
        return len(self._orders)

    def clear(self) -> None:
        """Forget all orders and levels."""
        self._orders.clear()
        self._queues.clear()
        self._sums.clear()
        self._ladder.clear()

    def get(self, order_id: str) -> RestingOrder | None:
        """Return an order, None if it does not rest."""
        return self._orders.get(order_id)

    def queue(self, side: Side, price: float) -> list[RestingOrder]:
        """Return the orders at a price in their order of arrival."""
        return [self._orders[order_id] for order_id in self._queues.get((side, price), ())]

    def apply(self, event: OrderEvent) -> bool:
        """Apply one event; return whether the book changed.

        Raises:
            ValueError: A number that no book can hold; the event was not applied.
        """
        if event.kind == "open":
            return self._open(event)
        if event.kind not in {"match", "change", "done"}:
            return False
        order = self._orders.get(event.order_id)
        if order is None:
            self.unknown += 1
            return False
        if event.kind == "done":
            self._take_out(order)
            return True
        units = self._units(event)
        order = self._orders[event.order_id]  # its units may have become finer ones
        if event.kind == "match":
            self._resize(order, max(0, order.units - units))
        elif event.price is not None and event.price != order.price:
            self._take_out(order)  # a new price: the order goes to the end of another queue
            self._put_in(order, event.price, units, event.ts_event_ns)
        else:
            self._resize(order, units)
        return True

    def _units(self, event: OrderEvent) -> int:
        size, scale = event.size or 0.0, self._ladder.size_scale
        try:
            return to_units(size, scale)
        except ValueError:
            # Orders may rest from before the venue made its size step coarser.
            self._raise_scale(decimals_of(repr(size)))
            return to_units(size, self._ladder.size_scale)

    def _raise_scale(self, scale: int) -> None:
        """Count everything in finer units from now on. Cost O(orders)."""
        factor = 10 ** (scale - self._ladder.size_scale)
        for key, order in self._orders.items():
            self._orders[key] = replace(order, units=order.units * factor)
        for level in self._sums:
            self._sums[level] *= factor
        self._ladder.set_scales(self._ladder.price_scale, scale)

    def _open(self, event: OrderEvent) -> bool:
        units = self._units(event)
        if event.price is None or not units:
            return False
        known = self._orders.get(event.order_id)
        if known is not None:
            self._take_out(known)
        order = RestingOrder(event.order_id, event.side, event.price, units, event.ts_event_ns)
        self._put_in(order, event.price, units, event.ts_event_ns)
        return True

    def _put_in(self, order: RestingOrder, price: float, units: int, ts_event_ns: int) -> None:
        order = RestingOrder(order.order_id, order.side, price, units, ts_event_ns)
        self._orders[order.order_id] = order
        self._queues.setdefault((order.side, price), {})[order.order_id] = None
        self._add(order.side, price, units)

    def _take_out(self, order: RestingOrder) -> None:
        del self._orders[order.order_id]
        key = (order.side, order.price)
        queue = self._queues[key]
        del queue[order.order_id]
        if not queue:
            del self._queues[key]
        self._add(order.side, order.price, -order.units)

    def _resize(self, order: RestingOrder, units: int) -> None:
        if not units:
            self._take_out(order)
            return
        self._orders[order.order_id] = RestingOrder(
            order.order_id, order.side, order.price, units, order.ts_event_ns
        )
        self._add(order.side, order.price, units - order.units)

    def _add(self, side: Side, price: float, units: int) -> None:
        """Change the sum of one level and set it in the ladder."""
        key = (side, price)
        total = self._sums.pop(key, 0) + units
        assert total >= 0, "a level cannot hold less than nothing"
        if total:
            self._sums[key] = total
        scale = self._ladder.size_scale
        level = [(price, from_units(total, scale))]
        is_bid = side is Side.BUY
        if not self._ladder.apply(level if is_bid else [], [] if is_bid else level):
            # Beyond what a float holds exactly: as decimals.
            exact = [(Decimal(repr(price)), exact_units(total, scale))]
            self._ladder.apply_exact(exact if is_bid else [], [] if is_bid else exact)
