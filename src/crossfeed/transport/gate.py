"""The gate all connections to one venue pass: `Admission` on a clock, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from crossfeed.errors import CrossfeedError
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.transport.canary import Admission, AdmissionLimits, Attempt
from crossfeed.transport.defaults import default_clock, default_random
from crossfeed.transport.rest_budget import wait_turn

__all__ = ["VenueGate"]

NS_PER_S: Final = 1_000_000_000


class VenueGate:
    """Shared by everything that connects to one venue from here: managers, pools, lines.

    Belongs to one event loop. Needs no closing: it holds no task and no socket.
    """

    def __init__(
        self,
        limits: AdmissionLimits | None = None,
        *,
        clock: Clock | None = None,
        random: RandomSource | None = None,
    ) -> None:
        """Open a gate with `limits` (the defaults fit every venue that documents no window)."""
        self._clock = clock if clock is not None else default_clock()
        self._rule = Admission(
            limits if limits is not None else AdmissionLimits(),
            random if random is not None else default_random(),
        )
        self._queue: deque[asyncio.Event] = deque()

    async def admit(self, on_forced: Callable[[], None] | None = None) -> Attempt:
        """Wait for the permission to make one attempt, in the order of asking.

        `on_forced` is called (perhaps more than once) if the wait is for the end of a ban. The
        attempt must be reported on: `succeeded`, `failed` or `abandoned`. Cancelling the wait is
        safe.
        """
        turn = asyncio.Event()
        self._queue.append(turn)
        try:
            while True:
                turn.clear()
                wait_s: float | None = None
                now_ns = self._clock.monotonic_ns()
                if on_forced is not None and self._rule.forced_until_ns > now_ns:
                    on_forced()
                if self._queue[0] is turn:
                    wait_ns = self._rule.wait_ns(now_ns)
                    if not wait_ns:
                        return self._rule.start(now_ns)
                    wait_s = wait_ns / NS_PER_S
                await wait_turn(turn, wait_s, self._clock)
        finally:
            self._queue.remove(turn)
            self._wake()

    def succeeded(self, attempt: Attempt) -> None:
        """Report that the attempt connected."""
        self._rule.on_success(attempt)
        self._wake()

    def failed(
        self, attempt: Attempt, error: CrossfeedError, *, has_alternative: bool = False
    ) -> None:
        """Report that the attempt failed; `has_alternative` as in `Admission.on_failure`."""
        now_ns = self._clock.monotonic_ns()
        self._rule.on_failure(now_ns, attempt, error, has_alternative=has_alternative)
        for turn in self._queue:
            turn.set()  # All of them: they may have to hear of a ban.

    def abandoned(self, attempt: Attempt) -> None:
        """Report that the attempt was given up."""
        self._rule.on_abandoned(attempt)
        self._wake()

    def lost(self) -> None:
        """Report that an established connection was lost."""
        self._rule.on_lost()

    @property
    def forced_wait_ns(self) -> int:
        """How long the venue has forbidden any attempt from now on, 0 if it has not."""
        return max(0, self._rule.forced_until_ns - self._clock.monotonic_ns())

    def stats(self) -> dict[str, int | bool]:
        """Return the counters: attempts, failures in a row, waiting, is_proven."""
        return {
            "attempts": self._rule.attempts,
            "failures": self._rule.failures,
            "waiting": len(self._queue),
            "is_proven": self._rule.is_proven,
        }

    def _wake(self) -> None:
        if self._queue:
            self._queue[0].set()
