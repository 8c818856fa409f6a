"""User handlers: called one by one, isolated from each other and from the feed.

A sync handler is called at once, on the data path. An async handler has a bounded queue and a task
of its own; when the queue is full the oldest item is dropped and counted. A handler that fails
`failures_max` times in a row is quarantined: called no more, and reported.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

from crossfeed.errors import HandlerQuarantinedError

__all__ = ["Handlers"]

Handler = Callable[..., Any]
ReportError = Callable[[BaseException], None]


class _SyncHandler:
    """One plain function."""

    def __init__(self, owner: Handlers, function: Handler) -> None:
        self.function = function
        self.failures = 0
        self._owner = owner

    def __call__(self, *args: object) -> None:
        try:
            self.function(*args)
        except BaseException as exc:  # noqa: BLE001 - isolation: also of cancellation and of exits
            self._owner.on_failure(self, exc)
        else:
            self.failures = 0


class _AsyncHandler:
    """One coroutine function with its queue and task."""

    def __init__(self, owner: Handlers, function: Handler, queue_max: int) -> None:
        self.function = function
        self.failures = 0
        self.dropped = 0
        self._owner = owner
        self._queue: deque[tuple[object, ...]] = deque()
        self._queue_max = queue_max
        self._is_filled = asyncio.Event()
        self._is_ending = False
        self.task: asyncio.Task[None] | None = None

    def __call__(self, *args: object) -> None:
        if self._is_ending:
            return
        if len(self._queue) >= self._queue_max:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(args)
        self._is_filled.set()
        if self.task is None:
            name = getattr(self.function, "__qualname__", "handler")
            self.task = asyncio.create_task(self._run(), name=f"handler {name}")

    def resume(self) -> None:
        """Take items again after an end."""
        self._is_ending = False
        self.task = None

    def end(self) -> None:
        """Take nothing more; the task ends when the queue is empty."""
        self._is_ending = True
        self._is_filled.set()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            if not self._queue:
                if self._is_ending:
                    return
                self._is_filled.clear()
                await self._is_filled.wait()
                continue
            args = self._queue.popleft()
            try:
                await self.function(*args)
            except BaseException as exc:
                if task.cancelling():
                    raise
                self._owner.on_failure(self, exc)
                if self not in self._owner:
                    return
            else:
                self.failures = 0


class Handlers:
    """The handlers of one kind of event. `emit` calls them in the order they were added.

    Attributes:
        failed: Calls that raised.
        quarantined: Handlers called no more.
    """

    def __init__(self, report: ReportError, *, queue_max: int, failures_max: int) -> None:
        """Report failures to `report`; it must not raise."""
        self._report = report
        self._queue_max = queue_max
        self._failures_max = failures_max
        self._handlers: tuple[_SyncHandler | _AsyncHandler, ...] = ()
        self._retired: list[_AsyncHandler] = []
        self._dropped = 0
        self.failed = 0
        self.quarantined = 0

    def add(self, function: Handler) -> Handler:
        """Add a handler; return it, so that this works as a decorator."""
        if not callable(function):
            raise TypeError(f"a handler must be callable, got {type(function).__name__}")
        handler: _SyncHandler | _AsyncHandler
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - objects with an async __call__
        ):
            handler = _AsyncHandler(self, function, self._queue_max)
        else:
            handler = _SyncHandler(self, function)
        self._handlers = (*self._handlers, handler)
        return function

    def remove(self, function: Handler) -> None:
        """Remove a handler; nothing happens if it is not there."""
        for handler in self._handlers:
            if handler.function == function:
                self._retire(handler)

    def emit(self, *args: object) -> None:
        """Call every handler with `args`. Never raises but KeyboardInterrupt."""
        for handler in self._handlers:
            handler(*args)

    def on_failure(self, handler: _SyncHandler | _AsyncHandler, exc: BaseException) -> None:
        """Count and report a failed call; quarantine the handler if it was one too many."""
        if isinstance(exc, KeyboardInterrupt):
            raise exc
        self.failed += 1
        handler.failures += 1
        self._report(exc)
        if handler.failures >= self._failures_max and handler in self._handlers:
            self.quarantined += 1
            self._retire(handler)
            name = getattr(handler.function, "__qualname__", repr(handler.function))
            text = f"handler {name} failed {handler.failures} times in a row and is called no more"
            self._report(HandlerQuarantinedError(text))

    def resume(self) -> None:
        """Make handlers that were drained take items again."""
        for handler in self._handlers:
            if isinstance(handler, _AsyncHandler):
                handler.resume()

    async def drain(self) -> None:
        """Let the async handlers finish what is queued and end their tasks.

        Called from inside one of the handlers, its own task is left to end by itself.
        """
        asyncs = [h for h in (*self._handlers, *self._retired) if isinstance(h, _AsyncHandler)]
        for handler in asyncs:
            handler.end()
        tasks = [h.task for h in asyncs if h.task is not None]
        tasks = [task for task in tasks if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks)
        self._retired.clear()

    def cancel(self) -> None:
        """End the tasks of the async handlers at once, but the one this is called from."""
        for handler in (*self._handlers, *self._retired):
            if isinstance(handler, _AsyncHandler) and handler.task is not None:
                handler.end()
                if handler.task is not asyncio.current_task():
                    handler.task.cancel()

    @property
    def dropped(self) -> int:
        """Items dropped because an async handler was too slow."""
        asyncs = (h.dropped for h in self._handlers if isinstance(h, _AsyncHandler))
        return self._dropped + sum(asyncs)

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, handler: object) -> bool:
        return handler in self._handlers

    def _retire(self, handler: _SyncHandler | _AsyncHandler) -> None:
        self._handlers = tuple(h for h in self._handlers if h is not handler)
        if isinstance(handler, _AsyncHandler):
            self._dropped += handler.dropped
            handler.end()
            self._retired.append(handler)
