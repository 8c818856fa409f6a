"""Running a coroutine on the best event loop there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["event_loop_name", "run"]

Result = TypeVar("Result")


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def event_loop_name() -> str:
    """Return what `run` would use: "uvloop" or "asyncio"."""
    return "asyncio" if _factory() is None else "uvloop"


def run(work: Coroutine[Any, Any, Result], *, debug: bool | None = None) -> Result:
    """Run `work` to its end, on uvloop where it is installed; like `asyncio.run` otherwise.

    The event loop policy is left alone.

    Raises:
        RuntimeError: A loop runs here already (a notebook, an async function): `await` the work.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        work.close()
        msg = "an event loop runs here already (a notebook?): write `await ...` without run()"
        raise RuntimeError(msg)
    try:
        with asyncio.Runner(debug=debug, loop_factory=_factory()) as runner:
            return runner.run(work)
    finally:
        work.close()  # whoever interrupts before it has begun is not told that it never did
