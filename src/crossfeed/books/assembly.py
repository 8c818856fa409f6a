"""Building levels from messages: image plus updates, exact numbers, checksums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from crossfeed.books.audit import AuditReport, compare
from crossfeed.books.ladder import ExactLevel, Ladder
from crossfeed.books.rebuild import BookLimits
from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.sequencing import BookRule, Verdict

__all__ = ["Assembler", "ExactReader", "bare"]

ExactLevels = tuple[Sequence[ExactLevel], Sequence[ExactLevel]]
ExactReader = Callable[[BookDelta | BookSnapshot], ExactLevels | None]
"""Reads a message's (bids, asks) in the venue's own decimals; None where the frame was not kept."""

_NO_LIMIT: Final = float("inf")


class Assembler:
    """Turns messages into levels by the venue's rule. Owned by a `BookSync`; keeps no levels."""

    def __init__(
        self, rule: BookRule, limits: BookLimits, exact_reader: ExactReader | None
    ) -> None:
        """Build by `rule`; `exact_reader` serves what no float can hold, and precision changes."""
        self._rule = rule
        self._window_levels = limits.window_levels
        self._exact_reader = exact_reader
        self._depth = rule.depth_limit

    def load(self, ladder: Ladder, image: BookSnapshot) -> bool:
        """Replace the levels by those of an image; False if no ladder can hold its numbers."""
        if not ladder.load(image.bids, image.asks):
            try:
                ladder.load_exact(*self.exact(image))
            except ValueError:
                return False
        if self._depth:
            ladder.cut(self._depth)
        return True

    def take(self, ladder: Ladder, image: BookSnapshot) -> str:
        """Load an image and verify it; return the cause why it is no book, empty if it is one."""
        if not self.load(ladder, image):
            return "number"
        return "" if self.is_verified(ladder, image) else "checksum"

    def apply(self, ladder: Ladder, delta: BookDelta) -> bool:
        """Apply one update and cut to the depth the venue maintains.

        Returns:
            False if no ladder can hold its numbers: then the levels are worth nothing any more.
        """
        if not ladder.apply(delta.bids, delta.asks):
            try:
                ladder.apply_exact(*self.exact(delta))
            except ValueError:
                return False
        if self._depth:
            ladder.cut(self._depth)
        return True

    def exact(self, event: BookDelta | BookSnapshot) -> ExactLevels:
        """Return the levels as written; without a frame as the shortest decimals of the floats."""
        levels = None if self._exact_reader is None else self._exact_reader(event)
        if levels and (len(levels[0]), len(levels[1])) == (len(event.bids), len(event.asks)):
            return levels
        return Ladder.shortest(event.bids), Ladder.shortest(event.asks)

    def bridge(
        self, image: BookSnapshot, kept: Sequence[BookDelta]
    ) -> tuple[Verdict, list[BookDelta]]:
        """Find the kept updates that carry on from `image`; EARLY if it is too old for them."""
        updates: list[BookDelta] = []
        for delta in kept:
            if updates:
                verdict = self._rule.follow(updates[-1].last, delta)
            else:
                verdict = self._rule.bridge(image, delta)
            if verdict is Verdict.APPLY:
                updates.append(delta)
            elif verdict is not Verdict.OLD:
                return Verdict.EARLY, []
        return Verdict.APPLY, updates

    def build(
        self, like: Ladder, image: BookSnapshot, updates: Sequence[BookDelta]
    ) -> Ladder | None:
        """Build a new ladder, with the scales of `like`, from an image and what carries on from it.

        A side that the venue cut at `window_levels` is kept only as far as it is proven complete.
        None if no ladder can hold its numbers.
        """
        ladder = type(like)(like.price_scale, like.size_scale)
        is_held = self.load(ladder, image)
        levels, bids, asks = self._window_levels, ladder.bids, ladder.asks
        bids_cut, asks_cut = len(image.bids) >= levels > 0, len(image.asks) >= levels > 0
        ladder.limit_window(
            bids[0] if bids_cut and bids else 0.0, -asks[0] if asks_cut and asks else _NO_LIMIT
        )
        return ladder if is_held and all(self.apply(ladder, delta) for delta in updates) else None

    def compare(
        self, live: Ladder, sequence: int, image: BookSnapshot, updates: Sequence[BookDelta]
    ) -> AuditReport | None:
        """Compare the live levels with an image and what carries on from it; None as `build`."""
        rebuilt = self.build(live, image, updates)
        if rebuilt is None:
            return None
        return compare(
            live, rebuilt, depth=self._depth, sequence=sequence, ts_recv_ns=image.ts_recv_ns
        )

    def is_verified(self, ladder: Ladder, event: BookDelta | BookSnapshot) -> bool:
        """Compare the venue's checksum with the ladder's; True where there is nothing to compare.

        A pair whose precision changed is no mismatch: the decimals the message is written with are
        tried, and kept if they are right. Numbers that no scale can hold have no checksum.
        """
        scales = ladder.price_scale, ladder.size_scale
        try:
            return event.checksum is None or self._has_checksum(ladder, event.checksum, event)
        except ValueError:
            ladder.set_scales(*scales)
            return False

    def _has_checksum(self, ladder: Ladder, expected: int, event: BookDelta | BookSnapshot) -> bool:
        if self._rule.verify(ladder, expected) in (None, expected):
            return True
        levels = None if self._exact_reader is None else self._exact_reader(event)
        if levels is None:
            return False
        before = (ladder.price_scale, ladder.size_scale)
        ladder.adopt_scales([*levels[0], *levels[1]])
        if (ladder.price_scale, ladder.size_scale) != before:
            if self._rule.verify(ladder, expected) == expected:
                return True
            ladder.set_scales(*before)
        return False


def bare(image: BookSnapshot) -> BookSnapshot:
    """Return an image whose levels are in a book, for its times and number: without the levels.

    They and their frame take 150 bytes a level until the next update, for all books at once.
    """
    return replace(image, bids=[], asks=[], raw=None)
