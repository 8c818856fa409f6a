"""What a book says about itself."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from crossfeed.books.audit import AuditReport
from crossfeed.books.crossing import Crossing

__all__ = ["BookState", "BookStats"]


class BookState(StrEnum):
    """How far a book is."""

    WAITING = "waiting"
    """Nothing has come yet."""
    SYNCING = "syncing"
    """An image was asked for; updates are kept (REST) or passed over (stream) meanwhile."""
    LIVE = "live"
    """Built and kept up by updates."""


class BookStats(Struct, frozen=True, kw_only=True):
    """Counts of one book. updates = applied + duplicates + waiting.

    Attributes:
        epoch: Newest request for an image.
        attempt: Tries so far for the image that is wanted now.
        buffered: Updates kept for it now.
        updates: Updates received.
        applied: Applied to the live book.
        duplicates: Old or repeated ones, dropped.
        waiting: Came while the book was being built.
        images: Images taken over.
        void_images: Images that came too late or unasked, dropped.
        old_images: Images older than the kept updates, fetched again.
        overflowed: Updates dropped from a full buffer.
        holes: Holes found, by cause.
        unknown_removals: Removals of levels the book does not hold (normal), since its last image;
            the pure core does not count one that repeats a removal.
        out_of_window: Levels beyond the provable window, since its last image.
        crossings: Times it was crossed or locked, by what became of it.
        last_audit: Newest comparison with a REST image.
    """

    state: BookState
    epoch: int
    attempt: int
    buffered: int
    updates: int
    applied: int
    duplicates: int
    waiting: int
    images: int
    void_images: int
    old_images: int
    overflowed: int
    holes: dict[str, int]
    unknown_removals: int
    out_of_window: int
    crossings: dict[Crossing, int]
    last_audit: AuditReport | None
