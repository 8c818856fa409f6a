"""Test kit for journals: file systems that fail on demand, and segments made by hand."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable
from typing import Final

from crossfeed.journal.compression import Codec
from crossfeed.journal.files import Files
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.records import Record, RecordKind, encode_record

__all__ = ["RUN", "FaultyFiles", "numbered", "numbers", "segment_bytes", "wait_until"]

RUN: Final = bytes(range(16))
"""Run id of `segment_bytes`."""
DEADLINE_S: Final = 20.0
POLL_S: Final = 0.002


class FaultyFiles(Files):
    """A real file system that fails, waits, or dies where a test wants it.

    Attributes:
        failing: Operation ("create", "write", "sync", "rename", "sync_folder", "truncate") -> the
            errno it fails with.
        partial: A failing write leaves half of its bytes behind.
        waits_at: Operation that waits until `gate` is set.
        gate: Lets it go on.
        is_waiting: Set when it waits.
        calls: Operations so far, in order.
        dies_after: After this many operations everything fails; -1: never.
    """

    def __init__(self) -> None:
        """Work as usual."""
        self.failing: dict[str, int] = {}
        self.partial = False
        self.waits_at = ""
        self.gate = threading.Event()
        self.is_waiting = threading.Event()
        self.calls: list[str] = []
        self.dies_after = -1

    def _meet(self, name: str) -> None:
        self.calls.append(name)
        if 0 <= self.dies_after < len(self.calls):
            raise OSError(errno.EIO, "dead")
        if name == self.waits_at and not self.gate.is_set():
            self.is_waiting.set()
            self.gate.wait(DEADLINE_S)
        if name in self.failing:
            raise OSError(self.failing[name], f"{name} was made to fail")

    def create(self, path: str) -> int:
        """See `Files`."""
        self._meet("create")
        return super().create(path)

    def write(self, handle: int, data: bytes) -> None:
        """See `Files`."""
        if self.partial and "write" in self.failing:
            super().write(handle, data[: len(data) // 2])
        self._meet("write")
        super().write(handle, data)

    def sync(self, handle: int) -> None:
        """See `Files`."""
        self._meet("sync")
        super().sync(handle)

    def truncate(self, path: str, length: int) -> None:
        """See `Files`."""
        self._meet("truncate")
        super().truncate(path, length)

    def rename(self, old: str, new: str) -> None:
        """See `Files`."""
        self._meet("rename")
        super().rename(old, new)

    def sync_folder(self, folder: str) -> None:
        """See `Files`."""
        self._meet("sync_folder")
        super().sync_folder(folder)


def numbered(first: int, count: int, source: bytes = b"sim/sim-1") -> list[bytes]:
    """Return encoded frames that carry their number, wall time 1000 ns + number."""
    return [
        encode_record(RecordKind.FRAME_IN, source, b"payload %08d" % n * 3, 1_000 + n, n)
        for n in range(first, first + count)
    ]


def numbers(records: Iterable[Record]) -> list[int]:
    """Return the numbers that frames carry."""
    return [int(each.payload[8:16]) for each in records if each.kind == RecordKind.FRAME_IN]


def segment_bytes(blocks: int, per_block: int, codec: Codec = Codec.ZLIB, number: int = 1) -> bytes:
    """Return a whole segment of numbered frames, without an end record."""
    head = SegmentHead(number=number, run=RUN, wall_ns=5, mono_ns=6)
    parts = [encode_head(head)]
    for block in range(blocks):
        first = block * per_block
        raw = b"".join(numbered(first, per_block))
        parts.append(encode_block(raw, per_block, block, 1_000 + first, head.seed, codec))
    return b"".join(parts)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Wait for another thread to make `condition` true; False if it does not in 20 s."""
    pause = threading.Event()
    for _ in range(round(DEADLINE_S / POLL_S)):
        if condition():
            return True
        pause.wait(POLL_S)
    return False
