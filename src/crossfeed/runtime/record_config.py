"""The `[record]` table of the configuration file: where and how to record, and the sinks beside."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct, structs

from crossfeed.errors import ConfigError
from crossfeed.journal.options import JournalOptions

__all__ = ["RecordSection", "SinkSection"]

MEGA: Final = 1e6
GIGA: Final = 1e9
DAY_S: Final = 86_400.0
SINK_TYPES: Final = ("sqlite", "postgres")
MASK: Final = "***"


class SinkSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[record.sinks]]` table: a database that gets the events while they are recorded.

    Attributes:
        type: "sqlite" or "postgres".
        path: sqlite: the file.
        dsn: postgres: the address; empty: the environment variable CROSSFEED_POSTGRES_DSN.
        schema: postgres: where the tables are made.
        name: For the status line; default: the type.
        kinds: Kinds of events; empty: all that have a table.
        capacity: Events that may wait; beyond it the policy decides, and the loss is counted.
        policy: "drop_oldest" or "drop_newest". A database never holds up the feed.

    Raises:
        ConfigError: A value that cannot work; `field` names it.
    """

    type: str
    path: str = ""
    dsn: str = ""
    schema: str = "crossfeed"
    name: str = ""
    kinds: list[str] = []
    capacity: int = 100_000
    policy: str = "drop_oldest"

    def __post_init__(self) -> None:
        """Check what cannot work."""
        if self.type not in SINK_TYPES:
            raise ConfigError(f"{self.type!r}: {' or '.join(SINK_TYPES)}", field="sinks.type")
        if self.type == "sqlite" and not self.path:
            raise ConfigError("sqlite needs the path of its file", field="sinks.path")
        if self.policy not in {"drop_oldest", "drop_newest"}:
            msg = f"{self.policy!r}: drop_oldest or drop_newest"
            raise ConfigError(msg, field="sinks.policy")
        if self.capacity < 1:
            raise ConfigError("at least 1", field="sinks.capacity")

    def masked(self) -> dict[str, Any]:
        """Return the fields, the address masked: it may hold a password."""
        return structs.asdict(self) | {"dsn": MASK if self.dsn else ""}


class RecordSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[record]` table; every value can be given on the command line as well, and wins there.

    Attributes:
        directory: Folder of the journal.
        venues: Venues; empty: those of `[aggregator]`, then those of `[venues]`.
        symbols: Symbols; empty: those of `[aggregator]`.
        kinds: Kinds of data; empty: trade, book and book_ticker.
        flush_ms: What a killed process loses at most.
        fsync_s: What a power cut loses at most beyond that.
        synced: Flush within 4 ms and sync after each flush.
        segment_mb: A file is closed at this size ...
        segment_minutes: ... or at this age.
        keep_gb: Closed files beyond this total are deleted, oldest first; 0: never.
        keep_days: Closed files older than this are deleted; 0: never.
        queue_mb: What may wait for the disk; beyond it records are lost, counted and noted.
        compression: "auto", "zstd", "zlib" or "none".
        sinks: Databases that get the events too.

    Raises:
        ConfigError: A value that cannot work; `field` names it.
    """

    directory: str = ""
    venues: list[str] = []
    symbols: list[str] = []
    kinds: list[str] = []
    flush_ms: float = 100.0
    fsync_s: float = 1.0
    synced: bool = False
    segment_mb: float = 256.0
    segment_minutes: float = 60.0
    keep_gb: float = 0.0
    keep_days: float = 0.0
    queue_mb: float = 64.0
    compression: str = "auto"
    sinks: list[SinkSection] = []

    def __post_init__(self) -> None:
        """Check the options of the journal."""
        self.journal()

    def journal(self) -> JournalOptions:
        """Return the journal's options.

        Raises:
            ConfigError: A value that cannot work.
        """
        return JournalOptions(
            flush_ms=self.flush_ms,
            fsync_s=self.fsync_s,
            profile="synced" if self.synced else "normal",
            segment_bytes=round(self.segment_mb * MEGA),
            segment_s=self.segment_minutes * 60.0,
            keep_bytes=round(self.keep_gb * GIGA),
            keep_s=self.keep_days * DAY_S,
            queue_bytes=round(self.queue_mb * MEGA),
            compression=self.compression,
        )

    def masked(self) -> dict[str, Any]:
        """Return the fields, addresses of databases masked."""
        return structs.asdict(self) | {"sinks": [sink.masked() for sink in self.sinks]}
