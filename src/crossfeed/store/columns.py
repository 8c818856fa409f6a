"""Events of one kind → columns of numbers, in the order of the events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec

from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    DepthDelta,
    MarketData,
    MiniTicker,
    Quote,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.numbers import SCALE_MAX
from crossfeed.model.status import FeedStatus, Gap
from crossfeed.model.trust import Side
from crossfeed.store.batch import AttributeReader, Batch
from crossfeed.store.packages import package
from crossfeed.store.ticks import DIGITS_UNITS_MAX, units_of

if TYPE_CHECKING:
    from decimal import Decimal

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["KIND_OF", "Rows", "add_numbers", "rows_of", "take"]

KIND_OF: Final[dict[type[MarketData], str]] = {
    Trade: "trades",
    AggTrade: "agg_trades",
    Quote: "quotes",
    Ticker: "tickers",
    MiniTicker: "tickers",
    Candle: "candles",
    BookDelta: "books",
    DepthDelta: "books",
    BookSnapshot: "books",
    Gap: "gaps",
    FeedStatus: "status",
    VenueStatus: "status",
}
"""Which table an event goes to; what is not here is counted and left out."""

_NO_SCALES: Final[Mapping[str, int]] = {}
_FIELDS: Final[dict[str, dict[str, str]]] = {
    "trades": {"price_ticks": "price", "size_lots": "quantity"},
    "quotes": {
        "bid_price_ticks": "bid_price",
        "ask_price_ticks": "ask_price",
        "bid_size_lots": "bid_quantity",
        "ask_size_lots": "ask_quantity",
    },
    "tickers": {
        "price_ticks": "price",
        "open_ticks": "open",
        "high_ticks": "high",
        "low_ticks": "low",
        "bid_price_ticks": "best_bid",
        "ask_price_ticks": "best_ask",
        "bid_size_lots": "best_bid_quantity",
        "ask_size_lots": "best_ask_quantity",
        "last_size_lots": "last_quantity",
    },
    "candles": {
        "open_ticks": "open",
        "high_ticks": "high",
        "low_ticks": "low",
        "close_ticks": "close",
        "volume_lots": "volume",
    },
}


class Rows(NamedTuple):
    """Some rows of one table.

    Attributes:
        columns: Name -> array, a masked one where it is nullable; texts are a list, or the one
            text (or None) that all rows share.
        length: How many rows.
        refused: Rows whose numbers do not fit; the caller leaves them out.
    """

    columns: dict[str, Any]
    length: int
    refused: list[int]


def rows_of(
    kind: str,
    events: list[MarketData],
    scales: Mapping[str, int] = _NO_SCALES,
    reader: AttributeReader | None = None,
) -> Rows:
    """Turn events of one kind, venue and symbol into rows.

    Cost about 0.4 us a row, with a compiled reader 0.1.

    Args:
        kind: Their table.
        events: In the order of arrival; thousands at once are cheap, tens are not.
        scales: "price" and "size" -> decimals to begin with (those of the rows before).
        reader: Reads attributes faster than Python.
    """
    return _BUILDERS[kind](Batch(events, reader), scales)


def take(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """Return the rows where `chosen` is true."""
    count = int(chosen.sum())
    columns: dict[str, Any] = {}
    for name, values in rows.columns.items():
        if values is None or isinstance(values, str):
            columns[name] = values
        elif isinstance(values, list):
            columns[name] = list(compress(cast("list[str | None]", values), chosen.tolist()))
        else:
            columns[name] = values[chosen]
    return Rows(columns, count, [])


def add_numbers(
    columns: dict[str, Any],
    suffix: str,
    values: dict[str, Any],
    exact_of: Callable[[str, int], Decimal | None] | None = None,
    scale_min: int = 0,
) -> list[int]:
    """Add float arrays as integers, with the column that says their scale.

    Args:
        columns: Filled.
        suffix: "price" or "size": which scale.
        values: Column -> floats, masked where there are none.
        exact_of: (column, row) -> the venue's decimal for values of more than 15 digits.
        scale_min: Decimals to begin with, where all values have them to spare.

    Returns:
        The rows that cannot be represented.
    """
    np = package("numpy")
    names = list(values)
    filled = np.stack([np.ma.filled(each, 0.0) for each in values.values()])

    def asked(column: int, row: int) -> Decimal | None:
        if exact_of is None or filled[column, row] == 0.0:
            return None
        return exact_of(names[column], row)

    is_usual = 0 <= scale_min <= SCALE_MAX
    if not is_usual or np.abs(filled).max(initial=0.0) >= DIGITS_UNITS_MAX / 10.0**scale_min:
        scale_min = 0
    found = units_of(filled, scale_min, None if exact_of is None else asked)
    for index, (name, each) in enumerate(values.items()):
        units = found.units[index]
        columns[name] = np.ma.array(units, mask=each.mask) if np.ma.isMA(each) else units
    columns[f"{suffix}_scale"] = (
        np.full(filled.shape[1], found.scale, np.int16)
        if isinstance(found.scale, int)
        else found.scale
    )
    columns.setdefault("long_decimals", None)
    if found.long:
        texts: list[str | None] = columns["long_decimals"] or [None] * filled.shape[1]
        columns["long_decimals"] = texts
        for row, decimals in found.long.items():
            said: dict[str, str] = msgspec.json.decode(texts[row] or "{}")
            said |= {name: str(each) for name, each in zip(names, decimals, strict=True)}
            texts[row] = msgspec.json.encode(said).decode()
    return found.refused


def _head(batch: Batch) -> dict[str, Any]:
    np = package("numpy")
    return {
        "ts_event_ns": batch.numbers("ts_event_ns", np.int64),
        "ts_recv_ns": batch.numbers("ts_recv_ns", np.int64),
        "marks": batch.codes("marks", np.int16),
        "integrity": batch.codes("integrity", np.int8),
        "trust": batch.codes("trust", np.int8),
        "unified": batch.texts("unified"),
    }


def _numbers(
    columns: dict[str, Any], kind: str, batch: Batch, scales: Mapping[str, int]
) -> list[int]:
    """Add a kind's prices and sizes; return the rows that do not fit."""
    np = package("numpy")
    fields = _FIELDS[kind]

    def exact_of(column: str, row: int) -> Decimal | None:
        found: Decimal | None = batch.events[row].exact.get(fields[column])
        return found

    read = batch.optional if kind == "tickers" else batch.numbers
    refused: list[int] = []
    for suffix, ending in (("price", "_ticks"), ("size", "_lots")):
        values = {
            column: read(attribute, np.float64)
            for column, attribute in fields.items()
            if column.endswith(ending)
        }
        refused += add_numbers(columns, suffix, values, exact_of, scales.get(suffix, 0))
    return refused


def _trades(batch: Batch, scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(batch)
    buy, sell = Side.BUY, Side.SELL
    sides = [1 if each is buy else -1 if each is sell else 0 for each in _sides(batch.events)]
    columns["side"] = np.array(sides, np.int8)
    columns["trade_id"] = batch.numbers("trade_id", np.int64)
    return Rows(columns, len(batch), _numbers(columns, "trades", batch, scales))


def _sides(events: Sequence[Any]) -> list[Side]:
    return [event.side for event in events]


def _agg_trades(batch: Batch, scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    rows = _trades(batch, scales)
    for name in ("first_trade_id", "last_trade_id"):
        rows.columns[name] = batch.numbers(name, np.int64)
    return rows


def _quotes(batch: Batch, scales: Mapping[str, int]) -> Rows:
    columns = _head(batch)
    columns["update_id"] = batch.numbers("update_id", package("numpy").int64)
    return Rows(columns, len(batch), _numbers(columns, "quotes", batch, scales))


def _tickers(batch: Batch, scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(batch)
    for name in ("price_change", "price_change_percent", "volume", "quote_volume", "vwap"):
        columns[name] = batch.optional(name, np.float64)
    columns["trade_id"] = batch.optional("trade_id", np.int64)
    return Rows(columns, len(batch), _numbers(columns, "tickers", batch, scales))


def _candles(batch: Batch, scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(batch)
    columns["interval"] = batch.texts("interval")
    for name in ("open_time_ns", "close_time_ns"):
        columns[name] = batch.numbers(name, np.int64)
    columns["trades"] = batch.optional("trades", np.int64)
    columns["is_closed"] = batch.numbers("is_closed", np.bool_)
    return Rows(columns, len(batch), _numbers(columns, "candles", batch, scales))


def _books(batch: Batch, scales: Mapping[str, int]) -> Rows:
    """Lay the levels of all events one below the other; an empty event keeps one row of zeros."""
    np = package("numpy")
    events: Sequence[Any] = batch.events
    sides, flat = batch.levels()
    empty = sides.sum(axis=1) == 0
    lengths = np.column_stack((sides, empty))
    counts = lengths.sum(axis=1)
    ends = counts.cumsum()
    if empty.any():
        flat = np.insert(flat, sides.sum(axis=1).cumsum()[empty], 0.0, axis=0)
    head = _head(batch)
    unified = head.pop("unified")
    head["event"] = np.arange(len(batch))
    head["is_snapshot"] = np.fromiter((type(e) is BookSnapshot for e in events), np.bool_)
    for name in ("first", "last", "previous"):
        head[name] = _sequence(batch, name)
    checksum = batch.optional("checksum", np.int64)
    columns = {name: values.repeat(counts) for name, values in head.items()}
    columns["checksum"] = np.ma.array(
        checksum.data.repeat(counts), mask=np.ma.getmaskarray(checksum).repeat(counts)
    )
    is_one = isinstance(unified, str)
    columns["unified"] = unified if is_one else np.array(unified, object).repeat(counts).tolist()
    columns["side"] = np.tile(np.array([1, -1, 0], np.int8), len(batch)).repeat(lengths.ravel())

    def exact_of(column: str, row: int) -> Decimal | None:
        owner = int(ends.searchsorted(row, "right"))
        place = row - int(ends[owner] - counts[owner])
        bids = len(events[owner].bids)
        levels = events[owner].exact.get("bids" if place < bids else "asks", ())
        place -= bids if place >= bids else 0
        found: Decimal | None = None
        if place < len(levels):
            found = levels[place][0 if column == "price_ticks" else 1]
        return found

    refused: list[int] = []
    for place, (suffix, name) in enumerate((("price", "price_ticks"), ("size", "size_lots"))):
        scale = scales.get(suffix, 0)
        refused += add_numbers(columns, suffix, {name: flat[:, place]}, exact_of, scale)
    return Rows(columns, len(flat), refused)


def _sequence(batch: Batch, name: str) -> Any:  # noqa: ANN401 - numpy
    """Return first, last or previous; a whole image has its one number as first and last."""
    np = package("numpy")
    found = batch.read(name, np.int64)
    if found is not None:
        return found
    image = "sequence" if name != "previous" else ""
    values = [
        getattr(event, name) if isinstance(event, BookDelta) else getattr(event, image, 0)
        for event in batch.events
    ]
    return np.array(values, np.int64)


def _gaps(batch: Batch, _scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(batch)
    for name in ("gap_id", "first", "last", "missing", "ts_found_ns", "ts_closed_ns"):
        columns[name] = batch.numbers(f"record.{name}", np.int64)
    columns["channel"] = batch.texts("record.stream.channel")
    columns["cause"] = batch.texts("record.cause")
    columns["state"] = batch.texts("record.state")
    return Rows(columns, len(batch), [])


def _status(batch: Batch, _scales: Mapping[str, int]) -> Rows:
    """Lay down trust changes; what a venue says of itself is a row of the cause "venue"."""
    np = package("numpy")
    columns = _head(batch)
    own = batch.of([_as_status(event) for event in batch.events])
    columns["previous"] = own.numbers("previous", np.int8)
    columns["current"] = own.numbers("current", np.int8)
    for name in ("channel", "cause", "detail"):
        columns[name] = own.texts(name)
    return Rows(columns, len(batch), [])


def _as_status(event: Any) -> FeedStatus:  # noqa: ANN401 - either status
    if isinstance(event, FeedStatus):
        return event
    head: list[Any] = [getattr(event, name) for name in MarketData.__struct_fields__]
    products = msgspec.json.encode(event.products).decode() if event.products else ""
    detail = " ".join(part for part in (event.system, products) if part)
    own: list[Any] = ["status", event.trust, event.trust, "venue", detail]
    return FeedStatus(*head, *own)


_BUILDERS: Final[dict[str, Callable[[Batch, Mapping[str, int]], Rows]]] = {
    "trades": _trades,
    "agg_trades": _agg_trades,
    "quotes": _quotes,
    "tickers": _tickers,
    "candles": _candles,
    "books": _books,
    "gaps": _gaps,
    "status": _status,
}
