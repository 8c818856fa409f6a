"""After a crash: cut the torn tail, seal what is whole. Idempotent; a crash in it does no harm."""

from __future__ import annotations

import logging
from pathlib import Path

from msgspec import Struct

from crossfeed.errors import CorruptRecordError, JournalError, UnsupportedVersionError
from crossfeed.journal.files import Files
from crossfeed.journal.folder import BAD, OPEN, SegmentFile, list_segments
from crossfeed.journal.reader import Damage, SegmentReader

__all__ = ["Recovered", "recover_folder", "recover_segment"]

log = logging.getLogger("crossfeed.journal")


class Recovered(Struct, frozen=True, kw_only=True):
    """What recovery found in one segment.

    Attributes:
        path: Its name now.
        records: Whole records in it.
        last_ns: Wall time of the last one, 0 if there is none.
        cut_bytes: Bytes of a torn tail that were cut off.
        is_complete: It had been closed in order, only not renamed yet.
        damages: What else cannot be read.
    """

    path: str
    records: int
    last_ns: int
    cut_bytes: int
    is_complete: bool
    damages: tuple[Damage, ...]


def recover_folder(folder: str | Path, files: Files) -> list[Recovered]:
    """Seal every segment that a run left open. The folder's lock must be held.

    What a later build left is its own to mend: it stays as it is.

    Raises:
        JournalError: The folder cannot be read.
        OSError: It cannot be written.
    """
    found: list[Recovered] = []
    for segment in list_segments(folder):
        if segment.state == "open":
            try:
                found.append(recover_segment(segment, files))
            except UnsupportedVersionError as error:
                log.warning("%s; left as it is", error)
    return found


def recover_segment(segment: SegmentFile, files: Files) -> Recovered:
    """Cut the torn tail of a segment and seal it; set it aside where nothing can be read.

    Raises:
        UnsupportedVersionError: A later format; nothing was touched.
        OSError: It cannot be written; nothing is lost by trying again.
    """
    path = segment.path
    records = last_ns = 0
    try:
        with SegmentReader(path) as reader:
            for block in reader.blocks():
                records += len(block)
                last_ns = block[-1].wall_ns if block else last_ns
    except CorruptRecordError as error:
        damage = Damage(path, 0, segment.bytes, str(error))
        return _rename(path, BAD, files, damages=(damage,))
    cut_bytes = Path(path).stat().st_size - reader.good_end
    if cut_bytes > 0:
        files.truncate(path, reader.good_end)
    damages = tuple(each for each in reader.damages if each.offset < reader.good_end)
    return _rename(
        path,
        "" if records else BAD,
        files,
        records=records,
        last_ns=last_ns,
        cut_bytes=max(0, cut_bytes),
        is_complete=reader.is_complete,
        damages=damages,
    )


def _rename(
    path: str,
    ending: str,
    files: Files,
    *,
    records: int = 0,
    last_ns: int = 0,
    cut_bytes: int = 0,
    is_complete: bool = False,
    damages: tuple[Damage, ...] = (),
) -> Recovered:
    """Give a segment its final name, on disk before we go on."""
    final = path.removesuffix(OPEN) + ending
    if Path(final).exists():
        raise JournalError(f"{final} exists beside {path}: move one of them away")
    files.rename(path, final)
    files.sync_folder(str(Path(path).parent))
    return Recovered(
        path=final,
        records=records,
        last_ns=last_ns,
        cut_bytes=cut_bytes,
        is_complete=is_complete,
        damages=damages,
    )
