"""Compression of journal blocks: zstd where it is installed, zlib otherwise, or none.

Measured on 41,249 Binance frames (282 bytes each) in blocks of 64 KiB, CPU a frame: zlib level 1
1.2 us to 1/7, zstd level 1 0.4 us to 1/10; inflating 0.8 and 0.2 us. Higher levels cost more than
they save here. `benchmarks/bench_journal.py` measures it on frames of its own.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
import zlib
from enum import IntEnum
from typing import Any, Final

from crossfeed.errors import ConfigError, JournalError

__all__ = ["Codec", "best_codec", "codec_named", "deflate", "inflate"]

ZLIB_LEVEL: Final = 1
ZSTD_LEVEL: Final = 1


class _Machines(threading.local):
    """zstd's machines, made once a thread: making one costs as much as it does for small blocks."""

    def __init__(self) -> None:
        import zstandard

        self.error: type[Exception] = zstandard.ZstdError
        self.size_of: Any = zstandard.frame_content_size
        self.deflate: Any = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress
        self.inflate: Any = zstandard.ZstdDecompressor().decompress


@functools.cache
def _machines() -> _Machines:
    return _Machines()


class Codec(IntEnum):
    """How a block is stored. The numbers are part of the format."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2


def best_codec() -> Codec:
    """Return ZSTD where it is installed, ZLIB otherwise."""
    return Codec.ZSTD if importlib.util.find_spec("zstandard") is not None else Codec.ZLIB


def codec_named(name: str) -> Codec:
    """Return the codec "auto", "zstd", "zlib" or "none".

    Raises:
        ConfigError: Another word, or zstd is not installed.
    """
    if name == "auto":
        return best_codec()
    if name.upper() not in Codec.__members__:
        raise ConfigError(
            f"{name!r} is no compression: auto, zstd, zlib, none", field="compression"
        )
    codec = Codec[name.upper()]
    if codec is Codec.ZSTD and best_codec() is not Codec.ZSTD:
        msg = "zstd is not installed: pip install crossfeed[record]"
        raise ConfigError(msg, field="compression")
    return codec


def deflate(raw: bytes, codec: Codec) -> bytes:
    """Compress."""
    if codec is Codec.ZSTD:
        deflated: bytes = _machines().deflate(raw)
        return deflated
    return zlib.compress(raw, ZLIB_LEVEL) if codec is Codec.ZLIB else raw


def inflate(stored: bytes, codec: int, raw_bytes: int) -> bytes:
    """Inflate to exactly `raw_bytes`; memory is bounded by it, whatever `stored` holds.

    Raises:
        ValueError: Another length, broken bytes, or a codec this build does not know.
        JournalError: zstd is needed and not installed.
    """
    if codec == Codec.ZSTD:
        return _inflate_zstd(stored, raw_bytes)
    if codec == Codec.ZLIB:
        machine = zlib.decompressobj()
        try:
            raw = machine.decompress(stored, raw_bytes + 1)
        except zlib.error as error:
            raise ValueError(f"zlib: {error}") from error
        if len(raw) != raw_bytes or not machine.eof or machine.unused_data:
            raise ValueError("zlib: another length than announced")
        return raw
    if codec != Codec.NONE or len(stored) != raw_bytes:
        raise ValueError(f"codec {codec}: cannot be read")
    return stored


def _inflate_zstd(stored: bytes, raw_bytes: int) -> bytes:
    try:
        machines = _machines()
    except ImportError as error:
        msg = "this journal is compressed with zstd: pip install crossfeed[record]"
        raise JournalError(msg) from error
    try:
        if machines.size_of(stored) != raw_bytes:
            raise ValueError("zstd: another length than announced")
        raw: bytes = machines.inflate(stored, max_output_size=raw_bytes)
    except machines.error as error:
        raise ValueError(f"zstd: {error}") from error
    return raw
