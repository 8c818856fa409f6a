"""Asking a store: typed questions and free SQL, read-only, answers as Arrow tables."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from crossfeed.errors import ConfigError, StoreError, UnknownSymbolError, UnknownVenueError
from crossfeed.store.layout import Commit, StoredFile, read_commits
from crossfeed.store.moments import Moment, interval_ns, moment_ns
from crossfeed.store.packages import package
from crossfeed.store.schema import KINDS
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
NAMED_MAX: Final = 5
_MARKET: Final = "venue = $venue AND $symbol IN (symbol, unified)"
ORDER: Final = "ts_ns, venue, ts_recv_ns"
ORDERS: Final = {
    "trades": "ts_ns, venue, trade_id",
    "agg_trades": "ts_ns, venue, trade_id",
    "quotes": "ts_ns, venue, update_id",
    # Changes of a book are only right in the order of arrival.
    "books": "ts_recv_ns, venue, event, row_number",
}
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
            raise StoreError(f"{path}: no store here (crossfeed compact makes one)")
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
        try:
            statements = self._connection.extract_statements(query)
        except self._duckdb.Error as error:
            raise StoreError(f"query: {error}") from error
        select = self._duckdb.StatementType.SELECT
        if len(statements) != 1 or statements[0].type != select:
            raise StoreError("query: one SELECT (or WITH ... SELECT), the store is read-only")
        return self._current(lambda: self._run(query, parameters))

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
        return self._select("trades", symbol, start, end, venue, order=ORDERS["trades"])

    def quotes(
        self,
        symbol: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        venue: str | None = None,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Return best bids and asks in the order of time; see `trades`."""
        return self._select("quotes", symbol, start, end, venue, order=ORDERS["quotes"])

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
        if kind not in KINDS:
            raise ConfigError(f"no kind {kind!r}: {', '.join(KINDS)}", field="kind")
        return self._select(kind, symbol, start, end, venue, order=ORDERS.get(kind, ORDER))

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
        where, values = _where(symbol, start, end, venue, time="ts_found_ns")
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
            return self._run(book_select(source, where=_MARKET, at="$at"), values)

        return self._current(ask)

    def _since_image(self, symbol: str, venue: str, at_ns: int) -> list[StoredFile]:
        """Return the files from the last image before a moment on: days are asked backwards."""
        chosen: list[StoredFile] = []
        # A venue's clock may be ahead of ours: files are known by its times, the moment by ours.
        files = self._chosen("books", symbol, None, min(at_ns + DAY_NS, NS_MAX), venue)
        days = sorted({file.date for file in files}, reverse=True)
        values = {"venue": venue, "symbol": symbol, "at": at_ns}
        for day in days:
            part = [file for file in files if file.date == day]
            chosen += part
            source = kind_select(self.root, "books", part)
            found = self._run(
                f"SELECT count(*) FROM ({source}) WHERE {_MARKET} AND is_snapshot "  # noqa: S608
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
        where, values = _where(symbol, start, end, None)
        span = _ns(start, end)

        def ask() -> Any:  # noqa: ANN401 - pyarrow brings no types
            source = kind_select(self.root, "quotes", self._chosen("quotes", symbol, *span, None))
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
        for file in self._chosen("trades", symbol, *_ns(*span), venue):
            markets.setdefault((file.venue, file.symbol), []).append(file)
        parts: list[str] = []
        values: dict[str, Any] = {}
        # One part for each market: grouping by a number is twice as fast as by names as well.
        for index, ((of_venue, of_symbol), files) in enumerate(markets.items() or _NOBODY.items()):
            is_plain = all(file.unified == files[0].unified[:1] for file in files)
            # Where all rows are of one name, no row needs to be asked for it.
            asked = None if is_plain else symbol
            where, given = _where(asked, *span, None)
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
        order: str,
    ) -> Any:  # noqa: ANN401 - pyarrow brings no types
        self._check(symbol, venue)
        where, values = _where(symbol, start, end, venue)

        def ask() -> Any:  # noqa: ANN401 - pyarrow brings no types
            files = self._chosen(kind, symbol, *_ns(start, end), venue)
            source = kind_select(self.root, kind, files)
            return self._run(f"SELECT * FROM ({source}){where} ORDER BY {order}", values)  # noqa: S608

        return self._current(ask)

    def _current(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - pyarrow brings no types
        """Ask; once more where a merge has deleted files that were there when this was opened."""
        try:
            return ask()
        except StoreError as error:
            if not isinstance(error.__cause__, self._duckdb.IOException):
                raise
            if all((self.root / file.path).exists() for file in self.files()):
                raise
            self.refresh()
            return ask()

    def _check(self, symbol: str | None, venue: str | None) -> None:
        """Tell a name that is nowhere in the store from a market without rows.

        Raises:
            UnknownSymbolError: No file has the symbol; the nearest ones are named.
            UnknownVenueError: No file has the venue.
        """
        files = self.files()
        venues = {file.venue for file in files}
        if venue is not None and venues and venue not in venues:
            said = _nearest(venue, venues)
            raise UnknownVenueError(f"{self.root}: nothing of venue {venue[:80]!r}{said}")
        names = {name for file in files for name in (file.symbol, *file.unified) if name}
        if symbol is not None and names and symbol not in names:
            said = _nearest(symbol, names)
            raise UnknownSymbolError(f"{self.root}: nothing of {symbol[:80]!r}{said}")

    def _chosen(
        self,
        kind: str,
        symbol: str | None,
        start_ns: int | None,
        end_ns: int | None,
        venue: str | None,
    ) -> list[StoredFile]:
        """Return the files that can hold what is asked for."""
        return [
            file
            for file in self._files[kind]
            if (symbol is None or symbol == file.symbol or symbol in file.unified)
            and (venue is None or venue == file.venue)
            and (start_ns is None or file.ts_max_ns >= start_ns)
            and (end_ns is None or file.ts_min_ns < end_ns)
        ]

    def _run(self, query: str, parameters: Any = None) -> Any:  # noqa: ANN401 - duckdb, pyarrow
        try:
            relation = self._connection.sql(query, params=parameters or None)
            return None if relation is None else relation.to_arrow_table()
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


def _where(
    symbol: str | None,
    start: Moment | None,
    end: Moment | None,
    venue: str | None,
    time: str = "ts_ns",
) -> tuple[str, dict[str, Any]]:
    """Return the conditions with parameters: what users say is never part of the SQL."""
    start_ns, end_ns = _ns(start, end)
    conditions = {
        "symbol": ("$symbol IN (symbol, unified)", symbol),
        "venue": ("venue = $venue", venue),
        "start": (f"{time} >= $start", start_ns),
        "end": (f"{time} < $end", end_ns),
    }
    said = {name: pair for name, pair in conditions.items() if pair[1] is not None}
    text = " AND ".join(condition for condition, _ in said.values())
    return (f" WHERE {text}" if text else ""), {name: value for name, (_, value) in said.items()}


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:NAMED_MAX]
    return f"; there is {', '.join(near)}" + (" ..." if len(known) > len(near) else "")


def _ns(start: Moment | None, end: Moment | None) -> tuple[int | None, int | None]:
    return (
        None if start is None else moment_ns(start),
        None if end is None else moment_ns(end),
    )
