"""`crossfeed query`: SQL over a store, as a table on the terminal or a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossfeed.errors import ConfigError
from crossfeed.store.export import FORMATS, write_table
from crossfeed.store.query import Store

__all__ = ["run_query"]

ROWS_SHOWN_MAX: Final = 200
SUFFIXES: Final = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
BINARY: Final = frozenset({"parquet", "arrow"})


def run_query(sql: str, store: Path, form: str, out: Path | None) -> int:
    """Answer one query; return 0.

    Raises:
        ConfigError: An unknown format, or bytes meant for a terminal.
        StoreError: The query is wrong, or the store cannot be read.
    """
    chosen = form or (SUFFIXES.get(out.suffix, "arrow") if out else "table")
    known = ("table", *FORMATS)
    if chosen not in known:
        raise ConfigError(f"{chosen!r} is no format: {', '.join(known)}", field="--format")
    if chosen == "table" and out is not None:
        raise ConfigError(f"a table is for the screen: {', '.join(FORMATS)}", field="--format")
    if chosen in BINARY and out is None and sys.stdout.isatty():
        raise ConfigError(f"{chosen} is not for a terminal: name a file", field="--out")
    with Store(store) as opened:
        answer = opened.sql(sql)
    if chosen == "table":
        _show(answer)
    elif out is not None:
        write_table(answer, chosen, out)
        print(f"{answer.num_rows:,} rows written to {out}", file=sys.stderr)
    else:
        write_table(answer, chosen, sys.stdout.buffer)
        sys.stdout.flush()
    return 0


def _show(answer: Any) -> None:  # noqa: ANN401 - pyarrow brings no types
    """Print the first rows as a table, as wide as it needs where no terminal limits it."""
    console = Console() if sys.stdout.isatty() else Console(width=10_000)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for field in answer.schema:
        is_number = str(field.type).startswith(("int", "double", "float", "decimal"))
        table.add_column(escape(field.name), justify="right" if is_number else "left")
    for row in answer.slice(0, ROWS_SHOWN_MAX).to_pylist():
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    console.print(table)
    if answer.num_rows > ROWS_SHOWN_MAX:
        print(f"... {ROWS_SHOWN_MAX} of {answer.num_rows:,} rows; all of them with --format csv")
