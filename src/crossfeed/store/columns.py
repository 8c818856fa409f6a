"""Events of one kind → columns of numbers, in the order of the events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from crossfeed.model.status import FeedStatus, Gap
from crossfeed.model.trust import Side
from crossfeed.store.packages import package
from crossfeed.store.ticks import units_of

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
        columns: Name -> array (or list of texts); a nullable one is a masked array.
        length: How many rows.
        refused: Rows whose numbers do not fit; the caller leaves them out.
    """

    columns: dict[str, Any]
    length: int
    refused: list[int]


def rows_of(kind: str, events: Sequence[MarketData]) -> Rows:
    """Turn events of one kind, venue and symbol into rows. Cost about 0.5 us a row."""
    return _BUILDERS[kind](events)


def take(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    """Return the rows where `chosen` is true."""
    count = int(chosen.sum())
    columns: dict[str, Any] = {}
    for name, values in rows.columns.items():
        if not isinstance(values, list):
            columns[name] = values[chosen]
            continue
        texts: list[Any] = values  # pyright: ignore[reportUnknownVariableType]
        if texts.count(texts[0]) == rows.length:
            columns[name] = texts[:count]
        else:
            columns[name] = [each for each, is_in in zip(texts, chosen, strict=True) if is_in]
    return Rows(columns, count, [])


def add_numbers(
    columns: dict[str, Any],
    suffix: str,
    values: dict[str, Any],
    exact_of: Callable[[str, int], Decimal | None] | None = None,
) -> list[int]:
    """Add float arrays as integers, with the column that says their scale.

    Args:
        columns: Filled.
        suffix: "price" or "size": which scale.
        values: Column -> floats, masked where there are none.
        exact_of: (column, row) -> the venue's decimal for values of more than 15 digits.

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

    found = units_of(filled, 0, None if exact_of is None else asked)
    for index, (name, each) in enumerate(values.items()):
        units = found.units[index]
        columns[name] = np.ma.array(units, mask=each.mask) if np.ma.isMA(each) else units
    columns[f"{suffix}_scale"] = (
        np.full(filled.shape[1], found.scale, np.int16)
        if isinstance(found.scale, int)
        else found.scale
    )
    texts = columns.setdefault("long_decimals", [None] * filled.shape[1])
    for row, decimals in found.long.items():
        said: dict[str, str] = msgspec.json.decode(texts[row]) if texts[row] else {}
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


def _texts(events: Sequence[MarketData], name: str) -> list[str]:
    read = attrgetter(name)
    return [str(read(event))[:_TEXT_CHARS_MAX] for event in events]


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
        "unified": [event.unified for event in events],
    }


def _numbers(columns: dict[str, Any], kind: str, events: Sequence[MarketData]) -> list[int]:
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
        refused += add_numbers(columns, suffix, values, exact_of)
    return refused


def _trades(events: Sequence[Any]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    buy, sell = Side.BUY, Side.SELL
    sides = [1 if each is buy else -1 if each is sell else 0 for each in _sides(events)]
    columns["side"] = np.array(sides, np.int8)
    columns["trade_id"] = _column(events, "trade_id", np.int64)
    return Rows(columns, len(events), _numbers(columns, "trades", events))


def _sides(events: Sequence[Any]) -> list[Side]:
    return [event.side for event in events]


def _agg_trades(events: Sequence[Any]) -> Rows:
    np = package("numpy")
    rows = _trades(events)
    for name in ("first_trade_id", "last_trade_id"):
        rows.columns[name] = _column(events, name, np.int64)
    return rows


def _quotes(events: Sequence[Any]) -> Rows:
    columns = _head(events)
    columns["update_id"] = _column(events, "update_id", package("numpy").int64)
    return Rows(columns, len(events), _numbers(columns, "quotes", events))


def _tickers(events: Sequence[Any]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    for name in ("price_change", "price_change_percent", "volume", "quote_volume", "vwap"):
        columns[name] = _optional(events, name, np.float64)
    columns["trade_id"] = _optional(events, "trade_id", np.int64)
    return Rows(columns, len(events), _numbers(columns, "tickers", events))


def _candles(events: Sequence[Any]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    columns["interval"] = _texts(events, "interval")
    for name in ("open_time_ns", "close_time_ns"):
        columns[name] = _column(events, name, np.int64)
    columns["trades"] = _optional(events, "trades", np.int64)
    columns["is_closed"] = _column(events, "is_closed", np.bool_)
    return Rows(columns, len(events), _numbers(columns, "candles", events))


def _books(events: Sequence[Any]) -> Rows:
    """Lay the levels of all events one below the other; an empty event keeps one row of zeros."""
    np = package("numpy")
    empty = [(0.0, 0.0)]
    sides = [(event.bids, event.asks) for event in events]
    bids = np.fromiter((len(bid) for bid, _ in sides), np.int64, len(events))
    asks = np.fromiter((len(ask) for _, ask in sides), np.int64, len(events))
    lengths = np.maximum(bids + asks, 1)
    owners = np.repeat(np.arange(len(events)), lengths)
    places = np.arange(owners.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    levels = chain.from_iterable((*bid, *ask) or empty for bid, ask in sides)
    flat = np.fromiter(chain.from_iterable(levels), np.float64, 2 * owners.size).reshape(-1, 2)
    head = _head(events)
    unified = head.pop("unified")
    is_image = np.fromiter((type(e) is BookSnapshot for e in events), np.bool_, len(events))
    head["event"] = np.arange(len(events))
    head["is_snapshot"] = is_image
    head["first"] = _sequence(events, "first")
    head["last"] = _sequence(events, "last")
    head["previous"] = _sequence(events, "previous")
    columns = {name: values[owners] for name, values in head.items()}
    columns["checksum"] = _optional(events, "checksum", np.int64)[owners]
    columns["unified"] = [unified[owner] for owner in owners.tolist()]
    is_empty = (bids + asks == 0)[owners]
    columns["side"] = np.where(is_empty, 0, np.where(places < bids[owners], 1, -1)).astype(np.int8)

    def exact_of(column: str, row: int) -> Decimal | None:
        owner, place = int(owners[row]), int(places[row])
        is_bid = place < bids[owner]
        levels = events[owner].exact.get("bids" if is_bid else "asks", ())
        place -= 0 if is_bid else int(bids[owner])
        found: Decimal | None = None
        if place < len(levels):
            found = levels[place][0 if column == "price_ticks" else 1]
        return found

    refused = add_numbers(columns, "price", {"price_ticks": flat[:, 0]}, exact_of)
    refused += add_numbers(columns, "size", {"size_lots": flat[:, 1]}, exact_of)
    return Rows(columns, owners.size, refused)


def _sequence(events: Sequence[Any], name: str) -> Any:  # noqa: ANN401 - numpy
    """Return first, last or previous; a whole image has its one number as first and last."""
    np = package("numpy")
    image = "sequence" if name != "previous" else ""
    values = [
        getattr(event, name) if isinstance(event, BookDelta) else getattr(event, image, 0)
        for event in events
    ]
    return np.array(values, np.int64)


def _gaps(events: Sequence[Any]) -> Rows:
    np = package("numpy")
    columns = _head(events)
    for name in ("gap_id", "first", "last", "missing", "ts_found_ns", "ts_closed_ns"):
        columns[name] = _column(events, f"record.{name}", np.int64)
    columns["channel"] = _texts(events, "record.stream.channel")
    columns["cause"] = _texts(events, "record.cause")
    columns["state"] = _texts(events, "record.state")
    return Rows(columns, len(events), [])


def _status(events: Sequence[Any]) -> Rows:
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


_BUILDERS: Final[dict[str, Callable[[Sequence[Any]], Rows]]] = {
    "trades": _trades,
    "agg_trades": _agg_trades,
    "quotes": _quotes,
    "tickers": _tickers,
    "candles": _candles,
    "books": _books,
    "gaps": _gaps,
    "status": _status,
}
