"""The SQL over a store: one view per kind, and ready questions as table macros.

| view | rows |
|---|---|
| `contents` | what is there: rows, bytes and times by kind, venue, symbol and day |
| `trades`, `agg_trades`, `quotes`, `tickers`, `candles`, `books`, `status` | as stored |
| `gap_events` | each state of each gap, as stored |
| `gaps` | each gap in its last known state |
| `instruments` | what was traded, as last known |
| `ohlcv('1 minute')` | bars of any length from trades, with vwap |
| `vwap('1 hour')` | volume-weighted price per interval |
| `book_at('kraken', 'BTC/USD', TIMESTAMP '...')` | a book at a moment |
| `spread('1 second')` | best bid and ask over all venues per interval |

Every view has `venue, symbol, unified, date, ts` (UTC) and `ts_ns` (event time, else receipt).
"""

# SQL is put together from this module's own texts, integers and quoted paths; what users say goes
# in as parameters.
# ruff: noqa: S608
from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from crossfeed.store.layout import StoredFile
from crossfeed.store.schema import KINDS, SIDE_NAMES

__all__ = [
    "BARS",
    "MACROS",
    "book_select",
    "kind_select",
    "literal",
    "spread_select",
    "view_name",
]

_SQL_TYPES: Final = {
    "int64": "BIGINT",
    "int16": "SMALLINT",
    "int8": "TINYINT",
    "bool": "BOOLEAN",
    "float64": "DOUBLE",
    "text": "VARCHAR",
}
_FRIENDLY: Final = {"size_lots": "quantity", "volume_lots": "volume"}
_TS_NS: Final = "CASE WHEN ts_event_ns <> 0 THEN ts_event_ns ELSE ts_recv_ns END"
_TRUST: Final = "['sound','stale','unsound','closed','unavailable']"

# The key orders trades by time, those of one time by id; one 128-bit integer is twice as fast as a
# pair.
_KEY: Final = "((ts_ns::HUGEINT << 63) + trade_id)"
BARS: Final = f"""
    arg_min(price, {_KEY}) AS open, max(price) AS high, min(price) AS low,
    arg_max(price, {_KEY}) AS close, fsum(quantity) AS volume,
    sum(price * quantity) / nullif(sum(quantity), 0) AS vwap, count(*) AS trades
"""
_WIDTH: Final = "epoch_ns(CAST(width AS INTERVAL))"
_BUCKET: Final = f"ts_ns // {_WIDTH} * {_WIDTH}"


def book_select(source: str, *, where: str, at: str) -> str:
    """Return the SELECT of one book at a moment: the last image before it, all changes since."""
    return f"""
    WITH said AS (
        SELECT *, (ts_recv_ns, event, row_number) AS place FROM {source}
        WHERE {where} AND ts_recv_ns <= {at}),
    image AS (SELECT max((ts_recv_ns, event)) AS place FROM said WHERE is_snapshot),
    levels AS (
        SELECT side, price, max(ts_recv_ns) AS ts_recv_ns,
            arg_max({{quantity: quantity, price_ticks: price_ticks, price_scale: price_scale,
                size_lots: size_lots, size_scale: size_scale, long_decimals: long_decimals}},
                said.place) AS newest
        FROM said, image WHERE (ts_recv_ns, event) >= image.place AND side <> ''
        GROUP BY side, price)
    SELECT side, price, newest.quantity AS quantity, ts_recv_ns, newest.price_ticks AS price_ticks,
        newest.price_scale AS price_scale, newest.size_lots AS size_lots,
        newest.size_scale AS size_scale, newest.long_decimals AS long_decimals
    FROM levels WHERE newest.quantity > 0
    ORDER BY side, CASE side WHEN 'buy' THEN -price ELSE price END"""


def spread_select(source: str, bucket: str, where: str = "true") -> str:
    """Return the SELECT of the best bid and ask over all venues per interval.

    Each venue takes part with its last sound quote of the interval; what is marked SUSPECT does
    not.
    """
    return f"""
    WITH quoted AS (
        SELECT unified, venue, {bucket} AS start_ns, arg_max(bid_price, ts_ns) AS bid,
            arg_max(ask_price, ts_ns) AS ask
        FROM {source} WHERE unified <> '' AND trust = 'sound' AND marks & 8 = 0 AND {where}
        GROUP BY unified, venue, start_ns),
    best AS (
        SELECT unified, start_ns, max(bid) AS best_bid, arg_max(venue, bid) AS best_bid_venue,
            min(ask) AS best_ask, arg_min(venue, ask) AS best_ask_venue, count(*) AS venues
        FROM quoted GROUP BY unified, start_ns)
    SELECT unified, make_timestamp_ns(start_ns) AS ts, * EXCLUDE (unified, start_ns),
        best_ask - best_bid AS spread,
        200 * (best_ask - best_bid) / (best_ask + best_bid) AS spread_percent
    FROM best ORDER BY start_ns, unified"""


MACROS: Final = (
    f"""CREATE OR REPLACE MACRO ohlcv(width) AS TABLE
    SELECT venue, symbol, unified, make_timestamp_ns(start_ns) AS ts, * EXCLUDE (venue, symbol,
        unified)
    FROM (SELECT venue, symbol, unified, {_BUCKET} AS start_ns, {BARS}
          FROM trades GROUP BY venue, symbol, unified, start_ns)
    ORDER BY start_ns, venue, symbol""",
    """CREATE OR REPLACE MACRO vwap(width) AS TABLE
    SELECT venue, symbol, unified, ts, vwap, volume, trades FROM ohlcv(width)""",
    "CREATE OR REPLACE MACRO book_at(of_venue, of_symbol, at_time) AS TABLE "
    + book_select(
        "books",
        where="venue = of_venue AND of_symbol IN (symbol, unified)",
        at="epoch_ns(CAST(at_time AS TIMESTAMP_NS))",
    ),
    "CREATE OR REPLACE MACRO spread(width) AS TABLE " + spread_select("quotes", _BUCKET),
    """CREATE OR REPLACE VIEW gaps AS
    SELECT * FROM gap_events QUALIFY row_number() OVER (
        PARTITION BY venue, symbol, channel, gap_id, ts_found_ns
        ORDER BY ts_recv_ns DESC, ts_closed_ns DESC) = 1""",
)


def view_name(kind: str) -> str:
    """Return the name of a kind's view."""
    return "gap_events" if kind == "gaps" else kind


def literal(text: str) -> str:
    """Return an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def kind_select(root: Path, kind: str, files: Iterable[StoredFile]) -> str:
    """Return the SELECT over some files of one kind.

    Files of the same scales are read together, so that dividing by them costs nothing a row.
    """
    groups: dict[tuple[int | None, int | None], list[StoredFile]] = {}
    for file in files:
        groups.setdefault((file.price_scale, file.size_scale), []).append(file)
    if not groups:
        return _empty(kind)
    return " UNION ALL ".join(_select(root, kind, scales, part) for scales, part in groups.items())


def _select(
    root: Path, kind: str, scales: tuple[int | None, int | None], files: Sequence[StoredFile]
) -> str:
    paths = ", ".join(literal(str(root / file.path)) for file in files)
    source = (
        f"read_parquet([{paths}], hive_partitioning = true, hive_types_autocast = false, "
        f"file_row_number = {str(kind == 'books').lower()}, "
        "hive_types = {'venue': VARCHAR, 'symbol': VARCHAR, 'date': DATE})"
    )
    columns = ", ".join(_columns(kind, scales))
    return (
        "SELECT venue, coalesce(symbol, '') AS symbol, unified, date, "
        f"make_timestamp_ns({_TS_NS}) AS ts, {_TS_NS} AS ts_ns, {columns} FROM {source}"
    )


def _columns(kind: str, scales: tuple[int | None, int | None]) -> list[str]:
    """Return what is selected: friendly columns beside the stored integers."""
    chosen: list[str] = []
    for name, *_ in KINDS[kind]:
        if name.endswith("_ticks"):
            chosen.append(
                f"{_divided(name, scales[0], 'price_scale')} AS {name.removesuffix('_ticks')}"
            )
        elif name.endswith("_lots"):
            chosen.append(f"{_divided(name, scales[1], 'size_scale')} AS {_friendly(name)}")
        elif name == "side":
            cases = " ".join(f"WHEN {code} THEN '{text}'" for code, text in SIDE_NAMES.items())
            chosen.append(f"CASE side {cases} END AS side")
        elif name in {"trust", "previous", "current"} and (kind, name) != ("books", "previous"):
            chosen.append(f"{_TRUST}[{name} + 1] AS {name}")
        elif name != "unified":
            chosen.append(name)
    scaled = [name for name, *_ in KINDS[kind] if name.endswith(("_ticks", "_lots"))]
    row = ["file_row_number AS row_number"] if kind == "books" else []
    return chosen + scaled + row


def _friendly(name: str) -> str:
    return _FRIENDLY.get(name, name.removesuffix("_lots").replace("_size", "_quantity"))


def _divided(units: str, scale: int | None, column: str) -> str:
    """Return the nearest float: an exact power of ten divides, or multiplies."""
    if scale is None:
        return (
            f"CASE WHEN {column} < 0 THEN {units} * pow(10::DOUBLE, -{column}) "
            f"ELSE {units} / pow(10::DOUBLE, {column}) END"
        )
    return f"{units} * 1e{-int(scale)}" if scale < 0 else f"{units} / 1e{int(scale)}"


def _empty(kind: str) -> str:
    """Return a SELECT of no rows with the columns a full one has."""
    fields = ", ".join(f"NULL::{_SQL_TYPES[each.type]} AS {each.name}" for each in KINDS[kind])
    named = ", ".join(_columns(kind, (0, 0))).replace("file_row_number AS", "0::BIGINT AS")
    return (
        "SELECT venue, symbol, unified, date, make_timestamp_ns(ts_ns) AS ts, ts_ns, "
        f"{named} FROM (SELECT NULL::VARCHAR AS venue, NULL::VARCHAR AS symbol, "
        f"NULL::DATE AS date, NULL::BIGINT AS ts_ns, {fields}) WHERE false"
    )
