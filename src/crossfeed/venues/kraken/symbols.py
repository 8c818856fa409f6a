"""Kraken's symbols ↔ instruments, from REST `AssetPairs` and from the channel `instrument`.

Version 2 writes BTC/USD and DOGE/USD. REST knows the same pair by three other names: `wsname`
XBT/USD, `altname` XBTUSD and a result key XXBTZUSD (or, for younger pairs, XBTUSDT). All of them
become aliases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct, structs

from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.numbers import is_number_text
from crossfeed.venues.kraken.profile import NAME
from crossfeed.venues.kraken.wire import PairItem, Precision
from crossfeed.venues.symbols import SymbolTable

__all__ = [
    "AssetPair",
    "builtin",
    "instrument_of_asset_pair",
    "instrument_of_pair",
    "instruments_of_asset_pairs",
    "rest_pair",
    "unified_currency",
]

_OLD_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}
_NEW_NAMES: Final = {new: old for old, new in _OLD_NAMES.items()}
_SYMBOL: Final = re.compile(r"[A-Za-z0-9.]{1,20}/[A-Za-z0-9.]{1,20}", re.ASCII)
_STATUS: Final = {
    "online": InstrumentStatus.ONLINE,
    "limit_only": InstrumentStatus.LIMITED,
    "post_only": InstrumentStatus.LIMITED,
    "cancel_only": InstrumentStatus.LIMITED,
    "reduce_only": InstrumentStatus.LIMITED,
    "maintenance": InstrumentStatus.HALTED,
    "work_in_progress": InstrumentStatus.HALTED,
    "delisted": InstrumentStatus.DELISTED,
}

# (base, quote, price decimals, size decimals, REST result key where it is not the altname).
# The first five as AssetPairs listed them 2026-07-07; the others as it did 2021-04-17, left out
# where a list of 2023-24 says otherwise. Live metadata replace all of them.
_BUILTIN: Final = (
    ("BTC", "USD", 1, 8, "XXBTZUSD"), ("ETH", "USD", 2, 8, "XETHZUSD"), ("SOL", "USD", 2, 8, ""),
    ("XRP", "USD", 5, 8, "XXRPZUSD"), ("DOGE", "USD", 7, 8, ""),
    ("BTC", "EUR", 1, 8, "XXBTZEUR"), ("BTC", "USDT", 1, 8, ""), ("BTC", "USDC", 2, 8, ""),
    ("ETH", "EUR", 2, 8, "XETHZEUR"), ("ETH", "USDT", 2, 8, ""), ("ETH", "USDC", 2, 8, ""),
    ("ETH", "BTC", 5, 8, "XETHXXBT"), ("XRP", "EUR", 5, 8, "XXRPZEUR"), ("XRP", "USDT", 5, 8, ""),
    ("XRP", "BTC", 8, 8, "XXRPXXBT"), ("DOGE", "EUR", 7, 8, ""), ("DOGE", "BTC", 8, 8, "XXDGXXBT"),
    ("ADA", "USD", 6, 8, ""), ("ADA", "EUR", 6, 8, ""), ("ADA", "USDT", 6, 8, ""),
    ("ADA", "BTC", 8, 8, ""), ("LTC", "USD", 2, 8, "XLTCZUSD"), ("LTC", "EUR", 2, 8, "XLTCZEUR"),
    ("LTC", "BTC", 6, 8, "XLTCXXBT"), ("DOT", "USD", 4, 8, ""), ("DOT", "EUR", 4, 8, ""),
    ("DOT", "USDT", 4, 8, ""), ("LINK", "USD", 5, 8, ""), ("LINK", "EUR", 5, 8, ""),
    ("LINK", "USDT", 5, 8, ""), ("BCH", "USD", 2, 8, ""), ("BCH", "EUR", 2, 8, ""),
    ("ATOM", "USD", 4, 8, ""), ("ATOM", "EUR", 4, 8, ""), ("UNI", "USD", 3, 8, ""),
    ("XLM", "USD", 6, 8, "XXLMZUSD"), ("XLM", "EUR", 6, 8, "XXLMZEUR"), ("TRX", "USD", 6, 8, ""),
    ("ETC", "USD", 3, 8, "XETCZUSD"), ("USDC", "USD", 4, 8, ""), ("USDC", "EUR", 4, 8, ""),
    ("USDC", "USDT", 4, 8, ""), ("USDT", "EUR", 4, 8, ""), ("EUR", "USD", 5, 8, "ZEURZUSD"),
    ("GBP", "USD", 5, 8, "ZGBPZUSD"),
)  # fmt: skip


class AssetPair(Struct, gc=False):
    """What we use of one entry of `AssetPairs`.

    `"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
    "lot_decimals":8,"tick_size":"0.1","status":"online",...}`
    """

    altname: str
    pair_decimals: Precision
    lot_decimals: Precision
    wsname: str = ""
    tick_size: str = ""
    status: str = "online"


def unified_currency(name: str) -> str:
    """Return the common name of a currency: XBT -> BTC, XDG -> DOGE, others as they are."""
    return _OLD_NAMES.get(name, name)


def builtin() -> tuple[Instrument, ...]:
    """Return the instruments known without the network."""
    return tuple(
        _instrument(base, quote, price_scale, size_scale, key=key)
        for base, quote, price_scale, size_scale, key in _BUILTIN
    )


def instruments_of_asset_pairs(pairs: Mapping[str, AssetPair]) -> list[Instrument]:
    """Return the instruments of an `AssetPairs` answer.

    Pairs without `wsname` (dark pools) are not served by the WebSocket and left out; so is any
    whose name is not of the form BASE/QUOTE.

    Raises:
        ValueError: A tick size that is no number.
    """
    found = (instrument_of_asset_pair(key, pair) for key, pair in pairs.items())
    return [instrument for instrument in found if instrument is not None]


def instrument_of_asset_pair(key: str, pair: AssetPair) -> Instrument | None:
    """Return the instrument of one entry, None where the WebSocket has no such pair."""
    if _SYMBOL.fullmatch(pair.wsname) is None:
        return None
    base, _, quote = pair.wsname.partition("/")
    if pair.tick_size and not is_number_text(pair.tick_size):
        msg = f"tick_size of {pair.wsname} is no number: {pair.tick_size[:40]!r}"
        raise ValueError(msg)
    return _instrument(
        unified_currency(base),
        unified_currency(quote),
        pair.pair_decimals,
        pair.lot_decimals,
        altname=pair.altname,
        key=key,
        tick_size=pair.tick_size,
        status=_STATUS.get(pair.status, InstrumentStatus.UNKNOWN),
    )


def instrument_of_pair(pair: PairItem, known: Instrument | None) -> Instrument | None:
    """Return the instrument of one pair of the instrument channel, with the names known from REST.

    None where the symbol is not of the form BASE/QUOTE.
    """
    if _SYMBOL.fullmatch(pair.symbol) is None:
        return None
    base, _, quote = pair.symbol.partition("/")
    made = _instrument(
        base,
        quote,
        pair.price_precision,
        pair.qty_precision,
        tick_size=_plain(pair.price_increment),
        lot_size=_plain(pair.qty_increment),
        status=_STATUS.get(pair.status, InstrumentStatus.UNKNOWN),
    )
    return made if known is None else structs.replace(made, aliases=known.aliases)


def rest_pair(table: SymbolTable, symbol: str) -> str:
    """Return the name by which REST knows a symbol: its altname (BTC/USD -> XBTUSD)."""
    instrument = table.get(symbol)
    if instrument is not None and instrument.aliases:
        return instrument.aliases[0]
    return _altname(*symbol.partition("/")[::2])


def _altname(base: str, quote: str) -> str:
    return _NEW_NAMES.get(base, base) + _NEW_NAMES.get(quote, quote)


def _instrument(  # noqa: PLR0913 - the parts of one entry
    base: str,
    quote: str,
    price_scale: int,
    size_scale: int,
    *,
    altname: str = "",
    key: str = "",
    tick_size: str = "",
    lot_size: str = "",
    status: InstrumentStatus = InstrumentStatus.ONLINE,
) -> Instrument:
    """Make an instrument; its aliases are altname, REST key and wsname, in this order."""
    symbol = f"{base}/{quote}"
    altname = altname or _altname(base, quote)
    wsname = f"{_NEW_NAMES.get(base, base)}/{_NEW_NAMES.get(quote, quote)}"
    names = dict.fromkeys((altname, key or altname, wsname))
    return Instrument(
        venue=NAME,
        symbol=symbol,
        base=base,
        quote=quote,
        price_scale=price_scale,
        size_scale=size_scale,
        tick_size=tick_size or _step(price_scale),
        lot_size=lot_size or _step(size_scale),
        status=status,
        aliases=tuple(name for name in names if name != symbol),
    )


def _step(scale: int) -> str:
    """Write 10**-scale without exponent."""
    return f"{Decimal(1).scaleb(-scale):f}"


def _plain(value: float | None) -> str:
    """Write a step that came as a JSON number (1e-08) without exponent; empty for None."""
    return "" if value is None else f"{Decimal(repr(value)):f}"
