"""Notices when something blocks the event loop, and says what: the stack, while it still blocks."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

from crossfeed.errors import LoopBlockedError
from crossfeed.model.ports import Clock

__all__ = ["LoopWatchdog"]

log = logging.getLogger("crossfeed.health")

CHECK_S: Final = 0.1
STACK_LINES_MAX: Final = 12


class LoopWatchdog:
    """A thread that looks at a heartbeat of the event loop; one per client.

    An inline handler that takes long delays the whole process: pings are missed, books fall behind.
    The stack of the loop's thread is taken while it happens, and reported once for each such block.

    Args:
        clock: Source of monotonic time.
        report: Called on the event loop with a `LoopBlockedError` when the loop runs again.
        limit_s: A loop that shows no sign of life for this long is blocked.

    Attributes:
        blocks: Blocks seen.
        longest_s: The longest of them.
    """

    def __init__(
        self, clock: Clock, report: Callable[[BaseException], object], limit_s: float = 0.5
    ) -> None:
        """Prepare; `start` begins to look."""
        self.blocks = 0
        self.longest_s = 0.0
        self._clock = clock
        self._report = report
        self._limit_ns = int(limit_s * 1e9)
        self._beat_ns = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0

    def start(self) -> None:
        """Begin to look; call from the event loop. Starting twice is harmless."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ended.clear()
        self.beat()
        self._thread = threading.Thread(target=self._watch, name="crossfeed-watchdog", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Show that the loop runs; called by a timer on it, more often than the limit."""
        self._beat_ns = self._clock.monotonic_ns()

    def close(self) -> None:
        """Stop looking. Closing twice is harmless."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        blocked_since_ns = 0
        stack = ""
        while not self._ended.wait(CHECK_S):
            beat_ns = self._beat_ns
            silent_ns = self._clock.monotonic_ns() - beat_ns
            if silent_ns > self._limit_ns:
                if not blocked_since_ns:
                    blocked_since_ns = beat_ns
                    stack = self._stack()
                    log.error("the event loop is blocked, by:\n%s", stack)
            elif blocked_since_ns:
                self._told((beat_ns - blocked_since_ns) / 1e9, stack)
                blocked_since_ns = 0

    def _told(self, seconds: float, stack: str) -> None:
        self.blocks += 1
        self.longest_s = max(self.longest_s, seconds)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._report, LoopBlockedError(seconds, stack))

    def _stack(self) -> str:
        """Return the innermost lines of the loop thread's stack."""
        # The documented way, whatever the underscore says.
        frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        frame = frames.get(self._loop_thread)
        if frame is None:
            return "unknown"
        return "".join(traceback.format_stack(frame)[-STACK_LINES_MAX:])
