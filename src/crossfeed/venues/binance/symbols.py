"""Binance symbol ↔ instrument: the built-in table and the venue's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from crossfeed.errors import SchemaChangedError
from crossfeed.model.commands import RestRequest
from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.numbers import decimal_of, decimals_of
from crossfeed.venues.binance.rest import refusal
from crossfeed.venues.symbols import are_names

__all__ = ["builtin", "instruments_request", "parse_instruments"]

VENUE: Final = "binance"
SCALE_DEFAULT: Final = 8
"""All of Binance spot's texts have 8 decimals."""

# base: (decimals of a USDT price, decimals of a size). Built in so that everything works offline;
# the venue's own increments replace them as soon as its metadata is read. They are at least as fine
# as binance.com and Binance.US listed them on 2021-10-12, since a scale that is too coarse cannot
# hold a level. `tick_size` and `lot_size` stay empty: these are not the venue's words.
_AGAINST_USDT: Final = {
    "BTC": (2, 6), "ETH": (2, 5), "BNB": (4, 3), "SOL": (4, 3), "XRP": (4, 1), "DOGE": (7, 0),
    "ADA": (5, 1), "TRX": (5, 1), "AVAX": (3, 2), "LINK": (3, 2), "DOT": (4, 2), "LTC": (2, 5),
    "BCH": (2, 5), "SUI": (4, 1), "TON": (4, 2), "NEAR": (3, 1), "UNI": (4, 2), "APT": (4, 2),
    "ARB": (5, 1), "OP": (4, 2), "ATOM": (3, 3), "ETC": (4, 2), "FIL": (3, 4), "AAVE": (2, 4),
    "INJ": (3, 2), "SHIB": (8, 0), "PEPE": (8, 0), "WIF": (4, 2), "XLM": (5, 1), "HBAR": (5, 1),
    "USDC": (5, 0), "FDUSD": (4, 0),
}  # fmt: skip
_OTHERS: Final = (
    ("BTC", "USDC", 2, 6), ("ETH", "USDC", 2, 5), ("SOL", "USDC", 4, 3), ("XRP", "USDC", 4, 1),
    ("BTC", "FDUSD", 2, 6), ("ETH", "FDUSD", 2, 5), ("BTC", "EUR", 2, 6), ("ETH", "EUR", 2, 5),
    ("SOL", "EUR", 4, 3), ("XRP", "EUR", 4, 1), ("ETH", "BTC", 6, 4), ("SOL", "BTC", 7, 3),
    ("BNB", "BTC", 7, 3), ("XRP", "BTC", 8, 0), ("SOL", "ETH", 7, 3), ("BNB", "ETH", 6, 4),
)  # fmt: skip

# enums.md, "Symbol status"; CANCEL_ONLY since 2026-07. Any other word becomes UNKNOWN.
_STATUS: Final = {
    "TRADING": InstrumentStatus.ONLINE,
    "CANCEL_ONLY": InstrumentStatus.LIMITED,
    "END_OF_DAY": InstrumentStatus.HALTED,
    "HALT": InstrumentStatus.HALTED,
    "BREAK": InstrumentStatus.HALTED,
}


class _Filter(Struct):
    """One entry of `filters`; only those of PRICE_FILTER and LOT_SIZE are read."""

    kind: str = field(name="filterType")
    tick_size: str = field(name="tickSize", default="")
    step_size: str = field(name="stepSize", default="")


class _Symbol(Struct):
    """One entry of `symbols`. quotePrecision is no tick (filters.md)."""

    symbol: str
    status: str
    base: str = field(name="baseAsset")
    quote: str = field(name="quoteAsset")
    filters: list[_Filter]


class _ExchangeInfo(Struct):
    symbols: list[_Symbol]


_decoder: Final = msgspec.json.Decoder(_ExchangeInfo)


def builtin() -> list[Instrument]:
    """Make the built-in instruments: the most traded pairs, with plausible scales."""
    rows = [(base, "USDT", *scales) for base, scales in _AGAINST_USDT.items()]
    return [
        Instrument(
            venue=VENUE,
            symbol=base + quote,
            base=base,
            quote=quote,
            price_scale=price_scale,
            size_scale=size_scale,
        )
        for base, quote, price_scale, size_scale in (*rows, *_OTHERS)
    ]


def instruments_request() -> RestRequest:
    """Return the request for all symbols (weight 20, several MB)."""
    return RestRequest(purpose="instruments", path="/api/v3/exchangeInfo", weight=20)


def parse_instruments(status: int, body: bytes) -> Sequence[Instrument]:
    """Parse the metadata; entries without usable names are left out. Names may hold any letters.

    Args:
        status: HTTP status.
        body: The answer.

    Raises:
        VenueError: The venue refused.
        DecodeError: The body is not what the venue documents.
    """
    if status != 200:  # noqa: PLR2004 - OK
        raise refusal(status, body, 0)
    try:
        info = _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise SchemaChangedError(VENUE, "exchange_info", str(exc), body) from exc
    return [
        _instrument(entry)
        for entry in info.symbols
        if are_names(entry.symbol, entry.base, entry.quote)
    ]


def _instrument(entry: _Symbol) -> Instrument:
    steps = {x.kind: x.tick_size or x.step_size for x in entry.filters}
    tick_size, price_scale = _increment(steps.get("PRICE_FILTER", ""))
    lot_size, size_scale = _increment(steps.get("LOT_SIZE", ""))
    return Instrument(
        venue=VENUE,
        symbol=entry.symbol,
        base=entry.base,
        quote=entry.quote,
        price_scale=price_scale,
        size_scale=size_scale,
        tick_size=tick_size,
        lot_size=lot_size,
        status=_STATUS.get(entry.status, InstrumentStatus.UNKNOWN),
    )


def _increment(text: str) -> tuple[str, int]:
    """Return an increment without trailing zeros, and its decimals.

    No usable increment (absent, "0.00000000" which disables the filter, or no number) gives
    ("", 8): the venue's texts never have more than 8 decimals.
    """
    try:
        step = decimal_of(text)
        scale = decimals_of(text)
    except ValueError:
        return "", SCALE_DEFAULT
    if step <= 0:
        return "", SCALE_DEFAULT
    return f"{step.normalize():f}", scale
