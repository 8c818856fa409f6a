"""One order-by-order book among the streams: its machine, and its way to its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crossfeed.books.l3 import L3Sync
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.events import MarketData, OrderEvent
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.runtime.carriers import DirectCarrier

__all__ = ["L3_KIND", "OrderFlow"]

L3_KIND: Final = "book_l3"
"""Name of the stream that the book's trust and gaps belong to, beside that of `full`."""


class OrderFlow:
    """The order-by-order book of one symbol, built from the events of its `full` stream.

    It takes the same events as the gate of that stream and passes none on, so subscribers of `full`
    get each once. A hole is told by both: LOST in `full` (no order event can be fetched again),
    closed as SNAPSHOT in the book when it stands again.

    Attributes:
        trust: Trust of the book.
        sync: The book's machine.
        book: The public view.
        carrier: Its lines, merged by number.
    """

    def __init__(self, trust: StreamTrust, instrument: Instrument) -> None:
        """Start without a book."""
        self.trust = trust
        self.sync = L3Sync(
            trust, price_scale=instrument.price_scale, size_scale=instrument.size_scale
        )
        self.book = self.sync.book
        self.carrier = DirectCarrier(self.sync, trust)

    def on_snapshot(
        self, events: Sequence[MarketData], epoch: int, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Take the events of a REST image: one `open` per order, all with the image's number.

        An image without any order has no number to join the stream by: it is asked for again.
        """
        orders = [event for event in events if isinstance(event, OrderEvent)]
        if orders:
            self.sync.on_snapshot(orders, orders[0].sequence, epoch, now_ns, mono_ns, out)
        else:
            self.sync.on_snapshot_failed(epoch, mono_ns)
