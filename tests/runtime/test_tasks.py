"""Owned tasks end with their owner; what fails is told."""

import asyncio

import pytest

from crossfeed.runtime.tasks import TaskOwner


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


@pytest.fixture
def failures() -> list[BaseException]:
    """What the owner was told."""
    return []


@pytest.fixture
def owner(failures: list[BaseException]) -> TaskOwner:
    """An owner without tasks."""
    return TaskOwner("test", failures.append)


async def test_tasks_are_named_counted_and_forgotten(owner: TaskOwner) -> None:
    task = owner.spawn(asyncio.sleep(0), "nap")
    assert task is not None
    assert task.get_name() == "test:nap"
    assert len(owner) == 1
    await task
    await asyncio.sleep(0)
    assert len(owner) == 0


@pytest.mark.fault("P11")
async def test_a_failure_is_told_and_the_others_go_on(owner, failures, caplog) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    other = owner.spawn(forever(), "other")
    task = owner.spawn(fail(), "bad")
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert [str(error) for error in failures] == ["broken"]
    assert "test:bad" in caplog.text
    assert not other.done()
    await owner.close()


async def test_close_cancels_and_waits(owner, failures) -> None:
    ended = []

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    owner.spawn(tidy(), "tidy")
    await asyncio.sleep(0)
    await owner.close()
    await owner.close()
    assert ended == [True]
    assert failures == []
    assert len(owner) == 0


async def test_after_close_work_is_dropped_unrun_until_reopened(owner: TaskOwner) -> None:
    await owner.close()
    assert owner.spawn(forever(), "late") is None
    owner.reopen()
    task = owner.spawn(asyncio.sleep(0), "again")
    await task


async def test_a_task_may_close_its_owner(owner: TaskOwner) -> None:
    done = asyncio.Event()

    async def end_all() -> None:
        await owner.close()
        done.set()

    owner.spawn(forever(), "other")
    owner.spawn(end_all(), "ender")
    await asyncio.wait_for(done.wait(), 5)
    assert len(owner) <= 1
