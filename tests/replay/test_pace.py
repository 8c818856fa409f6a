"""When recorded moments are due."""

import asyncio

import pytest

from crossfeed.errors import ConfigError
from crossfeed.runtime.pace import Pace
from crossfeed.runtime.reel import NS_MAX
from crossfeed.testing.clock import ManualClock

NS = 1_000_000_000
START = 1_700_000_000 * NS


async def passed_s(clock: ManualClock, pace: Pace, wall_ns: int, step_s: float = 0.01) -> float:
    """Return how much time passes until a moment is due."""
    begun_ns = clock.monotonic_ns()
    task = asyncio.ensure_future(pace.wait_for(wall_ns))
    await asyncio.sleep(0)
    while not task.done():
        await clock.advance(step_s)
    await task
    return (clock.monotonic_ns() - begun_ns) / NS


async def test_time_passes_at_the_speed_and_follows_its_changes():
    clock = ManualClock()
    pace = Pace(clock, 10.0)
    assert await passed_s(clock, pace, START) == 0
    assert await passed_s(clock, pace, START + 5 * NS) == pytest.approx(0.5, abs=0.02)
    pace.speed = 2.0
    assert await passed_s(clock, pace, START + 5 * NS) == 0
    assert await passed_s(clock, pace, START + 6 * NS) == pytest.approx(0.5, abs=0.02)
    pace.speed = 0.0
    assert pace.is_free
    assert await pace.wait_for(START + 99 * NS) == NS_MAX


async def test_clock_that_was_set_back_begins_the_count_anew():
    clock = ManualClock()
    pace = Pace(clock, 1.0)
    await pace.wait_for(START)
    assert await passed_s(clock, pace, START - 3_600 * NS) == 0
    assert await passed_s(clock, pace, START - 3_599 * NS) == pytest.approx(1.0, abs=0.02)


async def test_nothing_is_due_while_paused_and_the_end_frees_everybody():
    clock = ManualClock()
    pace = Pace(clock, 1.0)
    await pace.wait_for(START)
    pace.is_paused = True
    task = asyncio.ensure_future(pace.wait_for(START + NS))
    for _ in range(50):
        await clock.advance(1.0)
    assert not task.done()
    pace.is_paused = False
    async with asyncio.timeout(5):
        await task
    pace.is_paused = True
    task = asyncio.ensure_future(pace.wait_for(START + 9 * NS))
    await asyncio.sleep(0)
    pace.end()
    async with asyncio.timeout(5):
        assert await task < START + 9 * NS


@pytest.mark.parametrize("speed", [-1.0, float("nan"), float("inf")])
def test_no_speed_is_refused(speed):
    pace = Pace(ManualClock(), 1.0)
    with pytest.raises(ConfigError):
        pace.speed = speed
    with pytest.raises(ConfigError):
        Pace(ManualClock(), speed)
