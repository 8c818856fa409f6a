"""Who may connect when: canary, ramp, windows, bans; over virtual time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import ConfigError, ConnectFailedError, HandshakeRejectedError
from crossfeed.transport.canary import Admission, AdmissionLimits

S = 1_000_000_000
DOWN = ConnectFailedError("refused")


def make(**limits: object) -> Admission:
    """Make a rule with seeded chance."""
    return Admission(AdmissionLimits(**limits), random.Random(7))


def admit(rule: Admission, now: int) -> int:
    """Wait as told and begin an attempt that succeeds at once; return its time."""
    while wait := rule.wait_ns(now):
        now += wait
    rule.on_success(rule.start(now))
    return now


def test_one_canary_goes_first() -> None:
    """One canary goes first."""
    rule = make()
    canary = rule.start(0)
    assert canary.is_canary
    assert rule.wait_ns(0) == 60 * S
    rule.on_success(canary)
    assert rule.wait_ns(0) == 0
    assert not rule.start(0).is_canary


@pytest.mark.fault("C10")
def test_ten_at_once_behind_the_canary_and_then_five_a_second() -> None:
    """Ten at once behind the canary and then five a second."""
    rule = make()
    now, times = 0, []
    for _ in range(100):
        now = admit(rule, now)
        times.append(now)
    assert sum(t == 0 for t in times) == 10
    assert max(sum(t <= u < t + S for u in times) for t in times) <= 15
    assert times[-1] <= 18 * S


@pytest.mark.fault("C10")
def test_a_hundred_lost_at_once_return_within_25_s_of_the_end_of_an_outage() -> None:
    """A hundred lost at once return within 25 s of the end of an outage."""
    for seed in range(50):
        rule = Admission(AdmissionLimits(), random.Random(seed))
        now, first, back = 0, 0, 0
        rule.on_lost()
        while back < 100:
            now += rule.wait_ns(now)
            attempt = rule.start(now)
            if now < 30 * S:
                assert attempt.is_canary
                rule.on_failure(now, attempt, DOWN)
            else:
                rule.on_success(attempt)
                back += 1
                first = first or now
        assert first - 30 * S <= 5 * S
        assert now - 30 * S <= 25 * S


@pytest.mark.fault("H08", "T13", "T12")
def test_while_the_venue_is_down_attempts_are_few() -> None:
    """While the venue is down attempts are few."""
    rule = make()
    now, attempts = 0, 0
    while now < 600 * S:
        now += rule.wait_ns(now)
        rule.on_failure(now, rule.start(now), DOWN)
        attempts += 1
    assert 120 <= attempts <= 300
    assert rule.failures == attempts
    assert not rule.is_proven


@pytest.mark.fault("C10")
@given(gaps=st.lists(st.integers(0, 3 * S), max_size=80), seed=st.integers())
def test_the_venues_window_is_never_exceeded(gaps: list[int], seed: int) -> None:
    """The venue's window is never exceeded."""
    rule = Admission(AdmissionLimits(windows=((5, 10.0), (3, 1.0))), random.Random(seed))
    chance = random.Random(seed)
    now, times = 0, []
    for gap in gaps:
        now += gap
        while wait := rule.wait_ns(now):
            now += wait
        attempt = rule.start(now)
        times.append(now)
        match chance.randrange(4):
            case 0:
                rule.on_failure(now, attempt, DOWN)
            case 1:
                rule.on_success(attempt)
                rule.on_lost()
            case 2:
                rule.on_abandoned(attempt)
            case _:
                rule.on_success(attempt)
    for limit, window in ((5, 10 * S), (3, S)):
        assert max((sum(t <= u < t + window for u in times) for t in times), default=0) <= limit


@pytest.mark.fault("H05", "H06")
@pytest.mark.parametrize("status", [429, 418])
def test_what_the_venue_told_one_binds_all(status: int) -> None:
    """What the venue told one binds all."""
    rule = make()
    ban = HandshakeRejectedError("no", status=status, retry_after_s=120)
    admit(rule, 0)
    rule.on_failure(0, rule.start(0), ban)
    assert 120 * S <= rule.wait_ns(0) <= 121 * S
    assert rule.forced_until_ns >= 120 * S
    rule.on_failure(0, rule.start(0), DOWN)  # one that was under way: it shortens nothing
    assert rule.wait_ns(0) >= 120 * S


@pytest.mark.fault("H07")
def test_a_permanent_refusal_holds_the_venue_for_five_minutes() -> None:
    """A permanent refusal holds the venue for five minutes."""
    refused = HandshakeRejectedError("no", status=451)
    rule = make()
    rule.on_failure(0, rule.start(0), refused)
    assert rule.wait_ns(0) >= 300 * S
    rule = make()
    rule.on_failure(0, rule.start(0), refused, has_alternative=True)
    assert rule.wait_ns(0) == 0


def test_a_canary_without_news_holds_up_others_only_so_long() -> None:
    """A canary without news holds up others only so long."""
    rule = make(attempt_timeout_s=60)
    lost = rule.start(0)
    assert rule.wait_ns(0) == 60 * S
    second = rule.start(60 * S)
    assert second.is_canary
    rule.on_abandoned(lost)  # old news
    assert rule.wait_ns(60 * S) == 60 * S
    rule.on_abandoned(second)
    assert rule.wait_ns(60 * S) == 0


def test_impossible_limits_are_refused() -> None:
    """Impossible limits are refused."""
    with pytest.raises(ConfigError):
        AdmissionLimits(burst=0)
    with pytest.raises(ConfigError):
        make(rate_per_s=0)
