"""Do events come ever later? Venue time against our monotonic clock, over windows."""

from __future__ import annotations

from typing import Final

from crossfeed.model.events import MarketData
from crossfeed.model.trust import Mark

__all__ = ["LagWatch"]

SECOND_NS: Final = 1_000_000_000
WINDOW_NS: Final = 5 * SECOND_NS
RISING_WINDOWS: Final = 3
_OLD_NEWS: Final = Mark.HISTORY | Mark.REST | Mark.BACKFILLED
_NONE: Final = 2**63


class LagWatch:
    """Follows the smallest difference between receipt and venue time in windows of 5 s.

    Only changes count: the clocks' offset is unknown. A difference that grows window by window is a
    line that falls behind (throttled, clogged); one that jumps by more than a window is long cannot
    be: it is the venue's clock that was set, and the baseline moves with it.

    Attributes:
        lag_ms: How much later than at best events came in the last full window.
    """

    def __init__(self, limit_s: float) -> None:
        """Call events old that come more than `limit_s` later than at best."""
        self._limit_ns = int(limit_s * SECOND_NS)
        self.lag_ms = 0.0
        self._is_late = self._was_late = False
        self.restart()

    def restart(self) -> None:
        """Forget everything (a new connection); that events were late is over, and to be told."""
        self._was_late |= self._is_late
        self._window_end_ns = 0
        self._smallest_ns = _NONE
        self._best_ns = _NONE
        self._last_ns = _NONE
        self._rising = 0
        self._is_late = False
        self.lag_ms = 0.0

    def sample(self, event: MarketData | None, mono_ns: int) -> None:
        """Look at a stream's newest event."""
        if event is None or not event.ts_event_ns or event.marks & _OLD_NEWS:
            return
        if not self._window_end_ns:
            self._window_end_ns = mono_ns + WINDOW_NS
        self._smallest_ns = min(self._smallest_ns, event.ts_mono_ns - event.ts_event_ns)

    def judge(self, mono_ns: int) -> bool | None:
        """Return True when events have become late, False when no longer, None for no change."""
        if self._was_late:
            self._was_late = False
            return False
        if not self._window_end_ns or mono_ns < self._window_end_ns:
            return None
        self._window_end_ns = mono_ns + WINDOW_NS
        found_ns, self._smallest_ns = self._smallest_ns, _NONE
        if found_ns == _NONE:
            return None
        last_ns, self._last_ns = self._last_ns, found_ns
        if last_ns != _NONE and found_ns - last_ns > WINDOW_NS + SECOND_NS:
            self._best_ns += found_ns - last_ns
        self._best_ns = min(self._best_ns, found_ns)
        self._rising = self._rising + 1 if last_ns < found_ns else 0
        late_ns = found_ns - self._best_ns
        self.lag_ms = late_ns / 1e6
        if not self._is_late and late_ns > self._limit_ns and self._rising >= RISING_WINDOWS:
            self._is_late = True
            return True
        if self._is_late and late_ns < self._limit_ns // 2:
            self._is_late = False
            return False
        return None
