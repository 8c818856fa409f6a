"""The gate on a clock: order, canary, waking, cancellation."""

import asyncio
import random

import pytest

from crossfeed.errors import ConnectFailedError, HandshakeRejectedError
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.gate import VenueGate


def make(clock: ManualClock, **limits: object) -> VenueGate:
    """Make a gate with seeded chance."""
    return VenueGate(AdmissionLimits(**limits), clock=clock, random=random.Random(3))


@pytest.mark.fault("C10")
async def test_a_hundred_pass_in_order_behind_one_canary() -> None:
    """A hundred pass in order behind one canary."""
    clock = ManualClock()
    gate = make(clock)
    start = clock.monotonic_ns()
    passed: list[tuple[int, float]] = []
    connecting = asyncio.Event()

    async def connect(number: int) -> None:
        attempt = await gate.admit()
        passed.append((number, (clock.monotonic_ns() - start) / 1e9))
        if attempt.is_canary:
            await connecting.wait()
        gate.succeeded(attempt)

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(connect(number))
        await clock.advance(10)
        assert passed == [(0, 0.0)]
        assert gate.stats()["waiting"] == 99
        connecting.set()
        await clock.advance(20)
    assert [number for number, _ in passed] == list(range(100))
    times = [at for _, at in passed[1:]]
    assert sum(at == 10 for at in times) == 10
    assert 25 <= times[-1] <= 28
    assert gate.stats() == {"attempts": 100, "failures": 0, "waiting": 0, "is_proven": True}


async def test_a_failing_canary_hands_over_after_a_pause() -> None:
    """A failing canary hands over after a pause."""
    clock = ManualClock()
    gate = make(clock)
    order = []

    async def connect(name: str) -> None:
        attempt = await gate.admit()
        order.append((name, clock.monotonic_ns()))
        gate.failed(attempt, ConnectFailedError("refused"))

    tasks = [asyncio.create_task(connect(name)) for name in "abc"]
    await clock.advance(30)
    assert [name for name, _ in order] == ["a", "b", "c"]
    assert order[0][1] < order[1][1] < order[2][1]
    assert all(task.done() for task in tasks)


async def test_a_cancelled_wait_lets_the_next_pass() -> None:
    """A cancelled wait lets the next pass."""
    clock = ManualClock()
    gate = make(clock)
    canary = await gate.admit()
    waiting = [asyncio.create_task(gate.admit()) for _ in range(2)]
    await clock.settle()
    waiting[0].cancel()
    await clock.settle()
    gate.abandoned(canary)
    await clock.settle()
    assert waiting[0].cancelled()
    assert waiting[1].result().is_canary


@pytest.mark.fault("H06")
async def test_a_ban_is_shown_and_waited_off() -> None:
    """A ban is shown and waited off."""
    clock = ManualClock()
    gate = make(clock)
    attempt = await gate.admit()
    gate.failed(attempt, HandshakeRejectedError("banned", status=418, retry_after_s=600))
    assert 600 <= gate.forced_wait_ns / 1e9 <= 601
    waiting = asyncio.create_task(gate.admit())
    await clock.advance(599)
    assert not waiting.done()
    await clock.advance(2)
    assert waiting.done()
    assert gate.forced_wait_ns == 0


async def test_a_lost_connection_makes_the_next_one_a_canary() -> None:
    """A lost connection makes the next one a canary."""
    clock = ManualClock()
    gate = make(clock)
    gate.succeeded(await gate.admit())
    assert not (await gate.admit()).is_canary
    gate.lost()
    assert (await gate.admit()).is_canary


async def test_a_gate_of_its_own_needs_nothing() -> None:
    """A gate of its own needs nothing."""
    assert (await VenueGate().admit()).is_canary
