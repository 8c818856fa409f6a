"""When something is published, and what happens when venues come and go."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.aggregation.strategies.registry import find_strategy, strategy_names
from crossfeed.model.status import ONE_SIDED
from crossfeed.model.trust import Mark, Trust


def test_interval_is_a_minimum_distance(make) -> None:
    """The first value goes out at once, the last of the interval when it ends, none in between."""
    aggregator = make.aggregator(update_interval=1.0)
    events = [make.quote("binance", 100.0 + i, 200.0, i / 10) for i in range(10)]
    (first,) = make.feed(aggregator, events)
    assert aggregator.next_due_ns == make.ns(1.0)
    (last,) = make.wait(aggregator, 1.0)
    assert (first.data["best_bid"], last.data["best_bid"]) == (100.0, 109.0)
    assert last.ts_mono_ns - first.ts_mono_ns == make.ns(1.0)
    assert make.wait(aggregator, 14.0) == []


def test_overdue_value_is_not_lost(make) -> None:
    """If the timer comes late, the old interval's last value goes out before the new one waits."""
    aggregator = make.aggregator(update_interval=1.0)
    make.feed(
        aggregator, [make.quote("binance", 100.0, 200.0), make.quote("binance", 101.0, 200.0, 0.5)]
    )
    late = make.quote("binance", 102.0, 200.0, 1.7)
    (value,) = aggregator.on_event(late, late.ts_mono_ns, make.wall_ns)
    assert (value.data["best_bid"], value.ts_mono_ns) == (101.0, make.ns(1.7))
    (value,) = make.wait(aggregator, 2.7)
    assert (value.data["best_bid"], value.ts_mono_ns) == (102.0, make.ns(2.7))


@pytest.mark.parametrize("kind", ["trade", "ticker"])
def test_overdue_values_of_the_other_kinds(make, kind) -> None:
    """The same holds for trades and tickers."""
    made = {"trade": make.trade, "ticker": make.ticker}[kind]
    aggregator = make.aggregator(update_interval=1.0, aggregation_strategy="last")
    make.feed(aggregator, [made("binance", 100.0), made("binance", 101.0, at_s=0.5)])
    late = made("binance", 102.0, at_s=1.7)
    (value,) = aggregator.on_event(late, late.ts_mono_ns, make.wall_ns)
    assert value.data["price"] == 101.0
    backfilled = made("binance", 102.0, at_s=2.7, marks=Mark.BACKFILLED)
    (value,) = aggregator.on_event(backfilled, backfilled.ts_mono_ns, make.wall_ns)
    assert value.data["price"] == 102.0


def test_overdue_value_of_a_venue_too_old_is_none(make) -> None:
    """What waited so long that it is stale is not published any more."""
    aggregator = make.aggregator(update_interval=1.0)
    make.feed(aggregator, [make.quote("kraken", 1.0, 2.0, at) for at in (0.1, 0.2)])
    late = make.quote("binance", 5.0, 6.0, 99.0)
    (value,) = aggregator.on_event(late, late.ts_mono_ns, make.wall_ns)
    assert value.exchanges == ["binance"]


def test_close_publishes_what_waits(make) -> None:
    """At the end the interval is not waited for."""
    aggregator = make.aggregator(update_interval=60.0)
    make.feed(aggregator, [make.quote("binance", 1.0, 2.0), make.quote("binance", 1.5, 2.0, 1.0)])
    (value,) = aggregator.close(make.ns(2.0), make.wall_ns)
    assert value.data["best_bid"] == 1.5
    assert aggregator.next_due_ns is None


@pytest.mark.fault("T04")
def test_frozen_venue_leaves_and_comes_back(make) -> None:
    """Within its age limit a silent venue is gone without any event; its next value is back."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 10})
    make.feed(
        aggregator,
        [make.quote("coinbase", 105.0, 106.0, 1.0), make.quote("binance", 99.0, 100.0, 5.0)],
    )
    (value,) = make.wait(aggregator, 12.0)
    assert value.ts_mono_ns == make.ns(11.0) + 1
    assert value.exchanges == ["binance"]
    assert value.data["spread"] == 1.0
    assert {left.exchange: left.reason for left in value.excluded}["coinbase"] == "stale"
    assert aggregator.active_exchanges(make.ns(12.0)) == ("binance",)
    (value,) = make.feed(aggregator, [make.quote("coinbase", 98.0, 99.5, 13.0)])
    assert value.exchanges == ["binance", "coinbase"]


def test_nothing_is_published_when_the_last_venue_leaves(make) -> None:
    """A value of nobody is no value; the venues are told of in the statistics."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 10})
    make.feed(aggregator, [make.quote("binance", 99.0, 100.0, 5.0)])
    assert make.wait(aggregator, 100.0) == []
    assert aggregator.next_due_ns is None
    assert aggregator.stats(make.ns(100.0)).exchanges_active == 0


def test_timer_follows_venues_that_speak(make) -> None:
    """The age limit is looked at again when a member may have passed it, not before."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 10})
    make.feed(aggregator, [make.quote("binance", 99.0, 100.0, float(t)) for t in range(1, 40)])
    assert make.wait(aggregator, 48.9) == []
    assert aggregator.next_due_ns == make.ns(49.0) + 1


def test_late_member_may_expire_first(make) -> None:
    """A value that was long on its way is looked at when its own age says so."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 10})
    make.feed(aggregator, [make.quote("binance", 99.0, 100.0, 20.0)])
    late = make.quote("kraken", 98.0, 99.5, 15.0)
    assert len(aggregator.on_event(late, make.ns(21), make.wall_ns)) == 1
    (value,) = make.wait(aggregator, 26.0)
    assert (value.exchanges, value.ts_mono_ns) == (["binance"], make.ns(25) + 1)


@pytest.mark.parametrize("strategy", ["first", "last"])
def test_leaving_within_the_interval_is_told_when_it_ends(make, strategy) -> None:
    """The minimum distance holds for these values too, under FIRST as well."""
    aggregator = make.aggregator(update_interval=1.0, aggregation_strategy=strategy)
    make.feed(
        aggregator, [make.quote("binance", 1.0, 2.0, 1.0), make.quote("kraken", 3.0, 4.0, 2.0)]
    )
    status = make.status("kraken", Trust.UNSOUND, "book_ticker", 2.5)
    assert not aggregator.on_status(status, make.ns(2.5), make.wall_ns)
    (value,) = make.wait(aggregator, 3.0)
    assert value.exchanges == ["binance"]


@pytest.mark.parametrize("kind", ["ticker", "quote"])
def test_nothing_to_publish_at_the_end_of_the_interval(make, kind) -> None:
    """If everybody has left before the interval ends, there is no last value."""
    made = {"ticker": (make.ticker, 1.0), "quote": (make.quote, 2.0)}[kind]
    aggregator = make.aggregator(update_interval=1.0)
    make.feed(aggregator, [made[0]("binance", 1.0, made[1], at) for at in (0.1, 0.2)])
    aggregator.on_status(make.status("binance", Trust.UNSOUND), make.ns(0.3), make.wall_ns)
    assert make.wait(aggregator, 2.0) == []


@pytest.mark.fault("C09")
def test_status_takes_a_venue_out_at_once(make) -> None:
    """Maintenance: out with the status, back with the next value and not with the status."""
    aggregator = make.aggregator()
    make.feed(
        aggregator, [make.quote("binance", 99.0, 100.0), make.quote("coinbase", 99.5, 99.8, 0.1)]
    )
    (out,) = aggregator.on_event(
        make.status("coinbase", Trust.UNAVAILABLE), make.ns(1), make.wall_ns
    )
    assert out.exchanges == ["binance"]
    assert {left.exchange: left.reason for left in out.excluded}["coinbase"] == "unavailable"
    sound = make.status("coinbase", Trust.SOUND)
    assert not aggregator.on_event(sound, make.ns(2), make.wall_ns)
    (still,) = make.feed(aggregator, [make.quote("binance", 99.0, 100.0, 2.1)])
    assert still.exchanges == ["binance"]
    assert {left.exchange: left.reason for left in still.excluded}["coinbase"] == "no_data"
    (back,) = make.feed(aggregator, [make.quote("coinbase", 99.5, 99.8, 2.2)])
    assert back.exchanges == ["binance", "coinbase"]


@pytest.mark.parametrize(
    ("states", "is_kept"),
    [
        ([Trust.STALE], True),
        ([Trust.UNSOUND], False),
        ([Trust.STALE, Trust.UNSOUND], False),
        ([Trust.UNAVAILABLE, Trust.STALE], False),
    ],
)
def test_quiet_streams_keep_their_value(make, states, is_kept) -> None:
    """A stream that was only quiet comes back with what it had; a broken one with its next."""
    aggregator = make.aggregator()
    make.feed(aggregator, [make.quote("kraken", 1.0, 2.0), make.quote("binance", 1.0, 2.0, 0.1)])
    for trust in (*states, Trust.SOUND):
        aggregator.on_status(make.status("kraken", trust), make.ns(1), make.wall_ns)
    assert ("kraken" in aggregator.active_exchanges(make.ns(1))) == is_kept


def test_sound_status_of_a_sound_stream_changes_nothing(make) -> None:
    """Being told what is known takes no value away."""
    aggregator = make.aggregator()
    make.feed(aggregator, [make.quote("binance", 99.0, 100.0)])
    assert not aggregator.on_status(make.status("binance", Trust.SOUND), 1, make.wall_ns)
    assert aggregator.active_exchanges(1) == ("binance",)


def test_a_quote_of_a_book_that_lost_a_side_is_taken_back(make) -> None:
    """Trust stays; the venue takes part again with its next quote. Its own quotes are its own."""
    aggregator = make.aggregator()
    book, own = Mark.FROM_BOOK, Mark.NONE
    quotes = [("kraken", book), ("coinbase", book), ("binance", own)]
    make.feed(aggregator, [make.quote(name, 99.0, 100.0, marks=marks) for name, marks in quotes])
    told = [
        msgspec.structs.replace(make.status(name, Trust.SOUND, "book"), cause=ONE_SIDED)
        for name in ("kraken", "binance")
    ]
    (value,) = aggregator.on_status(told[0], make.ns(1), make.wall_ns)
    assert value.exchanges == ["binance", "coinbase"]
    assert {left.exchange: left.reason for left in value.excluded}["kraken"] == "no_data"
    assert not aggregator.on_status(told[1], make.ns(1), make.wall_ns)
    (back,) = make.feed(aggregator, [make.quote("kraken", 99.5, 99.8, 2.0, marks=book)])
    assert sorted(back.exchanges) == ["binance", "coinbase", "kraken"]


@pytest.mark.parametrize(
    ("channel", "symbol", "marks", "is_meant"),
    [
        ("", "", Mark.NONE, True),
        ("", "BTC-USD", Mark.NONE, True),
        ("", "ETH-USD", Mark.NONE, False),
        ("book_ticker", "BTC-USD", Mark.NONE, True),
        ("trade", "BTC-USD", Mark.NONE, False),
        ("book", "BTC-USD", Mark.NONE, False),
        ("book", "BTC-USD", Mark.FROM_BOOK, True),
        ("ticker", "BTC-USD", Mark.FROM_BOOK, False),
        ("ticker", "BTC-USD", Mark.FROM_TICKER, True),
        ("book", "BTC-USD", Mark.FROM_TICKER, False),
    ],
)
def test_status_concerns_its_own_stream(make, channel, symbol, marks, is_meant) -> None:
    """A quote is as good as the stream it is derived from; other streams do not matter."""
    aggregator = make.aggregator()
    make.feed(aggregator, [make.quote("coinbase", 99.0, 100.0, marks=marks)])
    status = make.status("coinbase", Trust.UNSOUND, channel, symbol=symbol)
    aggregator.on_status(status, make.ns(1), make.wall_ns)
    assert aggregator.active_exchanges(make.ns(1)) == (() if is_meant else ("coinbase",))


def test_event_with_trouble_may_change_the_members(make) -> None:
    """An unsound value publishes nothing of its own, only that its venue has left."""
    aggregator = make.aggregator()
    make.feed(aggregator, [make.quote("binance", 1.0, 2.0), make.quote("kraken", 3.0, 4.0, 0.1)])
    unsound = [make.quote("kraken", 3.0, 4.0, t, trust=Trust.UNSOUND) for t in (0.2, 0.3)]
    (value,) = make.feed(aggregator, unsound)
    assert (value.exchanges, value.ts_mono_ns) == (["binance"], make.ns(0.2))


def test_repr_tells_who_takes_part(make) -> None:
    """A board's repr is a status line."""
    aggregator = make.aggregator()
    board = aggregator._boards["BTC/USD", "book_ticker"]
    assert repr(board) == "QuoteBoard(BTC/USD, nobody, 0 published)"
    make.feed(aggregator, [make.quote("binance", 1.0, 2.0)])
    assert repr(board) == "QuoteBoard(BTC/USD, binance, 1 published)"
    assert repr(board.slots[0]) == "Slot(binance, takes part)"
    assert repr(board.slots[1]) == "Slot(coinbase, no_data)"


@given(
    st.lists(st.tuples(st.integers(0, 900), st.sampled_from(["binance", "kraken"])), max_size=30),
    st.sampled_from(strategy_names()),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from(["trade", "ticker", "book_ticker"]),
)
def test_distance_is_kept_and_the_last_value_comes(make, steps, strategy, interval_s, kind) -> None:
    """No two values closer than the interval; the last datum is in the last; FIRST never waits."""
    aggregator = make.aggregator(
        aggregation_strategy=strategy, update_interval=interval_s, age_limits_s={kind: 86400}
    )
    published, now_ms = [], 0
    for index, (wait_ms, exchange) in enumerate(steps):
        now_ms += wait_ms
        at_s = now_ms / 1000
        price = 100.0 + index
        event = {
            "trade": lambda: make.trade(exchange, price, 1.0, at_s),  # noqa: B023 - called at once
            "ticker": lambda: make.ticker(exchange, price, 1.0, at_s),  # noqa: B023
            "book_ticker": lambda: make.quote(exchange, price, price + 1, at_s),  # noqa: B023
        }[kind]()
        published += make.feed(aggregator, [event])
    times = [value.ts_mono_ns for value in published]
    published += make.wait(aggregator, now_ms / 1000 + interval_s)
    times = [value.ts_mono_ns for value in published]
    gaps = [late - early for early, late in pairwise(times)]
    assert all(gap >= interval_s * 1e9 for gap in gaps)
    if not steps:
        assert published == []
    elif find_strategy(strategy).keeps_last:
        assert event in published[-1].source_data
    else:
        assert all(value.ts_mono_ns == value.ts_source_mono_ns or not now_ms for value in published)
    if interval_s == 0:
        assert len(published) == len(steps)
