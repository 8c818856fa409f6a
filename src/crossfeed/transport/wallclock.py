"""Wall time from the monotonic clock: one clock read a frame, and wall-clock jumps noticed."""

from __future__ import annotations

from typing import Final

from crossfeed.model.ports import Clock

__all__ = ["WallOffset"]

JUMP_NS: Final = 500_000_000
SAMPLE_SPREAD_NS: Final = 50_000
SAMPLES_MAX: Final = 5


class WallOffset:
    """The difference wall - monotonic, to be resampled about once a second.

    Small corrections (slewing) are followed silently; a difference of half a second or more is a
    jump.

    Attributes:
        offset_ns: Add it to a monotonic time to get wall time.
        clock: The clock it samples.
        jumps: Jumps seen so far.
    """

    __slots__ = ("clock", "jumps", "offset_ns")

    def __init__(self, clock: Clock) -> None:
        """Take the first sample."""
        self.clock = clock
        self.offset_ns = self._read()
        self.jumps = 0

    def sample(self) -> int:
        """Take a new sample; return the jump since the last in ns (forward positive), 0 if none."""
        offset_ns = self._read()
        moved_ns = offset_ns - self.offset_ns
        self.offset_ns = offset_ns
        if abs(moved_ns) < JUMP_NS:
            return 0
        self.jumps += 1
        return moved_ns

    def _read(self) -> int:
        """Read both clocks; again if we were interrupted in between. The closest pair counts."""
        best_ns, best_spread_ns = 0, -1
        for _ in range(SAMPLES_MAX):
            before_ns = self.clock.monotonic_ns()
            wall_ns = self.clock.now_ns()
            spread_ns = self.clock.monotonic_ns() - before_ns
            if best_spread_ns < 0 or spread_ns < best_spread_ns:
                best_ns, best_spread_ns = wall_ns - before_ns - spread_ns // 2, spread_ns
            if spread_ns <= SAMPLE_SPREAD_NS:
                break
        return best_ns
