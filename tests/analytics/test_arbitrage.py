"""The arbitrage detector: told only of two venues' sound, fresh prices that give a gain."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from crossfeed.analytics.arbitrage import ArbitrageDetector
from crossfeed.errors import ConfigError
from crossfeed.model.trust import Integrity, Trust
from crossfeed.model.unified import Excluded

SECOND_NS = 10**9


class Level(Struct):
    """A level of the depth."""

    price: float
    quantity: float
    exchange: str


class Depth(Struct):
    """A depth over venues."""

    bids: list[Level] = []
    asks: list[Level] = []


def test_documents_use(book) -> None:
    """The document's lines run, and its keys are there."""
    detector = ArbitrageDetector(min_spread_percent=0.5)
    assert detector.check_opportunity(book())
    opp = detector.opportunities[-1]
    assert f"Arbitrage: Buy @ {opp['buy_exchange']} ${opp['buy_price']}" == (
        "Arbitrage: Buy @ coinbase $100.0"
    )
    assert f"Sell @ {opp['sell_exchange']} ${opp['sell_price']}" == "Sell @ kraken $101.0"
    assert f"Profit: {opp['spread_percent']:.2f}%" == "Profit: 1.00%"


def test_all_keys(book) -> None:
    """Beside the document's keys: size, net profit, time and whether currencies are mixed."""
    detector = ArbitrageDetector()
    assert detector.check_opportunity(book(quote_mismatch=True))
    assert detector.opportunities == [
        {
            "symbol": "BTC/USD",
            "buy_exchange": "coinbase",
            "buy_price": 100.0,
            "sell_exchange": "kraken",
            "sell_price": 101.0,
            "spread": 1.0,
            "spread_percent": pytest.approx(1 / 100.5 * 100),
            "quantity": 2.0,
            "net_profit_percent": pytest.approx(1.0),
            "timestamp": datetime(2026, 9, 21, 12, tzinfo=UTC),
            "quote_mismatch": True,
        }
    ]


@pytest.mark.parametrize(
    ("bid", "ask"),
    [
        (100.0, 101.0),
        (100.0, 100.0),
        (float("nan"), 100.0),
        (101.0, float("nan")),
        (float("inf"), 100.0),
        (101.0, 0.0),
        (101.0, -1.0),
        (True, 0.5),
        (None, 100.0),
        (1.0, 5e-324),
        (10**400, 1.0),
        ("101", 100.0),
    ],
)
def test_no_opportunity(book, bid, ask) -> None:
    """Not crossed, locked, or not even prices: no opportunity and no exception."""
    detector = ArbitrageDetector()
    assert not detector.check_opportunity(book(bid, ask))
    assert detector.opportunities == []
    assert (detector.checked, detector.found, detector.rejected) == (1, 0, {})


@pytest.mark.parametrize("data_type", ["trade", "ticker"])
def test_other_kinds(book, data_type) -> None:
    """Only a book ticker has prices one can trade at."""
    assert not ArbitrageDetector().check_opportunity(book(data_type=data_type))


def test_no_venue_named(book) -> None:
    """A price without a venue cannot be traded."""
    assert not ArbitrageDetector().check_opportunity(book(data={"best_bid_exchange": None}))


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"venues": ("kraken", "kraken")}, "same_venue"),
        ({"venues": ("coinbase", "coinbase_advanced")}, "same_venue"),
        ({"trust": Trust.UNSOUND}, "trust"),
        ({"trust": Trust.STALE}, "trust"),
        ({"integrity": Integrity.NONE}, "integrity"),
        ({"bid": 100.2}, "threshold"),
        ({"ages_ns": (0, 6 * SECOND_NS)}, "stale"),
        ({"ages_ns": (6 * SECOND_NS, 0)}, "stale"),
        ({"excluded": (Excluded("kraken", "stale", 20.0),)}, "stale"),
        ({"sizes": (0.5, 3.0)}, "size"),
        ({"sizes": (None, 3.0)}, "size"),
        ({"quote_mismatch": True}, "quote"),
        ({"bid": 100.6}, "fees"),
    ],
)
def test_what_speaks_against_it(book, parts, reason) -> None:
    """Each reason is counted under its name."""
    detector = ArbitrageDetector(
        min_spread_percent=0.5,
        fees_percent={"kraken": 0.4, "coinbase": 0.4},
        min_size=1.0,
        age_limit_s=5.0,
        min_integrity=Integrity.SELF_CONTAINED,
        allow_quote_mismatch=False,
    )
    sound = {"integrity": Integrity.SEQUENCED}
    assert detector.check_opportunity(book(**sound))
    assert not detector.check_opportunity(book(**(sound | parts)))
    assert detector.rejected == {reason: 1}
    assert repr(detector) == "ArbitrageDetector(>= 0.5 %, 1 found of 2)"


@pytest.mark.fault("S13")
def test_crossed_book_of_one_venue_is_no_signal(book) -> None:
    """A venue crossed in itself is broken, not generous."""
    assert not ArbitrageDetector().check_opportunity(book(venues=("kraken", "kraken")))


def test_age_at_the_time_of_the_question(book) -> None:
    """A value looked at late is as old as its quotes."""
    detector = ArbitrageDetector(age_limit_s=5.0)
    data = book(ages_ns=(SECOND_NS, 0))
    assert detector.check_opportunity(data)
    assert detector.check_opportunity(data, now_mono_ns=data.ts_mono_ns + 4 * SECOND_NS)
    assert not detector.check_opportunity(data, now_mono_ns=data.ts_mono_ns + 5 * SECOND_NS)


def test_unsound_on_request(book) -> None:
    """Who asks for it gets doubtful values too."""
    assert ArbitrageDetector(sound_only=False).check_opportunity(book(trust=Trust.UNSOUND))


def test_net_profit_after_fees(book) -> None:
    """Fees of both sides come off; the profit is a share of the money paid."""
    detector = ArbitrageDetector(fees_percent={"coinbase": 0.5, "kraken": 0.25})
    assert detector.check_opportunity(book())
    expected = (101 * 0.9975 - 100 * 1.005) / (100 * 1.005) * 100
    assert detector.opportunities[-1]["net_profit_percent"] == pytest.approx(expected)


def test_unknown_sizes_without_a_minimum(book) -> None:
    """Without a minimum size the prices alone decide, as in the document."""
    detector = ArbitrageDetector()
    assert detector.check_opportunity(book(sizes=(0.0, 0.0)))
    opp = detector.opportunities[-1]
    assert (opp["quantity"], opp["net_profit_percent"]) == (0.0, pytest.approx(1.0))


def test_depth_is_walked(book) -> None:
    """Levels of the two venues are matched while each further unit gains after fees."""
    depth = Depth(
        bids=[
            Level(101.0, 2.0, "kraken"),
            Level(100.9, 9.0, "binance"),
            Level(100.7, 2.0, "kraken"),
            Level(100.2, 9.0, "kraken"),
        ],
        asks=[
            Level(100.0, 3.0, "coinbase"),
            Level(100.1, 9.0, "binance"),
            Level(100.3, 5.0, "coinbase"),
        ],
    )
    detector = ArbitrageDetector(fees_percent={"kraken": 0.1})
    assert detector.check_opportunity(book(), depth=depth)
    opp = detector.opportunities[-1]
    # 2 @ 101.0 against 100.0, 1 @ 100.7 against 100.0, 1 @ 100.7 against 100.3.
    assert opp["quantity"] == 4.0
    paid = 300.0 + 100.3
    got = (202.0 + 201.4) * 0.999
    assert opp["net_profit_percent"] == pytest.approx((got - paid) / paid * 100)
    assert (opp["buy_price"], opp["sell_price"]) == (100.0, 101.0)


@pytest.mark.parametrize("depth", [Depth(), Depth(bids=[Level(101.0, 1.0, "kraken")])])
def test_depth_without_the_levels(book, depth) -> None:
    """A depth that does not show the prices gives no size."""
    detector = ArbitrageDetector()
    assert not detector.check_opportunity(book(), depth=depth)
    assert detector.rejected == {"size": 1}


def test_bounded_list(book) -> None:
    """Only the newest opportunities are kept."""
    detector = ArbitrageDetector(opportunities_max=2)
    for bid in (101.0, 102.0, 103.0):
        detector.check_opportunity(book(bid))
    assert [opp["sell_price"] for opp in detector.opportunities] == [102.0, 103.0]
    assert detector.found == 3


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"min_spread_percent": -0.1}, "min_spread_percent"),
        ({"min_spread_percent": float("nan")}, "min_spread_percent"),
        ({"min_size": float("inf")}, "min_size"),
        ({"age_limit_s": "5"}, "age_limit_s"),
        ({"fees_percent": {"kraken": 99}}, "fees_percent.kraken"),
        ({"opportunities_max": 0}, "opportunities_max"),
        ({"opportunities_max": True}, "opportunities_max"),
    ],
)
def test_impossible_settings(parts, field) -> None:
    """What cannot work is refused when the detector is made."""
    with pytest.raises(ConfigError) as caught:
        ArbitrageDetector(**parts)
    assert caught.value.field == field


@given(
    st.floats(min_value=1, max_value=1e6),
    st.floats(min_value=1, max_value=1e6),
    st.floats(min_value=0, max_value=2),
    st.floats(min_value=0, max_value=5),
)
def test_told_only_when_it_gains(book, bid, ask, fee, least) -> None:
    """Every opportunity has its spread and a profit after fees; every refusal has a cause."""
    detector = ArbitrageDetector(least, fees_percent={"kraken": fee, "coinbase": fee})
    is_found = detector.check_opportunity(book(bid, ask))
    spread_percent = (bid - ask) / ((bid + ask) / 2) * 100
    gain = bid * (1 - fee / 100) - ask * (1 + fee / 100)
    assert is_found == bool(detector.opportunities)
    if is_found:
        assert spread_percent >= least
        assert detector.opportunities[-1]["net_profit_percent"] > 0
        assert gain > -1e-6 * ask
    else:
        assert bid <= ask or spread_percent < least or gain <= 1e-6 * ask
