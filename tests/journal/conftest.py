"""What the journal's tests share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crossfeed.journal.files import Files
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.queue import MakeQueue, RecordQueue
from crossfeed.journal.writer import JournalWriter
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.recording import journal_queue

FAST = {"flush_ms": 4.0, "fsync_s": 0.005, "retry_s": 0.005}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder that `make_writer` writes."""
    return tmp_path / "journal"


@pytest.fixture(params=["pure", "compiled"])
def make_queue(request: pytest.FixtureRequest) -> MakeQueue:
    """Return what makes a queue, of either form."""
    if request.param == "pure":
        return RecordQueue
    if journal_queue() is RecordQueue:
        pytest.skip("the compiled core is not in use")
    return journal_queue()


@pytest.fixture
def make_writer(folder: Path, make_queue: MakeQueue) -> Iterator[Callable[..., JournalWriter]]:
    """Return a function that starts a writer with short windows; it is closed after the test."""
    with ExitStack() as stack:

        def make(files: Files | None = None, **options: object) -> JournalWriter:
            settings = JournalOptions(**(FAST | options))
            writer = JournalWriter(
                folder, settings, clock=SystemClock(), files=files, make_queue=make_queue
            )
            writer.start()
            stack.callback(writer.close)
            return writer

        yield make
