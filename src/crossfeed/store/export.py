"""Tables out of a store, in the forms other programs read."""

# SQL is put together from this module's own texts only; what users say goes in as parameters.
# ruff: noqa: S608
from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from crossfeed.errors import ConfigError, StoreError
from crossfeed.store.moments import Moment, moment_ns
from crossfeed.store.packages import package
from crossfeed.store.selection import check_names

if TYPE_CHECKING:
    from crossfeed.store.query import Store

__all__ = ["FORMATS", "export_hftbacktest", "write_batches", "write_table"]

FORMATS: Final = ("csv", "json", "parquet", "arrow")
_BATCH_ROWS: Final = 10_000
# The event record and flags of hftbacktest 2.x:
# https://hftbacktest.readthedocs.io/en/latest/data.html, checked 2026-11-22.
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT = 1, 2, 3, 4
_BUY, _SELL = 1 << 29, 1 << 28
_LOCAL, _EXCHANGE = 1 << 30, 1 << 31


def write_table(table: Any, form: str, target: Path | BinaryIO) -> None:  # noqa: ANN401 - pyarrow
    """Write an Arrow table as CSV, JSON lines, Parquet or an Arrow file; see `write_batches`.

    Raises:
        ConfigError: No such format.
        StoreError: It cannot be written.
    """
    write_batches(table.to_reader(), form, target)


def write_batches(
    reader: Any,  # noqa: ANN401 - pyarrow
    form: str,
    target: Path | BinaryIO,
    on_rows: Callable[[int], None] | None = None,
) -> int:
    """Write record batches as they come; return their rows. Memory: one batch.

    A file appears whole or not at all (temporary file beside it, then rename).

    Args:
        reader: A `pyarrow.RecordBatchReader`.
        form: One of `FORMATS`.
        target: A file, or an open stream.
        on_rows: Told the rows written so far.

    Raises:
        ConfigError: No such format.
        StoreError: It cannot be written, or the answer's source is damaged.
    """
    if form not in FORMATS:
        raise ConfigError(f"{form!r} is no format: {', '.join(FORMATS)}")
    try:
        if not isinstance(target, Path):
            return _write(reader, form, target, on_rows)
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            staged = Path(file.name)
            try:
                rows = _write(reader, form, file.file, on_rows)
                staged.chmod(0o666 & ~_umask())
                staged.replace(target)
            except BaseException:
                staged.unlink(missing_ok=True)
                raise
    except (package("pyarrow").ArrowException, package("duckdb").Error) as error:
        raise StoreError(f"query: {error}") from error
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error
    return rows


def _umask() -> int:
    """Return the process's mask: temporary files are for their owner only, answers are not."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _write(
    reader: Any,  # noqa: ANN401 - pyarrow
    form: str,
    sink: BinaryIO | Any,  # noqa: ANN401 - whatever can be written to
    on_rows: Callable[[int], None] | None,
) -> int:
    rows = 0
    with _writer(form, sink, reader.schema) as write:
        for batch in reader:
            write(batch)
            rows += batch.num_rows
            if on_rows is not None:
                on_rows(rows)
    sink.flush()
    return rows


@contextmanager
def _writer(form: str, sink: Any, schema: Any) -> Generator[Callable[[Any], None]]:  # noqa: ANN401 - pyarrow
    if form == "json":
        yield lambda batch: _write_lines(batch, sink)
        return
    if form == "csv":
        made = package("pyarrow.csv").CSVWriter(sink, schema)
    elif form == "parquet":
        made = package("pyarrow.parquet").ParquetWriter(sink, schema, compression="zstd")
    else:
        made = package("pyarrow.ipc").new_file(sink, schema)
    with made as writer:
        yield writer.write_batch if form == "parquet" else writer.write


def _write_lines(batch: Any, sink: Any) -> None:  # noqa: ANN401 - pyarrow
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        text = io.StringIO()
        for row in batch.slice(start, _BATCH_ROWS).to_pylist():
            text.write(json.dumps(row, default=_plain) + "\n")
        sink.write(text.getvalue().encode())


def _plain(value: object) -> str:
    """Write what JSON has no word for: times in ISO, everything else as its text."""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def export_hftbacktest(
    store: Store,
    path: Path,
    symbol: str,
    *,
    venue: str,
    start: Moment | None = None,
    end: Moment | None = None,
) -> int:
    """Write the trades and book changes of one market as hftbacktest's npz; return the rows.

    Each row is an event with the venue's time and ours, ordered by both as hftbacktest wants them:
    where the two orders differ, an event stands twice, once for each side. An image of the book is
    a clearing of both sides and its levels.

    Raises:
        ConfigError: A time that cannot be read, a symbol or venue that is not there.
        StoreError: There is nothing in that time; it cannot be read or written.
    """
    np = package("numpy")
    dtype = np.dtype(
        [
            ("ev", "u8"),
            ("exch_ts", "i8"),
            ("local_ts", "i8"),
            ("px", "f8"),
            ("qty", "f8"),
            ("order_id", "u8"),
            ("ival", "i8"),
            ("fval", "f8"),
        ],
        align=True,
    )
    values = {
        "symbol": symbol,
        "venue": venue,
        "start": 0 if start is None else moment_ns(start),
        "end": 2**63 - 1 if end is None else moment_ns(end),
    }
    check_names(store.root, store.files(), symbol, venue)
    found = store.sql(_HFTBACKTEST, values)
    if not found.num_rows:
        said = f"no trades and no books of {symbol} at {venue} in that time"
        raise StoreError(f"{store.root}: {said}")
    rows = np.zeros(found.num_rows, dtype)
    for name in ("ev", "exch_ts", "local_ts", "px", "qty"):
        rows[name] = found[name].to_numpy()
    # What cannot be: received before it happened. Clocks differ; hftbacktest wants an order.
    rows["local_ts"] = np.maximum(rows["local_ts"], rows["exch_ts"])
    ordered = _both_orders(rows)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, data=ordered)
    staged = path.with_name(f".{path.name}.new")
    try:
        staged.write_bytes(buffer.getvalue())
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}") from error
    return int(ordered.size)


def _both_orders(rows: Any) -> Any:  # noqa: ANN401 - numpy
    """Flag rows as seen by exchange and trader; split those that the two see in another order."""
    np = package("numpy")
    by_local = rows[np.argsort(rows["local_ts"], kind="stable")]
    if (np.diff(by_local["exch_ts"]) >= 0).all():
        by_local["ev"] |= np.uint64(_LOCAL | _EXCHANGE)
        return by_local
    # The latest venue time so far: rows below it arrived out of order and stand twice.
    high = np.maximum.accumulate(by_local["exch_ts"])
    is_late = by_local["exch_ts"] < high
    late = by_local[is_late]
    by_local["ev"] |= np.where(is_late, np.uint64(_LOCAL), np.uint64(_LOCAL | _EXCHANGE))
    late["ev"] |= np.uint64(_EXCHANGE)
    times = np.concatenate([np.where(is_late, high, by_local["exch_ts"]), late["exch_ts"]])
    places = np.concatenate([np.arange(by_local.size), np.full(late.size, -1)])
    return np.concatenate([by_local, late])[np.lexsort((places, times))]


_SIDED: Final = f"CASE side WHEN 'buy' THEN {_BUY} WHEN 'sell' THEN {_SELL} ELSE 0 END"
_CHOSEN: Final = (
    "venue = $venue AND $symbol IN (symbol, unified) AND ts_ns >= $start AND ts_ns < $end"
)
_HFTBACKTEST: Final = f"""
    SELECT ev::UBIGINT AS ev, exch_ts, local_ts, px, qty FROM (
        SELECT {_TRADE} + {_SIDED} AS ev, ts_ns AS exch_ts, ts_recv_ns AS local_ts, price AS px,
            quantity AS qty, 1 AS part, 0 AS event, trade_id AS place
        FROM trades WHERE {_CHOSEN}
        UNION ALL
        SELECT CASE WHEN is_snapshot THEN {_SNAPSHOT} ELSE {_DEPTH} END + {_SIDED}, ts_ns,
            ts_recv_ns, price, quantity, 2, event, row_number
        FROM books WHERE side <> '' AND {_CHOSEN}
        UNION ALL
        SELECT {_CLEAR} + {_SIDED}, any_value(ts_ns), ts_recv_ns,
            CASE side WHEN 'buy' THEN min(price) ELSE max(price) END, 0, 2, event, -1
        FROM books WHERE is_snapshot AND side <> '' AND {_CHOSEN}
        GROUP BY ts_recv_ns, event, side)
    ORDER BY local_ts, part, event, place
"""
