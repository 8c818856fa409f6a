"""Wrong content and wrong frames, made from right ones."""

from __future__ import annotations

import re

from crossfeed.simulator.framing import Opcode, encode, header

__all__ = ["READABLE", "broken_frame", "corrupt", "with_bad_checksum"]

_PRICE = re.compile(
    rb'("(?:p|b|a|c|price|bid|last|price_level)":"?)(\d+)(\.\d+)?|(\[(?:"buy",|"sell",)?")(\d+)(\.\d+)?'
)
_SYMBOL = re.compile(rb'("(?:s|symbol|product_id)":")([^"]+)')
_TYPE = re.compile(rb'("(?:e|type|channel)":")([^"]+)')
_EPOCH = re.compile(rb'("[ETtC]":)(\d{13,16})')
_ISO = re.compile(rb'("(?:time|timestamp|event_time)":")20(\d\d)')
#: Corruptions a client can read: it takes the message, marked as suspect. All others it rejects.
READABLE = frozenset({"x10", "future", "past"})
_HUGE_BYTES = 17 << 20


def corrupt(payload: bytes, mode: str) -> bytes:
    """Spoil a message so that a correct client must not take it as it is.

    Args:
        payload: The right message.
        mode: json (cut off), utf8 (invalid bytes), nan, zero, x10 (the first price), missing (the
            first price's field renamed), unknown (another type), foreign (another symbol),
            future and past (other times).
    """
    if mode == "utf8":
        return payload[:-2] + b"\xff\xfe" + payload[-2:]
    if mode in {"nan", "zero", "x10"}:
        return _PRICE.sub(lambda found: _price(found, mode), payload, count=1)
    if mode == "missing":
        return _PRICE.sub(lambda found: b'"gone' + found.group()[1:], payload, count=1)
    if mode == "unknown":
        return _TYPE.sub(rb"\1neverHeardOf", payload, count=1)
    if mode in {"future", "past"}:
        return _misdate(payload, is_late=mode == "future")
    if mode == "foreign":
        return _SYMBOL.sub(rb"\1FOREIGN", payload)
    return payload[: max(1, len(payload) * 3 // 5)]


def _misdate(payload: bytes, *, is_late: bool) -> bytes:
    """Move all times ten years (texts) or a tenth of their value (numbers) away."""

    def number(found: re.Match[bytes]) -> bytes:
        moved = int(found.group(2)) * (11 if is_late else 9) // 10
        return found.group(1) + b"%d" % moved

    def text(found: re.Match[bytes]) -> bytes:
        year = (int(found.group(2)) + (10 if is_late else -10)) % 100
        return found.group(1) + b"20%02d" % year

    return _ISO.sub(text, _EPOCH.sub(number, payload))


def _price(found: re.Match[bytes], mode: str) -> bytes:
    """Return a wrong price in place of a right one."""
    head = found.group(1) or found.group(4)
    whole = found.group(2) or found.group(5)
    part = found.group(3) or found.group(6) or b""
    if mode == "nan":
        return head + b"NaN"
    if mode == "zero":
        return head + b"0" + re.sub(rb"\d", b"0", part)
    return head + whole + b"0" + part


def with_bad_checksum(payload: bytes, crc: int) -> bytes:
    """Change the checksum of a book message."""
    right = f'"checksum":{crc}'.encode()
    wrong = f'"checksum":{(crc + 1) & 0xFFFFFFFF}'.encode()
    return payload.replace(right, wrong)


def broken_frame(mode: str) -> bytes:
    """Return the bytes of a frame that breaks RFC 6455 (or, for "fragments", tests its edge)."""
    if mode == "huge":
        return header(_HUGE_BYTES) + b" " * _HUGE_BYTES
    text = b'{"crossfeed":"broken frame"}'
    frames = {
        "rsv": b"\xf1" + bytes([len(text)]) + text,
        "masked": b"\x81" + bytes([0x80 | len(text)]) + b"\0\0\0\0" + text,
        "stray_continuation": encode(text, Opcode.CONTINUATION),
        "utf8": encode(b'{"text":"\xff\xfe"}'),
        "long_ping": b"\x89\x7e\x00\x80" + b"p" * 128,
        "split_ping": b"\x09\x02hi",
        "bad_close": encode(b"\x03", Opcode.CLOSE),
        "binary": encode(text, Opcode.BINARY),
        "endless": b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff",
        "fragments": b"\x01\x08" + text[:8] + b"\x80" + header(len(text) - 8)[1:] + text[8:],
    }
    return frames[mode]
