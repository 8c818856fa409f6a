"""`crossfeed import`: other people's recordings into a journal, their archives into a store."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from crossfeed.cli.progress import progress_bar
from crossfeed.errors import ConfigError, CrossfeedError, StoreError
from crossfeed.model.events import MarketData
from crossfeed.runtime.capture_import import CaptureImport, CaptureReport
from crossfeed.store.archive_rows import Unify
from crossfeed.store.archives import RowReport, mark_gaps, read_binance, read_tardis, source_of
from crossfeed.store.writer import StoreWriter
from crossfeed.venues.registry import find_venue, venue_names
from crossfeed.venues.symbols import SymbolTable

__all__ = ["ArchiveImport", "run_archives", "run_captures"]

BATCH_EVENTS: Final = 20_000
Read = Callable[[Path, RowReport], Iterator[MarketData]]


class ArchiveImport(msgspec.Struct, frozen=True, kw_only=True):
    """What `crossfeed import tardis | binance-archive` was told.

    Attributes:
        form: "tardis" or "binance".
        files: The files.
        store: Folder of the store.
        unified: Unified symbol of all rows; empty: as the venue's built-in table says.
        venue: Name of the venue; empty: the file's own, or binance.
        skips_bad: Whether bad rows are left out; else a file that has one is not stored.
    """

    form: str
    files: tuple[Path, ...]
    store: Path
    unified: str = ""
    venue: str = ""
    skips_bad: bool = False

    def read(self, path: Path, report: RowReport) -> Iterator[MarketData]:
        """Yield the events of one file."""
        unified: Unify = self.unified or unified_name
        if self.form == "tardis":
            return read_tardis(path, unified=unified, venue=self.venue, report=report)
        return read_binance(path, unified=unified, venue=self.venue or "binance", report=report)


@cache
def _table(venue: str) -> SymbolTable:
    return SymbolTable(venue, find_venue(venue).builtin() if venue in venue_names() else ())


def unified_name(venue: str, symbol: str) -> str:
    """Return the unified name of a venue's symbol as far as it is known here, else nothing."""
    found = _table(venue).get(symbol)
    return found.unified if found is not None else ""


def run_archives(options: ArchiveImport, *, is_json: bool) -> int:
    """Import archives into a store; return 0, or 1 if bad rows were met.

    Raises:
        ConfigError: A file of no known form, or none at all.
        StoreError: A file cannot be read, or the store not written; the files before it are stored.
    """
    files = _checked(options.files)
    done: list[dict[str, Any]] = []
    try:
        with (
            StoreWriter(options.store) as writer,
            progress_bar("importing", "bytes") as set_done,
        ):
            total, before = sum(path.stat().st_size for path in files), 0
            for path in files:

                def advance(at: int, before: int = before) -> None:
                    set_done(before + at, total)

                done.append(_import_one(options, writer, path, advance))
                before += path.stat().st_size
    except CrossfeedError as error:
        if done:
            error.add_note(f"{len(done)} of {len(files)} files were done before it")
        raise
    bad = sum(each["bad"] for each in done)
    if is_json:
        print(json.dumps({"files": done}))
        return int(bad > 0)
    for each in done:
        print(_told(each))
    return int(bad > 0)


def _checked(files: tuple[Path, ...]) -> list[Path]:
    if not files:
        raise ConfigError("at least one file is needed", field="FILE")
    for path in files:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file", field="FILE")
    return list(dict.fromkeys(files))


def _import_one(
    options: ArchiveImport, writer: StoreWriter, path: Path, set_done: Callable[[int], None]
) -> dict[str, Any]:
    source, size = source_of(path), path.stat().st_size
    result: dict[str, Any] = {"file": str(path), "rows": 0, "bad": 0, "events": 0, "stored": 0}
    if writer.has(source):
        set_done(size)
        return result | {"state": "there already"}
    report = RowReport()
    events = mark_gaps(options.read(path, report), report)
    with writer.begin(source) as writing:
        while batch := list(islice(events, BATCH_EVENTS)):
            writing.add(batch)
            result["events"] += len(batch)
            set_done(report.bytes_done)
        set_done(size)
        result |= {"rows": report.rows, "bad": report.bad}
        for line, reason in report.named:
            print(f"crossfeed: {path}:{line}: {reason}", file=sys.stderr)
        if report.bad > len(report.named):
            print(f"crossfeed: {path}: ... {report.bad:,} bad rows in all", file=sys.stderr)
        if report.bad and not options.skips_bad:
            return result | {"state": "not stored"}
        if not result["events"]:
            raise StoreError(f"{path}: no row in it")
        commit = writing.commit()
    return result | {"state": "stored", "stored": commit.rows, "refused": commit.refused}


def _told(each: dict[str, Any]) -> str:
    if each["state"] == "there already":
        return f"{each['file']}: there already"
    if each["state"] == "not stored":
        return (
            f"{each['file']}: not stored: {each['bad']:,} of {each['rows']:,} rows are bad "
            "(--skip-bad leaves them out)"
        )
    bad = f", {each['bad']:,} bad rows left out" if each["bad"] else ""
    refused = f", {each['refused']:,} rows refused" if each["refused"] else ""
    return f"{each['file']}: {each['stored']:,} rows stored{bad}{refused}"


def run_captures(files: tuple[Path, ...], folder: Path, venue: str, *, is_json: bool) -> int:
    """Import recordings of other programs into a new journal; return 0.

    Raises:
        ConfigError: A file of no known form or venue, or the journal is there already.
        JournalError: A file cannot be read, or the journal not written.
    """
    paths = _checked(files)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder}: not empty; recordings are imported into a journal of their own",
            field="--into",
        )
    # Half a recording must not be taken for a whole one: it gets its name when it is complete.
    staged = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(staged, ignore_errors=True)
    reports: list[CaptureReport] = []
    try:
        for path in paths:
            with progress_bar(f"importing {path.name}", "records") as set_done:
                reports.append(CaptureImport(path, staged, venue=venue).run(set_done))
        staged.replace(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    if is_json:
        rows = [
            {"file": str(path), **msgspec.to_builtins(report)}
            for path, report in zip(paths, reports, strict=True)
        ]
        print(json.dumps({"files": rows}))
        return 0
    for path, report in zip(paths, reports, strict=True):
        _tell_capture(path, report)
    return 0


def _tell_capture(path: Path, report: CaptureReport) -> None:
    streams = ", ".join(f"{kind} of {len(names)}" for kind, names in report.streams.items())
    print(f"{path}: {report.venue}, {report.frames:,} frames ({streams})")
    if report.images:
        print(f"  {report.images:,} images of books from REST answers")
    if report.unused:
        print(f"  {report.unused:,} REST answers that no book awaited")
    if report.refused:
        lines = ", ".join(map(str, report.lines))
        reasons = ", ".join(f"{count:,} {word}" for word, count in report.refusals.items())
        print(f"  {report.refused:,} frames not understood ({reasons}); first in lines {lines}")
    if not report.has_receive_times:
        print("  no times of receipt in this file: the venue's own stand in for them")
