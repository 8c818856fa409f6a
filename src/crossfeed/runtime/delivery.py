"""Delivery: from the pipeline to the subscribers, each in the mode it chose.

`inline` handlers run in the feed itself: fastest, but a slow one delays its own process (which is
measured and reported). `queued` handlers and streams are fed through a bounded queue with a policy,
`thread` handlers through a bounded queue into a thread. Whatever a handler raises is isolated:
counted, reported, and after `failures_max` in a row the handler is quarantined.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, Self

from crossfeed.errors import HandlerQuarantinedError, QueueOverflowError
from crossfeed.model.events import MarketData
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.core_choice import SubscriptionState, WatchedDict
from crossfeed.runtime.queues import EventQueue, OverflowPolicy, ThreadWorker
from crossfeed.transport.handlers import Handlers

__all__ = ["DeliveryMode", "EventStream", "Router", "Subscription"]

log = logging.getLogger("crossfeed.delivery")

Handler = Callable[[Any], object]
Deliverable = MarketData | UnifiedMarketData
"""What can be delivered. (A live book is handed on in the place of an event, under kind "book".)"""

ALL: Final = "*"
QUEUE_CAPACITY: Final = 10_000
FAILURES_MAX: Final = 100
CLOSE_DEADLINE_S: Final = 5.0
CANCEL_DEADLINE_S: Final = 1.0
CALLS_MAX: Final = 1_000
"""Errors and state changes that may wait for an async handler of them."""


class DeliveryMode(StrEnum):
    """How a handler is called."""

    INLINE = "inline"
    QUEUED = "queued"
    THREAD = "thread"


class Subscription(SubscriptionState):
    """One handler's place in the feed. `close()` ends it; also from inside the handler.

    Attributes:
        delivered: Events handed over (queued: put into the queue).
        failures: Exceptions the handler raised.
        is_quarantined: True once it failed too often in a row; it is called no more.
        is_busy: Whether a queued handler is at work on an event.
    """

    def __init__(
        self,
        router: Router,
        data_type: str,
        symbol: str,
        handler: Handler,
        mode: DeliveryMode,
        capacity: int,
        policy: OverflowPolicy,
    ) -> None:
        """Take its place; made by `Router.subscribe`."""
        self.data_type = data_type
        self.symbol = symbol
        self.mode = mode
        self.delivered = 0
        self.failures = 0
        self.is_quarantined = False
        self.is_closed = False
        self._router = router
        self.handler = handler
        self._is_ending = self.is_busy = False
        self._handled = 0
        self._failed_at = -1
        self._in_a_row = 0
        self.queue: EventQueue[Any] | None = None
        self.worker: ThreadWorker[Any] | None = None
        self.push: Handler = handler
        name = getattr(handler, "__qualname__", type(handler).__qualname__)
        self.name = f"{name}[{data_type}/{symbol}]"
        if mode is DeliveryMode.QUEUED:
            self.queue = EventQueue(capacity, policy, _conflation_key)
            self.push = self.queue.put
        elif mode is DeliveryMode.THREAD:
            self.worker = ThreadWorker(self.name, handler, capacity, policy, self._thread_failed)
            self.push = self.worker.put

    def __repr__(self) -> str:
        """Return a status line."""
        state = "quarantined" if self.is_quarantined else "closed" if self.is_closed else self.mode
        counts = f"{self.delivered} delivered, {self.dropped} dropped, {self.failures} failures"
        return f"<Subscription {self.name} {state}: {counts}>"

    @property
    def dropped(self) -> int:
        """Events lost to the overflow policy."""
        place = self._place
        return place.dropped if place is not None else 0

    @property
    def waiting(self) -> int:
        """Events in its queue now."""
        place = self._place
        return len(place) if place is not None else 0

    @property
    def _place(self) -> EventQueue[Any] | ThreadWorker[Any] | None:
        """Where its events wait; an empty queue is one as well, though it counts as false."""
        return self.queue if self.queue is not None else self.worker

    def matches(self, data_type: str, symbols: tuple[str, ...]) -> bool:
        """Say whether an event of `data_type` with any of the names `symbols` belongs here."""
        return _covers(self.data_type, data_type) and (self.symbol == ALL or self.symbol in symbols)

    def failed(self, error: BaseException) -> None:
        """Count one failure; quarantine after too many in a row."""
        is_last = self._count_failure()
        if isinstance(error, QueueOverflowError):
            self.close()
        self._router.report(self, error)
        if is_last:
            self._quarantine()

    def _count_failure(self) -> bool:
        """Count one failure; say whether it was one too many in a row."""
        # A failed inline handler was not delivered to; the others are counted by their places.
        succeeded = self.delivered if self.worker is None else self.worker.handled
        if self.queue is not None:
            succeeded = self._handled
        self.failures += 1
        self._in_a_row = self._in_a_row + 1 if self._failed_at == succeeded else 1
        self._failed_at = succeeded
        return self._in_a_row >= self._router.failures_max

    def _quarantine(self) -> None:
        if self.is_quarantined:
            return
        self.is_quarantined = True
        self.close()
        self._is_ending = True  # what waits in the queue is not handed over either
        msg = f"handler {self.name} failed {self._in_a_row} times in a row; it is called no more"
        self._router.report(self, HandlerQuarantinedError(msg))

    def _thread_failed(self, error: BaseException) -> bool:
        """Count a failure in the handler's own thread; True ends that."""
        is_last = self._count_failure()
        self._router.run_threadsafe(self._router.report, self, error)
        if is_last:
            self._router.run_threadsafe(self._quarantine)
        return is_last

    def begin(self) -> None:
        """Work (again), after a start."""
        self._is_ending = False
        if self.worker is not None:
            self.worker.reopen()

    def end_soon(self) -> None:
        """Let the drain end after the call it is in: that call is what ends the client."""
        self._is_ending = True

    def close(self) -> None:
        """End the subscription. Events still queued are handed over; closing twice is harmless.

        Not so after too many failures: then the handler is called no more.
        """
        if self.is_closed:
            return
        self.is_closed = True
        self.push = _ignore
        self._router.forget(self)
        if self.queue is not None:
            self.queue.close()
        if self.worker is not None:
            self.worker.close(0.0)

    async def drain(self) -> None:
        """Run a queued handler until the subscription is closed and its queue is empty."""
        queue = self.queue
        if queue is None:
            return
        while not self._is_ending:
            try:
                event = await queue.get()
            except QueueOverflowError as error:
                self.failed(error)
                return
            if event is None:
                return
            self.is_busy = True
            try:
                result = self.handler(event)
                if inspect.isawaitable(result):
                    await result
                self._handled += 1
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self.failed(error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - supervision point: user code
                self.failed(error)
            finally:
                self.is_busy = False


def _covers(asked: str, data_type: str) -> bool:
    """Say whether a subscription to `asked` gets `data_type`.

    "*" is every event, but no live book.
    """
    return asked == data_type or (asked == ALL and data_type != "book")


def _ignore(event: object) -> None:
    """Stand in for the handler of a closed subscription."""


def _conflation_key(event: Deliverable) -> tuple[str, str, str]:
    return (event.exchange, event.data_type, event.symbol)


class EventStream(AsyncIterator[Any]):
    """`async for event in stream`: a bounded queue of events. One reader.

    Ends when closed (`async with` does it) or when its client closes; raises QueueOverflowError if
    the policy is DISCONNECT and the consumer was too slow.
    """

    def __init__(self, subscriptions: list[Subscription], queue: EventQueue[Any]) -> None:
        """Read `queue`, which `subscriptions` fill."""
        self._subscriptions = subscriptions
        self._queue = queue
        self.is_closed = False

    def __repr__(self) -> str:
        """Return a status line."""
        what = ", ".join(f"{each.data_type}/{each.symbol}" for each in self._subscriptions)
        state = "closed" if self.is_closed else "open"
        return f"<EventStream {what} {state}: {self.waiting} waiting, {self.dropped} dropped>"

    @property
    def dropped(self) -> int:
        """Events lost to the overflow policy."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """Events that wait to be read."""
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """Whether it still receives events."""
        return any(not subscription.is_closed for subscription in self._subscriptions)

    def __aiter__(self) -> EventStream:
        """Return itself."""
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - whatever was subscribed
        """Wait for the next event."""
        event = await self._queue.get()
        if event is None:
            raise StopAsyncIteration
        return event

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the stream."""
        self.close()

    def close(self) -> None:
        """End the stream; what waits can still be read."""
        self.is_closed = True
        for subscription in self._subscriptions:
            subscription.close()
        self._queue.close()


class Router:
    """Finds the subscribers of each event. One per client; all calls on the client's event loop.

    Attributes:
        unheard: Events nobody had subscribed to.
        table: data_type -> symbol -> its subscribers, as far as they were looked up already.
        failures_max: Failures in a row that put a handler into quarantine.
        errors: The handlers of errors, functions or coroutine functions.
        states: The handlers of state changes, likewise; the client's business.
    """

    def __init__(self, *, failures_max: int = FAILURES_MAX) -> None:
        """Start without subscribers."""
        self.failures_max = failures_max
        self.unheard = 0
        self.subscriptions: list[Subscription] = []
        self._streams: list[EventStream] = []
        self.errors = Handlers(_log_failure, queue_max=CALLS_MAX, failures_max=failures_max)
        self.states = Handlers(self.tell, queue_max=CALLS_MAX, failures_max=failures_max)
        self.table: dict[str, dict[str, tuple[Subscription, ...]]] = WatchedDict()
        self._drains: dict[Subscription, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def on_error(self, handler: Callable[[BaseException], object]) -> None:
        """Call `handler` with every error; it may be a coroutine function."""
        self.errors.add(handler)

    def subscribe(
        self,
        data_type: str,
        symbol: str,
        handler: Handler,
        *,
        mode: DeliveryMode | None = None,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> Subscription:
        """Call `handler` for each event of `data_type` and `symbol` ("*": all of them).

        Sync handlers run inline unless told otherwise, async ones from a queue.

        Raises:
            TypeError: The handler cannot be called.
        """
        if not callable(handler):
            raise TypeError(f"a handler must be callable, got {type(handler).__name__}")
        if mode is None:
            mode = DeliveryMode.QUEUED if _is_async(handler) else DeliveryMode.INLINE
        elif mode is not DeliveryMode.QUEUED and _is_async(handler):
            mode = DeliveryMode.QUEUED
        subscription = Subscription(self, data_type, symbol, handler, mode, capacity, policy)
        self._adopt(subscription)
        if mode is DeliveryMode.QUEUED and self._loop is not None:
            self._start_drain(subscription)
        return subscription

    def stream(
        self,
        data_types: tuple[str, ...],
        symbol: str = ALL,
        *,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> EventStream:
        """Return an async iterator over the events of `data_types` (none: all)."""
        queue: EventQueue[Any] = EventQueue(capacity, policy, _conflation_key)
        made: list[Subscription] = []
        for data_type in data_types or (ALL,):
            subscription = Subscription(
                self, data_type, symbol, queue.put, DeliveryMode.INLINE, capacity, policy
            )
            made.append(subscription)
            self._adopt(subscription)
        stream = EventStream(made, queue)
        self._streams = [*(each for each in self._streams if not each.is_closed), stream]
        return stream

    def _adopt(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)
        self.table.clear()

    def forget(self, subscription: Subscription) -> None:
        """Take a closed subscription out of the table."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
        self.table.clear()

    def publish(self, event: Deliverable) -> None:
        """Hand one event to all its subscribers, in the order of their subscription.

        Synchronous.
        """
        by_symbol = self.table.get(event.data_type)
        found = None if by_symbol is None else by_symbol.get(event.symbol)
        if found is None:
            found = self._find(event)
        if not found:
            self.unheard += 1
            return
        for subscription in found:
            try:
                subscription.push(event)
                subscription.delivered += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - supervision point: user code
                subscription.failed(error)

    def _find(self, event: Deliverable) -> tuple[Subscription, ...]:
        names = (event.symbol, getattr(event, "unified", event.symbol))
        found = tuple(s for s in self.subscriptions if s.matches(event.data_type, names))
        self.table.setdefault(event.data_type, {})[event.symbol] = found
        return found

    def find(self, data_type: str, symbol: str, handler: Handler) -> list[Subscription]:
        """Return the subscriptions made with exactly these."""
        wanted = (data_type, symbol, handler)
        return [s for s in self.subscriptions if (s.data_type, s.symbol, s.handler) == wanted]

    def wants(self, data_type: str) -> bool:
        """Say whether anybody listens to `data_type`."""
        return any(_covers(s.data_type, data_type) for s in self.subscriptions)

    def report(self, subscription: Subscription, error: BaseException) -> None:
        """Tell the error handlers (isolated as well) and the log, once in a while."""
        count = subscription.failures
        if count in {1, 10, 100, 1000} or isinstance(error, HandlerQuarantinedError):
            where = error if count == 1 else None  # a thousand tracebacks help nobody
            text = "handler %s: %r (failure %d)"
            log.error(text, subscription.name, error, count, exc_info=where)
        self.tell(error)

    def tell(self, error: BaseException) -> None:
        """Hand an error to the error handlers; one that fails itself is logged."""
        self.errors.emit(error)

    def run_threadsafe(self, work: Callable[..., None], *arguments: object) -> None:
        """Run something of ours on the loop, asked by a handler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work, *arguments)

    def start(self) -> None:
        """Start the queued handlers; call from the event loop. Starting twice is harmless."""
        self._loop = asyncio.get_running_loop()
        self.errors.resume()
        self.states.resume()
        for subscription in self.subscriptions:
            if subscription not in self._drains:
                subscription.begin()
                if subscription.mode is DeliveryMode.QUEUED:
                    self._start_drain(subscription)

    def _start_drain(self, subscription: Subscription) -> None:
        task = asyncio.get_running_loop().create_task(
            subscription.drain(), name=f"crossfeed:drain:{subscription.name}"
        )
        self._drains[subscription] = task
        task.add_done_callback(lambda _: self._drains.pop(subscription, None))

    async def close(self) -> None:
        """End all streams and subscriptions' work: queued events are handled, within 5 s.

        Subscriptions stay registered, so that a client that connects again goes on. Called from
        inside a handler, that handler's own work ends after the call.
        """
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        current = asyncio.current_task()
        drains = {s: task for s, task in self._drains.items() if task is not current}
        for subscription, task in list(self._drains.items()):
            if task is current:
                subscription.end_soon()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CLOSE_DEADLINE_S
        while any(s.waiting or s.is_busy for s, task in drains.items() if not task.done()):
            if loop.time() >= deadline:
                break
            await asyncio.sleep(0.001)
        for task in drains.values():
            task.cancel()
        if drains:
            await asyncio.wait(drains.values(), timeout=CANCEL_DEADLINE_S)
        await self._close_rest()
        self._loop = None

    async def _close_rest(self) -> None:
        """End the handlers' threads, all at once, and the handlers of errors and states."""
        workers = [s.worker for s in self.subscriptions if s.worker is not None]
        await asyncio.gather(*(asyncio.to_thread(w.close, CLOSE_DEADLINE_S) for w in workers))
        try:
            async with asyncio.timeout(CANCEL_DEADLINE_S):
                await self.states.drain()
                await self.errors.drain()
        except TimeoutError:
            log.warning("a handler of errors or states does not end; it is cancelled")
        finally:
            self.states.cancel()
            self.errors.cancel()


def _log_failure(error: BaseException) -> None:
    log.error("an error handler failed itself: %r", error)


def _is_async(handler: Callable[..., object | Awaitable[object]]) -> bool:
    call = getattr(handler, "__call__", handler)  # noqa: B004 - the method of a callable object
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
