"""The file format: golden files, versions, checksums that know their own file."""

import tracemalloc
from pathlib import Path

import pytest

from crossfeed.errors import ConfigError, CorruptRecordError, JournalError, UnsupportedVersionError
from crossfeed.journal import compression
from crossfeed.journal.compression import Codec, codec_named, deflate, inflate
from crossfeed.journal.format import (
    BLOCK_BYTES_MAX,
    BLOCK_HEAD_BYTES,
    HEADER_BYTES,
    BlockHead,
    SegmentHead,
    encode_block,
    encode_head,
    open_block,
    parse_block_head,
    parse_head,
)
from crossfeed.journal.reader import SegmentReader
from crossfeed.testing.journal import RUN, numbered, numbers, segment_bytes

GOLDEN = Path(__file__).parent / "golden"
CODECS = {"none": Codec.NONE, "zlib": Codec.ZLIB, "zstd": Codec.ZSTD}


@pytest.mark.fault("F11")
@pytest.mark.parametrize("name", CODECS)
def test_golden_files_of_every_version_are_read(name: str) -> None:
    """A file written by the first release is read by every later one."""
    path = GOLDEN / f"v1-{name}.cfj"
    with SegmentReader(path) as reader:
        records = [record for block in reader.blocks() for record in block]
    assert reader.head == SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6)
    assert numbers(records) == list(range(20))
    assert [record.wall_ns for record in records] == list(range(1_000, 1_020))
    assert records[3].source == "sim/sim-1"


@pytest.mark.parametrize("name", ["none", "zlib"])
def test_what_is_written_today_equals_the_golden_file(name: str) -> None:
    """Byte for byte where no library decides; compressed bytes may change with theirs."""
    written = segment_bytes(2, 10, CODECS[name])
    golden = (GOLDEN / f"v1-{name}.cfj").read_bytes()
    assert len(written) == len(golden) if name == "zlib" else written == golden


@pytest.mark.fault("F11")
def test_later_version_is_refused_in_words() -> None:
    head = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6, version=2)
    with pytest.raises(UnsupportedVersionError, match="version 2"):
        parse_head(encode_head(head), "x")


@pytest.mark.fault("F03")
def test_head_survives_the_loss_of_one_copy() -> None:
    data = encode_head(SegmentHead(number=7, run=RUN, wall_ns=5, mono_ns=6))
    for bit in range(HEADER_BYTES * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        head, is_damaged = parse_head(bytes(broken), "x")
        assert head.number == 7
        assert is_damaged
    with pytest.raises(CorruptRecordError):
        parse_head(bytes(HEADER_BYTES), "x")


@pytest.mark.fault("F03")
@pytest.mark.parametrize("codec", list(Codec))
def test_every_bit_flip_in_a_block_is_found(codec: Codec) -> None:
    raw = b"".join(numbered(0, 20))
    block = encode_block(raw, 20, 0, 1_000, 77, codec)
    for bit in range(len(block) * 8):
        broken = bytearray(block)
        broken[bit // 8] ^= 1 << bit % 8
        head = parse_block_head(bytes(broken[:BLOCK_HEAD_BYTES]), 77)
        if head is not None:
            with pytest.raises(CorruptRecordError):
                open_block(head, bytes(broken[BLOCK_HEAD_BYTES:]), 77, "x", 0)


def test_blocks_of_another_file_are_strangers() -> None:
    """Also those that a peer hides in a frame: it does not know the seed."""
    block = encode_block(b"x" * 50, 1, 0, 1, 77, Codec.NONE)
    assert parse_block_head(block[:BLOCK_HEAD_BYTES], 77) is not None
    assert parse_block_head(block[:BLOCK_HEAD_BYTES], 78) is None
    one = SegmentHead(number=1, run=RUN, wall_ns=0, mono_ns=0)
    assert one.seed != SegmentHead(number=2, run=RUN, wall_ns=0, mono_ns=0).seed


@pytest.mark.fault("F09")
def test_inflating_is_bounded_by_what_is_announced() -> None:
    bombs = {codec: deflate(bytes(10 << 20), codec) for codec in (Codec.ZLIB, Codec.ZSTD)}
    tracemalloc.start()
    try:
        for codec, bomb in bombs.items():
            with pytest.raises(ValueError, match=codec.name.lower()):
                inflate(bomb, codec, 1_000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    for stored, codec in ((b"x", Codec.ZLIB), (b"x", Codec.ZSTD), (b"x", Codec.NONE), (b"x", 9)):
        with pytest.raises(ValueError, match=r"zlib|zstd|codec"):
            inflate(stored, codec, 5)
    huge = BlockHead(0, BLOCK_BYTES_MAX + 1, 0, 0, 0, 0, 0)
    assert huge.raw_bytes > BLOCK_BYTES_MAX


def test_compression_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert codec_named("zlib") is Codec.ZLIB
    assert codec_named("auto") is codec_named("zstd")
    with pytest.raises(ConfigError, match="rar"):
        codec_named("rar")
    monkeypatch.setattr(compression.importlib.util, "find_spec", lambda _: None)
    assert codec_named("auto") is Codec.ZLIB
    with pytest.raises(ConfigError, match="not installed"):
        codec_named("zstd")


def test_missing_zstd_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    compression._machines.cache_clear()
    with pytest.raises(JournalError, match="pip install"):
        inflate(b"x", Codec.ZSTD, 5)


def test_incompressible_bytes_are_stored_as_they_are() -> None:
    block = encode_block(b"abc", 1, 0, 1, 77, Codec.ZLIB)
    head = parse_block_head(block[:BLOCK_HEAD_BYTES], 77)
    assert head is not None
    assert head.codec == Codec.NONE
