"""Clocks: the simulator's live one, and one that tests turn by hand.

These are the only places of the simulator that read a clock.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["ManualClock", "SystemClock"]


class SystemClock:
    """Wall time that cannot jump: read once, then carried on by the monotonic clock."""

    def __init__(self) -> None:
        """Anchor the wall clock to the monotonic one."""
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the time, ns since 1970 UTC."""
        return time.monotonic_ns() + self._offset_ns

    def monotonic_ns(self) -> int:
        """Return monotonic time, ns."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands until it is moved: for virtual time."""

    def __init__(self, now_ns: int = 1_782_000_000_000_000_000) -> None:
        """Stand at `now_ns`, ns since 1970 UTC."""
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Return the time, ns since 1970 UTC."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """Return the same time as `now_ns`."""
        return self._now_ns

    async def sleep(self, seconds: float) -> None:
        """Move the clock by `seconds` and let other tasks run."""
        self.advance(round(seconds * 1e9))
        await asyncio.sleep(0)

    def advance(self, nanoseconds: int) -> int:
        """Move the clock forward; return the new time."""
        self._now_ns += nanoseconds
        return self._now_ns
