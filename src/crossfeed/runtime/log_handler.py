"""A log whose sink blocks (a full pipe, a dead disk, a slow collector) must not block the feed."""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque
from typing import Final

__all__ = ["BackgroundLogHandler"]

CLOSE_DEADLINE_S: Final = 1.0
NAME: Final = "crossfeed.log"


class BackgroundLogHandler(logging.Handler):
    """Hands records to another handler on a thread of its own, and never waits for it.

    ```python
    target = logging.FileHandler("crossfeed.log")
    logging.getLogger("crossfeed").addHandler(crossfeed.BackgroundLogHandler(target))
    ```

    Records beyond `capacity` are dropped and counted; as soon as the sink takes lines again, one
    says how many are missing. `close` (at the end of the process `logging` calls it) waits at most
    a second for a sink that does not take what is left, and closes the target.

    Args:
        target: Where records go; its level, filters and formatter apply.
        capacity: Records that may wait.

    Attributes:
        dropped: Records dropped so far.
        written: Records handed to the target so far.
    """

    def __init__(self, target: logging.Handler, *, capacity: int = 10_000) -> None:
        """Start the thread."""
        super().__init__()
        self.dropped = 0
        self.written = 0
        self._target = target
        self._capacity = capacity
        self._waiting: deque[logging.LogRecord] = deque()
        self._told = 0
        self._ready = threading.Event()
        self._is_over = False
        # A daemon: a sink that blocks for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._write, name="crossfeed-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, its text made now; drop and count it if the queue is full."""
        if len(self._waiting) >= self._capacity or self._is_over:
            self.dropped += 1
            return
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - the contract of `emit`: arguments that do not fit are told
            self.handleError(record)
            return
        ready = copy.copy(record)
        ready.msg, ready.args = text, None
        self._waiting.append(ready)
        self._ready.set()

    def _write(self) -> None:
        while not (self._is_over and not self._waiting):
            self._ready.wait()
            self._ready.clear()
            while self._waiting:
                self._hand_over(self._waiting.popleft())
                self.written += 1
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        missing = self.dropped - self._told
        if missing:
            self._told += missing
            text = f"{missing} log lines were dropped: the sink did not keep up"
            self._hand_over(logging.LogRecord(NAME, logging.WARNING, __file__, 0, text, None, None))

    def _hand_over(self, record: logging.LogRecord) -> None:
        if record.levelno < self._target.level:
            return
        try:
            self._target.handle(record)
        except Exception:  # noqa: BLE001 - a sink that fails must not end the thread; told as usual
            self._target.handleError(record)

    def close(self) -> None:
        """Write what is left, for a second at most; close the target. Closing twice is harmless."""
        self._is_over = True
        self._ready.set()
        self._thread.join(CLOSE_DEADLINE_S)
        if not self._thread.is_alive():
            self._target.close()
        super().close()
