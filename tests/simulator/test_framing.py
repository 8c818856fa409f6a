"""RFC 6455 frames from a client."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.framing import (
    CloseCode,
    FrameDecoder,
    FrameError,
    Opcode,
    accept_key,
    encode,
    encode_close,
    header,
)


def masked(
    payload: bytes, opcode: int = 1, *, fin: bool = True, mask: bytes = b"\1\2\3\4"
) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | size])
    elif size < 1 << 16:
        head = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + head + mask + body


def test_accept_key_of_the_rfc():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@given(
    st.lists(st.text(max_size=300), min_size=1, max_size=5),
    st.integers(1, 50),
    st.binary(min_size=4, max_size=4),
)
def test_any_cut_of_the_stream_gives_the_messages(texts, step, mask):
    stream = b"".join(masked(text.encode(), mask=mask) for text in texts)
    decoder = FrameDecoder()
    found = []
    for at in range(0, len(stream), step):
        found.extend(decoder.feed(stream[at : at + step]))
    assert [frame.payload.decode() for frame in found] == texts


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_lengths(size):
    payload = b"x" * size
    (frame,) = FrameDecoder().feed(masked(payload, 2))
    assert (frame.opcode, frame.payload) == (Opcode.BINARY, payload)
    data = encode(payload)
    assert data == header(size) + payload
    assert len(header(size)) == (2 if size < 126 else 4 if size < 65_536 else 10)


def test_fragments_with_a_ping_between_them():
    data = masked(b"ab", fin=False) + masked(b"p", 9) + masked(b"cd", 0)
    frames = FrameDecoder().feed(data)
    assert [(frame.opcode, frame.payload) for frame in frames] == [
        (Opcode.PING, b"p"),
        (Opcode.TEXT, b"abcd"),
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", CloseCode.PROTOCOL_ERROR),
        (b"\xc1" + masked(b"hi")[1:], CloseCode.PROTOCOL_ERROR),
        (b"\x83" + masked(b"hi")[1:], CloseCode.PROTOCOL_ERROR),
        (masked(b"hi", 0), CloseCode.PROTOCOL_ERROR),
        (masked(b"a", fin=False) + masked(b"b"), CloseCode.PROTOCOL_ERROR),
        (masked(b"x" * 126, 9), CloseCode.PROTOCOL_ERROR),
        (masked(b"x", 9, fin=False), CloseCode.PROTOCOL_ERROR),
        (masked(b"\xff\xfe"), CloseCode.INVALID_TEXT),
        (b"\x81\xff" + (1 << 40).to_bytes(8, "big"), CloseCode.TOO_BIG),
        (masked(b"x" * 60, fin=False) + masked(b"x" * 60, 0), CloseCode.TOO_BIG),
    ],
)
def test_violations(data, code):
    with pytest.raises(FrameError) as caught:
        FrameDecoder(message_bytes_max=100 if code is CloseCode.TOO_BIG else 1 << 20).feed(data)
    assert caught.value.code is code


@given(st.binary(max_size=200))
def test_garbage_gives_frames_or_a_frame_error(data):
    with contextlib.suppress(FrameError):
        assert all(isinstance(frame.payload, bytes) for frame in FrameDecoder().feed(data))


def test_a_long_reason_is_cut():
    data = encode_close(1008, "x" * 500)
    assert data[:4] == b"\x88\x7d\x03\xf0"
    assert len(data) == 127
