"""Tables that are not Parquet: instruments, contents, and exact decimals out of an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from crossfeed.errors import ConfigError
from crossfeed.model.instrument import Instrument
from crossfeed.store.layout import Commit, StoredFile
from crossfeed.store.packages import package

__all__ = ["contents_table", "exact", "instrument_table"]

LONG: Final = "long_decimals"
_INSTRUMENT_FIELDS: Final = tuple(Instrument.__struct_fields__)


def exact(table: Any, name: str) -> list[Decimal | None]:  # noqa: ANN401 - pyarrow
    """Return a price or size column of an answer as the venue's decimals, no digit lost.

    Args:
        table: An answer that still has the stored integers (`price_ticks`, `price_scale`; and
            `long_decimals`, which holds what is too long for them).
        name: "price", "quantity", "bid_price", "open", ...

    Raises:
        ConfigError: The table has no such integers.
    """
    aliases = {"quantity": "size_lots", "volume": "volume_lots"}
    lots = aliases.get(name, name.replace("_quantity", "_size") + "_lots")
    column, scale = (
        (f"{name}_ticks", "price_scale")
        if f"{name}_ticks" in table.column_names
        else (lots, "size_scale")
    )
    if column not in table.column_names or scale not in table.column_names:
        raise ConfigError(f"the table has no exact {name} (it needs {column} and {scale})")
    pairs = zip(table[column].to_pylist(), table[scale].to_pylist(), strict=True)
    found = [None if units is None else _decimal(units, digits) for units, digits in pairs]
    if LONG in table.column_names and table[LONG].null_count < len(table):
        for row, text in enumerate(table[LONG].to_pylist()):
            said = msgspec.json.decode(text).get(column) if text else None
            found[row] = Decimal(said) if said else found[row]
    return found


def _decimal(units: int, digits: int) -> Decimal:
    """Return `units / 10**digits`, exact whatever the precision of the decimal context is."""
    return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -digits))


def instrument_table(commits: Sequence[Commit]) -> Any:  # noqa: ANN401 - pyarrow
    """Return the instruments as last known; later commits replace earlier ones."""
    pa = package("pyarrow")
    known = {(each.venue, each.symbol): each for commit in commits for each in commit.instruments}
    rows: list[dict[str, Any]] = [msgspec.to_builtins(each) for _, each in sorted(known.items())]
    types = {"price_scale": pa.int64(), "size_scale": pa.int64(), "aliases": pa.list_(pa.string())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in _INSTRUMENT_FIELDS])
    for row, instrument in zip(rows, [each for _, each in sorted(known.items())], strict=True):
        row["unified"] = instrument.unified
    return pa.Table.from_pylist(rows, schema=schema.append(pa.field("unified", pa.string())))


def contents_table(files: Iterable[StoredFile]) -> Any:  # noqa: ANN401 - pyarrow
    """Return what is there, by kind, venue, symbol and day."""
    pa = package("pyarrow")
    found: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for file in files:
        key = (file.kind, file.venue, file.symbol, file.date)
        row = found.setdefault(
            key,
            {
                **dict(zip(("kind", "venue", "symbol", "date"), key, strict=True)),
                "unified": next(iter(file.unified), ""),
                "rows": 0,
                "bytes": 0,
                "files": 0,
                "first": file.ts_min_ns,
                "last": file.ts_max_ns,
            },
        )
        row["rows"] += file.rows
        row["bytes"] += file.bytes
        row["files"] += 1
        row["first"] = min(row["first"], file.ts_min_ns)
        row["last"] = max(row["last"], file.ts_max_ns)
    text, count, time = pa.string(), pa.int64(), pa.timestamp("ns")
    schema = pa.schema(
        [
            *((name, text) for name in ("kind", "venue", "symbol", "unified", "date")),
            *((name, count) for name in ("rows", "bytes", "files")),
            *((name, time) for name in ("first", "last")),
        ]
    )
    return pa.Table.from_pylist([found[key] for key in sorted(found)], schema=schema)
