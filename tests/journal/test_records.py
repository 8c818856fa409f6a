"""Records survive encoding, and nothing but whole records is ever decoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import CorruptRecordError
from crossfeed.journal.records import (
    Record,
    RecordKind,
    decode_records,
    encode_record,
    join_body,
    split_body,
)

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
RECORDS = st.builds(
    Record,
    kind=st.integers(0, 255),
    source=st.text(max_size=20),
    payload=st.binary(max_size=60),
    wall_ns=INT64,
    mono_ns=INT64,
    flags=st.integers(0, 65535),
)


def encoded(record: Record) -> bytes:
    """Encode a record."""
    return encode_record(
        record.kind,
        record.source.encode(),
        record.payload,
        record.wall_ns,
        record.mono_ns,
        record.flags,
    )


@given(st.lists(RECORDS, max_size=8))
def test_records_round_trip(records: list[Record]) -> None:
    raw = b"".join(map(encoded, records))
    assert list(decode_records(raw, len(records), {}, "x")) == records


@given(st.lists(RECORDS, min_size=1, max_size=4), st.data())
def test_cut_or_extended_blocks_are_refused(records: list[Record], data: st.DataObject) -> None:
    raw = b"".join(map(encoded, records))
    cut = data.draw(st.integers(0, len(raw) - 1))
    for broken in (raw[:cut], raw + b"x"):
        with pytest.raises(CorruptRecordError):
            list(decode_records(broken, len(records), {}, "x"))


@given(st.binary(max_size=200), st.integers(0, 5))
def test_garbage_raises_nothing_else(raw: bytes, count: int) -> None:
    try:
        found = list(decode_records(raw, count, {}, "x"))
    except CorruptRecordError:
        return
    assert b"".join(map(encoded, found)) == raw or any("\ufffd" in r.source for r in found)


def test_source_names_feed_and_line() -> None:
    record = Record(RecordKind.FRAME_IN, "kraken/kraken-1", b"", 0, 0)
    assert (record.feed, record.line) == ("kraken", "kraken-1")
    assert Record(RecordKind.CONFIG, "kraken", b"", 0, 0).line == ""


def test_json_and_body_share_a_payload() -> None:
    assert split_body(join_body({"a": 1}, b"body")) == ({"a": 1}, b"body")
    for broken in (b"", b"\x05\0\0\0{", b"\x02\0\0\0[]", b"\x01\0\0\0{"):
        with pytest.raises(CorruptRecordError):
            split_body(broken)
