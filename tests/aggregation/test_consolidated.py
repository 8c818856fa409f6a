"""The consolidated book: depth with fees, age and currency, executable prices, and its top."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.aggregation.consolidated import ConsolidatedBook, FixedDepth
from crossfeed.model.trust import Integrity, Side, Trust


def depth(*, at_ns: int = 1, bids=(), asks=(), **parts) -> FixedDepth:
    """Make one venue's book."""
    return FixedDepth(bids=list(bids), asks=list(asks), ts_mono_ns=at_ns, **parts)


@pytest.fixture
def book(make):
    """A book of two venues; Coinbase is dearer by its fee."""
    config = make.config(fees_percent={"binance": 0.1, "coinbase": 1.0})
    made = ConsolidatedBook("BTC/USD", config)
    made.attach("coinbase", depth(bids=[(100.0, 1.0)], asks=[(101.0, 1.0), (103.0, 5.0)]))
    made.attach("binance", depth(bids=[(99.5, 2.0)], asks=[(101.5, 2.0)]), quote="USDT")
    return made


def test_levels_of_all_venues(book) -> None:
    """Best first, each with venue, size, currency, price after fees and age."""
    view = book.view(1_000_000_001)
    assert [(level.price, level.exchange) for level in view.asks] == [
        (101.0, "coinbase"),
        (101.5, "binance"),
        (103.0, "coinbase"),
    ]
    assert [level.price for level in view.bids] == [100.0, 99.5]
    best = view.best_ask
    assert best is not None
    assert (best.quantity, best.quote, best.age_s) == (1.0, "USD", 1.0)
    assert best.price_net == pytest.approx(101.0 * 1.01)
    assert view.best_bid.price_net == pytest.approx(99.0)
    assert view.exchanges == ("binance", "coinbase")
    assert view.quote_mismatch
    assert not view.is_crossed


def test_depth_is_cut(book) -> None:
    """No more levels than asked for."""
    view = book.view(1, levels=1)
    assert (len(view.bids), len(view.asks)) == (1, 1)


def test_empty_book(make) -> None:
    """No venue, no price."""
    view = ConsolidatedBook("BTC/USD", make.config()).view(1)
    assert view.best_bid is None
    assert view.best_ask is None
    assert not view.is_crossed
    assert (view.trust, view.integrity) == (Trust.SOUND, Integrity.NONE)


def test_crossed_over_venues(make) -> None:
    """One venue bids more than another asks."""
    book = ConsolidatedBook("BTC/USD", make.config())
    book.attach("kraken", depth(bids=[(102.0, 1.0)], asks=[(103.0, 1.0)]))
    book.attach("coinbase", depth(bids=[(99.0, 1.0)], asks=[(100.0, 1.0)]))
    assert book.view(1).is_crossed
    book.detach("coinbase")
    book.detach("coinbase")
    assert not book.view(1).is_crossed


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"at_ns": 0}, "no_data"),
        ({"trust": Trust.UNSOUND}, "unsound"),
        ({"trust": Trust.CLOSED}, "closed"),
        ({"at_ns": 1, "integrity": Integrity.SELF_CONTAINED}, "integrity"),
        ({"bids": [(102.0, 1.0)]}, "suspect"),
    ],
)
def test_who_is_left_out(make, parts, reason) -> None:
    """The rules are those of a book ticker."""
    book = ConsolidatedBook("BTC/USD", make.config(min_integrity="checksummed"))
    whole = {"bids": [(100.0, 1.0)], "asks": [(101.0, 1.0)], "integrity": Integrity.CHECKSUMMED}
    book.attach("kraken", depth(**(whole | parts)))
    view = book.view(1)
    assert view.exchanges == ()
    assert [left.reason for left in view.excluded] == [reason]


def test_stale_book_is_left_out(make) -> None:
    """A book past the age limit leaves, with its age."""
    book = ConsolidatedBook("BTC/USD", make.config(age_limits_s={"book_ticker": 5}))
    book.attach("kraken", depth(at_ns=make.ns(1), bids=[(1.0, 1.0)], asks=[(2.0, 1.0)]))
    assert book.view(make.ns(6)).excluded == ()
    (left,) = book.view(make.ns(6.5)).excluded
    assert (left.reason, left.age_s) == ("stale", 5.5)


def test_conversion(make) -> None:
    """Fixed and live rates bring all prices into the symbol's currency; without one: left out."""
    levels = {"bids": [(200.0, 1.0)], "asks": [(210.0, 1.0)]}
    fixed = ConsolidatedBook("BTC/USD", make.config(quote_basis={"USDT/USD": 0.5}))
    fixed.attach("binance", depth(**levels), quote="USDT")
    best = fixed.view(1).best_bid
    assert (best.price, best.quote) == (100.0, "USD")
    assert not fixed.view(1).quote_mismatch

    aggregator = make.aggregator(quote_basis={"USDT/USD": "kraken:USDT/USD"}, rate_age_limit_s=10)
    live = ConsolidatedBook("BTC/USD", aggregator.config, rates=aggregator.rates)
    live.attach("binance", depth(at_ns=make.ns(1), **levels), quote="USDT")
    assert [left.reason for left in live.view(make.ns(1)).excluded] == ["quote"]
    part = {"symbol": "USDT/USD", "unified": "USDT/USD"}
    make.feed(aggregator, [make.ticker("kraken", 0.25, at_s=1, **part)])
    assert live.view(make.ns(2)).best_bid.price == 50.0
    assert [left.reason for left in live.view(make.ns(12)).excluded] == ["quote"]


def test_impossible_levels_are_left_out(make) -> None:
    """A level no market can have does not enter, whatever the book says."""
    nan, inf = float("nan"), float("inf")
    bids = [(100.0, 1.0), (nan, 1.0), (99.0, nan), (98.0, 0.0), (-1.0, 1.0), (97.0, inf)]
    book = ConsolidatedBook("BTC/USD", make.config())
    book.attach("kraken", depth(bids=bids))
    assert [level.price for level in book.view(1).bids] == [100.0]


def test_price_for_a_size(book) -> None:
    """Cheapest after fees first: the dearer fee makes the better price the worse one."""
    bought = book.price_for(Side.BUY, 3.0, 1)
    assert [(leg.exchange, leg.quantity) for leg in bought.legs] == [
        ("binance", 2.0),
        ("coinbase", 1.0),
    ]
    assert bought.is_complete
    assert bought.price == pytest.approx((2 * 101.5 + 101.0) / 3)
    assert bought.price_net == pytest.approx((2 * 101.5 * 1.001 + 101.0 * 1.01) / 3)
    assert bought.price_worst == 101.5
    assert bought.legs[0].fee == pytest.approx(0.203)
    assert [leg.quote for leg in bought.legs] == ["USDT", "USD"]
    assert bought.quote_mismatch

    sold = book.price_for(Side.SELL, 0.5, 1)
    assert [leg.exchange for leg in sold.legs] == ["binance"]
    assert sold.price_net == pytest.approx(99.5 * 0.999)


def test_price_for_more_than_there_is(book) -> None:
    """What is not there is not filled, and nothing is made up for it."""
    bought = book.price_for(Side.BUY, 100.0, 1)
    assert (bought.filled, bought.is_complete, bought.price_worst) == (8.0, False, 103.0)


def test_dust_is_no_rest(make) -> None:
    """What float subtraction leaves over does not touch the next level."""
    book = ConsolidatedBook("BTC/USD", make.config())
    book.attach("kraken", depth(asks=[(1.0, 0.1), (1.0, 0.1), (1.0, 0.6), (9.0, 1.0)]))
    bought = book.price_for(Side.BUY, 0.8, 1)
    assert (bought.filled, bought.price, bought.price_worst) == (0.8, 1.0, 1.0)


def test_currency_from_the_books_own_name(make) -> None:
    """A book that knows its instrument says what its prices are in."""
    book = ConsolidatedBook("BTC/USD", make.config())
    book.attach("binance", depth(bids=[(1.0, 1.0)], unified="BTC/USDT"))
    book.attach("kraken", depth(bids=[(1.0, 1.0)]))
    assert [level.quote for level in book.view(1).bids] == ["USDT", "USD"]


def test_price_for_without_a_book(make) -> None:
    """No venue: nothing filled, no price."""
    bought = ConsolidatedBook("BTC/USD", make.config()).price_for(Side.BUY, 1.0, 1)
    assert (bought.filled, bought.price, bought.price_net, bought.legs) == (0.0, None, None, ())
    assert not bought.is_complete


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_price_for_no_size(book, size) -> None:
    """Only a size above 0 can be priced."""
    with pytest.raises(ValueError, match="no size"):
        book.price_for(Side.BUY, size, 1)


def test_price_for_no_side(book) -> None:
    """Only a taker's side can be priced."""
    with pytest.raises(ValueError, match="no side"):
        book.price_for(Side.UNKNOWN, 1.0, 1)


LEVELS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 5)), max_size=6)


@given(
    st.dictionaries(st.sampled_from(["binance", "coinbase", "kraken"]), LEVELS), st.integers(1, 40)
)
def test_price_for_against_the_naive_walk(make, books, size) -> None:
    """Size by unit, the cheapest first: the same average, and never better than the best price."""
    book = ConsolidatedBook("BTC/USD", make.config())
    units = []
    for exchange, levels in books.items():
        asks = sorted((float(price), float(amount)) for price, amount in levels)
        book.attach(exchange, depth(asks=asks))
        units += [price for price, amount in levels for _ in range(amount)]
    bought = book.price_for(Side.BUY, float(size), 1)
    taken = sorted(units)[:size]
    assert bought.filled == len(taken)
    assert sum(leg.quantity for leg in bought.legs) == pytest.approx(len(taken))
    if taken:
        assert bought.price == pytest.approx(sum(taken) / len(taken))
        assert taken[0] <= bought.price <= bought.price_worst == taken[-1]


QUOTES = st.dictionaries(
    st.sampled_from(["binance", "coinbase", "kraken"]),
    st.tuples(st.integers(1, 9), st.integers(0, 3), st.integers(1, 3), st.sampled_from(Trust)),
    min_size=1,
)


@given(QUOTES)
def test_top_is_best_bid_ask(make, quotes) -> None:
    """The top of this book is what BEST_BID_ASK publishes for the same input."""
    aggregator = make.aggregator()
    book = ConsolidatedBook("BTC/USD", make.config())
    value = None
    for exchange, (bid, spread, size, trust) in quotes.items():
        ask = float(bid + spread)
        quote = make.quote(exchange, float(bid), ask, 1, (float(size), float(size)), trust=trust)
        for published in aggregator.on_event(quote, make.ns(1), make.wall_ns):
            value = published
        book.attach(
            exchange,
            depth(
                at_ns=make.ns(1),
                bids=[(float(bid), float(size))],
                asks=[(ask, float(size))],
                trust=trust,
            ),
            quote="USDT" if exchange == "binance" else "USD",
        )
    view = book.view(make.ns(1))
    if value is None:
        assert view.exchanges == ()
        return
    best_bid, best_ask = view.best_bid, view.best_ask
    assert list(view.exchanges) == value.exchanges
    assert (best_bid.price, best_bid.quantity, best_bid.exchange) == (
        value.data["best_bid"],
        value.data["best_bid_quantity"],
        value.data["best_bid_exchange"],
    )
    assert (best_ask.price, best_ask.quantity, best_ask.exchange) == (
        value.data["best_ask"],
        value.data["best_ask_quantity"],
        value.data["best_ask_exchange"],
    )
    assert view.quote_mismatch == value.quote_mismatch
