"""What the journal's tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crossfeed.journal.files import Files
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import JournalWriter
from crossfeed.runtime.clock import SystemClock

FAST = {"flush_ms": 4.0, "fsync_s": 0.005, "retry_s": 0.005}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that `make_writer` writes."""
    return tmp_path / "journal"


@pytest.fixture
def make_writer(folder: Path) -> Iterator[Callable[..., JournalWriter]]:
    """Return a function that starts a writer with short windows; it is closed after the test."""
    with ExitStack() as stack:

        def make(files: Files | None = None, **options: object) -> JournalWriter:
            settings = JournalOptions(**(FAST | options))
            writer = JournalWriter(folder, settings, clock=SystemClock(), files=files)
            writer.start()
            stack.callback(writer.close)
            return writer

        yield make
