"""The few things a journal asks of the file system, in one place: tests put failing ones there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

__all__ = ["Files", "said"]

MODE: Final = 0o640


def said(error: BaseException | None) -> str:
    """Return an error in the system's own words, with the file where it names one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return "" if error is None else str(error)


class Files:
    """File operations that say the truth or raise `OSError`. Stateless; one may serve everything.

    Called by the writer's threads only.
    """

    def create(self, path: str) -> int:
        """Create a file that must not exist; return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, MODE)

    def write(self, handle: int, data: bytes) -> None:
        """Write all of `data`; after an error an unknown part of it is written."""
        written = os.write(handle, data)
        while written < len(data):
            more = os.write(handle, memoryview(data)[written:])
            if not more:
                raise OSError(errno.EIO, "nothing more could be written")
            written += more

    def sync(self, handle: int) -> None:
        """Wait until the disk has everything. A failure is final: the data may be gone."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Close a descriptor."""
        os.close(handle)

    def truncate(self, path: str, length: int) -> None:
        """Cut a file and wait until the disk knows."""
        with self._opened(path, os.O_WRONLY | os.O_NOFOLLOW) as handle:
            os.ftruncate(handle, length)
            self.sync(handle)

    def rename(self, old: str, new: str) -> None:
        """Rename within a folder; an existing `new` is replaced."""
        os.rename(old, new)  # noqa: PTH104 - paths are texts here

    def sync_folder(self, folder: str) -> None:
        """Wait until the disk has the names in a folder."""
        with self._opened(folder, os.O_RDONLY | os.O_DIRECTORY) as handle:
            os.fsync(handle)

    def remove(self, path: str) -> None:
        """Delete a file."""
        os.unlink(path)  # noqa: PTH108 - paths are texts here

    def is_same(self, handle: int, path: str) -> bool:
        """Say whether the open file is still the one of that name."""
        try:
            named = Path(path).lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(handle), named)

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int) -> Generator[int]:
        handle = os.open(path, flags | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)
