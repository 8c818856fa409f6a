"""Reading a kept frame again, for people: never fails on a frame whose events were accepted.

A decoder checks what it uses and skips the rest; here the rest is read as well. What it holds that
no plain reading takes (a number beyond all floats, bytes that are no UTF-8) is shown as well as it
can be: infinity, a text, the replacement character.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

__all__ = ["read_exactly", "read_message"]

DIGITS_MAX: Final = 400


def read_message(raw: bytes) -> Any:  # noqa: ANN401 - whatever the venue said
    """Return the JSON value of a frame, as plain Python values."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return json.loads(raw.decode("utf-8", "replace"), parse_int=_whole)


def read_exactly(raw: bytes) -> Any:  # noqa: ANN401 - whatever the venue said
    """Return the JSON value of a frame with every fraction as a `Decimal`, no digit lost."""
    return json.loads(raw.decode("utf-8", "replace"), parse_float=_fraction, parse_int=_whole)


def _fraction(digits: str) -> Decimal | str:
    """Convert a fraction; one with an exponent beyond all decimals stays a text."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return digits


def _whole(digits: str) -> int | str:
    """Convert a whole number; one of absurd length stays a text (its conversion takes seconds)."""
    return int(digits) if len(digits) <= DIGITS_MAX else digits
