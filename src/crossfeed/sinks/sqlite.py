"""Events into one SQLite file: no server, read by everything."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from crossfeed.errors import SinkError, SinkUnavailableError
from crossfeed.model.events import MarketData
from crossfeed.sinks.base import TABLES_BY_NAME, rows_by_table

__all__ = ["SqliteSink"]

_TYPES: Final = {
    "id": "BLOB PRIMARY KEY",
    "time": "TEXT",
    "text": "TEXT NOT NULL",
    "number": "REAL",
    "int": "INTEGER",
}
_PASSING: Final = ("locked", "busy", "disk i/o", "full")
BUSY_S: Final = 5.0


class SqliteSink:
    """Writes trades, quotes, tickers, candles, gaps and status. Prices are REAL: the floats.

    Times are ISO texts, UTC, which sort as they happened.

    Args:
        path: The database file; made if need be.
        name: For statistics and errors.
    """

    def __init__(self, path: str | Path, *, name: str = "sqlite") -> None:
        """Name the file; nothing is opened."""
        self.name = name
        self.path = str(path)
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        """Return where."""
        return f"SqliteSink({self.path!r})"

    def open(self) -> None:
        """Open the file and make missing tables.

        Raises:
            SinkUnavailableError: It is locked or cannot be opened now.
            SinkError: It is no database.
        """
        self.close()
        try:
            # The runner's thread is not the one that made the sink; one thread at a time uses it.
            connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            with connection:
                for table in TABLES_BY_NAME.values():
                    columns = ", ".join(f'"{name}" {_TYPES[sort]}' for name, sort in table.columns)
                    connection.execute(f"CREATE TABLE IF NOT EXISTS {table.name} ({columns})")
                    connection.execute(
                        f"CREATE INDEX IF NOT EXISTS {table.name}_by_time "
                        f"ON {table.name} (venue, symbol, ts)"
                    )
        except sqlite3.Error as error:
            self.close()
            raise _told(self.path, error) from error

    def write(self, events: Sequence[MarketData]) -> int:
        """Insert a batch in one transaction; see `Sink.write`.

        Raises:
            SinkUnavailableError: Locked, full, I/O error, not open.
            SinkError: Anything else.
        """
        connection = self._connection
        if connection is None:
            raise SinkUnavailableError(f"{self.path}: not open")
        rows = rows_by_table(events)
        before = connection.total_changes
        try:
            with connection:
                for table, values in rows.items():
                    marks = ", ".join("?" * len(values[0]))
                    connection.executemany(
                        f"INSERT OR IGNORE INTO {table} VALUES ({marks})",  # noqa: S608 - our names
                        [tuple(map(_plain, each)) for each in values],
                    )
        except sqlite3.Error as error:
            raise _told(self.path, error) from error
        return connection.total_changes - before

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value


def _told(path: str, error: sqlite3.Error) -> SinkError:
    is_passing = any(word in str(error).lower() for word in (*_PASSING, "unable to open"))
    kind = SinkUnavailableError if is_passing else SinkError
    return kind(f"{path}: {error}")
