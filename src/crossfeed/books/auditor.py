"""Checking a live book against the venue's own image of it, at the same number."""

from __future__ import annotations

from collections.abc import Iterable

from crossfeed.books.assembly import Assembler
from crossfeed.books.audit import AuditReport
from crossfeed.books.ladder import Ladder
from crossfeed.model.events import BookDelta, BookSnapshot
from crossfeed.model.sequencing import Verdict

__all__ = ["Auditor"]


class Auditor:
    """Waits until an image, with the updates kept for it, reaches the live book's number.

    Owned by a `BookSync`.

    Attributes:
        image: The image to compare with, None while no audit is under way.
        last: Newest result.
    """

    def __init__(self, assembler: Assembler) -> None:
        """Start with no audit under way."""
        self._assembler = assembler
        self.image: BookSnapshot | None = None
        self.last: AuditReport | None = None

    def join(self, live: Ladder, sequence: int, kept: Iterable[BookDelta]) -> Verdict:
        """Try to carry the image on to `sequence` and compare.

        Returns:
            APPLY when it was compared (see `last`), OLD while the image is ahead of the live book,
            EARLY when it is older than the kept updates: another one is needed.
        """
        image = self.image
        assert image is not None, "an audit compares with an image"
        verdict, updates = self._assembler.bridge(image, list(kept))
        if verdict is Verdict.APPLY and not updates and image.sequence != sequence:
            return Verdict.OLD
        self.image = None
        if verdict is Verdict.APPLY:
            self.compare(live, sequence, image, updates)
        return verdict

    def compare(
        self, live: Ladder, sequence: int, image: BookSnapshot, updates: list[BookDelta]
    ) -> AuditReport | None:
        """Compare the live levels with an image and what carries on; None: it cannot be read."""
        self.last = self._assembler.compare(live, sequence, image, updates)
        return self.last
