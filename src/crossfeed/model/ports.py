"""What the pure parts need from the world: time and chance.

Implemented in `crossfeed.runtime.clock`.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Clock", "RandomSource"]


class Clock(Protocol):
    """A source of time.

    One clock serves a whole client; a simulated one drives replay and tests.
    """

    def now_ns(self) -> int:
        """Return wall time, ns since 1970 UTC. Stamps only: it may jump."""
        ...

    def monotonic_ns(self) -> int:
        """Return monotonic time, ns from an arbitrary start. All timers and ages use this one."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` (>= 0) of this clock's monotonic time."""
        ...


class RandomSource(Protocol):
    """A source of chance. Seeded in simulations."""

    def uniform(self, low: float, high: float) -> float:
        """Return a float evenly spread over `low..high`."""
        ...
