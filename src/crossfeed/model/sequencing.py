"""How a venue's messages chain.

The small strategy objects that integrity and books get from a venue.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.trust import Integrity

__all__ = ["BookRule", "BookTop10", "Follows", "SnapshotSource", "Verdict"]


class Verdict(Enum):
    """What an update is to a book."""

    APPLY = "apply"
    OLD = "old"
    """Already contained: ignore, count."""
    GAP = "gap"
    """Something is missing before it."""
    EARLY = "early"
    """The snapshot is older than the first buffered update: fetch a newer one."""


class Follows(Enum):
    """How an update that `BookRule.follow` calls APPLY in the ordinary case is known.

    A rule may declare one as `follows`: where it says yes, `follow` must say APPLY. Where it says
    no, or nothing is declared, only `follow` knows.
    """

    NUMBER = "number"
    """Its first number is the one behind the book's."""
    NAMED = "named"
    """The number it names as the one before it is the book's."""
    ANY = "any"
    """Always: nothing numbers the updates."""


class SnapshotSource(Enum):
    """Where a book's first image comes from."""

    STREAM = "stream"
    REST = "rest"


class BookTop10(Protocol):
    """What a checksum needs of a book."""

    def top_units(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the best `count` (bids, asks) as (price units, size units), best first."""
        ...

    def top_digits(self, count: int) -> tuple[bytes, bytes]:
        """Return (bids, asks): price units and size units of the best `count` as one row of digits.

        For checksums over the numbers' decimal digits; best first, price before size.
        """
        ...

    @property
    def price_scale(self) -> int:
        """Decimals of a price unit."""
        ...

    @property
    def size_scale(self) -> int:
        """Decimals of a size unit."""
        ...


class BookRule(Protocol):
    """One venue's rule for keeping a book.

    Stateless; its docstring holds the venue's numbered recipe. It may declare `follows` (see
    `Follows`), and `checksum_levels`: that `verify` is the CRC32 over the decimal digits of so many
    levels a side, offers first, best first, price before size (`BookTop10.top_digits`).
    """

    @property
    def integrity(self) -> Integrity:
        """How well the rule proves the book."""
        ...

    @property
    def snapshot_source(self) -> SnapshotSource:
        """Where the first image comes from."""
        ...

    @property
    def depth_limit(self) -> int:
        """Levels per side that the venue maintains; the book is cut to it after each message.

        0: all.
        """
        ...

    def bridge(self, snapshot: BookSnapshot, delta: BookDelta) -> Verdict:
        """Judge the first updates after a snapshot.

        OLD, APPLY, EARLY (the snapshot is too old for them) or GAP.
        """
        ...

    def follow(self, sequence: int, delta: BookDelta) -> Verdict:
        """Judge an update against the number the book stands at: OLD, APPLY or GAP."""
        ...

    def verify(self, book: BookTop10, checksum: int | None) -> int | None:
        """Compute the checksum the venue sends.

        None where it sends none (then nothing is compared).
        """
        ...
