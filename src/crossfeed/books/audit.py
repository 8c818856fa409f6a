"""Comparing two books level by level."""

from __future__ import annotations

from msgspec import Struct

from crossfeed.books.ladder import Ladder

__all__ = ["AuditReport", "compare"]


class AuditReport(Struct, frozen=True, kw_only=True):
    """Result of comparing a live book with an image of it.

    Attributes:
        sequence: Update number the live book stood at, 0 where the venue gives none.
        ts_recv_ns: Wall time of the image.
        levels: Levels compared: all prices that either book holds within the window of both.
        equal: Of these, those with the same size in both.
        only_live: Prices only the live book holds.
        only_image: Prices only the image holds.
        is_top_equal: Whether best bid and ask are the same, price and size.
    """

    sequence: int
    ts_recv_ns: int
    levels: int
    equal: int
    only_live: int
    only_image: int
    is_top_equal: bool

    @property
    def score(self) -> float:
        """Share of equal levels, 0..1; 1 where there was nothing to compare."""
        return self.equal / self.levels if self.levels else 1.0

    @property
    def is_equal(self) -> bool:
        """Whether every level is the same."""
        return self.equal == self.levels

    def __str__(self) -> str:
        """Return the result in one sentence."""
        return (
            f"{self.equal} of {self.levels} levels equal at {self.sequence} "
            f"({self.only_live} only live, {self.only_image} only in the image)"
        )


def compare(
    live: Ladder, image: Ladder, *, depth: int = 0, sequence: int = 0, ts_recv_ns: int = 0
) -> AuditReport:
    """Compare a live book with an image, within the window of prices that both cover.

    Beyond the window of either nothing can be said and nothing is compared. Cost O(levels).

    Args:
        live: The live levels.
        image: The image's levels.
        depth: Levels per side at which the live book is cut, 0 if it is not: a full side covers no
            more than its levels.
        sequence: For the report.
        ts_recv_ns: For the report.
    """
    levels = equal = only_live = only_image = 0
    for ours, our_sizes, theirs, their_sizes, sign, limit in (
        (live.bids, live.bid_sizes, image.bids, image.bid_sizes, 1, _floor(live, image)),
        (live.asks, live.ask_sizes, image.asks, image.ask_sizes, -1, -_ceiling(live, image)),
    ):
        worst = max(limit, ours[0]) if 0 < depth <= len(ours) else limit
        for key in {*ours, *theirs}:
            if key < worst:
                continue
            levels += 1
            our_size, their_size = our_sizes.get(sign * key), their_sizes.get(sign * key)
            equal += our_size == their_size
            only_live += their_size is None
            only_image += our_size is None
    return AuditReport(
        sequence=sequence,
        ts_recv_ns=ts_recv_ns,
        levels=levels,
        equal=equal,
        only_live=only_live,
        only_image=only_image,
        is_top_equal=live.best() == image.best(),
    )


def _floor(live: Ladder, image: Ladder) -> float:
    return max(live.bid_floor, image.bid_floor)


def _ceiling(live: Ladder, image: Ladder) -> float:
    return min(live.ask_ceiling, image.ask_ceiling)
