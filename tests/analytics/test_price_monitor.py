"""The price monitor: statistics of the window, and spikes against the window before."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.analytics.price_monitor import PriceMonitor
from crossfeed.errors import ConfigError

PRICES = st.floats(min_value=1e-6, max_value=1e9)


def filled(*prices: float, window_size: int = 20) -> PriceMonitor:
    """Make a monitor that has seen `prices` and is content with two before the newest."""
    monitor = PriceMonitor("BTC/USD", window_size=window_size, min_samples=2)
    for price in prices:
        monitor.update(price, 1.0)
    return monitor


def test_documents_use() -> None:
    """The document's lines run: update, spike, mean and standard deviation."""
    monitor = PriceMonitor("BTC/USD", window_size=20)
    spikes = []
    for price in (45000.0, 45010.0, 44990.0, 45005.0, 44995.0, 46000.0):
        monitor.update(price, 1.0)
        spikes.append(monitor.detect_spike(threshold_stdev=2.0))
    assert spikes == [False] * 5 + [True]
    stats = monitor.get_stats()
    shown = f"Mean: ${stats['mean']:.2f}, StdDev: ${stats['stdev']:.2f}"
    assert shown == "Mean: $45166.67, StdDev: $408.31"


def test_newest_is_compared_with_the_window_before_it() -> None:
    """A spike does not hide in the deviation it causes itself."""
    assert filled(100.0, 101.0, 200.0).detect_spike()
    # With the newest in the window it could never be 2 deviations off: 3 values, at most 1.15.
    assert filled(100.0, 101.0, 99.0, 101.9).detect_spike(1.89)
    assert not filled(100.0, 101.0, 99.0, 101.9).detect_spike(1.91)


def test_window_before_is_whole() -> None:
    """The newest is compared with as many prices as the window holds, and with no older one."""
    monitor = filled(1.0, 1000.0, 100.0, 101.0, 102.0, window_size=2)
    assert not monitor.detect_spike(threshold_stdev=2.2)
    assert monitor.detect_spike(threshold_stdev=2.0)


def test_constant_window() -> None:
    """After equal prices the deviation is 0: the same is no spike, any other is."""
    assert not filled(*[0.1] * 20, 0.1).detect_spike()
    assert filled(*[0.1] * 20, 0.1000001).detect_spike()
    assert filled(*[0.1] * 7).get_stats()["stdev"] == 0.0


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_prices_tell_no_spike(count) -> None:
    """Fewer than two prices before the newest say nothing about what is ordinary."""
    assert not filled(*[1.0, 1e6][:count]).detect_spike()


@pytest.mark.parametrize(("window_size", "least"), [(20, 5), (5, 5), (3, 3), (2, 2)])
def test_five_prices_or_the_window_must_stand_before(window_size, least) -> None:
    """Where nothing is said, a spike needs five prices before it, or the window's worth."""
    monitor = PriceMonitor("BTC/USD", window_size)
    assert monitor.min_samples == least
    for price in (100.0, 101.0, 99.0, 100.5, 99.5)[:least]:
        monitor.update(price)
        assert not monitor.detect_spike()
    monitor.update(200.0)
    assert monitor.detect_spike()


def test_empty_window() -> None:
    """Nothing seen: counts are 0, values None, never NaN."""
    monitor = PriceMonitor("BTC/USD")
    stats = monitor.get_stats()
    assert (stats["count"], stats["volume"], len(monitor)) == (0, 0.0, 0)
    names = ("last", "mean", "stdev", "min", "max", "range", "vwap")
    assert [stats[name] for name in names] == [None] * 7
    assert repr(monitor) == "PriceMonitor(BTC/USD, 0/20, last=None)"


def test_stats_of_the_newest_prices() -> None:
    """Only the newest window_size prices count, the newest among them."""
    monitor = PriceMonitor("BTC/USD", window_size=3)
    for price, volume in [(9.0, 9.0), (1.0, 1.0), (2.0, 0.0), (6.0, 3.0)]:
        monitor.update(price, volume)
    assert monitor.get_stats() == {
        "symbol": "BTC/USD",
        "count": 3,
        "last": 6.0,
        "mean": 3.0,
        "stdev": statistics.stdev([1.0, 2.0, 6.0]),
        "min": 1.0,
        "max": 6.0,
        "range": 5.0,
        "volume": 4.0,
        "vwap": 4.75,
    }


def test_no_volume_no_vwap() -> None:
    """A price without volume has no weight."""
    monitor = PriceMonitor("BTC/USD")
    monitor.update(5.0)
    assert monitor.get_stats()["vwap"] is None


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0, 0, True, "1", None, 10**400])
def test_what_is_no_price_is_refused(price) -> None:
    """NaN, infinities, bool, text, zero and negative never enter; the window stays."""
    monitor = filled(5.0)
    with pytest.raises(ValueError, match="no price"):
        monitor.update(price, 1.0)
    assert monitor.get_stats()["count"] == 1


@pytest.mark.parametrize("volume", [float("nan"), float("inf"), -1.0, True, "1", None])
def test_what_is_no_volume_is_refused(volume) -> None:
    """The same for volumes; 0 is one."""
    monitor = filled(5.0)
    with pytest.raises(ValueError, match="no volume"):
        monitor.update(1.0, volume)
    assert len(monitor) == 1


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"window_size": 1}, "window_size"),
        ({"window_size": True}, "window_size"),
        ({"window_size": 2.0}, "window_size"),
        ({"window_size": 10_000_000}, "window_size"),
        ({"min_samples": 1}, "min_samples"),
        ({"min_samples": 21}, "min_samples"),
    ],
)
def test_impossible_windows(parts, field) -> None:
    """A window that cannot work is refused when it is made."""
    with pytest.raises(ConfigError) as caught:
        PriceMonitor("BTC/USD", **parts)
    assert caught.value.field == field


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_threshold(threshold) -> None:
    """A threshold is a distance above 0."""
    with pytest.raises(ValueError, match="threshold_stdev"):
        filled(1.0, 2.0, 3.0).detect_spike(threshold)


@given(st.lists(PRICES, min_size=1, max_size=30), st.integers(2, 12))
def test_stats_against_the_standard_library(prices, window_size) -> None:
    """Mean and standard deviation are those of `statistics` over the newest prices."""
    stats = filled(*prices, window_size=window_size).get_stats()
    window = prices[-window_size:]
    assert stats["mean"] == pytest.approx(statistics.fmean(window), rel=1e-12)
    expected = statistics.stdev(window) if len(window) > 1 else 0.0
    assert stats["stdev"] == pytest.approx(expected, rel=1e-6, abs=1e-9 * max(window))
    assert stats["min"] <= stats["mean"] <= stats["max"]
    assert stats["min"] <= stats["vwap"] <= stats["max"]
