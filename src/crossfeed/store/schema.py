"""What the store holds: one table per kind, as plain data.

Prices and sizes are integers: `price = price_ticks / 10**price_scale`, exactly. The scales stand in
every row (they cost nothing, being constant) and in the commit record. Numbers too long for that
(20 digits) stand in `long_decimals` as well; `crossfeed.store.exact` reads either. Times are ns
since 1970 UTC, 0 where the venue gives none. Rows keep the order of arrival. `venue`, `symbol` (the
venue's own, percent-encoded in the folder name) and `date` (UTC, of `ts_event_ns`, else of
`ts_recv_ns`) are hive folders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crossfeed.store.packages import package

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "KINDS",
    "SIDE_NAMES",
    "VERSION",
    "Column",
    "arrow_schema",
    "encodings",
    "scaled_columns",
]

VERSION: Final = 1
SIDE_NAMES: Final = {1: "buy", -1: "sell", 0: ""}
"""Codes of the column `side`: the taker's of a trade, the level's of a book (bid = buy)."""


class Column(NamedTuple):
    """One column.

    Attributes:
        name: `..._ticks` are scaled by `price_scale`, `..._lots` by `size_scale`.
        type: "int64", "int16", "int8", "bool", "float64" or "text".
        is_nullable: Whether a venue may not give it.
    """

    name: str
    type: str
    is_nullable: bool = False


_HEAD: Final = (
    Column("ts_event_ns", "int64"),
    Column("ts_recv_ns", "int64"),
    Column("marks", "int16"),
    Column("integrity", "int8"),
    Column("trust", "int8"),
    Column("unified", "text"),
)
_SCALES: Final = (
    Column("price_scale", "int16"),
    Column("size_scale", "int16"),
    # JSON of the decimals that 63 bits cannot hold, by column; the integers then hold the floats.
    Column("long_decimals", "text", is_nullable=True),
)
_TRADE: Final = (
    *_HEAD,
    Column("price_ticks", "int64"),
    Column("size_lots", "int64"),
    Column("side", "int8"),
    Column("trade_id", "int64"),
)


def _many(names: str, kind: str, *, is_nullable: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_nullable) for name in names.split())


KINDS: Final[Mapping[str, tuple[Column, ...]]] = {
    "trades": (*_TRADE, *_SCALES),
    "agg_trades": (
        *_TRADE,
        *_many("first_trade_id last_trade_id", "int64"),
        *_SCALES,
    ),
    "quotes": (
        *_HEAD,
        *_many("bid_price_ticks bid_size_lots ask_price_ticks ask_size_lots update_id", "int64"),
        *_SCALES,
    ),
    "tickers": (
        *_HEAD,
        Column("price_ticks", "int64"),
        *_many(
            "open_ticks high_ticks low_ticks bid_price_ticks ask_price_ticks bid_size_lots "
            "ask_size_lots last_size_lots trade_id",
            "int64",
            is_nullable=True,
        ),
        *_many(
            "price_change price_change_percent volume quote_volume vwap",
            "float64",
            is_nullable=True,
        ),
        *_SCALES,
    ),
    "candles": (
        *_HEAD,
        Column("interval", "text"),
        *_many(
            "open_time_ns close_time_ns open_ticks high_ticks low_ticks close_ticks volume_lots",
            "int64",
        ),
        Column("trades", "int64", is_nullable=True),
        Column("is_closed", "bool"),
        *_SCALES,
    ),
    # One row per level; the rows of one event are neighbours and share `event`. An event without
    # levels is one row with side 0. Size 0 removes the level.
    "books": (
        *_HEAD,
        Column("event", "int64"),
        Column("is_snapshot", "bool"),
        Column("side", "int8"),
        *_many("price_ticks size_lots first last previous", "int64"),
        Column("checksum", "int64", is_nullable=True),
        *_SCALES,
    ),
    "gaps": (
        *_HEAD,
        *_many("gap_id first last missing ts_found_ns ts_closed_ns", "int64"),
        *_many("channel cause state", "text"),
    ),
    "status": (
        *_HEAD,
        *_many("previous current", "int8"),
        *_many("channel cause detail", "text"),
    ),
}


def scaled_columns(kind: str, suffix: str) -> tuple[str, ...]:
    """Return the columns of `kind` that end in "_ticks" or "_lots"."""
    return tuple(column.name for column in KINDS[kind] if column.name.endswith(suffix))


def arrow_schema(kind: str) -> Any:  # noqa: ANN401 - pyarrow brings no types
    """Return the Arrow schema of one kind."""
    pa = package("pyarrow")
    types = {
        "int64": pa.int64(),
        "int16": pa.int16(),
        "int8": pa.int8(),
        "bool": pa.bool_(),
        "float64": pa.float64(),
        "text": pa.dictionary(pa.int32(), pa.string()),
    }
    return pa.schema(
        [pa.field(each.name, types[each.type], nullable=each.is_nullable) for each in KINDS[kind]]
    )


def encodings(kind: str) -> dict[str, Any]:
    """Return the options of `pyarrow.parquet.write_table` that pack a kind tightly.

    Integers that grow or vary a little are stored as packed differences; codes and texts by
    dictionary; all of it compressed with zstd.
    """
    columns = KINDS[kind]
    packed = [each.name for each in columns if each.type == "int64"]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [each.name for each in columns if each.type in {"text", "int8", "int16"}],
        "column_encoding": dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        "write_statistics": True,
        "data_page_version": "2.0",
        "version": "2.6",
    }
