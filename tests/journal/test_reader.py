"""The reader: whole records only, damage by range, bounded work, nothing outside the folder."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import (
    CorruptRecordError,
    CrossfeedError,
    JournalError,
    UnsupportedVersionError,
)
from crossfeed.journal.compression import Codec
from crossfeed.journal.folder import list_segments, segment_name
from crossfeed.journal.format import (
    BLOCK_HEAD_BYTES,
    HEADER_BYTES,
    VERSION,
    BlockHead,
    SegmentHead,
    encode_block,
    encode_head,
    open_block,
    parse_block_head,
)
from crossfeed.journal.reader import Journal, SegmentReader, read_loss
from crossfeed.journal.records import Loss, Record, RecordKind, encode_json, encode_record
from crossfeed.testing.journal import RUN, numbers, segment_bytes

PER_BLOCK = 10


def put(folder: Path, data: bytes, number: int = 1) -> Path:
    """Store a segment."""
    path = folder / segment_name(number)
    path.write_bytes(data)
    return path


def later_version(number: int = 1) -> bytes:
    """Return the head of a segment that a later build has written."""
    head = SegmentHead(number=number, run=RUN, wall_ns=5, mono_ns=6, version=VERSION + 1)
    return encode_head(head)


def read(path: Path) -> tuple[list[int], SegmentReader]:
    """Read a segment; return the numbers found, and the reader."""
    with SegmentReader(path) as reader:
        found = numbers([record for block in reader.blocks() for record in block])
    return found, reader


def cut_everywhere(folder: Path, blocks: int, step: int = 1) -> None:
    """Cut a segment at every offset, from the end: whole blocks before the cut are all there is."""
    data = segment_bytes(blocks, PER_BLOCK)
    ends = [HEADER_BYTES]
    while len(ends) <= blocks:
        ends.append(len(segment_bytes(len(ends), PER_BLOCK)))
    path = put(folder, data)
    whole = blocks
    for length in range(len(data), HEADER_BYTES - 1, -step):
        os.truncate(path, length)
        while ends[whole] > length:
            whole -= 1
        found, reader = read(path)
        assert found == list(range(whole * PER_BLOCK)), f"cut at {length}"
        assert reader.good_end == ends[whole]
        assert not reader.is_complete
        assert reader.damages[-1].reason == ("unsealed" if ends[whole] == length else "torn tail")
    for length in range(HEADER_BYTES // 2):
        os.truncate(path, length)
        with pytest.raises(CorruptRecordError):
            SegmentReader(path)


@pytest.mark.fault("F02")
def test_cut_at_every_offset(tmp_path: Path) -> None:
    """Here a few KiB; `make soak` cuts 64 KiB at every offset."""
    cut_everywhere(tmp_path, blocks=8)


@pytest.mark.fault("F02")
@pytest.mark.load
@pytest.mark.timeout(1800)
def test_cut_at_every_offset_of_64_kib(tmp_path: Path) -> None:
    size = len(segment_bytes(64, PER_BLOCK)) - HEADER_BYTES
    cut_everywhere(tmp_path, blocks=-(-64 * 64 * 1024 // size))


def flip_everywhere(folder: Path, blocks: int, bits: range) -> None:
    """Flip single bits of a segment: what is read stays a part of what was written."""
    data = segment_bytes(blocks, PER_BLOCK)
    path = put(folder, data)
    written = list(range(blocks * PER_BLOCK))
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            at, mask = bit // 8, 1 << bit % 8
            os.pwrite(file.fileno(), bytes([data[at] ^ mask]), at)
            found, reader = read(path)
            os.pwrite(file.fileno(), data[at : at + 1], at)
            reasons = [damage.reason for damage in reader.damages]
            if at < HEADER_BYTES:
                assert found == written
                assert "head" in reasons
                continue
            lost = [n for n in written if n not in set(found)]
            assert len(lost) == PER_BLOCK, f"bit {bit}"
            assert lost == list(range(lost[0], lost[0] + PER_BLOCK))
            assert found == [n for n in written if n not in lost]
            damage = reader.damages[0]
            assert damage.reason in {"checksum", "torn tail"}
            assert damage.offset <= at < damage.offset + damage.length
            if damage.reason == "checksum":
                assert (damage.after_ns, damage.before_ns) == (
                    999 + lost[0] if lost[0] else 0,
                    1_000 + lost[-1] + 1,
                )


@pytest.mark.fault("F03")
def test_bit_flips_are_found_skipped_and_reported(tmp_path: Path) -> None:
    """Here every 13th bit of a few KiB; `make soak` flips every bit of 64 KiB."""
    size = len(segment_bytes(6, PER_BLOCK))
    flip_everywhere(tmp_path, blocks=6, bits=range(0, size * 8, 13))


def is_refused(head: BlockHead, stored: bytes, seed: int) -> bool:
    try:
        open_block(head, stored, seed, "x", 0)
    except CorruptRecordError:
        return True
    return False


@pytest.mark.fault("F03")
@pytest.mark.load
@pytest.mark.timeout(1800)
def test_every_bit_flip_of_64_kib(tmp_path: Path) -> None:
    """Each bit on the block it lies in, and every 997th through the reader on the whole file."""
    size = len(segment_bytes(64, PER_BLOCK)) - HEADER_BYTES
    blocks = -(-64 * 64 * 1024 // size)
    data = segment_bytes(blocks, PER_BLOCK)
    seed = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6).seed
    found = 0
    starts = [HEADER_BYTES]
    while starts[-1] < len(data):
        at = starts[-1]
        head = parse_block_head(data[at : at + BLOCK_HEAD_BYTES], seed)
        assert head is not None
        starts.append(at + BLOCK_HEAD_BYTES + head.stored_bytes)
        block = bytearray(data[at : starts[-1]])
        for bit in range(len(block) * 8):
            block[bit // 8] ^= 1 << bit % 8
            flipped = parse_block_head(bytes(block[:BLOCK_HEAD_BYTES]), seed)
            assert flipped is None or is_refused(flipped, bytes(block[BLOCK_HEAD_BYTES:]), seed)
            block[bit // 8] ^= 1 << bit % 8
            found += 1
    assert found == (len(data) - HEADER_BYTES) * 8
    flip_everywhere(tmp_path, blocks, range(0, len(data) * 8, 997))


@pytest.mark.fault("F03")
def test_removed_and_repeated_blocks_are_found(tmp_path: Path) -> None:
    data, one = segment_bytes(3, PER_BLOCK), len(segment_bytes(1, PER_BLOCK))
    two = len(segment_bytes(2, PER_BLOCK))
    found, reader = read(put(tmp_path, data[:one] + data[two:]))
    assert found == [*range(10), *range(20, 30)]
    assert reader.damages[0].reason == "blocks missing"
    found, reader = read(put(tmp_path, data[:two] + data[one:]))
    assert found == list(range(30))
    assert reader.damages[0].length == two - one


@pytest.mark.fault("F09")
@given(st.binary(max_size=400), st.sampled_from([b"", segment_bytes(1, 3)]))
def test_garbage_ends_in_a_documented_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    path = tmp_path_factory.mktemp("x") / "segment-0000000001.cfj"
    path.write_bytes(head + data)
    try:
        found, reader = read(path)
    except CrossfeedError:
        return
    assert found == [0, 1, 2]
    assert reader.damages


@pytest.mark.fault("F09")
def test_hostile_lengths_cost_no_memory(tmp_path: Path) -> None:
    """A file that knows its own seed announces bombs and records beyond their block."""
    head = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6)
    bomb = encode_block(bytes(32 << 20), 1, 0, 0, head.seed, Codec.ZSTD)
    lying = encode_block(b"\1\0\0\0\xff\xff\xff\x7f" + bytes(16), 1, 1, 0, head.seed, Codec.NONE)
    path = put(tmp_path, encode_head(head) + bomb + lying + bomb[:30] * 2_000)
    tracemalloc.start()
    try:
        found, reader = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == []
    assert reader.damages
    assert peak < 80 << 20


@pytest.mark.fault("F10")
def test_only_regular_files_with_a_number_are_segments(tmp_path: Path) -> None:
    """Neither links, pipes and folders under a segment's name, nor any other name, are opened."""
    inside, outside = tmp_path / "journal", tmp_path / "outside.cfj"
    inside.mkdir()
    outside.write_bytes(segment_bytes(1, 3))
    put(inside, segment_bytes(1, 3), 5)
    (inside / segment_name(1)).symlink_to(outside)
    os.mkfifo(inside / segment_name(2))
    (inside / segment_name(3)).mkdir()
    for name in ("segment-../../x.cfj", "segment-1.cfj", "segment-0000000004.cfj.tmp"):
        with pytest.MonkeyPatch.context():
            (inside / name.replace("/", "_")).write_bytes(b"x")
    assert [segment.number for segment in list_segments(inside)] == [5]
    with pytest.raises(JournalError):
        SegmentReader(inside / segment_name(1))


@pytest.mark.fault("F10")
def test_names_in_records_are_only_data(tmp_path: Path) -> None:
    """A venue called like a path stays a text."""
    head = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6)
    raw = encode_record(1, b"../../etc/passwd", b"x", 1, 1)
    put(tmp_path, encode_head(head) + encode_block(raw, 1, 0, 1, head.seed, Codec.NONE))
    assert [record.source for record in Journal(tmp_path).records()] == ["../../etc/passwd"]
    assert [path.name for path in tmp_path.iterdir()] == [segment_name(1)]


def test_journal_reads_segments_in_order_and_filters(tmp_path: Path) -> None:
    put(tmp_path, segment_bytes(1, 3, number=2), 2)
    put(tmp_path, segment_bytes(2, 3, number=1), 1)
    put(tmp_path, b"nothing", 3)
    journal = Journal(tmp_path)
    assert numbers(journal.records()) == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert [damage.reason for damage in journal.damages] == ["unsealed", "unsealed", "head"]
    assert numbers(journal.records(first_segment=2)) == [0, 1, 2]
    assert list(journal.records(kinds=[RecordKind.CLOSE])) == []
    assert journal.head(journal.segments()[1]).number == 2


@pytest.mark.fault("F03")
def test_segments_that_are_gone_are_named(tmp_path: Path) -> None:
    """Those set aside are none: nothing could be read in them."""
    for number in (2, 3, 6, 8):
        put(tmp_path, segment_bytes(1, 3, number=number), number)
    put(tmp_path, b"").rename(tmp_path / (segment_name(7) + ".bad"))
    journal = Journal(tmp_path)
    assert len(numbers(journal.records())) == 12
    (gone,) = [each for each in journal.damages if each.reason == "segments missing"]
    assert gone.path == str(tmp_path / segment_name(4))
    assert gone.after_ns == journal.damages[0].after_ns > 0


def test_folder_in_which_nothing_can_be_read_says_why(tmp_path: Path) -> None:
    put(tmp_path, b"nothing")
    with pytest.raises(CorruptRecordError, match="no journal segment"):
        Journal(tmp_path).span()
    put(tmp_path, later_version(number=2), 2)
    put(tmp_path, b"").unlink()
    with pytest.raises(UnsupportedVersionError, match="version 2; this build reads up to 1"):
        Journal(tmp_path).span()
    put(tmp_path, segment_bytes(1, 3, number=3), 3)
    assert Journal(tmp_path).span()[0] > 0


def test_segment_sealed_while_it_is_listed_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, segment_bytes(1, 3))
    path.rename(str(path) + ".open")
    listed = Journal(tmp_path).segments()
    Path(str(path) + ".open").rename(path)
    journal = Journal(tmp_path)
    monkeypatch.setattr(journal, "segments", lambda: listed)
    assert numbers(journal.records()) == [0, 1, 2]


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="nowhere"):
        Journal(tmp_path / "nowhere").segments()


def test_losses_are_collected(tmp_path: Path) -> None:
    head = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6)
    loss = Loss(cause="overflow", first_ns=1, last_ns=2, records=3, bytes=4)
    raw = encode_json(RecordKind.LOSS, b"", loss, 1, 1)
    put(tmp_path, encode_head(head) + encode_block(raw, 1, 0, 1, head.seed, Codec.NONE))
    journal = Journal(tmp_path)
    assert [record.kind for record in journal.records()] == [RecordKind.LOSS]
    assert journal.losses == [loss]
    unreadable = read_loss(Record(RecordKind.LOSS, "", b"[]", 7, 0))
    assert (unreadable.cause, unreadable.first_ns) == ("damage", 7)
