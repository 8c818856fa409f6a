"""Rows of other people's CSV files: opening them, reading numbers, and what became of each row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TextIO, TypeVar

from msgspec import Struct

from crossfeed.errors import ConfigError, InvalidValueError, StoreError
from crossfeed.model.events import MarketData
from crossfeed.model.numbers import is_number_text
from crossfeed.model.trust import Integrity, Mark, Trust

__all__ = ["BadRow", "Head", "RowReport", "Unify", "head_of", "integer_of", "number_of",
           "opened", "price_of", "source_of"]  # fmt: skip

HASH_BYTES: Final = 1 << 20
BAD_NAMED_MAX: Final = 10
DIGITS_MAX: Final = 18
LOOK_ROWS: Final = 4096
T = TypeVar("T")
Head = tuple[str, str, str, int, int, int, int, Mark, Integrity, Trust, bytes | None, int]
Unify = str | Callable[[str, str], str]
"""The unified symbol of all rows, or what tells it for (venue, symbol)."""


class BadRow(NamedTuple):
    """A row that could not be read: its line in the file, and why."""

    line: int
    reason: str


class RowReport(Struct, kw_only=True):
    """What became of a file's rows: given to a reader, bad rows are noted and left out.

    Attributes:
        rows: Rows read, bad ones included.
        bad: Rows left out.
        named: The first ten of them.
        bytes_done: How far the file was read, in bytes as it lies there.
    """

    rows: int = 0
    bad: int = 0
    named: list[BadRow] = []
    bytes_done: int = 0

    def note(self, line: int, reason: str, rows: int = 1) -> None:
        """Count a bad row, or the rows of a message that holds one."""
        self.bad += rows
        if len(self.named) < BAD_NAMED_MAX:
            self.named.append(BadRow(line, reason))


class OpenedRows:
    """An open file and what is noted of it. Made by `opened`."""

    def __init__(self, name: str, text: TextIO, position: Callable[[], int],
                 report: RowReport | None) -> None:  # fmt: skip
        """Read `text`; without a report the first bad row raises."""
        self.name = name
        self.text = text
        self._position = position
        self._report = report

    def done(self, rows: int) -> None:
        """Count rows that were read."""
        if self._report is not None:
            self._report.rows += rows
            self._report.bytes_done = self._position()

    def read(
        self, line: int, make: Callable[[], MarketData], *, rows: int = 1
    ) -> MarketData | None:
        """Make the event of a row (or of `rows` that are one message); None for a bad one.

        Raises:
            InvalidValueError: It is bad, and there is no report to note it in.
        """
        try:
            return make()
        except (IndexError, KeyError, TypeError, ValueError) as error:
            reason = f"no column {error}" if isinstance(error, KeyError) else str(error)
            if self._report is None:
                raise InvalidValueError("csv", "value", f"{self.name}:{line}: {reason}") from error
            self._report.note(line, reason, rows)
            return None

    def events(
        self, rows: Iterable[T], line: Callable[[], int], make: Callable[[T], MarketData]
    ) -> Iterator[MarketData]:
        """Yield the events of rows that are one each.

        Args:
            rows: The rows.
            line: Tells the line of the row last read.
            make: Makes the event of a row.

        Raises:
            InvalidValueError: See `read`.
        """
        since = 0
        for row in rows:
            since += 1
            event = self.read(line(), partial(make, row))
            if event is not None:
                yield event
            if since == LOOK_ROWS:
                self.done(since)
                since = 0
        self.done(since)


def source_of(path: str | Path) -> str:
    """Return the id of a file as a source of a store: the same content is never stored twice.

    Raises:
        StoreError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with Path(path).open("rb") as file:
            while part := file.read(HASH_BYTES):
                digest.update(part)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
    return f"import-{digest.hexdigest()}"


@contextmanager
def opened(path: str | Path, report: RowReport | None) -> Generator[OpenedRows]:
    """Open a plain, gzipped or zipped text file.

    Raises:
        StoreError: It cannot be read.
        ConfigError: An archive of several files.
        InvalidValueError: It is no CSV.
    """
    name, short = str(path), Path(path).name
    try:
        with Path(name).open("rb") as raw:
            if name.endswith(".zip"):
                with zipfile.ZipFile(raw) as archive:
                    members = archive.namelist()
                    if len(members) != 1:
                        raise ConfigError(f"{name}: {len(members)} files in it, not one")
                    with archive.open(members[0]) as member:
                        text = io.TextIOWrapper(member, "utf-8", newline="")
                        yield OpenedRows(short, text, raw.tell, report)
            elif name.endswith(".gz"):
                with gzip.open(raw, "rt", encoding="utf-8", newline="") as unpacked:
                    yield OpenedRows(short, unpacked, raw.tell, report)
            else:
                text = io.TextIOWrapper(raw, "utf-8", newline="")
                yield OpenedRows(short, text, raw.tell, report)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise StoreError(f"{name}: cannot be read: {error}") from error
    except csv.Error as error:
        raise InvalidValueError("csv", "syntax", f"{name}: {error}") from error


def number_of(text: str) -> float:
    """Read a plain, finite number; nothing else that Python would take for one.

    Raises:
        ValueError: It is none.
    """
    if not is_number_text(text):
        msg = f"not a plain number: {text[:40]!r}"
        raise ValueError(msg)
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        msg = f"too large a number: {text[:40]!r}"
        raise ValueError(msg)
    return value


def price_of(text: str) -> float:
    """Read a number above zero.

    Raises:
        ValueError: It is none.
    """
    value = number_of(text)
    if value <= 0:
        msg = f"not above zero: {text[:40]!r}"
        raise ValueError(msg)
    return value


def integer_of(text: str) -> int:
    """Read a whole number of at most 18 digits.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        msg = f"not a whole number: {text[:40]!r}"
        raise ValueError(msg)
    return int(text)


def head_of(
    names: tuple[str, str, str], event_ns: int, recv_ns: int, marks: Mark, level: Integrity
) -> Head:
    """Return the fields that all events begin with."""
    return (*names, event_ns, 0, recv_ns, 0, marks, level, Trust.SOUND, None, 0)


def unified_of(unified: Unify, venue: str, symbol: str) -> str:
    """Return the unified symbol of a row."""
    return unified if isinstance(unified, str) else unified(venue, symbol)
