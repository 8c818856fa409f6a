"""Times as text, from integer nanoseconds."""

from __future__ import annotations

import time

__all__ = ["iso_micro", "iso_nano", "iso_trimmed"]

_NS = 1_000_000_000


class _Second:
    """The text of the last second asked for: most stamps share it with the one before."""

    value = -1
    text = ""


def _second(second: int) -> str:
    """Return "YYYY-MM-DDTHH:MM:SS"."""
    if second != _Second.value:
        _Second.text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _Second.value = second
    return _Second.text


def iso_micro(now_ns: int) -> str:
    """Write RFC 3339 UTC with six digits."""
    second, part = divmod(now_ns, _NS)
    return f"{_second(second)}.{part // 1_000:06d}Z"


def iso_nano(now_ns: int) -> str:
    """Write RFC 3339 UTC with nine digits."""
    second, part = divmod(now_ns, _NS)
    return f"{_second(second)}.{part:09d}Z"


def iso_trimmed(now_ns: int) -> str:
    """Write RFC 3339 UTC with up to six digits, trailing zeros left out."""
    second, part = divmod(now_ns, _NS)
    digits = f"{part // 1_000:06d}".rstrip("0")
    return f"{_second(second)}.{digits}Z" if digits else f"{_second(second)}Z"
