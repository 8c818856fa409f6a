"""`crossfeed query`: SQL over a store, as a table on the terminal or a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossfeed.cli.progress import SetDone, progress_bar
from crossfeed.errors import ConfigError
from crossfeed.store.export import FORMATS, write_batches
from crossfeed.store.query import Store

__all__ = ["form_of", "run_query"]

ROWS_SHOWN_MAX: Final = 200
ROWS_COUNTED_MAX: Final = 10_000_000
SUFFIXES: Final = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
BINARY: Final = frozenset({"parquet", "arrow"})
CONTENTS: Final = (
    "SELECT kind, venue, symbol, any_value(unified) AS unified, sum(rows)::BIGINT AS rows, "
    "sum(bytes)::BIGINT AS bytes, min(first) AS first, max(last) AS last FROM contents "
    "GROUP BY kind, venue, symbol ORDER BY kind, venue, symbol"
)


def form_of(out: Path, form: str, known: Sequence[str]) -> str:
    """Return the format of a file: as said, else as its name ends.

    Raises:
        ConfigError: Neither tells one of `known`.
    """
    chosen = form or SUFFIXES.get(out.suffix, "")
    if not chosen:
        raise ConfigError(
            f"{out.name!r} does not tell a format: {', '.join(SUFFIXES)}; name one",
            field="--format",
        )
    if chosen not in known:
        raise ConfigError(f"{chosen!r} is no format: {', '.join(known)}", field="--format")
    return chosen


def run_query(sql: str, store: Path, form: str, out: Path | None) -> int:
    """Answer one query, or without one say what the store holds; return 0.

    Raises:
        ConfigError: An unknown format, or bytes meant for a terminal.
        StoreError: The query is wrong, or the store cannot be read.
    """
    known = ("table", *FORMATS)
    if out is not None and form == "table":
        raise ConfigError(f"a table is for the screen: {', '.join(FORMATS)}", field="--format")
    chosen = form_of(out, form, known) if out else form or "table"
    if chosen not in known:
        raise ConfigError(f"{chosen!r} is no format: {', '.join(known)}", field="--format")
    if chosen in BINARY and out is None and sys.stdout.isatty():
        raise ConfigError(f"{chosen} is not for a terminal: name a file", field="--out")
    with Store(store) as opened:
        if not sql and not opened.files():
            print(f"{store}: empty; crossfeed compact or import fills it", file=sys.stderr)
            return 0
        if chosen == "table":
            with progress_bar("asking", "rows", is_passing=True) as set_done:
                table, count = _read(opened.stream(sql or CONTENTS), set_done)
            _show(table, count)
            return 0
        answer = opened.stream(sql or CONTENTS)
        if out is not None:
            with progress_bar("writing", "rows") as set_done:
                rows = write_batches(answer, chosen, out, lambda done: set_done(done, 0))
            print(f"{rows:,} rows written to {out}", file=sys.stderr)
        else:
            write_batches(answer, chosen, sys.stdout.buffer)
            sys.stdout.flush()
    return 0


def _read(answer: Any, set_done: SetDone) -> tuple[Table, int]:  # noqa: ANN401 - pyarrow
    """Return the first rows as a table, and how many rows there are."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in answer.schema:
        is_number = str(field.type).startswith(("int", "double", "float", "decimal"))
        table.add_column(escape(field.name), justify="right" if is_number else "left")
    count = 0
    for batch in answer:
        for row in batch.slice(0, max(0, ROWS_SHOWN_MAX - count)).to_pylist():
            table.add_row(*map(_cell, row.values()))
        count += batch.num_rows
        set_done(count, 0)
        if count > ROWS_COUNTED_MAX:
            break
    return table, count


def _show(table: Table, count: int) -> None:
    """Print a table, as wide as it needs where no terminal limits it."""
    console = Console() if sys.stdout.isatty() else Console(width=10_000)
    console.print(table)
    if count > ROWS_SHOWN_MAX:
        more = "more than " if count > ROWS_COUNTED_MAX else ""
        print(
            f"... {ROWS_SHOWN_MAX} of {more}{min(count, ROWS_COUNTED_MAX):,} rows; all of them "
            "with --out FILE"
        )


def _cell(value: object) -> str:
    """Return a value as people read it: of floats the 15 digits that mean something."""
    if isinstance(value, float):
        return f"{value:.15g}"
    return "" if value is None else escape(str(value))
