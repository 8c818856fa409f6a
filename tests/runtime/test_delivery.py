"""Delivery: who gets what, in which mode, and what a bad handler can do (nothing to others)."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from crossfeed.errors import HandlerQuarantinedError, QueueOverflowError
from crossfeed.runtime.delivery import DeliveryMode, Router
from crossfeed.runtime.queues import OverflowPolicy
from crossfeed.testing.events import quote, ticker, trade

DEADLINE_S = 5.0


@pytest.fixture
def errors() -> list[BaseException]:
    """What the error handlers were told."""
    return []


@pytest.fixture
async def router(errors: list[BaseException]):
    """A started router, closed after the test."""
    made = Router(failures_max=3)
    made.on_error(errors.append)
    made.start()
    yield made
    await made.close()


# ── who gets what ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data_type", "symbol", "expected"),
    [
        ("trade", "*", [1, 2]),
        ("trade", "BTCUSDT", [1]),
        ("trade", "BTC/USDT", [1]),  # the unified name
        ("trade", "ETHUSDT", [2]),
        ("trade", "SOLUSDT", []),
        ("*", "BTCUSDT", [1, "book_ticker"]),
        ("book_ticker", "*", ["book_ticker"]),
    ],
)
async def test_by_kind_and_symbol(router: Router, data_type, symbol, expected) -> None:
    seen = []
    router.subscribe(data_type, symbol, lambda e: seen.append(getattr(e, "trade_id", e.data_type)))
    router.publish(trade(1))
    router.publish(trade(2, symbol="ETHUSDT"))
    router.publish(quote(1.0, 2.0))
    assert seen == expected


async def test_a_wildcard_gets_events_but_no_live_book(router: Router) -> None:
    book = SimpleNamespace(data_type="book", exchange="binance", symbol="BTCUSDT")
    all_of_it, books = [], []
    router.subscribe("*", "*", all_of_it.append)
    router.subscribe("book", "*", books.append)
    router.publish(book)
    assert (all_of_it, books) == ([], [book])


async def test_in_the_order_of_subscription_and_counted(router: Router) -> None:
    seen = []
    first = router.subscribe("trade", "*", lambda _: seen.append("first"))
    second = router.subscribe("trade", "*", lambda _: seen.append("second"))
    router.publish(trade(1))
    router.publish(ticker(1.0))
    assert seen == ["first", "second"]
    assert (first.delivered, second.delivered, router.unheard) == (1, 1, 1)
    assert (first.dropped, first.waiting) == (0, 0)


async def test_wants_and_find(router: Router) -> None:
    assert not router.wants("trade")
    handler = [].append
    subscription = router.subscribe("trade", "*", handler)
    assert router.wants("trade")
    assert not router.wants("ticker")
    assert router.find("trade", "*", handler) == [subscription]
    assert router.find("trade", "BTCUSDT", handler) == []
    subscription.close()
    subscription.close()
    assert not router.wants("trade")


# ── modes ─────────────────────────────────────────────────────────────────────


async def test_sync_handlers_are_inline_async_ones_queued(router: Router) -> None:
    class Callable:
        async def __call__(self, event: object) -> None: ...

    async def handle(_event: object) -> None: ...

    assert router.subscribe("trade", "*", lambda _: None).mode is DeliveryMode.INLINE
    assert router.subscribe("trade", "*", handle).mode is DeliveryMode.QUEUED
    assert router.subscribe("trade", "*", Callable()).mode is DeliveryMode.QUEUED
    # What must be awaited cannot run inline or in a thread.
    thread = router.subscribe("trade", "*", handle, mode=DeliveryMode.THREAD)
    assert thread.mode is DeliveryMode.QUEUED


async def test_queued_handlers_run_in_order_between_other_work(router: Router) -> None:
    seen, done = [], asyncio.Event()

    async def handle(event) -> None:
        await asyncio.sleep(0)
        seen.append(event.trade_id)
        if len(seen) == 50:
            done.set()

    router.subscribe("trade", "*", handle)
    for number in range(50):
        router.publish(trade(number))
    assert seen == []
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    assert seen == list(range(50))


async def test_a_sync_handler_may_be_queued(router: Router) -> None:
    done = asyncio.Event()
    router.subscribe("trade", "*", lambda _: done.set(), mode=DeliveryMode.QUEUED)
    router.publish(trade(1))
    assert not done.is_set()
    await asyncio.wait_for(done.wait(), DEADLINE_S)


async def test_thread_handlers_run_in_their_thread(router: Router) -> None:
    seen, done = [], threading.Event()

    def handle(event) -> None:
        seen.append((event.trade_id, threading.current_thread() is threading.main_thread()))
        if len(seen) == 20:
            done.set()

    subscription = router.subscribe("trade", "*", handle, mode=DeliveryMode.THREAD)
    for number in range(20):
        router.publish(trade(number))
    assert await asyncio.to_thread(done.wait, DEADLINE_S)
    assert seen == [(number, False) for number in range(20)]
    assert subscription.delivered == 20


async def test_subscribed_before_the_start_runs_after_it() -> None:
    router = Router()
    seen, done = [], asyncio.Event()

    async def handle(event) -> None:
        seen.append(event.trade_id)
        done.set()

    router.subscribe("trade", "*", handle)
    router.publish(trade(1))
    router.start()
    router.start()
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    await router.close()
    assert seen == [1]


# ── P01: slow ones ────────────────────────────────────────────────────────────


@pytest.mark.fault("P01")
@pytest.mark.parametrize(
    ("policy", "kept", "dropped"),
    [
        (OverflowPolicy.DROP_OLDEST, [8, 9], 8),
        (OverflowPolicy.CONFLATE, [9], 9),
        (OverflowPolicy.DISCONNECT, [0, 1], 8),
    ],
)
async def test_a_slow_async_handler_loses_what_its_policy_says(
    router: Router, errors, until, policy, kept, dropped
) -> None:
    """Exactly counted; the others miss nothing and wait for nobody."""
    seen, others = [], []
    # The handler cannot run before this test lets the loop go on: as slow as can be.
    subscription = router.subscribe(
        "trade",
        "*",
        lambda event: seen.append(event.trade_id),
        mode=DeliveryMode.QUEUED,
        capacity=2,
        policy=policy,
    )
    router.subscribe("trade", "*", lambda event: others.append(event.trade_id))
    for number in range(10):
        router.publish(trade(number))
    assert others == list(range(10))
    await until(lambda: seen == kept)
    assert subscription.dropped == dropped
    is_out = policy is OverflowPolicy.DISCONNECT
    assert [type(error) for error in errors] == ([QueueOverflowError] if is_out else [])
    assert subscription.is_closed is is_out


@pytest.mark.fault("P01")
async def test_a_stream_that_is_not_read_is_bounded(router: Router) -> None:
    stream = router.stream(("trade",), capacity=3)
    for number in range(1000):
        router.publish(trade(number))
    assert stream.dropped == 997
    stream.close()
    assert [event.trade_id async for event in stream] == [997, 998, 999]


# ── P02: failing ones ─────────────────────────────────────────────────────────


RAISED = (ValueError("bad"), asyncio.CancelledError(), SystemExit(1), GeneratorExit())


@pytest.mark.fault("P02")
@pytest.mark.parametrize(
    ("mode", "error"),
    [
        (mode, error)
        for mode in DeliveryMode
        for error in RAISED
        # In a coroutine GeneratorExit means that the coroutine itself is being closed.
        if (mode, type(error)) != (DeliveryMode.QUEUED, GeneratorExit)
    ],
)
async def test_whatever_a_handler_raises_stays_with_it(
    router: Router, errors, until, mode, error
) -> None:
    """Isolated, counted, told; the next event comes again."""
    seen, others = [], []

    def handle(event) -> None:
        seen.append(event.trade_id)
        if event.trade_id == 1:
            raise error

    subscription = router.subscribe("trade", "*", handle, mode=mode)
    router.subscribe("trade", "*", lambda event: others.append(event.trade_id))
    for number in range(3):
        router.publish(trade(number))
    await until(lambda: len(seen) == 3 and errors)
    assert seen == others == [0, 1, 2]
    assert subscription.failures == 1
    assert errors == [error]
    assert not subscription.is_quarantined


@pytest.mark.fault("P02")
@pytest.mark.parametrize("mode", [DeliveryMode.INLINE, DeliveryMode.QUEUED, DeliveryMode.THREAD])
async def test_too_many_failures_in_a_row_quarantine(router: Router, errors, until, mode) -> None:
    calls = []

    def handle(event) -> None:
        calls.append(event.trade_id)
        raise ValueError(event.trade_id)

    subscription = router.subscribe("trade", "*", handle, mode=mode)
    for number in range(10):
        router.publish(trade(number))
    await until(lambda: subscription.is_quarantined)
    router.publish(trade(10))
    assert calls == [0, 1, 2]
    assert subscription.failures == 3
    assert isinstance(errors[-1], HandlerQuarantinedError)
    assert not router.wants("trade")


@pytest.mark.fault("P02")
async def test_one_success_forgives(router: Router) -> None:
    def handle(event) -> None:
        if event.trade_id % 3:
            raise ValueError

    subscription = router.subscribe("trade", "*", handle)
    for number in range(30):
        router.publish(trade(number))
    assert subscription.failures == 20
    assert not subscription.is_quarantined


async def test_ctrl_c_in_a_handler_is_the_users(router: Router) -> None:
    def handle(_event) -> None:
        raise KeyboardInterrupt

    router.subscribe("trade", "*", handle)
    with pytest.raises(KeyboardInterrupt):
        router.publish(trade(1))


async def test_an_error_handler_that_fails_is_logged(router: Router, caplog) -> None:
    def fail(_error) -> None:
        raise ValueError("the handler of errors")

    router.on_error(fail)
    router.tell(ValueError("first"))
    assert "an error handler failed itself" in caplog.text


# ── P04: changes inside a handler ─────────────────────────────────────────────


@pytest.mark.fault("P04")
async def test_subscribe_and_close_inside_a_handler(router: Router) -> None:
    seen = []
    late: list = []

    def handle(event) -> None:
        seen.append(event.trade_id)
        if event.trade_id == 1:
            late.append(router.subscribe("trade", "*", lambda e: seen.append(-e.trade_id)))
        if event.trade_id == 2:
            own.close()

    own = router.subscribe("trade", "*", handle)
    for number in range(1, 5):
        router.publish(trade(number))
    assert seen == [1, 2, -2, -3, -4]


@pytest.mark.fault("P04")
async def test_closing_the_next_one_inside_a_handler_spares_it(router: Router) -> None:
    seen = []
    router.subscribe("trade", "*", lambda _: second.close())
    second = router.subscribe("trade", "*", seen.append)
    router.publish(trade(1))
    assert seen == []


@pytest.mark.fault("P04")
async def test_a_queued_handler_may_close_itself(router: Router, until) -> None:
    seen = []

    async def handle(event) -> None:
        seen.append(event.trade_id)
        own.close()

    own = router.subscribe("trade", "*", handle)
    router.publish(trade(1))
    await until(lambda: own.is_closed)
    router.publish(trade(2))
    for _ in range(10):
        await asyncio.sleep(0)
    assert seen == [1]


# ── streams and the end ───────────────────────────────────────────────────────


async def test_streams_end_with_the_router_after_what_waits() -> None:
    router = Router()
    stream = router.stream(("trade", "ticker"))
    router.publish(trade(1))
    router.publish(ticker(5.0))
    router.publish(quote(1.0, 2.0))
    await router.close()
    router.publish(trade(2))
    assert [event.data_type async for event in stream] == ["trade", "ticker"]


async def test_a_stream_of_everything(router: Router) -> None:
    async with router.stream((), symbol="BTCUSDT") as stream:
        router.publish(trade(1))
        router.publish(trade(2, symbol="ETHUSDT"))
        router.publish(quote(1.0, 2.0))
        assert [(await anext(stream)).data_type for _ in range(2)] == ["trade", "book_ticker"]
    assert not router.subscriptions


@pytest.mark.fault("P01")
async def test_a_stream_too_slow_is_told(router: Router) -> None:
    stream = router.stream(("trade",), capacity=1, policy=OverflowPolicy.DISCONNECT)
    router.publish(trade(1))
    router.publish(trade(2))
    assert (await anext(stream)).trade_id == 1
    with pytest.raises(QueueOverflowError):
        await anext(stream)


async def test_close_lets_a_handler_finish_its_last_event() -> None:
    router, begun, released, seen = Router(), asyncio.Event(), asyncio.Event(), []

    async def handle(event) -> None:
        begun.set()
        await released.wait()
        seen.append(event.trade_id)

    router.subscribe("trade", "*", handle)
    router.start()
    router.publish(trade(1))
    await begun.wait()
    closing = asyncio.create_task(router.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    released.set()
    await closing
    assert seen == [1]


async def test_close_hands_over_what_waits_and_can_be_started_again() -> None:
    router = Router()
    seen = []

    async def handle(event) -> None:
        await asyncio.sleep(0)
        seen.append(event.trade_id)

    router.subscribe("trade", "*", handle)
    for round_number in range(2):
        router.start()
        for number in range(20):
            router.publish(trade(100 * round_number + number))
        await router.close()
    assert seen == [*range(20), *range(100, 120)]
