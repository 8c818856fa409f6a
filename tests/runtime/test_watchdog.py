"""Whoever blocks the event loop is named, with the stack, while it happens."""

import asyncio
import contextlib
import time

import pytest

from crossfeed.errors import LoopBlockedError
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.watchdog import LoopWatchdog


@pytest.fixture
async def told():
    """A running watchdog of a short patience, and what it told."""
    errors: list[BaseException] = []
    watchdog = LoopWatchdog(SystemClock(), errors.append, limit_s=0.15)

    async def beats() -> None:
        while True:
            watchdog.beat()
            await asyncio.sleep(0.02)

    watchdog.start()
    watchdog.start()
    beating = asyncio.create_task(beats())
    yield watchdog, errors
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    watchdog.close()
    watchdog.close()


def a_slow_handler() -> None:
    """Block as a user's handler might."""
    time.sleep(0.5)


@pytest.mark.fault("P03")
async def test_the_block_is_told_once_with_its_stack(told, until, caplog) -> None:
    watchdog, errors = told
    await asyncio.sleep(0.05)
    a_slow_handler()
    await until(lambda: errors)
    (error,) = errors
    assert isinstance(error, LoopBlockedError)
    assert 0.3 < error.seconds < 5
    assert "a_slow_handler" in error.stack
    assert "a_slow_handler" in str(error)
    assert "a_slow_handler" in caplog.text  # while it still blocked
    assert watchdog.blocks == 1
    assert watchdog.longest_s == error.seconds


async def test_a_busy_loop_is_no_blocked_one(told) -> None:
    watchdog, errors = told
    for _ in range(10):
        time.sleep(0.02)  # noqa: ASYNC251 - busy on purpose
        await asyncio.sleep(0.01)
    assert (watchdog.blocks, errors) == (0, [])


@pytest.mark.fault("P03")
async def test_a_client_reports_its_own_slow_handler(simulate, reach, until) -> None:
    """Within a second, to the client's error handlers."""
    from crossfeed import VenueClient

    venue = await simulate(venues=("binance",), symbols=("BTC/USD",), rate_per_s=300)
    client = VenueClient(
        "binance", symbols=["BTC/USD"], kinds=["trade"], settings=reach(venue, "binance")
    )
    errors, calls = [], []
    client.on_error(errors.append)

    @client.on("trade")
    def sleepy(_trade: object) -> None:
        calls.append(None)
        if len(calls) == 5:
            time.sleep(0.9)

    async with client:
        await until(lambda: any(isinstance(error, LoopBlockedError) for error in errors))
        count = len(calls)
        await until(lambda: len(calls) > count + 5)
    error = next(error for error in errors if isinstance(error, LoopBlockedError))
    assert "sleepy" in error.stack
    assert client.get_stats()["gaps"] == 0
