"""What a journal holds: one record for each thing that entered a core, in the order it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from struct import Struct as Layout
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from crossfeed.errors import CorruptRecordError

__all__ = [
    "COMMON_MAX",
    "RECORD_BYTES_MAX",
    "REDACTED",
    "REPEATED",
    "Decode",
    "Loss",
    "Record",
    "RecordKind",
    "decode_records",
    "encode_json",
    "encode_record",
    "join_body",
    "split_body",
    "wall_of",
]

RECORD_BYTES_MAX: Final = 48 << 20
"""Longest payload of one record, bytes: above every frame limit and every REST answer."""

REPEATED: Final = 1
"""Flag: state that already stood in an earlier segment, so that this one can be read alone."""
REDACTED: Final = 2
"""Flag: the payload was left out because it holds credentials."""

_HEAD: Final = Layout("<BBHIqq")
HEAD_BYTES: Final = _HEAD.size
_pack = _HEAD.pack
_BODY: Final = Layout("<I")
_stamp: Final = Layout("<q").unpack_from
_WALL_AT: Final = 8


class RecordKind(IntEnum):
    """What a record is. The numbers are part of the format and never change their meaning."""

    FRAME_IN = 1
    """Payload: a frame as received. Source: the connection."""
    FRAME_OUT = 2
    """Payload: a frame as sent. Source: the connection."""
    REST_REQUEST = 3
    """Payload: JSON of the request. Source: the connection it is made for, or the feed."""
    REST_ANSWER = 4
    """Payload: JSON (request, status, what it is for) and the body; see `split_body`."""
    OPEN = 5
    """A connection is up. Payload: JSON, its wants."""
    CLOSE = 6
    """A connection is lost or closed. Payload: JSON, its wants and the cause."""
    TIMER = 7
    """Timers ran. Payload: which ("streams", "freshness", "aggregator")."""
    INSTRUMENTS = 8
    """Payload: JSON list of the feed's instruments, adopted now."""
    CONFIG = 9
    """Payload: JSON, how a feed or an aggregator runs; secrets masked."""
    LOSS = 10
    """Payload: JSON of a `Loss`: records that this journal should hold and does not."""
    CONTROL = 11
    """Payload: JSON, a step of the session: what it told the pure half, with its arguments."""
    END = 12
    """Last record of a segment that was closed in order. Payload: JSON with its counts."""


COMMON_MAX: Final = int(RecordKind.CONFIG)
"""Records of higher kinds are rare."""


class Record(Struct, frozen=True, gc=False):
    """One record. A value: no part of it may change.

    Attributes:
        kind: A `RecordKind`; a number this build does not know is kept as it is.
        source: "<feed>/<connection>" ("kraken/kraken-1"), "<feed>", or empty: the journal itself.
        payload: See `RecordKind`.
        wall_ns: Wall time, ns since 1970 UTC. Frames: the receive time.
        mono_ns: Monotonic time of the recording machine, ns; comparable within a run only.
        flags: `REPEATED`, `REDACTED`.
    """

    kind: int
    source: str
    payload: bytes
    wall_ns: int
    mono_ns: int
    flags: int = 0

    @property
    def feed(self) -> str:
        """Name of the feed."""
        return self.source.partition("/")[0]

    @property
    def line(self) -> str:
        """Name of the connection; empty where it concerns the whole feed."""
        return self.source.partition("/")[2]

    def json(self) -> dict[str, Any]:
        """Return the JSON payload.

        Raises:
            CorruptRecordError: It is no JSON object.
        """
        try:
            value: Any = msgspec.json.decode(self.payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise CorruptRecordError(self.source, offset=0, reason=f"no JSON: {error}") from error
        if not isinstance(value, dict):
            raise CorruptRecordError(self.source, offset=0, reason="no JSON object")
        return cast("dict[str, Any]", value)


class Loss(Struct, frozen=True, kw_only=True):
    """What a journal lacks, as the journal itself says.

    Attributes:
        cause: "overflow" (the disk did not keep up), "disk" (it could not be written), "sync" (a
            failed sync: what was written since `first_ns` may be gone), "crash" (the last run ended
            without closing its segment), "damage" (bytes that cannot be read).
        first_ns: Wall time of the first lost record; 0 where unknown.
        last_ns: Wall time of the last one.
        records: How many; 0 where unknown.
        bytes: How many bytes; 0 where unknown.
        detail: A sentence for people.
    """

    cause: str
    first_ns: int = 0
    last_ns: int = 0
    records: int = 0
    bytes: int = 0
    detail: str = ""


def encode_record(
    kind: int, source: bytes, payload: bytes, wall_ns: int, mono_ns: int, flags: int = 0
) -> bytes:
    """Encode one record. Cost 0.3 us and one copy of the payload.

    `source` has at most 255 bytes, `payload` at most `RECORD_BYTES_MAX`.
    """
    return _pack(kind, len(source), flags, len(payload), wall_ns, mono_ns) + source + payload


def encode_json(
    kind: int, source: bytes, value: object, wall_ns: int, mono_ns: int, flags: int = 0
) -> bytes:
    """Encode a record with a JSON payload."""
    payload = msgspec.json.encode(value)
    return encode_record(kind, source, payload, wall_ns, mono_ns, flags)


def wall_of(record: bytes) -> int:
    """Return the wall time of an encoded record, ns."""
    return int(_stamp(record, _WALL_AT)[0])


def join_body(meta: object, body: bytes) -> bytes:
    """Put JSON and a body into one payload."""
    head = msgspec.json.encode(meta)
    return _BODY.pack(len(head)) + head + body


def split_body(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a payload of `join_body` apart.

    Raises:
        CorruptRecordError: It is none.
    """
    if len(payload) >= _BODY.size:
        stop = _BODY.size + int(_BODY.unpack_from(payload)[0])
        if stop <= len(payload):
            record = Record(RecordKind.REST_ANSWER, "", payload[_BODY.size : stop], 0, 0)
            return record.json(), payload[stop:]
    raise CorruptRecordError("payload", offset=0, reason="cut off")


Decode = Callable[[bytes, int, dict[bytes, str], str, "list[Record] | None"], "Sequence[Record]"]
"""`decode_records`, or what does the same faster."""


def decode_records(
    raw: bytes, count: int, names: dict[bytes, str], where: str, rare: list[Record] | None = None
) -> list[Record]:
    """Return the records of one block. Cost 0.4 us a record and one copy of its payload.

    Args:
        raw: The block's bytes, inflated.
        count: How many records it is said to hold.
        names: Sources met before, filled further (bounded by the caller).
        where: For error texts.
        rare: Takes the records that are neither frames nor state (losses, steps, ends), once more.

    Raises:
        CorruptRecordError: The bytes are not exactly `count` whole records.
    """
    at, end, head_bytes = 0, len(raw), HEAD_BYTES
    unpack, find = _HEAD.unpack_from, names.get
    found: list[Record] = []
    add = found.append
    for _ in range(count):
        if at + head_bytes > end:
            raise CorruptRecordError(where, offset=at, reason="record cut off")
        kind, name_bytes, flags, size, wall_ns, mono_ns = unpack(raw, at)
        name_at = at + head_bytes
        start = name_at + name_bytes
        stop = start + size
        if stop > end:
            raise CorruptRecordError(where, offset=at, reason="record longer than its block")
        name = raw[name_at:start]
        source = find(name)
        if source is None:
            source = names[name] = name.decode("utf-8", "replace")
        add(Record(kind, source, raw[start:stop], wall_ns, mono_ns, flags))
        if kind > COMMON_MAX and rare is not None:
            rare.append(found[-1])
        at = stop
    if at != end:
        raise CorruptRecordError(where, offset=at, reason="bytes after the last record")
    return found
