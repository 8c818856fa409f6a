"""Merging small files: the same answers from fewer files, whatever happens on the way."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crossfeed.errors import StoreError
from crossfeed.store import StoreWriter
from crossfeed.store.merge import merge, plan_merges
from crossfeed.store.query import Store
from crossfeed.testing.events import delta, heartbeat, quote, snapshot, trade

DAY_MS = 86_400_000
SEGMENTS = 6


def filled(folder: Path, *, days: int = 2) -> None:
    """Store small segments: a book over all of them, trades and quotes, one heartbeat each."""
    with StoreWriter(folder) as writer:
        for number in range(SEGMENTS * days):
            at = number // SEGMENTS * DAY_MS + number % SEGMENTS * 1000
            price = 99.0 + number % 5
            events = [
                trade(number, at, event_ms=at),
                quote(price, price + 1, at + 1, event_ms=at + 1),
                delta(2 * number + 2, 2 * number + 2, [(price, number + 1.0)], [], at + 2,
                      event_ms=at + 2),
                heartbeat(number, at + 3),
            ]  # fmt: skip
            if number == 0:
                events.insert(0, snapshot(1, [(90.0, 1.0)], [(110.0, 2.0)], at, event_ms=at))
            # Names that do not sort as the segments came.
            writer.write(f"{(number * 7) % 31:02d}-segment", events)


def answers(folder: Path) -> dict[str, list[dict]]:
    """Ask everything that must not change."""
    with Store(folder) as store:
        return {
            "trades": store.trades().to_pylist(),
            "quotes": store.quotes().to_pylist(),
            "book": store.book("BTC/USDT", 2**62, venue="binance").to_pylist(),
            "books": store.sql(
                "SELECT * EXCLUDE (event, row_number) FROM books ORDER BY ts_recv_ns, side, price"
            ).to_pylist(),
            "candles": store.candles("BTC/USDT", "1s").to_pylist(),
        }


def merged(folder: Path, **options: float) -> int:
    """Merge all there is to merge; return how many plans that were."""
    with StoreWriter(folder, **options) as writer:
        plans = plan_merges(writer.commits())
        for plan in plans:
            merge(writer, plan)
        return len(plans)


def parquet_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def test_same_answers_from_fewer_files(folder: Path) -> None:
    """Days that are over become a file for each market; the newest waits; then nothing is left."""
    filled(folder)
    before, files = answers(folder), len(parquet_files(folder))
    assert merged(folder) == 1
    assert answers(folder) == before
    assert merged(folder) == 0
    assert merged(folder, grace_s=0.0) == 0  # and deletes what was replaced
    assert len(parquet_files(folder)) == files // 2 + 3
    assert answers(folder) == before


def test_sources_merged_away_are_still_known(folder: Path) -> None:
    """A segment that was stored is not stored again."""
    filled(folder, days=2)
    merged(folder)
    with StoreWriter(folder, grace_s=0.0) as writer:
        assert writer.has("00-segment")
        assert writer.write("00-segment", [trade(999)]) is None
        assert sum(commit.left_out.get("Heartbeat", 0) for commit in writer.commits()) == 12


def test_a_busy_day_is_merged_before_it_ends(folder: Path) -> None:
    """Twelve commits of the newest day are enough."""
    with StoreWriter(folder) as writer:
        for number in range(12):
            writer.write(f"s{number}", [trade(number, number)])
        (plan,) = plan_merges(writer.commits())
        assert merge(writer, plan).rows == 12
    with Store(folder) as store:
        assert len(store.files()) == 1
        assert store.trades()["trade_id"].to_pylist() == list(range(12))


def test_reader_opened_before_goes_on(folder: Path) -> None:
    """While the replaced files are there, and when they are gone."""
    filled(folder)
    before = answers(folder)
    with Store(folder) as store:
        merged(folder)
        assert store.trades().to_pylist() == before["trades"]
        assert merged(folder, grace_s=0.0) == 0
        assert store.trades().to_pylist() == before["trades"]
        assert store.sql("FROM quotes").num_rows == len(before["quotes"])


def test_damaged_file_is_left_alone(folder: Path) -> None:
    """A merge that cannot keep every row does not happen."""
    filled(folder)
    victim = parquet_files(folder)[0]
    victim.write_bytes(victim.read_bytes()[:-20])
    with StoreWriter(folder) as writer:
        (plan,) = plan_merges(writer.commits())
        with pytest.raises(StoreError, match="cannot be read"):
            merge(writer, plan)
        assert not any(commit.replaces for commit in writer.commits())
    with StoreWriter(folder):
        assert not (folder / "staging").exists()


def test_scales_stay_apart(folder: Path) -> None:
    """Files of other decimals keep a file of their own, so that reading them stays cheap."""
    with StoreWriter(folder) as writer:
        for number, price in enumerate([1.5, 2.5, 1.25, 3.25] * 3):
            writer.write(f"s{number}", [trade(number, number, price=price)])
        (plan,) = plan_merges(writer.commits())
        commit = merge(writer, plan)
    assert sorted((file.price_scale, file.rows) for file in commit.files) == [(1, 6), (2, 6)]
    assert sum(pq.read_metadata(folder / file.path).num_rows for file in commit.files) == 12


KILLED = """
import sys
import threading
from crossfeed.store import StoreWriter
from crossfeed.store.merge import merge, plan_merges
from crossfeed.testing.events import trade
folder = sys.argv[1]
print("ready", flush=True)
while True:
    with StoreWriter(folder, grace_s=0.0) as writer:
        stored = len([n for c in writer.commits() for n in (c.source, *c.replaces)
                      if n.startswith("s")])
        for number in range(stored, stored + 3):
            writer.write(f"s{number}", [trade(number, number)])
        for plan in plan_merges(writer.commits()):
            merge(writer, plan)
"""


@pytest.mark.fault("F08")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_any_moment(folder: Path, seed: int) -> None:
    """A kill -9 amid storing, merging and deleting: every row stands there once; all goes on."""
    chance = random.Random(seed)
    for _ in range(4):
        command = [sys.executable, "-c", KILLED, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.05, 0.4))
            os.kill(process.pid, signal.SIGKILL)
    with StoreWriter(folder) as writer:
        commits = writer.commits()
        assert all((folder / file.path).is_file() for each in commits for file in each.files)
    with Store(folder) as store:
        ids = store.trades()["trade_id"].to_pylist()
    assert ids == list(range(len(ids)))


def test_commit_deleted_while_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that meets a merge in mid-air looks again: nothing is missing, nothing twice."""
    filled(folder)
    before = answers(folder)
    real, calls = Path.read_bytes, []

    def meddled(path: Path) -> bytes:
        if path.suffix == ".json" and not calls:
            calls.append(path)
            monkeypatch.setattr(Path, "read_bytes", real)
            merged(folder)
            merged(folder, grace_s=0.0)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", meddled)
    assert answers(folder) == before
    assert calls


def test_planning_needs_no_store_of_its_own(fill: Callable[..., Store], folder: Path) -> None:
    """An empty store and one commit give no plan."""
    assert plan_merges([]) == []
    fill(trade(1))
    with StoreWriter(folder) as writer:
        assert plan_merges(writer.commits()) == []


@pytest.mark.timeout(60)
def test_questions_while_it_is_written(folder: Path) -> None:
    """A reader sees each source whole or not at all, whatever is stored and merged meanwhile."""
    StoreWriter(folder).close()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(0, 45, 3):
                with StoreWriter(folder, grace_s=0.0) as writer:
                    for source in range(number, number + 3):
                        rows = (trade(4 * source + n, source) for n in range(4))
                        writer.write(f"s{source}", rows)
                    for plan in plan_merges(writer.commits()):
                        merge(writer, plan)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=write)
    thread.start()
    seen = [0]
    while thread.is_alive() or seen[-1] == 0:
        with Store(folder) as store:
            ids = store.trades()["trade_id"].to_pylist()
            assert ids == list(range(len(ids)))
            assert len(ids) % 4 == 0
            assert store.sql("SELECT count(*) AS n FROM trades")["n"][0].as_py() >= len(ids)
            seen.append(len(ids))
    thread.join()
    assert not failed
    assert seen == sorted(seen)
    with Store(folder) as store:
        assert store.trades().num_rows == 180
