"""One maintained book among the streams: its machine, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from crossfeed.books.sync import BookSync
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Want
from crossfeed.model.events import BookDelta, BookSnapshot, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Gate, Output
from crossfeed.model.sequencing import BookRule

__all__ = ["BookFlow", "BookTold"]

ExactLevels = Sequence[tuple[Decimal, Decimal]]


def _exact_levels(event: BookDelta | BookSnapshot) -> tuple[ExactLevels, ExactLevels] | None:
    """Read a message's levels from its own frame; None where the frame was not kept."""
    if event.raw is None:
        return None
    exact = event.exact
    return exact.get("bids", ()), exact.get("asks", ())


class BookTold:
    """Gate of a book whose every change somebody wants to hear.

    Hands the book on after each one.
    """

    def __init__(self, sync: BookSync) -> None:
        """Wrap the book's own gate."""
        self.sync = sync

    def admit(self, event: MarketData, out: Output) -> None:
        """Let the book take the event, then hand on the book itself (no copy, no levels)."""
        self.sync.admit(event, out)
        out.events.append(cast("Any", self.sync.book))


class BookFlow:
    """The book of one symbol.

    Attributes:
        want: What carries it.
        trust: The stream's trust.
        sync: The machine that keeps it.
        kinds: What users asked of it ("book", "book_ticker").
    """

    def __init__(
        self, trust: StreamTrust, rule: BookRule, want: Want, instrument: Instrument
    ) -> None:
        """Start without a book."""
        self.want = want
        self.trust = trust
        self.kinds: set[str] = set()
        self.sync = BookSync(
            trust,
            rule,
            price_scale=instrument.price_scale,
            size_scale=instrument.size_scale,
            exact_reader=_exact_levels,
        )
        self._told = BookTold(self.sync)

    def gate(self, *, is_told: bool) -> Gate:
        """Return the gate for its events; `is_told` where somebody listens to the book itself."""
        return self._told if is_told else self.sync
