"""The breaker's rule over virtual time, and the public wrapper around calls."""

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crossfeed.errors import CircuitOpenError, ConfigError
from crossfeed.testing.clock import ManualClock
from crossfeed.transport.breaker import Breaker, BreakerState, CircuitBreaker

S = 1_000_000_000


def make() -> Breaker:
    """Make a breaker: 3 failures, 5 s doubling to 20 s, trials of 10 s."""
    return Breaker(failures_max=3, cooldown_s=5, cooldown_max_s=20, trial_timeout_s=10)


def fail(breaker: Breaker, now: int, times: int) -> None:
    """Let `times` admitted attempts fail."""
    for _ in range(times):
        assert breaker.admit(now) == 0
        breaker.on_failure(now)


def test_opens_after_so_many_failures_in_a_row() -> None:
    """Opens after so many failures in a row."""
    breaker = make()
    fail(breaker, 0, 2)
    breaker.on_success(0)
    fail(breaker, 0, 2)
    assert breaker.state(0) is BreakerState.CLOSED
    fail(breaker, 0, 1)
    assert breaker.state(0) is BreakerState.OPEN
    assert breaker.admit(0) == 5 * S


def test_one_trial_after_the_cool_down_decides() -> None:
    """One trial after the cool down decides."""
    breaker = make()
    fail(breaker, 0, 3)
    assert breaker.admit(5 * S - 1) == 5 * S
    assert breaker.admit(5 * S) == 0
    assert breaker.state(5 * S) is BreakerState.HALF_OPEN
    assert breaker.admit(5 * S) == 15 * S  # one trial at a time
    breaker.on_success(6 * S)
    assert breaker.state(6 * S) is BreakerState.CLOSED
    assert breaker.admit(6 * S) == 0


def test_cool_downs_double_to_their_maximum_and_start_anew_after_success() -> None:
    """Cool downs double to their maximum and start anew after success."""
    breaker = make()
    fail(breaker, 0, 3)
    now, waits = 0, []
    for _ in range(4):
        retry_at = breaker.retry_at_ns(now)
        waits.append((retry_at - now) // S)
        now = retry_at
        fail(breaker, now, 1)
    assert waits == [5, 10, 20, 20]
    now = breaker.retry_at_ns(now)
    assert breaker.admit(now) == 0
    breaker.on_success(now)
    fail(breaker, now, 3)
    assert breaker.retry_at_ns(now) == now + 5 * S


def test_success_that_does_not_last_keeps_the_cool_down() -> None:
    """Success that does not last keeps the cool down."""
    breaker = make()
    fail(breaker, 0, 3)
    fail(breaker, 5 * S, 1)
    assert breaker.admit(15 * S) == 0
    breaker.on_success(15 * S, is_lasting=False)
    assert breaker.state(15 * S) is BreakerState.CLOSED
    fail(breaker, 15 * S, 3)
    assert breaker.retry_at_ns(15 * S) == 35 * S


def test_a_trial_without_news_counts_as_failed() -> None:
    """A trial without news counts as failed."""
    breaker = make()
    fail(breaker, 0, 3)
    assert breaker.admit(5 * S) == 0
    assert breaker.state(15 * S) is BreakerState.OPEN
    assert breaker.retry_at_ns(15 * S) == 25 * S
    assert breaker.state(26 * S) is BreakerState.HALF_OPEN


def test_a_cancelled_trial_frees_its_place() -> None:
    """A cancelled trial frees its place."""
    breaker = make()
    fail(breaker, 0, 3)
    assert breaker.admit(5 * S) == 0
    breaker.on_abandoned(6 * S)
    assert breaker.admit(6 * S) == 0


@pytest.mark.fault("H06")
def test_forced_open_holds_until_its_end_whatever_happens() -> None:
    """Forced open holds until its end whatever happens."""
    breaker = make()
    breaker.force_open(100 * S)
    breaker.force_open(50 * S)
    breaker.on_success(1 * S)
    breaker.on_failure(2 * S)
    assert breaker.state(99 * S) is BreakerState.FORCED_OPEN
    assert breaker.admit(99 * S) == 100 * S
    assert breaker.state(100 * S) is BreakerState.HALF_OPEN
    assert breaker.admit(100 * S) == 0


def test_hold_opens_for_exactly_the_time_given() -> None:
    """Hold opens for exactly the time given."""
    breaker = make()
    breaker.hold(0, 300 * S)
    assert breaker.state(299 * S) is BreakerState.OPEN
    assert breaker.admit(300 * S) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"failures_max": 0},
        {"cooldown_s": 0},
        {"cooldown_max_s": -1},
        {"trial_timeout_s": float("nan")},
    ],
)
def test_impossible_numbers_are_refused_by_name(wrong: dict[str, float]) -> None:
    """Impossible numbers are refused by name."""
    with pytest.raises(ConfigError) as caught:
        Breaker(**wrong)
    assert caught.value.field in wrong


class BreakerMachine(RuleBasedStateMachine):
    """Any course of attempts and time: open refuses, half open admits one, nothing sticks."""

    def __init__(self) -> None:
        """Start closed at time 0."""
        super().__init__()
        self.breaker = make()
        self.now = 0
        self.pending = 0

    @rule(seconds=st.integers(0, 30))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds * S

    @rule()
    def attempt(self) -> None:
        """Ask; what is refused must be allowed at the time named."""
        state = self.breaker.state(self.now)
        retry_at = self.breaker.admit(self.now)
        if retry_at == 0:
            assert state in (BreakerState.CLOSED, BreakerState.HALF_OPEN)
            self.pending += 1
        else:
            assert retry_at > self.now
            assert retry_at - self.now <= 20 * S

    @precondition(lambda self: self.pending)
    @rule(outcome=st.sampled_from(["on_success", "on_failure", "on_abandoned"]))
    def report(self, outcome: str) -> None:
        """Report on an admitted attempt."""
        self.pending -= 1
        getattr(self.breaker, outcome)(self.now)

    @invariant()
    def is_never_stuck(self) -> None:
        """Whatever happened, an attempt is allowed within the longest cool-down and trial."""
        probe_at = self.breaker.retry_at_ns(self.now)
        assert probe_at - self.now <= 20 * S


TestBreakerMachine = BreakerMachine.TestCase


# ── the public wrapper ────────────────────────────────────────────────────────


def make_circuit(clock: ManualClock) -> CircuitBreaker:
    """Make a circuit that opens after two ValueErrors for 30 s."""
    return CircuitBreaker(2, 30.0, name="orders", failures=(ValueError,), clock=clock)


async def test_guards_coroutine_functions() -> None:
    """Guards coroutine functions."""
    clock = ManualClock()
    circuit = make_circuit(clock)
    calls = 0

    @circuit
    async def place(*, fails: bool) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if fails:
            raise ValueError
        return "placed"

    assert await place(fails=False) == "placed"
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            await place(fails=True)
    with pytest.raises(CircuitOpenError, match="orders: circuit open") as caught:
        await place(fails=False)
    assert caught.value.retry_at_ns == clock.monotonic_ns() + 30 * S
    assert calls == 3
    clock.tick(30)
    assert circuit.state is BreakerState.HALF_OPEN
    assert await place(fails=False) == "placed"
    assert circuit.state is BreakerState.CLOSED
    assert "closed" in repr(circuit)


def test_guards_functions_and_blocks() -> None:
    """Guards functions and blocks."""
    clock = ManualClock()
    circuit = make_circuit(clock)

    @circuit
    def fetch() -> None:
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            fetch()
    with pytest.raises(CircuitOpenError), circuit:
        raise AssertionError("must not run")
    clock.tick(30)
    with circuit:
        pass
    assert circuit.failure_count == 0


async def test_async_blocks_and_nesting() -> None:
    """Async blocks and nesting."""
    clock = ManualClock()
    outer, inner = make_circuit(clock), make_circuit(clock)
    with pytest.raises(ValueError, match=r"^$"):
        async with outer, inner:
            raise ValueError
    assert (outer.failure_count, inner.failure_count) == (1, 1)


def test_other_errors_are_no_failures_and_free_the_trial() -> None:
    """Other errors are no failures and free the trial."""
    clock = ManualClock()
    circuit = make_circuit(clock)
    for _ in range(5):
        with pytest.raises(KeyError), circuit:
            raise KeyError
    assert circuit.state is BreakerState.CLOSED
    circuit.force_open(10)
    clock.tick(10)
    with pytest.raises(KeyError), circuit:
        raise KeyError
    with circuit:
        pass
    assert circuit.state is BreakerState.CLOSED


def test_late_success_from_before_the_opening_changes_nothing() -> None:
    """Late success from before the opening changes nothing."""
    clock = ManualClock()
    circuit = make_circuit(clock)
    with circuit:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"^$"), circuit:
                raise ValueError
        clock.tick(30)
        assert circuit.state is BreakerState.HALF_OPEN
    assert circuit.state is BreakerState.HALF_OPEN


async def test_cancellation_counts_as_neither() -> None:
    """Cancellation counts as neither."""
    clock = ManualClock()
    circuit = CircuitBreaker(1, 30.0, clock=clock)

    async def work() -> None:
        async with circuit:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert circuit.state is BreakerState.CLOSED


def test_works_with_the_systems_clock() -> None:
    """Works with the system's clock."""
    circuit = CircuitBreaker()
    assert circuit.call(len, "abc") == 3
