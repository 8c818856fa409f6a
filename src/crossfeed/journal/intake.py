"""Where the data path leaves records for the writer's thread: bounded, its losses noted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from crossfeed.journal.queue import ITEM_BYTES, MakeQueue, StateRecord
from crossfeed.journal.records import Loss, RecordKind, encode_json, encode_record, wall_of

if TYPE_CHECKING:
    from crossfeed.journal.queue import Piece
    from crossfeed.model.ports import Clock

__all__ = ["Intake"]

log = logging.getLogger("crossfeed.journal")

STATE_SHARE: Final = 2
"""Records of state may fill the queue to this multiple: losing one would spoil what follows."""


class Intake:
    """The queue between the data path and the writer, and what did not fit into it.

    The `put` methods belong to one thread (the event loop's), `take` to the writer's; the rest may
    be read from anywhere. None of them ever waits.

    Attributes:
        put_frame: (kind, source, payload, wall_ns, mono_ns) -> False if it was lost.
        take: Returns what comes next for the writer; see `Queue.take`.
        lost_records: Records that did not fit.
        lost_bytes: Their bytes.
        losses: Ranges of them.
        waiting_bytes_max: Most that ever waited.
        reason: What the writer says about the disk, for the note of a loss.
        on_resume: Called in the loop's thread when records are taken again after a loss.
    """

    def __init__(
        self, limit_bytes: int, block_bytes: int, clock: Clock, make_queue: MakeQueue
    ) -> None:
        """Start empty."""
        self.lost_records = self.lost_bytes = self.losses = 0
        self.waiting_bytes_max = 0
        self.reason = ""
        self.on_resume: Callable[[Loss], None] | None = None
        self._clock = clock
        self._limit = limit_bytes
        self._queue = make_queue(limit_bytes, block_bytes, self._put_late)
        # The data path: the queue's own, no call of ours in between.
        self.put_frame: Callable[[int, bytes, bytes, int, int], bool] = self._queue.put_frame
        self.take: Callable[[], Piece | StateRecord | None] = self._queue.take
        self._loss: Loss | None = None

    def __len__(self) -> int:
        """Return how many records wait."""
        return self._queue.records

    @property
    def waiting_bytes(self) -> int:
        """Bytes waiting."""
        return self._queue.waiting_bytes

    @property
    def is_losing(self) -> bool:
        """Whether records are being lost now."""
        return self._loss is not None

    @property
    def left(self) -> tuple[int, int]:
        """Records that wait, and their own bytes."""
        records = len(self)
        return records, self.waiting_bytes - records * ITEM_BYTES

    def _put_late(
        self, kind: int, source: bytes, payload: bytes, wall_ns: int, mono_ns: int
    ) -> bool:
        """Take a frame after a loss, or lose it."""
        return self.put(encode_record(kind, source, payload, wall_ns, mono_ns))

    def put(self, record: bytes) -> bool:
        """Take a record that is no state; False if it was lost."""
        # After a loss half the queue must be free, so that losses come in few ranges.
        if not self._has_room(record, self._limit if self._loss is None else self._limit // 2):
            return False
        if self._loss is not None:
            self.end_loss()
        self._queue.put_record(record)
        return True

    def put_state(self, record: bytes, owner: str, key: str | None) -> bool:
        """Take a change of state, which later segments begin with; False if it was lost.

        Args:
            record: The record.
            owner: Whose state: a connection ("kraken/kraken-1") or a feed.
            key: What it replaces among the owner's; None: the owner's state ends here.
        """
        if not self._has_room(record, self._limit * STATE_SHARE):
            return False
        self._queue.put_state(StateRecord(record, owner, key))
        return True

    def _has_room(self, record: bytes, limit: int) -> bool:
        size, waiting = len(record), self.waiting_bytes
        self.waiting_bytes_max = max(self.waiting_bytes_max, waiting)
        if waiting + size + ITEM_BYTES <= limit:
            return True
        wall_ns = wall_of(record)
        loss = self._loss or Loss(cause="overflow", first_ns=wall_ns)
        self._loss = Loss(
            cause=loss.cause,
            first_ns=loss.first_ns,
            last_ns=wall_ns,
            records=loss.records + 1,
            bytes=loss.bytes + size,
            detail=self.reason or loss.detail,
        )
        self._queue.is_shut = True
        self.lost_records += 1
        self.lost_bytes += size
        return False

    def end_loss(self) -> None:
        """Note the range that did not fit, in its place among the records."""
        loss, self._loss = self._loss, None
        self._queue.is_shut = False
        if loss is None:
            return
        self.losses += 1
        # What the disk had to say is over by now: that is why records are taken again.
        loss = replace(loss, detail=loss.detail or self.reason or "the disk did not keep up")
        log.warning("journal: %d records lost: %s", loss.records, loss.detail)
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        self._queue.put_record(encode_json(RecordKind.LOSS, b"", loss, now_ns, mono_ns))
        if self.on_resume is not None:
            self.on_resume(loss)
