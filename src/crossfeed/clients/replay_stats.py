"""How a replay stands."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ReplayStats"]


class ReplayStats(Struct, frozen=True, kw_only=True):
    """How a replay stands.

    Attributes:
        records: Records played.
        events: Events given out.
        updates: Aggregated values given out.
        runs: Runs of the recorder met.
        interruptions: Times the streams were told that records are missing.
        refused: Records that could not be played.
        now_ns: Recorded wall time.
    """

    records: int
    events: int
    updates: int
    runs: int
    interruptions: int
    refused: int
    now_ns: int
