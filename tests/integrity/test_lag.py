"""Events that come ever later, told from clocks that were set."""

import pytest

from crossfeed.integrity.lag import LagWatch
from crossfeed.model.trust import Mark
from crossfeed.testing.events import trade

MS = 1_000_000


def run(watch, lags_ms, start_ms=0):
    """Sample each second with the given lags; return (second, change) of what was judged."""
    changes = []
    for second, lag_ms in enumerate(lags_ms):
        at_ms = start_ms + 1_000 * second
        watch.sample(trade(1, at_ms, event_ms=at_ms - lag_ms + 100_000), at_ms * MS)
        change = watch.judge(at_ms * MS)
        if change is not None:
            changes.append((second, change))
    return changes


@pytest.mark.fault("T08")
def test_a_line_that_falls_behind_is_late():
    """Half a second a second: old data is not live data; it recovers when it catches up."""
    watch = LagWatch(5.0)
    lags = [50] * 20 + [50 + 500 * i for i in range(30)] + [50] * 20
    changes = run(watch, lags)
    assert [change for _, change in changes] == [True, False]
    assert 30 <= changes[0][0] <= 40
    assert 50 <= changes[1][0] <= 60
    assert watch.lag_ms == 0.0


@pytest.mark.fault("T09")
def test_a_spike_and_jitter_are_no_lag():
    """The smallest of a window counts."""
    watch = LagWatch(5.0)
    assert run(watch, [50, 2_000, 60, 900, 55] * 40) == []


@pytest.mark.fault("K02")
def test_a_venue_clock_that_was_set_is_no_lag():
    """A jump larger than a window is long cannot be a line that fell behind."""
    watch = LagWatch(5.0)
    assert run(watch, [50] * 20 + [60_050] * 60) == []
    assert watch.lag_ms == 0.0
    assert run(LagWatch(5.0), [50] * 20 + [-60_000] * 60) == []


def test_events_without_a_time_or_from_the_past_say_nothing():
    """History and polled events are old by nature."""
    watch = LagWatch(1.0)
    watch.sample(None, 0)
    watch.sample(trade(1, event_ms=-1), 0)
    watch.sample(trade(1, marks=Mark.HISTORY), 0)
    assert watch.judge(100_000 * MS) is None


def test_an_empty_window_says_nothing():
    """A quiet market has no lag."""
    watch = LagWatch(1.0)
    run(watch, [50] * 7)
    assert watch.judge(20_000 * MS) is None
    assert watch.judge(40_000 * MS) is None


def test_a_new_connection_starts_anew():
    """The old one's lag is void."""
    watch = LagWatch(5.0)
    run(watch, [50 + 700 * i for i in range(30)])
    assert watch.lag_ms > 0
    watch.restart()
    assert watch.lag_ms == 0.0


def test_a_new_connection_ends_what_was_said_of_the_old_one():
    """Else streams would stay stale for ever: the new one is never late, so never in time again."""
    watch = LagWatch(5.0)
    assert run(watch, [50 + 500 * i for i in range(40)])[-1][1]
    watch.restart()
    watch.restart()
    assert watch.judge(0) is False
    assert watch.judge(0) is None
