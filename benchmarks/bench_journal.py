"""What does recording cost, what does it lose, and how fast does it play?

    python benchmarks/bench_journal.py             # about two minutes
    python benchmarks/bench_journal.py --kills     # and 200 times kill -9 under load, minutes more
    chrt -f 5 python benchmarks/bench_journal.py   # Linux, root: percentiles beside other work

Frames are those of `crossfeed bench` (Binance: trades, quotes, books; from one seed). CPU time is
that of the thread concerned, which other work on the machine hardly touches; wall time and
percentiles are of this machine at this load, which is printed beside.

The live path is measured in turns: the same frames, offered at the same rate, without a recorder,
without one again (how far two equal things are apart here), and with one. Each latency is from the
moment a frame was due to the end of its handler.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crossfeed.cli.bench.tapes import Feed, Tape, make_tape
from crossfeed.clients.replay import Replay
from crossfeed.journal.compression import Codec, best_codec, deflate, inflate
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import JournalWriter
from crossfeed.model.commands import RestRequest, Want
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.player import Player, PlayerHooks
from crossfeed.runtime.recording import FeedTap, journal_queue
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.binance import VENUE
from crossfeed.venues.symbols import SymbolTable

SYMBOL = "BTCUSDT"
LINE = "binance-1"
KINDS = {"trade": "trade", "book_ticker": "bookTicker", "book": "depth@100ms"}
SHARES = {"trade": 0.55, "quote": 0.35, "depth": 0.10}
BLOCK_BYTES = JournalOptions().block_bytes
NS = 1_000_000_000
Take = Callable[[bytes, int, int], None]


def journal_cpu_ns() -> int:
    """Return the CPU time that the journal's threads have used."""
    own = [each for each in threading.enumerate() if each.name.startswith("crossfeed-journal")]
    clocks = [time.pthread_getcpuclockid(each.ident) for each in own if each.ident is not None]
    return sum(time.clock_gettime_ns(clock) for clock in clocks)


class Recording:
    """A journal of one Binance line, written as the session writes it."""

    def __init__(self, folder: str, tape: Tape, options: JournalOptions | None = None) -> None:
        clock = SystemClock()
        self.writer = JournalWriter(folder, options, clock=clock, make_queue=journal_queue())
        self.writer.start()
        self.tap = FeedTap(self.writer.intake, VENUE.name, SystemClock())
        self.tap.configured(VENUE.name, FeedSettings(backfill="off", price_band=0.0))
        self._open(tape)

    def _open(self, tape: Tape) -> None:
        tap, now_ns = self.tap, time.time_ns()
        instrument = SymbolTable(VENUE.name, VENUE.builtin()).find(SYMBOL)
        wants = [Want(channel, SYMBOL) for channel in KINDS.values()]
        for kind, want in zip(KINDS, wants, strict=True):
            tap.keep("", "stream_open", key=kind, want=want, kind=kind, instrument=instrument)
        tap.keep(LINE, "core_open", now_ns, now_ns)
        tap.keep(LINE, "line_up", now_ns, now_ns, wants=wants)
        tap.keep(LINE, "subscribe", now_ns, wants=wants)
        for want in wants:
            tap.step("", "subscribed", now_ns, now_ns, want=want)
        body = next(body for path, body in tape.rest.items() if "depth" in path)
        first = next(frame for name, frame in tape.frames if "depth" in name)
        tap.frames(LINE, lambda *_: None)(first, now_ns, now_ns)
        request = RestRequest(
            purpose="snapshot", path="/api/v3/depth", symbol=SYMBOL, channel="book", epoch=1
        )
        tap.answered(LINE, request, 200, body, now_ns, now_ns, gap_id=0, rest_line="")

    def close(self) -> None:
        """Seal the journal."""
        assert self.writer.close(60.0)


def offer(frames: list[bytes], take: Take, rate: int, latencies: list[int] | None = None) -> int:
    """Hand frames over at a rate; return the CPU time of this thread, ns.

    A frame that is late does not delay those after it: latency is counted from when it was due.
    """
    clock, cpu = time.perf_counter_ns, time.thread_time_ns
    step_ns = NS / rate if rate else 0.0
    begun_ns, spent_ns, index, count = clock(), cpu(), 0, len(frames)
    while index < count:
        now_ns = clock()
        due = min(count, int((now_ns - begun_ns) / step_ns) + 1) if rate else count
        if due <= index:
            time.sleep(0.00005)
            continue
        stamp = time.time_ns()
        for place in range(index, due):
            take(frames[place], stamp, now_ns)
            if latencies is not None:
                latencies.append(clock() - begun_ns - round(place * step_ns))
        index = due
    return cpu() - spent_ns


def per_frame(label: str, ns: float, frames: int) -> None:
    """Print a cost."""
    print(f"{label:<52}{ns / frames / 1000:8.2f} us a frame (CPU)")


def measure_writer(folder: str, tape: Tape, frames: list[bytes], rate: int) -> None:
    """Record at a rate, then as fast as frames can be put."""
    for name, pace in ((f"{rate:,} frames/s", rate), ("as fast as they come", 0)):
        options = JournalOptions(queue_bytes=1 << 30 if not pace else 64 << 20)
        recording = Recording(f"{folder}/writer-{pace}", tape, options)
        writer = recording.writer
        take = recording.tap.frames(LINE, lambda *_: None)
        before, begun = journal_cpu_ns(), time.perf_counter()
        put_ns = offer(frames, take, pace)
        while len(writer.intake):
            time.sleep(0.001)
        used_ns, wall_s = journal_cpu_ns() - before, time.perf_counter() - begun
        recording.close()
        stats = writer.stats()
        print(f"record {name}: {len(frames) / wall_s:,.0f} frames/s reached, "
              f"{stats.lost_records} lost, queue at most {stats.queue_bytes_max / 1e6:.1f} MB, "
              f"{sum(map(len, frames)) / len(frames):.0f} -> "
              f"{stats.bytes_out / len(frames):.1f} bytes a frame")  # fmt: skip
        if not pace:
            per_frame("  put, in the data path", put_ns, len(frames))
        per_frame("  writer and syncer threads", used_ns, len(frames))


def measure_codecs(frames: list[bytes]) -> None:
    """Compress blocks as the journal does."""
    joined = b"".join(frames)
    blocks = [joined[at : at + BLOCK_BYTES] for at in range(0, len(joined), BLOCK_BYTES)]
    for codec in {Codec.ZLIB, best_codec()}:
        begun = time.process_time_ns()
        stored = [deflate(block, codec) for block in blocks]
        between = time.process_time_ns()
        for block, each in zip(blocks, stored, strict=True):
            inflate(each, codec, len(block))
        ended = time.process_time_ns()
        ratio = len(joined) / sum(map(len, stored))
        per_frame(f"{codec.name.lower()}: deflate, to 1/{ratio:.0f}", between - begun, len(frames))
        per_frame(f"{codec.name.lower()}: inflate", ended - between, len(frames))


class Round(NamedTuple):
    """What one round of the live path took, us."""

    p50_us: float
    p99_us: float
    cpu_us: float


class _Path(PlayerHooks):
    """A feed made from the recorded steps: the live way of a message without a socket."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.on_event = router.publish  # type: ignore[method-assign]


WITHOUT, CONTROL, RECORDED = "without", "without, again", "with a recorder"


def live_round(
    folder: str, tape: Tape, frames: list[bytes], rate: int, *, is_recorded: bool
) -> Round:
    """Offer the frames to a feed made from the recorded steps, with a recorder before it or not."""
    seen = [0]

    def handle(_event: object) -> None:
        seen[0] += 1

    recording = Recording(f"{folder}/steps", tape)
    recording.close()
    router = Router()
    router.subscribe("*", "*", handle)
    player = Player(recording.writer.folder, _Path(router))
    for block in player.blocks():
        player.play_all(block)
    take = player.feeds[VENUE.name].way(LINE, router)
    latencies: list[int] = []
    if is_recorded:
        again = Recording(f"{folder}/taped", tape)
        spent_ns = offer(frames, again.tap.frames(LINE, take), rate, latencies)
        again.close()
        assert again.writer.stats().lost_records == 0
    else:
        spent_ns = offer(frames, take, rate, latencies)
    assert seen[0] > 0
    latencies.sort()
    p50, p99 = (latencies[len(latencies) * share // 1000] / 1000 for share in (500, 990))
    return Round(p50, p99, spent_ns / len(frames) / 1000)


def measure_live(folder: str, tape: Tape, frames: list[bytes], rate: int, rounds: int) -> None:
    """Compare the live path with and without a recorder, in turns, and with itself."""
    chance, found = random.Random(1), dict[str, list[Round]]()
    for number in range(rounds):
        names = [WITHOUT, CONTROL, RECORDED]
        chance.shuffle(names)
        for name in names:
            own = f"{folder}/live-{number}-{name.replace(' ', '-')}"
            Path(own).mkdir()
            figures = live_round(own, tape, frames, rate, is_recorded=name == RECORDED)
            found.setdefault(name, []).append(figures)
            shutil.rmtree(own)
    print(f"live path at {rate:,} frames/s, {rounds} rounds each: median (least) of the rounds;")
    print(f"  p99 less that of {WITHOUT!r} in the same turn: median [its 95 % bootstrap interval]")
    for name in (WITHOUT, CONTROL, RECORDED):
        p50, p99, cpu = (
            f"{statistics.median(each):.1f} ({min(each):.1f})"
            for each in zip(*found[name], strict=True)
        )
        print(f"  {name:<16} p50 {p50} us   p99 {p99} us   {cpu} us CPU a frame in the loop")
        if name != WITHOUT:
            pairs = zip(found[name], found[WITHOUT], strict=True)
            apart = [one.p99_us - other.p99_us for one, other in pairs]
            drawn = sorted(statistics.median(chance.choices(apart, k=rounds)) for _ in range(2000))
            middle = f"{statistics.median(apart):+.1f} us"
            print(f"{'':<18} p99 {middle} [{drawn[50]:+.1f}, {drawn[-51]:+.1f}]")


def measure_replay(folder: str, tape: Tape, frames: list[bytes]) -> None:
    """Read, then play what was recorded."""
    recording = Recording(f"{folder}/replay", tape, JournalOptions(queue_bytes=1 << 30))
    offer(frames, recording.tap.frames(LINE, lambda *_: None), 0)
    recording.close()
    for _ in range(2):
        begun = time.process_time_ns()
        records = sum(map(len, Player(f"{folder}/replay", PlayerHooks()).blocks()))
        read_ns = time.process_time_ns() - begun
        replay, seen = Replay(f"{folder}/replay"), [0]

        def handle(_event: object, seen: list[int] = seen) -> None:
            seen[0] += 1

        replay.on("*", handle)
        begun, wall = time.process_time_ns(), time.perf_counter()
        stats = replay.play()
        spent_ns, wall_s = time.process_time_ns() - begun, time.perf_counter() - wall
        assert stats.events == seen[0]
    per_frame("replay: reading alone", read_ns, records)
    per_frame("replay: all of it, one handler", spent_ns, records)
    print(f"replay: {stats.events:,} events: {stats.events / spent_ns * NS:,.0f} a CPU second, "
          f"{stats.events / wall_s:,.0f} a second")  # fmt: skip


def measure_kills() -> int:
    """Kill a recorder under load 200 times; the test prints what was lost."""
    test = Path(__file__).parent.parent / "tests/journal/test_kill.py"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "load", "-p", "no:randomly"]
    return subprocess.run([*command, str(test)], check=False).returncode


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=500_000)
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--kills", action="store_true")
    options = parser.parse_args()
    feed = Feed(venue="binance", symbols=(SYMBOL,), shares=SHARES, messages=options.frames)
    tape = make_tape(feed)
    frames = [frame for _, frame in tape.frames]
    print(f"{len(frames):,} frames, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="crossfeed-bench-") as folder:
        measure_codecs(frames[:100_000])
        measure_writer(folder, tape, frames, options.rate)
        measure_replay(folder, tape, frames)
        measure_live(folder, tape, frames[: options.rate * 2], options.rate, options.rounds)
    print(f"load {os.getloadavg()[0]:.1f}")
    return measure_kills() if options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
