"""Quote currencies and the rates between them."""

import pytest

from crossfeed.aggregation.conversion import Rate, RateTable, quote_of

NEVER = 1 << 62


@pytest.mark.parametrize(
    ("unified", "venue_symbol", "event_unified", "quote"),
    [
        ("BTC/USD", "BTCUSDT", "", "USDT"),
        ("BTC/USD", "BTC-USD", "", "USD"),
        ("BTC/USD", "BTC-USDC", "", "USDC"),
        ("BTC/USD", "BTC/USD", "", "USD"),
        ("BTC/USD", "XBT/EUR", "", "EUR"),
        ("BTC/USD", "btcusdt", "", "USDT"),
        ("BTC/USD", "BTC_USDT", "", "USDT"),
        ("BTC/USD", "", "", "USD"),
        ("BTC/USD", "XBTUSD", "", "USD"),
        ("BTC/USD", "BTC", "", "USD"),
        ("BTC/USD", "anything", "BTC/EUR", "EUR"),
        ("BTC/USDT:USDT", "BTC-USDT", "BTC/USDT:USDT", "USDT"),
        ("BTC/USD", "BTCUSDT", "nonsense", "USDT"),
    ],
)
def test_quote_of(unified, venue_symbol, event_unified, quote) -> None:
    """The venue's metadata decides, then its symbol, then the unified name."""
    assert quote_of(unified, venue_symbol, event_unified) == quote


def test_fixed_rate_in_both_directions() -> None:
    """One pair serves both ways and never grows old."""
    table = RateTable.of({"USDT/USD": 0.5}, 60.0)
    forth, back = table.find("USDT", "USD"), table.find("USD", "USDT")
    assert forth is not None
    assert back is not None
    assert (forth.value, back.value) == (0.5, 2.0)
    assert forth.fresh_until_ns(never=NEVER) == NEVER


def test_no_rate() -> None:
    """Equal currencies need none, unknown ones have none."""
    table = RateTable.of(None, 60.0)
    assert table.find("USD", "USD") is None
    assert table.find("USDT", "USD") is None


def test_live_rate() -> None:
    """Unknown until the source spoke, then good for its age limit; never an impossible value."""
    table = RateTable.of({"USDT/USD": "kraken:USDT/USD"}, 60.0)
    (rate,) = table.rates
    conversion = table.find("USDT", "USD")
    assert conversion is not None
    assert rate.source == ("kraken", "USDT/USD")
    assert conversion.fresh_until_ns(never=NEVER) == -NEVER
    assert conversion.value is None
    for impossible in (float("nan"), float("inf"), 0.0, -1.0, 5e-324):
        assert not rate.update(impossible, 1)
    assert conversion.value is None
    assert rate.update(0.999, 5)
    assert conversion.value == 0.999
    assert conversion.fresh_until_ns(never=NEVER) == 5 + 60 * 10**9


def test_repr() -> None:
    """A rate says what it is and where it comes from."""
    assert repr(Rate("USDT/USD", value=1.0)) == "Rate(USDT/USD=1.0, fixed)"
    live = Rate("USDT/USD", source=("kraken", "USDT/USD"))
    assert repr(live) == "Rate(USDT/USD=None, kraken:USDT/USD)"
