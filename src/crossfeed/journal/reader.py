"""Reading a journal: whole records only, in order, and what is missing between them.

```python
journal = Journal("recording")
for record in journal.records():
    ...
for damage in journal.damages:
    ...
```
Nothing here writes. A segment may be read while it is being written: what is not whole yet is not
there yet. Memory is bounded by one block, whatever the file holds.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
from msgspec import Struct

from crossfeed.errors import CorruptRecordError, JournalError
from crossfeed.journal.folder import SegmentFile, list_segments, segment_name
from crossfeed.journal.format import (
    BLOCK_HEAD_BYTES,
    HEADER_BYTES,
    MARK,
    BlockHead,
    SegmentHead,
    open_block,
    parse_block_head,
    parse_head,
)
from crossfeed.journal.records import Decode, Loss, Record, RecordKind, decode_records

__all__ = ["Damage", "Journal", "SegmentReader", "present_path", "read_loss"]

SCAN_BYTES: Final = 1 << 20
NAMES_MAX: Final = 65_536
DAMAGES_MAX: Final = 10_000
RESYNC_BYTES_MAX: Final = 1 << 30
"""Bytes that are tried as blocks after damage in one file: bounds the work on a hostile one."""
NS_MAX: Final = (1 << 63) - 1


class Damage(Struct, frozen=True):
    """A range of a segment that cannot be read.

    Attributes:
        path: The file.
        offset: First byte.
        length: Bytes; 0 where something is missing between two good blocks.
        reason: "torn tail" (cut off while writing), "checksum", "blocks missing", "head",
            "unsealed" (all there is can be read, but the end is not marked), "segments missing"
            (`path` is the first of them).
        after_ns: Wall time of the last record before it, 0 if there is none.
        before_ns: Wall time of the first record after it, 0 if there is none.
    """

    path: str
    offset: int
    length: int
    reason: str
    after_ns: int = 0
    before_ns: int = 0


class SegmentReader:
    """Reads one segment file. A context manager, closed by its user.

    Attributes:
        head: The file's head.
        damages: What could not be read so far, in order.
        is_complete: Whether the end record was met: nothing is missing at the end.
        good_end: Byte after the last whole block met so far.
        records: Records met so far.
        met_ns: Wall time of the last record met, 0 before there is one.
        rare: Those of the block last given out that are neither frames nor state.

    Raises:
        JournalError: The file cannot be opened.
        CorruptRecordError: It is no segment, or both copies of its head are gone.
        UnsupportedVersionError: A later format.
    """

    def __init__(self, path: str | Path, decode: Decode = decode_records) -> None:
        """Open the file and read its head."""
        self.path = str(path)
        self._decode = decode
        self.damages: list[Damage] = []
        self.is_complete = False
        self.good_end = 0
        self.records = 0
        self.rare: list[Record] = []
        self._names: dict[bytes, str] = {}
        self.met_ns = 0
        self._next_number: int = 0
        self._resync_left = RESYNC_BYTES_MAX
        try:
            # Never through a link, and never waiting for a pipe.
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            self._file: BinaryIO = os.fdopen(handle, "rb", buffering=0)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be opened: {error.strerror}") from error
        try:
            self.head, is_damaged = parse_head(self._read(0, HEADER_BYTES), self.path)
        except BaseException:
            self._file.close()
            raise
        self.good_end = HEADER_BYTES
        if is_damaged:
            self._note(0, HEADER_BYTES, "head")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        self._file.close()

    def _read(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._file.fileno(), length, offset)
            while 0 < len(data) < length:
                more = os.pread(self._file.fileno(), length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be read: {error.strerror}") from error
        return data

    def _note(self, offset: int, length: int, reason: str) -> None:
        if len(self.damages) < DAMAGES_MAX:
            self.damages.append(Damage(self.path, offset, length, reason, self.met_ns))

    def grown(self) -> Iterator[Sequence[Record]]:
        """Yield the whole blocks after the last one given out: the file is still being written.

        Ends, to be called again later, where the next block is not whole yet. It looks for nothing
        beyond damage: `blocks` does, once the file grows no more.
        """
        while not self.is_complete:
            at = self.good_end
            head = parse_block_head(self._read(at, BLOCK_HEAD_BYTES), self.head.seed)
            if head is None or head.number != self._next_number:
                return
            block = self._open(head, at)
            if block is None:
                return
            self._accept(head, at, block)
            yield block

    def blocks(self, start_ns: int = 0) -> Iterator[Sequence[Record]]:
        """Yield the records of each whole block; damage is skipped and noted.

        Called after `grown`, it goes on where that ended.

        Args:
            start_ns: Blocks that certainly lie before this wall time are not opened; their first
                record tells, so that earlier records may come as well.
        """
        at = self.good_end
        while True:
            head = parse_block_head(self._read(at, BLOCK_HEAD_BYTES), self.head.seed)
            if head is None or head.number < self._next_number:
                following = self._resync(at)
                if following is None:
                    break
                at = following
                continue
            block = self._open(head, at)
            if block is None:
                following = self._resync(at)
                if following is None:
                    break
                at = following
                continue
            if head.number != self._next_number and not self._has_noted_until(at):
                self._note(at, 0, "blocks missing")
            self._close_damage(head.wall_ns)
            at = self._accept(head, at, block)
            if not block or self.met_ns >= start_ns:
                yield block
        if not self.is_complete and not (self.damages and self.damages[-1].reason == "torn tail"):
            self._note(self.good_end, 0, "unsealed")

    def _accept(self, head: BlockHead, at: int, block: Sequence[Record]) -> int:
        """Count a whole block; return where the next one begins."""
        self._next_number = head.number + 1
        self.good_end = at + BLOCK_HEAD_BYTES + head.stored_bytes
        self.records += len(block)
        if block:
            last = block[-1]
            self.met_ns, self.is_complete = last.wall_ns, last.kind == RecordKind.END
        return self.good_end

    def last_ns(self) -> int:
        """Return the wall time of the last record, 0 if there is none. Cost: 3 us a block.

        Only the blocks' heads are read, and the last block; where a head is damaged, the block
        before it counts as the last.
        """
        at, last = HEADER_BYTES, -1
        while True:
            head = parse_block_head(self._read(at, BLOCK_HEAD_BYTES), self.head.seed)
            if head is None:
                break
            last = at
            at += BLOCK_HEAD_BYTES + head.stored_bytes
        if last < 0:
            return 0
        head = parse_block_head(self._read(last, BLOCK_HEAD_BYTES), self.head.seed)
        assert head is not None
        block = self._open(head, last)
        return block[-1].wall_ns if block else head.wall_ns

    def _open(self, head: BlockHead, at: int) -> Sequence[Record] | None:
        stored = self._read(at + BLOCK_HEAD_BYTES, head.stored_bytes)
        where = self.path
        try:
            raw = open_block(head, stored, self.head.seed, where, at)
            if len(self._names) > NAMES_MAX:
                self._names.clear()
            self.rare = []
            return self._decode(raw, head.records, self._names, where, self.rare)
        except CorruptRecordError:
            return None

    def _resync(self, at: int) -> int | None:
        """Find the next block after damage at `at`; None at the end of the file."""
        scan, overlap = at + 1, BLOCK_HEAD_BYTES - 1
        while True:
            chunk = self._read(scan, SCAN_BYTES)
            found = chunk.find(MARK)
            while found >= 0 and found + BLOCK_HEAD_BYTES <= len(chunk):
                head = parse_block_head(chunk[found : found + BLOCK_HEAD_BYTES], self.head.seed)
                if head is not None and self._is_next(head, scan + found):
                    self._note(at, scan + found - at, "checksum")
                    return scan + found
                found = chunk.find(MARK, found + 1)
            if len(chunk) < SCAN_BYTES:
                end = scan + len(chunk)
                if end > at + 1 or self._read(at, 1):
                    self._note(at, max(end, at + 1) - at, "torn tail")
                return None
            scan += len(chunk) - overlap

    def _is_next(self, head: BlockHead, at: int) -> bool:
        """Say whether a block found after damage is whole and a later one."""
        if head.number < self._next_number or self._resync_left <= 0:
            return False
        self._resync_left -= head.stored_bytes + head.raw_bytes
        return self._open(head, at) is not None

    def _has_noted_until(self, at: int) -> bool:
        return bool(self.damages) and self.damages[-1].offset + self.damages[-1].length == at

    def _close_damage(self, wall_ns: int) -> None:
        """Note what comes first after the last damage."""
        if self.damages and not self.damages[-1].before_ns:
            self.damages[-1] = msgspec.structs.replace(self.damages[-1], before_ns=wall_ns)


class Journal:
    """A folder of segments.

    Attributes:
        folder: The folder.
        damages: What the last `records()` could not read, in order.
        losses: What the journal itself says it lacks, as met by the last `records()`.
    """

    def __init__(self, folder: str | Path, decode: Decode = decode_records) -> None:
        """Name the folder; nothing is opened."""
        self.folder = Path(folder)
        self._decode = decode
        self.damages: list[Damage] = []
        self.losses: list[Loss] = []
        self._number = self._last_ns = 0

    def segments(self) -> list[SegmentFile]:
        """List the segments in the order of recording.

        Raises:
            JournalError: The folder cannot be read.
        """
        return list_segments(self.folder)

    def head(self, segment: SegmentFile) -> SegmentHead:
        """Read the head of a segment.

        Raises:
            JournalError: It has none.
        """
        with SegmentReader(present_path(segment)) as reader:
            return reader.head

    def span(self) -> tuple[int, int]:
        """Return when the recording began and when its last record came, wall times; 0, 0 if empty.

        Raises:
            JournalError: The folder cannot be read, or none of the segments in it; the first
                one's error.
        """
        first_ns = last_ns = 0
        refusal: JournalError | None = None
        for segment in self.segments():
            try:
                first_ns = self.head(segment).wall_ns
            except JournalError as error:
                refusal = refusal or error
                continue
            break
        else:
            if refusal is not None:
                raise refusal
        for segment in reversed(self.segments()):
            try:
                with SegmentReader(present_path(segment)) as reader:
                    last_ns = reader.last_ns()
            except JournalError:
                continue
            if last_ns:
                break
        return first_ns, max(first_ns, last_ns)

    def records(
        self,
        *,
        first_segment: int = 0,
        last_segment: int = NS_MAX,
        kinds: Collection[int] = (),
    ) -> Iterator[Record]:
        """Yield all records in the order in which they were recorded.

        Cost: 0.7 us a record (a block at a time). A run that starts in the first segment read
        begins with its state (`REPEATED` records).

        Args:
            first_segment: Number of the first segment to read.
            last_segment: Number of the last one.
            kinds: Only these kinds; empty: all.

        Raises:
            JournalError: The folder cannot be read. A segment without a head counts as damage.
        """
        for _, block in self.blocks(first_segment=first_segment, last_segment=last_segment):
            if kinds:
                yield from (record for record in block if record.kind in kinds)
            else:
                yield from block

    def blocks(
        self, *, first_segment: int = 0, last_segment: int = NS_MAX, is_followed: bool = False
    ) -> Iterator[tuple[SegmentReader | None, Sequence[Record]]]:
        """Yield each block's records with the reader of their segment; see `records`.

        Args:
            first_segment: Number of the first segment to read.
            last_segment: Number of the last one.
            is_followed: Never end: without anything new, yield (None, []), to be asked again.
        """
        self.damages.clear()
        self.losses.clear()
        self._number = self._last_ns = 0
        wanted = first_segment
        while True:
            newest = 0
            for segment in self.segments():
                if not wanted <= segment.number <= last_segment:
                    continue
                newest = segment.number
                yield from self._segment(segment, is_followed=is_followed)
            wanted = max(wanted, newest + 1)
            if not is_followed:
                return
            yield None, []

    def _segment(
        self, segment: SegmentFile, *, is_followed: bool
    ) -> Iterator[tuple[SegmentReader | None, Sequence[Record]]]:
        """Yield the blocks of one segment; if it is followed, wait for its end or a later one."""
        try:
            reader = SegmentReader(present_path(segment), self._decode)
        except CorruptRecordError:
            self._join(segment.number, 0)
            self.damages.append(Damage(segment.path, 0, segment.bytes, "head", self._last_ns))
            return
        with reader:
            self._join(segment.number, reader.head.wall_ns)
            while is_followed and not reader.is_complete and not self._has_later(segment):
                for block in reader.grown():
                    self._note_losses(reader)
                    yield reader, block
                if not reader.is_complete:
                    yield None, []
            if not reader.is_complete:
                for block in reader.blocks():
                    self._note_losses(reader)
                    yield reader, block
            self.damages += reader.damages
            self._last_ns = reader.met_ns or self._last_ns

    def _join(self, number: int, wall_ns: int) -> None:
        """Note the segments that are gone between the last one and this; none that is set aside."""
        first, self._number = self._number + 1, number
        if first in {1, number}:
            return
        aside = [each.number for each in list_segments(self.folder, with_bad=True)]
        if number - first > sum(first <= each < number for each in aside):
            path = str(self.folder / segment_name(first))
            self.damages.append(Damage(path, 0, 0, "segments missing", self._last_ns, wall_ns))

    def _has_later(self, segment: SegmentFile) -> bool:
        return any(each.number > segment.number for each in self.segments())

    def _note_losses(self, reader: SegmentReader) -> None:
        for record in reader.rare:
            if record.kind == RecordKind.LOSS:
                self.losses.append(read_loss(record))


def present_path(segment: SegmentFile) -> str:
    """Return the segment's path now: it may have been sealed since it was listed."""
    path = Path(segment.path)
    if segment.state == "open" and not path.exists():
        return str(path.with_suffix(""))
    return str(path)


def read_loss(record: Record) -> Loss:
    """Return the loss a record tells of; one that cannot be read is a loss too."""
    try:
        return msgspec.json.decode(record.payload, type=Loss)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        at_ns = record.wall_ns
        return Loss(cause="damage", first_ns=at_ns, last_ns=at_ns, detail=f"no loss: {error}")
