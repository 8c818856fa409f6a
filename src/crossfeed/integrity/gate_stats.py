"""What a gate says about itself."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["GateStats"]


class GateStats(Struct, frozen=True, kw_only=True):
    """Counts of one gate: admitted + fetched = passed + duplicates + backfilled + unasked + held.

    Attributes:
        passed: Let through in order.
        duplicates: Dropped: seen before.
        gaps: Holes found.
        backfilled: Let through late, into a hole.
        unasked: Fetched events, and history told again, that nothing missed (dropped).
        restarts: Times the venue began to count anew.
        held: Held back now (policy HOLD, or evidence of a restart).
    """

    passed: int
    duplicates: int
    gaps: int
    backfilled: int
    unasked: int
    restarts: int
    held: int
