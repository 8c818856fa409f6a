"""The common fair price of one unified symbol, which every venue's order flow follows."""

from __future__ import annotations

import math
from random import Random

__all__ = ["ReferencePrice"]

#: The walk moves on this grid, so that it does not depend on who asks how often within it.
STEP_NS = 50_000_000
#: Volatility of one step: about 1 basis point in the square root of a second (60 % a year).
STEP_SIGMA = 2.4e-5


class ReferencePrice:
    """A seeded geometric random walk over simulated time.

    Created by the world, one per unified symbol, shared by all venues. Times may only grow.
    """

    __slots__ = ("_gauss", "_price", "_step")

    def __init__(self, level: float, seed: str, start_ns: int) -> None:
        """Start at `level` (quote units per base unit) at `start_ns`."""
        self._price = level
        self._step = start_ns // STEP_NS
        self._gauss = Random(seed).gauss

    def at(self, now_ns: int) -> float:
        """Return the price at `now_ns`, quote units per base unit. Cost O(1)."""
        step = now_ns // STEP_NS
        passed = step - self._step
        if passed > 0:
            self._step = step
            self._price *= math.exp(self._gauss(0.0, STEP_SIGMA * math.sqrt(passed)))
        return self._price
