"""What a book tells about itself as events: its top, that it has none, and the whole of it."""

from __future__ import annotations

from typing import Final

from crossfeed.books.ladder import Ladder
from crossfeed.books.ports import TrustKeeper
from crossfeed.model.events import BookDelta, BookSnapshot, Quote
from crossfeed.model.output import Output
from crossfeed.model.status import ONE_SIDED
from crossfeed.model.trust import Mark, Trust

__all__ = ["TopFigures", "image_of", "quote_of", "tell_one_sided"]

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


def tell_one_sided(
    ladder: Ladder, event: BookDelta | BookSnapshot, trust: TrustKeeper, out: Output
) -> None:
    """Tell that a sound book has an empty side after `event`: its last quote holds no more."""
    if trust.current is Trust.SOUND:
        sides = zip(ladder.counts, ("bids", "asks"), strict=True)
        empty = " and ".join(name for count, name in sides if not count)
        detail = f"no {empty} are left: the last quote holds no more"
        trust.alert(ONE_SIDED, detail, event.ts_recv_ns, event.ts_mono_ns, out)


def image_of(
    ladder: Ladder, event: BookDelta | BookSnapshot, trust: TrustKeeper, sequence: int
) -> BookSnapshot:
    """Make the snapshot of a whole book as it stands after `event`. Cost O(levels).

    It keeps no frame and no checksum: it is put together from an image and later updates.
    """
    bids, asks = ladder.depth(max(*ladder.counts, 1))
    return BookSnapshot(
        event.exchange,
        event.symbol,
        event.unified,
        event.ts_event_ns,
        event.ts_sent_ns,
        event.ts_recv_ns,
        event.ts_mono_ns,
        Mark.SNAPSHOT,
        trust.integrity,
        trust.current,
        None,
        0,
        bids,
        asks,
        sequence,
        None,
    )
