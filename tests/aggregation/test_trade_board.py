"""Unified trades: prices by strategy, and every traded unit counted exactly once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.aggregation.strategies.registry import strategy_names
from crossfeed.model.trust import Integrity, Mark, Trust

OURS = ["first", "last", "average", "median", "weighted", "best_bid_ask"]


def test_document_keys(make) -> None:
    """A trade has price, volume, num_trades and exchanges."""
    aggregator = make.aggregator()
    (value,) = make.feed(aggregator, [make.trade("binance", 45000.0, 0.5)])
    assert value.data == {
        "price": 45000.0,
        "volume": 0.5,
        "num_trades": 1,
        "num_backfilled": 0,
        "exchanges": ["binance"],
    }
    assert (value.symbol, value.data_type) == ("BTC/USD", "trade")


# The three venues' trades of one interval: the first is published at once under every strategy,
# the others when the interval ends (except under FIRST).
INTERVAL = [
    ("binance", 100.0, 1.0, 0.0),
    ("coinbase", 200.0, 1.0, 0.1),
    ("kraken", 400.0, 3.0, 0.2),
]


@pytest.mark.parametrize(
    ("strategy", "price"),
    [
        ("last", 400.0),
        ("average", pytest.approx(700 / 3)),
        ("median", 200.0),
        ("weighted", 350.0),
        ("best_bid_ask", 350.0),
    ],
)
def test_price_at_the_end_of_the_interval(make, strategy, price) -> None:
    """LAST the latest, AVERAGE and MEDIAN of venues' latest, WEIGHTED over the interval."""
    aggregator = make.aggregator(aggregation_strategy=strategy, update_interval=1.0)
    make.feed(aggregator, [make.trade(*trade) for trade in INTERVAL])
    (value,) = make.wait(aggregator, 1.0)
    assert value.data["price"] == price
    assert value.data["volume"] == 4.0
    assert value.data["num_trades"] == 2


def test_first_is_published_at_once_and_later_ones_are_not(make) -> None:
    """FIRST gives the first datum of each interval; its totals hold what came in between."""
    aggregator = make.aggregator(aggregation_strategy="first", update_interval=1.0)
    events = [make.trade(*trade) for trade in INTERVAL]
    published = make.feed(aggregator, [*events, make.trade("kraken", 500.0, 2.0, 1.5)])
    assert [value.data["price"] for value in published] == [100.0, 500.0]
    assert [value.data["volume"] for value in published] == [1.0, 6.0]
    assert [value.data["num_trades"] for value in published] == [1, 3]
    assert make.wait(aggregator, 10.0) == []


def test_first_leaves_its_rest_to_the_close(make) -> None:
    """What a last interval held back comes out at the end, at the price already published."""
    aggregator = make.aggregator(aggregation_strategy="first", update_interval=1.0)
    make.feed(aggregator, [make.trade(*trade) for trade in INTERVAL])
    (rest,) = aggregator.close(make.ns(0.5), make.wall_ns)
    assert (rest.data["price"], rest.data["volume"]) == (100.0, 4.0)
    assert aggregator.close(make.ns(0.6), make.wall_ns) == []


@pytest.mark.parametrize("strategy", OURS)
def test_every_message_without_interval(make, strategy) -> None:
    """With update_interval=0 every message is published with its own volume."""
    aggregator = make.aggregator(aggregation_strategy=strategy)
    published = make.feed(aggregator, [make.trade(*trade) for trade in INTERVAL])
    assert [value.data["volume"] for value in published] == [1.0, 1.0, 3.0]
    assert [value.data["num_trades"] for value in published] == [1, 1, 1]


@pytest.mark.parametrize("strategy", OURS)
@pytest.mark.parametrize(
    "parts",
    [
        {"trust": Trust.UNSOUND},
        {"marks": Mark.BACKFILLED},
        {"marks": Mark.BACKFILLED | Mark.HISTORY},
        {"marks": Mark.SUSPECT},
        {"marks": Mark.REST},
    ],
)
def test_totals_lose_no_trade(make, strategy, parts) -> None:
    """Trades of an unsound stream, backfilled, polled and suspect ones count for the volume."""
    aggregator = make.aggregator(aggregation_strategy=strategy, update_interval=1.0)
    published = make.feed(
        aggregator,
        [
            make.trade("binance", 100.0, 1.0, 0.0),
            make.trade("binance", 900.0, 2.0, 0.1, **parts),
            make.trade("coinbase", 100.0, 4.0, 0.2),
        ],
    )
    published += make.wait(aggregator, 1.0)
    published += aggregator.close(make.ns(1.1), make.wall_ns)
    assert sum(value.data["volume"] for value in published) == 7.0
    assert sum(value.data["num_trades"] for value in published) == 3
    if parts != {"marks": Mark.REST}:
        assert {value.data["price"] for value in published} == {100.0}


def test_unsound_trade_names_its_venue(make) -> None:
    """Its volume counts, its price does not, and the venue is listed with the reason."""
    aggregator = make.aggregator(update_interval=1.0)
    make.feed(
        aggregator,
        [
            make.trade("coinbase", 100.0),
            make.trade("binance", 900.0, at_s=0.1, trust=Trust.UNSOUND),
            make.trade("coinbase", 100.0, at_s=0.2),
        ],
    )
    (value,) = make.wait(aggregator, 1.0)
    assert value.exchanges == ["coinbase"]
    assert {left.exchange: left.reason for left in value.excluded} == {
        "binance": "unsound",
        "kraken": "no_data",
    }
    assert value.trust is Trust.SOUND
    assert len(value.source_data) == 2


def test_totals_wait_for_somebody_to_trust(make) -> None:
    """With nobody sound there is no price; the totals are carried to the next that has one."""
    aggregator = make.aggregator()
    unsound = [make.trade("binance", 900.0, 2.0, t, trust=Trust.UNSOUND) for t in (0.0, 0.1)]
    assert make.feed(aggregator, unsound) == []
    assert aggregator.stats(make.ns(0.2)).trades_pending == 2
    (value,) = make.feed(aggregator, [make.trade("binance", 100.0, 1.0, 0.3)])
    assert (value.data["price"], value.data["volume"], value.data["num_trades"]) == (100.0, 5.0, 3)


def test_close_gives_untrusted_totals_with_their_trust(make) -> None:
    """At the end nothing is lost: what nobody vouches for comes out and says so."""
    aggregator = make.aggregator()
    make.feed(
        aggregator,
        [
            make.trade("binance", 900.0, 1.0, 0.0, trust=Trust.UNSOUND),
            make.trade("kraken", 300.0, 1.0, 0.1, trust=Trust.UNSOUND),
        ],
    )
    (value,) = aggregator.close(make.ns(1), make.wall_ns)
    assert (value.data["price"], value.data["volume"]) == (600.0, 2.0)
    assert value.trust is Trust.UNSOUND
    assert value.exchanges == ["binance", "kraken"]


@pytest.mark.parametrize("strategy", OURS)
def test_close_long_after_the_last_trade(make, strategy) -> None:
    """Even if every venue is too old by then, the counted trades come out at their own price."""
    aggregator = make.aggregator(aggregation_strategy=strategy, update_interval=1.0)
    make.feed(aggregator, [make.trade("binance", 7.0, at_s=at) for at in (0.1, 0.2)])
    (value,) = aggregator.close(make.ns(1000), make.wall_ns)
    assert (value.data["price"], value.data["volume"], value.exchanges) == (7.0, 1.0, ["binance"])


def test_close_marks_suspect_totals(make) -> None:
    """A suspect price is not sound, whatever its stream."""
    aggregator = make.aggregator()
    make.feed(aggregator, [make.trade("binance", 900.0, marks=Mark.SUSPECT)])
    (value,) = aggregator.close(make.ns(1), make.wall_ns)
    assert value.trust is Trust.UNSOUND


def test_backfilled_trades_do_not_move_the_price(make) -> None:
    """They tell of the past: counted, listed, and published at the price that holds now."""
    aggregator = make.aggregator(aggregation_strategy="last")
    published = make.feed(
        aggregator,
        [
            make.trade("binance", 100.0, 1.0, 0.0),
            make.trade("binance", 50.0, 2.0, 0.1, marks=Mark.BACKFILLED),
        ],
    )
    assert [value.data["price"] for value in published] == [100.0, 100.0]
    assert [value.data["num_backfilled"] for value in published] == [0, 1]
    assert published[1].data["volume"] == 2.0


def test_history_is_not_counted(make) -> None:
    """A trade from before the subscription belongs to no interval."""
    aggregator = make.aggregator()
    assert make.feed(aggregator, [make.trade("coinbase", 100.0, marks=Mark.HISTORY)]) == []
    stats = aggregator.stats(1)
    assert (stats.ignored, stats.trades_pending) == (1, 0)


def test_stale_venue_leaves_the_average(make) -> None:
    """A venue whose latest trade is too old has no say in the average."""
    aggregator = make.aggregator(aggregation_strategy="average", age_limits_s={"trade": 10})
    published = make.feed(
        aggregator,
        [
            make.trade("binance", 100.0, at_s=0.0),
            make.trade("coinbase", 200.0, at_s=10.0),
            make.trade("coinbase", 200.0, at_s=10.1),
        ],
    )
    assert [value.data["price"] for value in published] == [100.0, 150.0, 200.0]
    assert published[2].exchanges == ["coinbase"]
    left = published[2].excluded[0]
    assert (left.exchange, left.reason, left.age_s) == ("binance", "stale", pytest.approx(10.1))


def test_trade_that_comes_too_late_has_no_price(make) -> None:
    """An event older than the limit when it is delivered counts, and that is all."""
    aggregator = make.aggregator(age_limits_s={"trade": 10})
    late = make.trade("binance", 100.0, at_s=1.0)
    assert not aggregator.on_event(late, make.ns(11.1), make.wall_ns)
    assert aggregator.stats(make.ns(11.1)).trades_pending == 1


def test_source_data_is_what_it_was_made_from(make) -> None:
    """The interval's trades, oldest first, at most buffer_size of the newest."""
    aggregator = make.aggregator(update_interval=1.0, buffer_size=2)
    events = [make.trade("binance", 100.0 + i, at_s=i / 10) for i in range(9)]
    (first,) = make.feed(aggregator, events[:8])
    (second,) = make.wait(aggregator, 1.0)
    assert first.source_data == events[:1]
    assert second.source_data == events[6:8]
    assert second.data["num_trades"] == 7
    assert second.ts_source_mono_ns == events[7].ts_mono_ns


@pytest.mark.parametrize("count", range(1, 12))
def test_source_data_is_cut_at_any_length(make, count) -> None:
    """However many there were, the newest buffer_size are handed on."""
    aggregator = make.aggregator(update_interval=60.0, buffer_size=2)
    events = [make.trade("binance", 100.0, at_s=i / 10) for i in range(count + 1)]
    make.feed(aggregator, events)
    (value,) = make.wait(aggregator, 60.0)
    assert value.source_data == events[1:][-2:]


def test_source_data_of_an_average_names_silent_venues(make) -> None:
    """Venues without a trade in this interval took part by their latest one."""
    aggregator = make.aggregator(aggregation_strategy="average")
    events = [make.trade("kraken", 100.0, at_s=0), make.trade("binance", 200.0, at_s=1)]
    value = make.feed(aggregator, events)[-1]
    assert value.source_data == events
    assert value.exchanges == ["binance", "kraken"]
    assert value.quote_mismatch


def test_quote_mismatch_needs_a_mixture(make) -> None:
    """One venue's trades alone mix nothing."""
    aggregator = make.aggregator(update_interval=1.0)
    (alone,) = make.feed(
        aggregator, [make.trade("binance", 100.0), make.trade("binance", 100.0, at_s=0.1)]
    )
    make.feed(aggregator, [make.trade("coinbase", 100.0, at_s=0.2)])
    (mixed,) = make.wait(aggregator, 1.0)
    assert (alone.quote_mismatch, mixed.quote_mismatch) == (False, True)


def test_unwanted_trades_are_not_counted(make) -> None:
    """Counting starts with the subscription."""
    aggregator = make.aggregator()
    aggregator.set_wanted("BTC/USD", "trade", is_wanted=False)
    skipped = [make.trade("binance", 1.0), make.trade("binance", 1.0, trust=Trust.UNSOUND)]
    assert make.feed(aggregator, skipped) == []
    aggregator.set_wanted("*", "trade", is_wanted=True)
    (value,) = make.feed(aggregator, [make.trade("binance", 2.0, at_s=1)])
    assert value.data["num_trades"] == 1


def test_unsound_values_on_request(make) -> None:
    """With sound_only off they take part, and the result says what it is worth."""
    aggregator = make.aggregator(sound_only=False)
    published = make.feed(
        aggregator,
        [
            make.trade("binance", 100.0, trust=Trust.UNSOUND, integrity=Integrity.SEQUENCED),
            make.trade("coinbase", 100.0, at_s=0.1, trust=Trust.CLOSED),
        ],
    )
    assert [value.trust for value in published] == [Trust.UNSOUND, Trust.UNSOUND]
    assert published[0].integrity is Integrity.SEQUENCED
    assert [value.exchanges for value in published] == [["binance"], ["binance"]]


TRADES = st.lists(
    st.tuples(
        st.sampled_from(["binance", "coinbase", "kraken"]),
        st.integers(1, 1000),  # price
        st.integers(1, 1000),  # quantity
        st.integers(0, 3000),  # ms since the trade before
        st.sampled_from([Mark.NONE, Mark.BACKFILLED, Mark.SUSPECT, Mark.REST]),
        st.sampled_from([Trust.SOUND, Trust.SOUND, Trust.UNSOUND, Trust.UNAVAILABLE]),
    ),
    max_size=40,
)


@given(TRADES, st.sampled_from(strategy_names()), st.sampled_from([0.0, 0.5, 2.0]), st.booleans())
def test_volume_is_conserved(make, trades, strategy, interval_s, sound_only) -> None:
    """Whatever the strategy, interval and interleaving: published totals are what came in."""
    aggregator = make.aggregator(
        aggregation_strategy=strategy,
        update_interval=interval_s,
        sound_only=sound_only,
        age_limits_s={"trade": 5},
    )
    published, now_ms = [], 0
    for exchange, price, quantity, wait_ms, marks, trust in trades:
        now_ms += wait_ms
        trade = make.trade(
            exchange, float(price), float(quantity), now_ms / 1000, marks=marks, trust=trust
        )
        published += make.feed(aggregator, [trade])
        pending = aggregator.stats(trade.ts_mono_ns).trades_pending
        assert sum(v.data["num_trades"] for v in published) + pending == aggregator.stats(0).taken
    published += make.wait(aggregator, now_ms / 1000 + 10)
    published += aggregator.close(make.ns(now_ms / 1000 + 10), make.wall_ns)
    assert sum(v.data["volume"] for v in published) == sum(
        quantity for _, _, quantity, *_ in trades
    )
    assert sum(v.data["num_trades"] for v in published) == len(trades)
    backfilled = [marks for *_, marks, _ in trades if marks & Mark.BACKFILLED]
    assert sum(v.data["num_backfilled"] for v in published) == len(backfilled)
    assert sum(len(v.source_data) for v in published) >= min(len(trades), 1)


@given(TRADES)
def test_weighted_price_against_the_naive_one(make, trades) -> None:
    """The interval's price is its notional over its volume."""
    aggregator = make.aggregator(aggregation_strategy="weighted", update_interval=1.0)
    events = [
        make.trade(exchange, float(price), float(quantity), 0.5 + index / 1000)
        for index, (exchange, price, quantity, *_) in enumerate(trades)
    ]
    make.feed(aggregator, [make.trade("binance", 1.0), *events])
    published = make.wait(aggregator, 1.0)
    if not events:
        assert published == []
        return
    volume = sum(event.quantity for event in events)
    notional = sum(event.price * event.quantity for event in events)
    assert published[0].data["price"] == pytest.approx(notional / volume, rel=1e-12)


@given(TRADES, st.randoms(use_true_random=False))
def test_order_within_an_interval_does_not_matter_to_weighted(make, trades, chance) -> None:
    """WEIGHTED gives the same price and totals for the same trades in any order."""
    results = []
    for _ in range(2):
        aggregator = make.aggregator(aggregation_strategy="weighted", update_interval=1.0)
        make.feed(aggregator, [make.trade("binance", 1.0)])
        chance.shuffle(trades)
        make.feed(
            aggregator,
            [make.trade(exchange, float(p), float(q), 0.5) for exchange, p, q, *_ in trades],
        )
        results.append([v.data for v in make.wait(aggregator, 1.0)])
    assert results[0] == results[1]
