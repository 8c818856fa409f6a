"""Deadlines on the injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crossfeed.errors import DeadlineError
from crossfeed.model.ports import Clock

__all__ = ["deadline"]


@asynccontextmanager
async def deadline(
    clock: Clock, limit_s: float, what: str, *, where: str = ""
) -> AsyncGenerator[None]:
    """Cancel the block when `limit_s` seconds of `clock` have passed.

    The timer runs on the clock, so a manual clock drives it in tests; the cancellation itself is
    `asyncio.timeout`'s, which keeps outer cancellations apart.

    Raises:
        DeadlineError: the limit passed; the block has been cancelled and has ended.
    """
    scope = asyncio.timeout(None)

    async def expire() -> None:
        """End the scope when the clock says so."""
        await clock.sleep(limit_s)
        scope.reschedule(asyncio.get_running_loop().time())

    try:
        async with scope:
            timer = asyncio.create_task(expire(), name="deadline")
            try:
                yield
            finally:
                timer.cancel()
                await asyncio.wait({timer})
    except TimeoutError as exc:
        if not scope.expired():
            raise
        text = f"{what} took longer than {limit_s:g} s"
        raise DeadlineError(text, limit_s=limit_s, where=where) from exc
