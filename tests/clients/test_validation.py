"""The public `validate_data`: the pure validator with the machine's clock."""

from datetime import UTC, datetime, timedelta

import crossfeed


def event(price: float, seconds: float) -> crossfeed.MarketData:
    """Make an event some seconds from now."""
    return crossfeed.MarketData(
        exchange="binance",
        symbol="BTCUSDT",
        data_type="trade",
        timestamp=datetime.now(UTC) + timedelta(seconds=seconds),
        data={"price": price},
    )


def test_clock_is_the_machines() -> None:
    """As in the document: a stamp more than a minute ahead is refused, without naming a time."""
    assert crossfeed.validate_data(event(45000.0, 0))
    assert crossfeed.validate_data(event(45000.0, 30))
    assert not crossfeed.validate_data(event(45000.0, 90))
    assert not crossfeed.validate_data(event(float("nan"), 0))


def test_time_may_be_given() -> None:
    """An explicit time counts more than the clock."""
    late = event(45000.0, 90)
    assert crossfeed.validate_data(late, late.ts_event_ns)
