"""`validate_data` with the machine's clock: what the pure validator cannot read by itself."""

from __future__ import annotations

from typing import Final

from crossfeed.analytics.validation import DataValidator
from crossfeed.model.events import MarketData
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.clock import SystemClock

__all__ = ["validate_data"]

_validator: Final = DataValidator(clock=SystemClock.now_ns)


def validate_data(data: MarketData | UnifiedMarketData, now_ns: int | None = None) -> bool:
    """Say whether an event or a unified value can be believed.

    Every price must be a finite number above 0, every size one from 0 up, what its kind needs must
    be there, and its time stamp at most 60 s in the future. Never raises for what `data` holds.

    Args:
        data: Any event, or a unified value.
        now_ns: Wall time to compare the time stamp with; absent, the machine's.

    Returns:
        True if nothing speaks against it (`DataValidator.objection` says what does).
    """
    return _validator(data, now_ns)
