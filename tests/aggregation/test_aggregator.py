"""The aggregation machine against every sentence that says what it must do."""

from datetime import UTC, datetime

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
from crossfeed.model.events import Quote
from crossfeed.model.trust import Integrity, Mark, Trust

SYMBOLS = {"BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD"}}
WALL_NS = 1_790_000_000_000_000_000


def quote(exchange: str, bid: float, ask: float, at_ns: int = 0) -> Quote:
    """Make a sound quote of one unit on both sides."""
    symbol = SYMBOLS["BTC/USD"][exchange]
    stamps = ("", 0, 0, WALL_NS + at_ns, at_ns)
    standing = (Mark.NONE, Integrity.SELF_CONTAINED, Trust.SOUND, None, 0)
    return Quote(exchange, symbol, *stamps, *standing, bid, 1.0, ask, 1.0, 0)


def test_best_bid_ask_over_venues() -> None:
    """Highest bid and lowest ask, with their venues, spread and percent of mid."""
    config = AggregatorConfig(exchanges=["binance", "coinbase"], symbols=SYMBOLS)
    aggregator = Aggregator(config)
    aggregator.on_event(quote("binance", 45000.0, 45012.0), 1, WALL_NS)
    (value,) = aggregator.on_event(quote("coinbase", 44990.0, 45010.0), 2, WALL_NS)
    assert value.timestamp == datetime.fromtimestamp(1_790_000_000, UTC)
    assert value.exchanges == ["binance", "coinbase"]
    assert value.data["best_bid_exchange"] == "binance"
    assert value.data["best_ask_exchange"] == "coinbase"
    assert value.data["spread"] == 10.0
    assert value.data["spread_percent"] == pytest.approx(10 / 45005 * 100)
    assert value.quote_mismatch


def test_unknown_strategy_is_refused() -> None:
    """The error names the field and the nearest strategy."""
    with pytest.raises(ValueError, match="did you mean 'median'"):
        AggregatorConfig(exchanges=["binance"], symbols=["BTC/USD"], aggregation_strategy="medain")
    assert AggregationStrategy("median") is AggregationStrategy.MEDIAN
