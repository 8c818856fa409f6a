"""Which core does the work: the compiled one where it is built and fits, else the pure one."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["CoreChoice", "active_core"]


class CoreChoice(Struct, frozen=True):
    """The core in use.

    Attributes:
        name: "pure" or "compiled".
        reason: Why this one.
    """

    name: str
    reason: str


def active_core() -> CoreChoice:
    """Return the core that new connections get."""
    return CoreChoice("pure", "pure Python: this version has no compiled core")
