"""What a client sent, told apart: JSON of unknown shape becomes typed values or None."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

__all__ = ["as_list", "as_object"]


def as_object(value: object) -> dict[str, Any] | None:
    """Return a decoded JSON object, None if the value is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def as_list(value: object) -> list[Any] | None:
    """Return a decoded JSON array, None if the value is something else."""
    return list(cast("Iterable[Any]", value)) if isinstance(value, list) else None
