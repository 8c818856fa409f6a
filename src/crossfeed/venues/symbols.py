"""Venue symbol ↔ instrument, both ways, for one venue."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from crossfeed.errors import UnknownSymbolError
from crossfeed.model.instrument import Instrument

__all__ = ["SymbolTable", "are_names"]


class SymbolTable:
    """All instruments of one venue.

    Found by the venue's symbol, by its other names, or by unified name.

    Created with the venue's built-in instruments, so that it works offline; `adopt` takes the
    venue's live metadata over them. A unified name maps to exactly one instrument (the one adopted
    last).
    """

    def __init__(self, venue: str, instruments: Iterable[Instrument] = ()) -> None:
        """Start with `instruments`."""
        self.venue = venue
        self._by_symbol: dict[str, Instrument] = {}
        self._by_alias: dict[str, str] = {}
        self._by_unified: dict[str, str] = {}
        self.adopt(instruments)

    def __len__(self) -> int:
        """Return the number of instruments."""
        return len(self._by_symbol)

    def adopt(self, instruments: Iterable[Instrument]) -> None:
        """Add instruments, or replace those of the same symbol."""
        for instrument in instruments:
            self._by_symbol[instrument.symbol] = instrument
            self._by_unified[instrument.unified] = instrument.symbol
            for alias in instrument.aliases:
                self._by_alias[alias] = instrument.symbol

    def get(self, symbol: str) -> Instrument | None:
        """Return the instrument of a venue symbol or alias, None if unknown."""
        return self._by_symbol.get(symbol) or self._by_symbol.get(self._by_alias.get(symbol, ""))

    def _lookup(self, name: str) -> Instrument | None:
        return self.get(name) or self._by_symbol.get(self._by_unified.get(name, ""))

    def find(self, name: str) -> Instrument:
        """Return the instrument of a venue symbol, alias or unified name.

        Raises:
            UnknownSymbolError: The venue lists no such thing; the text names the nearest ones.
        """
        instrument = self._lookup(name)
        if instrument is not None:
            return instrument
        known = list(dict.fromkeys([*self._by_symbol, *self._by_unified]))
        near = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.6)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        msg = f"{self.venue} lists no symbol {name!r}{hint}"
        raise UnknownSymbolError(msg)

    def resolve(self, name: str, *, quotes: tuple[str, ...] = ()) -> Instrument:
        """Return the instrument of `name`; a price in US dollars may come in a currency like it.

        Args:
            name: Venue symbol, alias or unified name.
            quotes: Quote currencies to try in order where BASE/USD itself is not listed (BTC/USD at
                Binance: "USDT"). No currency stands in for any other: BTC/EUR is never BTCUSDT.

        Raises:
            UnknownSymbolError: None of them is listed.
        """
        names = [name]
        base, _, wanted = name.partition("/")
        if wanted == "USD":
            names += [f"{base}/{quote}" for quote in quotes]
        found = next(filter(None, map(self._lookup, names)), None)
        return found if found is not None else self.find(name)

    def instruments(self) -> list[Instrument]:
        """Return all instruments, in the order of adoption."""
        return list(self._by_symbol.values())


def are_names(*names: str) -> bool:
    """Say whether a venue's names can stand in a unified symbol, a stream's name and a path."""
    return all(name.isprintable() and name and not set(name) & set("/:@ ") for name in names)
