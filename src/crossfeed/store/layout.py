"""Where things lie in a store, what a commit is, and how a file appears whole or not at all.

```
history/
├─ trades/venue=kraken/symbol=BTC%2FUSD/date=2026-11-22/<source>-0.parquet
├─ quotes/ books/ candles/ tickers/ agg_trades/ gaps/ status/         the same
├─ commits/<source>.json       what a source (a journal segment, a file) brought: its files, its
│                              instruments. A file that no commit names does not exist for readers.
│                              A merged one names the sources whose place it takes.
├─ staging/<source>/           files being written; swept at the next start
└─ store.lock                  one writer at a time
```
A crash at any point leaves either no commit, and the next start sweeps what lies about, or a whole
one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from crossfeed.errors import StoreError
from crossfeed.model.instrument import Instrument
from crossfeed.store.schema import KINDS, VERSION

__all__ = [
    "Commit",
    "StoredFile",
    "at_once",
    "check_source",
    "folder_of",
    "name_of",
    "publish",
    "read_commits",
    "text_of",
    "write_whole",
]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
AT_ONCE: Final = 4
"""Files written or waited for at the same time."""
COMMIT_BYTES_MAX: Final = 256 << 20
COMMITS_MAX: Final = 1_000_000
LISTINGS_MAX: Final = 100
NAME_CHARS_MAX: Final = 200
NO_NAME: Final = "__HIVE_DEFAULT_PARTITION__"
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,119}")
_NAME: Final = r"(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+"
_PATH: Final = re.compile(
    rf"({'|'.join(KINDS)})/venue={_NAME}/symbol={_NAME}/date=[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}/"
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,139}\.parquet"
)


class StoredFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Parquet file of a commit.

    Attributes:
        path: Relative to the store.
        unified: Unified symbols in it.
        ts_min_ns: Earliest time in it (event time, else receipt).
        ts_max_ns: Latest one.
        price_scale: Decimals of its ticks; None where rows differ, or it has none.
        size_scale: The same for lots.
    """

    path: str
    kind: str
    venue: str
    symbol: str
    unified: tuple[str, ...]
    date: str
    rows: int
    bytes: int
    ts_min_ns: int
    ts_max_ns: int
    price_scale: int | None = None
    size_scale: int | None = None


class Commit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one source brought into the store.

    Attributes:
        source: Id of the source; the same source is never stored twice.
        rows: Rows stored.
        left_out: Events not stored, by the name of their class (heartbeats, order events).
        refused: Rows whose numbers fit no 63-bit integer; 0 on every market there is.
        instruments: What was traded, as known then.
        replaces: Sources whose rows this one has taken over (see `crossfeed.store.merge`); where
            their own commits still lie there they count for nothing.
    """

    source: str
    rows: int
    files: tuple[StoredFile, ...]
    left_out: dict[str, int] = {}
    refused: int = 0
    instruments: tuple[Instrument, ...] = ()
    replaces: tuple[str, ...] = ()
    version: int = VERSION


def check_source(source: str) -> str:
    """Return `source` if it can name files.

    Raises:
        StoreError: Letters, digits, - and _ only, at most 120.
    """
    if not _SOURCE.fullmatch(source):
        raise StoreError(f"not an id of a source: {source[:80]!r} (letters, digits, - and _)")
    return source


def name_of(text: str) -> str:
    """Return a folder name for a venue or symbol: letters, digits, - and _ stay, the rest is %XX.

    One to one, so that no text leads out of its folder or into another's.

    Raises:
        StoreError: The name would be longer than file systems take.
    """
    if not text:
        return NO_NAME
    encoded = text.encode("utf-8", "surrogatepass")
    name = "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in encoded)
    if name == NO_NAME:
        name = f"%{ord('_'):02X}{name[1:]}"
    if len(name) > NAME_CHARS_MAX:
        raise StoreError(f"name too long to be stored: {text[:40]!r}... ({len(name)} characters)")
    return name


def text_of(name: str) -> str:
    """Return the text that `name_of` made a folder name of."""
    if name == NO_NAME:
        return ""
    raw = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode())
    return raw.decode("utf-8", "surrogatepass")


def folder_of(kind: str, venue: str, symbol: str, date: str) -> str:
    """Return the folder of a table's part, relative to the store."""
    return f"{kind}/venue={name_of(venue)}/symbol={name_of(symbol)}/date={date}"


def check_inside(root: Path, path: str) -> Path:
    """Return the absolute path of a stored file.

    Raises:
        StoreError: The path is not one this store makes, or links lead out of it.
    """
    target = (root / path).resolve()
    if not _PATH.fullmatch(path) or not target.is_relative_to(root.resolve()):
        raise StoreError(f"{root}: {path[:200]!r} is no path of a stored file")
    return target


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Wait until the disk has the content of `path`."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def at_once(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Do what mostly waits for the disk, or compresses, with several items at a time."""
    with ThreadPoolExecutor(AT_ONCE, "crossfeed-store") as pool:
        return list(pool.map(work, items))


def publish(moves: Mapping[Path, Path], root: Path) -> None:
    """Give finished files their final names below `root`, surviving a power cut.

    No name appears before the disk has the content; existing files are replaced. Waiting for the
    disk for all of them at once takes a tenth of the time of one after the other: a segment of
    200 symbols brings 400 files, each of which would be two waits of 4 ms.

    Args:
        moves: Where each file lies -> where it goes.
        root: The folder above all of the latter.
    """
    at_once(sync_file, moves)
    for staged, target in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
    folders = {each for target in moves.values() for each in target.parents}
    at_once(sync_folder, sorted(each for each in folders if each.is_relative_to(root)))


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that it has either all of `data` or its former content."""
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(data)
    publish({staged: path}, path.parent)


def read_commits(root: Path, *, with_replaced: bool = False) -> list[Commit]:
    """Return the commits of a store in the order of their names.

    Args:
        root: The store.
        with_replaced: Whether those are among them whose rows another one has taken over.

    Raises:
        StoreError: One is damaged, of a later version, or names a file outside of the store.
    """
    for _ in range(LISTINGS_MAX):
        try:
            commits = [_read(root, path) for path in _listed(root)]
        except FileNotFoundError:
            continue  # taken over by another one since it was listed: look again
        replaced = {source for commit in commits for source in commit.replaces}
        if with_replaced or not replaced:
            return commits
        return [commit for commit in commits if commit.source not in replaced]
    raise StoreError(f"{root}: its commits change faster than they can be read")


def _listed(root: Path) -> list[Path]:
    folder = root / "commits"
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if len(paths) > COMMITS_MAX:
        raise StoreError(f"{root}: more than {COMMITS_MAX} commits")
    return [path for path in paths if not path.name.startswith(".")]


def _read(root: Path, path: Path) -> Commit:
    try:
        if path.stat().st_size > COMMIT_BYTES_MAX:
            raise StoreError(f"{path}: longer than {COMMIT_BYTES_MAX} bytes")
        commit = msgspec.json.decode(path.read_bytes(), type=Commit)
    except FileNotFoundError:
        raise
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    if commit.version > VERSION or commit.source != path.stem:
        raise StoreError(f"{path}: of version {commit.version}, or not under its own name")
    for file in commit.files:
        if file.path.partition("/")[0] != file.kind:
            raise StoreError(f"{path}: {file.path[:200]!r} is not of kind {file.kind[:40]!r}")
        check_inside(root, file.path)
    return commit
