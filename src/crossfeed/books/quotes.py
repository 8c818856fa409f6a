"""Quotes from the top of a book."""

from __future__ import annotations

from typing import Final

from crossfeed.books.ports import TrustKeeper
from crossfeed.model.events import BookDelta, BookSnapshot, Quote
from crossfeed.model.trust import Mark

__all__ = ["TopFigures", "quote_of"]

TopFigures = tuple[float, float, float, float]
"""Bid price, bid size, ask price, ask size."""
_MARK: Final = Mark.FROM_BOOK


def quote_of(
    top: TopFigures, event: BookDelta | BookSnapshot, trust: TrustKeeper, sequence: int
) -> Quote:
    """Make the quote of a book's top as it stands after `event`. Cost 0.4 us.

    It keeps no frame: the frame tells of the book, not of the quote.
    """
    return Quote(
        event.exchange,
        event.symbol,
        event.unified,
        event.ts_event_ns,
        event.ts_sent_ns,
        event.ts_recv_ns,
        event.ts_mono_ns,
        _MARK,
        trust.integrity,
        trust.current,
        None,
        0,
        top[0],
        top[1],
        top[2],
        top[3],
        sequence,
    )
