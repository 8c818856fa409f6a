"""One writer per folder: a kernel lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from crossfeed.errors import JournalError, JournalLockedError
from crossfeed.journal.folder import LOCK_NAME

__all__ = ["FolderLock"]

PID_BYTES: Final = 20


class FolderLock:
    """Holds a folder for this process. Taken and released by the writer."""

    def __init__(self, folder: str | Path) -> None:
        """Name the folder; nothing is locked."""
        self._path = str(Path(folder) / LOCK_NAME)
        self._folder = str(folder)
        self._handle = -1

    def take(self) -> None:
        """Lock the folder.

        Raises:
            JournalLockedError: Another process holds it; its pid is told.
            JournalError: The lock file cannot be made.
        """
        try:
            import fcntl
        except ImportError as error:
            raise JournalError("recording needs kernel file locks (Linux, macOS)") from error
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            handle = os.open(self._path, flags, 0o640)
        except OSError as error:
            raise JournalError(f"{self._path}: cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(handle, PID_BYTES, 0).strip()
            os.close(handle)
            pid = int(owner) if owner.isdigit() else 0
            raise JournalLockedError(self._folder, pid=pid) from error
        self._handle = handle
        with contextlib.suppress(OSError):  # a full disk: the lock counts, not the number in it
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)

    def is_held(self) -> bool:
        """Say whether our lock is still the folder's: it may have been deleted or replaced."""
        if self._handle < 0:
            return False
        try:
            named = Path(self._path).lstat()
        except OSError:
            return False
        return os.path.samestat(os.fstat(self._handle), named)

    def release(self) -> None:
        """Unlock. Releasing twice is harmless."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
