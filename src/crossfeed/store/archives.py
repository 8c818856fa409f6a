"""Other people's CSV archives → events, ready for `StoreWriter.write`.

```python
with StoreWriter("history") as writer:
    writer.write(source_of(path), read_tardis(path))
```
Files may be plain, `.gz` or `.zip` (one file in it). Prices keep every digit the event's float does
(15). Reading costs about 3 us a row.

Forms: https://docs.tardis.dev/downloadable-csv-files and
https://github.com/binance/binance-public-data, both checked 2026-11-22.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from crossfeed.errors import ConfigError, InvalidValueError, StoreError
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    Level,
    MarketData,
    Quote,
    Trade,
)
from crossfeed.model.numbers import is_number_text
from crossfeed.model.trust import Integrity, Mark, Side, Trust

__all__ = ["read_binance", "read_tardis", "source_of"]

US_NS: Final = 1_000
MS_NS: Final = 1_000_000
# From 2025 Binance's spot files count microseconds, before that milliseconds.
MICROSECONDS_FROM: Final = 10**14
HASH_BYTES: Final = 1 << 20
LEVELS_MAX: Final = 1000
CHARS_MAX: Final = 1 << 20
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
Values = dict[str, str]
Head = tuple[str, str, str, int, int, int, int, Mark, Integrity, Trust, bytes | None, int]


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


def read_tardis(path: str | Path, *, unified: str = "") -> Iterator[MarketData]:
    """Yield the events of a tardis.dev CSV: trades, quotes, book_snapshot_N, incremental_book_L2.

    Which one it is tells the header. Rows of one incremental message (same local timestamp) become
    one event. Ids that are no integers (Coinbase's are, BitMEX's are not) become 0.

    Args:
        path: The file.
        unified: Unified symbol of all rows; the file names only the venue's own.

    Raises:
        ConfigError: The header is of no form known here.
        InvalidValueError: A row holds what is no number; the rows before it were yielded.
        StoreError: The file cannot be read.
    """
    with _opened(path) as file:
        rows = csv.DictReader(file)
        names = set(rows.fieldnames or ())
        if {"is_snapshot", "side", "price", "amount"} <= names:
            yield from _incremental(rows, unified)
        elif {"id", "side", "price", "amount"} <= names:
            yield from (_tardis_trade(row, unified) for row in rows)
        elif {"asks[0].price", "bids[0].price"} <= names:
            yield from (_tardis_book(row, unified) for row in rows)
        elif {"ask_price", "bid_price", "ask_amount"} <= names:
            yield from (_tardis_quote(row, unified) for row in rows)
        else:
            raise ConfigError(f"{path}: no tardis.dev form: {', '.join(sorted(names))[:200]}")


def read_binance(
    path: str | Path, *, symbol: str = "", unified: str = "", venue: str = "binance"
) -> Iterator[MarketData]:
    """Yield the events of a file of Binance's public archive: trades, aggTrades or klines.

    Kind, symbol and interval are read from the file's name ("BTCUSDT-trades-2026-11-22.zip",
    "BTCUSDT-1m-2026-11.csv"). Receive times are not in these files: the event time stands in, and
    the events are marked HISTORY.

    Raises:
        ConfigError: The name is of no form known here.
        InvalidValueError: A row holds what is no number; the rows before it were yielded.
        StoreError: The file cannot be read.
    """
    found = re.match(r"([A-Z0-9_]+)-(trades|aggTrades|[0-9]+(?:s|m|h|d|w|mo))-", Path(path).name)
    if found is None:
        raise ConfigError(f"{path}: not named like BTCUSDT-trades-2026-11-22.zip")
    kind = found[2]
    head = (venue, symbol or found[1], unified)
    with _opened(path) as file:
        for number, row in enumerate(csv.reader(file)):
            if number == 0 and row and not row[0].isdigit():
                continue  # futures files have a header, spot files none
            try:
                yield _binance(kind, row, head)
            except (IndexError, KeyError, ValueError) as error:
                raise _bad(f"{Path(path).name}:{number + 1}", error) from error


@contextmanager
def _opened(path: str | Path) -> Generator[TextIO]:
    """Open a plain, gzipped or zipped text file."""
    name = str(path)
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(name) as archive:
                members = archive.namelist()
                if len(members) != 1:
                    raise ConfigError(f"{name}: {len(members)} files in it, not one")
                with archive.open(members[0]) as raw:
                    yield io.TextIOWrapper(raw, "utf-8", newline="")
        elif name.endswith(".gz"):
            with gzip.open(name, "rt", encoding="utf-8", newline="") as file:
                yield file
        else:
            with Path(name).open(encoding="utf-8", newline="") as file:
                yield file
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise StoreError(f"{name}: cannot be read: {error}") from error
    except csv.Error as error:
        raise InvalidValueError("csv", "syntax", f"{name}: {error}") from error


def _bad(where: str, error: Exception) -> InvalidValueError:
    return InvalidValueError("csv", "value", f"{where}: {error}")


def _number(text: str) -> float:
    """Read a plain, finite number; nothing else that Python would take for one."""
    if not is_number_text(text):
        msg = f"not a plain number: {text[:40]!r}"
        raise ValueError(msg)
    return float(text)


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - below 2**63
        msg = f"not a whole number: {text[:40]!r}"
        raise ValueError(msg)
    return int(text)


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0  # noqa: PLR2004


def _head(
    names: tuple[str, str, str], event_ns: int, recv_ns: int, marks: Mark, level: Integrity
) -> Head:
    return (*names, event_ns, 0, recv_ns, 0, marks, level, Trust.SOUND, None, 0)


def _checked(row: Values, make: Callable[[], MarketData]) -> MarketData:
    try:
        return make()
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(f"row at {str(row.get('local_timestamp'))[:40]}", error) from error


def _tardis_head(row: Values, unified: str, level: Integrity, marks: Mark) -> Head:
    event_ns, recv_ns = (_integer(row[name]) * US_NS for name in ("timestamp", "local_timestamp"))
    names = (row["exchange"], row["symbol"], unified)
    return _head(names, event_ns, recv_ns, marks, level)


def _tardis_trade(row: Values, unified: str) -> MarketData:
    return _checked(
        row,
        lambda: Trade(
            *_tardis_head(row, unified, Integrity.NONE, Mark.NONE),
            _number(row["price"]),
            _number(row["amount"]),
            _SIDES.get(row["side"], Side.UNKNOWN),
            _id(row["id"]),
        ),
    )


def _tardis_quote(row: Values, unified: str) -> MarketData:
    """Read a quote; an empty side is price and size 0."""

    def number(name: str) -> float:
        return _number(row[name] or "0")

    return _checked(
        row,
        lambda: Quote(
            *_tardis_head(row, unified, Integrity.SELF_CONTAINED, Mark.NONE),
            number("bid_price"),
            number("bid_amount"),
            number("ask_price"),
            number("ask_amount"),
            0,
        ),
    )


def _tardis_book(row: Values, unified: str) -> MarketData:
    def levels(side: str) -> list[Level]:
        found: list[Level] = []
        for index in range(LEVELS_MAX):
            price, size = row.get(f"{side}[{index}].price"), row.get(f"{side}[{index}].amount")
            if not price or not size:
                break
            found.append((_number(price), _number(size)))
        return found

    return _checked(
        row,
        lambda: BookSnapshot(
            *_tardis_head(row, unified, Integrity.SELF_CONTAINED, Mark.SNAPSHOT),
            levels("bids"),
            levels("asks"),
            0,
            None,
        ),
    )


def _incremental(rows: Iterator[Values], unified: str) -> Iterator[MarketData]:
    """Join the rows of one message; a snapshot may be longer than one local timestamp."""
    key: tuple[str, ...] = ()
    held: list[Values] = []
    for row in rows:
        is_image = str(row.get("is_snapshot"))
        now = (is_image, "" if is_image == "true" else str(row.get("local_timestamp")))
        if held and now != key:
            yield _tardis_change(held, unified)
            held = []
        key = now
        held.append(row)
    if held:
        yield _tardis_change(held, unified)


def _tardis_change(rows: list[Values], unified: str) -> MarketData:
    def make() -> MarketData:
        sides: dict[str, list[Level]] = {"bid": [], "ask": []}
        for row in rows:
            sides[row["side"]].append((_number(row["price"]), _number(row["amount"])))
        is_image = rows[0]["is_snapshot"] == "true"
        marks = Mark.SNAPSHOT if is_image else Mark.NONE
        head = _tardis_head(rows[-1], unified, Integrity.NONE, marks)
        if is_image:
            return BookSnapshot(*head, sides["bid"], sides["ask"], 0, None)
        return BookDelta(*head, sides["bid"], sides["ask"], 0, 0, 0, None)

    return _checked(rows[-1], make)


def _binance(kind: str, row: list[str], names: tuple[str, str, str]) -> MarketData:
    """Read one row; the columns are those of the REST API of the same name."""
    if kind not in {"trades", "aggTrades"}:
        return _binance_candle(kind, row, names)
    time, is_maker = row[4:6] if kind == "trades" else row[5:7]
    ns, price, size, own_id = _ns(time), _number(row[1]), _number(row[2]), _integer(row[0])
    side = {"true": Side.SELL, "false": Side.BUY}[is_maker.lower()]
    head = _head(names, ns, ns, Mark.HISTORY, Integrity.SEQUENCED)
    if kind == "trades":
        return Trade(*head, price, size, side, own_id)
    return AggTrade(*head, price, size, side, own_id, _integer(row[3]), _integer(row[4]))


def _binance_candle(kind: str, row: list[str], names: tuple[str, str, str]) -> MarketData:
    opened, closed = _ns(row[0]), _ns(row[6])
    # The last millisecond (or microsecond) of the bar is given: the next one begins after it.
    closed += US_NS if int(row[6]) >= MICROSECONDS_FROM else MS_NS
    head = _head(names, closed, closed, Mark.HISTORY, Integrity.SELF_CONTAINED)
    first, high, low, last, volume = (_number(text) for text in row[1:6])
    is_closed = True
    interval, count = "1M" if kind == "1mo" else kind, _integer(row[8])
    return Candle(*head, interval, opened, closed, first, high, low, last, volume, count, is_closed)


def _ns(text: str) -> int:
    value = _integer(text)
    return value * (US_NS if value >= MICROSECONDS_FROM else MS_NS)
