"""Deadlines on the injected clock."""

import asyncio

import pytest

from crossfeed.errors import DeadlineError
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.deadline import deadline


async def wait_under(clock: ManualClock, limit_s: float, wait_s: float) -> str:
    """Sleep under a deadline."""
    async with deadline(clock, limit_s, "sleeping", where="test"):
        await clock.sleep(wait_s)
    return "slept"


async def test_what_is_done_in_time_is_done() -> None:
    """What is done in time is done."""
    clock = ManualClock()
    task = asyncio.ensure_future(wait_under(clock, 10, 9))
    await clock.advance(9)
    assert await task == "slept"
    assert clock.sleepers == 0


async def test_what_is_late_is_cancelled_and_named() -> None:
    """What is late is cancelled and named."""
    clock = ManualClock()
    task = asyncio.ensure_future(wait_under(clock, 10, 11))
    await clock.advance(10)
    with pytest.raises(DeadlineError, match="test: sleeping took longer than 10 s") as caught:
        await task
    assert caught.value.limit_s == 10
    assert isinstance(caught.value, TimeoutError)
    assert clock.sleepers == 0


async def test_a_cancellation_from_outside_stays_one() -> None:
    """A cancellation from outside stays one."""
    clock = ManualClock()
    task = asyncio.ensure_future(wait_under(clock, 10, 11))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0


async def test_errors_of_the_block_pass_through_timeouts_included() -> None:
    """Errors of the block pass through timeouts included."""
    clock = ManualClock()
    for error in (ValueError("own"), TimeoutError("own")):
        with pytest.raises(type(error), match="own"):
            async with deadline(clock, 10, "failing"):
                raise error


async def test_nested_deadlines_end_in_the_shorter_one() -> None:
    """Nested deadlines end in the shorter one."""
    clock = ManualClock()

    async def nested() -> None:
        async with deadline(clock, 10, "outer"), deadline(clock, 5, "inner"):
            await clock.sleep(20)

    task = asyncio.ensure_future(nested())
    await clock.advance(20)
    with pytest.raises(DeadlineError, match="inner"):
        await task
