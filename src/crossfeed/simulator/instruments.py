"""What the simulated venues list: unified symbols, their price level, and each venue's own grid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from random import Random

import msgspec

from crossfeed.errors import ConfigError, UnknownSymbolError

__all__ = ["Grid", "Instrument", "generated_symbols", "price_level", "split_symbol"]

#: Rough price levels in USD, so that a demo looks familiar. Everything else is generated.
_USD_LEVELS = {
    "BTC": 64_000.0,
    "ETH": 1_900.0,
    "SOL": 150.0,
    "XRP": 2.2,
    "ADA": 0.65,
    "DOGE": 0.18,
    "LTC": 95.0,
    "LINK": 16.0,
    "AVAX": 28.0,
    "DOT": 6.5,
    "BNB": 620.0,
    "USD": 1.0,
    "USDT": 0.9998,
    "USDC": 1.0,
    "EUR": 1.08,
    "GBP": 1.27,
}
_SYMBOL_CHARS_MAX = 24
_GENERATED_NAMES_MAX = 100_000


class Grid(msgspec.Struct, frozen=True):
    """How finely a venue trades one instrument."""

    #: Decimals of the price: one tick is 10**-price_decimals quote units.
    price_decimals: int
    #: Decimals of the size: one lot is 10**-lot_decimals base units.
    lot_decimals: int


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable pair of one venue."""

    #: The venue's own name of it ("BTCUSDT", "BTC-USD", "BTC/USD").
    symbol: str
    #: Unified name, the key of the common reference price ("BTC/USD").
    unified: str
    base: str
    quote: str
    grid: Grid
    #: Price at the start, quote units per base unit.
    level: float

    @property
    def ticks(self) -> int:
        """Ticks per quote unit."""
        return int(10**self.grid.price_decimals)

    @property
    def lots(self) -> int:
        """Lots per base unit."""
        return int(10**self.grid.lot_decimals)


def split_symbol(unified: str) -> tuple[str, str]:
    """Split "BTC/USD" into its base and quote.

    Raises:
        UnknownSymbolError: the text is not of the form BASE/QUOTE.
    """
    base, slash, quote = unified.partition("/")
    is_fine = (
        base.isalnum() and quote.isalnum() and unified.isascii() and unified == unified.upper()
    )
    if not slash or not is_fine or len(unified) > _SYMBOL_CHARS_MAX:
        raise UnknownSymbolError(
            f"{unified!r} is no unified symbol; write BASE/QUOTE, for example BTC/USD",
            field="simulator.symbols",
        )
    return base, quote


def price_level(unified: str, seed: int) -> float:
    """Return the price a pair starts at, in quote units per base unit."""
    base, quote = split_symbol(unified)
    return _usd_level(base, seed) / _usd_level(quote, seed)


def _usd_level(asset: str, seed: int) -> float:
    """Return the USD price of an asset: familiar ones from the table, others by seed and name."""
    known = _USD_LEVELS.get(asset)
    if known is not None:
        return known
    return math.exp(Random(f"{seed}/level/{asset}").uniform(math.log(0.05), math.log(500.0)))


def generated_symbols(count: int, *, given: Iterable[str] = ()) -> tuple[str, ...]:
    """Return `count` symbols: the given ones first, then well-known, then made-up ones.

    Raises:
        ConfigError: the count is negative or absurd.
    """
    if not 0 <= count <= _GENERATED_NAMES_MAX:
        raise ConfigError(
            f"{count} symbols asked for; 0 to {_GENERATED_NAMES_MAX} can be generated",
            field="simulator.symbols",
        )
    names = dict.fromkeys(given)
    fiat = {"USD", "USDT", "USDC", "EUR", "GBP"}
    for asset in _USD_LEVELS:
        if asset not in fiat:
            names.setdefault(f"{asset}/USD")
    number = 0
    while len(names) < count:
        names.setdefault(f"X{number:04d}/USD")
        number += 1
    return tuple(names)[:count]
