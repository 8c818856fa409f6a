"""How the books of Coinbase Advanced Trade chain."""

from __future__ import annotations

from typing import ClassVar, Final

from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.sequencing import BookTop10, Follows, SnapshotSource, Verdict
from crossfeed.model.trust import Integrity

__all__ = ["LEVEL2_RULE", "Level2Rule"]


class Level2Rule:
    """`level2`: the chain is the frame counter of the connection.

    1. Subscribe. The first event of a product is of type `snapshot`: the whole book.
    2. Apply every `update` after it: sizes are absolute, 0 removes; removing an unknown level is
       normal.
    3. `sequence_num` counts the frames of the connection, all channels and replies included, from
       0. A jump is a loss that may concern any product: every book of the connection is to be taken
       anew. A lower number is old: ignore the frame. (The documents contradict each other, "per
       product" against "per connection"; live feeds show the latter.)
    4. To start over, unsubscribe and subscribe: a new `snapshot` comes. REST has 1000 levels a side
       and no number, it cannot be joined.

    The counter is checked for the connection (see `Codec.connection_sequence`), so nothing is left
    to compare here.

    Source: docs.cdp.coinbase.com, advanced-trade-asyncapi.json, checked 2026-11-22.
    """

    follows: ClassVar[Follows] = Follows.ANY

    @property
    def integrity(self) -> Integrity:
        """The frames of the connection are numbered, not the updates of a book."""
        return Integrity.CONNECTION_SEQUENCED

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
        """Take every update: the frame it came in has been counted."""
        del sequence, delta
        return Verdict.APPLY

    def verify(self, book: BookTop10, checksum: int | None) -> int | None:
        """Return None: the venue sends no checksum."""
        del book, checksum
        return None


LEVEL2_RULE: Final = Level2Rule()
