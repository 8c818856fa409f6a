"""How Binance's books are kept: spot by `U`/`u`, futures by `pu`. Stateless rule objects."""

from __future__ import annotations

from typing import ClassVar, Final

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.sequencing import BookTop10, Follows, SnapshotSource, Verdict
from crossfeed.model.trust import Integrity
from crossfeed.venues.binance.profile import channel_of

__all__ = ["FUTURES_BOOK", "SPOT_BOOK", "FuturesBookRule", "SpotBookRule", "book_rule"]


class _DiffRule:
    """What both families share: numbered diffs over a REST snapshot, no checksum."""

    @property
    def integrity(self) -> Integrity:
        """Every update is numbered."""
        return Integrity.SEQUENCED

    @property
    def snapshot_source(self) -> SnapshotSource:
        """The first image is fetched."""
        return SnapshotSource.REST

    @property
    def depth_limit(self) -> int:
        """No limit: levels below the snapshot's edge are unknown until they change, then kept."""
        return 0

    def verify(self, book: BookTop10, checksum: int | None) -> None:  # noqa: ARG002 - the contract's form
        """Return None: no checksum is sent."""
        return


class SpotBookRule(_DiffRule):
    """Binance spot.

    1. Open `<symbol>@depth@100ms` and buffer.
    2. GET /api/v3/depth; its `lastUpdateId` is S.
    3. If the snapshot is too old to join the buffer, fetch again and keep buffering.
    4. Drop buffered events with u <= S. The first one left must have U <= S+1 (and so u >= S+1).
    5. The book is the snapshot, its id is S; apply the rest, then live events:
       u <= id: old, ignore; U > id+1: a gap, start over; else set each level (0 removes it) and
       id := u.

    The document says "S within [U;u]" in step 4, which no event that starts exactly at S+1 can
    meet, however gapless the stream: the S+1 form accepts that event, too.

    Source: "How to manage a local order book correctly", web-socket-streams.md of
    https://github.com/binance/binance-spot-api-docs (as corrected 2025-11-12; checked 2026-11-22).
    """

    follows: ClassVar[Follows] = Follows.NUMBER

    def bridge(self, snapshot: BookSnapshot, delta: BookDelta) -> Verdict:
        """Judge a buffered update against the snapshot (steps 3 and 4).

        EARLY also where an older buffered update was dropped: a newer snapshot mends both cases.
        """
        if delta.last <= snapshot.sequence:
            return Verdict.OLD
        return Verdict.APPLY if delta.first <= snapshot.sequence + 1 else Verdict.EARLY

    def follow(self, sequence: int, delta: BookDelta) -> Verdict:
        """Judge a live update against the book's id (step 5)."""
        if delta.first == sequence + 1:
            return Verdict.APPLY
        if delta.last <= sequence:
            return Verdict.OLD
        return Verdict.GAP if delta.first > sequence else Verdict.APPLY


class FuturesBookRule(_DiffRule):
    """Binance USD-M and COIN-M futures.

    1. Open the depth stream and buffer.
    2. GET /fapi/v1/depth (or /dapi/v1/depth); its `lastUpdateId` is L.
    3. Drop buffered events with u < L (strictly; spot drops u <= L).
    4. The first event applied has U <= L and u >= L. An event with pu == L continues the snapshot
       directly and is taken as well.
    5. Every later event must have pu == the u before it, else start over. U and u say nothing
       here: U need not be the previous u + 1.

    Source: "How to manage a local order book correctly", developers.binance.com, USDS-margined
    futures; `pu == L` as in tardis-dev/tardis-node, src/mappers/binance.ts (checked 2026-11-22).
    """

    follows: ClassVar[Follows] = Follows.NAMED

    def bridge(self, snapshot: BookSnapshot, delta: BookDelta) -> Verdict:
        """Judge a buffered update against the snapshot (steps 3 and 4)."""
        if delta.last < snapshot.sequence:
            return Verdict.OLD
        joins = delta.first <= snapshot.sequence or delta.previous == snapshot.sequence
        return Verdict.APPLY if joins else Verdict.EARLY

    def follow(self, sequence: int, delta: BookDelta) -> Verdict:
        """Judge a live update against the book's id (step 5)."""
        if delta.previous == sequence:
            return Verdict.APPLY
        return Verdict.OLD if delta.last <= sequence else Verdict.GAP


SPOT_BOOK: Final = SpotBookRule()
FUTURES_BOOK: Final = FuturesBookRule()


def book_rule(want: Want) -> SpotBookRule:
    """Return the rule of a depth want.

    Raises:
        UnsupportedChannelError: Binance has no such channel, or it carries no book.
    """
    if channel_of(want.channel).chain != "book":
        msg = f"binance's {want.channel} carries no book"
        raise UnsupportedChannelError(msg)
    return SPOT_BOOK
