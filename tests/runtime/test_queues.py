"""Bounded queues: policies, counters, ends."""

import asyncio
import threading

import pytest

from crossfeed.errors import QueueOverflowError
from crossfeed.runtime.queues import EventQueue, OverflowPolicy, ThreadWorker

DEADLINE_S = 5.0


def drained(queue: EventQueue) -> list:
    """Take everything that waits."""
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    return taken


# ── policies ──────────────────────────────────────────────────────────────────


def test_what_fits_comes_out_in_order() -> None:
    queue = EventQueue(3)
    for item in "abc":
        queue.put(item)
    assert (len(queue), queue.depth_max, queue.dropped) == (3, 3, 0)
    assert drained(queue) == ["a", "b", "c"]
    assert queue.take() is None


@pytest.mark.fault("P01")
def test_drop_oldest_keeps_the_newest_and_counts() -> None:
    queue = EventQueue(3, OverflowPolicy.DROP_OLDEST)
    for item in range(10):
        queue.put(item)
    assert drained(queue) == [7, 8, 9]
    assert (queue.dropped, queue.depth_max) == (7, 3)


@pytest.mark.fault("P01")
def test_conflate_replaces_by_key_and_keeps_the_rest() -> None:
    queue = EventQueue(2, OverflowPolicy.CONFLATE, lambda item: item[0])
    for item in (("btc", 1), ("eth", 1), ("btc", 2)):
        queue.put(item)
    assert queue.dropped == 1
    queue.put(("sol", 1))  # a third key does not fit: the oldest goes
    assert queue.dropped == 2
    assert len(queue) == 2
    assert drained(queue) == [("btc", 2), ("sol", 1)]


@pytest.mark.fault("P01")
async def test_disconnect_ends_with_an_error_after_what_waited() -> None:
    queue = EventQueue(2, OverflowPolicy.DISCONNECT)
    for item in range(5):
        queue.put(item)
    assert queue.dropped == 3
    assert [await queue.get(), await queue.get()] == [0, 1]
    for _ in range(2):
        with pytest.raises(QueueOverflowError, match="2 events waiting"):
            await queue.get()


# ── waiting and ending ────────────────────────────────────────────────────────


async def test_get_waits_for_put() -> None:
    queue = EventQueue(2)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not getting.done()
    queue.put("now")
    assert await asyncio.wait_for(getting, DEADLINE_S) == "now"


async def test_a_cancelled_get_loses_nothing() -> None:
    queue = EventQueue(2)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put("kept")
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    assert queue.take() == "kept"


async def test_close_lets_the_rest_out_and_then_ends() -> None:
    queue = EventQueue(3)
    queue.put("last")
    queue.close()
    queue.close()
    queue.put("late")
    assert queue.dropped == 1
    assert [await queue.get(), await queue.get(), await queue.get()] == ["last", None, None]


async def test_close_wakes_whoever_waits() -> None:
    queue = EventQueue(3)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.wait_for(getting, DEADLINE_S) is None


# ── threads ───────────────────────────────────────────────────────────────────


def test_a_worker_calls_its_handler_in_one_thread_of_its_own() -> None:
    seen = []
    worker = ThreadWorker(
        "worker",
        lambda item: seen.append((item, threading.current_thread().name)),
        100,
        OverflowPolicy.DROP_OLDEST,
        lambda _: True,
    )
    worker.close()  # never started: nothing to end
    worker = ThreadWorker(
        "worker",
        lambda item: seen.append((item, threading.current_thread().name)),
        100,
        OverflowPolicy.DROP_OLDEST,
        lambda _: True,
    )
    for item in range(20):
        worker.put(item)
    worker.close()
    worker.close()
    assert seen == [(item, "worker") for item in range(20)]
    assert (worker.handled, worker.dropped, len(worker)) == (20, 0, 0)
    worker.put("late")
    assert worker.dropped == 1


def blocked_worker(policy: OverflowPolicy) -> tuple[ThreadWorker, threading.Event, list]:
    """Return a worker whose handler is busy with item 0 until the event is set."""
    began, go, seen = threading.Event(), threading.Event(), []

    def handle(item):
        began.set()
        go.wait(DEADLINE_S)
        seen.append(item)

    worker = ThreadWorker("slow", handle, 2, policy, lambda _: True)
    worker.put(0)
    assert began.wait(DEADLINE_S)
    return worker, go, seen


@pytest.mark.fault("P01")
def test_a_slow_worker_drops_the_oldest() -> None:
    worker, go, seen = blocked_worker(OverflowPolicy.DROP_OLDEST)
    for item in range(1, 6):
        worker.put(item)
    assert (len(worker), worker.dropped) == (2, 3)
    go.set()
    worker.close()
    assert seen == [0, 4, 5]


@pytest.mark.fault("P01")
def test_a_slow_worker_is_disconnected() -> None:
    worker, go, seen = blocked_worker(OverflowPolicy.DISCONNECT)
    worker.put(1)
    worker.put(2)
    with pytest.raises(QueueOverflowError, match="2 events waiting"):
        worker.put(3)
    go.set()
    worker.close()
    assert seen == [0, 1, 2]


@pytest.mark.fault("P02")
@pytest.mark.parametrize("is_end", [False, True])
def test_a_failing_handler_goes_on_unless_told_to_end(is_end: bool) -> None:  # noqa: FBT001
    seen, failures = [], []

    def handle(item):
        if item == 1:
            raise SystemExit(item)  # not even that ends the process
        seen.append(item)

    def on_failure(error: BaseException) -> bool:
        failures.append(error)
        return is_end

    worker = ThreadWorker("failing", handle, 10, OverflowPolicy.DROP_OLDEST, on_failure)
    for item in range(3):
        worker.put(item)
    worker.close()
    assert [type(error) for error in failures] == [SystemExit]
    assert seen == ([0] if is_end else [0, 2])
