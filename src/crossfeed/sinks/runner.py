"""Runs a sink in a thread of its own, so that no sink can hold up the feed or another sink."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Self

from msgspec import Struct

from crossfeed.errors import ConfigError, SinkUnavailableError
from crossfeed.model.events import MarketData
from crossfeed.sinks.base import Sink

__all__ = ["SinkPolicy", "SinkRunner", "SinkStats"]

log = logging.getLogger("crossfeed.sinks")

CAPACITY: Final = 100_000
BATCH_MAX: Final = 5_000
WAIT_S: Final = 0.5
RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 30.0
BLOCK_S_MAX: Final = 30.0
LOOK_S: Final = 0.05


class SinkPolicy(StrEnum):
    """What happens to an event that finds the queue full."""

    DROP_OLDEST = "drop_oldest"
    """The oldest waiting one is dropped for it."""
    DROP_NEWEST = "drop_newest"
    """It is dropped itself."""
    BLOCK = "block"
    """`put` waits, at most 30 s: for imports and replays, never for a live feed."""


class SinkStats(Struct, frozen=True, kw_only=True):
    """How a sink stands: `received = stored + not_new + dropped + waiting`, to the event.

    Attributes:
        name: The sink's name.
        state: "new", "running", "retrying", "failed" or "closed".
        received: Events put.
        stored: Events the sink says are new.
        not_new: Events that were there already, or that the sink has no table for.
        dropped: Events lost here: overflow, a failed sink, an end before all was written.
        waiting: Events in the queue and in the batch under way.
        batches: Batches written.
        failures: Times the sink could not be reached or failed.
        error: The last failure's text.
    """

    name: str
    state: str
    received: int
    stored: int
    not_new: int
    dropped: int
    waiting: int
    batches: int
    failures: int
    error: str


class SinkRunner:
    """A bounded queue and a thread in front of one sink. Made, started and closed by its user.

    `put` belongs to one thread (the event loop's); it never waits unless the policy says so, and
    raises nothing. A sink that is unavailable is tried again with growing pauses, the batch kept;
    one that fails for good is ended, counted and logged once, and others are not concerned.

    From a configuration table (`[[record.sinks]]`): `type`, `path` or `dsn` and `schema` make the
    sink, `capacity` and `policy` go to the runner: `SinkRunner(SqliteSink(path), capacity=...)`.

    Args:
        sink: The sink; the runner opens and closes it.
        capacity: Events that may wait.
        batch_max: Most events of one `write`.
        wait_s: Longest time an event waits for others to form a batch.
        policy: For a full queue.
        retry_s: First and longest pause between attempts.

    Raises:
        ConfigError: A limit below 1.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = CAPACITY,
        batch_max: int = BATCH_MAX,
        wait_s: float = WAIT_S,
        policy: SinkPolicy | str = SinkPolicy.DROP_OLDEST,
        retry_s: tuple[float, float] = (RETRY_S_MIN, RETRY_S_MAX),
    ) -> None:
        """Check the limits; nothing is started."""
        if capacity < 1 or batch_max < 1:
            raise ConfigError("capacity and batch_max are at least 1", field="sink")
        try:
            self._policy = SinkPolicy(policy)
        except ValueError as error:
            raise ConfigError(f"{policy!r}: {', '.join(SinkPolicy)}", field="policy") from error
        self.sink = sink
        self._capacity = capacity
        self._batch_max = batch_max
        self._wait_s = wait_s
        self._retry_s = retry_s
        self._queue: deque[MarketData] = deque()
        self._batch: list[MarketData] = []
        self._wake = threading.Event()
        self._room = threading.Event()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._thread: threading.Thread | None = None
        self._state = "new"
        self._error = ""
        # The first two are counted by the thread that puts, the others by the sink's.
        self._received = self._overflowed = 0
        self._stored = self._not_new = self._lost = self._batches = self._failures = 0

    def __repr__(self) -> str:
        """Return a status line."""
        stats = self.stats()
        return f"<SinkRunner {stats.name} {stats.state}, {stats.waiting} waiting>"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, then close."""
        self.close()

    def start(self) -> None:
        """Start the thread. Calling it again does nothing."""
        if self._thread is None:
            self._state = "running"
            self._thread = threading.Thread(
                target=self._run, name=f"sink-{self.sink.name}", daemon=True
            )
            self._thread.start()

    def put(self, event: MarketData) -> bool:
        """Hand over an event; say whether it was taken. Cost 0.2 us."""
        self._received += 1
        if self._state in {"failed", "closed"} or (self._is_full() and not self._make_room()):
            self._overflowed += 1
            return False
        self._queue.append(event)
        if len(self._queue) == self._batch_max:
            self._wake.set()
        return True

    def close(self, deadline_s: float = 5.0) -> None:
        """Write what waits within `deadline_s`, count the rest as dropped, close the sink."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(deadline_s)
            if self._thread.is_alive():
                self._abandoned.set()
                self._thread.join(1.0)
        self._state = "closed" if self._state != "failed" else "failed"
        self._drop_waiting()

    def stats(self) -> SinkStats:
        """Return the counts."""
        return SinkStats(
            name=self.sink.name,
            state=self._state,
            received=self._received,
            stored=self._stored,
            not_new=self._not_new,
            dropped=self._overflowed + self._lost,
            waiting=len(self._queue) + len(self._batch),
            batches=self._batches,
            failures=self._failures,
            error=self._error,
        )

    def _is_full(self) -> bool:
        return len(self._queue) >= self._capacity

    def _make_room(self) -> bool:
        """Apply the policy; say whether the newest event may enter."""
        if self._policy is SinkPolicy.DROP_OLDEST:
            try:
                self._queue.popleft()
            except IndexError:
                return True  # the sink's thread was faster
            self._overflowed += 1
            return True
        if self._policy is SinkPolicy.BLOCK:
            for _ in range(int(BLOCK_S_MAX / LOOK_S)):
                self._wake.set()
                self._room.clear()
                if not self._is_full():
                    return True
                if self._state in {"failed", "closed"}:
                    return False
                self._room.wait(LOOK_S)
        return False

    # ── the sink's thread ───────────────────────────────────────────────────

    def _run(self) -> None:
        """Write until closed. The one place where a sink's faults end: nobody else sees them."""
        try:
            if self._reach():
                self._write_all()
        except Exception as error:
            self._failures += 1
            self._error = f"{type(error).__name__}: {error}"
            self._state = "failed"
            self._drop_waiting()
            log.exception("sink %s has ended", self.sink.name)
        finally:
            self._close_sink()

    def _close_sink(self) -> None:
        try:
            self.sink.close()
        except Exception as error:  # noqa: BLE001 - supervision, as above
            log.warning("sink %s: closing: %s", self.sink.name, error)

    def _write_all(self) -> None:
        while not self._abandoned.is_set():
            if len(self._queue) < self._batch_max and not self._closing.is_set():
                self._wake.wait(self._wait_s)
                self._wake.clear()
            self._fill()
            if self._batch:
                if not self._write(self._batch):
                    return
            elif self._closing.is_set():
                return

    def _fill(self) -> None:
        """Move events from the queue into the batch."""
        while len(self._batch) < self._batch_max:
            try:
                self._batch.append(self._queue.popleft())
            except IndexError:
                break
        self._room.set()

    def _write(self, batch: Sequence[MarketData]) -> bool:
        """Write a batch, however often it takes; False when the end came first."""
        while not self._abandoned.is_set():
            try:
                new = self.sink.write(batch)
            except SinkUnavailableError as error:
                self._note(error)
                if not self._reach():
                    return False
                continue
            self._stored += new
            self._not_new += len(batch) - new
            self._batches += 1
            self._batch.clear()
            return True
        return False

    def _reach(self) -> bool:
        """Open the sink, however often it takes; False when the end came first."""
        pause_s, longest_s = self._retry_s
        while not self._abandoned.is_set():
            try:
                self.sink.open()
            except SinkUnavailableError as error:
                self._note(error)
                self._abandoned.wait(pause_s)
                pause_s = min(pause_s * 2, longest_s)
                continue
            self._state = "running"
            return True
        return False

    def _note(self, error: SinkUnavailableError) -> None:
        self._failures += 1
        if self._state != "retrying":
            log.warning("sink %s: %s; trying again", self.sink.name, error)
        self._error = str(error)
        self._state = "retrying"

    def _drop_waiting(self) -> None:
        """Count what will never be written."""
        self._lost += len(self._batch) + len(self._queue)
        self._batch.clear()
        self._queue.clear()
