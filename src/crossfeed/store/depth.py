"""Books of venues that name the best n levels only: what falls out of them is said.

Kraken sends changes of the best n levels; the client is to drop levels beyond them itself, and no
message ever removes one of those. Changes laid one over the other would keep them for ever, and
they would come back as best prices when the market moves their way. So each change is stored with
the removal of what it pushed out: then images and changes alone give the book at any moment.
"""

from __future__ import annotations

from msgspec.structs import replace

from crossfeed.model.events import BookDelta, BookSnapshot, Level

__all__ = ["DepthCut"]


class DepthCut:
    """One book. Made by whoever stores its events; hands them back completed.

    Args:
        depth: Levels a side that the venue names.
    """

    def __init__(self, depth: int) -> None:
        """Start without a book."""
        self.depth = depth
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._has_image = False

    def admit(self, event: BookDelta | BookSnapshot) -> BookDelta | BookSnapshot:
        """Return the event, with levels of size 0 for what it pushes out. Cost O(levels)."""
        if isinstance(event, BookSnapshot):
            self._bids, self._asks = dict(event.bids), dict(event.asks)
            self._has_image = True
            return event
        if not self._has_image:
            return event
        _apply(self._bids, event.bids)
        _apply(self._asks, event.asks)
        bids = self._fallen(self._bids, is_bid=True)
        asks = self._fallen(self._asks, is_bid=False)
        if not bids and not asks:
            return event
        return replace(event, bids=[*event.bids, *bids], asks=[*event.asks, *asks])

    def _fallen(self, side: dict[float, float], *, is_bid: bool) -> list[Level]:
        fallen: list[Level] = []
        while len(side) > self.depth:
            worst = min(side) if is_bid else max(side)
            del side[worst]
            fallen.append((worst, 0.0))
        return fallen


def _apply(side: dict[float, float], levels: list[Level]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)
