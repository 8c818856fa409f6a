"""How often: windows, budgets, buckets over monotonic ns, and the `rate_limit` decorator.

A strict sliding window is the default everywhere, because a token bucket of n a second lets up to
2n - 1 messages into one second (its burst and its refill) and venues count exactly that.
`TokenBucket` is for venues that document a bucket, and for our own pacing.
"""

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

from crossfeed.errors import ConfigError, RateLimitedError
from crossfeed.model.ports import Clock
from crossfeed.transport.defaults import default_clock

__all__ = ["SendBudget", "SlidingWindow", "TokenBucket", "rate_limit"]

NS_PER_S: Final = 1_000_000_000

_P = ParamSpec("_P")
_R = TypeVar("_R")


class SlidingWindow:
    """At most `limit` events in any span of `window_ns`, strictly.

    An event at `t` leaves the window at `t + window_ns`. Cost O(1) a call, memory O(limit).
    """

    __slots__ = ("_limit", "_times", "_window_ns")

    def __init__(self, limit: int, window_s: float) -> None:
        """Allow `limit` (>= 1) events in any `window_s` seconds.

        Raises:
            ConfigError: a limit below 1 or a window that is not positive.
        """
        if limit < 1:
            raise ConfigError(f"must be at least 1, is {limit}", field="limit")
        if not window_s > 0:
            raise ConfigError(f"must be positive, is {window_s}", field="window_s")
        self._limit = limit
        self._window_ns = round(window_s * NS_PER_S)
        self._times: deque[int] = deque()

    def used(self, now_ns: int) -> int:
        """Return how many events are in the window that ends now, reservations included."""
        times = self._times
        horizon = now_ns - self._window_ns
        while times and times[0] <= horizon:
            times.popleft()
        return len(times)

    def wait_ns(self, now_ns: int, *, spare: int = 0) -> int:
        """Return how long an event must wait so that `spare` places stay free; 0 if not at all."""
        allowed = max(1, self._limit - spare)
        used = self.used(now_ns)
        if used < allowed:
            return 0
        return self._times[used - allowed] + self._window_ns - now_ns

    def record(self, now_ns: int) -> None:
        """Count one event now, whether or not there was room for it."""
        times = self._times
        if times and now_ns < times[-1]:
            # Behind reservations: keep the order, so that expiry stays a pop from the left.
            later = [t for t in times if t > now_ns]
            for _ in later:
                times.pop()
            times.append(now_ns)
            times.extend(later)
        else:
            times.append(now_ns)

    def reserve(self, now_ns: int) -> int:
        """Take the next free place, first come first served; return its time (>= `now_ns`)."""
        used = self.used(now_ns)
        at_ns = now_ns
        if used:
            at_ns = max(at_ns, self._times[-1])
        if used >= self._limit:
            at_ns = max(at_ns, self._times[used - self._limit] + self._window_ns)
        self._times.append(at_ns)
        return at_ns

    def release(self, at_ns: int) -> None:
        """Give back the place taken for `at_ns`; nothing happens if it has left the window."""
        if at_ns in self._times:
            self._times.remove(at_ns)


class TokenBucket:
    """A bucket of `capacity` tokens, refilled at `refill_per_s`. It starts full."""

    __slots__ = ("_capacity", "_level", "_refill_per_s", "_then_ns")

    def __init__(self, capacity: float, refill_per_s: float) -> None:
        """Hold at most `capacity` (> 0) tokens, refill `refill_per_s` (> 0) a second.

        Raises:
            ConfigError: a capacity or rate that is not positive.
        """
        if not capacity > 0:
            raise ConfigError(f"must be positive, is {capacity}", field="capacity")
        if not refill_per_s > 0:
            raise ConfigError(f"must be positive, is {refill_per_s}", field="refill_per_s")
        self._capacity = capacity
        self._refill_per_s = refill_per_s
        self._level = capacity
        self._then_ns: int | None = None

    def level(self, now_ns: int) -> float:
        """Return the tokens in the bucket now."""
        if self._then_ns is not None and now_ns > self._then_ns:
            gained = (now_ns - self._then_ns) / NS_PER_S * self._refill_per_s
            self._level = min(self._capacity, self._level + gained)
        if self._then_ns is None or now_ns > self._then_ns:
            self._then_ns = now_ns
        return self._level

    def wait_ns(self, now_ns: int, tokens: float = 1.0) -> int:
        """Return how long until `tokens` (at most the capacity) are there; 0 if they are."""
        missing = min(tokens, self._capacity) - self.level(now_ns)
        if missing <= 1e-9:  # noqa: PLR2004 - rounding of the refill, far below one token
            return 0
        return max(1, round(missing / self._refill_per_s * NS_PER_S))

    def take(self, now_ns: int, tokens: float = 1.0) -> None:
        """Take `tokens` now; the level may go below zero, which later calls wait off."""
        self._level = self.level(now_ns) - tokens


class SendBudget:
    """What one connection may send: messages leave room for control frames, everything is counted.

    Venues that limit incoming messages count pongs too (Binance: 5 a second, pings and pongs
    included), and a pong that is not sent costs the connection. So messages use at most `limit -
    control_reserve` places of the window, pings and pongs may use them all.
    """

    __slots__ = ("_control_reserve", "_last_ns", "_spacing_ns", "_window")

    def __init__(
        self, *, limit: int, window_s: float, control_reserve: int = 1, spacing_s: float = 0.0
    ) -> None:
        """Allow `limit` frames in any `window_s` (0: no limit), messages `spacing_s` apart."""
        self._window = SlidingWindow(limit, window_s) if limit else None
        self._control_reserve = min(control_reserve, limit - 1) if limit else 0
        self._spacing_ns = round(spacing_s * NS_PER_S)
        self._last_ns: int | None = None

    def message_wait_ns(self, now_ns: int) -> int:
        """Return how long the next message must wait; 0 if it may go now."""
        spaced = 0
        if self._spacing_ns and self._last_ns is not None:
            spaced = self._last_ns + self._spacing_ns - now_ns
        if self._window is None:
            return max(0, spaced)
        return max(0, spaced, self._window.wait_ns(now_ns, spare=self._control_reserve))

    def control_wait_ns(self, now_ns: int) -> int:
        """Return how long the next ping or pong must wait; 0 if it may go now."""
        return 0 if self._window is None else self._window.wait_ns(now_ns)

    def record(self, now_ns: int) -> None:
        """Count one frame sent now, message or control."""
        self._last_ns = now_ns
        if self._window is not None:
            self._window.record(now_ns)

    def used(self, now_ns: int) -> int:
        """Return the frames sent in the window that ends now (0 without a limit)."""
        return 0 if self._window is None else self._window.used(now_ns)


def _window_of(max_calls: int, time_window: float) -> SlidingWindow:
    """Make the window of `rate_limit`; what cannot work is told by the names it has there."""
    if not max_calls >= 1:
        raise ConfigError(f"must be at least 1, is {max_calls}", field="max_calls")
    if not time_window > 0:
        raise ConfigError(f"must be positive, is {time_window}", field="time_window")
    return SlidingWindow(max_calls, time_window)


def rate_limit(
    max_calls: int,
    time_window: float,
    *,
    wait_max_s: float | None = None,
    clock: Clock | None = None,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Limit how often the decorated function runs: `max_calls` in any `time_window` seconds.

    A coroutine function waits for its turn, first come first served; a cancelled wait gives its
    place back. A plain function cannot wait without blocking the event loop, so it raises instead.

    Args:
        max_calls: Calls allowed in the window, at least 1.
        time_window: Length of the sliding window, seconds.
        wait_max_s: Coroutine functions: raise rather than wait longer than this. None waits as long
            as it takes.
        clock: Source of time; the system's by default.

    Raises:
        ConfigError: at decoration, for a limit below 1 or a window that is not positive.
        RateLimitedError: at the call, when it would have to wait (plain function) or wait too long
            (coroutine function). The function was not called and no place is taken.
    """
    window = _window_of(max_calls, time_window)
    source = clock if clock is not None else default_clock()

    def refuse(name: str, wait_ns: int) -> RateLimitedError:
        text = f"{name}: more than {max_calls} calls in {time_window:g} s"
        return RateLimitedError("rate_limit", text, retry_after_s=wait_ns / NS_PER_S)

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        name = getattr(function, "__qualname__", repr(function))
        if inspect.iscoroutinefunction(function):
            coroutine = cast("Callable[_P, Awaitable[Any]]", function)

            @functools.wraps(function)
            async def wait_and_call(*args: _P.args, **kwargs: _P.kwargs) -> object:
                """Wait for a place in the window, then call."""
                now_ns = source.monotonic_ns()
                at_ns = window.reserve(now_ns)
                wait_ns = at_ns - now_ns
                if wait_ns:
                    if wait_max_s is not None and wait_ns > wait_max_s * NS_PER_S:
                        window.release(at_ns)
                        raise refuse(name, wait_ns)
                    try:
                        await source.sleep(wait_ns / NS_PER_S)
                    except BaseException:
                        window.release(at_ns)
                        raise
                return await coroutine(*args, **kwargs)

            return cast("Callable[_P, _R]", wait_and_call)

        @functools.wraps(function)
        def call_or_raise(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            now_ns = source.monotonic_ns()
            wait_ns = window.wait_ns(now_ns)
            if wait_ns:
                raise refuse(name, wait_ns)
            window.record(now_ns)
            return function(*args, **kwargs)

        return call_or_raise

    return decorate
