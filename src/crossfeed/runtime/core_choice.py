"""Which core does the work: the compiled one where it is built and fits, else the pure one."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

__all__ = [
    "CoreChoice",
    "PlayerState",
    "SubscriptionState",
    "WatchedDict",
    "active_core",
    "compiled_modules",
    "listener_factory",
]

SWITCH = "CROSSFEED_PURE"
"""Environment variable that leaves the compiled core out when it is set to anything."""
CORE_MODULES = (
    "_ladder", "_tables", "_names", "_rows", "_events", "_routes", "_parser", "_engine", "_states",
    "_books", "_cells", "_step", "_path", "_queue", "_columns", "_blocks",
)  # fmt: skip
"""All of them or none: each knows the classes of those before it from the inside."""


class CoreChoice(Struct, frozen=True):
    """The core in use.

    Attributes:
        name: "pure" or "compiled".
        reason: Why this one.
    """

    name: str
    reason: str


@functools.cache
def _load(name: str) -> tuple[Any, str]:
    """Import one compiled module; return (module or None, why not)."""
    try:
        return importlib.import_module(f"crossfeed.native.{name}"), ""
    except ModuleNotFoundError:
        return None, f"{name} was not built when crossfeed was installed"
    # Whatever a module of another build throws, the pure core does the work.
    except Exception as error:  # noqa: BLE001
        return None, f"{name} cannot be loaded: {type(error).__name__}: {error}"


def _hook() -> tuple[Any, str]:
    """Load the picows hook if it was built for the picows that is installed."""
    hook, why = _load("_hook")
    if hook is None:
        return None, why
    built, found = str(hook.PICOWS), importlib.metadata.version("picows")
    if built.split(".")[:2] != found.split(".")[:2]:
        return None, f"_hook was built for picows {built}, installed is {found}"
    return hook, ""


def active_core() -> CoreChoice:
    """Return the core that new connections get."""
    if os.environ.get(SWITCH):
        return CoreChoice("pure", f"pure Python: {SWITCH} is set")
    for name in CORE_MODULES:
        module, why = _load(name)
        if module is None:
            return CoreChoice("pure", f"pure Python: {why}")
    hook, why = _hook()
    if hook is None:
        return CoreChoice("compiled", f"decoder and books compiled, listener in Python: {why}")
    return CoreChoice("compiled", "decoder, books and listener compiled")


def compiled_modules() -> SimpleNamespace | None:
    """Return the compiled core's modules, None where the pure core does the work.

    Each is named as its file without the underscore: `compiled_modules().engine.Engine`.
    """
    if active_core().name != "compiled":
        return None
    return SimpleNamespace(**{name[1:]: _load(name)[0] for name in CORE_MODULES})


def listener_factory() -> Callable[[Any], Any] | None:
    """Return the factory of compiled listeners, None where the Python one does the work."""
    if active_core().name != "compiled":
        return None
    hook, _ = _hook()
    return None if hook is None else hook.FrameListener


# What every event's delivery and every frame's playing touch: chosen once, classes are made of it.
_native: Final = compiled_modules()
if TYPE_CHECKING:
    SubscriptionState = object
    PlayerState = object
else:
    SubscriptionState = object if _native is None else _native.states.SubscriptionState
    PlayerState = object if _native is None else _native.blocks.PlayerState
WatchedDict: Final[type[dict[Any, Any]]] = dict if _native is None else _native.states.WatchedDict
