"""Candles and 24-hour statistics against a naive sum over trades."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.simulator.bars import DAY_MINUTES, MINUTE_NS, BarSeries

START_NS = 1_782_000_000_000_000_000
trades = st.lists(
    st.tuples(
        st.integers(0, 400) | st.integers(0, 90_000),
        st.integers(90, 110),
        st.integers(1, 50),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def make_series():
    return BarSeries("seed", START_NS, 100, 5_000, 10)


@settings(max_examples=30, deadline=None)
@given(trades, st.booleans())
def test_sums_equal_the_trades(steps, is_read_between):
    series = make_series()
    now_ns = START_NS
    done = []
    for place, (gap_s, price, lots, is_buy) in enumerate(steps):
        now_ns += gap_s * 1_000_000_000
        series.add(now_ns, 5_000 + place, price, lots, is_buy=is_buy)
        done.append((now_ns, price, lots, is_buy, 5_000 + place))
        if is_read_between:
            series.day(now_ns)
            series.since(START_NS, now_ns)
    for start_ns in (START_NS, now_ns // MINUTE_NS * MINUTE_NS):
        bar = series.since(start_ns, now_ns)
        wanted = [one for one in done if one[0] >= start_ns]
        assert bar.count == len(wanted)
        assert bar.lots == sum(one[2] for one in wanted)
        assert bar.turnover == sum(one[1] * one[2] for one in wanted)
        assert bar.buy_lots == sum(one[2] for one in wanted if one[3])
        if wanted:
            assert (bar.open, bar.close) == (wanted[0][1], wanted[-1][1])
            assert bar.high == max(one[1] for one in wanted)
            assert bar.low == min(one[1] for one in wanted)
            assert (bar.first_id, bar.last_id) == (wanted[0][4], wanted[-1][4])
    day = series.day(now_ns)
    window_ns = (now_ns // MINUTE_NS - DAY_MINUTES + 1) * MINUTE_NS
    live = sum(one[2] for one in done if one[0] >= window_ns)
    past = sum(
        bar.lots for bar in series.bars(window_ns, START_NS, lambda ns: ns, limit=DAY_MINUTES)
    )
    assert day.lots == live + past
    assert day.count == day.last_id - day.first_id + 1


def test_the_past_joins_the_present():
    series = make_series()
    series.add(START_NS, 5_000, 101, 7, is_buy=True)
    bars = series.bars(0, START_NS + 1, lambda ns: ns, limit=1 << 30)
    assert len(bars) == DAY_MINUTES + 61
    for earlier, later in pairwise(bars):
        assert later.first_id == earlier.last_id + 1
        assert earlier.low <= min(earlier.open, earlier.close)
        assert earlier.high >= max(earlier.open, earlier.close)
    assert bars[-2].close == 100
    assert series.price_before_day(START_NS) > 0


def test_the_past_does_not_depend_on_when_it_is_read():
    early, late = make_series(), make_series()
    first = early.day(START_NS)
    for series in (early, late):
        series.add(START_NS + 1, 5_000, 100, 1, is_buy=False)
    assert late.day(START_NS + 1).lots == early.day(START_NS + 1).lots == first.lots + 1


def test_longer_bars_are_sums_of_minutes():
    series = make_series()
    length_ns = 60 * MINUTE_NS
    hours = series.bars(0, START_NS, lambda ns: ns // length_ns * length_ns, limit=5)
    assert len(hours) == 5
    minutes = series.bars(
        hours[-1].start_ns, hours[-1].start_ns + length_ns, lambda ns: ns, limit=60
    )
    assert hours[-1].lots == sum(bar.lots for bar in minutes)
    assert hours[-1].high == max(bar.high for bar in minutes)
    assert series.bars(0, START_NS, lambda ns: ns, limit=0) == []


def test_a_bar_without_trades_keeps_the_price():
    series = make_series()
    series.add(START_NS, 5_000, 105, 7, is_buy=True)
    bar = series.since(START_NS + 5 * MINUTE_NS, START_NS + 6 * MINUTE_NS)
    assert (bar.count, bar.first_id, bar.close) == (0, -1, 105)
