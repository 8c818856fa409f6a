"""One maintained book among the streams: its machines, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

from crossfeed.books.book import OrderBook
from crossfeed.books.sync import BookSync
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Want
from crossfeed.model.events import BookDelta, BookSnapshot, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Gate, Output
from crossfeed.model.sequencing import BookRule, SnapshotSource
from crossfeed.runtime.carriers import Carrier, DirectCarrier, StandbyCarrier, StreamGate
from crossfeed.runtime.native_books import ladder_type
from crossfeed.runtime.native_gates import machines

__all__ = ["BookFlow", "Told"]

ExactLevels = Sequence[tuple[Decimal, Decimal]]


def _exact_levels(event: BookDelta | BookSnapshot) -> tuple[ExactLevels, ExactLevels] | None:
    """Read a message's levels from its own frame; None where the frame was not kept."""
    if event.raw is None:
        return None
    exact = event.exact
    return exact.get("bids", ()), exact.get("asks", ())


class Told:
    """Gate of a book whose every change somebody wants to hear.

    Attributes:
        inner: Takes the events.
        flow: Whose book is told.
        name: Name of the connection.
    """

    def __init__(self, inner: Gate, flow: BookFlow, name: str) -> None:
        """Stand before `inner`."""
        self.inner = inner
        self.flow = flow
        self.name = name

    def admit(self, event: MarketData, out: Output) -> None:
        """Let the book take the event, then hand on the book itself (no copy, no levels)."""
        self.inner.admit(event, out)
        if self.flow.is_given_out(self.name):
            out.events.append(cast("Any", self.flow.book))


class BookFlow:
    """The book of one symbol.

    A book that chains on REST images is one for all lines; where the image comes in the stream,
    each line keeps a book of its own and one of them is given out.

    Attributes:
        want: What carries it.
        trust: The stream's trust.
        book: The public view.
        carrier: Its lines.
        kinds: What users asked of it ("book", "book_ticker").
        is_told: Whether somebody listens to the book itself.
        chains_on_images: Whether its images come by REST and join the updates by number.
    """

    def __init__(
        self, trust: StreamTrust, rule: BookRule, want: Want, instrument: Instrument
    ) -> None:
        """Start without a book."""
        self.want = want
        self.trust = trust
        self.kinds: set[str] = set()
        self.is_told = False
        self._rule = rule
        self._instrument = instrument
        self._wants_deltas = False
        self._allows_crossed = False
        self.carrier: Carrier
        self.chains_on_images = rule.snapshot_source is SnapshotSource.REST
        if self.chains_on_images:
            sync = self._make(trust)
            self.book = sync.book
            self.carrier = DirectCarrier(sync, trust)
        else:
            self.book = OrderBook(self._make(trust))
            self.carrier = StandbyCarrier(trust, self._make, self._switched)

    def _make(self, trust: StreamTrust) -> BookSync:
        sync = machines().book(
            trust,
            self._rule,
            price_scale=self._instrument.price_scale,
            size_scale=self._instrument.size_scale,
            exact_reader=_exact_levels,
            ladder_type=ladder_type(),
        )
        self._apply_to(sync)
        return sync

    def _switched(self, gate: StreamGate) -> None:
        if isinstance(gate, BookSync):
            self.book.switch(gate)

    def _apply_to(self, sync: BookSync) -> None:
        sync.wants_deltas = self._wants_deltas and "book" in self.kinds
        sync.wants_quotes = "book_ticker" in self.kinds
        sync.allows_crossed = self._allows_crossed

    def set_wanted(self, *, deltas: bool, books: bool) -> None:
        """Say whether anybody listens to the changes as events, and to the book itself."""
        self._wants_deltas, self.is_told = deltas, books
        for sync in self.syncs():
            self._apply_to(sync)

    def allow_crossed(self, *, is_allowed: bool) -> None:
        """Say whether the venue's status explains a crossed book now."""
        self._allows_crossed = is_allowed
        for sync in self.syncs():
            self._apply_to(sync)

    def syncs(self) -> Iterator[BookSync]:
        """Yield the machines of all lines."""
        for gate in self.carrier.gates():
            if isinstance(gate, BookSync):
                yield gate

    def is_given_out(self, name: str) -> bool:
        """Say whether that line's book is the one subscribers see."""
        return not isinstance(self.carrier, StandbyCarrier) or self.carrier.active == name

    def entry(self, name: str) -> Gate:
        """Return where the events of that connection go."""
        entry = self.carrier.entry(name)
        return Told(entry, self, name) if self.is_told else entry
