"""The venues' instrument lists on disk, so that a start needs no metadata request for a day."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from crossfeed.model.instrument import Instrument

__all__ = ["InstrumentCache", "cache_folder"]

AGE_MAX_NS: Final = 24 * 3600 * 1_000_000_000
FILE_BYTES_MAX: Final = 64 << 20
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class _File(Struct):
    version: int
    ts_saved_ns: int
    instruments: list[Instrument]


def cache_folder() -> Path:
    """Return the folder for caches: `CROSSFEED_CACHE`, else the user's cache folder."""
    own = os.environ.get("CROSSFEED_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "crossfeed"


class InstrumentCache:
    """One file per venue and REST host. A loopback host is never cached: simulators come and go.

    A file that cannot be read or written is as good as none: the cache is a convenience.
    """

    def __init__(self, venue: str, rest_url: str) -> None:
        """Name the file; nothing is touched."""
        host = urlsplit(rest_url).hostname or ""
        digest = hashlib.sha256(rest_url.encode()).hexdigest()[:12]
        self._path = None if host in LOOPBACK else Path("instruments") / f"{venue}-{digest}.json"

    def load(self, now_ns: int) -> Sequence[Instrument] | None:
        """Return the stored instruments if they are younger than a day, else None."""
        if self._path is None:
            return None
        try:
            path = cache_folder() / self._path
            if path.stat().st_size > FILE_BYTES_MAX:
                return None
            stored = msgspec.json.decode(path.read_bytes(), type=_File)
        except (OSError, RuntimeError, msgspec.MsgspecError):
            return None
        is_young = 0 <= now_ns - stored.ts_saved_ns < AGE_MAX_NS
        return stored.instruments if stored.version == 1 and is_young else None

    def save(self, instruments: Sequence[Instrument], now_ns: int) -> bool:
        """Store the instruments whole or not at all (temporary file, then rename); say whether."""
        if self._path is None or not instruments:
            return False
        data = msgspec.json.encode(_File(1, now_ns, list(instruments)))
        part: Path | None = None
        try:
            path = cache_folder() / self._path
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                part = Path(file.name)
                file.write(data)
            part.replace(path)
        except (OSError, RuntimeError):
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink()
            return False
        return True
