"""Unified book tickers: best bid and ask over venues, crossed or not, and who may take part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.aggregation.strategies.registry import strategy_names
from crossfeed.model.trust import Integrity, Mark, Trust


@pytest.mark.parametrize("strategy", strategy_names())
def test_document_keys_under_every_strategy(make, strategy) -> None:
    """Book tickers give best bid and best ask whatever the price strategy."""
    aggregator = make.aggregator(aggregation_strategy=strategy)
    events = [
        make.quote("binance", 45000.0, 45020.0, sizes=(2.5, 9.0)),
        make.quote("coinbase", 44990.0, 45010.0, 0.1, sizes=(9.0, 1.8)),
    ]
    value = make.feed(aggregator, events)[-1]
    assert value.data == {
        "best_bid": 45000.0,
        "best_bid_quantity": 2.5,
        "best_bid_exchange": "binance",
        "best_ask": 45010.0,
        "best_ask_quantity": 1.8,
        "best_ask_exchange": "coinbase",
        "spread": 10.0,
        "spread_percent": pytest.approx(10 / 45005 * 100),
    }
    assert round(value.data["spread_percent"], 3) == 0.022
    assert value.exchanges == ["binance", "coinbase"]
    assert value.source_data == events
    assert value.exchange == "*"


def test_spread_is_negative_when_crossed(make) -> None:
    """One venue bids more than another asks: the arbitrage case, published as it is."""
    aggregator = make.aggregator()
    events = [make.quote("binance", 101.0, 102.0), make.quote("coinbase", 98.0, 99.0, 0.1)]
    value = make.feed(aggregator, events)[-1]
    assert value.data["spread"] == -2.0
    assert value.data["spread_percent"] == -2.0
    assert value.quote_mismatch


def test_equal_prices_take_the_larger_size(make) -> None:
    """Of equal prices the larger size is best, then the configured order."""
    aggregator = make.aggregator()
    values = make.feed(
        aggregator,
        [
            make.quote("kraken", 100.0, 101.0, 0.0, (1.0, 1.0)),
            make.quote("coinbase", 100.0, 101.0, 0.1, (1.0, 3.0)),
            make.quote("binance", 100.0, 101.0, 0.2, (1.0, 2.0)),
        ],
    )
    assert values[-1].data["best_bid_exchange"] == "binance"
    assert values[-1].data["best_ask_exchange"] == "coinbase"


def test_one_venue_crossed_in_itself_is_left_out(make) -> None:
    """A venue that bids above its own offer is no arbitrage case: it is wrong."""
    aggregator = make.aggregator()
    values = make.feed(
        aggregator,
        [
            make.quote("binance", 100.0, 101.0),
            make.quote("coinbase", 105.0, 99.0, 0.1),
            make.quote("binance", 100.0, 101.0, 0.2),
            make.quote("coinbase", 100.0, 100.0, 0.3),
        ],
    )
    assert [value.exchanges for value in values] == [
        ["binance"],
        ["binance"],
        ["binance", "coinbase"],
    ]
    assert values[1].excluded[0].reason == "suspect"
    assert values[2].data["best_ask"] == 100.0


def test_impossible_quotes_are_refused(make) -> None:
    """NaN, infinities, zero and negative prices or sizes never enter."""
    aggregator = make.aggregator()
    nan, inf = float("nan"), float("inf")
    prices = [(nan, 1.0), (1.0, nan), (0.0, 1.0), (-1.0, 1.0), (1.0, inf), (1.0, 0.0)]
    events = [make.quote("binance", *price) for price in prices]
    events += [
        make.quote("binance", 1.0, 2.0, sizes=sizes) for sizes in [(nan, 1), (1, inf), (-1, 1)]
    ]
    assert make.feed(aggregator, events) == []
    assert aggregator.stats(0).refused == 9


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"trust": Trust.STALE}, "stale"),
        ({"trust": Trust.UNSOUND}, "unsound"),
        ({"trust": Trust.CLOSED}, "closed"),
        ({"trust": Trust.UNAVAILABLE}, "unavailable"),
        ({"marks": Mark.SUSPECT}, "suspect"),
        ({"integrity": Integrity.NONE}, "integrity"),
    ],
)
def test_who_is_left_out_and_why(make, parts, reason) -> None:
    """A venue's value takes part only while SOUND, unsuspected and provable enough."""
    aggregator = make.aggregator(min_integrity="self_contained")
    values = make.feed(
        aggregator,
        [
            make.quote("binance", 100.0, 101.0),
            make.quote("coinbase", 100.5, 100.6, 0.1),
            make.quote("coinbase", 100.5, 100.6, 0.2, **parts),
            make.quote("binance", 100.0, 101.0, 0.3),
        ],
    )
    assert [value.exchanges for value in values] == [
        ["binance"],
        ["binance", "coinbase"],
        ["binance"],
        ["binance"],
    ]
    reasons = {left.exchange: left.reason for left in values[-1].excluded}
    assert reasons == {"coinbase": reason, "kraken": "no_data"}
    assert values[-1].data["best_bid"] == 100.0
    (back, *_) = make.feed(aggregator, [make.quote("coinbase", 100.5, 100.6, 0.4)])
    assert back.exchanges == ["binance", "coinbase"]


def test_integrity_of_the_result_is_the_weakest(make) -> None:
    """A consumer sees how well the weakest part is proven."""
    aggregator = make.aggregator()
    levels = [Integrity.SEQUENCED, Integrity.NONE]
    values = make.feed(
        aggregator,
        [
            make.quote(exchange, 100.0, 101.0, integrity=level)
            for exchange, level in zip(("binance", "coinbase"), levels, strict=True)
        ],
    )
    assert [value.integrity for value in values] == levels


def test_unsound_values_on_request(make) -> None:
    """With sound_only off STALE and UNSOUND take part and the trust is the worst; CLOSED never."""
    aggregator = make.aggregator(sound_only=False)
    trusts = [Trust.STALE, Trust.UNSOUND, Trust.CLOSED]
    values = make.feed(
        aggregator,
        [
            make.quote(exchange, 100.0, 101.0, index / 10, trust=trust)
            for index, (exchange, trust) in enumerate(zip(make.venues, trusts, strict=True))
        ],
    )
    assert [value.trust for value in values] == [Trust.STALE, Trust.UNSOUND]
    assert values[-1].exchanges == ["binance", "coinbase"]


def test_sources_of_one_venue_in_their_order(make) -> None:
    """The own channel comes before the book's top, that before the ticker's bid and ask."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 10})
    own, book, ticker = Mark.RECEIVE_TIME, Mark.FROM_BOOK, Mark.FROM_TICKER
    bids = [
        value.data["best_bid"]
        for value in make.feed(
            aggregator,
            [
                make.quote("coinbase", 1.0, 9.0, 0.1, marks=ticker),
                make.quote("coinbase", 2.0, 9.0, 0.2, marks=book),
                make.quote("coinbase", 3.0, 9.0, 0.3, marks=ticker),  # worse: ignored
                make.quote("coinbase", 4.0, 9.0, 0.4, marks=own),
                make.quote("coinbase", 5.0, 9.0, 0.5, marks=book),  # worse: ignored
                make.quote("coinbase", 6.0, 9.0, 11.0, marks=ticker),  # the better one has gone
            ],
        )
    ]
    assert bids == [1.0, 2.0, 4.0, 6.0]
    assert aggregator.stats(0).ignored == 2


def test_buffer_bounds_source_data(make) -> None:
    """At most buffer_size events, the newest."""
    aggregator = make.aggregator(buffer_size=1)
    events = [make.quote("binance", 1.0, 2.0), make.quote("kraken", 1.0, 2.0, 0.1)]
    assert make.feed(aggregator, events)[-1].source_data == events[1:]


def test_unwanted_is_kept_up_to_date(make) -> None:
    """Nothing is published, and a later subscriber starts with what is known."""
    aggregator = make.aggregator()
    aggregator.set_wanted("*", "book_ticker", is_wanted=False)
    assert make.feed(aggregator, [make.quote("binance", 1.0, 2.0)]) == []
    aggregator.set_wanted("*", "book_ticker", is_wanted=True)
    (value,) = make.feed(aggregator, [make.quote("kraken", 1.0, 2.0, 0.1)])
    assert value.exchanges == ["binance", "kraken"]


QUOTES = st.lists(
    st.tuples(
        st.sampled_from(["binance", "coinbase", "kraken"]),
        st.integers(1, 20),  # bid
        st.integers(0, 5),  # spread of the venue itself
        st.integers(0, 3),  # sizes
        st.integers(0, 4000),  # ms since the quote before
        st.sampled_from([Trust.SOUND, Trust.SOUND, Trust.SOUND, Trust.UNSOUND]),
    ),
    max_size=30,
)


@given(QUOTES)
def test_against_the_naive_model(make, quotes) -> None:
    """At every step the top is what a plain search over the latest quotes finds."""
    aggregator = make.aggregator(age_limits_s={"book_ticker": 5})
    order = list(make.venues)
    latest, now_ms = {}, 0
    for exchange, bid, spread, size, wait_ms, trust in quotes:
        now_ms += wait_ms
        quote = make.quote(
            exchange, float(bid), float(bid + spread), now_ms / 1000, (size, size), trust=trust
        )
        latest[exchange] = (quote, now_ms)
        make.wait(aggregator, now_ms / 1000)
        published = aggregator.on_event(quote, quote.ts_mono_ns, make.wall_ns)
        taking = sorted(
            (q for q, at in latest.values() if q.trust is Trust.SOUND and now_ms - at <= 5000),
            key=lambda q: order.index(q.exchange),
        )
        if not published:
            assert trust is not Trust.SOUND
            continue
        (value,) = published
        bids = sorted(taking, key=lambda q: (-q.bid_price, -q.bid_quantity))
        asks = sorted(taking, key=lambda q: (q.ask_price, -q.ask_quantity))
        assert value.exchanges == [q.exchange for q in taking]
        assert value.data["best_bid"] == bids[0].bid_price
        assert value.data["best_bid_exchange"] == bids[0].exchange
        assert value.data["best_ask"] == asks[0].ask_price
        assert value.data["best_ask_exchange"] == asks[0].exchange
        assert value.data["spread"] == asks[0].ask_price - bids[0].bid_price
        assert {left.exchange for left in value.excluded} == set(order) - set(value.exchanges)


@given(st.permutations(range(6)))
def test_order_of_arrival_does_not_matter(make, order) -> None:
    """The same latest quotes in any order of arrival give the same top."""
    quotes = [
        make.quote(exchange, 100.0 + index, 102.0 + index, sizes=(index + 1.0, 2.0))
        for index, exchange in enumerate([*make.venues, *make.venues])
    ]
    aggregator = make.aggregator()
    kept = {}
    for index in order:
        kept[quotes[index].exchange] = quotes[index]
        (value,) = aggregator.on_event(quotes[index], 1, make.wall_ns)
    assert value.data["best_bid"] == max(quote.bid_price for quote in kept.values())
    assert value.data["best_ask"] == min(quote.ask_price for quote in kept.values())
