"""Windows, buckets, send budgets and the decorator, over virtual time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import ConfigError, RateLimitedError
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.limits import SendBudget, SlidingWindow, TokenBucket, rate_limit

S = 1_000_000_000
gaps = st.lists(st.integers(0, 3 * S), max_size=60)


def busiest(times: list[int], window_ns: int) -> int:
    """Return the most events in any half-open span of `window_ns`."""
    return max((sum(t <= u < t + window_ns for u in times) for t in times), default=0)


@given(limit=st.integers(1, 6), gaps=gaps)
def test_events_that_wait_as_told_never_exceed_any_window(limit: int, gaps: list[int]) -> None:
    """Events that wait as told never exceed any window."""
    window = SlidingWindow(limit, 1.0)
    now, times = 0, []
    for gap in gaps:
        now += gap
        now += window.wait_ns(now)
        assert window.wait_ns(now) == 0
        window.record(now)
        times.append(now)
    assert busiest(times, S) <= limit


@given(limit=st.integers(1, 6), gaps=gaps)
def test_the_wait_is_the_shortest_that_is_right(limit: int, gaps: list[int]) -> None:
    """The wait is the shortest that is right."""
    window = SlidingWindow(limit, 1.0)
    now = 0
    for gap in gaps:
        now += gap
        wait = window.wait_ns(now)
        if wait:
            assert window.wait_ns(now + wait - 1) == 1
        now += wait
        window.record(now)


@given(limit=st.integers(1, 6), gaps=st.lists(st.integers(0, S), max_size=60))
def test_reservations_are_in_order_and_strict(limit: int, gaps: list[int]) -> None:
    """Reservations are in order and strict."""
    window = SlidingWindow(limit, 1.0)
    now, places = 0, []
    for gap in gaps:
        now += gap
        at = window.reserve(now)
        assert at >= now
        places.append(at)
    assert places == sorted(places)
    assert busiest(places, S) <= limit


def test_a_released_reservation_frees_its_place() -> None:
    """A released reservation frees its place."""
    window = SlidingWindow(1, 1.0)
    assert window.reserve(0) == 0
    second = window.reserve(0)
    assert second == S
    window.release(second)
    assert window.reserve(0) == S
    window.release(12345)  # never taken: nothing happens


def test_an_event_behind_reservations_keeps_the_order() -> None:
    """An event behind reservations keeps the order."""
    window = SlidingWindow(2, 1.0)
    assert [window.reserve(0) for _ in range(4)] == [0, 0, S, S]
    window.record(S // 2)
    assert window.used(S // 2) == 5
    assert window.used(S) == 3
    assert window.used(2 * S) == 0


def test_spare_places_stay_free() -> None:
    """Spare places stay free."""
    window = SlidingWindow(5, 1.0)
    for _ in range(4):
        window.record(0)
    assert window.wait_ns(0, spare=1) == S
    assert window.wait_ns(0) == 0


@pytest.mark.parametrize(
    ("limit", "window_s"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("nan"))]
)
def test_impossible_windows_are_refused(limit: int, window_s: float) -> None:
    """Impossible windows are refused."""
    with pytest.raises(ConfigError):
        SlidingWindow(limit, window_s)


@given(gaps=st.lists(st.integers(0, 2 * S), max_size=60))
def test_a_bucket_never_gives_more_than_burst_plus_refill(gaps: list[int]) -> None:
    """A bucket never gives more than burst plus refill."""
    bucket = TokenBucket(10, 5)
    now = 0
    for taken, gap in enumerate(gaps, start=1):
        now += gap
        now += bucket.wait_ns(now)
        bucket.take(now)
        assert taken <= 10 + 5 * now / S + 1e-6
        assert 0 <= bucket.level(now) + 1e-6 <= 10 + 1e-6


def test_a_bucket_may_go_into_debt_which_is_waited_off() -> None:
    """A bucket may go into debt which is waited off."""
    bucket = TokenBucket(2, 1)
    bucket.take(0, 4)
    assert bucket.wait_ns(0) == 3 * S
    assert bucket.wait_ns(3 * S) == 0
    assert (
        bucket.wait_ns(0, tokens=99) > 0
    )  # more than it holds: waits for a full one, not for ever


@pytest.mark.parametrize(("capacity", "refill"), [(0, 1), (1, 0), (-1, 1), (1, float("nan"))])
def test_impossible_buckets_are_refused(capacity: float, refill: float) -> None:
    """Impossible buckets are refused."""
    with pytest.raises(ConfigError):
        TokenBucket(capacity, refill)


@pytest.mark.fault("C08")
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["message", "pong"]), st.integers(0, S // 2)), max_size=80
    )
)
def test_messages_and_pongs_together_keep_the_venues_limit(steps: list[tuple[str, int]]) -> None:
    """Binance counts pongs: 5 incoming frames in any second, ours included."""
    budget = SendBudget(limit=5, window_s=1.0, control_reserve=1)
    now, sent = 0, []
    for kind, gap in steps:
        now += gap
        now += budget.message_wait_ns(now) if kind == "message" else budget.control_wait_ns(now)
        budget.record(now)
        sent.append(now)
    assert busiest(sent, S) <= 5


@pytest.mark.fault("C08")
def test_a_burst_of_messages_leaves_room_for_a_pong() -> None:
    """A burst of messages leaves room for a pong."""
    budget = SendBudget(limit=5, window_s=1.0, control_reserve=1)
    sent = 0
    while budget.message_wait_ns(0) == 0:
        budget.record(0)
        sent += 1
    assert sent == 4
    assert budget.control_wait_ns(0) == 0
    assert budget.used(0) == 4


def test_messages_keep_their_distance() -> None:
    """Messages keep their distance."""
    budget = SendBudget(limit=0, window_s=1.0, spacing_s=0.25)
    assert budget.message_wait_ns(0) == 0
    budget.record(0)
    assert budget.message_wait_ns(S // 8) == S // 8
    assert budget.message_wait_ns(S // 4) == 0
    assert budget.control_wait_ns(0) == 0
    assert budget.used(0) == 0


def test_a_limit_of_one_still_lets_messages_through() -> None:
    """A limit of one still lets messages through."""
    budget = SendBudget(limit=1, window_s=1.0, control_reserve=1)
    assert budget.message_wait_ns(0) == 0


# ── the decorator ─────────────────────────────────────────────────────────────


async def test_coroutine_functions_wait_for_their_turn_in_order() -> None:
    """Coroutine functions wait for their turn in order."""
    clock = ManualClock()
    ran: list[tuple[int, int]] = []

    @rate_limit(max_calls=2, time_window=60, clock=clock)
    async def subscribe(number: int) -> int:
        ran.append((number, clock.monotonic_ns() // S))
        return number

    start = clock.monotonic_ns() // S
    calls = [asyncio.create_task(subscribe(number)) for number in range(5)]
    await clock.settle()
    assert ran == [(0, start), (1, start)]
    await clock.advance(120)
    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert ran[2:] == [(2, start + 60), (3, start + 60), (4, start + 120)]
    assert subscribe.__name__ == "subscribe"


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    """A cancelled wait gives its place back."""
    clock = ManualClock()

    @rate_limit(max_calls=1, time_window=10, clock=clock)
    async def call() -> None: ...

    await call()
    waiting = asyncio.create_task(call())
    await clock.settle()
    waiting.cancel()
    await clock.settle()
    after = asyncio.create_task(call())
    await clock.advance(10)
    assert after.done()
    assert waiting.cancelled()


async def test_too_long_a_wait_is_refused() -> None:
    """Too long a wait is refused."""
    clock = ManualClock()

    @rate_limit(max_calls=1, time_window=10, wait_max_s=5, clock=clock)
    async def call() -> None: ...

    await call()
    with pytest.raises(RateLimitedError) as caught:
        await call()
    assert caught.value.retry_after_s == 10
    await clock.advance(6)
    after = asyncio.create_task(call())
    await clock.advance(4)
    assert after.done()


def test_plain_functions_raise_instead_of_blocking() -> None:
    """Plain functions raise instead of blocking."""
    clock = ManualClock()

    @rate_limit(max_calls=2, time_window=1, clock=clock)
    def call(value: int) -> int:
        return value + 1

    assert (call(1), call(2)) == (2, 3)
    with pytest.raises(RateLimitedError, match="more than 2 calls in 1 s") as caught:
        call(3)
    assert caught.value.retry_after_s == 1
    clock.tick(1)
    assert call(4) == 5


async def test_the_documents_form_works_with_the_systems_clock() -> None:
    """The document's form works with the system's clock."""

    @rate_limit(max_calls=10, time_window=60)
    async def subscribe_symbols(symbols: list[str]) -> list[str]:
        return symbols

    assert await subscribe_symbols(["BTCUSDT"]) == ["BTCUSDT"]


def test_impossible_limits_are_refused_at_decoration() -> None:
    """Impossible limits are refused at decoration."""
    with pytest.raises(ConfigError):
        rate_limit(max_calls=0, time_window=1)
