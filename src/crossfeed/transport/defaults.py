"""Where the public names of this stage find the system's clock when the caller gives none.

Stages do not import the runtime; the pipeline hands everything in. But `WebSocketManager(config)`,
`@rate_limit(...)` and `CircuitBreaker()` must also work alone, so the default is looked up by name.
"""

from __future__ import annotations

import importlib
from typing import cast

from crossfeed.model.ports import Clock, RandomSource

__all__ = ["default_clock", "default_random"]

_SYSTEM = "crossfeed.runtime.clock"


def default_clock() -> Clock:
    """Return the system's clock."""
    return cast("Clock", importlib.import_module(_SYSTEM).SystemClock())


def default_random() -> RandomSource:
    """Return random numbers seeded by the system."""
    return cast("RandomSource", importlib.import_module(_SYSTEM).SystemRandom())
