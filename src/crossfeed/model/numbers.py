"""Prices and sizes.

Floats for consumers, integer ticks and lots for books, decimals for the exact text.

A text with at most 15 significant digits survives the way text -> float -> text unchanged (IEEE 754
binary64, DBL_DIG = 15), so events carry floats. Books count in integers: `to_units` turns a float
or a text into `value * 10**scale`, exactly or not at all.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final

__all__ = [
    "NUMBER_CHARS_MAX",
    "SCALE_MAX",
    "decimal_of",
    "decimals_of",
    "exact_units",
    "from_units",
    "is_number_text",
    "to_units",
]

NUMBER_CHARS_MAX: Final = 40
SCALE_MAX: Final = 18

# What users set in their own decimal context must not round our numbers.
_EXACT: Final = Context(prec=1_000)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
# Up to 2**51 a float holds a decimal times its scale with an error far below one half.
_FLOAT_UNITS_MAX: Final = float(2**51)
_POWERS: Final = tuple(10**n for n in range(SCALE_MAX + 1))
_FLOAT_POWERS: Final = tuple(float(10**n) for n in range(SCALE_MAX + 1))


def is_number_text(text: str) -> bool:
    """Say whether `text` is a plain JSON-style number of at most 40 characters.

    Everything that Python's own converters take beyond that (blanks, underscores, full-width
    digits, "nan", a million digits) is refused before it reaches them.
    """
    return len(text) <= NUMBER_CHARS_MAX and _NUMBER.fullmatch(text) is not None


def decimal_of(text: str) -> Decimal:
    """Turn a number text into a Decimal that keeps every digit and trailing zero.

    Raises:
        ValueError: `text` is longer than 40 characters or no plain number.
    """
    if not is_number_text(text):
        msg = f"not a plain number: {text[:NUMBER_CHARS_MAX]!r}"
        raise ValueError(msg)
    return Decimal(text)


def decimals_of(text: str) -> int:
    """Count the decimals an increment such as "0.01000000" needs, trailing zeros left out (here 2).

    Raises:
        ValueError: `text` is no plain number, or needs more than 18.
    """
    decimals = max(0, -int(decimal_of(text).normalize(_EXACT).as_tuple().exponent))
    if decimals > SCALE_MAX:
        msg = f"{text[:NUMBER_CHARS_MAX]!r} has more than {SCALE_MAX} decimals"
        raise ValueError(msg)
    return decimals


def to_units(value: float | str | Decimal, scale: int) -> int:
    """Turn a price or size into an integer count of `10**-scale`.

    Args:
        value: A float (with at most 15 significant digits), or the exact text or decimal.
        scale: Decimals of the unit, 0..18.

    Returns:
        The exact integer. Cost about 0.15 us for a float.

    Raises:
        ValueError: The value has more decimals than `scale`, is not finite, or (as a float) is too
            large to be exact; then pass the text, or raise the scale.
    """
    if not isinstance(value, str | Decimal):
        scaled = value * _FLOAT_POWERS[scale]
        units = round(scaled) if -_FLOAT_UNITS_MAX < scaled < _FLOAT_UNITS_MAX else None
        if units is not None and units / _FLOAT_POWERS[scale] == value:
            return units
        value = repr(float(value))
    exact = (value if isinstance(value, Decimal) else decimal_of(value)).scaleb(scale, _EXACT)
    if exact != exact.to_integral_value():
        msg = f"{value} has more than {scale} decimals"
        raise ValueError(msg)
    return int(exact)


def from_units(units: int, scale: int) -> float:
    """Turn an integer count of `10**-scale` into the nearest float.

    Correctly rounded: one division of an integer below 2**53 by an exact power of ten, and Python's
    exact integer division beyond.
    """
    value: float = units / _POWERS[scale]
    return value


def exact_units(units: int, scale: int) -> Decimal:
    """Turn an integer count of `10**-scale` into the decimal it is."""
    return Decimal(units).scaleb(-scale, _EXACT)
