"""Asking a store: typed questions and free SQL, read-only, answers as Arrow tables."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from crossfeed.errors import ConfigError, StoreError
from crossfeed.store.engine import interruptible, reader_of
from crossfeed.store.layout import Commit, StoredFile, read_commits
from crossfeed.store.moments import Moment, interval_ns, moment_ns
from crossfeed.store.packages import package
from crossfeed.store.schema import KINDS
from crossfeed.store.selection import (
    MARKET,
    ORDERS,
    check_names,
    choose,
    conditions,
    span_ns,
)
from crossfeed.store.tables import contents_table, exact, instrument_table
from crossfeed.store.views import (
    BARS,
    MACROS,
    book_select,
    kind_select,
    literal,
    spread_select,
    view_name,
)

__all__ = ["Store", "exact"]

DAY_NS: Final = 86_400 * 10**9
NS_MAX: Final = 2**63 - 1
BATCH_ROWS: Final = 100_000
ATTEMPTS: Final = 10
_NOBODY: Final[dict[tuple[str, str], list[StoredFile]]] = {("", ""): []}


class Store:
    """A store as it was when opened or last refreshed; a writer at work does not disturb.

    A store opened long ago goes on answering: where a merge has deleted its files meanwhile, it
    refreshes itself.

    One thread at a time. Answers are `pyarrow.Table`: `.to_pandas()`, `polars.from_arrow(table)`,
    `table["price"].to_numpy()`. Symbols may be unified ("BTC/USD": all venues that trade it) or a
    venue's own ("BTC-USD"). Times select `start <= ts < end` by event time, the receive time where
    the venue gives none.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the commits and set up the views.

        Raises:
            StoreError: There is no store, or it is damaged.
            ConfigError: duckdb or pyarrow is not installed.
        """
        self.root = Path(path).resolve()
        if not (self.root / "commits").is_dir():
            if next(self.root.glob("segment-*.cfj*"), None) is not None:
                raise StoreError(
                    f"{path}: a journal, not a store: crossfeed compact makes one of it"
                )
            raise StoreError(f"{path}: no store here (crossfeed compact or import makes one)")
        self._duckdb = package("duckdb")
        package("pyarrow")
        self._files: dict[str, list[StoredFile]] = {}
        self._commits: list[Commit] = []
        self._connection: Any = self._duckdb.connect(":memory:")
        try:
            self._lock_in()
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        """Return where and how much."""
        files = sum(len(files) for files in self._files.values())
        return f"Store({str(self.root)!r}, {len(self._commits)} commits, {files} files)"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Free the engine's memory. May be called again."""
        self._connection.close()

    def refresh(self) -> None:
        """See what was committed since.

        Raises:
            StoreError: The store is damaged.
        """
        self._tried(self._load, lambda: None)

    def _load(self) -> None:
        self._commits = read_commits(self.root)
        self._files = {kind: [] for kind in KINDS}
        for commit in self._commits:
            for file in commit.files:
                self._files[file.kind].append(file)
        for kind, files in self._files.items():
            select = kind_select(self.root, kind, files)
            self._run(f"CREATE OR REPLACE VIEW {view_name(kind)} AS {select}")
        self._connection.register("instruments", instrument_table(self._commits))
        self._connection.register("contents", contents_table(self.files()))
        for macro in MACROS:
            self._run(macro)

    def _has_moved(self, error: StoreError) -> bool:
        """Say whether an error comes from files that a merge has deleted meanwhile."""
        is_about_files = isinstance(error.__cause__, self._duckdb.IOException)
        return is_about_files and not all((self.root / each.path).exists() for each in self.files())

    def _explained(self, error: StoreError) -> StoreError:
        """Return the error, or the file that explains it: gone, or not as long as it was."""
        about_files = (self._duckdb.IOException, self._duckdb.InvalidInputException)
        if isinstance(error.__cause__, about_files):
            for commit in self._commits:
                for file in commit.files:
                    path = self.root / file.path
                    size = path.stat().st_size if path.exists() else -1
                    if size != file.bytes:
                        what = "is gone" if size < 0 else f"has {size:,} bytes, not {file.bytes:,}"
                        return StoreError(
                            f"{path} {what}: restore it; or delete commits/{commit.source}.json "
                            "and compact (or import) once more what it was made of"
                        )
        return error

    def files(self, kind: str | None = None) -> list[StoredFile]:
        """Return the stored files of one kind, or all."""
        return [each for name in ([kind] if kind else KINDS) for each in self._files[name]]

    def sql(self, query: str, parameters: dict[str, Any] | list[Any] | None = None) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Answer one SELECT; values go in as `$name` or `?` parameters.

        The engine sees the store's files only, can write none, and reads no other variable, file or
        address. The views are those of `crossfeed.store.views`.

        Raises:
            StoreError: The query is wrong, or not a single SELECT.
        """
        self._check_query(query)
        return self._current(lambda: self._run(query, parameters))

    def stream(
        self,
        query: str,
        parameters: dict[str, Any] | list[Any] | None = None,
        *,
        batch_rows: int = BATCH_ROWS,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Answer one SELECT in batches (a `pyarrow.RecordBatchReader`), for more than memory holds.

        Read it to its end, or close it, before the next question.

        Raises:
            StoreError: See `sql`. Damage further on is pyarrow's error, while it is read.
        """
        self._check_query(query)
        return self._current(lambda: self._run(query, parameters, batch_rows))

    def stream_rows(
        self,
        kind: str,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return what `rows` does, in batches; see `stream`."""
        return self._select(kind, symbol, start, end, venue, batch_rows=BATCH_ROWS)

    def _check_query(self, query: str) -> None:
        try:
            statements = self._connection.extract_statements(query)
        except self._duckdb.Error as error:
            raise StoreError(f"query: {error}") from error
        select = self._duckdb.StatementType.SELECT
        if len(statements) != 1 or statements[0].type != select:
            raise StoreError("query: one SELECT (or WITH ... SELECT), the store is read-only")

    def trades(
        self,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return trades in the order of time, those of one time by id.

        Raises:
            ConfigError: A time that cannot be read.
            UnknownSymbolError: Nothing of that symbol is stored, whatever the time.
            UnknownVenueError: Nothing of that venue is.
            StoreError: A file is damaged.
        """
        return self._select("trades", symbol, start, end, venue)

    def quotes(
        self,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return best bids and asks in the order of time; see `trades`."""
        return self._select("quotes", symbol, start, end, venue)

    def rows(
        self,
        kind: str,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return what was stored of any kind ("agg_trades", "tickers", "books"...) by time.

        Raises:
            ConfigError: No such kind, or what `trades` raises.
        """
        return self._select(kind, symbol, start, end, venue)

    def contents(self) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return what is there: rows, bytes, first and last time by kind, venue, symbol and day."""
        return contents_table(self.files())

    def gaps(
        self,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return the holes of the feed, each as last known, in the order they were found."""
        self._check(symbol, venue)
        where, values = conditions(symbol, start, end, venue, time="ts_found_ns")
        asked = f"SELECT * FROM gaps{where} ORDER BY ts_found_ns, gap_id"  # noqa: S608
        return self._current(lambda: self._run(asked, values))

    def candles(
        self,
        symbol: str,
        interval: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return bars made of trades, per venue: open, high, low, close, volume, vwap, trades.

        `interval` has any length: "250ms", "7s", "1m", "4h", "1d"; bars start at whole multiples of
        it since 1970 UTC. Intervals without trades have no bar.

        Raises:
            ConfigError: An interval or time that cannot be read.
        """
        return self._current(lambda: self._bars(BARS, symbol, interval, (start, end), venue))

    def vwap(
        self,
        symbol: str,
        interval: str,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return volume-weighted prices per venue and interval; see `candles`."""
        wanted = (
            "sum(price * quantity) / nullif(sum(quantity), 0) AS vwap, "
            "fsum(quantity) AS volume, count(*) AS trades"
        )
        return self._current(lambda: self._bars(wanted, symbol, interval, (start, end), venue))

    def book(self, symbol: str, at: Moment, *, venue: str) -> Any:  # noqa: ANN401 - pyarrow
        """Return the book at a moment (of receipt): side, price, quantity, best first, bids first.

        Built of the last whole image before it and all changes since. Empty where there is no
        image. A venue that names only the best n levels (Kraken) leaves levels beyond them
        unproven: look at the best n.

        Raises:
            ConfigError: A time that cannot be read.
        """
        at_ns = moment_ns(at)
        self._check(symbol, venue)
        values = {"venue": venue, "symbol": symbol, "at": at_ns}

        def ask() -> Any:  # noqa: ANN401 - pyarrow brings no types
            files = self._since_image(symbol, venue, at_ns)
            source = f"({kind_select(self.root, 'books', files)})"
            return self._run(book_select(source, where=MARKET, at="$at"), values)

        return self._current(ask)

    def _since_image(self, symbol: str, venue: str, at_ns: int) -> list[StoredFile]:
        """Return the files from the last image before a moment on: days are asked backwards."""
        chosen: list[StoredFile] = []
        # A venue's clock may be ahead of ours: files are known by its times, the moment by ours.
        files = choose(self._files["books"], symbol, None, min(at_ns + DAY_NS, NS_MAX), venue)
        days = sorted({file.date for file in files}, reverse=True)
        values = {"venue": venue, "symbol": symbol, "at": at_ns}
        for day in days:
            part = [file for file in files if file.date == day]
            chosen += part
            source = kind_select(self.root, "books", part)
            found = self._run(
                f"SELECT count(*) FROM ({source}) WHERE {MARKET} AND is_snapshot "  # noqa: S608
                "AND ts_recv_ns <= $at",
                values,
            )
            if found[0][0].as_py():
                # A message of the day before may have come after midnight.
                earlier = [each for each in files if each.date < day]
                newest = max((each.date for each in earlier), default="")
                return chosen + [each for each in earlier if each.date == newest]
        return chosen

    def spread(
        self,
        symbol: str,
        interval: str,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return the best bid and ask over all venues per interval, and who has them.

        Each venue takes part with its last sound quote of the interval; negative spreads are
        crossings between venues.

        Raises:
            ConfigError: An interval or time that cannot be read.
            UnknownSymbolError: Nothing of that unified symbol is stored.
        """
        width = interval_ns(interval)
        self._check(symbol, None)
        where, values = conditions(symbol, start, end, None)
        span = span_ns(start, end)

        def ask() -> Any:  # noqa: ANN401 - pyarrow brings no types
            source = kind_select(
                self.root, "quotes", choose(self._files["quotes"], symbol, *span, None)
            )
            bucket = f"ts_ns // {width} * {width}"
            return self._run(
                spread_select(f"({source})", bucket, where.removeprefix(" WHERE ")), values
            )

        return self._current(ask)

    def _bars(
        self,
        wanted: str,
        symbol: str,
        interval: str,
        span: tuple[Moment | None, Moment | None],
        venue: str | None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        width = interval_ns(interval)
        self._check(symbol, venue)
        markets: dict[tuple[str, str], list[StoredFile]] = {}
        for file in choose(self._files["trades"], symbol, *span_ns(*span), venue):
            markets.setdefault((file.venue, file.symbol), []).append(file)
        parts: list[str] = []
        values: dict[str, Any] = {}
        # One part for each market: grouping by a number is twice as fast as by names as well.
        for index, ((of_venue, of_symbol), files) in enumerate(markets.items() or _NOBODY.items()):
            is_plain = all(file.unified == files[0].unified[:1] for file in files)
            # Where all rows are of one name, no row needs to be asked for it.
            asked = None if is_plain else symbol
            where, given = conditions(asked, *span, None)
            names = (of_venue, of_symbol, files[0].unified[0] if is_plain and files else "")
            values |= given | {f"n{index}_{place}": name for place, name in enumerate(names)}
            parts.append(
                f"SELECT $n{index}_0::VARCHAR AS venue, $n{index}_1::VARCHAR AS symbol, "  # noqa: S608
                f"{f'$n{index}_2::VARCHAR' if is_plain else 'max(unified)'} AS unified, "
                f"ts_ns // {width} * {width} AS start_ns, {wanted} "
                f"FROM ({kind_select(self.root, 'trades', files)}){where} GROUP BY start_ns"
            )
            if not is_plain:
                del values[f"n{index}_2"]
        return self._run(
            "SELECT venue, symbol, unified, make_timestamp_ns(start_ns) AS ts, "  # noqa: S608
            f"* EXCLUDE (venue, symbol, unified) FROM ({' UNION ALL '.join(parts)}) "
            "ORDER BY start_ns, venue, symbol",
            values,
        )

    def _select(
        self,
        kind: str,
        symbol: str | None,
        start: Moment | None,
        end: Moment | None,
        venue: str | None,
        *,
        batch_rows: int = 0,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        if kind not in KINDS:
            raise ConfigError(f"no kind {kind!r}: {', '.join(KINDS)}", field="kind")
        self._check(symbol, venue)
        where, values = conditions(symbol, start, end, venue)

        def ask() -> Any:  # noqa: ANN401 - pyarrow brings no types
            files = choose(self._files[kind], symbol, *span_ns(start, end), venue)
            source = kind_select(self.root, kind, files)
            asked = f"SELECT * FROM ({source}){where} ORDER BY {ORDERS[kind]}"  # noqa: S608
            return self._run(asked, values, batch_rows)

        return self._current(ask)

    def _current(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Ask; once more where a merge has deleted files that were there when this was opened."""
        return self._tried(ask, self.refresh)

    def _tried(self, ask: Callable[[], Any], again: Callable[[], object]) -> Any:  # noqa: ANN401 - pyarrow brings no types
        for left in reversed(range(ATTEMPTS)):
            try:
                return ask()
            except StoreError as error:
                if not left or not self._has_moved(error):
                    raise self._explained(error) from error.__cause__
                again()
        raise AssertionError("the last attempt returns or raises")

    def _check(self, symbol: str | None, venue: str | None) -> None:
        check_names(self.root, self.files(), symbol, venue)

    def _run(self, query: str, parameters: Any = None, batch_rows: int = 0) -> Any:  # noqa: ANN401 - duckdb, pyarrow
        try:
            relation = self._connection.sql(query, params=parameters or None)
            if relation is None:
                return None
            if batch_rows:
                return reader_of(self._connection, relation, batch_rows)
            return interruptible(self._connection, relation.to_arrow_table)
        except self._duckdb.CatalogException as error:
            first = str(error).partition("\n")[0]
            views = ", ".join([*map(view_name, KINDS), "gaps", "instruments", "contents"])
            tables = "ohlcv(...), vwap(...), book_at(...), spread(...)"
            raise StoreError(f"query: {first} (there are {views}, {tables})") from error
        except self._duckdb.Error as error:
            raise StoreError(f"query: {error}") from error

    def _lock_in(self) -> None:
        """Give the engine the store's folder and nothing else, for good."""
        connection = self._connection
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = {literal(tempfile.gettempdir())}")
        connection.execute(f"SET allowed_directories = [{literal(str(self.root))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
