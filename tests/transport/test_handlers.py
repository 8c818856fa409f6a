"""Handlers by themselves: order, isolation, bounds, ends."""

import asyncio
import functools

import pytest

from crossfeed.errors import HandlerQuarantinedError
from crossfeed.transport.handlers import Handlers


def make(queue_max: int = 3, failures_max: int = 2) -> tuple[Handlers, list[BaseException]]:
    """Make handlers and the list of what they report."""
    reported: list[BaseException] = []
    return Handlers(reported.append, queue_max=queue_max, failures_max=failures_max), reported


def test_sync_handlers_are_called_in_order_at_once() -> None:
    """Sync handlers are called in order at once."""
    handlers, _ = make()
    calls: list[tuple[str, int]] = []
    handlers.add(lambda n: calls.append(("first", n)))
    handlers.add(lambda n: calls.append(("second", n)))
    handlers.emit(1)
    handlers.emit(2)
    assert calls == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]
    assert len(handlers) == 2


def test_what_cannot_be_called_is_no_handler() -> None:
    """What cannot be called is no handler."""
    handlers, _ = make()
    with pytest.raises(TypeError, match="callable"):
        handlers.add("not a function")


@pytest.mark.fault("P02")
def test_a_keyboard_interrupt_is_not_kept_from_the_user() -> None:
    """A keyboard interrupt is not kept from the user."""
    handlers, reported = make()

    def interrupted() -> None:
        raise KeyboardInterrupt

    handlers.add(interrupted)
    with pytest.raises(KeyboardInterrupt):
        handlers.emit()
    assert reported == []


@pytest.mark.fault("P02")
def test_quarantine_is_reported_once_and_others_go_on() -> None:
    """Quarantine is reported once and others go on."""
    handlers, reported = make(failures_max=2)
    calls: list[int] = []

    def fail(_number: int) -> None:
        raise ValueError

    handlers.add(fail)
    handlers.add(calls.append)
    for number in range(4):
        handlers.emit(number)
    assert calls == [0, 1, 2, 3]
    assert [type(error) for error in reported] == [ValueError, ValueError, HandlerQuarantinedError]
    assert "fail failed 2 times in a row" in str(reported[2])
    assert (handlers.failed, handlers.quarantined, len(handlers)) == (2, 1, 1)


async def test_async_callables_of_all_kinds_are_known() -> None:
    """Async callables of all kinds are known."""
    handlers, _ = make()
    got: list[tuple[str, int]] = []

    class Callable:
        async def __call__(self, number: int) -> None:
            got.append(("object", number))

        async def method(self, number: int) -> None:
            got.append(("method", number))

    async def function(kind: str, number: int) -> None:
        got.append((kind, number))

    for handler in (Callable(), Callable().method, functools.partial(function, "partial")):
        handlers.add(handler)
    handlers.emit(1)
    assert got == []
    await handlers.drain()
    assert sorted(got) == [("method", 1), ("object", 1), ("partial", 1)]


async def test_drained_handlers_take_nothing_until_resumed() -> None:
    """Drained handlers take nothing until resumed."""
    handlers, _ = make()
    got: list[int] = []

    async def handle(number: int) -> None:
        got.append(number)

    handlers.add(handle)
    handlers.emit(1)
    await handlers.drain()
    handlers.emit(2)
    await handlers.drain()
    handlers.resume()
    handlers.emit(3)
    await handlers.drain()
    assert got == [1, 3]


@pytest.mark.fault("P01")
async def test_a_full_queue_drops_the_oldest() -> None:
    """A full queue drops the oldest."""
    handlers, _ = make(queue_max=3)
    got: list[int] = []

    async def handle(number: int) -> None:
        got.append(number)

    handlers.add(handle)
    for number in range(10):
        handlers.emit(number)
    await handlers.drain()
    assert got == [7, 8, 9]
    assert handlers.dropped == 7


async def test_a_removed_async_handler_finishes_what_it_has() -> None:
    """A removed async handler finishes what it has."""
    handlers, _ = make()
    got: list[int] = []

    async def handle(number: int) -> None:
        got.append(number)

    handlers.add(handle)
    for number in range(5):
        handlers.emit(number)
    handlers.remove(handle)
    handlers.remove(handle)
    handlers.emit(9)
    await handlers.drain()
    assert got == [2, 3, 4]
    assert handlers.dropped == 2
    assert len(handlers) == 0


async def test_cancel_ends_handlers_that_hang() -> None:
    """Cancel ends handlers that hang."""
    handlers, reported = make()

    async def hang() -> None:
        await asyncio.Event().wait()

    handlers.add(hang)
    handlers.emit()
    await asyncio.sleep(0)
    handlers.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reported == []


@pytest.mark.fault("P02")
async def test_a_cancellation_raised_by_the_handler_itself_does_not_end_its_task() -> None:
    """A cancellation raised by the handler itself does not end its task."""
    handlers, reported = make(failures_max=10)
    got: list[int] = []

    async def odd(number: int) -> None:
        if number == 1:
            raise asyncio.CancelledError
        got.append(number)

    handlers.add(odd)
    for number in range(3):
        handlers.emit(number)
    await handlers.drain()
    assert got == [0, 2]
    assert [type(error) for error in reported] == [asyncio.CancelledError]
