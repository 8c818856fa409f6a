"""What a session hands to its connection besides text messages (plain `bytes`)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

__all__ = ["Close", "Cut", "CutMode", "Outgoing", "Ping", "Pong", "RawBytes"]

CutMode = Literal["clean", "eof", "reset", "mid_frame"]


class Ping(msgspec.Struct, frozen=True, gc=False):
    """A ping frame."""

    payload: bytes = b""


class Pong(msgspec.Struct, frozen=True, gc=False):
    """A pong frame."""

    payload: bytes = b""


class Close(msgspec.Struct, frozen=True, gc=False):
    """A close frame; nothing follows it. The connection ends once the client has answered."""

    code: int
    reason: str = ""


class Cut(msgspec.Struct, frozen=True, gc=False):
    """The end without a close frame: FIN, RST, or either after the first half of a frame."""

    mode: CutMode
    #: mid_frame only: the message of which half is sent.
    payload: bytes = b""


class RawBytes(msgspec.Struct, frozen=True, gc=False):
    """Bytes put on the wire as they are: for malformed frames."""

    data: bytes


Outgoing: TypeAlias = bytes | Ping | Pong | Close | Cut | RawBytes
