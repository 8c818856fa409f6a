"""The state of a book at any recent update id: what a client's book must equal at that id."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

import msgspec

from crossfeed.simulator.book import Book

__all__ = ["BookHistory", "BookState"]

#: Changes after which a full copy is taken, and how many such pages are kept.
PAGE_CHANGES = 1_000
PAGES_KEPT = 24


class BookState(msgspec.Struct, frozen=True, gc=False):
    """One book at one moment: price -> lots, and the id and time of its last change."""

    update_id: int
    time_ns: int
    bids: dict[int, int]
    asks: dict[int, int]

    def top(self) -> tuple[int, int, int, int]:
        """Return (bid price, bid lots, ask price, ask lots); zeros for an empty side."""
        bid = max(self.bids, default=0)
        ask = min(self.asks, default=0)
        return bid, self.bids.get(bid, 0), ask, self.asks.get(ask, 0)


class _Page:
    """A full copy of the book and the changes that followed it."""

    __slots__ = ("asks", "bids", "entries", "ids")

    def __init__(self, book: Book) -> None:
        self.bids = {price: level.total for price, level in book.bids.items()}
        self.asks = {price: level.total for price, level in book.asks.items()}
        self.ids: list[int] = []
        self.entries: list[tuple[int, dict[int, int], dict[int, int]]] = []


class BookHistory:
    """Keeps the last `PAGES_KEPT * PAGE_CHANGES` changes of one book; older ones are forgotten."""

    def __init__(self, book: Book) -> None:
        """Watch `book`, which must be empty or unchanged until the first `note`."""
        self._book = book
        self._pages: deque[_Page] = deque([_Page(book)], maxlen=PAGES_KEPT)
        self._last = (0, 0)

    def note(
        self, time_ns: int, update_id: int, bids: dict[int, int], asks: dict[int, int]
    ) -> None:
        """Keep one action's changed levels (price -> new lots, 0 = gone). Owns both mappings."""
        page = self._pages[-1]
        if len(page.ids) >= PAGE_CHANGES or (page.ids and update_id < page.ids[-1]):
            # The book already has these changes, so the new page starts after them.
            page = _Page(self._book)
            self._pages.append(page)
        page.ids.append(update_id)
        page.entries.append((time_ns, bids, asks))
        self._last = (update_id, time_ns)

    def at(self, update_id: int) -> BookState | None:
        """Return the book right after the action that `update_id` belongs to, None if forgotten.

        An id inside an action's range gives the state before that action: venues publish whole
        actions only.
        """
        found: _Page | None = None
        for page in reversed(self._pages):
            if page.ids and page.ids[0] <= update_id:
                if update_id <= page.ids[-1]:
                    return self._rebuild(page, bisect_right(page.ids, update_id))
                # Not in it: after its last change, or of an older numbering (see restart_ids).
                found = found or page
        return None if found is None else self._rebuild(found, len(found.ids))

    def at_time(self, time_ns: int) -> BookState | None:
        """Return the book as it was at `time_ns`, None if that is forgotten."""
        for page in reversed(self._pages):
            if page.entries and page.entries[0][0] <= time_ns:
                count = sum(1 for entry in page.entries if entry[0] <= time_ns)
                return self._rebuild(page, count)
        return None

    @staticmethod
    def _rebuild(page: _Page, count: int) -> BookState:
        """Apply the first `count` entries of a page to its copy."""
        bids, asks = dict(page.bids), dict(page.asks)
        for _, bid_changes, ask_changes in page.entries[:count]:
            for side, changes in ((bids, bid_changes), (asks, ask_changes)):
                for price, lots in changes.items():
                    if lots:
                        side[price] = lots
                    else:
                        side.pop(price, None)
        return BookState(page.ids[count - 1], page.entries[count - 1][0], bids, asks)
