"""kill -9 at random moments under load: at most the flush window is lost, nothing bad is read.

`make soak` (or `pytest -m load tests/journal/test_kill.py`) kills 200 times, `make test` a few.
"""

import mmap
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from crossfeed.journal.reader import Journal, SegmentReader
from crossfeed.journal.records import RecordKind
from crossfeed.testing.journal import wait_until

FLUSH_MS = 100.0
PROGRAM = """
import mmap, struct, sys, threading, time
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import JournalWriter
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.recording import journal_queue

folder, board, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(board, "r+b") as file:
    shared = mmap.mmap(file.fileno(), 16)
options = JournalOptions(segment_bytes=1 << 20, fsync_s=0.2)
writer = JournalWriter(folder, options, clock=SystemClock(), make_queue=journal_queue())
writer.start()
put, note, pause = writer.intake.put_frame, struct.Struct("<QQ").pack_into, threading.Event()
number = struct.unpack_from("<Q", shared, 0)[0]
payload = b'{"e":"trade","s":"BTCUSDT","p":"65000.01","q":"0.5"}' * 3
while True:
    for _ in range(rate // 200):
        now = time.time_ns()
        number += 1
        put(1, b"sim/sim-1", b"%020d" % number + payload, now, now)
        note(shared, 0, number, now)
    pause.wait(0.005)
"""


def kill_often(tmp_path: Path, kills: int, rate: int) -> list[float]:
    """Kill a recorder at random moments, again and again on one folder.

    Returns what each kill lost: ms between the last record put and the last one readable.
    """
    folder, board = tmp_path / "journal", tmp_path / "board"
    board.write_bytes(bytes(16))
    dice = random.Random(7)
    losses, checked, survivors = [], 0, set()
    with board.open("r+b") as file, mmap.mmap(file.fileno(), 16) as shared:

        def put() -> tuple[int, int]:
            number, now_ns = struct.unpack_from("<QQ", shared, 0)
            return number, now_ns

        for _ in range(kills):
            before = put()[0]
            command = [sys.executable, "-c", PROGRAM, str(folder), str(board), str(rate)]
            with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
                assert wait_until(lambda before=before: put()[0] > before), child.stderr.read()
                end = before + dice.randrange(rate // 2)
                wait_until(lambda end=end: put()[0] > end)
                child.send_signal(signal.SIGKILL)
                assert child.wait() == -signal.SIGKILL
            last, last_ns = put()
            found, checked = read_from(folder, checked)
            numbers = [number for number, _ in found]
            assert numbers == list(range(before + 1, before + 1 + len(numbers)))
            read_ns = found[-1][1] if found else last_ns
            losses.append((last_ns - read_ns) / 1e6)
            assert len(numbers) <= last - before
            survivors.update(numbers)
    journal = Journal(folder)
    again = {int(r.payload[:20]) for r in journal.records() if r.kind == RecordKind.FRAME_IN}
    assert survivors <= again
    return losses


def read_from(folder: Path, checked: int) -> tuple[list[tuple[int, int]], int]:
    """Read number and time of all frames in segments that are newer than `checked`."""
    found, newest = [], checked
    for segment in Journal(folder).segments():
        if segment.number <= checked or segment.bytes == 0:
            continue
        newest = max(newest, segment.number)
        with SegmentReader(segment.path) as reader:
            for block in reader.blocks():
                found += [(int(r.payload[:20]), r.wall_ns) for r in block if r.kind == 1]
        assert all(damage.reason in {"torn tail", "unsealed"} for damage in reader.damages)
    return found, newest


@pytest.mark.fault("F01", "P10")
def test_kill_loses_at_most_the_flush_window(tmp_path: Path) -> None:
    losses = kill_often(tmp_path, kills=8, rate=20_000)
    assert max(losses) <= FLUSH_MS


@pytest.mark.fault("F01", "P10")
@pytest.mark.load
@pytest.mark.timeout(1800)
def test_two_hundred_kills(tmp_path: Path) -> None:
    losses = sorted(kill_often(tmp_path, kills=200, rate=50_000))
    print(f"200 kills: lost p50 {losses[100]:.1f} ms, max {losses[-1]:.1f} ms")
    assert losses[-1] <= FLUSH_MS
