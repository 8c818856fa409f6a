"""Feature vectors for models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import fsum, isfinite, log, nan, sqrt
from typing import TYPE_CHECKING, Any, Final, Literal, SupportsFloat, get_args

from msgspec import Struct

from crossfeed.errors import ConfigError
from crossfeed.model.trust import Integrity, Trust
from crossfeed.model.unified import UnifiedMarketData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DERIVED_NAMES", "FeatureExtractor", "Features"]

InvalidPolicy = Literal["nan", "zero", "last", "raise"]

PRICE_MIN: Final = 1e-18
VALUE_MAX: Final = 1e18

DERIVED_NAMES: Final = (
    "mid_price",
    "microprice_offset_percent",
    "imbalance",
    "imbalance_mean",
    "spread_mean",
    "mid_return",
    "mid_volatility",
    "order_flow_imbalance",
)
"""What `derived=True` appends, in this order (see `FeatureExtractor`)."""


class Features(Struct, frozen=True):
    """One feature vector.

    Attributes:
        names: What each value is; the same order at every extraction of one extractor.
        values: The values, NaN where missing (under the default policy).
        missing: Names whose input was absent, None, NaN or infinite.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    missing: tuple[str, ...] = ()

    def to_numpy(self) -> NDArray[np.float64]:
        """Return a fresh array of shape (features,), float64.

        Raises:
            ModuleNotFoundError: numpy is not installed (`pip install crossfeed[science]`).
        """
        import numpy as np

        return np.array(self.values, dtype=np.float64)

    def to_dict(self) -> dict[str, float]:
        """Return the values by name."""
        return dict(zip(self.names, self.values, strict=True))

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        """Iterate over the values."""
        return iter(self.values)

    def __getitem__(self, name: str) -> float:
        """Return one value by name; KeyError if there is none."""
        try:
            return self.values[self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None


class FeatureExtractor:
    """Turns named numbers into vectors whose columns never change place.

    Keeps state: one extractor per stream.

    The first extraction fixes the columns (or `names` does); later inputs are put in that order
    whatever their own. A column without input is missing; an input without column is an error.

    What is missing (absent, None, NaN, infinite) becomes, by `on_invalid`: "nan" (the default:
    models and imputers know it, and nothing invented looks like a measurement), "zero", "last" (the
    column's last valid value, NaN before the first), or "raise". Bools count as 0 and 1, Decimals
    as floats.

    With `derived=True` features of the market's microstructure follow, NaN (by the same policy)
    where their input is not there. Input is the unified book ticker's words: best_bid, best_ask and
    their sizes best_bid_quantity, best_ask_quantity (or bid_volume, ask_volume); over the last
    `window` inputs:

    - mid_price: (bid + ask) / 2.
    - microprice_offset_percent: size-weighted mid less mid, percent of mid.
    - imbalance: (bid size - ask size) / (bid size + ask size), -1..1.
    - imbalance_mean: its mean over the window.
    - spread_mean: mean of `spread` over the window.
    - mid_return: log return of the mid since the input before.
    - mid_volatility: root of the mean squared mid_return over the window.
    - order_flow_imbalance: sum over the window of what the best level gained on the bid less on the
      ask, base units (R. Cont, A. Kukanov, S. Stoikov, "The Price Impact of Order Book Events",
      2014).
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        *,
        on_invalid: InvalidPolicy = "nan",
        derived: bool = False,
        window: int = 20,
    ) -> None:
        """Set columns and policy.

        Raises:
            ConfigError: A name is twice, the policy is unknown, or the window is not in 1..100,000.
        """
        if on_invalid not in get_args(InvalidPolicy):
            raise ConfigError(
                f"{on_invalid!r} is none of {', '.join(get_args(InvalidPolicy))}",
                field="on_invalid",
            )
        if type(window) is not int or not 1 <= window <= 100_000:  # noqa: PLR2004
            raise ConfigError(f"{window!r} is not in 1..100000", field="window")
        if names is not None and len(set(names)) != len(names):
            raise ConfigError("a name is given twice", field="names")
        self._names = None if names is None else tuple(names)
        self._on_invalid = on_invalid
        self._last: dict[str, float] = {}
        self._book = _BookFeatures(window) if derived else None

    def __repr__(self) -> str:
        """Return the columns."""
        return f"FeatureExtractor({', '.join(self.names) or 'no columns yet'})"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns; empty before the first extraction fixed them."""
        own = self._names or ()
        return own if self._book is None or self._names is None else own + DERIVED_NAMES

    def extract(self, values: Mapping[str, Any]) -> Features:
        """Make one vector.

        Args:
            values: Numbers by name.

        Returns:
            The vector, in the extractor's column order.

        Raises:
            ValueError: A value is no number at all, a name is not among the columns, or (policy
                "raise") something is missing. Columns and window are unchanged.
        """
        columns = tuple(values) if self._names is None else self._names
        unknown = [name for name in values if name not in columns]
        if unknown:
            raise ValueError(f"no such columns: {', '.join(unknown)} (have {columns})")
        taken = [name for name in columns if self._book is not None and name in DERIVED_NAMES]
        if taken:
            raise ValueError(f"names of derived features: {', '.join(taken)}")
        numbers = {name: _number(name, values.get(name)) for name in columns}
        if self._on_invalid == "raise":
            absent = [name for name, value in numbers.items() if value is None]
            if absent:
                raise ValueError(f"missing or not finite: {', '.join(absent)}")
        self._names = columns
        if self._book is not None:
            numbers |= self._book.update(numbers)
        missing = tuple(name for name, value in numbers.items() if value is None)
        filled = tuple(self._filled(name, value) for name, value in numbers.items())
        return Features(tuple(numbers), filled, missing)

    def extract_book(
        self, data: UnifiedMarketData, *, min_integrity: Integrity = Integrity.NONE
    ) -> Features | None:
        """Make one vector of a unified book ticker.

        Returns:
            Columns best_bid, best_ask, best_bid_quantity, best_ask_quantity, spread, num_exchanges;
            None where the value is not SOUND, too weakly proven, or of another kind: a model must
            not learn from prices nobody vouches for.
        """
        if data.data_type != "book_ticker" or data.trust is not Trust.SOUND:
            return None
        if data.integrity < min_integrity:
            return None
        values = data.data
        return self.extract(
            {
                "best_bid": values.get("best_bid"),
                "best_ask": values.get("best_ask"),
                "best_bid_quantity": values.get("best_bid_quantity"),
                "best_ask_quantity": values.get("best_ask_quantity"),
                "spread": values.get("spread_percent"),
                "num_exchanges": len(data.exchanges),
            }
        )

    def reset(self) -> None:
        """Forget the window and the last values; the columns stay."""
        self._last.clear()
        if self._book is not None:
            self._book.reset()

    def _filled(self, name: str, value: float | None) -> float:
        """Return what stands for `value` by the policy."""
        if value is not None:
            self._last[name] = value
            return value
        if self._on_invalid == "zero":
            return 0.0
        return self._last.get(name, nan) if self._on_invalid == "last" else nan


class _BookFeatures:
    """Rolling features of the best level."""

    def __init__(self, window: int) -> None:
        self._imbalances: deque[float] = deque(maxlen=window)
        self._spreads: deque[float] = deque(maxlen=window)
        self._returns: deque[float] = deque(maxlen=window)
        self._flows: deque[float] = deque(maxlen=window)
        self._before: tuple[float, float, float, float] | None = None

    def reset(self) -> None:
        """Forget the window."""
        for kept in (self._imbalances, self._spreads, self._returns, self._flows):
            kept.clear()
        self._before = None

    def update(self, values: Mapping[str, float | None]) -> dict[str, float | None]:
        """Take one input; return the derived features, None where their input is not there."""
        derived: dict[str, float | None] = dict.fromkeys(DERIVED_NAMES)
        bid, ask = (_within(values.get(name), PRICE_MIN) for name in ("best_bid", "best_ask"))
        bid_size = _within(_first(values, "best_bid_quantity", "bid_volume"), 0.0)
        ask_size = _within(_first(values, "best_ask_quantity", "ask_volume"), 0.0)
        spread = _within(values.get("spread"), -VALUE_MAX)
        if spread is not None:
            self._spreads.append(spread)
        has_sizes = bid_size is not None and ask_size is not None and bid_size + ask_size > 0
        if bid_size is not None and ask_size is not None and has_sizes:
            imbalance = (bid_size - ask_size) / (bid_size + ask_size)
            self._imbalances.append(imbalance)
            derived["imbalance"] = imbalance
        if bid is not None and ask is not None:
            mid = (bid + ask) / 2
            derived["mid_price"] = mid
            if bid_size is not None and ask_size is not None:
                if has_sizes:
                    micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
                    derived["microprice_offset_percent"] = (micro - mid) / mid * 100
                self._step(bid, ask, bid_size, ask_size, derived)
        derived["imbalance_mean"] = _mean(self._imbalances)
        derived["spread_mean"] = _mean(self._spreads)
        if self._returns:
            derived["mid_volatility"] = sqrt(
                fsum(step * step for step in self._returns) / len(self._returns)
            )
            derived["order_flow_imbalance"] = fsum(self._flows)
        return derived

    def _step(
        self,
        bid: float,
        ask: float,
        bid_size: float,
        ask_size: float,
        derived: dict[str, float | None],
    ) -> None:
        """Compare the best level with the one before."""
        before, self._before = self._before, (bid, ask, bid_size, ask_size)
        if before is None:
            return
        old_bid, old_ask, old_bid_size, old_ask_size = before
        step = log((bid + ask) / (old_bid + old_ask))
        derived["mid_return"] = step
        self._returns.append(step)
        bid_flow = (bid_size if bid >= old_bid else 0.0) - (old_bid_size if bid <= old_bid else 0.0)
        ask_flow = (ask_size if ask <= old_ask else 0.0) - (old_ask_size if ask >= old_ask else 0.0)
        self._flows.append(bid_flow - ask_flow)


def _within(value: float | None, low: float) -> float | None:
    """Return `value` if a market can have it: no arithmetic here overflows then."""
    return value if value is not None and low <= value < VALUE_MAX else None


def _first(values: Mapping[str, float | None], *names: str) -> float | None:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _mean(values: deque[float]) -> float | None:
    return fsum(values) / len(values) if values else None


def _number(name: str, value: object) -> float | None:
    """Return a finite float, None for what is missing."""
    if value is None:
        return None
    if not isinstance(value, SupportsFloat):
        raise ValueError(f"{name}: {value!r} is no number")  # noqa: TRY004 - bad input, one error
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None
