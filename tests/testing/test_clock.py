"""The manual clock: order, rest, jumps."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.model.ports import Clock
from crossfeed.testing.clock import ManualClock

S = 1_000_000_000


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Sleepers wake in the order of their times."""
    clock = ManualClock()
    start = clock.monotonic_ns()
    woke: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woke.append((name, (clock.monotonic_ns() - start) / S))

    tasks = [asyncio.ensure_future(sleeper(*s)) for s in [("c", 3), ("a", 1), ("b", 2), ("a2", 1)]]
    await clock.advance(2.5)
    assert woke == [("a", 1), ("a2", 1), ("b", 2)]
    assert clock.sleepers == 1
    assert clock.monotonic_ns() - start == 2.5 * S
    await clock.advance(0.5)
    assert woke[-1] == ("c", 3)
    assert all(task.done() for task in tasks)
    assert clock.next_due_ns is None


async def test_a_day_of_timers_keeps_its_order_and_passes_quickly() -> None:
    """A day of timers keeps its order and passes quickly."""
    clock = ManualClock()
    ticks: list[tuple[int, str]] = []

    async def every(seconds: int, name: str) -> None:
        while True:
            await clock.sleep(seconds)
            ticks.append((clock.monotonic_ns(), name))

    tasks = [asyncio.ensure_future(every(60, "minute")), asyncio.ensure_future(every(3600, "hour"))]
    await clock.advance(86_400)
    assert len(ticks) == 1440 + 24
    assert ticks == sorted(ticks, key=lambda tick: tick[0])
    for task in tasks:
        task.cancel()
    await clock.settle()
    assert clock.sleepers == 0


async def test_tasks_run_to_rest_between_steps() -> None:
    """Tasks run to rest between steps."""
    clock = ManualClock()
    chain: list[int] = []

    async def link(number: int, after: asyncio.Event, then: asyncio.Event) -> None:
        await after.wait()
        chain.append(number)
        then.set()

    events = [asyncio.Event() for _ in range(101)]
    tasks = [asyncio.ensure_future(link(n, events[n], events[n + 1])) for n in range(100)]
    await clock.settle()
    events[0].set()
    await clock.advance(0)
    assert chain == list(range(100))
    assert all(task.done() for task in tasks)


async def test_zero_and_negative_sleeps_do_not_wait() -> None:
    """Zero and negative sleeps do not wait."""
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.sleepers == 0


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """A cancelled sleeper is forgotten."""
    clock = ManualClock()
    task = asyncio.ensure_future(clock.sleep(10))
    await clock.settle()
    task.cancel()
    await clock.advance(20)
    assert task.cancelled()
    assert clock.next_due_ns is None


async def test_a_loop_that_never_rests_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that never rests is found."""
    monkeypatch.setattr("crossfeed.testing.clock.REST_PASSES_MAX", 100)
    clock = ManualClock()

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - a loop that does not wait is what this is about
            await asyncio.sleep(0)

    task = asyncio.ensure_future(spin())
    with pytest.raises(RuntimeError, match="never come to rest"):
        await clock.settle()
    task.cancel()


def test_jumps_move_the_wall_clock_only() -> None:
    """Jumps move the wall clock only."""
    clock = ManualClock(wall_ns=1000 * S, monotonic_ns=5 * S)
    clock.jump(-10)
    assert (clock.now_ns(), clock.monotonic_ns()) == (990 * S, 5 * S)
    clock.tick(2)
    assert (clock.now_ns(), clock.monotonic_ns()) == (992 * S, 7 * S)


@given(steps=st.lists(st.floats(0, 1000), max_size=20))
def test_both_times_move_together(steps: list[float]) -> None:
    """Both times move together."""
    clock: Clock = ManualClock()
    offset = clock.now_ns() - clock.monotonic_ns()
    for step in steps:
        clock.tick(step)  # type: ignore[attr-defined]
        assert clock.now_ns() - clock.monotonic_ns() == offset
