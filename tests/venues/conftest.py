"""What the venues' tests share: readers of recorded sessions, and a stopwatch.

`records(name)` returns a recorded session's messages, `facts(name)` what is known about it; both
skip where the recordings are absent. `timer(decode, frames)` measures. The form of the golden
samples stands in test_conformance.py.
"""

import gzip
import json
import re
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CF2 = re.compile(r"(?P<place>\S+) (?P<arrow><->|->|<-) (?P<at>[\d.]+)(?:: (?P<text>.*))?")
CF2_RECEIVED = re.compile(r"(?P<at>\d+\.\d+): (?P<text>.*)")


class Record(NamedTuple):
    """One entry of a recorded session.

    Attributes:
        kind: "recv", "send", "http" (a REST answer), "connect" or "header".
        ts_ns: When it was received, 0 where the recording has no times.
        text: The message.
        place: URL of a REST answer or address of a connection.
        connection: Name of the connection, where the recording has one.
    """

    kind: str
    ts_ns: int
    text: bytes
    place: str = ""
    connection: str = ""


def read_recording(path: Path) -> Iterator[Record]:
    """Yield the entries of a recording, by the container its name tells (see its README)."""
    body = path.read_bytes()
    if path.suffix == ".gz":
        body = gzip.decompress(body)
    name = path.name
    if ".cbcap" in name:
        yield from _cbcap(body)
        return
    if name.endswith((".json", ".json.gz")):
        yield Record("http", 0, body)
        return
    for line in body.splitlines():
        if ".hft" in name:
            ts, _, text = line.partition(b" ")
            yield Record("recv", int(ts), text.strip())
        elif ".cf3" in name:
            entry = json.loads(line)
            ts_ns = int(entry.get("ts", 0) * 1e9)
            place = entry.get("url") or entry.get("addr") or ""
            text = entry.get("data", "").encode()
            yield Record(entry["t"], ts_ns, text, place, entry.get("conn", ""))
        elif ".cf2" in name:
            yield _cf2(line.decode())
        elif name == "singles.jsonl":
            entry = json.loads(line)
            yield Record("recv" if entry["exact_text"] else "spelled", 0, entry["text"].encode())
        else:
            yield Record("recv", 0, line)


def _cf2(line: str) -> Record:
    found = CF2_RECEIVED.fullmatch(line)
    if found is not None:
        return Record("recv", int(float(found["at"]) * 1e9), found["text"].encode())
    found = CF2.fullmatch(line)
    if found is None:
        return Record("header", 0, line.encode())
    kind = {"->": "http", "<-": "send", "<->": "connect"}[found["arrow"]]
    ts_ns = int(float(found["at"]) * 1e9)
    return Record(kind, ts_ns, (found["text"] or "").encode(), found["place"])


def _cbcap(body: bytes) -> Iterator[Record]:
    at = body.index(b"\n") + 1
    yield Record("header", 0, body[: at - 1])
    while at < len(body):
        end = body.index(b"\n", at)
        ts, size = body[at:end].split()
        at = end + 1 + int(size)
        yield Record("recv", int(ts), body[end + 1 : at])
        at += 1


@pytest.fixture(scope="session")
def records(captures: Path) -> Callable[[str], list[Record]]:
    """Return a reader of recordings by name ("kraken_v2/btc_d25_20260802.cbcap.gz")."""
    known: dict[str, list[Record]] = {}

    def read(name: str) -> list[Record]:
        path = captures / name
        if not path.is_file():
            pytest.skip(f"no recording {name}")
        if name not in known:
            known[name] = list(read_recording(path))
        return known[name]

    return read


@pytest.fixture(scope="session")
def facts(captures: Path) -> Callable[[str], dict[str, Any]]:
    """Return a reader of what is known about a recording (expected.json)."""
    known = json.loads((captures / "expected.json").read_bytes())

    def read(name: str) -> dict[str, Any]:
        if name not in known:
            pytest.skip(f"nothing is known about {name}")
        found: dict[str, Any] = known[name]
        return found

    return read


@pytest.fixture(scope="session")
def timer() -> Callable[[Callable[[bytes], object], list[bytes]], float]:
    """Return a stopwatch: best time of one call over some frames, microseconds."""

    def measure(decode: Callable[[bytes], object], frames: list[bytes]) -> float:
        def run() -> None:
            for frame in frames:
                decode(frame)

        return min(timeit.repeat(run, number=1, repeat=5)) / len(frames) * 1e6

    return measure
