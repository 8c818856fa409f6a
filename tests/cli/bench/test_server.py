"""The load generator tells the same messages in the words that a client asked for."""

import io
import socket

import msgspec
import pytest

from crossfeed.cli.bench.server import OP_TEXT, _aggregated, _Line, _Venue, frame_of, read_frame
from crossfeed.cli.bench.tapes import Feed, make_tape

FEED = Feed(venue="binance", symbols=("BTCUSDT",), shares={"trade": 1.0, "depth": 1.0}, messages=20)


@pytest.fixture
def venue():
    """A venue with one connection."""
    found = _Venue(FEED, 1, None)
    ours, theirs = socket.socketpair()
    found.lines.append(_Line(ours))
    yield found
    for each in (ours, theirs, found.listener):
        each.close()


def payloads(venue: _Venue) -> list[dict]:
    frames = [read_frame(io.BytesIO(frame)) for _, frame in venue.load()]
    return [msgspec.json.decode(frame[1]) for frame in frames if frame is not None]


def test_only_what_was_asked_for_is_sent(venue: _Venue):
    assert venue.load() == []
    venue.lines[0].keys["btcusdt@trade"] = None
    trades = [frame for key, frame in venue.tape.frames if key == "btcusdt@trade"]
    assert payloads(venue) == [msgspec.json.decode(trade) for trade in trades]


def test_bare_connection_gets_the_content_alone(venue: _Venue):
    venue.lines[0].keys["btcusdt@depth@100ms"] = None
    wrapped = payloads(venue)
    venue.lines[0].is_bare = True
    assert payloads(venue) == [each["data"] for each in wrapped]


def test_trade_is_told_as_an_aggregate_of_one(venue: _Venue):
    venue.lines[0].keys["btcusdt@aggTrade"] = None
    first = payloads(venue)[0]
    assert first["stream"] == "btcusdt@aggTrade"
    data = first["data"]
    assert data["e"] == "aggTrade"
    assert data["a"] == data["f"] == data["l"]
    assert "t" not in data
    assert msgspec.json.decode(_aggregated(b'{"e":"trade","t":5,"p":"1","T":6}')) == {
        "e": "aggTrade", "a": 5, "p": "1", "f": 5, "l": 5, "T": 6,
    }  # fmt: skip


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frame_is_read_as_it_was_written(size: int):
    assert read_frame(io.BytesIO(frame_of(b"x" * size, OP_TEXT))) == (OP_TEXT, b"x" * size)


def test_copies_of_a_venue_speak_its_protocol():
    copy = Feed(venue="binance_2", symbols=("BTCUSDT",), shares={"quote": 1.0}, messages=3)
    assert copy.protocol == "binance"
    assert len(make_tape(copy).frames) == 3
