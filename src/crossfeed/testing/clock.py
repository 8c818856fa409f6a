"""A clock that only moves when told to, for tests of anything that takes a `Clock`."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Final

__all__ = ["ManualClock"]

NS_PER_S: Final = 1_000_000_000
REST_PASSES: Final = 4
REST_PASSES_MAX: Final = 100_000


class ManualClock:
    """Virtual wall and monotonic time. Satisfies `crossfeed.model.ports.Clock`.

    ```python
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(3600.0))
    await clock.advance(3600.0)
    assert task.done()
    ```
    `advance` releases sleepers in the order of their times (equal ones in the order of falling
    asleep), and between any two lets the tasks of the loop run until they rest, so that a day of
    timers passes in milliseconds in exactly the order of a real day. What happens outside the loop
    (sockets, threads) it cannot wait
    for: wait for that by events of its own.
    """

    def __init__(
        self, *, wall_ns: int = 1_700_000_000 * NS_PER_S, monotonic_ns: int = NS_PER_S
    ) -> None:
        """Start at the given times, ns."""
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._serial = count()

    def now_ns(self) -> int:
        """Return virtual wall time, ns since 1970 UTC."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Return virtual monotonic time, ns."""
        return self._monotonic_ns

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by `seconds`; 0 only lets other tasks run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        due_ns = self._monotonic_ns + max(1, round(seconds * NS_PER_S))
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (due_ns, next(self._serial), waiter))
        await waiter

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    @property
    def next_due_ns(self) -> int | None:
        """Monotonic time at which the first sleeper is due, None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def tick(self, seconds: float) -> None:
        """Move both times by `seconds` without letting anything run, as a stopped process."""
        self._move_to(self._monotonic_ns + round(seconds * NS_PER_S))

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward (or back, if negative) by `seconds`; monotonic time stays."""
        self._wall_ns += round(seconds * NS_PER_S)

    async def advance(self, seconds: float) -> None:
        """Move both times by `seconds`, waking every sleeper at its own time on the way."""
        target_ns = self._monotonic_ns + round(seconds * NS_PER_S)
        await self.settle()
        while (due_ns := self.next_due_ns) is not None and due_ns <= target_ns:
            self._move_to(max(due_ns, self._monotonic_ns))
            _, _, waiter = heapq.heappop(self._sleepers)
            waiter.set_result(None)
            await self.settle()
        self._move_to(target_ns)
        await self.settle()

    async def settle(self) -> None:
        """Let the tasks of the loop run until none of them can go on without time or the outside.

        Raises:
            RuntimeError: they never rest: something runs in a loop without waiting for the clock.
        """
        quiet = 0
        for _ in range(REST_PASSES_MAX):
            await asyncio.sleep(0)
            quiet = 0 if _is_anything_ready() else quiet + 1
            if quiet >= REST_PASSES:
                return
        raise RuntimeError("the tasks of this loop never come to rest")

    def _move_to(self, monotonic_ns: int) -> None:
        self._wall_ns += monotonic_ns - self._monotonic_ns
        self._monotonic_ns = monotonic_ns


def _is_anything_ready() -> bool:
    """Say whether anything on the loop could go on right now.

    asyncio's own loop shows its queue. Others (uvloop) do not, but every task shows what it waits
    for; plain callbacks stay unseen there, which is why `settle` asks for several quiet passes.
    """
    queue = getattr(asyncio.get_running_loop(), "_ready", None)
    if queue is not None:
        return bool(queue)
    current = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not current:
            waits_for = getattr(task, "_fut_waiter", None)
            if waits_for is None or waits_for.done():
                return True
    return False
