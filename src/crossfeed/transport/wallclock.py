"""Wall time from the monotonic clock: one clock read a frame, and wall-clock jumps noticed."""

from __future__ import annotations

from typing import Final

from crossfeed.model.ports import Clock

__all__ = ["WallOffset"]

JUMP_NS: Final = 500_000_000


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
        self.offset_ns = clock.now_ns() - clock.monotonic_ns()
        self.jumps = 0

    def sample(self) -> int:
        """Take a new sample; return the jump since the last in ns (forward positive), 0 if none."""
        offset_ns = self.clock.now_ns() - self.clock.monotonic_ns()
        moved_ns = offset_ns - self.offset_ns
        self.offset_ns = offset_ns
        if abs(moved_ns) < JUMP_NS:
            return 0
        self.jumps += 1
        return moved_ns
