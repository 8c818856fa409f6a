"""Owned tasks: everything a client does in the background belongs to one group and ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["TaskOwner"]

log = logging.getLogger("crossfeed.runtime")


class TaskOwner:
    """A group of background tasks with one end.

    Unlike `asyncio.TaskGroup` it outlives the call that opened it and survives the failure of a
    member: a client must go on when one REST job fails. Failures are reported, never lost.

    Args:
        name: Prefix of the tasks' names.
        on_failure: Called with the exception of a task that failed.
    """

    def __init__(self, name: str, on_failure: Callable[[BaseException], object]) -> None:
        """Start empty."""
        self._name = name
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        """Return the number of running tasks."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any] | None:
        """Run `work` in the background. After `close` it is dropped unrun, and None returned."""
        if self._is_closed:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("task %s failed: %r", task.get_name(), error)
            self._on_failure(error)

    def reopen(self) -> None:
        """Take tasks again after `close`."""
        self._is_closed = False

    async def close(self) -> None:
        """Cancel all tasks and wait for their end. Closing twice is harmless."""
        self._is_closed = True
        current = asyncio.current_task()
        others = [task for task in self._tasks if task is not current]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
