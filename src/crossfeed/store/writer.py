"""Writing a store: whole sources in, each exactly once, whatever crashes.

```python
with StoreWriter("history") as writer:
    commit = writer.write("run7-0000000001", events)
```
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec.structs import replace

from crossfeed.errors import StoreError
from crossfeed.model.events import BookDelta, BookSnapshot, DepthDelta, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.store.batch import AttributeReader
from crossfeed.store.columns import KIND_OF, Rows, rows_of, take
from crossfeed.store.layout import (
    Commit,
    StoredFile,
    at_once,
    check_inside,
    check_source,
    folder_of,
    publish,
    read_commits,
    write_whole,
)
from crossfeed.store.packages import package
from crossfeed.store.parts import FileParts, one_of
from crossfeed.store.schema import encodings

__all__ = ["Commit", "SourceWriter", "StoreWriter"]

ROWS_HELD_MAX: Final = 2_000_000
"""Rows kept in memory before they go to staged files: about 0.5 GB."""
GRACE_S: Final = 3600.0
ROW_GROUP_ROWS: Final = 1 << 20
DAY_NS: Final = 86_400 * 10**9
BATCH_EVENTS: Final = 4096
PART_EVENTS: Final = 8192
"""So many events after each other are looked through for what is to become columns..."""
PART_EVENTS_MIN: Final = 2048
"""... which is each table and market of at least so many: their columns fit into caches."""
Key = tuple[str, str, str]
_BOOKS: Final = frozenset({BookDelta, DepthDelta, BookSnapshot})


class StoreWriter:
    """The one writer of a store. Made and closed by its user; readers need no lock.

    Opening it sweeps what a crash left behind. Disk full and the like raise `StoreError`; then
    nothing of that source is visible and the same call may be repeated.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rows_held_max: int = ROWS_HELD_MAX,
        grace_s: float = GRACE_S,
        reader: AttributeReader | None = None,
    ) -> None:
        """Lock the store, making it if need be, and sweep leftovers.

        Args:
            path: The store.
            rows_held_max: Rows kept in memory before they go to staged files.
            grace_s: How long files stay that a merge has replaced, for readers at work.
            reader: Reads attributes of events faster than Python.

        Raises:
            StoreError: Another process writes it, or it cannot be written or read.
            ConfigError: pyarrow or numpy is not installed.
        """
        package("numpy")
        package("pyarrow.parquet")
        self.root = Path(path)
        self.rows_held_max = rows_held_max
        self.grace_s = grace_s
        self.reader = reader
        with _told(self.root):
            (self.root / "commits").mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.root / "store.lock")
        try:
            with _told(self.root):
                self._sources: set[str] = set()
                self._sweep()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        """Return where and how much."""
        return f"StoreWriter({str(self.root)!r}, {len(self._sources)} sources)"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Let others write. May be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def has(self, source: str) -> bool:
        """Say whether a source is in the store already."""
        return source in self._sources

    def commits(self) -> list[Commit]:
        """Return what is in the store, in the order of the sources' names.

        Raises:
            StoreError: A record is damaged.
        """
        return read_commits(self.root)

    def write(
        self,
        source: str,
        events: Iterable[MarketData],
        *,
        instruments: Sequence[Instrument] = (),
    ) -> Commit | None:
        """Store what one source holds, all of it or (on any error) nothing.

        Args:
            source: Its id: letters, digits, - and _. Comes again: nothing happens.
            events: In the order of arrival; kinds the store does not keep are counted.
            instruments: What was traded.

        Returns:
            What was stored; None if the source was there already (`events` is not touched).
            Cost about 1 us an event.

        Raises:
            StoreError: It could not be written.
        """
        if self.has(check_source(source)):
            return None
        with SourceWriter(self, source) as writing:
            writing.add(events)
            return writing.commit(instruments)

    def begin(self, source: str) -> SourceWriter:
        """Return the writer of one new source, for rows that are columns already.

        Raises:
            StoreError: The source is there already.
        """
        if self.has(check_source(source)):
            raise StoreError(f"{self.root}: {source} is there already")
        return SourceWriter(self, source)

    def _adopt(self, commit: Commit) -> None:
        """Make a commit visible: the one step that counts."""
        write_whole(self.root / "commits" / f"{commit.source}.json", msgspec.json.encode(commit))
        self._sources.update((commit.source, *commit.replaces))

    def _sweep(self) -> None:
        """Delete what belongs to no commit, and in time what another commit has taken over."""
        shutil.rmtree(self.root / "staging", ignore_errors=True)
        commits = read_commits(self.root, with_replaced=True)
        self._sources = {name for each in commits for name in (each.source, *each.replaces)}
        own = {commit.source for commit in commits}
        for intent in (self.root / "commits").glob("*.intent"):
            if intent.stem not in own:
                for path in msgspec.json.decode(intent.read_bytes(), type=list[str]):
                    check_inside(self.root, path).unlink(missing_ok=True)
            intent.unlink()
        self._retire(commits)

    def _retire(self, commits: Sequence[Commit]) -> None:
        """Delete replaced files when no reader that opened the store before can still need them."""
        folder = self.root / "commits"
        now_s = (self.root / "store.lock").stat().st_mtime  # written when this writer locked it
        since_s: dict[str, float] = {}
        for commit in commits:
            if commit.replaces:
                at_s = (folder / f"{commit.source}.json").stat().st_mtime
                since_s |= dict.fromkeys(commit.replaces, at_s)
        used = {file.path for each in commits if each.source not in since_s for file in each.files}
        for commit in commits:
            at_s = since_s.get(commit.source, now_s)
            if commit.source in since_s and now_s - at_s >= self.grace_s:
                for file in commit.files:
                    if file.path not in used:
                        check_inside(self.root, file.path).unlink(missing_ok=True)
                # Last, so that a crash leaves a record of what is still to be deleted.
                (folder / f"{commit.source}.json").unlink()


class SourceWriter:
    """One source on its way into the store; a context manager: left without commit, it is gone."""

    def __init__(self, store: StoreWriter, source: str) -> None:
        """Begin; see `StoreWriter.begin`."""
        self._store = store
        self._source = source
        self._staging = store.root / "staging" / source
        self._held: dict[Key, list[MarketData]] = {}
        self._lists: dict[tuple[type[MarketData], str, str], list[MarketData]] = {}
        self._held_rows = self._unsorted = 0
        self._parts: dict[Key, dict[int, FileParts]] = {}
        self._scales: dict[Key, dict[str, int]] = {}
        self._files: list[StoredFile] = []
        self._left_out: dict[str, int] = {}
        self._refused = 0
        self._events: dict[Key, int] = {}

    def __repr__(self) -> str:
        """Return what is held."""
        return f"SourceWriter({self._source!r}, {len(self._files)} files, {self._held_rows} held)"

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what was not committed."""
        self._forget()
        shutil.rmtree(self._staging, ignore_errors=True)

    @property
    def markets(self) -> set[tuple[str, str]]:
        """The (venue, symbol) pairs written so far, those held in memory not counted."""
        return {(file.venue, file.symbol) for file in self._files}

    def add(self, events: Iterable[MarketData]) -> None:
        """Take events in the order of arrival.

        Raises:
            StoreError: Staged files cannot be written.
        """
        stream = iter(events)
        while batch := list(islice(stream, BATCH_EVENTS)):
            self._deal(batch)
            books: list[Any] = [event for event in batch if type(event) in _BOOKS]
            self._held_rows += len(batch) + sum([len(e.bids) + len(e.asks) for e in books])
            self._unsorted += len(batch)
            if self._held_rows >= self._store.rows_held_max:
                self.flush()
            elif self._unsorted >= PART_EVENTS:
                self._lay_down(PART_EVENTS_MIN)

    def _deal(self, batch: list[MarketData]) -> None:
        """Put each event to its like."""
        lists, reader, place = self._lists, self._store.reader, 0
        while reader is not None and (place := reader.deal(batch, place, lists)) < len(batch):
            event = batch[place]
            key = (event.__class__, event.exchange, event.symbol)
            if key in lists:
                break  # not ordinary: Python goes on
            lists[key] = self._list_of(event)
        find = lists.get
        for event in batch[place:]:
            key = (event.__class__, event.exchange, event.symbol)
            found = find(key)
            if found is None:
                found = lists[key] = self._list_of(event)
            found.append(event)

    def add_rows(self, kind: str, venue: str, symbol: str, rows: Rows) -> None:
        """Take rows that are columns already (see `schema.KINDS`).

        Raises:
            StoreError: They cannot be written.
        """
        if rows.length:
            self._add(kind, venue, symbol, rows)
            self.flush()

    def flush(self) -> None:
        """Write what is held to staged files.

        Raises:
            StoreError: They cannot be written.
        """
        self._lay_down(1)
        parts = [days[day] for days in self._parts.values() for day in sorted(days)]
        self._stage([each.joined() for each in parts])
        self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._lists.clear()
        self._parts.clear()
        self._scales.clear()
        self._held_rows = self._unsorted = 0

    def _lay_down(self, events_min: int) -> None:
        """Turn the events of each table and market into columns, where there are that many."""
        self._unsorted = 0
        for (kind, venue, symbol), events in self._held.items():
            if len(events) < events_min:
                continue
            if not kind:
                self._left_out[venue] = self._left_out.get(venue, 0) + len(events)
            else:
                key = (kind, venue, symbol)
                rows = rows_of(kind, events, self._scales.get(key, {}), self._store.reader)
                if kind == "books":
                    done = self._events.get(key, 0)
                    rows.columns["event"] += done
                    self._events[key] = done + len(events)
                self._add(kind, venue, symbol, rows)
            events.clear()

    def commit(self, instruments: Sequence[Instrument] = ()) -> Commit:
        """Make the source part of the store.

        Raises:
            StoreError: It is not part of it; the next start sweeps.
        """
        self.flush()
        commit = Commit(
            source=self._source,
            rows=sum(file.rows for file in self._files),
            files=tuple(self._files),
            left_out=self._left_out,
            refused=self._refused,
            instruments=tuple(instruments),
        )
        self.publish(commit)
        return commit

    def publish(self, commit: Commit) -> None:
        """Give the staged files their names, then make `commit` part of the store.

        Raises:
            StoreError: It is not part of it; the next start sweeps.
        """
        root = self._store.root
        intent = root / "commits" / f"{self._source}.intent"
        with _told(root):
            paths = [file.path for file in self._files]
            write_whole(intent, msgspec.json.encode(paths))
            moves = {self._staged(path): check_inside(root, path) for path in paths}
            publish(moves, root.resolve())
            # Two halves of one class.
            self._store._adopt(commit)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            intent.unlink()

    def _list_of(self, event: MarketData) -> list[MarketData]:
        """Return the list its like is held in; what has no table is held under its class's name."""
        kind = KIND_OF.get(type(event), "")
        key = (kind, event.exchange, event.symbol) if kind else ("", type(event).__name__, "")
        self._parts.setdefault(key, {})
        return self._held.setdefault(key, [])

    def _staged(self, path: str) -> Path:
        return self._staging / path

    def _add(self, kind: str, venue: str, symbol: str, rows: Rows) -> None:
        """Add columns to the file of each day."""
        numpy = package("numpy")
        files = self._parts.setdefault((kind, venue, symbol), {})
        for suffix in ("price", "size"):
            scale = one_of(rows.columns.get(f"{suffix}_scale"))
            if scale is not None:
                self._scales.setdefault((kind, venue, symbol), {})[suffix] = scale
        times = numpy.where(
            rows.columns["ts_event_ns"] != 0,
            rows.columns["ts_event_ns"],
            rows.columns["ts_recv_ns"],
        )
        days = times // DAY_NS
        keep = numpy.ones(rows.length, numpy.bool_)
        if rows.refused:
            keep[rows.refused] = False
            self._refused += int((~keep).sum())
        for day in numpy.unique(days[keep]).tolist():
            chosen = keep & (days == day)
            part = rows if chosen.all() else take(rows, chosen)
            if day not in files:
                files[day] = FileParts(kind, venue, symbol, _date(day))
            files[day].add(part, times[chosen])

    def stage(self, about: StoredFile, table: Any) -> StoredFile:  # noqa: ANN401 - pyarrow
        """Write a table as a staged file; return `about` with its path and size filled in.

        Raises:
            StoreError: It cannot be written.
        """
        self._stage([(about, table)])
        return self._files[-1]

    def _stage(self, tables: Sequence[tuple[StoredFile, Any]]) -> None:
        """Write tables, several at a time: compressing needs no lock of the interpreter."""
        named: list[tuple[StoredFile, Any]] = []
        for number, (about, table) in enumerate(tables, len(self._files)):
            folder = folder_of(about.kind, about.venue, about.symbol, about.date)
            path = f"{folder}/{self._source}-{number}.parquet"
            named.append((replace(about, path=path), table))
        with _told(self._store.root):
            self._files += at_once(self._encode, named)

    def _encode(self, named: tuple[StoredFile, Any]) -> StoredFile:
        about, table = named
        staged = self._staged(about.path)
        staged.parent.mkdir(parents=True, exist_ok=True)
        package("pyarrow.parquet").write_table(
            table, staged, row_group_size=ROW_GROUP_ROWS, **encodings(about.kind)
        )
        return replace(about, bytes=staged.stat().st_size)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


@contextlib.contextmanager
def _told(root: Path) -> Generator[None]:
    """Turn what the operating system says into one line of ours."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{root}: cannot be written: {error.strerror or error}") from error


def _lock(path: Path) -> int:
    """Take the kernel's lock, which no crash leaves behind; return the open descriptor."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ModuleNotFoundError:
        return handle  # Windows: best effort
    except OSError as error:
        owner = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise StoreError(f"{path.parent}: is written by process {owner}; wait for it") from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle
