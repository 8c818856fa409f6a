"""Bounded queues between the feed and its slower consumers.

Every one has a limit, a policy and counters.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Generic, TypeVar

from crossfeed.errors import QueueOverflowError

__all__ = ["EventQueue", "OverflowPolicy", "ThreadWorker"]

Item = TypeVar("Item")


class OverflowPolicy(StrEnum):
    """What a full queue does with the next event. All are counted exactly."""

    DROP_OLDEST = "drop_oldest"
    """The oldest waiting event is dropped."""
    CONFLATE = "conflate"
    """A newer event replaces the waiting one of the same kind and symbol; then as DROP_OLDEST."""
    DISCONNECT = "disconnect"
    """The subscription ends with `QueueOverflowError`; nothing is dropped silently."""


class EventQueue(Generic[Item]):
    """A bounded queue with one producer (synchronous) and one consumer (async), on one event loop.

    Args:
        capacity: Events it holds at most.
        policy: What to do when full.
        key_of: Key for CONFLATE: events of one key replace each other.

    Attributes:
        dropped: Events lost to the policy since the start (conflated ones included).
        depth_max: Most events that ever waited.
    """

    __slots__ = (
        "_closed",
        "_failure",
        "_items",
        "_key_of",
        "_keys",
        "_waiter",
        "capacity",
        "depth_max",
        "dropped",
        "policy",
    )

    def __init__(
        self,
        capacity: int,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
        key_of: Callable[[Item], Hashable] | None = None,
    ) -> None:
        """Start empty and open."""
        self.capacity = capacity
        self.policy = policy
        self.dropped = 0
        self.depth_max = 0
        self._items: deque[Item] = deque()
        self._key_of = key_of if policy is OverflowPolicy.CONFLATE else None
        self._keys: dict[Hashable, Item] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._failure: QueueOverflowError | None = None

    def __len__(self) -> int:
        """Return how many events wait."""
        return len(self._keys) if self._key_of is not None else len(self._items)

    def put(self, item: Item) -> None:
        """Add one event; never waits.

        After `close` or an overflow disconnect it is dropped and counted.
        """
        if self._closed:
            self.dropped += 1
            return
        if self._key_of is not None:
            self._conflate(self._key_of(item), item)
        elif len(self._items) < self.capacity:
            self._items.append(item)
        elif self.policy is OverflowPolicy.DISCONNECT:
            self.dropped += 1
            msg = (
                f"consumer too slow: {self.capacity} events waiting; raise the capacity or conflate"
            )
            self._failure = QueueOverflowError(msg)
            self._closed = True
        else:
            self._items.popleft()
            self._items.append(item)
            self.dropped += 1
        depth = len(self)
        self.depth_max = max(self.depth_max, depth)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _conflate(self, key: Hashable, item: Item) -> None:
        if self._keys.pop(key, None) is not None:
            self.dropped += 1
        elif len(self._keys) >= self.capacity:
            del self._keys[next(iter(self._keys))]
            self.dropped += 1
        self._keys[key] = item

    def take(self) -> Item | None:
        """Return the next event at once, None if none waits."""
        if self._keys:
            return self._keys.pop(next(iter(self._keys)))
        return self._items.popleft() if self._items else None

    async def get(self) -> Item | None:
        """Wait for the next event; None once the queue is closed and empty.

        Raises:
            QueueOverflowError: The policy is DISCONNECT and the queue overflowed; what still waited
                was returned first.
        """
        while True:
            item = self.take()
            if item is not None:
                return item
            if self._failure is not None:
                raise self._failure
            if self._closed:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def close(self) -> None:
        """Take no more events; the consumer gets what waits, then None.

        Closing twice is harmless.
        """
        self._closed = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class ThreadWorker(Generic[Item]):
    """Calls a handler in a thread of its own, fed through a bounded queue.

    Args:
        name: Thread name.
        handler: Called once per event, in that thread; its exceptions go to `on_failure`.
        capacity: Events that may wait.
        policy: DROP_OLDEST or DISCONNECT (CONFLATE counts as DROP_OLDEST).
        on_failure: Called in the thread with what the handler raised; True ends the worker.
    """

    def __init__(
        self,
        name: str,
        handler: Callable[[Item], object],
        capacity: int,
        policy: OverflowPolicy,
        on_failure: Callable[[BaseException], bool],
    ) -> None:
        """Prepare; the thread starts with the first event."""
        self.dropped = 0
        self.handled = 0
        self._handler = handler
        self._capacity = capacity
        self._policy = policy
        self._on_failure = on_failure
        self._items: deque[Item] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._name = name
        self._thread = self._make_thread()

    def __len__(self) -> int:
        """Return how many events wait."""
        return len(self._items)

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=self._name, daemon=True)

    def reopen(self) -> None:
        """Take events again after `close`, in a new thread once the old one has ended."""
        with self._ready:
            if self._closed and not self._thread.is_alive():
                self._closed = False
                self._thread = self._make_thread()

    def put(self, item: Item) -> None:
        """Hand one event over; never waits for the handler."""
        with self._ready:
            if self._closed:
                self.dropped += 1
                return
            if len(self._items) >= self._capacity:
                self.dropped += 1
                if self._policy is OverflowPolicy.DISCONNECT:
                    self._closed = True
                    self._ready.notify()
                    msg = f"handler thread too slow: {self._capacity} events waiting"
                    raise QueueOverflowError(msg)
                self._items.popleft()
            self._items.append(item)
            self._ready.notify()
        if self._thread.ident is None:
            self._thread.start()

    def close(self, deadline_s: float = 5.0) -> None:
        """Let the handler finish what waits, at most `deadline_s`; then end the thread."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(deadline_s)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._items and not self._closed:
                    self._ready.wait()
                if not self._items:
                    return
                item = self._items.popleft()
            try:
                self._handler(item)
                self.handled += 1
            except BaseException as error:  # noqa: BLE001 - supervision point: user code
                if self._on_failure(error):
                    self.close()
                    return
