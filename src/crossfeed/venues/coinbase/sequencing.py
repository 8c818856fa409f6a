"""How the books of Coinbase Exchange chain."""

from __future__ import annotations

from typing import ClassVar, Final

from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.sequencing import BookTop10, Follows, SnapshotSource, Verdict
from crossfeed.model.trust import Integrity

__all__ = ["FULL_RULE", "LEVEL2_RULE", "FullRule", "Level2Rule"]


class Level2Rule:
    """`level2` and `level2_batch`: nothing to check but the order of the connection.

    1. Subscribe. The first message of a product is `snapshot`: the whole book, in any order.
    2. Apply every `l2update` after it: sizes are absolute, 0 removes; removing an unknown level is
       normal.
    3. There is no sequence and no checksum. What was lost cannot be seen in the channel; look at
       crossed tops, at `heartbeat`, and compare with `GET /products/{id}/book?level=2` at times.
    4. To start over, unsubscribe and subscribe: a new `snapshot` comes.

    Source: docs.cdp.coinbase.com/exchange/websocket-feed/channels, checked 2026-11-22.
    """

    follows: ClassVar[Follows] = Follows.ANY

    @property
    def integrity(self) -> Integrity:
        """Nothing shows a loss."""
        return Integrity.NONE

    @property
    def snapshot_source(self) -> SnapshotSource:
        """The stream begins with the whole book."""
        return SnapshotSource.STREAM

    @property
    def depth_limit(self) -> int:
        """No limit: the whole book is kept."""
        return 0

    def bridge(self, snapshot: BookSnapshot, delta: BookDelta) -> Verdict:
        """Take the first update: the stream sends it after the snapshot."""
        del snapshot, delta
        return Verdict.APPLY

    def follow(self, sequence: int, delta: BookDelta) -> Verdict:
        """Take every update: none is numbered."""
        del sequence, delta
        return Verdict.APPLY

    def verify(self, book: BookTop10, checksum: int | None) -> int | None:
        """Return None: the venue sends no checksum."""
        del book, checksum
        return None


class FullRule:
    """`full`: every event of a product carries the last one's sequence + 1.

    1. Subscribe and queue the events.
    2. Fetch `GET /products/{id}/book?level=3`; its orders stand at `sequence`.
    3. Drop queued events with sequence <= the snapshot's, apply the rest in order, then go on live.
    4. A jump by more than 1 is a loss: fetch again. A lower number is old: ignore it.
    5. Only `open` and `match` always change the book; `done` and `change` of orders that are not in
       it change nothing.

    Source: docs.cdp.coinbase.com/exchange/websocket-feed (channels, overview), checked 2026-11-22.
    """

    @property
    def integrity(self) -> Integrity:
        """Every event is numbered."""
        return Integrity.SEQUENCED

    @property
    def snapshot_source(self) -> SnapshotSource:
        """The first image is fetched."""
        return SnapshotSource.REST

    @property
    def depth_limit(self) -> int:
        """No limit: the whole book is kept."""
        return 0

    def bridge(self, snapshot: BookSnapshot, delta: BookDelta) -> Verdict:
        """Judge the first event: old, the next one, or later than the snapshot can be joined to."""
        if delta.last <= snapshot.sequence:
            return Verdict.OLD
        return Verdict.APPLY if delta.first == snapshot.sequence + 1 else Verdict.EARLY

    def follow(self, sequence: int, delta: BookDelta) -> Verdict:
        """Judge an event by the number before it."""
        if delta.last <= sequence:
            return Verdict.OLD
        return Verdict.APPLY if delta.first == sequence + 1 else Verdict.GAP

    def verify(self, book: BookTop10, checksum: int | None) -> int | None:
        """Return None: the venue sends no checksum."""
        del book, checksum
        return None


LEVEL2_RULE: Final = Level2Rule()
FULL_RULE: Final = FullRule()
