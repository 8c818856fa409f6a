"""One segment while it is written."""

from __future__ import annotations

import contextlib
import errno
import logging
from pathlib import Path

from crossfeed.errors import CrossfeedError
from crossfeed.journal.compression import Codec
from crossfeed.journal.files import Files
from crossfeed.journal.folder import OPEN, SegmentFile, segment_name
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.recovery import recover_segment

__all__ = ["SegmentOut"]

log = logging.getLogger("crossfeed.journal")


class SegmentOut:
    """A segment file being written: begun by the writer's thread, ended by the syncer's.

    `append` belongs to the writer's thread; `sync`, `seal` and `abandon` to the syncer's. After a
    failure nothing more is written to the file: `failure` says so to both.

    Attributes:
        path: Its name while it is open.
        head: Its head.
        bytes: Bytes written.
        records: Records written.
        first_ns: Wall time of its first record, 0 before there is one.
        last_ns: Wall time of its last one.
        synced_ns: Wall time of the last record known to be on the disk, 0 if none.
        synced_records: How many records are.
        failure: Why it can be used no more, None while it can.
        lost_from_ns: After a failed sync: from when on records may be gone; 0: none are.

    Raises:
        OSError: The file cannot be begun.
    """

    def __init__(self, folder: str, head: SegmentHead, files: Files, codec: Codec) -> None:
        """Create the file and write its head."""
        self.folder = folder
        self.head = head
        self.path = str(Path(folder) / segment_name(head.number, is_open=True))
        self.bytes = self.records = 0
        self.first_ns = self.last_ns = 0
        self.synced_ns = self.synced_records = 0
        self.failure: OSError | None = None
        self.lost_from_ns = 0
        self._files = files
        self._codec = codec
        self._blocks = 0
        self._handle = files.create(self.path)
        try:
            data = encode_head(head)
            files.write(self._handle, data)
            self.bytes = len(data)
        except OSError:
            files.close(self._handle)
            with contextlib.suppress(OSError):  # recovery sets it aside otherwise
                files.remove(self.path)
            raise

    def append(self, raw: bytes, records: int, first_ns: int, last_ns: int) -> None:
        """Write one block.

        Raises:
            OSError: It could not be written: the file is of no more use; the block is still the
                caller's.
        """
        block = encode_block(raw, records, self._blocks, first_ns, self.head.seed, self._codec)
        try:
            self._files.write(self._handle, block)
        except OSError as error:
            self.failure = error
            raise
        self._blocks += 1
        self.bytes += len(block)
        self.records += records
        self.first_ns = self.first_ns or first_ns
        self.last_ns = last_ns

    def sync(self) -> None:
        """Wait until the disk has all that is written now; note a failure.

        A failed sync is final: what the system had not yet written may be gone, and a second sync
        would report success without it.
        """
        if self.failure is not None:
            return
        records, last_ns = self.records, self.last_ns
        try:
            self._files.sync(self._handle)
            is_there = self._files.is_same(self._handle, self.path)
        except OSError as error:
            self.lost_from_ns = self.synced_ns or self.first_ns
            self.failure = error
            return
        if not is_there:
            self.lost_from_ns, self.synced_records = self.first_ns, 0
            self.failure = OSError(errno.ESTALE, "the segment has been deleted or replaced")
            return
        self.synced_ns, self.synced_records = last_ns, records

    def seal(self) -> None:
        """Sync, close and give it its final name: all of it is on the disk afterwards.

        Notes a failure; the file stays as it is then, for recovery.
        """
        self.sync()
        self._close()
        if self.failure is not None:
            return
        try:
            self._files.rename(self.path, self.path.removesuffix(OPEN))
            self._files.sync_folder(self.folder)
        except OSError as error:
            self.failure = error
            log.warning("%s: not sealed: %s", self.path, error)

    def abandon(self) -> None:
        """Close a file that failed; keep what is whole in it if the disk allows it now."""
        self._close()
        try:
            me = SegmentFile(self.head.number, self.path, self.bytes, "open")
            recover_segment(me, self._files)
        except (OSError, CrossfeedError) as error:
            log.warning("%s: left for recovery: %s", self.path, error)

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                self._files.close(handle)
