"""RFC 3339 texts → integer nanoseconds, exactly and fast."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

__all__ = ["iso_ns"]

_FULL: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|\+00:00)", re.ASCII
)
# Before 2009 nothing was traded that we could quote.
_YEAR_MIN: Final = 2009
_YEAR_MAX: Final = 2261
_SCALE: Final[tuple[int, ...]] = tuple(10 ** (9 - digits) for digits in range(10))
_MINUTE_CHARS: Final = 17
_SECOND_CHARS: Final = 20
_FRACTION_DIGITS_MAX: Final = 9
# Consecutive messages share their second ("2026-07-07T22:58:01."), or else their minute. The last
# of each is remembered (bounded, no eviction needed; a race merely recomputes it).
_NEVER: Final = " " * 32
_second: tuple[str, int] = (_NEVER, 0)
_minute: tuple[str, int] = (_NEVER, 0)


def iso_ns(text: str) -> int:
    """Turn "2026-07-07T22:58:01.234567Z" into ns since 1970.

    Up to nine fraction digits are kept. Years outside 2009..2261 give 0, "unknown": Coinbase really
    sends year 0001 for "no time", and 1970. Cost about 0.35 us within one second, 0.8 us within one
    minute.

    Raises:
        ValueError: `text` is no UTC time of that form.
    """
    global _second  # noqa: PLW0603 - a cache of one entry
    known, base = _second
    if text[:_SECOND_CHARS] != known or text[-1] != "Z":
        minute, base = _minute
        seconds = text[_MINUTE_CHARS : _SECOND_CHARS - 1]
        if (
            text[:_MINUTE_CHARS] != minute
            or text[_SECOND_CHARS - 1 : _SECOND_CHARS] != "."
            or text[-1] != "Z"
            or not (seconds.isdigit() and seconds.isascii() and seconds < "60")
        ):
            return _parse(text)
        base += int(seconds) * 1_000_000_000
        _second = (text[:_SECOND_CHARS], base)
    digits = text[_SECOND_CHARS:-1]
    size = len(digits)
    if size <= _FRACTION_DIGITS_MAX and digits.isdigit() and digits.isascii():
        return base + int(digits) * _SCALE[size]
    return _parse(text)


def _parse(text: str) -> int:
    """Read any text of the form, and remember its minute."""
    global _minute  # noqa: PLW0603 - a cache of one entry
    found = _FULL.fullmatch(text)
    if found is None:
        msg = f"not an RFC 3339 UTC time: {text[:40]!r}"
        raise ValueError(msg)
    year, month, day, hour, minutes, second = (int(part) for part in found.groups()[:6])
    if not _YEAR_MIN <= year <= _YEAR_MAX:
        return 0
    at_minute = datetime(year, month, day, hour, minutes, tzinfo=UTC)
    base = int(at_minute.timestamp()) * 1_000_000_000
    _minute = (text[:_MINUTE_CHARS], base)
    # A leap second counts as the last one of its minute.
    return base + min(second, 59) * 1_000_000_000 + int((found[7] or "0").ljust(9, "0"))
