"""What RFC 6455 asks of a server's frames and the parser lets through. Pure.

The parser (picows) delivers frames one by one. It refuses unknown opcodes, masked frames,
fragmented or long control frames, oversize single frames and most bad close codes itself. Left to
us: reserved bits, the order of fragments, the joined size, the number of fragments, UTF-8, the
    remaining close codes and close reasons.
Every rule is checked here again, so that this file alone is the contract whatever parser stands
below.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.errors import ProtocolViolationError

__all__ = ["Close", "FrameRules", "Message", "Ping", "Pong"]

OP_CONTINUATION: Final = 0x0
OP_TEXT: Final = 0x1
OP_BINARY: Final = 0x2
OP_CLOSE: Final = 0x8
OP_PING: Final = 0x9
OP_PONG: Final = 0xA

CONTROL_BYTES_MAX: Final = 125
CODE_BYTES: Final = 2

CLOSE_PROTOCOL_ERROR: Final = 1002
CLOSE_INVALID_TEXT: Final = 1007
CLOSE_TOO_BIG: Final = 1009
CLOSE_NO_STATUS: Final = 1005

# RFC 6455 7.4 and the IANA registry: codes an endpoint may send. 3000-4999 are the applications'.
_CLOSE_CODES: Final = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
)
_APP_CLOSE_CODES: Final = range(3000, 5000)


class Message(Struct, frozen=True, gc=False):
    """A whole data message, fragments joined."""

    payload: bytes
    is_text: bool


class Ping(Struct, frozen=True, gc=False):
    """A ping; its payload belongs into the pong."""

    payload: bytes


class Pong(Struct, frozen=True, gc=False):
    """A pong, asked for or not."""

    payload: bytes


class Close(Struct, frozen=True, gc=False):
    """The peer's close frame. Code 1005 stands for "none given"."""

    code: int
    reason: str


class FrameRules:
    """The rules for one connection: frames in, whole messages and control frames out.

    A violation raises; the rules are then spent and the connection must be failed with the error's
    close code.

    Attributes:
        fragments: Frames of the message being joined, 0 between messages.
        fragmented_bytes: Bytes of it so far.
    """

    __slots__ = (
        "_bytes_max",
        "_fragments_max",
        "_is_text",
        "_parts",
        "_where",
        "fragmented_bytes",
        "fragments",
    )

    def __init__(self, *, bytes_max: int, fragments_max: int, where: str = "") -> None:
        """Allow messages of `bytes_max` bytes, joined from at most `fragments_max` frames."""
        self._where = where
        self._bytes_max = bytes_max
        self._fragments_max = fragments_max
        self._parts: list[bytes] = []
        self._is_text = False
        self.fragments = 0
        self.fragmented_bytes = 0

    def receive(
        self, opcode: int, payload: bytes, *, is_final: bool, rsv: int = 0
    ) -> Message | Ping | Pong | Close | None:
        """Take one frame.

        Args:
            opcode: The frame's opcode.
            payload: Its payload.
            is_final: Its FIN bit.
            rsv: Its three reserved bits; all must be 0, since no extension is ever agreed on.

        Returns:
            What it completes; None for a fragment that completes nothing.

        Raises:
            ProtocolViolationError: the frame breaks a rule; `close_code` is what to close with.
        """
        if rsv:
            raise self._violation(f"reserved bits {rsv:03b} set, no extension was agreed on")
        if opcode >= OP_CLOSE:
            return self._receive_control(opcode, payload, is_final=is_final)
        if opcode == OP_CONTINUATION:
            if not self.fragments:
                raise self._violation("continuation frame without a message to continue")
        elif opcode in (OP_TEXT, OP_BINARY):
            if self.fragments:
                raise self._violation("new data frame inside a fragmented message")
            self._is_text = opcode == OP_TEXT
        else:
            raise self._violation(f"reserved opcode {opcode:#x}")
        return self._join(payload, is_final=is_final)

    def _join(self, payload: bytes, *, is_final: bool) -> Message | None:
        self.fragments += 1
        self.fragmented_bytes += len(payload)
        if self.fragmented_bytes > self._bytes_max:
            text = f"message of more than {self._bytes_max} bytes"
            raise self._violation(text, CLOSE_TOO_BIG)
        if self.fragments > self._fragments_max:
            text = f"message of more than {self._fragments_max} fragments"
            raise self._violation(text, CLOSE_TOO_BIG)
        if payload:
            self._parts.append(payload)
        if not is_final:
            return None
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self.fragments = 0
        self.fragmented_bytes = 0
        if self._is_text:
            check_text(whole, self._where)
        return Message(whole, self._is_text)

    def _receive_control(
        self, opcode: int, payload: bytes, *, is_final: bool
    ) -> Ping | Pong | Close:
        if opcode not in (OP_CLOSE, OP_PING, OP_PONG):
            raise self._violation(f"reserved opcode {opcode:#x}")
        if not is_final:
            raise self._violation("fragmented control frame")
        if len(payload) > CONTROL_BYTES_MAX:
            raise self._violation(f"control frame of {len(payload)} bytes")
        if opcode == OP_PING:
            return Ping(payload)
        if opcode == OP_PONG:
            return Pong(payload)
        return self._read_close(payload)

    def _read_close(self, payload: bytes) -> Close:
        if not payload:
            return Close(CLOSE_NO_STATUS, "")
        if len(payload) < CODE_BYTES:
            raise self._violation("close frame with half a code")
        code = int.from_bytes(payload[:CODE_BYTES], "big")
        if code not in _CLOSE_CODES and code not in _APP_CLOSE_CODES:
            raise self._violation(f"close frame with the forbidden code {code}")
        try:
            reason = payload[CODE_BYTES:].decode()
        except UnicodeDecodeError as exc:
            raise self._violation("close reason is not UTF-8", CLOSE_INVALID_TEXT) from exc
        return Close(code, reason)

    def _violation(
        self, text: str, close_code: int = CLOSE_PROTOCOL_ERROR
    ) -> ProtocolViolationError:
        return ProtocolViolationError(text, close_code=close_code, where=self._where)


def check_text(payload: bytes, where: str = "") -> None:
    """Accept `payload` as text.

    Raises:
        ProtocolViolationError: it is not UTF-8; the connection is to be closed with 1007.
    """
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError as exc:
        text = f"text message is not UTF-8 ({exc.reason} at byte {exc.start})"
        raise ProtocolViolationError(text, close_code=CLOSE_INVALID_TEXT, where=where) from exc
