"""How a journal stands."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["JournalStats"]


class JournalStats(Struct, frozen=True, kw_only=True):
    """How a journal stands.

    Attributes:
        is_recording: What comes now reaches the disk.
        records: Records written.
        bytes_in: Their bytes.
        bytes_out: Bytes in files, heads included.
        segments: Segments begun.
        segment: Name of the present one, empty if there is none.
        queue_bytes: Waiting now.
        queue_bytes_max: Most that ever waited.
        lost_records: Records that never reached a file: what did not fit, and what still waited
            when the writer had to end.
        lost_bytes: Their bytes.
        losses: Ranges lost, each noted in the journal.
        failures: Failed writes and syncs.
        failure: The last one, empty if none or mended since.
        durable_ns: Wall time of the last record that survives a power cut.
        retired: Old segments deleted.
    """

    is_recording: bool
    records: int
    bytes_in: int
    bytes_out: int
    segments: int
    segment: str
    queue_bytes: int
    queue_bytes_max: int
    lost_records: int
    lost_bytes: int
    losses: int
    failures: int
    failure: str
    durable_ns: int
    retired: int
