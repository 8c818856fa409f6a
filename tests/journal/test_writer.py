"""The writer: nothing is lost unsaid, whatever the disk does, and nobody waits for it."""

import errno
import os
import resource
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from crossfeed.errors import ConfigError, JournalError, JournalLockedError
from crossfeed.journal.files import Files
from crossfeed.journal.folder import LOCK_NAME, list_segments, segment_name
from crossfeed.journal.format import BLOCK_BYTES_MAX, VERSION, SegmentHead, encode_head
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.reader import Journal, SegmentReader
from crossfeed.journal.records import (
    HEAD_BYTES,
    RECORD_BYTES_MAX,
    REPEATED,
    Record,
    RecordKind,
    encode_json,
)
from crossfeed.journal.recovery import recover_folder
from crossfeed.journal.writer import NICENESS, JournalWriter
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.journal import (
    RUN,
    FaultyFiles,
    numbered,
    numbers,
    segment_bytes,
    wait_until,
)

SOURCE = b"sim/sim-1"


def put(writer, first, count=1):
    """Put numbered frames; return how many were taken."""
    return sum(map(writer.intake.put, numbered(first, count)))


def everything(folder: Path) -> tuple[list[Record], Journal]:
    """Read a whole journal."""
    journal = Journal(folder)
    return list(journal.records()), journal


def states(folder: Path) -> list[str]:
    return [segment.state for segment in list_segments(folder, with_bad=True)]


# ── when all is well ──────────────────────────────────────────────────────────


def test_what_is_put_is_read_and_sealed(make_writer, folder):
    writer = make_writer()
    assert writer.intake.put_frame(1, SOURCE, b"payload 00000000", 1_000, 0)
    assert put(writer, 1, 99) == 99
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(100))
    assert records[-1].kind == RecordKind.END
    assert records[-1].json() == {"records": 100, "reason": "closed"}
    assert journal.damages == []
    assert states(folder) == ["sealed"]
    stats = writer.stats()
    assert (stats.records, stats.lost_records, stats.segments) == (100, 0, 1)
    assert stats.bytes_out == sum(segment.bytes for segment in journal.segments())


def test_the_most_that_waited_is_told(make_writer):
    writer = make_writer(flush_ms=60_000.0)
    for number in range(100):
        assert writer.intake.put_frame(1, SOURCE, b"payload %08d" % number, 1_000 + number, 0)
    waiting = writer.intake.waiting_bytes
    assert waiting > 100 * len("payload 00000000")
    assert writer.close()
    stats = writer.stats()
    assert (stats.queue_bytes_max, stats.queue_bytes) == (waiting, 0)


def test_what_comes_while_a_block_is_written_counts_as_waiting_too(make_writer):
    files = FaultyFiles()
    writer = make_writer(files)
    files.waits_at = "write"
    put(writer, 0, 1)
    assert files.is_waiting.wait(20)
    put(writer, 1, 500)
    waiting = writer.intake.waiting_bytes
    files.gate.set()
    assert writer.close()
    assert writer.stats().queue_bytes_max == waiting


def test_a_block_never_becomes_longer_than_the_format_allows(tmp_path, make_queue):
    """The longest of records may come last into the longest of blocks."""
    options = JournalOptions(block_bytes=16 << 20, queue_bytes=1 << 30)
    writer = JournalWriter(tmp_path, options, clock=SystemClock(), make_queue=make_queue)
    source, longest = bytes(255), bytes(RECORD_BYTES_MAX)
    for payload in (bytes((16 << 20) - HEAD_BYTES - 256), longest):
        assert writer.intake.put_frame(1, source, payload, 1, 1)
    found = [len(piece[0]) for piece in iter(writer._take, None)]
    assert max(found) <= BLOCK_BYTES_MAX
    assert sum(found) == (64 << 20) + HEAD_BYTES + 254


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_the_writers_thread_lets_the_feeds_loop_go_first(make_writer):
    writer = make_writer()
    thread = writer._thread.native_id
    assert wait_until(lambda: os.getpriority(os.PRIO_PROCESS, thread) >= NICENESS)


@pytest.mark.skipif(sys.platform != "linux", reason="no way to give a core away")
def test_after_each_block_the_writer_gives_its_core_away(make_writer, monkeypatch):
    """What shares its core with the feed must not hold it for as long as all blocks take."""
    written_by_then: list[int] = []
    give_away = os.sched_yield

    def noted() -> None:
        written_by_then.append(writer.stats().records)
        give_away()

    monkeypatch.setattr(os, "sched_yield", noted)
    writer = make_writer(block_bytes=256)
    put(writer, 0, 100)
    assert wait_until(lambda: written_by_then[-1:] == [100])
    steps = [after - before for before, after in pairwise([0, *written_by_then])]
    assert all(0 < step <= 3 * 256 // len(numbered(0, 1)[0]) for step in steps)


def test_records_reach_the_system_within_the_flush_window(make_writer, folder):
    """The file can be read by anybody while it is written."""
    writer = make_writer()
    put(writer, 0, 5)
    assert wait_until(lambda: numbers(Journal(folder).records()) == list(range(5)))
    assert states(folder) == ["open"]
    assert wait_until(lambda: writer.stats().durable_ns == 1_004)


def test_segments_rotate_by_size_and_later_ones_begin_with_the_state(make_writer, folder):
    writer = make_writer(segment_bytes=4096, compression="none", block_bytes=512)
    for key, text in (("config", "old"), ("config", "new"), ("open", "x")):
        record = encode_json(RecordKind.CONFIG, b"sim", text, 1, 1)
        assert writer.intake.put_state(record, "sim", key)
    gone = encode_json(RecordKind.OPEN, b"sim/sim-9", "gone", 1, 1)
    assert writer.intake.put_state(gone, "sim/sim-9", "open")
    assert writer.intake.put_state(gone, "sim/sim-9", None)
    put(writer, 0, 300)
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(300))
    assert len(journal.segments()) > 3
    repeated = [r for r in records if r.flags & REPEATED]
    assert {r.payload for r in repeated} == {b'"new"', b'"x"'}
    for segment in journal.segments()[1:]:
        with SegmentReader(segment.path) as reader:
            first = next(reader.blocks())[0]
            assert first.flags == REPEATED
        assert reader.head.run == journal.head(journal.segments()[0]).run


def test_segments_rotate_by_age(make_writer, folder):
    writer = make_writer(segment_s=0.01)
    put(writer, 0)
    assert wait_until(lambda: writer.stats().segments >= 3)
    assert writer.close()
    assert numbers(everything(folder)[0]) == [0]


def test_old_segments_are_deleted_oldest_first(make_writer, folder):
    writer = make_writer(segment_bytes=4096, keep_bytes=12_000, compression="none", block_bytes=512)
    put(writer, 0, 1_000)
    assert writer.close()
    kept = list_segments(folder)
    assert sum(segment.bytes for segment in kept) <= 12_000
    assert writer.stats().retired > 0
    found = numbers(everything(folder)[0])
    assert found == list(range(found[0], 1_000))


def test_segments_older_than_the_limit_are_deleted(make_writer, folder):
    first = make_writer()
    put(first, 0)
    assert first.close()
    old = list_segments(folder)[0]
    os.utime(old.path, (1, 1))
    second = make_writer(keep_s=3600.0)
    put(second, 1)
    assert second.close()
    assert numbers(everything(folder)[0]) == [1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flush_ms", 0.0), ("fsync_s", -1.0), ("segment_bytes", 1), ("keep_bytes", -1),
        ("profile", "fast"), ("compression", "rar"), ("block_bytes", 1 << 30), ("queue_bytes", 0),
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_refused(field, value):
    with pytest.raises(ConfigError) as error:
        JournalOptions(**{field: value})
    assert error.value.field == field


def test_synced_profile_flushes_and_syncs_at_once():
    options = JournalOptions(profile="synced")
    assert options.period_s <= 0.002
    assert options.sync_ns == 0
    assert JournalOptions().period_s == 0.05
    assert JournalOptions().sync_ns == 1_000_000_000


def test_closing_twice_or_before_starting_is_harmless(make_writer, folder):
    writer = make_writer()
    assert writer.close()
    assert writer.close()
    assert not writer.is_alive
    assert JournalWriter(folder, clock=SystemClock()).close()


def test_folder_that_cannot_be_made_is_named(tmp_path):
    writer = JournalWriter(tmp_path / "a" / "b", clock=SystemClock())
    with pytest.raises(JournalError, match="cannot be made"):
        writer.start()


# ── one writer ────────────────────────────────────────────────────────────────


@pytest.mark.fault("P09")
def test_second_writer_is_refused_with_the_owner(make_writer, folder):
    make_writer()
    with pytest.raises(JournalLockedError) as error:
        JournalWriter(folder, clock=SystemClock()).start()
    assert error.value.pid == os.getpid()
    assert str(os.getpid()) in str(error.value)


@pytest.mark.fault("P09")
def test_lock_ends_with_its_writer_and_the_file_alone_locks_nothing(make_writer, folder):
    folder.mkdir()
    (folder / LOCK_NAME).write_text("1")
    assert make_writer().close()
    assert make_writer().close()


# ── the disk fails ────────────────────────────────────────────────────────────


@pytest.mark.fault("F04")
@pytest.mark.parametrize("partial", [False, True])
def test_disk_full_loses_nothing_that_fits_the_queue(make_writer, folder, partial):
    files = FaultyFiles()
    writer = make_writer(files)
    put(writer, 0, 10)
    assert wait_until(lambda: writer.stats().records == 10)
    files.partial = partial
    files.failing["write"] = errno.ENOSPC
    put(writer, 10, 10)
    assert wait_until(lambda: writer.stats().failures >= 2)
    stats = writer.stats()
    assert not stats.is_recording
    assert "write was made to fail" in stats.failure
    files.failing.clear()
    put(writer, 20, 10)
    assert wait_until(lambda: writer.stats().is_recording)
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(30))
    assert journal.losses == []
    assert set(states(folder)) == {"sealed"}


def test_between_two_segments_it_records_on(make_writer):
    said = []

    class Looking(Files):
        """Looks at the writer whenever a segment has just been made."""

        def sync_folder(self, folder: str) -> None:
            if writers:
                said.append(writers[0].stats().is_recording)
            super().sync_folder(folder)

    writers = []
    writers.append(make_writer(Looking(), segment_bytes=4096, compression="none", block_bytes=512))
    put(writers[0], 0, 200)
    assert wait_until(lambda: writers[0].stats().segments > 2)
    assert said
    assert all(said)
    assert writers[0].close()
    assert not writers[0].stats().is_recording


@pytest.mark.fault("F04")
def test_what_a_full_disk_never_takes_is_lost_and_counted(make_writer):
    files = FaultyFiles()
    writer = make_writer(files)
    put(writer, 0, 10)
    assert wait_until(lambda: writer.stats().records == 10)
    for operation in ("write", "create"):
        files.failing[operation] = errno.ENOSPC
    records = list(numbered(10, 10))
    assert all(writer.intake.put(record) for record in records)
    assert wait_until(lambda: writer.stats().failures >= 1)
    assert writer.stats().lost_records == 0, "it may go on yet"
    assert not writer.close()
    stats = writer.stats()
    assert (stats.lost_records, stats.lost_bytes) == (10, sum(map(len, records)))
    assert "Errno" not in stats.failure


@pytest.mark.fault("F04", "P08")
def test_what_does_not_fit_the_queue_is_counted_and_noted(make_writer, folder):
    files = FaultyFiles()
    writer = make_writer(files, queue_bytes=4096)
    files.failing["write"] = errno.ENOSPC
    files.failing["create"] = errno.ENOSPC
    taken = put(writer, 0, 1_000)
    assert 0 < taken < 1_000
    assert writer.stats().queue_bytes_max <= 4096
    assert wait_until(lambda: writer.stats().failures >= 1)
    files.failing.clear()
    assert wait_until(lambda: writer.stats().queue_bytes == 0)
    assert put(writer, 1_000, 5) == 5
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == [*range(taken), *range(1_000, 1_005)]
    (loss,) = journal.losses
    assert (loss.cause, loss.records) == ("overflow", 1_000 - taken)
    assert (loss.first_ns, loss.last_ns) == (1_000 + taken, 1_999)
    assert writer.stats().lost_records == 1_000 - taken
    kinds = [record.kind for record in records]
    assert kinds.index(RecordKind.LOSS) == taken + kinds[: kinds.index(RecordKind.LOSS)].count(
        RecordKind.END
    )


@pytest.mark.fault("F04")
def test_loss_tells_what_the_disk_had_to_say(make_writer, folder):
    files = FaultyFiles()
    writer = make_writer(files, queue_bytes=4096)
    put(writer, 0)
    assert wait_until(lambda: writer.stats().records == 1)
    for operation in ("write", "create"):
        files.failing[operation] = errno.ENOSPC
    put(writer, 1)
    assert wait_until(lambda: writer.stats().failures >= 1)
    assert put(writer, 2, 1_000) < 1_000
    files.failing.clear()
    assert wait_until(lambda: writer.stats().queue_bytes == 0)
    put(writer, 2_000)
    assert writer.close()
    (loss,) = everything(folder)[1].losses
    assert "was made to fail" in loss.detail


@pytest.mark.fault("F05")
def test_failed_sync_ends_the_segment_and_is_never_believed_later(make_writer, folder):
    files = FaultyFiles()
    writer = make_writer(files)
    put(writer, 0, 10)
    assert wait_until(lambda: writer.stats().durable_ns == 1_009)
    files.failing["sync"] = errno.EIO
    put(writer, 10, 10)
    assert wait_until(lambda: writer.stats().failures >= 1)
    assert writer.stats().durable_ns == 1_009
    files.failing.clear()
    assert wait_until(lambda: writer.stats().is_recording)
    put(writer, 20, 10)
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(30))
    assert journal.losses
    assert {loss.cause for loss in journal.losses} == {"sync"}
    assert min(loss.first_ns for loss in journal.losses) <= 1_010
    assert len(journal.segments()) >= 2


@pytest.mark.fault("F05")
def test_write_error_starts_a_new_segment(make_writer, folder):
    files = FaultyFiles()
    files.partial = True
    writer = make_writer(files)
    files.failing["write"] = errno.EIO
    put(writer, 0, 3)
    assert wait_until(lambda: writer.stats().failures >= 1)
    files.failing.clear()
    assert wait_until(lambda: writer.stats().is_recording)
    assert writer.close()
    assert numbers(everything(folder)[0]) == [0, 1, 2]
    assert writer.stats().segments >= 2


@pytest.mark.fault("F06")
def test_slow_sync_delays_neither_writing_nor_the_data_path(make_writer, folder):
    """While the disk is asked to sync, records go on to the file."""
    files = FaultyFiles()
    files.waits_at = "sync"
    writer = make_writer(files)
    put(writer, 0, 10)
    assert files.is_waiting.wait(10)
    put(writer, 10, 1_000)
    assert wait_until(lambda: numbers(Journal(folder).records()) == list(range(1_010)))
    assert writer.stats().durable_ns == 0
    files.gate.set()
    assert writer.close()
    assert everything(folder)[1].losses == []


@pytest.mark.fault("F06")
def test_stuck_disk_does_not_hold_the_end(make_writer):
    files = FaultyFiles()
    writer = make_writer(files)
    files.waits_at = "write"
    put(writer, 0)
    assert files.is_waiting.wait(10)
    assert not writer.close(0.05)
    files.gate.set()
    assert wait_until(lambda: not writer.is_alive)


@pytest.mark.fault("F07")
def test_recording_resumes_when_a_lost_folder_is_back(make_writer, folder):
    writer = make_writer()
    put(writer, 0, 10)
    assert wait_until(lambda: writer.stats().durable_ns == 1_009)
    away = folder.with_name("away")
    folder.rename(away)
    assert wait_until(lambda: writer.stats().failures >= 1)
    put(writer, 10, 10)
    folder.mkdir()
    assert wait_until(lambda: writer.stats().is_recording)
    put(writer, 20, 10)
    assert writer.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(10, 30))
    assert journal.losses[0].cause == "sync"
    assert (journal.losses[0].first_ns, journal.losses[0].records) == (1_000, 10)
    assert numbers(everything(away)[0]) == list(range(10))


@pytest.mark.fault("F07")
def test_read_only_folder(make_writer, folder):
    files = FaultyFiles()
    files.failing["create"] = errno.EROFS
    with pytest.raises(JournalError, match="cannot be written"):
        make_writer(files)
    files.failing.clear()
    writer = make_writer(files, segment_bytes=4096, compression="none")
    files.failing["create"] = errno.EROFS
    put(writer, 0, 200)
    assert wait_until(lambda: writer.stats().failures >= 1)
    files.failing.clear()
    assert wait_until(lambda: writer.stats().is_recording)
    assert writer.close()
    assert numbers(everything(folder)[0]) == list(range(200))


# ── crashes ───────────────────────────────────────────────────────────────────


@pytest.mark.fault("F08", "P10")
def test_crash_between_any_two_steps_of_rotation_is_mended(make_writer, folder):
    """Everything fails from the nth operation on, as after a crash; the next start mends it."""
    files = FaultyFiles()
    writer = make_writer(files, segment_bytes=4096, compression="none", block_bytes=512)
    put(writer, 0, 150)
    writer.close()
    steps = len(files.calls)
    assert steps > 20
    for step in range(1, steps):
        home = folder.with_name(f"crash{step}")
        files = FaultyFiles()
        options = JournalOptions(
            flush_ms=1.0, segment_bytes=4096, compression="none", block_bytes=512, retry_s=60.0
        )
        writer = JournalWriter(home, options, clock=SystemClock(), files=files)
        files.dies_after = step
        try:
            writer.start()
        except JournalError:
            continue
        put(writer, 0, 150)
        wait_until(lambda writer=writer: not writer.intake.waiting_bytes or writer.stats().failures)
        writer.close()
        wait_until(lambda writer=writer: not writer.is_alive)
        for _ in range(2):
            recover_folder(home, Files())
            recover_folder(home, Files())
        found = numbers(everything(home)[0])
        assert found == list(range(len(found))), f"step {step}"
        assert "open" not in states(home)


@pytest.mark.fault("F01", "P10")
def test_torn_tail_is_cut_and_noted_by_the_next_run(make_writer, folder):
    first = make_writer()
    put(first, 0, 10)
    assert first.close()
    sealed = Path(list_segments(folder)[0].path)
    whole = sealed.read_bytes()
    sealed.unlink()
    with SegmentReader(_left_open(sealed, whole)) as reader:
        list(reader.blocks())
    _left_open(sealed, whole[: len(whole) - 3])
    second = make_writer()
    put(second, 10, 10)
    assert second.close()
    records, journal = everything(folder)
    assert numbers(records) == list(range(20))
    (loss,) = journal.losses
    assert loss.cause == "crash"
    assert loss.bytes > 0
    assert loss.first_ns == 1_009
    assert states(folder) == ["sealed", "sealed"]
    assert [damage.reason for damage in journal.damages] == ["unsealed"]
    assert second.recovered[0].cut_bytes == loss.bytes


def _left_open(sealed: Path, data: bytes) -> Path:
    path = sealed.with_name(sealed.name + ".open")
    path.write_bytes(data)
    return path


@pytest.mark.fault("F08")
def test_segment_with_nothing_readable_is_set_aside(make_writer, folder):
    folder.mkdir()
    (folder / "segment-0000000004.cfj.open").write_bytes(b"half a hea")
    writer = make_writer()
    put(writer, 0)
    assert writer.close()
    assert [(s.number, s.state) for s in list_segments(folder, with_bad=True)] == [
        (4, "bad"),
        (5, "sealed"),
    ]
    assert numbers(everything(folder)[0]) == [0]


@pytest.mark.fault("F08")
def test_what_a_later_build_left_open_stays_as_it_is(folder, make_writer):
    folder.mkdir()
    head = SegmentHead(number=1, run=RUN, wall_ns=5, mono_ns=6, version=VERSION + 1)
    left = folder / segment_name(1, is_open=True)
    left.write_bytes(encode_head(head) + b"what this build cannot read")
    writer = make_writer()
    assert writer.recovered == []
    writer.close()
    assert left.read_bytes().endswith(b"cannot read")
    assert sorted(path.name for path in folder.glob("segment-*")) == [
        left.name, segment_name(2),
    ]  # fmt: skip


def test_recovery_never_overwrites_a_sealed_segment(folder):
    folder.mkdir()
    (folder / "segment-0000000001.cfj").write_bytes(b"x")
    (folder / "segment-0000000001.cfj.open").write_bytes(segment_bytes(1, 3))
    with pytest.raises(JournalError, match="exists beside"):
        recover_folder(folder, Files())


@pytest.mark.fault("P08")
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS means something else elsewhere")
def test_memory_limit_sheds_and_leaves_valid_files(tmp_path):
    """A process with 300 MiB of address space records 2 GB onto a disk that stands still."""
    program = """
import sys
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import NICENESS, JournalWriter
from crossfeed.runtime.clock import SystemClock
from crossfeed.testing.journal import FaultyFiles
files = FaultyFiles()
options = JournalOptions(queue_bytes=16 << 20)
writer = JournalWriter(sys.argv[1], options, clock=SystemClock(), files=files)
writer.start()
files.waits_at = "write"
for n in range(20_000):
    writer.intake.put_frame(1, b"sim/sim-1", (b"payload %08d" % n) + bytes(100_000), 1_000 + n, n)
files.gate.set()
assert writer.close()
print(writer.stats().lost_records)
"""
    limit = 400 << 20
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "journal")],
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    lost = int(done.stdout)
    records, journal = everything(tmp_path / "journal")
    assert lost > 10_000
    assert len(numbers(records)) == 20_000 - lost
    assert sum(loss.records for loss in journal.losses) == lost
    assert journal.damages == []
