"""Is the end of a quiet stream lost? What others say of it, and when to ask."""

from __future__ import annotations

from typing import Final

from crossfeed.integrity.backfill import SECOND_NS, BackfillLimits
from crossfeed.integrity.trust import NEVER_NS
from crossfeed.model.events import MarketData

__all__ = ["TailWatch"]

DOUBLINGS_MAX: Final = 16


class TailWatch:
    """Keeps what is suspected of one stream's end, and when to ask by REST. Of an `IdGate`.

    Attributes:
        suspected: Newest number somebody spoke of.
        due_ns: Monotonic time at which it is missing if it has not come; NEVER_NS: no suspicion.
        check_due_ns: Monotonic time at which to look whether it is time to ask.
    """

    def __init__(self, limits: BackfillLimits, *, can_ask: bool) -> None:
        """Start without suspicion; `can_ask`: whether REST can answer."""
        self._limits = limits
        self._can_ask = can_ask and limits.tail_check_s > 0
        self._quiet_after: MarketData | None = None
        self._checks = 0
        self._proven_ns = 0
        self.suspected = 0
        self.due_ns = NEVER_NS
        self.check_due_ns = NEVER_NS

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which something is to be done."""
        return min(self.due_ns, self.check_due_ns)

    def suspect(self, number: int, mono_ns: int) -> None:
        """Somebody spoke of a number that has not come: give it a grace."""
        self.suspected = number
        self.due_ns = mono_ns + int(self._limits.tail_grace_s * SECOND_NS)

    def prove(self, number: int, mono_ns: int) -> None:
        """Somebody says that `number`, which has come, is the newest: to be told on the timer."""
        self.suspected, self.due_ns = number, mono_ns

    def seen(self, mono_ns: int) -> None:
        """Somebody spoke of the stream's end: no need to ask for a while."""
        self._proven_ns = mono_ns

    def start(self, mono_ns: int) -> None:
        """The stream has begun: look at its silence from now on."""
        if self._can_ask:
            self.check_due_ns = mono_ns + int(self._limits.tail_check_s * SECOND_NS)

    def reconnected(self, mono_ns: int) -> None:
        """A new connection carries the stream: ask soon if it brings nothing."""
        if self._can_ask:
            self._proven_ns = 0
            self.check_due_ns = mono_ns + int(self._limits.reconnect_check_s * SECOND_NS)

    def stop(self) -> None:
        """No connection carries the stream: nothing to suspect, nothing to ask."""
        self.due_ns = self.check_due_ns = NEVER_NS

    def is_time_to_ask(self, last: MarketData, mono_ns: int, *, is_unproven: bool) -> bool:
        """Say whether the end is to be asked for now; sets the time of the next look.

        Args:
            last: The stream's newest event.
            mono_ns: Monotonic time.
            is_unproven: A new connection has brought nothing yet: ask whatever the silence.
        """
        limits = self._limits
        if last is not self._quiet_after:
            self._quiet_after, self._checks = last, 0
        wait_s = limits.tail_check_s * 2.0 ** min(self._checks, DOUBLINGS_MAX)
        wait_ns = int(min(wait_s, limits.tail_check_max_s) * SECOND_NS)
        due_ns = max(last.ts_mono_ns, self._proven_ns) + wait_ns
        if mono_ns < due_ns and not is_unproven:
            self.check_due_ns = due_ns
            return False
        self._checks += 1
        self._proven_ns = mono_ns
        self.check_due_ns = mono_ns + wait_ns
        return True
