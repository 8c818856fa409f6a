"""The holes of one book's chain, from discovery until the book is rebuilt."""

from __future__ import annotations

from typing import Final

from crossfeed.books.ports import TrustKeeper
from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.output import Output
from crossfeed.model.status import GapState

__all__ = ["BookHoles", "is_counted_anew"]

HOLES_MAX: Final = 256


class BookHoles:
    """Open gaps of one book. Owned by a `BookSync`.

    A rebuilt book closes all of them as SNAPSHOT. More than 256 open at once (a venue that never
    sends an image, over hundreds of reconnects) give up the oldest as LOST.

    Attributes:
        counts: Holes found, by cause.
    """

    def __init__(self, trust: TrustKeeper) -> None:
        """Start without holes."""
        self._trust = trust
        self._gap_ids: list[int] = []
        self.counts: dict[str, int] = {}

    def open(
        self,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_countable: bool = True,
    ) -> None:
        """Record a hole from number `first` to `last` (0, 0 where the stream has none)."""
        self.counts[cause] = self.counts.get(cause, 0) + 1
        gap = self._trust.open_gap(
            first, last, cause, now_ns, mono_ns, out, is_countable=is_countable
        )
        self._gap_ids.append(gap.gap_id)
        if len(self._gap_ids) > HOLES_MAX:
            self._trust.close_gap(self._gap_ids.pop(0), GapState.LOST, now_ns, mono_ns, out)

    def open_before(self, before: int, delta: BookDelta, cause: str, out: Output) -> None:
        """Record the hole between number `before` and an update that does not follow it.

        Where the venue names the previous update (futures `pu`) the range bounds the missing
        numbers, which are not one per event; else it is exact.
        """
        last = delta.previous or delta.first - 1
        first, last = (before + 1, last) if before and last > before else (0, 0)
        self.open(
            first,
            last,
            cause,
            delta.ts_recv_ns,
            delta.ts_mono_ns,
            out,
            is_countable=delta.previous == 0,
        )

    def close(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """The book was rebuilt: what is missing is gone, the state is right."""
        gap_ids, self._gap_ids = self._gap_ids, []
        for gap_id in gap_ids:
            self._trust.close_gap(gap_id, GapState.SNAPSHOT, now_ns, mono_ns, out)


def is_counted_anew(delta: BookDelta, last: BookDelta | BookSnapshot | None, sequence: int) -> bool:
    """Say whether an update with an old number looks new: the venue may count anew.

    By its time where the venue gives one, else by a number far below the newest.
    """
    if last is not None and last.ts_event_ns > 0 < delta.ts_event_ns:
        return delta.ts_event_ns > last.ts_event_ns
    return delta.last < sequence // 2
