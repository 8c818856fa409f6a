"""Books of limited depth with a checksum: one update, and a client's copy after a loss."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

__all__ = ["BookUpdate", "ShadowBook"]

_CHECKSUM_LEVELS = 10


class BookUpdate(msgspec.Struct, frozen=True, gc=False):
    """One update of a checksummed book of limited depth."""

    #: Changed levels, (price in ticks, lots); 0 lots removes.
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]
    crc: int
    depth: int
    #: The client's book before the update: price -> lots.
    before_bids: dict[int, int]
    before_asks: dict[int, int]


class ShadowBook:
    """What a client's book looks like after it has missed `update`."""

    def __init__(self, update: BookUpdate) -> None:
        """Begin with the book as it was before the missed update."""
        self._bids, self._asks = dict(update.before_bids), dict(update.before_asks)

    def apply(self, update: BookUpdate) -> bool:
        """Apply an update as a client does; tell whether its checksum comes out right."""
        for side, changes in ((self._bids, update.bids), (self._asks, update.asks)):
            for price, lots in changes:
                if lots:
                    side[price] = lots
                else:
                    side.pop(price, None)
        bids = sorted(self._bids.items(), reverse=True)[: update.depth]
        asks = sorted(self._asks.items())[: update.depth]
        self._bids, self._asks = dict(bids), dict(asks)
        text = "".join(
            f"{price}{lots}"
            for side in (asks[:_CHECKSUM_LEVELS], bids[:_CHECKSUM_LEVELS])
            for price, lots in side
        )
        return zlib.crc32(text.encode()) == update.crc

    def equals_after(self, update: BookUpdate) -> bool:
        """Tell whether the copy is what the venue shows after `update`: the loss has healed."""
        bids, asks = dict(update.before_bids), dict(update.before_asks)
        for side, changes in ((bids, update.bids), (asks, update.asks)):
            for price, lots in changes:
                if lots:
                    side[price] = lots
                else:
                    side.pop(price, None)
        return (
            dict(sorted(bids.items(), reverse=True)[: update.depth]) == self._bids
            and dict(sorted(asks.items())[: update.depth]) == self._asks
        )
