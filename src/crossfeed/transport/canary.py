"""Who may connect when: one canary per venue after an outage, then a few, then a pace.

While nothing proves that the venue is up (at the start, after a lost connection, after a failed
attempt) one attempt at a time is made: the canary. Its success opens the gate: at most `burst` pass
at once, `rate_per_s` a second after that. The venue's own windows for connects hold under all of
this, and what the venue told one connection (429, 418) binds all.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.model.ports import RandomSource
from crossfeed.transport.limits import SlidingWindow, TokenBucket
from crossfeed.transport.reconnect import Backoff, ReconnectPolicy, Refusal

__all__ = ["Admission", "AdmissionLimits", "Attempt"]

NS_PER_S: Final = 1_000_000_000


class AdmissionLimits(Struct, frozen=True, kw_only=True):
    """How fast connections to one venue may be made.

    Attributes:
        windows: The venue's limits as (connects, seconds), each a strict sliding window.
        burst: Connects at once, the canary among them.
        rate_per_s: Connects a second after these.
        attempt_timeout_s: An attempt without news for so long no longer holds up others.
        backoff: Distance of canaries while the venue is down.
    """

    windows: tuple[tuple[int, float], ...] = ()
    burst: int = 10
    rate_per_s: float = 5.0
    attempt_timeout_s: float = 60.0
    backoff: Backoff = Backoff(attempts_max=0)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: names the field.
        """
        if self.burst < 1:
            raise ConfigError(f"must be at least 1, is {self.burst}", field="burst")


class Attempt(Struct, frozen=True):
    """One admitted attempt, to be reported on once."""

    serial: int
    is_canary: bool


class Admission:
    """The rule for one venue.

    Attributes:
        is_proven: A connection was made since the last loss or failure.
        failures: Failed attempts since the last success.
        attempts: Attempts admitted so far.
        forced_until_ns: No attempt before this time: the venue forbade it, or refused us for good.
    """

    __slots__ = (
        "_bucket",
        "_canary",
        "_canary_until_ns",
        "_hold_until_ns",
        "_policy",
        "_timeout_ns",
        "_windows",
        "attempts",
        "failures",
        "forced_until_ns",
        "is_proven",
    )

    def __init__(self, limits: AdmissionLimits, random: RandomSource) -> None:
        """Start unproven."""
        self._windows = [SlidingWindow(limit, window_s) for limit, window_s in limits.windows]
        self._bucket = TokenBucket(limits.burst, limits.rate_per_s)
        self._policy = ReconnectPolicy(limits.backoff, random)
        self._timeout_ns = round(limits.attempt_timeout_s * NS_PER_S)
        self._canary: Attempt | None = None
        self._canary_until_ns = 0
        self._hold_until_ns = 0
        self.is_proven = False
        self.failures = 0
        self.attempts = 0
        self.forced_until_ns = 0

    def wait_ns(self, now_ns: int) -> int:
        """Return how long the next attempt must wait at least; 0 if it may be made now.

        Ask again when that time is over or an attempt has been reported on.
        """
        waits = [0, self.forced_until_ns - now_ns]
        if not self.is_proven:
            waits.append(self._hold_until_ns - now_ns)
            if self._canary is not None:
                waits.append(self._canary_until_ns - now_ns)
        else:
            waits.append(self._bucket.wait_ns(now_ns))
        waits.extend(window.wait_ns(now_ns) for window in self._windows)
        return max(waits)

    def start(self, now_ns: int) -> Attempt:
        """Begin an attempt now; `wait_ns` must have said 0."""
        self.attempts += 1
        for window in self._windows:
            window.record(now_ns)
        attempt = Attempt(self.attempts, not self.is_proven)
        self._bucket.take(now_ns)
        if not self.is_proven:
            self._canary = attempt
            self._canary_until_ns = now_ns + self._timeout_ns
        return attempt

    def on_success(self, attempt: Attempt) -> None:
        """Note that the attempt connected."""
        self._end(attempt)
        self.is_proven = True
        self.failures = 0
        self._policy.reset()

    def on_failure(
        self, now_ns: int, attempt: Attempt, error: CrossfeedError, *, has_alternative: bool = False
    ) -> None:
        """Note that the attempt failed.

        Args:
            now_ns: Monotonic time.
            attempt: Which one.
            error: Why.
            has_alternative: The caller goes on with another address, so that a permanent refusal of
                this one says nothing about the venue.
        """
        self._end(attempt)
        self.is_proven = False
        self.failures += 1
        decision = self._policy.on_failure(error)
        until_ns = now_ns + decision.wait_ns
        if decision.refusal is Refusal.PERMANENT:
            if not has_alternative:
                self.forced_until_ns = max(self.forced_until_ns, until_ns)
        elif decision.is_for_venue:
            self.forced_until_ns = max(self.forced_until_ns, until_ns)
        else:
            self._hold_until_ns = max(self._hold_until_ns, until_ns)

    def on_abandoned(self, attempt: Attempt) -> None:
        """Note that the attempt was given up without a verdict."""
        self._end(attempt)

    def on_lost(self) -> None:
        """Note that an established connection was lost: the venue may be down."""
        self.is_proven = False

    def _end(self, attempt: Attempt) -> None:
        if self._canary == attempt:
            self._canary = None
