"""RFC 6455 frames, the server's side: bytes in, messages out; no sockets.

Source: RFC 6455 sections 5.2 (base framing), 5.4 (fragmentation), 5.5 (control frames), 7.4
(status codes).
"""

from __future__ import annotations

import base64
import hashlib
from enum import IntEnum

import msgspec

__all__ = [
    "CloseCode",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Opcode",
    "accept_key",
    "encode",
    "encode_close",
    "header",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Longest message a client may send, bytes. Subscriptions of a thousand streams fit.
MESSAGE_BYTES_MAX = 1 << 20
_CONTROL_BYTES_MAX = 125
_REASON_BYTES_MAX = 123
_FIN = 0x80
_MASKED = 0x80


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Why a connection is closed."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    SERVICE_RESTART = 1012
    TRY_LATER = 1013


class FrameError(Exception):
    """The client broke RFC 6455; close with `code`. Private to the simulator."""

    def __init__(self, code: CloseCode, text: str) -> None:
        """Build from the close code and what was wrong."""
        self.code = code
        super().__init__(text)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A whole message (fragments joined) or a control frame."""

    opcode: Opcode
    payload: bytes


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def header(length: int, opcode: int = Opcode.TEXT) -> bytes:
    """Return the header of an unmasked, final frame with a payload of `length` bytes."""
    first = _FIN | opcode
    if length <= _CONTROL_BYTES_MAX:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126, length >> 8, length & 0xFF))
    return bytes((first, 127)) + length.to_bytes(8, "big")


def encode(payload: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """Return an unmasked, final frame."""
    return header(len(payload), opcode) + payload


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; the reason is cut to what fits into a control frame."""
    text = reason.encode()[:_REASON_BYTES_MAX]
    return encode(code.to_bytes(2, "big") + text, Opcode.CLOSE)


class FrameDecoder:
    """Cuts a client's byte stream into messages. One per connection."""

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        """Build a decoder that refuses messages longer than `message_bytes_max`."""
        self._buffer = bytearray()
        self._message_bytes_max = message_bytes_max
        self._parts: list[bytes] = []
        self._opcode: Opcode | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Add received bytes; return the messages they complete, in order.

        Raises:
            FrameError: the client broke the protocol. The decoder must not be used again.
        """
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            done = self._join(*frame)
            if done is not None:
                frames.append(done)
        return frames

    def _next(self) -> tuple[bool, Opcode, bytes] | None:
        """Cut one frame off the buffer; None while it is incomplete."""
        buffer = self._buffer
        if len(buffer) < 2:  # noqa: PLR2004 - the shortest header
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits set")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode") from None
        if not second & _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "client frame not masked")
        is_final = bool(first & _FIN)
        short = second & 0x7F
        if opcode >= Opcode.CLOSE and (short > _CONTROL_BYTES_MAX or not is_final):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "control frame too long or fragmented")
        at = 2 if short <= _CONTROL_BYTES_MAX else 4 if short == 126 else 10  # noqa: PLR2004
        if len(buffer) < at:
            return None
        length = short if at == 2 else int.from_bytes(buffer[2:at], "big")  # noqa: PLR2004
        if length + sum(map(len, self._parts)) > self._message_bytes_max:
            raise FrameError(CloseCode.TOO_BIG, "message too big")
        end = at + 4 + length
        if len(buffer) < end:
            return None
        payload = _unmask(bytes(buffer[at + 4 : end]), bytes(buffer[at : at + 4]))
        del buffer[:end]
        return is_final, opcode, payload

    def _join(self, is_final: bool, opcode: Opcode, payload: bytes) -> Frame | None:  # noqa: FBT001
        """Join fragments; return a message once it is whole."""
        if opcode >= Opcode.CLOSE:
            return Frame(opcode, payload)
        if opcode is Opcode.CONTINUATION:
            if self._opcode is None:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "continuation of nothing")
        elif self._opcode is not None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "new message inside a fragmented one")
        else:
            self._opcode = opcode
        self._parts.append(payload)
        if not is_final:
            return None
        whole = Frame(self._opcode or opcode, b"".join(self._parts))
        self._parts = []
        self._opcode = None
        if whole.opcode is Opcode.TEXT:
            try:
                whole.payload.decode()
            except UnicodeDecodeError:
                raise FrameError(CloseCode.INVALID_TEXT, "text is not UTF-8") from None
        return whole


def _unmask(payload: bytes, mask: bytes) -> bytes:
    """Undo the client's masking."""
    size = len(payload)
    if size == 0:
        return b""
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
