"""The states of a managed connection, and waiting for their change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

__all__ = ["ConnectionState", "StateBoard"]


class ConnectionState(StrEnum):
    """Where a managed connection stands.

    ```
    DISCONNECTED ─► CONNECTING ─► CONNECTED ─► RECONNECTING ─► CONNECTED ...
                        │                          │
                        └──── attempts used up ────┴─► FAILED            (on_exhausted="fail")
                                                   └─► OPEN ─► CONNECTING (on_exhausted="open")
    ```
    """

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    FAILED = "failed"
    OPEN = "open"


class StateBoard:
    """Holds the state; tells who waits for it and who listens to it.

    Attributes:
        state: The state now.
    """

    def __init__(self, on_change: Callable[[ConnectionState, ConnectionState], None]) -> None:
        """Start DISCONNECTED; `on_change(old, new)` is called for each change."""
        self.state = ConnectionState.DISCONNECTED
        self._on_change = on_change
        self._waiters: list[asyncio.Future[None]] = []

    def set(self, new: ConnectionState) -> None:
        """Change the state; nothing happens if it is that already."""
        old = self.state
        if old is not new:
            self.state = new
            self.notify()
            self._on_change(old, new)

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_change(self) -> None:
        """Wait for the next change or notification."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
