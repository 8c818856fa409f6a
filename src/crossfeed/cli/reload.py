"""SIGHUP: the configuration file is read again. A bad one changes nothing and is told in a line."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import FrameType

from crossfeed.errors import CrossfeedError
from crossfeed.runtime.config import FileConfig, load_config

__all__ = ["reloadable"]

Apply = Callable[[FileConfig], Awaitable[str]]
"""Puts a checked configuration to work; returns what changed, in words. What it raises of
`CrossfeedError` means that nothing changed."""


@contextlib.asynccontextmanager
async def reloadable(path: str, apply: Apply) -> AsyncGenerator[None]:
    """Read `path` anew at each SIGHUP while the block runs, and `apply` it if it is good.

    Without a path, on systems without the signal and in threads nothing is installed. Signals that
    come while one is being worked on count as one more.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not path or not hasattr(signal, "SIGHUP") or not is_main:
        yield
        return
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask(_number: int, _frame: FrameType | None) -> None:
        """Wake the reader: a signal's handler does nothing else."""
        loop.call_soon_threadsafe(asked.set)

    usual = signal.signal(signal.SIGHUP, ask)
    following = asyncio.ensure_future(_follow(path, apply, asked))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, usual)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def _follow(path: str, apply: Apply, asked: asyncio.Event) -> None:
    while True:
        await asked.wait()
        asked.clear()
        try:
            _tell(f"configuration {path} reloaded: {await apply(load_config(path))}")
        except CrossfeedError as error:
            _tell(f"configuration {path} not taken, the old one stays: {error}")


def _tell(text: str) -> None:
    print(text.replace("\n", " "), file=sys.stderr, flush=True)
