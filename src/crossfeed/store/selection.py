"""What users select (symbol, venue, time) → conditions with parameters, and clear refusals."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from crossfeed.errors import UnknownSymbolError, UnknownVenueError
from crossfeed.store.layout import StoredFile
from crossfeed.store.moments import Moment, moment_ns

__all__ = ["MARKET", "ORDERS", "check_names", "choose", "conditions", "span_ns"]

NAMED_MAX: Final = 5
MARKET: Final = "venue = $venue AND $symbol IN (symbol, unified)"
_ORDER: Final = "ts_ns, venue, ts_recv_ns"
ORDERS: Final = {
    "trades": "ts_ns, venue, trade_id",
    "agg_trades": "ts_ns, venue, trade_id",
    "quotes": "ts_ns, venue, update_id",
    # Changes of a book are only right in the order of arrival.
    "books": "ts_recv_ns, venue, event, row_number",
    "tickers": _ORDER,
    "candles": _ORDER,
    "gaps": _ORDER,
    "status": _ORDER,
}
"""What the rows of a kind are sorted by."""


def span_ns(start: Moment | None, end: Moment | None) -> tuple[int | None, int | None]:
    """Return both ends in ns.

    Raises:
        ConfigError: A time that cannot be read.
    """
    return (
        None if start is None else moment_ns(start),
        None if end is None else moment_ns(end),
    )


def conditions(
    symbol: str | None,
    start: Moment | None,
    end: Moment | None,
    venue: str | None,
    time: str = "ts_ns",
) -> tuple[str, dict[str, Any]]:
    """Return the conditions with parameters: what users say is never part of the SQL."""
    start_ns, end_ns = span_ns(start, end)
    known = {
        "symbol": ("$symbol IN (symbol, unified)", symbol),
        "venue": ("venue = $venue", venue),
        "start": (f"{time} >= $start", start_ns),
        "end": (f"{time} < $end", end_ns),
    }
    said = {name: pair for name, pair in known.items() if pair[1] is not None}
    text = " AND ".join(condition for condition, _ in said.values())
    return (f" WHERE {text}" if text else ""), {name: value for name, (_, value) in said.items()}


def choose(
    files: Iterable[StoredFile],
    symbol: str | None,
    start_ns: int | None,
    end_ns: int | None,
    venue: str | None,
) -> list[StoredFile]:
    """Return the files that can hold what is asked for."""
    return [
        file
        for file in files
        if (symbol is None or symbol == file.symbol or symbol in file.unified)
        and (venue is None or venue == file.venue)
        and (start_ns is None or file.ts_max_ns >= start_ns)
        and (end_ns is None or file.ts_min_ns < end_ns)
    ]


def check_names(
    root: Path, files: Sequence[StoredFile], symbol: str | None, venue: str | None
) -> None:
    """Tell a name that is nowhere in the store from a market without rows.

    Raises:
        UnknownSymbolError: No file has the symbol; the nearest ones are named.
        UnknownVenueError: No file has the venue.
    """
    venues = {file.venue for file in files}
    if venue is not None and venues and venue not in venues:
        said = _nearest(venue, venues)
        raise UnknownVenueError(f"{root}: nothing of venue {venue[:80]!r}{said}")
    names = {name for file in files for name in (file.symbol, *file.unified) if name}
    if symbol is not None and names and symbol not in names:
        raise UnknownSymbolError(f"{root}: nothing of {symbol[:80]!r}{_nearest(symbol, names)}")


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:NAMED_MAX]
    return f"; there is {', '.join(near)}" + (" ..." if len(known) > len(near) else "")
