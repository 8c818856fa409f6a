"""When recorded moments are due: as recorded, faster, slower, at once, or not before told."""

from __future__ import annotations

import asyncio
from typing import Final

from crossfeed.errors import ConfigError
from crossfeed.model.ports import Clock
from crossfeed.runtime.reel import NS_MAX

__all__ = ["Pace"]

AHEAD_S: Final = 0.001
"""What is due within this time is due now."""
NS: Final = 1_000_000_000


class Pace:
    """Leads recorded wall time to real time. One reader waits on it; speed may change meanwhile.

    Args:
        clock: The real time.
        speed: 1 as recorded, 10 ten times as fast, 0 as fast as possible.

    Raises:
        ConfigError: No speed.
    """

    def __init__(self, clock: Clock, speed: float) -> None:
        """Begin with the first moment waited for."""
        self._clock = clock
        self._speed = _checked(speed)
        self._is_paused = self._is_over = False
        self._base: tuple[int, int] | None = None
        self._changed = asyncio.Event()

    @property
    def speed(self) -> float:
        """The speed; setting it takes effect at once, `ConfigError` if it is none."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        """Change the speed."""
        self._speed = _checked(speed)
        self.rebase()

    @property
    def is_paused(self) -> bool:
        """Whether nothing is due; setting it takes effect at once."""
        return self._is_paused

    @is_paused.setter
    def is_paused(self, is_paused: bool) -> None:
        """Pause, or go on."""
        self._is_paused = is_paused
        self.rebase()

    @property
    def is_free(self) -> bool:
        """Whether everything is due at once."""
        return not self._speed and not self._is_paused

    def rebase(self) -> None:
        """Let the next moment waited for be due at once, and the others follow from it."""
        self._base = None
        self._changed.set()

    def end(self) -> None:
        """Let nobody wait any more."""
        self._is_over = True
        self._changed.set()

    async def wait_for(self, wall_ns: int) -> int:
        """Wait until a recorded moment is due.

        A moment before the one from which the time is counted (another run, a clock set back)
        begins the count anew.

        Returns:
            The latest recorded moment that is due by now; it may lie before `wall_ns` after `end`.
        """
        while not self._is_over:
            self._changed.clear()
            if self.is_free:
                return NS_MAX
            if self._is_paused:
                await self._changed.wait()
                continue
            now_ns = self._clock.monotonic_ns()
            if self._base is None or wall_ns < self._base[0]:
                self._base = (wall_ns, now_ns)
            base_ns, begun_ns = self._base
            left_s = ((wall_ns - base_ns) / self._speed - (now_ns - begun_ns)) / NS
            if left_s <= AHEAD_S:
                return max(wall_ns, base_ns + round((now_ns - begun_ns) * self._speed))
            await self._sleep(left_s)
        return 0

    async def nap(self, seconds: float) -> None:
        """Wait for so long, or until something is changed or ended."""
        self._changed.clear()
        if not self._is_over:
            await self._sleep(seconds)

    async def _sleep(self, seconds: float) -> None:
        """Sleep on the clock, but no longer than until something is changed."""
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        changing = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({sleeping, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changing.cancel()
            await asyncio.gather(sleeping, changing, return_exceptions=True)


def _checked(speed: float) -> float:
    if not 0 <= speed < float("inf"):
        raise ConfigError(f"{speed!r} is no speed: 0 or more", field="speed")
    return speed
