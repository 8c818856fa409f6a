"""Wall time from monotonic time."""

import pytest

from crossfeed.testing.clock import ManualClock
from crossfeed.transport.wallclock import WallOffset

S = 1_000_000_000


@pytest.mark.fault("K01")
def test_jumps_are_seen_and_followed() -> None:
    """Jumps are seen and followed."""
    clock = ManualClock()
    wall = WallOffset(clock)
    assert clock.monotonic_ns() + wall.offset_ns == clock.now_ns()
    clock.tick(3600)
    assert wall.sample() == 0
    clock.jump(-7200)
    assert wall.sample() == -7200 * S
    assert clock.monotonic_ns() + wall.offset_ns == clock.now_ns()
    clock.jump(0.5)
    assert wall.sample() == S // 2
    assert wall.jumps == 2


def test_slewing_is_followed_silently() -> None:
    """Slewing is followed silently."""
    clock = ManualClock()
    wall = WallOffset(clock)
    for _ in range(100):
        clock.jump(0.4)
        assert wall.sample() == 0
    assert clock.monotonic_ns() + wall.offset_ns == clock.now_ns()
    assert wall.jumps == 0


class PreemptedClock(ManualClock):
    """A clock whose reader is interrupted between two reads, the first few times."""

    interruptions = 3

    def now_ns(self) -> int:
        """Return wall time, then let 10 ms pass."""
        now = super().now_ns()
        if self.interruptions:
            self.interruptions -= 1
            self.tick(0.01)
        return now


def test_an_interrupted_sample_is_taken_again() -> None:
    """An interrupted sample is taken again."""
    clock = PreemptedClock()
    exact = ManualClock()
    assert WallOffset(clock).offset_ns == exact.now_ns() - exact.monotonic_ns()
