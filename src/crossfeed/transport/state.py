"""The states of a managed connection."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ConnectionState"]


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
