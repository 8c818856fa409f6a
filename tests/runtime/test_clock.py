"""The system's clock and chance."""

import asyncio
import time

from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.clock import SystemClock, SystemRandom


async def test_the_clock_tells_the_systems_time() -> None:
    """The clock tells the system's time."""
    clock: Clock = SystemClock()
    before = time.time_ns(), time.monotonic_ns()
    now = clock.now_ns(), clock.monotonic_ns()
    assert before[0] - 10**9 <= now[0] <= time.time_ns() + 10**9
    assert before[1] <= now[1] <= time.monotonic_ns()


async def test_sleeping_waits_on_the_loop() -> None:
    """Sleeping waits on the loop."""
    clock = SystemClock()
    before = clock.monotonic_ns()
    await clock.sleep(0.01)
    assert clock.monotonic_ns() - before >= 9_000_000
    others = []
    task = asyncio.ensure_future(asyncio.sleep(0, others.append("ran")))
    await clock.sleep(-1)
    await task
    assert others == ["ran"]


def test_reading_the_clock_is_the_c_function_itself() -> None:
    """Reading the clock is the c function itself."""
    assert SystemClock().monotonic_ns is time.monotonic_ns
    assert SystemClock().now_ns is time.time_ns


def test_chance_is_repeatable_by_seed() -> None:
    """Chance is repeatable by seed."""
    one: RandomSource = SystemRandom(7)
    two = SystemRandom(7)
    drawn = [one.uniform(1, 2) for _ in range(5)]
    assert drawn == [two.uniform(1, 2) for _ in range(5)]
    assert all(1 <= number <= 2 for number in drawn)
    assert [SystemRandom().uniform(0, 1) for _ in range(3)] != [SystemRandom(7).uniform(0, 1)] * 3
