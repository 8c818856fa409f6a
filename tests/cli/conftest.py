"""The command line, called in this process or, where signals and pipes matter, as a child."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfeed.cli import main
from crossfeed.journal.compression import Codec
from crossfeed.journal.folder import segment_name
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.records import RecordKind, encode_json

DEADLINE_S = 20.0
MAIN = "from crossfeed.cli import main; raise SystemExit(main())"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the machine's cache and logging as they are."""
    monkeypatch.setenv("CROSSFEED_CACHE", str(tmp_path / "cache"))
    logger = logging.getLogger("crossfeed")
    level, handlers = logger.level, logging.root.handlers[:]
    yield
    logger.setLevel(level)
    logging.root.handlers[:] = handlers


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run a command in this process; return (exit code, output, errors)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a journal of one feed that never said anything."""
    head = SegmentHead(number=1, run=bytes(16), wall_ns=1, mono_ns=1)
    config = encode_json(RecordKind.CONFIG, b"kraken", {"role": "feed", "venue": "kraken"}, 1, 1)
    folder = tmp_path / "journal"
    folder.mkdir()
    data = encode_head(head) + encode_block(config, 1, 0, 1, head.seed, Codec.ZLIB)
    (folder / segment_name(1)).write_bytes(data)
    return folder


class Child:
    """A command in a process of its own, its output read as it comes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.lines: list[str] = []

    def read_line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
        assert ready, "no output in time"
        line = self.process.stdout.readline().decode()
        self.lines.append(line)
        return line

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str, float]:
        """Send a signal if given, wait; return (code, rest of the output, errors, seconds)."""
        began = time.monotonic()
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=DEADLINE_S)
        took_s = time.monotonic() - began
        return self.process.returncode, (out or b"").decode(), err.decode(), took_s

    def children(self) -> list[int]:
        """Return the process ids of its own children (where the system shows them)."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(number) for number in file.read_text().split()] if file.exists() else []


@pytest.fixture
def start() -> Iterator[type[Child]]:
    """Start children; they never outlive the test."""
    started: list[Child] = []

    def begin(*arguments: str) -> Child:
        child = Child(*arguments)
        started.append(child)
        return child

    yield begin
    for child in started:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


@pytest.fixture(scope="module")
def venues() -> Iterator[dict[str, dict[str, str]]]:
    """Simulated venues that list BTC/USD only, in a process of their own: name -> its URLs."""
    arguments = ["--symbols", "BTC/USD", "--ends-with-stdin", "--json", "--rate", "100"]
    process = subprocess.Popen(
        [sys.executable, "-m", "crossfeed.simulator", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["venues"]
    process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file and return its path as text."""

    def made(text: str) -> str:
        path = tmp_path / "crossfeed.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return made
