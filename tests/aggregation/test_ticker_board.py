"""Unified tickers: one price by strategy, and how far the venues are apart."""

import pytest

from crossfeed.model.trust import Mark, Trust


def three(make):
    """Three tickers of different price and volume."""
    return [
        make.ticker("binance", 100.0, 5.0, 0.0),
        make.ticker("coinbase", 200.0, 1.0, 0.1),
        make.ticker("kraken", 600.0, 4.0, 0.2),
    ]


def test_document_values(make) -> None:
    """The document's example: median, combined volume, range and standard deviation."""
    aggregator = make.aggregator()
    events = [
        make.ticker("binance", 44995.0, 30000.0),
        make.ticker("coinbase", 45005.0, 20000.0, 0.1),
    ]
    value = make.feed(aggregator, events)[-1]
    assert value.data == {
        "price": 45000.0,
        "volume_24h": 50000.0,
        "num_exchanges": 2,
        "price_range": [44995.0, 45005.0],
        "price_std": 5.0,
    }
    assert value.exchanges == ["binance", "coinbase"]


@pytest.mark.parametrize(
    ("strategy", "price"),
    [
        ("first", 600.0),
        ("last", 600.0),
        ("average", 300.0),
        ("median", 200.0),
        ("weighted", 310.0),
        ("best_bid_ask", 200.0),
    ],
)
def test_price_by_strategy(make, strategy, price) -> None:
    """Each strategy's price; under BEST_BID_ASK, which says nothing of tickers, the median."""
    aggregator = make.aggregator(aggregation_strategy=strategy)
    value = make.feed(aggregator, three(make))[-1]
    assert value.data["price"] == price
    assert value.data["price_range"] == [100.0, 600.0]
    assert value.data["volume_24h"] == 10.0


def test_weighted_without_volumes_is_the_median(make) -> None:
    """Where nobody gives a volume nothing can be weighed."""
    aggregator = make.aggregator(aggregation_strategy="weighted")
    events = [make.ticker("binance", 100.0, None), make.ticker("kraken", 300.0, None, 0.1)]
    value = make.feed(aggregator, events)[-1]
    assert (value.data["price"], value.data["volume_24h"]) == (200.0, 0.0)


def test_first_of_an_interval(make) -> None:
    """FIRST publishes the first ticker of each interval and no other."""
    aggregator = make.aggregator(aggregation_strategy="first", update_interval=1.0)
    published = make.feed(aggregator, [*three(make), make.ticker("binance", 50.0, 1.0, 1.0)])
    assert [value.data["price"] for value in published] == [100.0, 50.0]


def test_one_venue(make) -> None:
    """One venue's price has no spread over venues."""
    aggregator = make.aggregator()
    (value,) = make.feed(aggregator, [make.ticker("kraken", 100.0)])
    assert value.data["price_std"] == 0.0
    assert value.data["price_range"] == [100.0, 100.0]
    assert not value.quote_mismatch


def test_last_price_of_those_that_take_part(make) -> None:
    """LAST passes over a venue that was left out since it spoke."""
    aggregator = make.aggregator(aggregation_strategy="last")
    make.feed(aggregator, three(make))
    (value,) = aggregator.on_status(
        make.status("kraken", Trust.UNAVAILABLE), make.ns(1), make.wall_ns
    )
    assert value.data["price"] == 200.0
    assert value.exchanges == ["binance", "coinbase"]
    assert [event.exchange for event in value.source_data] == ["binance", "coinbase"]


def test_history_and_impossible_values(make) -> None:
    """A ticker from before the subscription is ignored, one no market can have refused."""
    aggregator = make.aggregator()
    nan, inf = float("nan"), float("inf")
    impossible = [(nan, 1.0), (inf, 1.0), (0.0, 1.0), (-1.0, 1.0), (1e300, 1.0)]
    impossible += [(1.0, nan), (1.0, inf), (1.0, -1.0)]
    events = [make.ticker("binance", *values) for values in impossible]
    events.append(make.ticker("binance", 1.0, marks=Mark.HISTORY))
    assert make.feed(aggregator, events) == []
    stats = aggregator.stats(0)
    assert (stats.refused, stats.ignored, stats.taken) == (8, 1, 0)


def test_buffer_bounds_source_data(make) -> None:
    """At most buffer_size events, the newest."""
    aggregator = make.aggregator(buffer_size=2)
    events = three(make)
    assert make.feed(aggregator, events)[-1].source_data == events[1:]


def test_suspect_venue_is_left_out_until_its_next_good_value(make) -> None:
    """A suspect price is no price; the venue returns with the next good one."""
    aggregator = make.aggregator()
    first, second, third = make.feed(
        aggregator,
        [
            *three(make)[:2],
            make.ticker("binance", 9000.0, at_s=0.2, marks=Mark.SUSPECT),
            make.ticker("binance", 100.0, at_s=0.3),
        ],
    )[1:]
    assert (first.data["price"], second.data["price"], third.data["price"]) == (150, 200, 150)
    assert {left.exchange: left.reason for left in second.excluded}["binance"] == "suspect"


def test_unwanted_is_kept_up_to_date(make) -> None:
    """Nothing is published, and a later subscriber starts with what is known."""
    aggregator = make.aggregator()
    aggregator.set_wanted("BTC/USD", "ticker", is_wanted=False)
    assert make.feed(aggregator, three(make)[:2]) == []
    aggregator.set_wanted("BTC/USD", "ticker", is_wanted=True)
    (value,) = make.feed(aggregator, three(make)[2:])
    assert value.exchanges == ["binance", "coinbase", "kraken"]
