"""Events into PostgreSQL by COPY; the tables are laid out as TimescaleDB wants them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from crossfeed.errors import ConfigError, SinkError, SinkUnavailableError
from crossfeed.model.events import MarketData
from crossfeed.sinks.base import TABLES_BY_NAME, SqlTable, rows_by_table

__all__ = ["PostgresSink"]

_TYPES: Final = {
    "id": "bytea NOT NULL",
    "time": "timestamptz",
    "text": "text NOT NULL",
    "number": "numeric",
    "int": "bigint",
}
CONNECT_S: Final = 10
STATEMENT_MS: Final = 30_000
_PASSING: Final = frozenset({"08", "40", "53", "55", "57", "58"})


class PostgresSink:
    """Writes trades, quotes, tickers, candles, gaps and status. Prices are numeric: every digit.

    A batch is copied into a temporary table and inserted from there where it is not there yet, all
    in one transaction. The key of each table is (event_id, ts), with the time in it because
    TimescaleDB demands so: `SELECT create_hypertable('crossfeed.trades', by_range('ts'))`.

    Args:
        dsn: "postgresql://user@host/database" or "host=... dbname=...". Passwords are better kept
            in PGPASSWORD or a pgpass file.
        schema: Where the tables are made.
        name: For statistics and errors; errors never show the dsn.

    Raises:
        ConfigError: psycopg is not installed, or the schema's name is no plain word.
    """

    def __init__(self, dsn: str, *, schema: str = "crossfeed", name: str = "postgres") -> None:
        """Keep the address; nothing is opened."""
        if not (schema.isascii() and schema.isidentifier() and schema == schema.lower()):
            raise ConfigError(f"not a plain lower-case name: {schema[:40]!r}", field="schema")
        try:
            self._psycopg: Any = import_module("psycopg")
        except ImportError as error:
            raise ConfigError(
                'PostgreSQL needs psycopg: pip install "crossfeed[postgres]"'
            ) from error
        self.name = name
        self.schema = schema
        self._dsn = dsn
        self._connection: Any = None

    def __repr__(self) -> str:
        """Return which; never the address with its password."""
        return f"PostgresSink(schema={self.schema!r}, name={self.name!r})"

    def open(self) -> None:
        """Connect and make missing tables.

        Raises:
            SinkUnavailableError: The server cannot be reached, or lets nobody in: a wrong password
                or database looks the same, is in the text, and may be mended at the server.
            SinkError: It refuses for good (no right to create tables).
        """
        self.close()
        try:
            self._connection = self._psycopg.connect(
                # A server that vanishes without a word is given up like one that is too slow.
                self._dsn,
                connect_timeout=CONNECT_S,
                tcp_user_timeout=STATEMENT_MS,
            )
            with self._connection.transaction(), self._connection.cursor() as cursor:
                # Two collectors that start together must not both make the tables.
                cursor.execute("SELECT pg_advisory_xact_lock(hashtext('crossfeed.sinks'))")
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {self.schema}")
                for table in TABLES_BY_NAME.values():
                    self._create(cursor, table)
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = {STATEMENT_MS}")
        except self._psycopg.Error as error:
            self.close()
            raise self._told(error) from error

    def write(self, events: Sequence[MarketData]) -> int:
        """Insert a batch in one transaction; see `Sink.write`.

        Raises:
            SinkUnavailableError: The connection is gone, the server overloaded or full.
            SinkError: The server refuses the rows for good.
        """
        if self._connection is None:
            raise SinkUnavailableError(f"{self.name}: not connected")
        rows, new = rows_by_table(events), 0
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                for name in sorted(rows):
                    new += self._copy(cursor, name, rows[name])
        except self._psycopg.Error as error:
            raise self._told(error) from error
        return new

    def close(self) -> None:
        """Disconnect."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _create(self, cursor: Any, table: SqlTable) -> None:  # noqa: ANN401 - psycopg is optional
        columns = ", ".join(f'"{name}" {_TYPES[sort]}' for name, sort in table.columns)
        target = f"{self.schema}.{table.name}"
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {target} ({columns}, PRIMARY KEY (event_id, ts))"
        )
        cursor.execute(
            f"CREATE INDEX IF NOT EXISTS {table.name}_by_time ON {target} (venue, symbol, ts DESC)"
        )
        cursor.execute(
            f"CREATE TEMPORARY TABLE incoming_{table.name} (LIKE {target}) ON COMMIT DELETE ROWS"
        )

    def _copy(self, cursor: Any, name: str, rows: list[tuple[Any, ...]]) -> int:  # noqa: ANN401 - as above
        with cursor.copy(f"COPY incoming_{name} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(
            f"INSERT INTO {self.schema}.{name} SELECT * FROM incoming_{name} "  # noqa: S608 - ours
            "ON CONFLICT DO NOTHING"
        )
        return int(cursor.rowcount)

    def _told(self, error: Exception) -> SinkError:
        """Say whether it may pass: connection, resources, intervention, conflict."""
        state = str(getattr(error, "sqlstate", None) or "")
        # No state: the connection could not be made, or broke. Classes 08, 40, 53, 55, 57, 58 of
        # https://www.postgresql.org/docs/15/errcodes-appendix.html, checked 2026-11-22; 25006: what
        # was the primary server is a standby now.
        is_passing = not state or state[:2] in _PASSING or state == "25006"
        kind = SinkUnavailableError if is_passing else SinkError
        text = " ".join(str(error).split()) or type(error).__name__
        return kind(f"{self.name}: {text}" + (f" [{state}]" if state else ""))
