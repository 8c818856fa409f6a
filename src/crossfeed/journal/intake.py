"""Where the data path leaves records for the writer's thread: bounded, without a lock."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from struct import Struct as Layout
from typing import Final, cast

from msgspec import Struct
from msgspec.structs import replace

from crossfeed.journal.records import HEAD_BYTES, Loss, RecordKind, encode_json, encode_record
from crossfeed.model.ports import Clock

__all__ = ["Intake", "StateRecord", "wall_of"]

log = logging.getLogger("crossfeed.journal")

ITEM_BYTES: Final = 48
"""What a waiting record costs beside its bytes."""
CHUNK_RECORDS: Final = 64
CHUNK_LIMITS_MAX: Final = 2
"""A chunk of more than this many limits goes record by record."""
STATE_SHARE: Final = 2
"""Records of state may fill the queue to this multiple: losing one would spoil what follows."""
_pack = Layout("<BBHIqq").pack
_stamp = Layout("<q").unpack_from
WALL_AT: Final = 8


def wall_of(record: bytes) -> int:
    """Return the wall time of an encoded record, ns."""
    return int(_stamp(record, WALL_AT)[0])


class StateRecord(Struct, frozen=True):
    """A record of state on its way through the queue, with what it replaces.

    Attributes:
        record: The encoded record.
        owner: Whose state.
        key: What it replaces among the owner's; None: forget all of the owner's.
    """

    record: bytes
    owner: str
    key: str | None


class Intake:
    """The queue between the data path and the writer.

    The `put` methods belong to one thread (the event loop's), `take` to the writer's; the rest may
    be read from anywhere.

    Attributes:
        lost_records: Records that did not fit.
        lost_bytes: Their bytes.
        losses: Ranges of them.
        waiting_bytes_max: Most that ever waited.
        reason: What the writer says about the disk, for the note of a loss.
        on_resume: Called in the loop's thread when records are taken again after a loss.
    """

    def __init__(self, limit_bytes: int, clock: Clock) -> None:
        """Start empty."""
        self.lost_records = self.lost_bytes = self.losses = 0
        self.waiting_bytes_max = 0
        self.reason = ""
        self.on_resume: Callable[[Loss], None] | None = None
        self._clock = clock
        self._limit = limit_bytes
        self._queue: deque[bytes | StateRecord] = deque()
        self._append = self._queue.append
        self._pops = iter(self._queue.popleft, None)
        # Taken from the queue, not yet written; the writer's.
        self._chunk: list[bytes] = []
        # Each counter has one writer: the loop's thread the first, the writer's the second.
        self._put_bytes = self._taken_bytes = 0
        self._loss: Loss | None = None

    def __len__(self) -> int:
        """Return how many records wait."""
        return len(self._queue) + len(self._chunk)

    @property
    def waiting_bytes(self) -> int:
        """Bytes waiting."""
        return self._put_bytes - self._taken_bytes

    @property
    def is_losing(self) -> bool:
        """Whether records are being lost now."""
        return self._loss is not None

    @property
    def left(self) -> tuple[int, int]:
        """Records that wait, and their own bytes."""
        records = len(self)
        return records, self.waiting_bytes - records * ITEM_BYTES

    # ── the data path ───────────────────────────────────────────────────────

    def put_frame(
        self, kind: int, source: bytes, payload: bytes, wall_ns: int, mono_ns: int
    ) -> bool:
        """Take a frame; False if it was lost. Never waits. Cost 0.6 us."""
        size, name_size = len(payload), len(source)
        put_bytes = self._put_bytes + size + name_size + (HEAD_BYTES + ITEM_BYTES)
        if self._loss is not None or put_bytes - self._taken_bytes > self._limit:
            return self.put(encode_record(kind, source, payload, wall_ns, mono_ns))
        self._put_bytes = put_bytes
        self._append(_pack(kind, name_size, 0, size, wall_ns, mono_ns) + source + payload)
        return True

    def put(self, record: bytes) -> bool:
        """Take a record that is no state; False if it was lost. Never waits."""
        # After a loss half the queue must be free, so that losses come in few ranges.
        if not self._has_room(record, self._limit if self._loss is None else self._limit // 2):
            return False
        if self._loss is not None:
            self.end_loss()
        self._take_in(record, len(record))
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
        self._take_in(StateRecord(record, owner, key), len(record))
        return True

    def _take_in(self, item: bytes | StateRecord, size: int) -> None:
        self._put_bytes += size + ITEM_BYTES
        self._append(item)

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
        self.lost_records += 1
        self.lost_bytes += size
        return False

    def end_loss(self) -> None:
        """Note the range that did not fit, in its place among the records."""
        loss, self._loss = self._loss, None
        if loss is None:
            return
        self.losses += 1
        # What the disk had to say is over by now: that is why records are taken again.
        loss = replace(loss, detail=loss.detail or self.reason or "the disk did not keep up")
        log.warning("journal: %d records lost: %s", loss.records, loss.detail)
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        record = encode_json(RecordKind.LOSS, b"", loss, now_ns, mono_ns)
        self._take_in(record, len(record))
        if self.on_resume is not None:
            self.on_resume(loss)

    # ── the writer's side ───────────────────────────────────────────────────

    def take(
        self, parts: list[bytes], limit: int, remember: Callable[[StateRecord], bytes]
    ) -> None:
        """Move records to `parts` until they have about `limit` bytes or none is left.

        While this thread runs Python, the data path waits: records are moved a chunk at a time by
        C alone. Cost 0.1 us a record.
        """
        total, chunk = sum(map(len, parts)), self._chunk
        while total < limit:
            if not chunk:
                # Nobody else takes any out: there are at least that many.
                count = min(len(self._queue), CHUNK_RECORDS)
                if not count:
                    break
                items = list(islice(self._pops, count))
                if StateRecord in set(map(type, items)):
                    items = [
                        remember(item) if isinstance(item, StateRecord) else item for item in items
                    ]
                chunk += cast("list[bytes]", items)
            count, size = len(chunk), sum(map(len, chunk))
            if size <= CHUNK_LIMITS_MAX * limit:
                parts += chunk
                chunk.clear()
            else:  # long ones go one by one
                parts.append(chunk.pop(0))
                count, size = 1, len(parts[-1])
            total += size
            self._taken_bytes += size + ITEM_BYTES * count
