"""The CSV forms of tardis.dev: https://docs.tardis.dev/downloadable-csv-files (2026-11-22)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from crossfeed.errors import ConfigError
from crossfeed.model.events import BookDelta, BookSnapshot, Level, MarketData, Quote, Trade
from crossfeed.model.trust import Integrity, Mark, Side
from crossfeed.store.archive_rows import (
    DIGITS_MAX,
    Head,
    OpenedRows,
    Unify,
    head_of,
    integer_of,
    number_of,
    price_of,
    unified_of,
)

__all__ = ["read_rows"]

US_NS: Final = 1_000
LEVELS_MAX: Final = 1000
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL, "unknown": Side.UNKNOWN}
_FLAGS: Final = frozenset({"true", "false"})
EXTRA: Final = "\x00extra"
"""Where the reader puts what stands beyond the last column."""
Values = dict[str, str]


class _Maker:
    """Turns rows into events; symbols are unified once each."""

    def __init__(self, unified: Unify, venue: str) -> None:
        self._unified = unified
        self._venue = venue
        self._names: dict[tuple[str, str], tuple[str, str, str]] = {}

    def head(self, row: Values, level: Integrity, marks: Mark) -> Head:
        if EXTRA in row:
            msg = "more columns than the header has"
            raise ValueError(msg)
        key = (row["exchange"], row["symbol"])
        names = self._names.get(key)
        if names is None:
            venue, symbol = self._venue or key[0], key[1]
            if not venue or not symbol:
                msg = "no exchange or symbol"
                raise ValueError(msg)
            names = self._names[key] = (venue, symbol, unified_of(self._unified, venue, symbol))
        event_ns, recv_ns = (
            integer_of(row[name]) * US_NS for name in ("timestamp", "local_timestamp")
        )
        return head_of(names, event_ns, recv_ns, marks, level)

    def trade(self, row: Values) -> MarketData:
        head = self.head(row, Integrity.NONE, Mark.NONE)
        side, own_id = _SIDES.get(row["side"]), row["id"] or ""
        if side is None:
            msg = f"no side: {row['side'][:40]!r}"
            raise ValueError(msg)
        is_number = own_id.isascii() and own_id.isdigit() and len(own_id) <= DIGITS_MAX
        price, size = price_of(row["price"]), price_of(row["amount"])
        return Trade(*head, price, size, side, int(own_id) if is_number else 0)

    def quote(self, row: Values) -> MarketData:
        """Read a quote; an empty side is price and size 0."""
        head = self.head(row, Integrity.SELF_CONTAINED, Mark.NONE)
        bid, bid_size, ask, ask_size = (
            number_of(row[name] or "0")
            for name in ("bid_price", "bid_amount", "ask_price", "ask_amount")
        )
        return Quote(*head, bid, bid_size, ask, ask_size, 0)

    def book(self, row: Values) -> MarketData:
        head = self.head(row, Integrity.SELF_CONTAINED, Mark.SNAPSHOT)
        return BookSnapshot(*head, _levels(row, "bids"), _levels(row, "asks"), 0, None)

    def change(self, rows: list[Values]) -> MarketData:
        """Join the rows of one message."""
        sides: dict[str, list[Level]] = {"bid": [], "ask": []}
        for row in rows:
            levels = sides.get(row["side"])
            if levels is None:
                msg = f"no side: {row['side'][:40]!r}"
                raise ValueError(msg)
            levels.append((price_of(row["price"]), number_of(row["amount"])))
        is_image = rows[0]["is_snapshot"] == "true"
        marks = Mark.SNAPSHOT if is_image else Mark.NONE
        head = self.head(rows[-1], Integrity.NONE, marks)
        if is_image:
            return BookSnapshot(*head, sides["bid"], sides["ask"], 0, None)
        return BookDelta(*head, sides["bid"], sides["ask"], 0, 0, 0, None)


def read_rows(file: OpenedRows, path: str, unified: Unify, venue: str) -> Iterator[MarketData]:
    """Yield the events of an open file; see `archives.read_tardis`.

    Raises:
        ConfigError: The header is of no form known here.
    """
    rows = csv.DictReader(file.text, restkey=EXTRA)
    names, maker = set(rows.fieldnames or ()), _Maker(unified, venue)
    make: Callable[[Values], MarketData]
    if {"is_snapshot", "side", "price", "amount"} <= names:
        yield from _incremental(file, rows, maker)
        return
    if {"id", "side", "price", "amount"} <= names:
        make = maker.trade
    elif {"asks[0].price", "bids[0].price"} <= names:
        make = maker.book
    elif {"ask_price", "bid_price", "ask_amount"} <= names:
        make = maker.quote
    else:
        raise ConfigError(
            f"{path}: no tardis.dev form known here (trades, quotes, book_snapshot_N, "
            f"incremental_book_L2): {', '.join(sorted(names))[:200]}"
        )
    yield from file.events(rows, lambda: rows.line_num, make)


def _incremental(
    file: OpenedRows, rows: csv.DictReader[str], maker: _Maker
) -> Iterator[MarketData]:
    """Join the rows of one message; a snapshot may be longer than one local timestamp.

    A bad row takes its message with it: half a change would make a wrong book.
    """
    key: tuple[str, ...] = ()
    held: list[Values] = []
    line = 2
    for row in rows:
        is_image = row.get("is_snapshot") or ""
        market = (row.get("exchange") or "", row.get("symbol") or "")
        now = (is_image, "" if is_image == "true" else row.get("local_timestamp") or "", *market)
        if held and now != key:
            event = file.read(line, partial(maker.change, held), rows=len(held))
            if event is not None:
                yield event
            file.done(len(held))
            held = []
        if is_image not in _FLAGS:
            file.read(rows.line_num, partial(_refuse, is_image))
            file.done(1)
            continue
        if not held:
            line = rows.line_num
        key = now
        held.append(row)
    if held:
        event = file.read(line, partial(maker.change, held), rows=len(held))
        if event is not None:
            yield event
        file.done(len(held))


def _refuse(text: str) -> MarketData:
    msg = f"is_snapshot is neither true nor false: {text[:40]!r}"
    raise ValueError(msg)


def _levels(row: Values, side: str) -> list[Level]:
    found: list[Level] = []
    for index in range(LEVELS_MAX):
        price, size = row.get(f"{side}[{index}].price"), row.get(f"{side}[{index}].amount")
        if not price or not size:
            break
        found.append((price_of(price), number_of(size)))
    return found
