"""A rolling window of prices: statistics and spikes."""

from __future__ import annotations

from collections import deque
from math import fsum, inf, sqrt
from typing import Final

from crossfeed.errors import ConfigError

__all__ = ["PriceMonitor"]

WINDOW_SIZE_MAX: Final = 1_000_000
SAMPLES_MIN: Final = 2
"""A single price does not deviate."""
SAMPLES_DEFAULT: Final = 5

_VALUE_MAX: Final = 1e18


class PriceMonitor:
    """Watches one symbol's price. Not thread-safe; owned by whoever made it.

    Attributes:
        symbol: What is watched; only a label.
        window_size: Prices in the window.
        min_samples: Prices that must stand before the newest one for a spike to be told.
    """

    def __init__(
        self, symbol: str, window_size: int = 20, *, min_samples: int | None = None
    ) -> None:
        """Start with an empty window.

        Args:
            symbol: A label.
            window_size: Prices in the window.
            min_samples: Prices that must stand before the newest one for a spike to be told; None:
                5 (the deviation of fewer says little) or the window where it is smaller.

        Raises:
            ConfigError: `window_size` is not in 2..1,000,000, or `min_samples` not in
                2..window_size.
        """
        _check_count("window_size", window_size, WINDOW_SIZE_MAX)
        samples = min(SAMPLES_DEFAULT, window_size) if min_samples is None else min_samples
        _check_count("min_samples", samples, window_size)
        self.symbol = symbol
        self.window_size = window_size
        self.min_samples = samples
        # One more than the window: the newest is compared with a whole window before it.
        self._prices: deque[float] = deque(maxlen=window_size + 1)
        self._volumes: deque[float] = deque(maxlen=window_size + 1)

    def update(self, price: float, volume: float = 0.0) -> None:
        """Take the next price.

        Args:
            price: Quote units per base unit.
            volume: Base units traded at it; 0 where unknown.

        Raises:
            ValueError: The price is no number above 0, or the volume none from 0 up (NaN,
                infinities and bool are none). The window is unchanged.
        """
        if not _is_number(price) or not 0.0 < price < _VALUE_MAX:
            raise ValueError(f"{self.symbol}: {price!r} is no price")
        if not _is_number(volume) or not 0.0 <= volume < _VALUE_MAX:
            raise ValueError(f"{self.symbol}: {volume!r} is no volume")
        self._prices.append(float(price))
        self._volumes.append(float(volume))

    def detect_spike(self, threshold_stdev: float = 2.0) -> bool:
        """Say whether the newest price is off the window before it.

        The window's own newest price is not part of what it is compared with, so a spike cannot
        hide in the deviation it causes. False while fewer than `min_samples` prices stand before
        it. After a window of equal prices (deviation 0) every other price is a spike.

        Args:
            threshold_stdev: Distance from the mean, in standard deviations, that is still ordinary.

        Returns:
            True if the distance is greater. Cost O(window).

        Raises:
            ValueError: The threshold is not above 0.
        """
        if not 0.0 < threshold_stdev < inf:
            raise ValueError(f"threshold_stdev must be above 0, not {threshold_stdev!r}")
        prices = list(self._prices)
        before = prices[:-1]
        if len(before) < self.min_samples:
            return False
        return abs(prices[-1] - _mean(before)) > threshold_stdev * _sample_stdev(before)

    def get_stats(self) -> dict[str, float | int | str | None]:
        """Return the statistics of the newest `window_size` prices.

        Returns:
            symbol, count, last, mean, stdev (of a sample: divided by n - 1), min, max, range,
            volume (sum) and vwap. Without a price all but symbol, count (0) and volume (0) are
            None; vwap is None without volume; stdev is 0 for a single price. Cost O(window).
        """
        prices = list(self._prices)[-self.window_size :]
        volumes = list(self._volumes)[-self.window_size :]
        total = fsum(volumes)
        stats: dict[str, float | int | str | None] = {
            "symbol": self.symbol,
            "count": len(prices),
            "volume": total,
        }
        if not prices:
            empty = ("last", "mean", "stdev", "min", "max", "range", "vwap")
            return stats | dict.fromkeys(empty)
        low, high = min(prices), max(prices)
        vwap = None
        if total > 0:
            notional = fsum(p * v for p, v in zip(prices, volumes, strict=True))
            vwap = min(max(notional / total, low), high)
        return stats | {
            "last": prices[-1],
            "mean": _mean(prices),
            "stdev": _sample_stdev(prices),
            "min": low,
            "max": high,
            "range": high - low,
            "vwap": vwap,
        }

    def __len__(self) -> int:
        """Return the number of prices in the window."""
        return min(len(self._prices), self.window_size)

    def __repr__(self) -> str:
        """Return symbol, fill and newest price."""
        last = self._prices[-1] if self._prices else None
        return f"PriceMonitor({self.symbol}, {len(self)}/{self.window_size}, last={last})"


def _check_count(field: str, value: object, high: int) -> None:
    if type(value) is not int or not SAMPLES_MIN <= value <= high:
        raise ConfigError(f"{value!r} is no whole number in {SAMPLES_MIN}..{high}", field=field)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mean(prices: list[float]) -> float:
    """Return the mean; of equal prices exactly that price."""
    return min(max(fsum(prices) / len(prices), min(prices)), max(prices))


def _sample_stdev(prices: list[float]) -> float:
    """Return the standard deviation of a sample; exactly 0 for equal prices or a single one."""
    if len(prices) < SAMPLES_MIN:
        return 0.0
    centre = _mean(prices)
    return sqrt(fsum((price - centre) ** 2 for price in prices) / (len(prices) - 1))
