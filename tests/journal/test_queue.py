"""The queue between data path and writer: nothing lost, nothing out of order, either form."""

import itertools
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.journal.queue import ITEM_BYTES, RecordQueue, StateRecord
from crossfeed.journal.records import HEAD_BYTES, decode_records, encode_record
from crossfeed.runtime.recording import journal_queue

SOURCE = b"sim/sim-1"
BLOCK = 512


def refused(*_: object) -> bool:
    return False


def drained(queue: Any) -> list[Any]:
    """Return records and states in order, and check what is said of each piece."""
    found: list[Any] = []
    for item in iter(queue.take, None):
        if isinstance(item, StateRecord):
            found.append(item)
            continue
        raw, count, first_ns, last_ns = item
        records = decode_records(raw, count, {}, "piece")
        assert (records[0].wall_ns, records[-1].wall_ns) == (first_ns, last_ns)
        assert count == 1 or len(raw) < 2 * BLOCK, "a block stays about as long as it may be"
        found += records
    return found


def frame(number: int, size: int = 20) -> bytes:
    return b"%08d" % number + bytes(size)


def test_order_is_kept_across_frames_records_and_states(make_queue):
    queue = make_queue(1 << 20, BLOCK, refused)
    state = StateRecord(encode_record(11, SOURCE, b"{}", 3, 3), "sim", "open")
    assert queue.put_frame(1, SOURCE, b"one", 1, 1)
    queue.put_record(encode_record(7, SOURCE, b"two", 2, 2))
    queue.put_state(state)
    assert queue.put_frame(1, b"", b"", 4, 4)
    assert queue.records == 4
    first, second, found, last = drained(queue)
    assert (first.payload, first.source, second.payload) == (b"one", "sim/sim-1", b"two")
    assert found is state
    assert (last.payload, last.source, last.wall_ns, last.mono_ns) == (b"", "", 4, 4)
    assert (queue.records, queue.waiting_bytes) == (0, 0)


def test_what_does_not_fit_is_handed_on(make_queue):
    late: list[tuple[Any, ...]] = []

    def note(*frame_of: Any) -> bool:
        late.append(frame_of)
        return False

    size = HEAD_BYTES + len(SOURCE) + len(frame(0)) + ITEM_BYTES
    queue = make_queue(3 * size, BLOCK, note)
    assert [queue.put_frame(1, SOURCE, frame(n), n, -n) for n in range(3)] == [True, True, True]
    assert [queue.put_frame(1, SOURCE, frame(n), n, -n) for n in (3, 4)] == [False, False]
    assert late == [(1, SOURCE, frame(n), n, -n) for n in (3, 4)]
    assert queue.waiting_bytes == 3 * size
    drained(queue)
    queue.is_shut = True
    assert not queue.put_frame(1, SOURCE, frame(9), 9, 9), "shut: not even what would fit"
    queue.put_record(encode_record(10, b"", b"the loss", 9, 9))
    queue.is_shut = False
    assert queue.put_frame(1, SOURCE, frame(10), 10, 10)
    assert [record.payload for record in drained(queue)] == [b"the loss", frame(10)]


def test_records_longer_than_a_block_go_alone(make_queue):
    queue = make_queue(1 << 20, BLOCK, refused)
    sizes = (10, BLOCK - HEAD_BYTES - len(SOURCE) - 8, 3 * BLOCK, 10, 9 * BLOCK, 20)
    for number, size in enumerate(sizes):
        if number % 2:
            queue.put_record(encode_record(1, SOURCE, frame(number, size), number, 0))
        else:
            queue.put_frame(1, SOURCE, frame(number, size), number, 0)
    assert [record.payload for record in drained(queue)] == [
        frame(number, size) for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    "bad", [(256, SOURCE, b""), (1, bytes(256), b""), (1, SOURCE, "text"), (1, None, b"")]
)
def test_what_is_no_frame_raises_and_leaves_nothing(make_queue, bad):
    queue = make_queue(1 << 20, BLOCK, refused)
    queue.put_frame(1, SOURCE, b"good", 1, 1)
    with pytest.raises(Exception, match=r"."):
        queue.put_frame(*bad, 1, 1)
    assert [record.payload for record in drained(queue)] == [b"good"]
    assert (queue.records, queue.waiting_bytes) == (0, 0)


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["frame", "frame", "frame", "record", "state", "take", "shut"]),
        st.integers(0, 3 * BLOCK) | st.integers(0, 90),
        st.integers(-(1 << 62), 1 << 62),
    ),
    max_size=80,
)


@given(steps, st.integers(100, 6_000))
def test_both_forms_hand_out_the_same(walk: list[Step], limit: int):
    """Whatever is put, taken and shut in whatever order: same answers, counts and records."""
    if journal_queue() is RecordQueue:
        pytest.skip("the compiled core is not in use")
    pair: list[Any] = [make(limit, BLOCK, refused) for make in (RecordQueue, journal_queue())]
    found: tuple[list[Any], list[Any]] = ([], [])
    for number, (what, size, stamp) in enumerate(walk):
        payload = frame(number, size)
        record = encode_record(7, SOURCE, payload, stamp, number)
        if what == "take":
            for queue, seen in zip(pair, found, strict=True):
                seen.extend(drained(queue))
        elif what == "shut":
            pair[0].is_shut = pair[1].is_shut = not pair[0].is_shut
        elif what == "frame":
            said = [queue.put_frame(1, SOURCE, payload, stamp, number) for queue in pair]
            assert said[0] == said[1]
        else:
            for queue in pair:
                if what == "record":
                    queue.put_record(record)
                else:
                    queue.put_state(StateRecord(record, "sim", str(number)))
        assert pair[0].records == pair[1].records
        assert pair[0].waiting_bytes == pair[1].waiting_bytes
    for queue, seen in zip(pair, found, strict=True):
        seen.extend(drained(queue))
        assert (queue.records, queue.waiting_bytes) == (0, 0)
    assert found[0] == found[1]


def test_pieces_have_about_the_size_of_a_block(make_queue):
    """Not a piece for each record, whatever the records' sizes, as long as they fit."""
    for size in (20, 60, 150):
        queue = make_queue(1 << 20, BLOCK, refused)
        for number in range(100):
            queue.put_frame(1, SOURCE, frame(number, size), number, 0)
        lengths = [len(raw) for raw, *_ in iter(queue.take, None)]
        assert sum(lengths) / len(lengths) > BLOCK / 2


@pytest.mark.parametrize("failing", range(6))
def test_without_memory_nothing_is_done(failing):
    """A put that raises has put nothing, and harmed nothing; what was put before is there."""
    hooks = pytest.importorskip("_testcapi", reason="an interpreter without its test modules")
    if journal_queue() is RecordQueue:
        pytest.skip("the compiled core is not in use")
    queue: Any = journal_queue()(1 << 30, BLOCK, refused)
    put, payload, done = queue.put_frame, frame(0, 400), 0
    put_state, states = queue.put_state, 0
    state = StateRecord(encode_record(11, SOURCE, b"{}", 3, 3), "sim", "open")
    fail, mend = hooks.set_nomemory, hooks.remove_mem_hooks
    for _ in range(40):
        fail(failing, failing + 1)
        try:
            put(1, SOURCE, payload, 1, 1)
            done += 1
            put_state(state)
            states += 1
        except MemoryError:
            pass
        mend()
    assert queue.records == done + states
    found = drained(queue)
    assert [isinstance(item, StateRecord) for item in found].count(True) == states
    assert len(found) == done + states
    assert (queue.records, queue.waiting_bytes) == (0, 0)


def test_two_threads_lose_and_reorder_nothing(make_queue):
    """One thread puts while another takes, as live: every record arrives once, in order."""
    count, queue = 60_000, make_queue(1 << 30, BLOCK, refused)
    is_done, found = threading.Event(), list[Any]()

    def take() -> None:
        while True:
            is_last = is_done.is_set()
            found.extend(iter(queue.take, None))
            if is_last:
                return

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(count):
        if number % 1000 == 500:
            queue.put_state(StateRecord(encode_record(1, SOURCE, frame(number), number, 0), "", ""))
        elif number % 100 == 50:
            queue.put_record(encode_record(1, SOURCE, frame(number), number, 0))
        else:
            queue.put_frame(1, SOURCE, frame(number), number, 0)
    is_done.set()
    taker.join(20)
    numbers = itertools.chain.from_iterable(
        decode_records(item.record, 1, {}, "state")
        if isinstance(item, StateRecord)
        else decode_records(item[0], item[1], {}, "piece")
        for item in found
    )
    assert [record.wall_ns for record in numbers] == list(range(count))
    assert (queue.records, queue.waiting_bytes) == (0, 0)
