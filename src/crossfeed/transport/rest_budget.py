"""A venue's REST budget: weight in a strict sliding window, urgent requests first, bans obeyed."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import Final

from crossfeed.errors import ConfigError, SendRejectedError
from crossfeed.model.ports import Clock

__all__ = ["RestBudget", "WeightWindow"]

NS_PER_S: Final = 1_000_000_000


class WeightWindow:
    """At most `weight_max` in any span of `window_ns`. Pure."""

    __slots__ = ("_spent", "_weight_max", "_window_ns", "used")

    def __init__(self, weight_max: int, window_s: float) -> None:
        """Allow `weight_max` (>= 1) in any `window_s` seconds.

        Raises:
            ConfigError: a weight below 1 or a window that is not positive.
        """
        if weight_max < 1:
            raise ConfigError(f"must be at least 1, is {weight_max}", field="weight_max")
        if not window_s > 0:
            raise ConfigError(f"must be positive, is {window_s}", field="window_s")
        self._weight_max = weight_max
        self._window_ns = round(window_s * NS_PER_S)
        self._spent: deque[tuple[int, int]] = deque()
        self.used = 0

    def wait_ns(self, now_ns: int, weight: int) -> int:
        """Return how long a request of `weight` must wait; one too heavy waits for all."""
        self._expire(now_ns)
        excess = self.used + min(weight, self._weight_max) - self._weight_max
        if excess <= 0:
            return 0
        for at_ns, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return at_ns + self._window_ns - now_ns
        raise AssertionError("an empty window has room")

    def record(self, now_ns: int, weight: int) -> None:
        """Count a request now."""
        self._expire(now_ns)
        self._spent.append((now_ns, weight))
        self.used += weight

    def _expire(self, now_ns: int) -> None:
        horizon = now_ns - self._window_ns
        while self._spent and self._spent[0][0] <= horizon:
            self.used -= self._spent.popleft()[1]


class RestBudget:
    """Shared by all REST clients of one venue. Belongs to one event loop; needs no closing.

    Waiting requests go in the order of their priority (0 first), equal ones first come first
    served.
    """

    def __init__(
        self, weight_max: int = 0, window_s: float = 60.0, *, queue_max: int = 1000
    ) -> None:
        """Allow `weight_max` in any `window_s` seconds (0: no limit); at most `queue_max` wait."""
        self._window = WeightWindow(weight_max, window_s) if weight_max else None
        self._queue_max = queue_max
        self._queue: list[tuple[int, int, asyncio.Event]] = []
        self._serial = 0
        self._held_until_ns = 0

    def held_ns(self, now_ns: int) -> int:
        """Return how long the venue has forbidden requests from now on, 0 if it has not."""
        return max(0, self._held_until_ns - now_ns)

    def hold(self, now_ns: int, seconds: float) -> None:
        """Send nothing for `seconds` (429, 418); an earlier end never shortens a later one."""
        self._held_until_ns = max(self._held_until_ns, now_ns + round(seconds * NS_PER_S))

    def wait_ns(self, now_ns: int, weight: int) -> int:
        """Return how long a request of `weight` would have to wait, were it first in the queue."""
        room_ns = self._window.wait_ns(now_ns, weight) if self._window is not None else 0
        return max(self.held_ns(now_ns), room_ns)

    async def spend(self, weight: int, *, priority: int, clock: Clock) -> None:
        """Wait for the turn of a request and count it. Cancelling the wait is safe.

        Raises:
            SendRejectedError: too many requests wait already.
        """
        if len(self._queue) >= self._queue_max:
            raise SendRejectedError(f"{self._queue_max} REST requests wait already (queue_max)")
        turn = asyncio.Event()
        self._serial += 1
        entry = (priority, self._serial, turn)
        heapq.heappush(self._queue, entry)
        self._wake()
        try:
            while True:
                turn.clear()
                wait_s: float | None = None
                if self._queue[0] is entry:
                    now_ns = clock.monotonic_ns()
                    wait_ns = self.wait_ns(now_ns, weight)
                    if not wait_ns:
                        if self._window is not None:
                            self._window.record(now_ns, weight)
                        return
                    wait_s = wait_ns / NS_PER_S
                await wait_turn(turn, wait_s, clock)
        finally:
            self._queue.remove(entry)
            heapq.heapify(self._queue)
            self._wake()

    def stats(self) -> dict[str, int]:
        """Return the weight in the window and the number of waiting requests."""
        used = self._window.used if self._window is not None else 0
        return {"weight_used": used, "waiting": len(self._queue)}

    def _wake(self) -> None:
        if self._queue:
            self._queue[0][2].set()


async def wait_turn(turn: asyncio.Event, wait_s: float | None, clock: Clock) -> None:
    """Wait for `turn`, or at most `wait_s` seconds of `clock`."""
    if wait_s is None:
        await turn.wait()
        return
    waits = {asyncio.ensure_future(turn.wait()), asyncio.ensure_future(clock.sleep(wait_s))}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
