"""When to connect again after a failure: a pure rule over errors, time and chance.

Waits follow decorrelated jitter (each is drawn between the base and three times the last one, up to
a cap), so that many clients that fell together do not return together. What the server said comes
first: a ban, a Retry-After, a refusal that will not change, "try again later".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

from crossfeed.errors import (
    ConnectionLostError,
    CrossfeedError,
    HandshakeRejectedError,
    ProtocolViolationError,
    RateLimitedError,
    TransportError,
)
from crossfeed.model.ports import RandomSource

__all__ = ["Backoff", "Decision", "ReconnectPolicy", "Refusal", "classify"]

NS_PER_S: Final = 1_000_000_000

_PERMANENT_STATUSES: Final = frozenset({401, 403, 407, 451})
_PERMANENT_CLOSE_CODES: Final = frozenset({1008})
# 1009 says that we ask for too much at once: the same subscription soon again would loop.
_OVERLOADED_CLOSE_CODES: Final = frozenset({1009, 1013})
_STATUS_TOO_MANY: Final = 429
_STATUS_BANNED: Final = 418


class Refusal(StrEnum):
    """What kind of failure it was."""

    PASSING = "passing"
    OVERLOADED = "overloaded"
    LIMITED = "limited"
    BANNED = "banned"
    PERMANENT = "permanent"


def classify(
    error: CrossfeedError,
    *,
    statuses: Mapping[int, Refusal] | None = None,
    close_codes: Mapping[int, Refusal] | None = None,
) -> Refusal:
    """Tell passing failures from permanent ones.

    Args:
        error: Why the attempt failed or the connection ended.
        statuses: A venue's own meaning of HTTP statuses, before the usual one.
        close_codes: A venue's own meaning of close codes, before the usual one.
    """
    own: Refusal | None = None
    if isinstance(error, HandshakeRejectedError):
        own = (statuses or {}).get(error.status)
        return own if own is not None else _classify_status(error)
    if isinstance(error, ConnectionLostError | ProtocolViolationError):
        own = (close_codes or {}).get(error.close_code)
        return own if own is not None else _classify_close_code(error)
    if isinstance(error, RateLimitedError):
        return Refusal.LIMITED
    if isinstance(error, TransportError):
        return Refusal.PERMANENT if error.is_permanent else Refusal.PASSING
    return Refusal.PASSING if error.retryable else Refusal.PERMANENT


def _classify_status(error: HandshakeRejectedError) -> Refusal:
    if error.status == _STATUS_BANNED:
        return Refusal.BANNED
    if error.status in _PERMANENT_STATUSES or error.is_permanent:
        return Refusal.PERMANENT
    if error.status == _STATUS_TOO_MANY or error.retry_after_s is not None:
        return Refusal.LIMITED
    return Refusal.PASSING


def _classify_close_code(error: ConnectionLostError | ProtocolViolationError) -> Refusal:
    if error.close_code in _PERMANENT_CLOSE_CODES and isinstance(error, ConnectionLostError):
        return Refusal.PERMANENT
    if error.close_code in _OVERLOADED_CLOSE_CODES:
        return Refusal.OVERLOADED
    return Refusal.PASSING


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait. Seconds.

    Attributes:
        base_s: Shortest wait after a repeated failure; the first one after good data waits less
            than this.
        cap_s: Longest wait after passing failures. A connection that gave data for longer than that
            was no failed attempt, however it ended.
        overload_s: Longest wait after "try again later" (close code 1013) and 1009; at least half
            of it is waited.
        permanent_s: Least wait after a permanent refusal.
        limited_s: Wait after 429 without Retry-After.
        banned_s: Wait after 418 without Retry-After.
        retry_after_max_s: Longest Retry-After that is believed.
        good_data_s: Data must have flowed this long before the count of failures starts anew.
        attempts_max: Attempts in a row that may fail before giving up; 0 never gives up.
    """

    base_s: float = 0.5
    cap_s: float = 5.0
    overload_s: float = 60.0
    permanent_s: float = 300.0
    limited_s: float = 60.0
    banned_s: float = 300.0
    retry_after_max_s: float = 86_400.0
    good_data_s: float = 30.0
    attempts_max: int = 10


class Decision(Struct, frozen=True):
    """What to do after a failure.

    Attributes:
        refusal: What kind of failure it was.
        wait_ns: Wait this long before the next attempt.
        is_exhausted: The attempts are used up.
    """

    refusal: Refusal
    wait_ns: int
    is_exhausted: bool

    @property
    def is_for_venue(self) -> bool:
        """Whether the wait binds every connection to the venue, not only this one."""
        return self.refusal in (Refusal.LIMITED, Refusal.BANNED)


class ReconnectPolicy:
    """The rule for one connection.

    Attributes:
        failures: Failures in a row, of attempts and of connections that did not last: the waits
            grow with them.
        fruitless: Attempts in a row that brought nothing: they use up `attempts_max`.
    """

    __slots__ = (
        "_backoff",
        "_close_codes",
        "_random",
        "_statuses",
        "_wait_s",
        "failures",
        "fruitless",
    )

    def __init__(
        self,
        backoff: Backoff,
        random: RandomSource,
        *,
        statuses: Mapping[int, Refusal] | None = None,
        close_codes: Mapping[int, Refusal] | None = None,
    ) -> None:
        """Start without failures; the mappings hold a venue's own meaning of codes."""
        self._backoff = backoff
        self._random = random
        self._statuses = statuses
        self._close_codes = close_codes
        self._wait_s = 0.0
        self.failures = 0
        self.fruitless = 0

    def on_failure(self, error: CrossfeedError, *, good_data_ns: int = 0) -> Decision:
        """Decide after a failed attempt or a lost connection.

        Args:
            error: Why.
            good_data_ns: How long data had flowed on the connection before it was lost. A server
                that accepts and closes again and again therefore never resets the waits; one that
                cuts every few minutes, or a line that drops now and then, uses up no attempts.
        """
        backoff = self._backoff
        if good_data_ns >= backoff.good_data_s * NS_PER_S:
            self.reset()
        self.failures += 1
        is_fruitful = good_data_ns > backoff.cap_s * NS_PER_S
        self.fruitless = 1 if is_fruitful else self.fruitless + 1
        is_exhausted = 0 < backoff.attempts_max < self.fruitless
        refusal = classify(error, statuses=self._statuses, close_codes=self._close_codes)
        return Decision(refusal, round(self._wait_for(refusal, error) * NS_PER_S), is_exhausted)

    def reset(self) -> None:
        """Forget the failures so far."""
        self.failures = 0
        self.fruitless = 0
        self._wait_s = 0.0

    def _wait_for(self, refusal: Refusal, error: CrossfeedError) -> float:
        backoff = self._backoff
        draw = self._random.uniform
        if refusal is Refusal.OVERLOADED:
            return draw(backoff.overload_s / 2.0, backoff.overload_s)
        if refusal is Refusal.PERMANENT:
            return backoff.permanent_s + draw(0.0, backoff.permanent_s / 10.0)
        if refusal is not Refusal.PASSING:
            is_ban = refusal is Refusal.BANNED
            asked_s = self._asked(error, backoff.banned_s if is_ban else backoff.limited_s)
            # Never before the time asked for; a little after it, not all at the same moment.
            return asked_s + draw(0.0, min(backoff.base_s, asked_s))
        if self.failures == 1:
            # Good so far: most drops are over at once, but a crowd must not return together.
            return draw(0.0, backoff.base_s)
        last_s = max(self._wait_s, backoff.base_s)
        self._wait_s = min(backoff.cap_s, draw(backoff.base_s, last_s * 3.0))
        return self._wait_s

    def _asked(self, error: CrossfeedError, otherwise_s: float) -> float:
        asked_s: float | None = None
        if isinstance(error, HandshakeRejectedError | RateLimitedError):
            asked_s = error.retry_after_s
        if asked_s is None:
            return otherwise_s
        return min(max(0.0, asked_s), self._backoff.retry_after_max_s)
