"""When to connect again: waits, kinds of refusal, giving up; seeded chance, no clock."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import (
    AuthRejectedError,
    ConnectFailedError,
    ConnectionLostError,
    CrossfeedError,
    DeadlineError,
    HandshakeRejectedError,
    ProtocolViolationError,
    RateLimitedError,
    StaleConnectionError,
    SubscriptionRejectedError,
    VenueMaintenanceError,
)
from crossfeed.transport.reconnect import Backoff, ReconnectPolicy, Refusal, classify

S = 1_000_000_000
LOST = ConnectionLostError("gone")


def rejected(status: int, retry_after_s: float | None = None) -> HandshakeRejectedError:
    """Make a refusal of the upgrade."""
    return HandshakeRejectedError("no", status=status, retry_after_s=retry_after_s)


def closed(code: int) -> ConnectionLostError:
    """Make a close by the peer."""
    return ConnectionLostError("closed", close_code=code)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (closed(1000), Refusal.PASSING),
        (closed(1001), Refusal.PASSING),
        (closed(1006), Refusal.PASSING),
        (closed(1008), Refusal.PERMANENT),
        (closed(1009), Refusal.OVERLOADED),
        (closed(1011), Refusal.PASSING),
        (closed(1012), Refusal.PASSING),
        (closed(1013), Refusal.OVERLOADED),
        (closed(4004), Refusal.PASSING),
        (rejected(401), Refusal.PERMANENT),
        (rejected(403), Refusal.PERMANENT),
        (rejected(451), Refusal.PERMANENT),
        (rejected(407), Refusal.PERMANENT),
        (rejected(418), Refusal.BANNED),
        (rejected(429), Refusal.LIMITED),
        (rejected(500), Refusal.PASSING),
        (rejected(503), Refusal.PASSING),
        (rejected(503, 5.0), Refusal.LIMITED),
        (rejected(0), Refusal.PASSING),
        (ConnectFailedError("refused"), Refusal.PASSING),
        (ConnectFailedError("certificate", is_permanent=True), Refusal.PERMANENT),
        (DeadlineError("late", limit_s=1), Refusal.PASSING),
        (StaleConnectionError("silent", limit_s=1), Refusal.PASSING),
        (ProtocolViolationError("bad", close_code=1002), Refusal.PASSING),
        (ProtocolViolationError("we close with 1008", close_code=1008), Refusal.PASSING),
        (ProtocolViolationError("too big", close_code=1009), Refusal.OVERLOADED),
        (RateLimitedError("v", "slow", retry_after_s=3), Refusal.LIMITED),
        (SubscriptionRejectedError("v", {"X": "unknown"}), Refusal.PERMANENT),
        (AuthRejectedError("v", "key"), Refusal.PERMANENT),
        (VenueMaintenanceError("v", "later"), Refusal.PASSING),
    ],
)
def test_permanent_refusals_are_told_from_passing_ones(
    error: CrossfeedError, refusal: Refusal
) -> None:
    """Permanent refusals are told from passing ones."""
    assert classify(error) is refusal


def test_a_venues_own_meaning_comes_first() -> None:
    """A venue's own meaning comes first."""
    assert classify(closed(1008), close_codes={1008: Refusal.PASSING}) is Refusal.PASSING
    assert classify(rejected(403), statuses={403: Refusal.LIMITED}) is Refusal.LIMITED


@pytest.mark.fault("C01", "T13")
@given(seed=st.integers(), failures=st.integers(2, 40))
def test_waits_stay_between_base_and_cap(seed: int, failures: int) -> None:
    """Waits stay between base and cap."""
    policy = ReconnectPolicy(Backoff(attempts_max=0), random.Random(seed))
    first, *others = [policy.on_failure(LOST).wait_ns / S for _ in range(failures)]
    assert 0 <= first <= 0.5
    assert all(0.5 <= wait <= 5 for wait in others)


@given(seed=st.integers())
def test_a_wait_is_at_most_three_times_the_last(seed: int) -> None:
    """A wait is at most three times the last."""
    policy = ReconnectPolicy(Backoff(attempts_max=0), random.Random(seed))
    policy.on_failure(LOST)
    last = 0.5
    for _ in range(20):
        wait = policy.on_failure(LOST).wait_ns / S
        assert wait <= last * 3 + 1e-9
        last = wait


@pytest.mark.fault("C10")
def test_a_crowd_does_not_return_together() -> None:
    """A crowd does not return together."""
    waits = []
    for seed in range(100):
        policy = ReconnectPolicy(Backoff(), random.Random(seed))
        policy.on_failure(LOST)
        waits.append(policy.on_failure(LOST).wait_ns / S)
    assert max(sum(t <= w < t + 0.1 for w in waits) for t in waits) <= 25


@pytest.mark.fault("H13")
def test_only_good_data_resets_the_count() -> None:
    """Only good data resets the count."""
    policy = ReconnectPolicy(Backoff(attempts_max=10), random.Random(1))
    for expected in range(1, 11):
        assert not policy.on_failure(LOST, good_data_ns=5 * S).is_exhausted
        assert policy.failures == expected
    assert policy.on_failure(LOST, good_data_ns=0).is_exhausted
    assert not policy.on_failure(LOST, good_data_ns=30 * S).is_exhausted
    assert policy.failures == 1


def test_a_connection_that_lasted_was_no_failed_attempt() -> None:
    """A line that drops each 20 s is slower to return to, but never given up."""
    policy = ReconnectPolicy(Backoff(attempts_max=10), random.Random(1))
    for expected in range(1, 101):
        assert not policy.on_failure(LOST, good_data_ns=20 * S).is_exhausted
        assert policy.failures == expected
    for _ in range(9):
        assert not policy.on_failure(LOST).is_exhausted
    assert policy.on_failure(LOST).is_exhausted


def test_zero_attempts_never_gives_up() -> None:
    """Zero attempts never gives up."""
    policy = ReconnectPolicy(Backoff(attempts_max=0), random.Random(1))
    assert not any(policy.on_failure(LOST).is_exhausted for _ in range(1000))


@pytest.mark.fault("H05", "H06")
@given(seed=st.integers(), asked=st.floats(0, 86_400), status=st.sampled_from([418, 429]))
def test_retry_after_is_obeyed_and_binds_the_venue(seed: int, asked: float, status: int) -> None:
    """Retry after is obeyed and binds the venue."""
    decision = ReconnectPolicy(Backoff(), random.Random(seed)).on_failure(rejected(status, asked))
    assert decision.is_for_venue
    assert asked - 1e-6 <= decision.wait_ns / S <= asked + 0.5 + 1e-6


def test_an_absurd_retry_after_is_cut() -> None:
    """An absurd retry after is cut."""
    policy = ReconnectPolicy(Backoff(retry_after_max_s=3600), random.Random(1))
    assert policy.on_failure(rejected(429, 1e9)).wait_ns <= 3601 * S
    assert policy.on_failure(rejected(429, -5)).wait_ns >= 0


@pytest.mark.parametrize(("status", "least"), [(429, 60), (418, 300)])
def test_without_retry_after_a_default_is_waited(status: int, least: float) -> None:
    """Without retry after a default is waited."""
    decision = ReconnectPolicy(Backoff(), random.Random(1)).on_failure(rejected(status))
    assert decision.wait_ns >= least * S


def test_a_close_code_may_mean_a_limit_of_the_venue() -> None:
    """A close code may mean a limit of the venue; it names no time, so the default is waited."""
    meanings = {4029: Refusal.LIMITED}
    policy = ReconnectPolicy(Backoff(), random.Random(1), close_codes=meanings)
    decision = policy.on_failure(closed(4029))
    assert decision.is_for_venue
    assert 60 * S <= decision.wait_ns <= 61 * S


@pytest.mark.fault("H07", "C02", "H01", "H02")
@pytest.mark.parametrize(
    "error", [rejected(401), rejected(403), rejected(451), closed(1008)], ids=repr
)
def test_permanent_refusals_are_probed_every_five_minutes_at_most(error: CrossfeedError) -> None:
    """Permanent refusals are probed every five minutes at most."""
    policy = ReconnectPolicy(Backoff(), random.Random(1))
    waits = [policy.on_failure(error).wait_ns / S for _ in range(5)]
    assert all(300 <= wait <= 330 for wait in waits)


@pytest.mark.fault("C03", "C04")
def test_try_again_later_waits_longest_of_the_passing_ones() -> None:
    """Try again later waits longest of the passing ones."""
    policy = ReconnectPolicy(Backoff(attempts_max=0), random.Random(1))
    usual = max(policy.on_failure(closed(1011)).wait_ns for _ in range(50))
    later = min(policy.on_failure(closed(1013)).wait_ns for _ in range(50))
    too_big = min(policy.on_failure(closed(1009)).wait_ns for _ in range(50))
    assert later > usual
    assert too_big > usual


@pytest.mark.fault("C04", "H08")
@pytest.mark.parametrize("error", [closed(1012), rejected(502), rejected(503)], ids=repr)
def test_server_troubles_back_off(error: CrossfeedError) -> None:
    """Server troubles back off."""
    policy = ReconnectPolicy(Backoff(attempts_max=0), random.Random(1))
    waits = [policy.on_failure(error).wait_ns / S for _ in range(20)]
    assert sum(waits) > 20
