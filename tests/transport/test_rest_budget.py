"""The REST budget: weights in a strict window, priorities, holds."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import ConfigError, SendRejectedError
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.rest_budget import RestBudget, WeightWindow

S = 1_000_000_000


@given(
    steps=st.lists(st.tuples(st.integers(1, 10), st.integers(0, 2 * S)), max_size=60),
)
def test_the_weight_in_any_window_stays_under_the_limit(steps: list[tuple[int, int]]) -> None:
    """The weight in any window stays under the limit."""
    window = WeightWindow(20, 1.0)
    now, spent = 0, []
    for weight, gap in steps:
        now += gap
        wait = window.wait_ns(now, weight)
        if wait:
            assert window.wait_ns(now + wait - 1, weight) == 1
        now += wait
        window.record(now, weight)
        spent.append((now, weight))
    for start, _ in spent:
        assert sum(weight for at, weight in spent if start <= at < start + S) <= 20


def test_a_request_heavier_than_the_limit_waits_for_an_empty_window() -> None:
    """A request heavier than the limit waits for an empty window."""
    window = WeightWindow(20, 1.0)
    assert window.wait_ns(0, 50) == 0
    window.record(0, 50)
    assert window.wait_ns(0, 1) == S
    assert window.wait_ns(0, 50) == S
    assert window.wait_ns(S, 50) == 0


@pytest.mark.parametrize(("weight", "window"), [(0, 1.0), (1, 0.0)])
def test_impossible_budgets_are_refused(weight: int, window: float) -> None:
    """Impossible budgets are refused."""
    with pytest.raises(ConfigError):
        WeightWindow(weight, window)


async def test_urgent_requests_go_first_and_equal_ones_in_order() -> None:
    """Urgent requests go first and equal ones in order."""
    clock = ManualClock()
    budget = RestBudget(1, 10.0)
    done: list[str] = []

    async def request(name: str, priority: int) -> None:
        await budget.spend(1, priority=priority, clock=clock)
        done.append(name)

    await request("first", 1)
    tasks = [
        asyncio.ensure_future(request(name, priority))
        for name, priority in [("idle", 2), ("normal a", 1), ("normal b", 1), ("urgent", 0)]
    ]
    await clock.settle()
    assert budget.stats() == {"weight_used": 1, "waiting": 4}
    await clock.advance(45)
    assert done == ["first", "urgent", "normal a", "normal b", "idle"]
    assert all(task.done() for task in tasks)


@pytest.mark.fault("H05", "H06")
async def test_a_hold_stops_everything_until_its_end() -> None:
    """A hold stops everything until its end."""
    clock = ManualClock()
    budget = RestBudget()
    budget.hold(clock.monotonic_ns(), 60)
    budget.hold(clock.monotonic_ns(), 30)
    waiting = asyncio.ensure_future(budget.spend(1, priority=0, clock=clock))
    await clock.advance(59)
    assert not waiting.done()
    await clock.advance(1)
    assert waiting.done()
    assert budget.held_ns(clock.monotonic_ns()) == 0


async def test_the_queue_is_bounded_and_cancelled_waits_leave_it() -> None:
    """The queue is bounded and cancelled waits leave it."""
    clock = ManualClock()
    budget = RestBudget(1, 10.0, queue_max=2)
    await budget.spend(1, priority=0, clock=clock)
    waiting = [asyncio.ensure_future(budget.spend(1, priority=0, clock=clock)) for _ in range(2)]
    await clock.settle()
    with pytest.raises(SendRejectedError, match="wait already"):
        await budget.spend(1, priority=0, clock=clock)
    waiting[0].cancel()
    await clock.advance(10)
    assert waiting[0].cancelled()
    assert waiting[1].done()
