"""What an aggregator is told."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from crossfeed.aggregation.conversion import RATE_MAX, RATE_MIN
from crossfeed.aggregation.strategies.registry import find_strategy, strategy_names
from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.model.instrument import split_unified
from crossfeed.model.trust import Integrity

__all__ = ["AGE_LIMITS_S", "DATA_TYPES", "EXCHANGE_OF", "AggregationStrategy", "AggregatorConfig"]

DATA_TYPES: Final = ("trade", "ticker", "book_ticker")
"""What is aggregated."""

AGE_LIMITS_S: Final[Mapping[str, float]] = dict.fromkeys(DATA_TYPES, 60.0)
"""A venue's value older than this takes no part, seconds.

The outer bound: the freshness of each stream is watched more closely where the streams are proven,
and reaches us as trust."""

EXCHANGE_OF: Final[Mapping[str, str]] = {"coinbase_advanced": "coinbase"}
"""Feeds whose events carry another exchange's name: two APIs of one order book."""

UPDATE_INTERVAL_S_MAX: Final = 86_400.0
BUFFER_SIZE_MAX: Final = 1_000_000
SYMBOLS_MAX: Final = 10_000
FEE_PERCENT_MAX: Final = 50.0


class AggregationStrategy(StrEnum):
    """How the values of several venues become one."""

    FIRST = "first"
    """The first datum of an interval, at once; later ones of that interval are not published."""
    LAST = "last"
    """The latest datum of the interval."""
    AVERAGE = "average"
    """Mean of the venues' latest prices."""
    MEDIAN = "median"
    """Median of the venues' latest prices."""
    WEIGHTED = "weighted"
    """Volume-weighted over the interval's trades; tickers by 24 h volume."""
    BEST_BID_ASK = "best_bid_ask"
    """Highest bid and lowest ask over venues; trades volume-weighted, tickers the median."""


class AggregatorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an aggregator is told. Checked when made; equal from Python and from a file.

    Book tickers give the best bid and ask under every strategy; FIRST and LAST then only say when.

    Attributes:
        exchanges: Venues, by the name of their feed. Two feeds of one exchange (coinbase and
            coinbase_advanced) never both.
        symbols: {unified: {venue: venue's own symbol}}, or just the unified symbols, which are then
            found by what the venues' metadata calls their instruments.
        aggregation_strategy: One of `AggregationStrategy`, or the name of a registered one.
        update_interval: Least distance between two values of one (symbol, data type), seconds; 0
            means every message.
        buffer_size: Most events kept per (symbol, data type) for `source_data`.
        age_limits_s: Per data type: a venue's value older than this takes no part. What is not
            named keeps its default (`AGE_LIMITS_S`).
        min_integrity: Streams that can be proven less well take no part ("sequenced" or the
            member).
        sound_only: False lets STALE and UNSOUND values take part as well; the result's `trust` says
            so.
        quote_basis: Rates between quote currencies by pair: {"USDT/USD": 0.9995} fixed, or
            {"USDT/USD": "kraken:USDT/USD"} live from that venue's instrument; a price is converted
            by the rate known when it comes. None: prices stay as they are, and a mixed result
            carries `quote_mismatch`.
        rate_age_limit_s: A live rate older than this is not used; its venues are left out
            ("quote").
        fees_percent: Taker fee per venue, percent of the notional (0.1 means 0.1 %). For the
            executable prices of the consolidated book; published prices are always before fees.

    Raises:
        ConfigError: A field cannot work; `field` names it.
    """

    exchanges: list[str]
    symbols: dict[str, dict[str, str]] | list[str]
    aggregation_strategy: str = AggregationStrategy.BEST_BID_ASK
    update_interval: float = 0.0
    buffer_size: int = 100
    age_limits_s: dict[str, float] = {}
    min_integrity: Integrity | str = Integrity.NONE
    sound_only: bool = True
    quote_basis: dict[str, float | str] | None = None
    rate_age_limit_s: float = 60.0
    fees_percent: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Check every field and bring texts and sequences into their one form."""
        self._set("exchanges", _checked_exchanges(self.exchanges))
        self._set("symbols", _checked_symbols(self.symbols, self.exchanges))
        self._set("aggregation_strategy", _checked_strategy(self.aggregation_strategy))
        _check_number("update_interval", self.update_interval, 0.0, UPDATE_INTERVAL_S_MAX)
        if type(self.buffer_size) is not int or not 1 <= self.buffer_size <= BUFFER_SIZE_MAX:
            raise ConfigError(
                f"{self.buffer_size!r} is no whole number in 1..{BUFFER_SIZE_MAX}",
                field="buffer_size",
            )
        for kind, limit_s in _mapping("age_limits_s", self.age_limits_s).items():
            _check_known(f"age_limits_s.{kind}", kind, DATA_TYPES)
            _check_number(f"age_limits_s.{kind}", limit_s, 0.0, UPDATE_INTERVAL_S_MAX)
        self._set("min_integrity", _checked_integrity(self.min_integrity))
        if type(self.sound_only) is not bool:
            raise ConfigError(f"{self.sound_only!r} is neither true nor false", field="sound_only")
        if self.quote_basis is not None:
            _check_basis(self.quote_basis)
        _check_number("rate_age_limit_s", self.rate_age_limit_s, 0.0, UPDATE_INTERVAL_S_MAX)
        for venue, fee in _mapping("fees_percent", self.fees_percent).items():
            _check_known(f"fees_percent.{venue}", venue, self.exchanges)
            _check_number(f"fees_percent.{venue}", fee, -FEE_PERCENT_MAX, FEE_PERCENT_MAX)

    def _set(self, field: str, value: object) -> None:
        msgspec.structs.force_setattr(self, field, value)

    @property
    def symbol_map(self) -> dict[str, dict[str, str]]:
        """Unified symbol -> venue -> venue's symbol, configured venues only.

        For symbols given as a plain list the inner mappings are empty: the client fills them in
        from the venues' metadata and hands the result to `Aggregator(symbols=...)`.
        """
        if isinstance(self.symbols, list):
            return {symbol: {} for symbol in self.symbols}
        return {
            symbol: {venue: own for venue, own in venues.items() if venue in self.exchanges}
            for symbol, venues in self.symbols.items()
        }

    @property
    def integrity_min(self) -> Integrity:
        """`min_integrity` as a level."""
        return _checked_integrity(self.min_integrity)

    @property
    def rate_sources(self) -> tuple[tuple[str, str], ...]:
        """(venue, venue symbol) of every live rate: the client subscribes their tickers."""
        origins = (self.quote_basis or {}).values()
        return tuple(
            (venue, symbol)
            for venue, _, symbol in (o.partition(":") for o in origins if isinstance(o, str))
        )

    def age_limit_ns(self, data_type: str) -> int:
        """Return the age limit of a data type, ns."""
        return round(self.age_limits_s.get(data_type, AGE_LIMITS_S[data_type]) * 1e9)


def _mapping(field: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{value!r} is no mapping", field=field)
    return cast("Mapping[str, Any]", value)


def _nearest(value: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(value.lower(), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"


def _check_known(field: str, value: object, known: Collection[str]) -> None:
    if value not in known:
        raise ConfigError(f"{value!r} is unknown here; {_nearest(str(value), known)}", field=field)


def _check_number(field: str, value: object, low: float, high: float) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return  # NaN and the infinities fail the comparison
    raise ConfigError(f"{value!r} is no number in {low:g}..{high:g}", field=field)


def _checked_exchanges(exchanges: object) -> list[str]:
    if isinstance(exchanges, str) or not isinstance(exchanges, Iterable):
        raise ConfigError(f"{exchanges!r} is no list of venue names", field="exchanges")
    names: list[Any] = [*exchanges]
    if not names:
        raise ConfigError("name at least one venue", field="exchanges")
    seen: dict[str, str] = {}
    for index, name in enumerate(names):
        field = f"exchanges[{index}]"
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{name!r} is no venue name", field=field)
        exchange = EXCHANGE_OF.get(name, name)
        if exchange in seen:
            raise ConfigError(
                f"{name!r} and {seen[exchange]!r} are one venue; keep one of them", field=field
            )
        seen[exchange] = name
    return names


def _checked_symbols(
    symbols: object, exchanges: list[str]
) -> dict[str, dict[str, str]] | list[str]:
    if isinstance(symbols, str) or not isinstance(symbols, Iterable):
        raise ConfigError(f"{symbols!r} is neither a mapping nor a list", field="symbols")
    names: list[Any] = [*symbols]
    if not 1 <= len(names) <= SYMBOLS_MAX:
        raise ConfigError(f"{len(names)} symbols; give 1..{SYMBOLS_MAX}", field="symbols")
    for index, name in enumerate(names):
        field = f"symbols.{name}" if isinstance(symbols, Mapping) else f"symbols[{index}]"
        try:
            split_unified(name)
        except (ValueError, AttributeError):
            raise UnknownSymbolError(
                f"{name!r} is no unified symbol (write it like BTC/USD)", field=field
            ) from None
    if not isinstance(symbols, Mapping):
        if len(set(names)) != len(names):
            raise ConfigError("a symbol is listed twice", field="symbols")
        return names
    mapped = cast("Mapping[str, Any]", symbols)
    checked = {
        name: dict(_venue_symbols(name, venues, exchanges)) for name, venues in mapped.items()
    }
    for index, exchange in enumerate(exchanges):
        named = {venue for venues in checked.values() for venue in venues}
        if exchange not in named:
            raise ConfigError(
                f"no symbol names {exchange!r}; {_nearest(exchange, sorted(named))}",
                field=f"exchanges[{index}]",
            )
    return checked


def _venue_symbols(name: str, venues: object, exchanges: list[str]) -> Mapping[str, str]:
    field = f"symbols.{name}"
    mapping = _mapping(field, venues)
    for venue, symbol in mapping.items():
        if not isinstance(symbol, str) or not symbol:
            raise UnknownSymbolError(f"{symbol!r} is no venue symbol", field=f"{field}.{venue}")
    if not any(venue in exchanges for venue in mapping):
        raise ConfigError(f"none of its venues is in exchanges {exchanges}", field=field)
    return mapping


def _checked_strategy(name: object) -> str:
    text = str(name).lower()
    if not isinstance(name, str) or find_strategy(text) is None:
        raise ConfigError(
            f"no strategy {name!r}; {_nearest(text, strategy_names())}",
            field="aggregation_strategy",
        )
    known = AggregationStrategy.__members__.values()
    return AggregationStrategy(text) if text in known else text


def _checked_integrity(value: object) -> Integrity:
    if isinstance(value, str):
        names = {member.name.lower(): member for member in Integrity}
        _check_known("min_integrity", value.lower(), names)
        return names[value.lower()]
    if isinstance(value, bool) or value not in list(Integrity):
        raise ConfigError(f"{value!r} is no integrity level", field="min_integrity")
    return Integrity(value)  # type: ignore[arg-type]


def _check_basis(basis: object) -> None:
    for pair, origin in _mapping("quote_basis", basis).items():
        field = f"quote_basis.{pair}"
        try:
            split_unified(pair)
        except ValueError:
            raise ConfigError(
                f"{pair!r} is no pair (write it like USDT/USD)", field=field
            ) from None
        if isinstance(origin, str):
            venue, colon, symbol = origin.partition(":")
            if not (venue and colon and symbol):
                raise ConfigError(
                    f"{origin!r} is no source (write it like kraken:USDT/USD)", field=field
                )
        else:
            _check_number(field, origin, RATE_MIN, RATE_MAX)
