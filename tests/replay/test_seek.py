"""Where reading begins for a wanted moment, told by heads and repeated state alone."""

from datetime import UTC, datetime

import pytest

from crossfeed.errors import ConfigError, JournalError
from crossfeed.journal.format import SegmentHead, encode_block, encode_head
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import REPEATED, RecordKind, encode_json, encode_record
from crossfeed.runtime import seek
from crossfeed.runtime.seek import ns_of, warm_up_for
from crossfeed.testing.journal import RUN

NS = 1_000_000_000
WALL = 1_700_000_000 * NS


@pytest.fixture(autouse=True)
def no_margin(monkeypatch):
    monkeypatch.setattr(seek, "MARGIN_NS", 0)


def opened(at_s, line="kraken-1"):
    said = {"call": "core_open", "now_ns": 0, "mono_ns": 0}
    source = f"kraken/{line}".encode()
    at_ns = round(at_s * NS)
    return encode_json(RecordKind.OPEN, source, said, WALL + at_ns, at_ns, REPEATED)


def control(at_s, **said):
    at_ns = round(at_s * NS)
    return encode_json(RecordKind.CONTROL, b"kraken", said, WALL + at_ns, at_ns, REPEATED)


WANT = {"channel": "book-10", "symbol": "BTC/USD"}
BOOK = control(0, call="stream_open", want=WANT, kind="book")


def segment(folder, number, at_s, *state, run=RUN, wall_s=None):
    """Store a segment begun at a time, with repeated state and one frame."""
    at_ns = round(at_s * NS)
    wall_ns = WALL + (at_ns if wall_s is None else round(wall_s * NS))
    head = SegmentHead(number=number, run=run, wall_ns=wall_ns, mono_ns=at_ns)
    frame = encode_record(RecordKind.FRAME_IN, b"kraken/kraken-1", b"{}", wall_ns, at_ns)
    blocks = [
        encode_block(raw, 1, place, wall_ns, head.seed, 0)
        for place, raw in enumerate((*state, frame))
    ]
    data = encode_head(head) + b"".join(blocks)
    (folder / f"segment-{number:010d}.cfj").write_bytes(data)


def begins_at(folder, at_s):
    found = warm_up_for(Journal(folder), WALL + round(at_s * NS))
    return found.segment, found.is_whole_run


def test_reading_begins_where_the_oldest_open_connection_was_opened(tmp_path):
    segment(tmp_path, 1, 0)
    segment(tmp_path, 2, 10, BOOK, opened(1))
    segment(tmp_path, 3, 20, BOOK, opened(12))
    segment(tmp_path, 4, 30, BOOK, opened(12), opened(25, "kraken-2"))
    segment(tmp_path, 5, 40, BOOK, opened(25, "kraken-2"))
    assert begins_at(tmp_path, 5) == (1, True)
    assert begins_at(tmp_path, 15) == (1, True)
    assert begins_at(tmp_path, 25) == (2, False)
    assert begins_at(tmp_path, 35) == (2, False)
    assert begins_at(tmp_path, 99) == (3, False)


def test_images_that_came_by_rest_count_as_long_as_somebody_wants_the_book(tmp_path):
    want = {"channel": "depth@100ms", "symbol": "BTCUSDT"}
    image = control(3, call="imaged", symbol="BTCUSDT")
    segment(tmp_path, 1, 0)
    stream = control(2, call="stream_open", want=want, kind="book")
    segment(tmp_path, 2, 10, opened(1), image, stream)
    closed = control(2, call="stream_open", want=want, kind="book", is_open=False)
    segment(tmp_path, 3, 20, opened(1), image, closed)
    audited = control(25, call="imaged", symbol="BTCUSDT")
    segment(tmp_path, 4, 30, opened(1), audited, stream)
    assert begins_at(tmp_path, 12) == (1, True)
    assert begins_at(tmp_path, 25) == (3, False)
    assert begins_at(tmp_path, 35) == (3, False)


def test_runs_never_mix(tmp_path):
    segment(tmp_path, 1, 0)
    segment(tmp_path, 2, 10, BOOK, opened(1))
    segment(tmp_path, 3, 5, run=bytes(16), wall_s=20)
    segment(tmp_path, 4, 15, BOOK, opened(6), run=bytes(16), wall_s=30)
    assert begins_at(tmp_path, 25) == (3, True)
    assert begins_at(tmp_path, 35) == (3, True)


def test_state_that_cannot_be_read_is_needed_from_the_beginning(tmp_path):
    segment(tmp_path, 1, 0)
    segment(tmp_path, 2, 10, opened(9))
    bad = encode_record(RecordKind.CONTROL, b"kraken", b"[", WALL, 11 * NS, REPEATED)
    segment(tmp_path, 3, 20, bad, opened(19))
    assert begins_at(tmp_path, 25) == (1, True)


def test_beginning_that_was_deleted_is_no_whole_run(tmp_path):
    segment(tmp_path, 7, 70, opened(1))
    assert begins_at(tmp_path, 75) == (7, False)


def test_without_books_nothing_of_before_is_needed(tmp_path):
    segment(tmp_path, 1, 0)
    trades = control(0, call="stream_open", want={"channel": "trade", "symbol": "X"}, kind="trade")
    segment(tmp_path, 2, 10, trades, opened(1))
    assert begins_at(tmp_path, 15) == (2, False)


def test_moments_outside_begin_at_either_end(tmp_path):
    assert begins_at(tmp_path, 5) == (0, True)
    segment(tmp_path, 1, 10)
    assert begins_at(tmp_path, 5) == (0, True)
    (tmp_path / "segment-0000000002.cfj").write_bytes(b"no segment at all")
    assert begins_at(tmp_path, 50) == (1, True)
    with pytest.raises(JournalError):
        warm_up_for(Journal(tmp_path / "absent"), WALL)


def test_moments_are_aware():
    assert ns_of(datetime(1970, 1, 2, tzinfo=UTC), "start") == 86_400 * NS
    with pytest.raises(ConfigError):
        ns_of(datetime(1970, 1, 2), "start")  # noqa: DTZ001 - that is what is refused
