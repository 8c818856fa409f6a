"""Integers of ticks and lots written as the venues write them. Nothing here knows a float."""

from __future__ import annotations

from functools import cache

__all__ = ["padded", "plain", "ratio", "trimmed"]


@cache
def _power(decimals: int) -> int:
    """Return 10**decimals."""
    return int(10**decimals)


def plain(value: int, decimals: int) -> str:
    """Write `value * 10**-decimals` with exactly `decimals` digits after the point."""
    if decimals == 0:
        return str(value)
    if value < 0:
        return "-" + plain(-value, decimals)
    text = str(value)
    if len(text) <= decimals:
        text = text.zfill(decimals + 1)
    return f"{text[:-decimals]}.{text[-decimals:]}"


def padded(value: int, decimals: int, width: int) -> str:
    """Write `value * 10**-decimals` with exactly `width` digits after the point.

    Digits beyond `width` are cut off, never rounded: sums of quote amounts may have more decimals
    than the venue prints.
    """
    if width >= decimals:
        return plain(value * _power(width - decimals), width)
    cut = _power(decimals - width)
    return plain(value // cut if value >= 0 else -(-value // cut), width)


def trimmed(value: int, decimals: int) -> str:
    """Write `value * 10**-decimals` without trailing zeros and without a bare point."""
    text = plain(value, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def ratio(numerator: int, denominator: int, decimals: int) -> str:
    """Write `numerator / denominator` rounded half away from zero; zero if `denominator` is 0."""
    if denominator == 0:
        return plain(0, decimals)
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    scaled = abs(numerator) * _power(decimals) * 2 + abs(denominator)
    return plain(sign * (scaled // (2 * abs(denominator))), decimals)
