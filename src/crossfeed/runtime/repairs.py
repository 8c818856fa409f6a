"""Which hole of a replay a recorded repair belongs to."""

from __future__ import annotations

from typing import Final

from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.status import GapRecord, GapState

__all__ = ["same_gap"]

NONE: Final = 0


def same_gap(
    ledger: GapLedger, gap_id: int, channel: str, symbol: str, first: int, last: int
) -> int:
    """Return the id of the hole that was `gap_id` while it was recorded, 0 if there is none.

    Ids are given in the order in which holes are found, and a replay may find others than live:
    it listens to more or fewer kinds of events, begins later, or the journal itself has holes. So
    a repair is led to its hole by stream and range. Cost: nothing where the id still fits.

    Args:
        ledger: The replay's.
        gap_id: The recorded id; negative: a question about what follows, one per stream.
        channel: Of the hole's stream.
        symbol: Likewise.
        first: First number asked for, 0 if unknown.
        last: Last number asked for.
    """

    def fits(gap: GapRecord) -> bool:
        is_stream = (gap.stream.channel, gap.stream.symbol) == (channel, symbol)
        is_ranged = bool(first and last and gap.first and gap.last)
        return is_stream and (not is_ranged or (gap.first <= last and first <= gap.last))

    gap = ledger.get(gap_id)
    if gap is not None and (not channel or fits(gap)):
        return gap_id
    if gap_id <= 0:
        return NONE
    fitting = [each for each in ledger.records() if fits(each)]
    still_open = next((each for each in fitting if each.state is GapState.OPEN), None)
    found = still_open or (fitting[-1] if fitting else None)
    return NONE if found is None else found.gap_id
