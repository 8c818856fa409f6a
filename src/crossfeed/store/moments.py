"""Moments and lengths of time as people write them → integer nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from crossfeed.errors import ConfigError

__all__ = ["Moment", "interval_ns", "moment_ns"]

Moment = int | str | datetime
"""ns since 1970 UTC, ISO text ("2026-11-22", "2026-11-22T10:00:00Z"; UTC if it names no zone), or
an aware datetime."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5})(ms|s|m|h|d)")
_MS_NS: Final = 1_000_000


def moment_ns(moment: Moment) -> int:
    """Return ns since 1970 UTC.

    Raises:
        ConfigError: It cannot be read, or is a datetime without a zone.
    """
    if isinstance(moment, int):
        return moment
    if isinstance(moment, str):
        try:
            found = datetime.fromisoformat(moment)
        except ValueError:
            raise ConfigError(
                f"not a time: {moment[:40]!r} (write it like 2026-11-22T10:00:00Z)"
            ) from None
        moment = found if found.tzinfo else found.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        raise ConfigError(f"{moment} has no zone; say which: datetime(..., tzinfo=UTC)")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def interval_ns(interval: str) -> int:
    """Return the length of "250ms", "1s", "5m", "4h" or "1d" in ns.

    Raises:
        ConfigError: It is none of these.
    """
    found = _INTERVAL.fullmatch(interval)
    if found is None:
        raise ConfigError(f"not an interval: {interval[:40]!r} (250ms, 1s, 5m, 4h, 1d)")
    if found[2] == "ms":
        return int(found[1]) * _MS_NS
    return int(found[1]) * _UNITS_S[found[2]] * 1000 * _MS_NS
