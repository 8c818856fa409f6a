"""From a simulated market through a journal into the store and out again, by the commands."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow.parquet as pq
import pytest

from crossfeed.cli import compact, main
from crossfeed.cli.compact import Compaction
from crossfeed.clients.replay import Replay
from crossfeed.errors import ConfigError
from crossfeed.model.events import MarketData
from crossfeed.store import StoreWriter
from crossfeed.store.export import export_hftbacktest, write_table
from crossfeed.store.query import Store
from crossfeed.testing.events import EPOCH_NS, delta, snapshot, trade

Fill = Callable[..., Store]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record simulated venues for two seconds, in several segments."""
    folder = tmp_path_factory.mktemp("recording") / "journal"
    words = ["record", "BTC/USD", "--sim", "--seconds", "2.5", "--segment-minutes", "0.01"]
    assert main([*words, "--out", str(folder), "--summary"]) == 0
    return folder


def delivered(journal: Path, kind: str) -> list[MarketData]:
    """Return what a replay of the journal gives out."""
    events: list[MarketData] = []
    replay = Replay(journal)
    replay.on(kind, events.append)
    replay.play()
    return events


def test_store_holds_what_was_delivered(
    journal: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every trade of the replay, with its price, is a row; and the second run adds nothing."""
    assert main(["compact", str(journal), "--store", str(folder), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["segments"] >= 2
    assert first["refused"] == 0
    trades = delivered(journal, "trade")
    assert len(trades) > 20
    with Store(folder) as store:
        rows = store.sql("SELECT venue, symbol, trade_id, price, quantity, ts_recv_ns FROM trades")
        kinds = ("trades", "quotes", "books", "status")
        counts = {kind: store.sql(f"FROM {kind}").num_rows for kind in kinds}
        assert store.sql("SELECT count(*) AS n FROM instruments").to_pylist()[0]["n"] >= 3
    assert sorted(tuple(row.values()) for row in rows.to_pylist()) == sorted(
        (t.exchange, t.symbol, t.trade_id, t.price, t.quantity, t.ts_recv_ns) for t in trades
    )
    assert all(counts.values())
    assert main(["compact", str(journal), "--store", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"] == 0


def test_compacting_goes_on_where_it_stopped(journal: Path, folder: Path, tmp_path: Path) -> None:
    """Interrupted after any segment, the store comes out the same as in one go."""
    whole = tmp_path / "whole"
    with StoreWriter(whole) as writer:
        list(Compaction(journal).run(writer))
        expected = sorted(writer.commits(), key=lambda commit: commit.source)
    for _ in range(100):
        with StoreWriter(folder) as writer:
            if next(Compaction(journal).run(writer), None) is None:
                found = sorted(writer.commits(), key=lambda commit: commit.source)
                break
    else:
        pytest.fail("never done")
    assert [commit.source for commit in found] == [commit.source for commit in expected]
    assert [commit.rows for commit in found] == [commit.rows for commit in expected]


def test_progress_is_told(journal: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows, within segments too, up to their number: all that are played, stored or not."""
    monkeypatch.setattr(compact, "TOLD_BLOCKS", 1)
    told: list[tuple[float, int]] = []
    sealed = len(list(journal.glob("*.cfj")))
    with StoreWriter(folder) as writer:
        next(Compaction(journal).run(writer))
        list(Compaction(journal).run(writer, lambda *each: told.append(each)))
    shares = [done for done, _ in told]
    assert {total for _, total in told} == {sealed}
    assert shares == sorted(shares)
    assert shares[0] < 1
    assert sealed - 1 <= shares[-1] <= sealed
    assert any(not share.is_integer() for share in shares)


def same_rows(one: Path, two: Path) -> None:
    """Compare two stores row by row."""
    asked = {kind: f"FROM {kind} ORDER BY ALL" for kind in ("trades", "quotes", "status")}
    asked["books"] = "SELECT * EXCLUDE (event, row_number) FROM books ORDER BY ALL"
    with Store(one) as first, Store(two) as second:
        for query in asked.values():
            assert first.sql(query).equals(second.sql(query)), query


def test_following_plays_nothing_twice(
    journal: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As segments come, one player goes on; the store is that of one go."""
    whole, growing = tmp_path / "whole", tmp_path / "growing"
    assert main(["compact", str(journal), "--store", str(whole), "--no-merge"]) == 0
    made = []

    class Counted(compact.Player):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(compact, "Player", Counted)
    growing.mkdir()
    compaction = Compaction(growing)
    segments = sorted(journal.glob("*.cfj"))
    for segment in segments:
        shutil.copy(segment, growing)
        with StoreWriter(folder) as writer:
            assert len(list(compaction.run(writer))) == 1
            assert not list(compaction.run(writer))
    records = sum(len(block) for _, block in compact.Journal(journal).blocks())
    assert len(made) <= 2  # one before there was anything, one from the first segment on
    assert made[-1].records == records
    same_rows(whole, folder)


@pytest.mark.timeout(60)
def test_following_ends_in_order(journal: Path, folder: Path) -> None:
    """SIGTERM: what is stored stays, the report is printed, the code is 0."""
    code = "import sys; from crossfeed.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "compact", str(journal), "--store", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--follow", "--json"], **pipes) as process:
        sealed = len(list(journal.glob("*.cfj")))
        while process.poll() is None and len(list(folder.glob("commits/*.json"))) < sealed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        process.terminate()
        out, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")
    # The signal may come between the last commit and its being counted.
    assert sealed - 1 <= json.loads(out)["segments"] <= sealed


KILLED = """
import sys
from pathlib import Path
from crossfeed.cli.compact import run_compact
print("ready", flush=True)
run_compact(Path(sys.argv[1]), Path(sys.argv[2]), is_json=True)
"""


def commits_begun(folder: Path) -> int:
    try:
        return len(list((folder / "commits").iterdir()))
    except FileNotFoundError:
        return 0


@pytest.mark.fault("F08")
@pytest.mark.timeout(120)
def test_compacting_killed_at_any_moment(journal: Path, folder: Path, tmp_path: Path) -> None:
    """A kill -9 at random moments, again and again: the next run brings the same store."""
    whole, chance = tmp_path / "whole", Random(11)
    assert main(["compact", str(journal), "--store", str(whole)]) == 0
    for steps in (1, 4):
        command = [sys.executable, "-c", KILLED, str(journal), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while process.poll() is None and commits_begun(folder) < steps:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0.0, 0.01))
            process.kill()
    assert main(["compact", str(journal), "--store", str(folder)]) == 0
    assert not list((folder / "staging").rglob("*.parquet"))
    same_rows(whole, folder)


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "arrow"])
def test_query_writes_files(folder: Path, tmp_path: Path, fill: Fill, form: str) -> None:
    """The whole answer, under its name only when complete."""
    fill(*(trade(n) for n in range(3)))
    out = tmp_path / f"out.{form}"
    query = "SELECT trade_id, price, ts FROM trades ORDER BY trade_id"
    words = ["query", query, "--store", str(folder), "--out", str(out), "--format", form]
    assert main(words) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"history", out.name}
    if form == "parquet":
        assert pq.read_table(out)["trade_id"].to_pylist() == [0, 1, 2]
    elif form == "json":
        first = json.loads(out.read_text().splitlines()[0])
        assert first == {"trade_id": 0, "price": 100.0, "ts": "2023-11-14T22:13:20"}
    elif form == "csv":
        assert out.read_text().splitlines()[0] == '"trade_id","price","ts"'


def test_query_prints_a_table(folder: Path, fill: Fill, capsys: pytest.CaptureFixture[str]) -> None:
    """On the screen without a format; at most 200 rows."""
    fill(*(trade(n) for n in range(250)))
    assert main(["query", "SELECT trade_id FROM trades", "--store", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "200 of 250 rows" in shown
    assert len(shown.splitlines()) == 202


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["query", "SELECT nope FROM trades"], 1, "nope"),
        (["query", "DROP VIEW trades"], 1, "read-only"),
        (["query", "SELECT 1", "--format", "xls"], 2, "no format"),
        (["query", "SELECT 1", "--format", "table", "--out", "x.txt"], 2, "screen"),
        (["compact", "no-such-journal"], 1, "no journal"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path,
    fill: Fill,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    """No traceback, a code that scripts can read."""
    fill(trade(1))
    assert main([*words, "--store", str(folder)]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_export_for_hftbacktest(tmp_path: Path, fill: Fill) -> None:
    """Both clocks in order: what the two see in another order stands twice."""
    store = fill(
        snapshot(1, [(99.0, 1.0)], [(101.0, 2.0)], 0, event_ms=0),
        trade(1, 10, event_ms=9),
        delta(2, 2, [(99.0, 0.0)], [], 12, event_ms=5),
    )
    out = tmp_path / "btc.npz"
    count = export_hftbacktest(store, out, "BTC/USDT", venue="binance")
    rows = np.load(out)["data"]
    assert count == rows.size == 7
    is_local = (rows["ev"] & (1 << 30)) > 0
    is_exchange = (rows["ev"] & (1 << 31)) > 0
    assert (np.diff(rows["local_ts"][is_local]) >= 0).all()
    assert (np.diff(rows["exch_ts"][is_exchange]) >= 0).all()
    assert (int(is_local.sum()), int(is_exchange.sum())) == (6, 6)
    kinds = (rows["ev"] & 0xFF).tolist()
    assert sorted(kinds) == [1, 1, 2, 3, 3, 4, 4]
    assert rows["px"][kinds.index(2)] == 100.0
    assert rows["exch_ts"].min() == EPOCH_NS


def test_unknown_format_is_refused(tmp_path: Path, fill: Fill) -> None:
    """Named with those there are."""
    with pytest.raises(ConfigError, match="csv"):
        write_table(fill(trade(1)).trades(), "xls", tmp_path / "x")
