"""The listener picows calls: the data path of every message, and the seam for a compiled one.

picows calls `FrameListener.on_ws_frame`, which reads the clock once, copies the payload, checks
that it is text and calls `on_frame(payload, ts_recv_ns, ts_mono_ns)`: no await, no task, no lock,
no log line. Anything but a whole text frame takes the slow way through
`WebSocketConnection.receive`.

A compiled listener takes the place of `FrameListener` by way of `listener_factory`: see `Listener`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import picows

if TYPE_CHECKING:
    from crossfeed.transport.websocket import WebSocketConnection

__all__ = ["FrameListener", "Listener", "ListenerFactory", "OnFrame", "PicowsLog"]

OnFrame = Callable[[bytes, int, int], None]
"""Takes a message: payload, wall time and monotonic time of its receipt (ns)."""


class Listener(Protocol):
    """What a connection needs of its listener, which is a `picows.WSListener` besides.

    `on_ws_frame` handles whole text frames (TEXT, FIN, no reserved bits) itself while `is_plain` is
    true, after checking their UTF-8, and hands every other frame to `connection.receive(frame)`.
    `on_ws_connected` and `on_ws_disconnected` are handed on to the connection's methods of the same
    name.

    Attributes:
        is_plain: Set by the connection: false while a fragmented message is under way or after the
            end.
        wall_offset_ns: Set by the connection: add it to the monotonic time of receipt to get wall
            time.
        frame_count: Messages it delivered.
        byte_count: Bytes of these.
        last_frame_ns: Monotonic time of the last frame it delivered.
        on_frame: Set by the connection: what it delivers to.
    """

    on_frame: OnFrame

    is_plain: bool
    wall_offset_ns: int
    frame_count: int
    byte_count: int
    last_frame_ns: int


ListenerFactory = Callable[["WebSocketConnection"], Any]


class FrameListener(picows.WSListener):
    """The listener in Python. Made by the connection, one for each; satisfies `Listener`."""

    # Slots are not for memory here: attributes of a subclass of picows' compiled type are a third
    # slower without them (0.62 against 0.44 us a frame in all).
    __slots__ = (
        "_connection",
        "_monotonic_ns",
        "byte_count",
        "frame_count",
        "is_plain",
        "last_frame_ns",
        "on_frame",
        "wall_offset_ns",
    )

    def __init__(self, connection: WebSocketConnection) -> None:
        """Serve `connection`."""
        self._connection = connection
        self.on_frame = connection.on_frame
        self._monotonic_ns = connection.clock.monotonic_ns
        self.is_plain = True
        self.wall_offset_ns = connection.wall.offset_ns
        self.frame_count = 0
        self.byte_count = 0
        self.last_frame_ns = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Note the opening."""
        self._connection.on_ws_connected(transport)

    def on_ws_frame(
        self,
        transport: picows.WSTransport,  # noqa: ARG002 - picows' signature
        frame: picows.WSFrame,
        text: picows.WSMsgType = picows.WSMsgType.TEXT,
    ) -> None:
        """Deliver a whole text frame; hand anything else to the connection."""
        # `frame.msg_type` is a lookup of 90 ns, three reserved bits 60: everything here is counted.
        ts_mono_ns = self._monotonic_ns()
        if (
            self.is_plain
            and frame.msg_type is text
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            payload = frame.get_payload_as_bytes()
            if payload.isascii() or self._connection.accepts_text(payload):
                self.last_frame_ns = ts_mono_ns
                self.frame_count += 1
                self.byte_count += len(payload)
                try:
                    self.on_frame(payload, ts_mono_ns + self.wall_offset_ns, ts_mono_ns)
                except BaseException as exc:  # noqa: BLE001 - a handler's fault must not end the feed
                    self._connection.on_handler_error(exc)
            return
        self._connection.receive(frame, ts_mono_ns)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Note the end."""
        self._connection.on_ws_disconnected(transport)

    def pause_writing(self) -> None:
        """Refuse to send while the peer does not read."""
        self._connection.is_write_paused = True

    def resume_writing(self) -> None:
        """Send again."""
        self._connection.is_write_paused = False


class PicowsLog:
    """What picows logs to: writes nothing, but tells the connection of refused frames at once.

    picows closes the connection some milliseconds after a violation and goes on parsing until then;
    the only sign it gives in time is this log call.
    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    def isEnabledFor(self, _level: int) -> bool:  # noqa: N802 - logging's name
        """Say no: picows then builds no debug texts."""
        return False

    def error(self, _message: str, *args: object) -> None:
        """Take a violation: picows gives (close code, text)."""
        code, text = 1002, "frame refused by the parser"
        match args:
            case ((int(given), str(why)), *_):
                code, text = given, why
            case _:
                pass
        self._connection.on_parser_error(code, text)

    def exception(self, _message: str, *args: object) -> None:
        """Take an internal failure of the parser: a refusal without a code of its own."""
        self.error("", *args)

    def log(self, *_args: object) -> None:
        """Drop a line."""

    debug = info = warning = log
