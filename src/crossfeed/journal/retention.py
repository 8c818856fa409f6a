"""Deleting old segments: by total size and by age, oldest first, never the one being written."""

from __future__ import annotations

from pathlib import Path

from crossfeed.journal.files import Files
from crossfeed.journal.folder import SegmentFile, list_segments

__all__ = ["expired", "retire"]

NS = 1_000_000_000


def expired(
    segments: list[tuple[SegmentFile, int]], now_ns: int, keep_bytes: int, keep_s: float
) -> list[SegmentFile]:
    """Choose what is to go.

    Args:
        segments: Closed segments, oldest first, each with the wall time of its last change.
        now_ns: Wall time.
        keep_bytes: Total to keep; 0: any.
        keep_s: Age to keep; 0: any.
    """
    gone: list[SegmentFile] = []
    total = sum(segment.bytes for segment, _ in segments)
    for segment, changed_ns in segments:
        is_old = keep_s > 0 and now_ns - changed_ns > keep_s * NS
        is_too_much = 0 < keep_bytes < total
        if not is_old and not is_too_much:
            break  # the rest is younger: holes in the middle help nobody
        gone.append(segment)
        total -= segment.bytes
    return gone


def retire(
    folder: str | Path, files: Files, now_ns: int, keep_bytes: int, keep_s: float
) -> list[SegmentFile]:
    """Delete what is beyond the limits; return it.

    Raises:
        JournalError: The folder cannot be read.
        OSError: A file cannot be deleted; what is older is gone by then.
    """
    if not keep_bytes and not keep_s:
        return []
    closed = [each for each in list_segments(folder, with_bad=True) if each.state != "open"]
    dated = [(each, Path(each.path).stat().st_mtime_ns) for each in closed]
    gone = expired(dated, now_ns, keep_bytes, keep_s)
    for segment in gone:
        files.remove(segment.path)
    if gone:
        files.sync_folder(str(folder))
    return gone
