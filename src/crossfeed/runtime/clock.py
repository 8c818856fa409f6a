"""The system's clock and random numbers: the only file that may use `time` and `random`."""

from __future__ import annotations

import asyncio
import random
import time

__all__ = ["SystemClock", "SystemRandom"]


class SystemClock:
    """The machine's own clock. Stateless; one may serve everything.

    `now_ns` and `monotonic_ns` are the C functions themselves, so that reading the time on the data
    path costs no extra Python call.
    """

    __slots__ = ()

    now_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` (>= 0; less counts as 0) on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))


class SystemRandom:
    """Random numbers for jitter: seeded from the system unless a seed is given. Not for secrets."""

    __slots__ = ("_source",)

    def __init__(self, seed: int | None = None) -> None:
        """Start from `seed`, or from the system's entropy."""
        self._source = random.Random(seed)  # noqa: S311 - jitter, no secret

    def uniform(self, low: float, high: float) -> float:
        """Return a float evenly spread over `low..high`."""
        return self._source.uniform(low, high)
