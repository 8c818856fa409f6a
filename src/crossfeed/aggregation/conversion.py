"""Quote currencies: which one a venue's price is in, and how it becomes the unified symbol's.

USD, USDT and USDC are different currencies. Without a basis prices are mixed as they are and the
result says so (`quote_mismatch`). A basis is given per pair: a number for a fixed rate, or
"venue:SYMBOL" for the live price of that instrument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from crossfeed.model.instrument import split_unified

__all__ = ["RATE_MAX", "RATE_MIN", "Conversion", "Rate", "RateTable", "quote_of"]

RATE_MIN: Final = 1e-12
RATE_MAX: Final = 1e12

_SEPARATORS: Final = "-/_"


def quote_of(unified: str, venue_symbol: str, event_unified: str = "") -> str:
    """Name the quote currency of a venue's symbol.

    Args:
        unified: The unified symbol it was mapped to ("BTC/USD").
        venue_symbol: The venue's own ("BTCUSDT", "BTC-USD"); may be empty.
        event_unified: What the venue's metadata calls it, where known ("BTC/USDT"); decides if
            given.

    Returns:
        "USDT" of ("BTC/USD", "BTCUSDT"). Where the symbol cannot be read, the unified symbol's
        quote.
    """
    base, quote = split_unified(unified)
    if "/" in event_unified:
        return event_unified.partition("/")[2].partition(":")[0]
    for separator in _SEPARATORS:
        parts = venue_symbol.split(separator)
        if len(parts) >= 2 and parts[1]:  # noqa: PLR2004 - a pair
            return parts[1].partition(":")[0].upper()
    rest = venue_symbol.upper().removeprefix(base.upper())
    return rest if rest and rest != venue_symbol.upper() and rest.isalnum() else quote


class Rate:
    """What one unit of a currency is worth in another. Fixed, or following a live price.

    Attributes:
        pair: "USDT/USD": units of the second per unit of the first.
        source: (venue, venue symbol) of the live price, None if fixed.
        value: The rate; None until a live source has spoken, or after its stream lost its trust.
        ts_ns: Monotonic time of the value, ns.
    """

    __slots__ = ("_age_limit_ns", "pair", "source", "ts_ns", "value")

    def __init__(
        self,
        pair: str,
        *,
        value: float | None = None,
        source: tuple[str, str] | None = None,
        age_limit_ns: int = 0,
    ) -> None:
        """Make a fixed rate (`value`) or a live one (`source`)."""
        self.pair = pair
        self.source = source
        self.value = value
        self.ts_ns = 0
        self._age_limit_ns = age_limit_ns

    def update(self, value: float, ts_ns: int) -> bool:
        """Take a new live rate; say whether it was a possible one (`RATE_MIN..RATE_MAX`)."""
        if not RATE_MIN <= value <= RATE_MAX:
            return False
        self.value, self.ts_ns = value, ts_ns
        return True

    def fresh_until_ns(self, *, never: int) -> int:
        """Return when the rate is too old to be used, monotonic ns; `never` for a fixed one.

        A live one that is unknown was never fresh: before all times.
        """
        if self.source is None:
            return never
        return -never if self.value is None else self.ts_ns + self._age_limit_ns

    def __repr__(self) -> str:
        """Return the pair, the value and where it comes from."""
        origin = "fixed" if self.source is None else ":".join(self.source)
        return f"Rate({self.pair}={self.value}, {origin})"


class Conversion:
    """A rate in the direction in which it is needed."""

    __slots__ = ("_is_inverse", "_rate")

    def __init__(self, rate: Rate, *, is_inverse: bool) -> None:
        """Use `rate`, or one divided by it."""
        self._rate = rate
        self._is_inverse = is_inverse

    @property
    def value(self) -> float | None:
        """The factor for a price, None while there is none."""
        value = self._rate.value
        return 1 / value if value and self._is_inverse else value

    def fresh_until_ns(self, *, never: int) -> int:
        """Return when the rate is too old to be used, monotonic ns; `never` for a fixed one."""
        return self._rate.fresh_until_ns(never=never)


class RateTable:
    """The configured rates by (from, to) currency.

    Attributes:
        rates: All of them, in configured order.
    """

    def __init__(self, rates: Iterable[Rate]) -> None:
        """Keep `rates`; of two for one pair the last counts."""
        self.rates = tuple(rates)
        self._by_currencies = {split_unified(rate.pair): rate for rate in self.rates}

    @classmethod
    def of(cls, basis: Mapping[str, float | str] | None, rate_age_limit_s: float) -> RateTable:
        """Make the table that `AggregatorConfig.quote_basis` describes, checked there."""
        age_limit_ns = round(rate_age_limit_s * 1e9)
        rates: list[Rate] = []
        for pair, origin in (basis or {}).items():
            if isinstance(origin, str):
                venue, _, symbol = origin.partition(":")
                rates.append(Rate(pair, source=(venue, symbol), age_limit_ns=age_limit_ns))
            else:
                rates.append(Rate(pair, value=float(origin)))
        return cls(rates)

    def find(self, quote: str, wanted: str) -> Conversion | None:
        """Return how prices in `quote` become `wanted`; None if they cannot or need not."""
        if quote == wanted:
            return None
        direct = self._by_currencies.get((quote, wanted))
        if direct is not None:
            return Conversion(direct, is_inverse=False)
        inverse = self._by_currencies.get((wanted, quote))
        return None if inverse is None else Conversion(inverse, is_inverse=True)
