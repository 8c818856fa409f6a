"""A compiled block holds what the reader in Python finds in the same bytes, or is declined."""

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import CorruptRecordError
from crossfeed.journal.records import COMMON_MAX, Record, decode_records, encode_record
from crossfeed.runtime.core_choice import compiled_modules

compiled = compiled_modules()
pytestmark = pytest.mark.skipif(compiled is None, reason="the compiled core is not in use")

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
records_of_any_kind = st.builds(
    Record,
    kind=st.sampled_from([1, 1, 1, 2, 9, 10, 12, 200]),
    source=st.sampled_from(["", "kraken", "kraken/kraken-1", "kraken/kraken-2", "é" * 100]),
    payload=st.binary(max_size=40),
    wall_ns=INT64,
    mono_ns=INT64,
    flags=st.integers(0, 65535),
)


def encoded(records: list[Record]) -> bytes:
    return b"".join(
        encode_record(r.kind, r.source.encode(), r.payload, r.wall_ns, r.mono_ns, r.flags)
        for r in records
    )


def block_of(raw: bytes, count: int, rare: list[Record] | None = None) -> Any:
    assert compiled is not None
    return compiled.blocks.block_of(raw, count, {}, Record, COMMON_MAX, rare)


def frame(number: int, line: str = "a") -> Record:
    return Record(1, line, b"%d" % number, number, -number)


def state() -> Any:
    assert compiled is not None
    return compiled.blocks.PlayerState()


@given(st.lists(records_of_any_kind, max_size=8), st.data())
def test_records_are_those_of_the_reader_in_python(records: list[Record], data: st.DataObject):
    raw, rare, other_rare = encoded(records), list[Record](), list[Record]()
    plain = decode_records(raw, len(records), {}, "x", rare)
    block = block_of(raw, len(records), other_rare)
    assert list(block) == plain == records
    assert len(block) == len(plain)
    assert other_rare == rare
    first, stop = data.draw(st.integers(-10, 10)), data.draw(st.integers(-10, 10))
    step = data.draw(st.sampled_from([1, 1, 2, -1]))
    assert list(block[first:stop:step]) == plain[first:stop:step]
    for place in range(-len(plain), len(plain)):
        assert block[place] == plain[place]
    for place in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            block[place]


@given(st.lists(records_of_any_kind, max_size=4), st.binary(max_size=30), st.data())
def test_what_python_refuses_is_declined(records: list[Record], junk: bytes, data: st.DataObject):
    raw = bytearray(encoded(records))
    match data.draw(st.sampled_from(["cut", "longer", "flip", "count", "junk"])):
        case "cut":
            del raw[data.draw(st.integers(0, len(raw))) :]
        case "longer":
            raw += junk
        case "flip" if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case _:
            raw[:0] = junk
    count = len(records) + data.draw(st.sampled_from([0, 0, 0, 1, -1]))
    block = block_of(bytes(raw), count)
    if count < 0:
        assert block is None
        return
    try:
        plain = decode_records(bytes(raw), count, {}, "x")
    except CorruptRecordError:
        assert block is None
    else:
        assert list(block) == plain


def test_frames_go_to_their_ways_until_something_else_comes():
    other = Record(7, "a", b"timer", 3, -3)
    records = [frame(0), frame(1, "b"), frame(2), other, frame(4), frame(5, "c"), frame(6)]
    block, player = block_of(encoded(records), len(records)), state()
    seen: list[tuple[Any, ...]] = []

    def way(name: str) -> Any:
        def take(*values: Any) -> None:
            seen.append((name, *values, player.now_ns, player.mono_ns))

        return take

    ways = {"a": way("a"), "b": way("b")}
    assert block.play(0, ways, player) == 3
    assert seen == [
        ("a", b"0", 0, 0, 0, 0),
        ("b", b"1", 1, -1, 1, -1),
        ("a", b"2", 2, -2, 2, -2),
    ]
    assert block.play(4, ways, player) == 5, "the way of c is not known"
    ways["c"] = way("c")
    assert block.play(5, ways, player) == 7
    assert [(name, payload) for name, payload, *_ in seen[3:]] == [
        ("a", b"4"),
        ("c", b"5"),
        ("a", b"6"),
    ]
    assert block[4:6].play(0, ways, player) == 2
    assert [payload for _, payload, *_ in seen[6:]] == [b"4", b"5"]


def test_ways_may_change_while_frames_are_played():
    records = [frame(number) for number in range(4)]
    block, ways, seen = block_of(encoded(records), 4), dict[str, Any](), list[tuple[str, bytes]]()

    def later(payload: bytes, *_: Any) -> None:
        seen.append(("later", payload))
        ways.clear()

    def first(payload: bytes, *_: Any) -> None:
        seen.append(("first", payload))
        ways["a"] = later

    ways["a"] = first
    assert block.play(0, ways, state()) == 2
    assert seen == [("first", b"0"), ("later", b"1")]


def test_an_exception_of_a_way_comes_out():
    block = block_of(encoded([frame(0)]), 1)

    def broken(*_: Any) -> None:
        raise RuntimeError("of the handler")

    with pytest.raises(RuntimeError, match="of the handler"):
        block.play(0, {"a": broken}, state())
    with pytest.raises(TypeError):
        block.play(0, {"a": broken}, object())
    with pytest.raises(IndexError):
        block.play(-1, {"a": broken}, state())
    assert block.play(9, {"a": broken}, state()) == 9, "nothing is left"


def test_a_part_outlives_its_block():
    records = [frame(number) for number in range(50)]
    block = block_of(encoded(records), 50)
    part = block[10:40][5:10]
    del block
    gc.collect()
    assert list(part) == records[15:20]
