"""What one line of a stream owes: the other line has brought it, this one has not."""

from __future__ import annotations

from typing import Any, Final, Protocol

from crossfeed.integrity.trust import NEVER_NS
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    DepthDelta,
    MarketData,
    OrderEvent,
    Quote,
    Trade,
)
from crossfeed.model.trust import Mark

__all__ = ["Debt", "Elsewhere", "is_ahead"]

SECOND_NS: Final = 1_000_000_000
SLACK_NS: Final = SECOND_NS
"""Twins without a number may differ this much in time between two lines."""
GRACE_NS: Final = 5 * SECOND_NS
"""A line may bring this much later what its sibling brought: then it is slow, not silent."""
_TOLD_ON_REQUEST: Final = Mark.SNAPSHOT | Mark.HISTORY | Mark.REST | Mark.BACKFILLED
_NUMBERS: Final[dict[type[MarketData], str]] = {
    Trade: "trade_id",
    AggTrade: "trade_id",
    OrderEvent: "sequence",
    Quote: "update_id",
    DepthDelta: "last",
    BookDelta: "last",
}


class Elsewhere(Protocol):
    """What the other lines of one line's stream have brought.

    Attributes:
        is_shared: Whether one state serves all lines, so that a line without a first datum lacks
            nothing while another one is well.
    """

    is_shared: bool

    def newest_elsewhere(self) -> MarketData | None:
        """Return the newest event of the other lines that are up and well, None without any."""
        ...


def is_ahead(theirs: MarketData, ours: MarketData | None, since_ns: int) -> bool:
    """Say whether another line's event is news to a line whose newest one is `ours`.

    By number where both have one; else by the venue's time, else by the time of receipt, with a
    second's slack: twins are not news. What a line is told on request (images, history) is not
    news to its sibling either.

    Args:
        theirs: Newest event of another line.
        ours: Newest event of this line, None before the first.
        since_ns: Monotonic time since which this line is subscribed.
    """
    if theirs.marks & _TOLD_ON_REQUEST or isinstance(theirs, BookSnapshot):
        return False
    if theirs.ts_mono_ns <= since_ns:
        return False
    if ours is None:
        return True
    if theirs.ts_event_ns and ours.ts_event_ns:
        behind_ns = theirs.ts_event_ns - ours.ts_event_ns
    else:
        behind_ns = theirs.ts_mono_ns - ours.ts_mono_ns
    number, own = _number(theirs), _number(ours)
    return behind_ns > SLACK_NS or number > own > 0


def _number(event: MarketData) -> int:
    name = _NUMBERS.get(event.__class__)
    number: Any = 0 if name is None else getattr(event, name)
    return int(number)


class Debt:
    """Keeps since when one line owes what its siblings have brought. Owned by a `Freshness`.

    Looked at on the timer: it costs nothing on the data path.

    Attributes:
        since_ns: Monotonic time of the look that found it, NEVER_NS while nothing is owed.
        is_suspect: Found silent, and has brought nothing since: it is given no further patience.
    """

    __slots__ = ("_elsewhere", "_ours", "_subscribed_ns", "is_suspect", "since_ns")

    def __init__(self, elsewhere: Elsewhere, ours: MarketData | None) -> None:
        """Owe nothing until the subscription is acknowledged; `ours`: the line's newest event."""
        self._elsewhere = elsewhere
        self._ours = ours
        self.is_suspect = False
        self._subscribed_ns = NEVER_NS
        self.since_ns = NEVER_NS

    def begin(self, mono_ns: int) -> None:
        """The venue has acknowledged the line's subscription: from now on it owes."""
        self._subscribed_ns = mono_ns
        self.since_ns = NEVER_NS

    def end(self) -> None:
        """A new connection: nothing is owed until it is subscribed."""
        self._subscribed_ns = self.since_ns = NEVER_NS

    @property
    def is_accompanied(self) -> bool:
        """Whether another line is well and keeps up the state this one shares."""
        return self._elsewhere.is_shared and self._elsewhere.newest_elsewhere() is not None

    def look(self, ours: MarketData | None, mono_ns: int) -> None:
        """Compare the line with its siblings."""
        theirs = self._elsewhere.newest_elsewhere()
        self.is_suspect &= ours is self._ours
        if theirs is None or not is_ahead(theirs, ours, self._subscribed_ns):
            self.since_ns = NEVER_NS
        elif ours is not self._ours or self.since_ns == NEVER_NS:
            self.since_ns = mono_ns  # it brings something, if late: slow, not silent
        self._ours = ours

    def age_ns(self, ours: MarketData | None, mono_ns: int) -> int:
        """Return for how long the line has been silent though it owes; 0 while it may be late."""
        if mono_ns - self.since_ns <= GRACE_NS:
            return 0
        heard_ns = 0 if ours is None else ours.ts_mono_ns
        return mono_ns - max(heard_ns, self._subscribed_ns)

    def due_ns(self, ours: MarketData | None, limit_ns: int) -> int:
        """Return the moment at which a line that owes now, and brings nothing, is silent."""
        heard_ns = 0 if ours is None else ours.ts_mono_ns
        return max(self.since_ns + GRACE_NS, max(heard_ns, self._subscribed_ns) + limit_ns) + 1
