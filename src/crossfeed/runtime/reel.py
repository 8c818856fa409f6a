"""Which records are played next: those of one journal, or of several merged by receive time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from crossfeed.journal.records import Record, RecordKind
from crossfeed.runtime.player import Player

__all__ = ["NS_MAX", "Reel"]

NS_MAX: Final = (1 << 63) - 1
"""A moment after every other."""
_OF_THE_WRITER: Final = frozenset({RecordKind.END, RecordKind.LOSS})
"""Stamped when they were written: what follows was queued before, and may be older."""


def _is_timeless(record: Record) -> bool:
    """Say whether a record's time tells nothing of when what follows it happened."""
    return bool(record.flags) or record.kind in _OF_THE_WRITER


class _Source:
    """One journal's records, a block at a time."""

    def __init__(self, player: Player, first_segment: int, *, is_followed: bool) -> None:
        self.player = player
        self.block: Sequence[Record] = []
        self.at = 0
        self.newest_ns = 0
        self._next: Record | None = None  # what is at `at`, where that was looked at
        self._blocks: Iterator[Sequence[Record]] | None = player.blocks(
            first_segment=first_segment, is_followed=is_followed
        )

    def has_more(self) -> bool:
        """Say whether a record is left; loads the next block when all of the last were taken."""
        while self.at >= len(self.block):
            block = next(self._blocks, None) if self._blocks is not None else None
            if block is None:
                self._blocks = None
                self.block, self.at = [], 0
                return False
            self.block, self.at = block, 0
            if not block:
                return False  # nothing new yet
        return True

    def next(self) -> Record:
        """Return the next record. A compiled block makes it anew each time: it is kept."""
        if self._next is None:
            self._next = self.block[self.at]
        return self._next

    def key(self) -> int:
        """Return the next record's place among those of other journals.

        It is the latest time so far: a clock that was set back does not reorder a journal.
        """
        record = self.next()
        return self.newest_ns if _is_timeless(record) else max(self.newest_ns, record.wall_ns)

    def take(self, count: int, until_ns: int, others_ns: int) -> Sequence[Record]:
        """Take up to `count` records of this block, none after `until_ns` or past `others_ns`."""
        at, block = self.at, self.block
        stop = min(len(block), at + count)
        if until_ns < NS_MAX or others_ns < NS_MAX:
            stop = self._cut(stop, until_ns, others_ns)
        self.at, self._next = stop, None
        return block if stop - at == len(block) else block[at:stop]

    def _cut(self, stop: int, until_ns: int, others_ns: int) -> int:
        """Return where the first record stands that is too late, `stop` if none is."""
        newest_ns = self.newest_ns
        for place in range(self.at, stop):
            record = self.block[place]
            if _is_timeless(record):
                continue
            wall_ns = record.wall_ns
            if wall_ns > until_ns or max(wall_ns, newest_ns) > others_ns:
                stop = place
                break
            newest_ns = max(wall_ns, newest_ns)
        self.newest_ns = newest_ns
        return stop


class Reel:
    """Gives out the records of players' journals in the order in which they are to be played.

    What is given out must be played before the next call.

    Args:
        players: One for each journal.
        first_segments: Where to begin in each; 0: at its beginning.
        is_followed: The journals are being written: the end is only the end for now. Several are
            merged as far as all have something.
    """

    def __init__(
        self,
        players: Sequence[Player],
        first_segments: Sequence[int],
        *,
        is_followed: bool = False,
    ) -> None:
        """Open nothing yet."""
        self._sources = [
            _Source(player, first, is_followed=is_followed)
            for player, first in zip(players, first_segments, strict=True)
        ]

    def next(self) -> Record | None:
        """Return the next record without taking it, None at the end.

        Raises:
            JournalError: A folder cannot be read.
        """
        source, _ = self._choose()
        return None if source is None else source.next()

    def take(self, count: int, until_ns: int = NS_MAX) -> tuple[Player, Sequence[Record]] | None:
        """Take up to `count` records of one journal; None at the end of all.

        Args:
            count: How many at most.
            until_ns: Stop before the first record after this wall time. Records of state that a
                segment repeats have no time.

        Returns:
            Their player, and the records: none if the next one lies after `until_ns`.

        Raises:
            JournalError: A folder cannot be read.
        """
        source, others_ns = self._choose()
        if source is None:
            return None
        return source.player, source.take(count, until_ns, others_ns)

    def _choose(self) -> tuple[_Source | None, int]:
        """Return the journal whose turn it is, and the next moment of the others."""
        sources = [source for source in self._sources if source.has_more()]
        if len(sources) < 2:  # noqa: PLR2004 - nothing to merge
            return (sources[0] if sources else None), NS_MAX
        sources.sort(key=_Source.key)
        return sources[0], sources[1].key()
