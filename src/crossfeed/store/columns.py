"""Events of one kind → columns of numbers, in the order of the events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, compress
from operator import attrgetter
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

_TEXT_CHARS_MAX: Final = 65_536
_NO_SCALES: Final[Mapping[str, int]] = {}
_EMPTY: Final = ((0.0, 0.0),)
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
    kind: str, events: Sequence[MarketData], scales: Mapping[str, int] = _NO_SCALES
) -> Rows:
    """Turn events of one kind, venue and symbol into rows. Cost about 0.4 us a row.

    Args:
        kind: Their table.
        events: In the order of arrival; thousands at once are cheap, tens are not.
        scales: "price" and "size" -> decimals to begin with (those of the rows before).
    """
    return _BUILDERS[kind](events, scales)


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


def _column(events: Sequence[MarketData], name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
    return package("numpy").fromiter(map(attrgetter(name), events), dtype, len(events))


def _optional(events: Sequence[MarketData], name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
    """Return a masked array: absent where an event has no such attribute, or None."""
    np = package("numpy")
    values = [getattr(event, name, None) for event in events]
    mask = np.fromiter((value is None for value in values), np.bool_, len(values))
    filled = np.fromiter((0 if value is None else value for value in values), dtype, len(values))
    return np.ma.array(filled, mask=mask)


def _texts(events: Sequence[MarketData], name: str) -> str | list[str]:
    """Return a column of texts: the one text where all are the same, as nearly always."""
    texts = list(map(attrgetter(name), events))
    if texts.count(texts[0]) == len(texts):
        return str(texts[0])[:_TEXT_CHARS_MAX]
    return [str(text)[:_TEXT_CHARS_MAX] for text in texts]


def _small(events: Sequence[MarketData], name: str, dtype: Any) -> Any:  # noqa: ANN401 - numpy
    """Return a column that nearly always has one value only; finding that out costs 2 ns a row."""
    np = package("numpy")
    values = list(map(attrgetter(name), events))
    if values.count(values[0]) == len(values):
        return np.full(len(values), int(values[0]), dtype)
    return np.fromiter(values, dtype, len(values))


def _head(events: Sequence[MarketData]) -> dict[str, Any]:
    np = package("numpy")
    return {
        "ts_event_ns": _column(events, "ts_event_ns", np.int64),
        "ts_recv_ns": _column(events, "ts_recv_ns", np.int64),
        "marks": _small(events, "marks", np.int16),
        "integrity": _small(events, "integrity", np.int8),
        "trust": _small(events, "trust", np.int8),
        "unified": _texts(events, "unified"),
    }


def _numbers(
    columns: dict[str, Any], kind: str, events: Sequence[MarketData], scales: Mapping[str, int]
) -> list[int]:
    """Add a kind's prices and sizes; return the rows that do not fit."""
    np = package("numpy")
    fields = _FIELDS[kind]

    def exact_of(column: str, row: int) -> Decimal | None:
        found: Decimal | None = events[row].exact.get(fields[column])
        return found

    read = _optional if kind == "tickers" else _column
    refused: list[int] = []
    for suffix, ending in (("price", "_ticks"), ("size", "_lots")):
        values = {
            column: read(events, attribute, np.float64)
            for column, attribute in fields.items()
            if column.endswith(ending)
        }
        refused += add_numbers(columns, suffix, values, exact_of, scales.get(suffix, 0))
    return refused


def _trades(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    buy, sell = Side.BUY, Side.SELL
    sides = [1 if each is buy else -1 if each is sell else 0 for each in _sides(events)]
    columns["side"] = np.array(sides, np.int8)
    columns["trade_id"] = _column(events, "trade_id", np.int64)
    return Rows(columns, len(events), _numbers(columns, "trades", events, scales))


def _sides(events: Sequence[Any]) -> list[Side]:
    return [event.side for event in events]


def _agg_trades(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    rows = _trades(events, scales)
    for name in ("first_trade_id", "last_trade_id"):
        rows.columns[name] = _column(events, name, np.int64)
    return rows


def _quotes(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    columns = _head(events)
    columns["update_id"] = _column(events, "update_id", package("numpy").int64)
    return Rows(columns, len(events), _numbers(columns, "quotes", events, scales))


def _tickers(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    for name in ("price_change", "price_change_percent", "volume", "quote_volume", "vwap"):
        columns[name] = _optional(events, name, np.float64)
    columns["trade_id"] = _optional(events, "trade_id", np.int64)
    return Rows(columns, len(events), _numbers(columns, "tickers", events, scales))


def _candles(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    columns["interval"] = _texts(events, "interval")
    for name in ("open_time_ns", "close_time_ns"):
        columns[name] = _column(events, name, np.int64)
    columns["trades"] = _optional(events, "trades", np.int64)
    columns["is_closed"] = _column(events, "is_closed", np.bool_)
    return Rows(columns, len(events), _numbers(columns, "candles", events, scales))


def _books(events: Sequence[Any], scales: Mapping[str, int]) -> Rows:
    """Lay the levels of all events one below the other; an empty event keeps one row of zeros."""
    np = package("numpy")
    parts = [(e.bids, e.asks, () if e.bids or e.asks else _EMPTY) for e in events]
    lengths = np.fromiter(map(len, chain.from_iterable(parts)), np.int64, 3 * len(events))
    counts = lengths.reshape(-1, 3).sum(axis=1)
    ends = counts.cumsum()
    levels = chain.from_iterable(chain.from_iterable(chain.from_iterable(parts)))
    flat = np.fromiter(levels, np.float64, 2 * int(ends[-1])).reshape(-1, 2)
    head = _head(events)
    unified = head.pop("unified")
    head["event"] = np.arange(len(events))
    head["is_snapshot"] = np.fromiter((type(e) is BookSnapshot for e in events), np.bool_)
    for name in ("first", "last", "previous"):
        head[name] = _sequence(events, name)
    checksum = _optional(events, "checksum", np.int64)
    columns = {name: values.repeat(counts) for name, values in head.items()}
    columns["checksum"] = np.ma.array(
        checksum.data.repeat(counts), mask=np.ma.getmaskarray(checksum).repeat(counts)
    )
    is_one = isinstance(unified, str)
    columns["unified"] = unified if is_one else np.array(unified, object).repeat(counts).tolist()
    columns["side"] = np.tile(np.array([1, -1, 0], np.int8), len(events)).repeat(lengths)

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


def _sequence(events: Sequence[Any], name: str) -> Any:  # noqa: ANN401 - numpy
    """Return first, last or previous; a whole image has its one number as first and last."""
    np = package("numpy")
    image = "sequence" if name != "previous" else ""
    values = [
        getattr(event, name) if isinstance(event, BookDelta) else getattr(event, image, 0)
        for event in events
    ]
    return np.array(values, np.int64)


def _gaps(events: Sequence[Any], _scales: Mapping[str, int]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    for name in ("gap_id", "first", "last", "missing", "ts_found_ns", "ts_closed_ns"):
        columns[name] = _column(events, f"record.{name}", np.int64)
    columns["channel"] = _texts(events, "record.stream.channel")
    columns["cause"] = _texts(events, "record.cause")
    columns["state"] = _texts(events, "record.state")
    return Rows(columns, len(events), [])


def _status(events: Sequence[Any], _scales: Mapping[str, int]) -> Rows:
    """Lay down trust changes; what a venue says of itself is a row of the cause "venue"."""
    np = package("numpy")
    columns = _head(events)
    own = [event if isinstance(event, FeedStatus) else _as_status(event) for event in events]
    columns["previous"] = _column(own, "previous", np.int8)
    columns["current"] = _column(own, "current", np.int8)
    for name in ("channel", "cause", "detail"):
        columns[name] = _texts(own, name)
    return Rows(columns, len(events), [])


def _as_status(event: VenueStatus) -> FeedStatus:
    head: list[Any] = [getattr(event, name) for name in MarketData.__struct_fields__]
    products = msgspec.json.encode(event.products).decode() if event.products else ""
    detail = " ".join(part for part in (event.system, products) if part)
    own: list[Any] = ["status", event.trust, event.trust, "venue", detail]
    return FeedStatus(*head, *own)


_BUILDERS: Final[dict[str, Callable[[Sequence[Any], Mapping[str, int]], Rows]]] = {
    "trades": _trades,
    "agg_trades": _agg_trades,
    "quotes": _quotes,
    "tickers": _tickers,
    "candles": _candles,
    "books": _books,
    "gaps": _gaps,
    "status": _status,
}
