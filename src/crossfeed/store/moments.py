"""Moments and lengths of time as people write them → integer nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from crossfeed.errors import ConfigError

__all__ = ["Moment", "interval_ns", "moment_ns"]

Moment = int | str | date | Any
"""ns since 1970 UTC, as a number or its digits; ISO text ("2026-11-22", "2026-11-22 10:00", "...Z",
"...+01:00"; UTC if it names no zone); a date; an aware datetime; a `numpy.datetime64` (UTC)."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5})(ms|s|m|h|d)")
# Fewer digits are a date without dashes (20261122), or seconds, which would be 1970.
_NS_DIGITS_MIN: Final = 16
_NS_DIGITS_MAX: Final = 19
_MS_NS: Final = 1_000_000


def moment_ns(moment: Moment) -> int:
    """Return ns since 1970 UTC.

    Raises:
        ConfigError: It cannot be read, or is a datetime without a zone.
    """
    if isinstance(moment, int) and not isinstance(moment, bool):
        return moment
    if isinstance(moment, str):
        return _ns_of_text(moment.strip())
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ConfigError(f"{moment} has no zone; say which: datetime(..., tzinfo=UTC)")
        # pandas counts nanoseconds beyond what a datetime holds.
        extra = getattr(moment, "nanosecond", 0)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000 + int(extra)
    if isinstance(moment, date):
        return moment_ns(datetime.combine(moment, time(), UTC))
    cast: Any = getattr(moment, "astype", None)
    if cast is not None:
        return int(cast("datetime64[ns]").astype("int64"))
    raise ConfigError(f"not a time: {str(moment)[:40]!r} (write it like 2026-11-22T10:00:00Z)")


def _ns_of_text(text: str) -> int:
    if text.isascii() and text.isdigit() and _NS_DIGITS_MIN <= len(text) <= _NS_DIGITS_MAX:
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"not a time: {text[:40]!r} (write it like 2026-11-22T10:00:00Z)"
        ) from None
    return moment_ns(found if found.tzinfo else found.replace(tzinfo=UTC))


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
