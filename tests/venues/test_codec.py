"""What all table-driven codecs share."""

import pytest

from crossfeed.errors import DecodeError
from crossfeed.model.output import Output
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.binance.symbols import builtin
from crossfeed.venues.symbols import SymbolTable


class PongCodec(BinanceCodec):
    """Of a venue that answers its ping in plain text."""

    keepalive_answer = b"pong"


def test_the_answer_to_a_ping_may_be_no_message() -> None:
    """It is taken; what only resembles it is refused, and so is everything where there is none."""
    table = SymbolTable("binance", builtin())
    codec, out = PongCodec(table, CodecOptions()), Output()
    codec.receive(b"pong", 1, 1, out)
    assert (out.events, out.commands) == ([], [])
    for frame in (b"", b"ping", b"pong "):
        with pytest.raises(DecodeError):
            codec.receive(frame, 1, 1, out)
    with pytest.raises(DecodeError):
        BinanceCodec(table, CodecOptions()).receive(b"pong", 1, 1, out)
