"""How a journal is written."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.errors import ConfigError
from crossfeed.journal.compression import codec_named

__all__ = ["JournalOptions"]

SYNCED_FLUSH_MS: Final = 4.0


class JournalOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a recorder, from Python; the file has most in its `[record]` table.

    Attributes:
        flush_ms: What is recorded reaches the operating system within this time: the most that a
            killed process loses.
        fsync_s: It reaches the disk within this time after that: the most that a power cut loses.
        profile: "normal", or "synced": flushed within 4 ms and synced after each flush.
        segment_bytes: A segment is sealed at this size ...
        segment_s: ... or at this age.
        queue_bytes: What may wait for the disk; beyond it records are lost, counted and noted.
        keep_bytes: Sealed segments beyond this total are deleted, oldest first; 0: never.
        keep_s: Sealed segments older than this are deleted; 0: never.
        compression: "auto" (zstd where installed), "zstd", "zlib" or "none".
        block_bytes: Records are compressed together in blocks of about this size. Larger ones save
            some bytes and hold up the data path longer, each time one is put together.
        retry_s: A disk that failed is tried again after this time, ever longer up to ten times it.

    Raises:
        ConfigError: A value that cannot work; `field` names it.
    """

    flush_ms: float = 100.0
    fsync_s: float = 1.0
    profile: str = "normal"
    segment_bytes: int = 256 << 20
    segment_s: float = 3600.0
    queue_bytes: int = 64 << 20
    keep_bytes: int = 0
    keep_s: float = 0.0
    compression: str = "auto"
    block_bytes: int = 32 << 10
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        """Check what cannot work."""
        if self.profile not in {"normal", "synced"}:
            msg = f'must be "normal" or "synced", not {self.profile!r}'
            raise ConfigError(msg, field="profile")
        for name in ("flush_ms", "fsync_s", "segment_s", "retry_s"):
            if not getattr(self, name) > 0:
                raise ConfigError("must be above zero", field=name)
        for name, least in (("segment_bytes", 4096), ("queue_bytes", 4096), ("block_bytes", 256)):
            if getattr(self, name) < least:
                raise ConfigError(f"must be at least {least}", field=name)
        for name in ("keep_bytes", "keep_s"):
            if getattr(self, name) < 0:
                raise ConfigError("must not be negative", field=name)
        if self.block_bytes > 16 << 20:
            raise ConfigError("must be at most 16 MiB", field="block_bytes")
        codec_named(self.compression)

    @property
    def period_s(self) -> float:
        """How often the writer looks: half the flush window, so that the work fits into it too."""
        flush_ms = (
            self.flush_ms if self.profile == "normal" else min(self.flush_ms, SYNCED_FLUSH_MS)
        )
        return flush_ms / 2000.0

    @property
    def sync_ns(self) -> int:
        """Distance of syncs, ns; 0: after each flush."""
        return round(self.fsync_s * 1e9) if self.profile == "normal" else 0
