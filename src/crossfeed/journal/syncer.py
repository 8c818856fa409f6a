"""The thread that waits for the disk, so that the writer's thread never does."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["Syncer"]

log = logging.getLogger("crossfeed.journal")

JOBS_MAX: Final = 64


class Syncer:
    """Runs jobs (sync, seal, delete) one after the other in a thread of its own.

    Started and closed by the writer. A job's `OSError` is its own affair: it notes it where the
    writer looks.

    Attributes:
        failure: What a job raised beyond that, None while all is well; the thread goes on.
    """

    def __init__(self) -> None:
        """Prepare; no thread yet."""
        self.failure: BaseException | None = None
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(
            target=self._run, name="crossfeed-journal-sync", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_full(self) -> bool:
        """Whether no more jobs should be given now."""
        return len(self._jobs) >= JOBS_MAX

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` after those before it."""
        self._jobs.append(job)
        self._wake.set()

    def close(self, deadline_s: float) -> bool:
        """Finish all jobs; return False if the deadline passes first (the thread stays behind)."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(max(0.0, deadline_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._jobs:
                job = self._jobs.popleft()
                try:
                    job()
                except Exception as error:  # supervision point: the thread must live on
                    self.failure = error
                    log.exception("a journal job failed")
            if self._is_closing and not self._jobs:
                return
