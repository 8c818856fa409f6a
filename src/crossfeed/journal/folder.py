"""A journal's folder: the names of its segments, and nothing outside of it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossfeed.errors import JournalError

__all__ = ["LOCK_NAME", "SegmentFile", "last_number", "list_segments", "segment_name"]

LOCK_NAME: Final = "journal.lock"
OPEN: Final = ".open"
BAD: Final = ".bad"
SEGMENTS_MAX: Final = 1_000_000
_NAME: Final = re.compile(r"segment-([0-9]{10})\.cfj(\.open|\.bad)?\Z")


class SegmentFile(Struct, frozen=True, order=True):
    """One segment of a folder, as its name tells.

    Names hold nothing but a number, so that no venue or symbol can lead out of the folder; what is
    no regular file under such a name (a link, a pipe, a folder) is no segment.

    Attributes:
        number: Its number; the order of recording.
        path: The file.
        bytes: Its size when it was listed.
        state: "sealed", "open" (being written, or left so by a crash), "bad" (nothing readable).
    """

    number: int
    path: str
    bytes: int = 0
    state: str = "sealed"


def segment_name(number: int, *, is_open: bool = False) -> str:
    """Return the name of a segment."""
    return f"segment-{number:010d}.cfj" + (OPEN if is_open else "")


def list_segments(folder: str | Path, *, with_bad: bool = False) -> list[SegmentFile]:
    """List a folder's segments in the order of recording.

    Raises:
        JournalError: The folder cannot be read.
    """
    root = Path(folder)
    found: list[SegmentFile] = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                match = _NAME.match(entry.name)
                if match is None:
                    continue
                state = {None: "sealed", OPEN: "open", BAD: "bad"}[match[2]]
                try:
                    about = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # sealed or deleted under our eyes
                if stat.S_ISREG(about.st_mode) and (with_bad or state != "bad"):
                    path = str(root / entry.name)
                    found.append(SegmentFile(int(match[1]), path, about.st_size, state))
                if len(found) > SEGMENTS_MAX:
                    raise JournalError(f"{root}: more than {SEGMENTS_MAX} segments")
    except OSError as error:
        raise JournalError(f"{root}: cannot be read: {error.strerror}") from error
    return sorted(found)


def last_number(folder: str | Path) -> int:
    """Return the highest segment number of a folder, 0 if it has none."""
    return max((each.number for each in list_segments(folder, with_bad=True)), default=0)
