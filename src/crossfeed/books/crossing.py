"""Books whose best bid is not below their best ask: passing, real, or a sign of corruption."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from crossfeed.books.ports import TrustKeeper
from crossfeed.books.rebuild import NEVER_NS, SECOND_NS, BookLimits
from crossfeed.model.output import Output
from crossfeed.model.trust import Trust

__all__ = ["Crossing", "CrossingWatch"]

_SOUND: Final = Trust.SOUND


class Crossing(StrEnum):
    """What a crossed or locked book turned out to be."""

    TRANSIENT = "transient"
    """It came apart again within the patience: the venue split one change over messages."""
    REAL = "real"
    """It lasted, and the venue's status explains it (auction)."""
    CORRUPT = "corrupt"
    """It lasted and nothing explains it: the book is rebuilt."""


class CrossingWatch:
    """Flags a crossed or locked book at once and classifies it. Owned by a `BookSync`.

    While bid >= ask the stream is UNSOUND ("crossed" or "locked"): nobody shall take it for an
    arbitrage. The patience doubles each time a fresh image is crossed as well, so that a venue with
    an auction we do not know of is not asked for images every second.

    Attributes:
        is_crossed: Whether bid >= ask now.
        is_calm: Whether an uncrossed top needs no second look.
        counts: Crossings so far, by what became of them.
        next_due_ns: Monotonic time at which `is_corrupt` has something to say.
    """

    def __init__(self, trust: TrustKeeper, limits: BookLimits) -> None:
        """Start uncrossed."""
        self._trust = trust
        self._limits = limits
        self._patience_s = limits.crossed_s
        self.is_crossed = False
        self._is_real = False
        self.is_calm = True
        self.counts: dict[Crossing, int] = dict.fromkeys(Crossing, 0)
        self.next_due_ns = NEVER_NS

    def judge(self, bid: float, ask: float, now_ns: int, mono_ns: int, out: Output) -> bool:
        """Look at a new top; return whether it is crossed or locked."""
        if bid < ask:
            if self.next_due_ns != NEVER_NS and not self._is_real:
                self.counts[Crossing.TRANSIENT] += 1
            self._patience_s = self._limits.crossed_s
            self.forget(now_ns, mono_ns, out)
            self.is_calm = True
            return False
        self.is_calm = False
        if not self.is_crossed:
            self.is_crossed = True
            self.next_due_ns = mono_ns + int(self._patience_s * SECOND_NS)
        cause = "crossed" if bid > ask else "locked"
        detail = f"bid {bid} and ask {ask}"
        self._trust.report("crossing", Trust.UNSOUND, cause, now_ns, mono_ns, out, detail)
        return True

    def is_corrupt(self, mono_ns: int, *, allows_crossed: bool) -> bool:
        """Judge a crossing whose patience has run out: True if the book must be rebuilt."""
        if mono_ns < self.next_due_ns:
            return False
        self.next_due_ns = NEVER_NS
        if allows_crossed:
            self.counts[Crossing.REAL] += not self._is_real
            self._is_real = True
            self.next_due_ns = mono_ns + int(self._patience_s * SECOND_NS)  # until it is over
            return False
        self.counts[Crossing.CORRUPT] += 1
        self._patience_s = min(self._patience_s * 2, self._limits.crossed_max_s)
        return True

    def forget(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Withdraw the complaint: the book came apart, or is being rebuilt."""
        self.is_crossed = False
        self._is_real = False
        self.next_due_ns = NEVER_NS
        self._trust.report("crossing", _SOUND, "uncrossed", now_ns, mono_ns, out)
