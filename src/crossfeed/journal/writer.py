"""The journal's writer: takes records from the data path without ever making it wait.

```
 event loop ── put() ──► bounded queue ──► writer's thread: blocks ──► file
                                            syncer's thread: fsync, seal by rename, retention
```
The data path puts into a queue: no lock, no system call. Every half flush window the writer's
thread takes what is there, compresses it into blocks and hands it to the operating system; from
then on a killed process loses nothing of it. The syncer's thread waits for the disk. What does not
fit into the queue while the disk is slow, full, gone or failing is lost, counted, and noted in the
journal itself as soon as it can be written again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Final

from crossfeed.errors import JournalError
from crossfeed.journal.compression import codec_named
from crossfeed.journal.files import Files, said
from crossfeed.journal.folder import last_number
from crossfeed.journal.format import BLOCK_BYTES_MAX, SegmentHead
from crossfeed.journal.intake import Intake
from crossfeed.journal.lock import FolderLock
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.queue import MakeQueue, Piece, RecordQueue, StateRecord
from crossfeed.journal.records import (
    HEAD_BYTES,
    RECORD_BYTES_MAX,
    REPEATED,
    Loss,
    RecordKind,
    encode_json,
    wall_of,
)
from crossfeed.journal.recovery import Recovered, recover_folder
from crossfeed.journal.retention import retire
from crossfeed.journal.segment_out import SegmentOut
from crossfeed.journal.stats import JournalStats
from crossfeed.journal.syncer import Syncer
from crossfeed.model.ports import Clock

__all__ = ["JournalWriter"]

log = logging.getLogger("crossfeed.journal")

CLOSE_DEADLINE_S: Final = 5.0
RETRY_FACTOR_MAX: Final = 10
NICENESS: Final = 10
"""Of the writer's thread, where threads have their own: the feed's loop goes first."""
NS: Final = 1_000_000_000

FLAGS_AT: Final = 2
BEFORE_LAST_BYTES_MAX: Final = BLOCK_BYTES_MAX - RECORD_BYTES_MAX - HEAD_BYTES - 255
"""What a block may have that takes one more record: of any length, with a source of 255 bytes."""


class JournalWriter:
    """Writes one folder. Made by the recorder; `start` and `close` once each.

    Records are put into its `intake`, by one thread; the rest may be called from anywhere.

    Args:
        folder: Made if its parent exists.
        options: Limits, windows, retention.
        clock: Source of time.
        files: The file system; tests give a failing one.
        make_queue: The queue of the intake.

    Attributes:
        intake: Where records are put.
        recovered: What `start` found of the run before.
        failure: What ended the writer's thread before its time, None while all is well.
    """

    def __init__(
        self,
        folder: str | Path,
        options: JournalOptions | None = None,
        *,
        clock: Clock,
        files: Files | None = None,
        make_queue: MakeQueue = RecordQueue,
    ) -> None:
        """Prepare; nothing is touched."""
        self.folder = str(Path(folder).absolute())
        self.options = options or JournalOptions()
        limit_bytes, block_bytes = self.options.queue_bytes, self.options.block_bytes
        self.intake = Intake(limit_bytes, block_bytes, clock, make_queue)
        self.recovered: list[Recovered] = []
        self.failure: BaseException | None = None
        self._clock = clock
        self._files = files or Files()
        self._codec = codec_named(self.options.compression)
        self._lock = FolderLock(self.folder)
        self._run_id = os.urandom(16)
        self._state: dict[tuple[str, str], bytes] = {}
        self._segment: SegmentOut | None = None
        self._number = 0
        self._begun_mono_ns = 0
        self._pending: Piece | None = None
        self._noted: list[bytes] = []
        self._failures = 0
        self._failed: OSError | JournalError | None = None
        self._retry_at_ns = self._retry_s = 0
        self._sync_at_ns = 0
        self._is_syncing = False
        self._durable_ns = 0
        self._records = self._bytes_in = self._closed_bytes = self._waiting_bytes_max = 0
        self._segments = self._retired = self._losses = 0
        self._broken: deque[SegmentOut] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        self._syncer = Syncer()
        self._thread = threading.Thread(target=self._run, name="crossfeed-journal", daemon=True)

    # ── life ────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Lock the folder, mend what a crash left, begin a segment, start the threads.

        Raises:
            JournalLockedError: Another process writes this folder.
            JournalError: The folder cannot be written.
        """
        try:
            Path(self.folder).mkdir(exist_ok=True)
        except OSError as error:
            raise JournalError(f"{self.folder}: cannot be made: {error.strerror}") from error
        self._lock.take()
        try:
            self.recovered = recover_folder(self.folder, self._files)
            self._note_crashes()
            self._begin()
        except OSError as error:
            self._lock.release()
            raise JournalError(f"{self.folder}: cannot be written: {said(error)}") from error
        except BaseException:
            self._lock.release()
            raise
        self._syncer.start()
        self._thread.start()

    def _note_crashes(self) -> None:
        """Let the new run say that the one before it did not end in order."""
        for found in self.recovered:
            if not found.is_complete:
                name = Path(found.path).name
                detail = f"{name}: ended without being closed; {found.cut_bytes} bytes cut off"
                loss = Loss(
                    cause="crash",
                    first_ns=found.last_ns,
                    last_ns=self._clock.now_ns(),
                    bytes=found.cut_bytes,
                    detail=detail,
                )
                self._note(loss)

    def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> bool:
        """Write what waits, seal the segment, unlock; blocks for at most `deadline_s`.

        Returns:
            False if the disk did not take it in time: the next start recovers what is there.
            Closing twice is harmless.
        """
        if self._is_closing or not self._thread.ident:
            self._lock.release()
            return True
        until_ns = self._clock.monotonic_ns() + round(deadline_s * NS)
        self._is_closing = True
        self._wake.set()
        self._thread.join(deadline_s)
        left_s = (until_ns - self._clock.monotonic_ns()) / NS
        is_done = self._syncer.close(left_s) and not self._thread.is_alive()
        if is_done:
            self._lock.release()
        return is_done and self._failed is None

    @property
    def is_alive(self) -> bool:
        """Whether both threads run."""
        return self._thread.is_alive() and self._syncer.is_alive

    # ── the writer's thread ─────────────────────────────────────────────────

    def _run(self) -> None:
        try:
            _step_back()
            period_s = self.options.period_s
            while True:
                is_last = self._is_closing
                if not is_last:
                    self._wake.wait(period_s)
                self._drain()
                if is_last:
                    break
            self._finish()
        except BaseException as error:
            self.failure = error
            log.exception("journal %s: the writer ended", self.folder)
            raise

    def _drain(self) -> None:
        """Write everything that waits, as far as the disk takes it."""
        if self._segment is None and not self._reopen():
            return
        self._check_segment()
        while self._segment is not None:
            if self._pending is None:
                self._pending = self._take()
            if self._pending is None:
                break
            if not self._write(self._pending):
                return
            self._pending = None
            self._rotate_if_due()
            _let_others_run()
        self._sync_if_due()

    def _take(self) -> Piece | None:
        """Take a block's worth of records, None if nothing waits."""
        pieces, self._noted = [_alone(record) for record in self._noted], []
        size = sum(len(piece[0]) for piece in pieces)
        wanted = min(self.options.block_bytes, BEFORE_LAST_BYTES_MAX)
        while size < wanted:
            # Most waits just before it is taken: the data path need not look.
            self._waiting_bytes_max = max(self._waiting_bytes_max, self.intake.waiting_bytes)
            found = self.intake.take()
            if found is None:
                break
            if isinstance(found, StateRecord):
                found = _alone(self._remember(found))
            pieces.append(found)
            size += len(found[0])
        if len(pieces) <= 1:
            return pieces[0] if pieces else None
        raws, counts, first_ns, last_ns = zip(*pieces, strict=True)
        return b"".join(raws), sum(counts), first_ns[0], last_ns[-1]

    def _remember(self, item: StateRecord) -> bytes:
        """Keep the state that the next segment must begin with."""
        if item.key is None:
            for key in [key for key in self._state if key[0] == item.owner]:
                del self._state[key]
        else:
            self._state.pop((item.owner, item.key), None)
            flags = (REPEATED).to_bytes(2, "little")
            repeated = item.record[:FLAGS_AT] + flags + item.record[FLAGS_AT + 2 :]
            self._state[item.owner, item.key] = repeated
        return item.record

    def _write(self, block: Piece) -> bool:
        """Write one block; False (and the block is kept) if the disk fails."""
        segment = self._segment
        assert segment is not None
        if segment.failure is not None:
            self._fail(segment.failure)
            return False
        try:
            segment.append(*block)
        except OSError as error:
            self._fail(error)
            return False
        self._records += block[1]
        self._bytes_in += len(block[0])
        return True

    # ── segments ────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """Begin the next segment with the state that stands.

        Raises:
            OSError: It cannot be begun.
            JournalError: The folder cannot be read.
        """
        head = SegmentHead(
            number=max(self._number, last_number(self.folder)) + 1,
            run=self._run_id,
            wall_ns=self._clock.now_ns(),
            mono_ns=self._clock.monotonic_ns(),
        )
        segment = SegmentOut(self.folder, head, self._files, self._codec)
        try:
            self._files.sync_folder(self.folder)
            for record in self._state.values():
                segment.append(*_alone(record))
                self._records += 1
        except OSError:
            segment.abandon()
            raise
        self._segment = segment
        self._number = head.number
        self._segments += 1
        self._begun_mono_ns = self._clock.monotonic_ns()

    def _rotate_if_due(self) -> None:
        segment, options = self._segment, self.options
        if segment is None or self._syncer.is_full:
            return
        age_ns = self._clock.monotonic_ns() - self._begun_mono_ns
        if segment.bytes >= options.segment_bytes or age_ns >= options.segment_s * NS:
            self._seal(segment, "rotated")
            self._segment = None
            try:
                self._begin()
            except (OSError, JournalError) as error:
                self._fail(error)

    def _seal(self, segment: SegmentOut, reason: str) -> None:
        """Mark the end of a segment and let the syncer close it."""
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        end = {"records": segment.records, "reason": reason}
        record = encode_json(RecordKind.END, b"", end, now_ns, mono_ns)
        try:
            segment.append(record, 1, now_ns, now_ns)
        except OSError as error:
            self._fail(error)
            return
        self._closed_bytes += segment.bytes

        def job() -> None:
            segment.seal()
            if segment.failure is not None:
                self._broken.append(segment)
            self._durable_ns = max(self._durable_ns, segment.synced_ns)
            self._retire()

        self._syncer.submit(job)

    def _retire(self) -> None:
        """Delete what is too old or too much; in the syncer's thread."""
        options = self.options
        try:
            gone = retire(
                self.folder, self._files, self._clock.now_ns(), options.keep_bytes, options.keep_s
            )
        except (OSError, JournalError) as error:
            log.warning("journal %s: old segments stay: %s", self.folder, error)
            return
        self._retired += len(gone)

    def _finish(self) -> None:
        """End in order: everything is written, the segment sealed."""
        if self.intake.is_losing:
            self.intake.end_loss()
            self._drain()
        if self._segment is not None:
            self._seal(self._segment, "closed")
            self._segment = None

    # ── failures ────────────────────────────────────────────────────────────

    def _check_segment(self) -> None:
        """See whether the syncer found the present segment unusable; let retries of age happen."""
        while self._broken:
            broken = self._broken.popleft()
            self._failures += 1
            self._note_unsynced(broken)
        segment = self._segment
        if segment is not None and segment.failure is not None:
            self._fail(segment.failure)
        elif segment is not None:
            self._rotate_if_due()

    def _fail(self, error: OSError | JournalError) -> None:
        """Give up the present segment; a new one is tried after a while."""
        segment, self._segment = self._segment, None
        self._failures += 1
        self._failed = error
        self.intake.reason = said(error)
        self._retry_s = min(self._retry_s + 1, RETRY_FACTOR_MAX)
        wait_ns = round(self.options.retry_s * self._retry_s * NS)
        self._retry_at_ns = self._clock.monotonic_ns() + wait_ns
        log.error("journal %s: %s; recording pauses", self.folder, said(error))
        if segment is not None:
            self._closed_bytes += segment.bytes
            self._note_unsynced(segment)
            self._syncer.submit(segment.abandon)

    def _note(self, loss: Loss) -> None:
        """Note a loss in the journal, before anything else is written."""
        self._losses += 1
        log.warning("journal %s: %s", self.folder, loss)
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        self._noted.append(encode_json(RecordKind.LOSS, b"", loss, now_ns, mono_ns))

    def _note_unsynced(self, segment: SegmentOut) -> None:
        """Note what a failed sync may have cost."""
        if segment.lost_from_ns:
            loss = Loss(
                cause="sync",
                first_ns=segment.lost_from_ns,
                last_ns=segment.last_ns,
                records=segment.records - segment.synced_records,
                detail=f"may be gone: {said(segment.failure)}",
            )
            self._note(loss)

    def _reopen(self) -> bool:
        """Try to go on after a failure; say whether it worked."""
        if self._clock.monotonic_ns() < self._retry_at_ns and not self._is_closing:
            return False
        try:
            if not self._lock.is_held():
                self._lock.release()
                self._lock.take()
            self._begin()
        except (OSError, JournalError) as error:
            self._fail(error)
            return False
        log.warning("journal %s: recording goes on", self.folder)
        self._failed = None
        self.intake.reason = ""
        self._retry_s = 0
        return True

    def _sync_if_due(self) -> None:
        segment = self._segment
        now_ns = self._clock.monotonic_ns()
        if segment is None or self._is_syncing or now_ns < self._sync_at_ns:
            return
        self._sync_at_ns = now_ns + self.options.sync_ns
        self._is_syncing = True

        def job() -> None:
            try:
                segment.sync()
                self._durable_ns = max(self._durable_ns, segment.synced_ns)
            finally:
                self._is_syncing = False

        self._syncer.submit(job)

    def _left(self) -> tuple[int, int]:
        """Return what still waits although the thread has ended: records, and their bytes."""
        if self._thread.ident is None or self._thread.is_alive():
            return 0, 0
        records, size = self.intake.left
        if self._pending is not None:
            records, size = records + self._pending[1], size + len(self._pending[0])
        return records, size

    # ── reading ─────────────────────────────────────────────────────────────

    def stats(self) -> JournalStats:
        """Return the counts; from any thread."""
        segment, intake = self._segment, self.intake
        left, left_bytes = self._left()
        return JournalStats(
            # Between two segments there is none for a moment: that is no end of recording.
            is_recording=self._failed is None and self._thread.is_alive() and not intake.is_losing,
            records=self._records,
            bytes_in=self._bytes_in,
            bytes_out=self._closed_bytes + (segment.bytes if segment is not None else 0),
            segments=self._segments,
            segment="" if segment is None else Path(segment.path).name,
            queue_bytes=intake.waiting_bytes,
            queue_bytes_max=max(
                self._waiting_bytes_max, intake.waiting_bytes_max, intake.waiting_bytes
            ),
            lost_records=intake.lost_records + left,
            lost_bytes=intake.lost_bytes + left_bytes,
            losses=intake.losses + self._losses,
            failures=self._failures,
            failure=said(self._failed or self.failure),
            durable_ns=self._durable_ns,
            retired=self._retired,
        )


def _alone(record: bytes) -> Piece:
    """Return a record as a piece of its own."""
    wall_ns = wall_of(record)
    return record, 1, wall_ns, wall_ns


def _step_back() -> None:
    """Let the feed's loop go first when both want the same core."""
    if sys.platform == "linux":  # elsewhere it would slow down the whole process
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, thread, NICENESS)


def _let_others_run() -> None:
    """Give the core away for a moment if somebody waits for it.

    On a core that both share, a scheduler lets a thread that runs go on for its whole slice, some
    3 ms, before it looks at one that woke up, whatever their niceness: the feed would stand for as
    long as all waiting blocks take.
    """
    if sys.platform == "linux":
        os.sched_yield()
