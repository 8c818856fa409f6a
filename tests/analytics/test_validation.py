"""The validators: no NaN, no naive time, no absurd jump, and a move that lasts is believed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.analytics.validation import DataValidator, PriceValidator, validate_price
from crossfeed.errors import ConfigError
from crossfeed.model.unified import MarketData, UnifiedMarketData

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)
NOON_NS = round(NOON.timestamp()) * 10**9
validate_data = DataValidator()
NAN, INF = float("nan"), float("inf")


def event(data_type: str = "trade", *, late_s: float = 0.0, **data: object) -> MarketData:
    """Make an event of noon."""
    return MarketData(
        exchange="binance",
        symbol="BTCUSDT",
        data_type=data_type,
        timestamp=NOON + timedelta(seconds=late_s),
        data=data,
    )


def test_documents_use() -> None:
    """The document's cases: a good price passes, none at or below 0, none from the future."""
    assert validate_data(event(price=45000.0))
    assert not validate_data(event(price=0.0))
    assert not validate_data(event(price=-1.0))
    assert validate_data(event(price=45000.0, late_s=59), NOON_NS)
    assert not validate_data(event(price=45000.0, late_s=61), NOON_NS)


@pytest.mark.fault("D01")
@pytest.mark.parametrize("price", [NAN, INF, -INF, None, True, "45000", 0, -0.0, 1e300, 10**400])
def test_what_is_no_price(price) -> None:
    """NaN passes every `<= 0` check; not this one."""
    assert not validate_data(event(price=price))


@pytest.mark.parametrize("size", [NAN, INF, -1.0, True, "1"])
def test_what_is_no_size(size) -> None:
    """Sizes are finite numbers from 0 up; None where a venue gives none."""
    assert not validate_data(event(price=1.0, quantity=size))
    assert validate_data(event(price=1.0, quantity=0.0))
    assert validate_data(event("ticker", price=1.0, volume_24h=None))


@pytest.mark.parametrize(
    ("data_type", "data", "is_good"),
    [
        ("ticker", {"last_price": 1.0}, True),
        ("ticker", {"volume": 1.0}, False),
        ("book_ticker", {"bid_price": 1.0, "ask_price": 2.0}, True),
        ("book_ticker", {"best_bid": 1.0, "best_ask": 2.0}, True),
        ("book_ticker", {"bid_price": 1.0}, False),
        ("book_ticker", {"bid_price": 1.0, "ask_price": NAN}, False),
        ("kline", {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, True),
        ("kline", {"open": 1.0, "high": 1.0, "low": 1.0, "close": INF}, False),
        ("heartbeat", {}, True),
    ],
)
def test_each_kind_has_its_needs(data_type, data, is_good) -> None:
    """What a kind of event needs must be there; what it has must be possible."""
    assert validate_data(event(data_type, **data)) is is_good


@pytest.mark.fault("K04")
def test_times_are_compared_as_what_they_are() -> None:
    """An aware stamp against an aware now: no TypeError, whatever the zone."""
    zone = datetime(2026, 9, 21, 14, tzinfo=UTC).astimezone()
    data = MarketData(
        exchange="a", symbol="b", data_type="trade", timestamp=zone, data={"price": 1.0}
    )
    assert not validate_data(data, NOON_NS)
    assert validate_data(data, NOON_NS + 2 * 3600 * 10**9)


def test_clock_of_the_front_door() -> None:
    """With a clock no time needs to be given; an explicit one counts more."""
    validator = DataValidator(clock=lambda: NOON_NS)
    assert not validator(event(price=1.0, late_s=61))
    assert validator(event(price=1.0, late_s=61), NOON_NS + 10**9)
    assert validator.rejected == {"future": 1}


def test_without_a_clock_the_receive_time_counts() -> None:
    """A hand-made event was received at its own stamp: its future cannot be seen."""
    assert validate_data(event(price=1.0, late_s=10**6))


def unified(timestamp: datetime) -> UnifiedMarketData:
    """Make a unified trade."""
    return UnifiedMarketData(
        symbol="BTC/USD",
        data_type="trade",
        timestamp=timestamp,
        exchanges=["binance"],
        data={"price": 1.0, "volume": 1.0},
    )


def test_unified_values() -> None:
    """Unified values are judged alike; one with a naive stamp has no place in time."""
    assert validate_data(unified(NOON), NOON_NS)
    assert validate_data(unified(NOON))
    assert not validate_data(unified(NOON + timedelta(hours=1)), NOON_NS)
    assert DataValidator().objection(unified(NOON.replace(tzinfo=None))) == "naive"


@pytest.mark.parametrize("limit", [-1.0, NAN, 1e6])
def test_impossible_limit(limit) -> None:
    """The tolerance for the future is between nothing and a day."""
    with pytest.raises(ConfigError) as caught:
        DataValidator(future_limit_s=limit)
    assert caught.value.field == "future_limit_s"


def test_half_to_double() -> None:
    """Good from half the lowest to double the highest of the recent prices; the first always."""
    validator = PriceValidator()
    assert validator.validate(100.0, "BTC/USD")
    assert validator.validate(50.0, "BTC/USD")
    assert validator.validate(200.0, "BTC/USD")
    assert not validator.validate(24.9, "BTC/USD")
    assert not validator.validate(400.1, "BTC/USD")
    assert validator.validate(400.0, "BTC/USD")
    assert validator.recent("BTC/USD") == (100.0, 50.0, 200.0, 400.0)
    assert validator.validate(1.0, "ETH/USD")
    assert repr(validator) == "PriceValidator(2 symbols, 5 good, 2 refused)"


@pytest.mark.parametrize("price", [NAN, INF, True, None, "100", 0, -5.0])
def test_no_price_at_all(price) -> None:
    """What is no price is refused and leaves no trace in the history."""
    validator = PriceValidator()
    assert not validator.validate(price, "BTC/USD")
    assert validator.recent("BTC/USD") == ()
    assert validator.rejected == {"invalid": 1}


@pytest.mark.fault("D05")
def test_a_move_that_lasts_is_believed() -> None:
    """One price ten times off is refused; the fifth agreeing with the others is the market."""
    validator = PriceValidator(confirmations=5)
    for _ in range(20):
        validator.validate(100.0, "BTC/USD")
    assert not validator.validate(1000.0, "BTC/USD")
    assert validator.validate(100.0, "BTC/USD")  # it did not last
    moved = [validator.validate(1000.0 + i, "BTC/USD") for i in range(6)]
    assert moved == [False, False, False, False, True, True]
    assert not validator.validate(100.0, "BTC/USD")


def test_odd_prices_must_agree() -> None:
    """Prices that are all over the place confirm nothing."""
    validator = PriceValidator(confirmations=2)
    validator.validate(100.0, "BTC/USD")
    odd = [1000.0, 10.0, 5000.0, 1.0]
    assert not any(validator.validate(price, "BTC/USD") for price in odd)
    assert validator.recent("BTC/USD") == (100.0,)


def test_histories_are_bounded() -> None:
    """So many prices for so many symbols; the one not seen for longest is forgotten."""
    validator = PriceValidator(history_size=2, symbols_max=2)
    for price in (1.0, 1.1, 1.2):
        validator.validate(price, "A/USD")
    assert validator.recent("A/USD") == (1.1, 1.2)
    validator.validate(1.0, "B/USD")
    validator.validate(1.3, "A/USD")
    validator.validate(1.0, "C/USD")
    assert validator.recent("B/USD") == ()
    assert validator.recent("A/USD") == (1.2, 1.3)
    validator.forget("A/USD")
    validator.forget("A/USD")
    assert validator.recent("A/USD") == ()


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"history_size": 0}, "history_size"),
        ({"confirmations": True}, "confirmations"),
        ({"symbols_max": 1.5}, "symbols_max"),
        ({"low_factor": 1.0}, "low_factor"),
        ({"high_factor": NAN}, "low_factor"),
    ],
)
def test_impossible_bands(parts, field) -> None:
    """A band that cannot work is refused when it is made."""
    with pytest.raises(ConfigError) as caught:
        PriceValidator(**parts)
    assert caught.value.field == field


def test_default_validator_keeps_the_history() -> None:
    """The module's own validator remembers between calls."""
    symbol = "TEST/DEFAULT"
    assert validate_price(45000.0, symbol)
    assert validate_price(46000.0, symbol)
    assert not validate_price(450000.0, symbol)
    assert not validate_price(NAN, symbol)


@given(st.lists(st.floats(), max_size=60))
def test_never_rejected_for_ever(prices) -> None:
    """After anything at all, a price that stays is good within the confirmations."""
    validator = PriceValidator(confirmations=3)
    for price in prices:
        validator.validate(price, "BTC/USD")
    assert any(validator.validate(7.0, "BTC/USD") for _ in range(3))
    assert all(price > 0 for price in validator.recent("BTC/USD"))
