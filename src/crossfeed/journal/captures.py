"""Sessions that other programs wrote down → frames and REST answers, in the order of receipt.

| ending (`.gz` may follow) | one record |
|---|---|
| `.ndjson`, `.jsonl`, `.json` | a message on each line, as received; no times |
| `.hft` | `<receive time, ns> <message>` (hftbacktest's collector) |
| `.cf3.jsonl` | `{"t": "recv", "conn": ..., "ts": <s>, "data": ...}` (cryptofeed 3) |
| `.cf2.txt` | `<s>: <message>`, `<url> -> <s>: <answer>` (cryptofeed 2) |
| `.cbcap` | a line `<ns> <length>`, then the message |
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import msgspec
from msgspec import Struct

from crossfeed.errors import ConfigError, JournalError

__all__ = ["ENDINGS", "Captured", "read_capture"]

LINE_BYTES_MAX: Final = 64 << 20
RECORDS_MAX: Final = 20_000_000
NS: Final = 1_000_000_000
_CF2: Final = re.compile(rb"(?:(\S+) (->|<-|<->) )?([0-9]+(?:\.[0-9]+)?)(?:: (.*))?", re.DOTALL)


class Captured(NamedTuple):
    """One thing that was received.

    Attributes:
        line: Number of the line in the file, from 1.
        connection: Which connection received it; empty where there was one only.
        ts_ns: Wall time of receipt; 0 where the file does not say.
        url: Address of the REST request it answers; empty for a frame.
        payload: Frame or body.
    """

    line: int
    connection: str
    ts_ns: int
    url: str
    payload: bytes


class _Cf3(Struct):
    """One line of a cryptofeed 3 recording."""

    t: str
    ts: Decimal = Decimal(0)
    conn: str = ""
    url: str = ""
    data: str = ""


def read_capture(path: str | Path) -> Iterator[Captured]:
    """Yield what a file holds. Memory: one record, but for `.cf3.jsonl` (sorted by time) all.

    Raises:
        ConfigError: The name ends in none of `ENDINGS`.
        JournalError: The file cannot be read, or a line is not of that form (it is named); what
            stands before it was yielded.
    """
    name = str(path).removesuffix(".gz")
    reader = next((read for ending, read in _READERS.items() if name.endswith(ending)), None)
    if reader is None:
        raise ConfigError(f"{path}: no known recording; its name ends in {', '.join(ENDINGS)}")
    with _opened(path) as file:
        for count, each in enumerate(reader(file, str(path))):
            if count >= RECORDS_MAX:
                raise JournalError(f"{path}: more than {RECORDS_MAX:,} records; split it")
            yield each


@contextmanager
def _opened(path: str | Path) -> Generator[BinaryIO]:
    try:
        if str(path).endswith(".gz"):
            with gzip.open(path, "rb") as packed:
                yield cast("BinaryIO", packed)
        else:
            with Path(path).open("rb") as file:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        raise JournalError(f"{path}: cannot be read: {error}") from error


def _lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LINE_BYTES_MAX):
        number += 1
        if len(line) == LINE_BYTES_MAX:
            raise _bad(name, number, "longer than 64 MiB")
        if text := line.strip():
            yield number, text


def _bad(name: str, line: int, reason: str) -> JournalError:
    return JournalError(f"{name}:{line}: {reason}")


def _plain(file: BinaryIO, name: str) -> Iterator[Captured]:
    for number, text in _lines(file, name):
        yield Captured(number, "", 0, "", text)


def _hft(file: BinaryIO, name: str) -> Iterator[Captured]:
    for number, text in _lines(file, name):
        stamp, _, message = text.partition(b" ")
        if not stamp.isdigit() or not message:
            raise _bad(name, number, "not '<ns> <message>'")
        yield Captured(number, "", int(stamp), "", message)


def _cf3(file: BinaryIO, name: str) -> Iterator[Captured]:
    """Yield by time: the file is grouped by connection."""
    decode = msgspec.json.Decoder(_Cf3).decode
    found: list[Captured] = []
    for number, text in _lines(file, name):
        try:
            said = decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _bad(name, number, str(error)) from error
        if said.t not in {"recv", "http"}:
            continue
        url = said.url if said.t == "http" else ""
        found.append(Captured(number, said.conn, int(said.ts * NS), url, said.data.encode()))
        if len(found) > RECORDS_MAX:
            break
    yield from sorted(found, key=lambda each: each.ts_ns)


def _cf2(file: BinaryIO, name: str) -> Iterator[Captured]:
    for number, text in _lines(file, name):
        found = _CF2.fullmatch(text)
        if found is None:
            if text.startswith((b"{", b"configuration")):
                continue  # the head names what was asked for
            raise _bad(name, number, "not '<s>: <message>'")
        url, arrow, stamp, message = found.groups()
        if message is None or arrow in {b"<-", b"<->"}:
            continue  # what was sent, and connections coming up
        try:
            ts_ns = int(Decimal(stamp.decode()) * NS)
        except InvalidOperation as error:
            raise _bad(name, number, "no time") from error
        yield Captured(number, "", ts_ns, (url or b"").decode("utf-8", "replace"), message)


def _cbcap(file: BinaryIO, name: str) -> Iterator[Captured]:
    head = file.readline(4096)
    if not head.startswith(b"CBCAP"):
        raise _bad(name, 1, "no CBCAP head")
    number = 1
    while line := file.readline(4096):
        number += 1
        stamp, _, length = line.strip().partition(b" ")
        if not stamp.isdigit() or not length.isdigit() or int(length) > LINE_BYTES_MAX:
            raise _bad(name, number, "not '<ns> <length>'")
        payload = file.read(int(length))
        if len(payload) != int(length) or file.read(1) not in {b"\n", b""}:
            raise _bad(name, number, "cut off")
        yield Captured(number, "", int(stamp), "", payload)
        number += payload.count(b"\n") + 1


_READERS: Final[dict[str, Callable[[BinaryIO, str], Iterator[Captured]]]] = {
    ".hft": _hft,
    ".cf3.jsonl": _cf3,
    ".cf2.txt": _cf2,
    ".cbcap": _cbcap,
    ".ndjson": _plain,
    ".jsonl": _plain,
    ".json": _plain,
}
ENDINGS: Final = tuple(_READERS)
"""What the names of recordings end in; `.gz` may follow."""
