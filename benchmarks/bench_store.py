"""Does history keep up? A journal into Parquet, bytes at rest, questions over ten million trades.

    python benchmarks/bench_store.py            # 10,000,000 trades: about 1 GB of memory, a minute
    python benchmarks/bench_store.py --trades 1000000

Prints CPU time (all threads of this process, which other work on the machine hardly touches) and
wall time beside the machine's load. Trades are a random walk with bursts, from one seed.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_journal import LINE, SHARES, SYMBOL, Recording, offer

from crossfeed.cli.bench.tapes import Feed, make_tape
from crossfeed.cli.compact import Compaction, open_writer, rare_collections
from crossfeed.journal.options import JournalOptions
from crossfeed.store import StoreWriter
from crossfeed.store.columns import Rows
from crossfeed.store.merge import merge, plan_merges
from crossfeed.store.query import Store
from crossfeed.testing.events import delta, quote, trade

START_NS = 1_790_000_000_000_000_000
EVENTS = 400_000
FRAMES = 500_000
LEVELS = 10
ROUNDS = 5


def measured(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return CPU and wall seconds of some work, and what it returned."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def columns(count: int, first: int) -> Rows:
    """Make trades as the writer holds them: 40 % move the clock, the rest come in bursts."""
    chance = np.random.default_rng(first + 7)
    steps = np.where(chance.random(count) < 0.4, chance.exponential(8e6, count), 0).astype(np.int64)
    at_ns = START_NS + first * 3_200_000 + np.cumsum(steps)
    price = 10_000_000 + np.cumsum(np.where(steps > 0, np.rint(chance.normal(0, 200, count)), 0))
    size = np.maximum(1, np.rint(chance.lognormal(-6, 1.5, count) * 1e5))
    same = {"marks": np.int16, "integrity": np.int8, "trust": np.int8}
    values: dict[str, Any] = {name: np.zeros(count, kind) for name, kind in same.items()}
    values |= {
        "ts_event_ns": at_ns // 1_000_000 * 1_000_000,
        "ts_recv_ns": at_ns + 3_000_000 + chance.integers(0, 1_000_000, count),
        "unified": ["BTC/USDT"] * count,
        "price_ticks": price.astype(np.int64),
        "size_lots": size.astype(np.int64),
        "side": np.where(chance.random(count) < 0.5, 1, -1).astype(np.int8),
        "trade_id": np.arange(first, first + count),
        "price_scale": np.full(count, 2, np.int16),
        "size_scale": np.full(count, 5, np.int16),
        "long_decimals": [None] * count,
    }
    return Rows(values, count, [])


def events_of(kind: str) -> list[Any]:
    """Make events of one kind, as the feed delivers them."""
    chance = np.random.default_rng(3)
    price = np.round(60_000 + np.cumsum(chance.normal(0, 2, EVENTS)), 2).tolist()
    size = np.round(chance.lognormal(-4, 1, EVENTS), 5).tolist()
    if kind == "trades":
        return [trade(n, n, price=price[n], quantity=size[n]) for n in range(EVENTS)]
    if kind == "quotes":
        return [quote(price[n], round(price[n] + 0.01, 2), n) for n in range(EVENTS)]
    return [
        delta(n, n, [(round(price[n] - k, 2), size[n]) for k in range(LEVELS)], [], n)
        for n in range(EVENTS // LEVELS)
    ]


def compacting(root: Path) -> None:
    """Print how fast events become Parquet, by kind."""
    for kind in ("trades", "quotes", "books"):
        events = events_of(kind)
        best = (1e9, 1e9)
        for number in range(ROUNDS):
            with open_writer(root / f"{kind}{number}") as writer:
                cpu, wall, commit = measured(lambda: writer.write("run", events))  # noqa: B023
            best = min(best, (cpu, wall))
            shutil.rmtree(root / f"{kind}{number}")
        rows = commit.rows
        print(
            f"{kind:>7}: {rows / best[0] / 1e6:5.2f} M rows a CPU second, "
            f"{rows / best[1] / 1e6:5.2f} M a second of wall time; "
            f"{sum(file.bytes for file in commit.files) / rows:.1f} bytes a row"
        )


def whole_way(root: Path) -> None:
    """Print how fast a journal becomes Parquet: read, played, laid down, written, synced."""
    tape = make_tape(Feed(venue="binance", symbols=(SYMBOL,), shares=SHARES, messages=FRAMES))
    recording = Recording(str(root / "journal"), tape, JournalOptions(queue_bytes=1 << 30))
    offer([frame for _, frame in tape.frames], recording.tap.frames(LINE, lambda *_: None), 0)
    recording.close()
    runs: list[tuple[float, float, int]] = []
    for number in range(ROUNDS):
        compaction = Compaction(root / "journal")
        with open_writer(root / f"whole{number}") as writer, rare_collections():
            cpu, wall, _ = measured(lambda: list(compaction.run(writer)))  # noqa: B023
        runs.append((cpu, wall, sum(commit.rows for commit in compaction.commits)))
        shutil.rmtree(root / f"whole{number}")
    cpu, wall, rows = min(runs)
    print(
        f"journal of {FRAMES:,} frames to Parquet: {rows / cpu / 1e6:.2f} M rows a CPU second, "
        f"{rows / wall / 1e6:.2f} M a second of wall time ({rows:,} rows)"
    )


def asking(root: Path, count: int) -> None:
    """Print what ten million trades take on disk, and what bars of them cost."""
    part = min(count, 1_000_000)
    with StoreWriter(root / "history") as writer:
        for first in range(0, count, part):
            with writer.begin(f"part-{first:09d}") as writing:
                writing.add_rows("trades", "binance", "BTCUSDT", columns(part, first))
                writing.commit()
    with Store(root / "history") as store:
        stored = sum(file.bytes for file in store.files("trades"))
        print(f"at rest: {stored / count:.2f} bytes a trade ({count:,} trades, realistic times)")
        runs = [measured(lambda: store.candles("BTC/USDT", "1m")) for _ in range(ROUNDS)]
        cpu, wall, bars = min(runs, key=lambda run: run[1])
        print(
            f"one-minute OHLCV and VWAP: {wall:.2f} s of wall time, {cpu:.2f} s of CPU, best of "
            f"{ROUNDS} ({bars.num_rows:,} bars of {sum(bars['trades'].to_pylist()):,} trades)"
        )
        first_day = "2026-09-21T14:00:00Z"
        cpu, wall, found = measured(lambda: store.trades("BTC/USDT", first_day, "2026-09-21T15:00"))
        print(f"one hour of trades: {wall:.2f} s ({found.num_rows:,} rows)")


def merging(root: Path) -> None:
    """Print what joining the 288 five-minute segments of a day costs."""
    with StoreWriter(root / "day") as writer:
        for number in range(289):
            with writer.begin(f"segment-{number:03d}") as writing:
                rows = columns(2000, 0)
                for name in ("ts_event_ns", "ts_recv_ns"):
                    rows.columns[name] += number * 300 * 10**9
                writing.add_rows("trades", "binance", "BTCUSDT", rows)
                writing.commit()
        plans = plan_merges(writer.commits())
        cpu, wall, commits = measured(lambda: [merge(writer, plan) for plan in plans])
        before = sum(plan.files_before for plan in plans)
        rows_merged = sum(commit.rows for commit in commits)
        print(
            f"merging: {before} files to {sum(plan.files_after for plan in plans)}, "
            f"{rows_merged / cpu / 1e6:.2f} M rows a CPU second, {wall:.2f} s"
        )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trades", type=int, default=10_000_000)
    count = parser.parse_args().trades
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    root = Path(tempfile.mkdtemp(prefix="bench-store-"))
    try:
        compacting(root)
        whole_way(root)
        asking(root, count)
        merging(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
