"""The heartbeat rule over virtual time: dead peers in time, living ones never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.transport.heartbeat import Heartbeat, HeartbeatLimits, Pulse

S = 1_000_000_000
LIMITS = HeartbeatLimits(ping_interval_s=5, ping_timeout_s=5, silence_max_s=30)


def run(
    beat: Heartbeat,
    until_s: float,
    *,
    start_s: float = 0,
    answers: bool = False,
    data_every_s: float = 0,
    lag_s: float = 0,
) -> tuple[Pulse, float, int]:
    """Poll at each deadline (late by `lag_s`); return the verdict, its time and the pings sent."""
    now, last, pings = round(start_s * S), 0, 0
    while True:
        due = beat.next_poll_ns(last)
        if due is None or due > until_s * S:
            return Pulse.NOTHING, until_s, pings
        now = max(now, due + round(lag_s * S))
        if data_every_s:
            step = round(data_every_s * S)
            last = now // step * step
        while (pulse := beat.poll(now, last)) is not Pulse.NOTHING:
            if pulse in (Pulse.DEAD_PING, Pulse.DEAD_SILENT):
                return pulse, now / S, pings
            if pulse is Pulse.PING:
                pings += 1
                payload = beat.ping_payload(now)
                if answers:
                    last = now + 1
                    beat.on_pong(now + 1, payload)


@pytest.mark.fault("T03", "T11")
def test_a_dead_peer_is_found_within_interval_and_timeout() -> None:
    """A dead peer is found within interval and timeout."""
    verdict, at_s, pings = run(Heartbeat(LIMITS, 0), 60)
    assert (verdict, at_s, pings) == (Pulse.DEAD_PING, 10, 1)


def test_a_peer_that_answers_lives_for_a_virtual_day() -> None:
    """A peer that answers lives for a virtual day."""
    beat = Heartbeat(LIMITS, 0)
    assert run(beat, 86_400, answers=True) == (Pulse.NOTHING, 86_400, 17_280)
    assert beat.rtt_ns == 1
    assert beat.ping_failures == 0


@pytest.mark.fault("T05")
def test_data_counts_as_life_and_missing_pongs_are_counted() -> None:
    """Data counts as life and missing pongs are counted."""
    beat = Heartbeat(LIMITS, 0)
    verdict, _, pings = run(beat, 3600, data_every_s=0.5)
    assert verdict is Pulse.NOTHING
    assert pings == 720
    assert beat.ping_failures == 719


@pytest.mark.fault("T09")
def test_a_spike_below_the_limit_is_no_reason_to_reconnect() -> None:
    """A spike below the limit is no reason to reconnect."""
    beat = Heartbeat(LIMITS, 0)
    assert beat.poll(5 * S, 0) is Pulse.PING
    payload = beat.ping_payload(5 * S)
    assert beat.poll(7 * S, 0) is Pulse.NOTHING
    beat.on_pong(7 * S, payload)
    assert beat.rtt_ns == 2 * S
    assert beat.poll(10 * S, 7 * S) is Pulse.PING


def test_pings_are_sent_under_load_too() -> None:
    """Pings are sent under load too."""
    beat = Heartbeat(LIMITS, 0)
    assert beat.poll(5 * S, 5 * S - 1) is Pulse.PING


def test_old_and_unasked_pongs_are_no_answer() -> None:
    """Old and unasked pongs are no answer."""
    beat = Heartbeat(LIMITS, 0)
    first = beat.ping_payload(5 * S)
    beat.on_pong(5 * S, b"unasked")
    assert beat.rtt_ns == 0
    beat.on_pong(6 * S, first)
    second = beat.ping_payload(10 * S)
    beat.on_pong(11 * S, first)
    assert beat.rtt_ns == S
    beat.on_pong(12 * S, second)
    assert beat.rtt_ns == 2 * S
    assert first != second


def test_silence_has_a_limit_without_pings() -> None:
    """Silence has a limit without pings."""
    limits = HeartbeatLimits(ping_interval_s=0, ping_timeout_s=0, silence_max_s=30)
    assert run(Heartbeat(limits, 0), 60) == (Pulse.DEAD_SILENT, 30, 0)
    beat = Heartbeat(limits, 0)
    assert beat.poll(29 * S, 0) is Pulse.NOTHING
    assert beat.poll(31 * S, 20 * S) is Pulse.NOTHING
    assert beat.next_poll_ns(20 * S) == 50 * S


def test_with_every_rule_off_there_is_nothing_to_poll() -> None:
    """With every rule off there is nothing to poll."""
    limits = HeartbeatLimits(ping_interval_s=0, ping_timeout_s=0, silence_max_s=0)
    beat = Heartbeat(limits, 0)
    assert beat.next_poll_ns(0) is None
    assert beat.poll(10**18, 0) is Pulse.NOTHING


@pytest.mark.fault("T06")
def test_the_venues_own_ping_is_due_by_deadline_data_or_not() -> None:
    """The venue's own ping is due by deadline data or not."""
    limits = HeartbeatLimits(
        ping_interval_s=0, ping_timeout_s=0, silence_max_s=0, app_ping_interval_s=20
    )
    beat = Heartbeat(limits, 0)
    sent = []
    for second in range(1, 101):
        while (pulse := beat.poll(second * S, second * S)) is not Pulse.NOTHING:
            assert pulse is Pulse.APP_PING
            sent.append(second)
    assert sent == [20, 40, 60, 80, 100]
    assert beat.next_poll_ns(100 * S) == 120 * S


@pytest.mark.fault("K05", "P13")
def test_a_stopped_process_grants_the_peer_another_ping() -> None:
    """After SIGSTOP what the peer sent is still unread: its silence proves nothing."""
    beat = Heartbeat(LIMITS, 0)
    beat.ping_payload(5 * S)
    assert beat.poll(65 * S, 0) is Pulse.PING
    assert beat.late_polls == 1
    payload = beat.ping_payload(65 * S)
    beat.on_pong(66 * S, payload)
    assert beat.poll(66 * S, 66 * S) is Pulse.NOTHING


@pytest.mark.fault("K05")
def test_a_stopped_process_grants_a_silent_peer_another_while() -> None:
    """A stopped process grants a silent peer another while."""
    limits = HeartbeatLimits(ping_interval_s=0, ping_timeout_s=0, silence_max_s=30)
    beat = Heartbeat(limits, 0)
    assert beat.poll(100 * S, 0) is Pulse.NOTHING
    assert beat.late_polls == 1
    assert beat.poll(130 * S, 0) is Pulse.DEAD_SILENT


@pytest.mark.fault("K06")
def test_a_dead_peer_is_found_even_if_every_poll_comes_late() -> None:
    """A dead peer is found even if every poll comes late."""
    verdict, at_s, _ = run(Heartbeat(LIMITS, 0), 600, lag_s=2)
    assert verdict is Pulse.DEAD_PING
    assert at_s < 40


@given(
    interval=st.integers(1, 20),
    timeout=st.integers(1, 20),
    silence=st.integers(1, 60),
    lag_ms=st.integers(0, 900),
)
def test_any_dead_peer_is_found_in_time(
    interval: int, timeout: int, silence: int, lag_ms: int
) -> None:
    """Any dead peer is found in time."""
    limits = HeartbeatLimits(
        ping_interval_s=interval, ping_timeout_s=timeout, silence_max_s=silence
    )
    verdict, at_s, _ = run(Heartbeat(limits, 0), 1000, lag_s=lag_ms / 1000)
    assert verdict in (Pulse.DEAD_PING, Pulse.DEAD_SILENT)
    assert at_s <= min(interval + timeout, silence) + 2 * lag_ms / 1000 + 1e-6
