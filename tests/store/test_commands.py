"""`crossfeed import`, `export`, `query`: whole files in and out, nothing lost silently."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from crossfeed.cli import main
from crossfeed.store.query import Store
from crossfeed.testing.events import delta, quote, snapshot, trade

Fill = Callable[..., Store]
US = 1_700_000_000_000_000
HEAD = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount"
BAD = ("nan", "-1", "0", "1e400", "", "1,5")


def tardis(tmp_path: Path, *prices: str) -> Path:
    """Write trades of tardis.dev's form, one for each price."""
    path = tmp_path / "binance_trades_2023-11-14_BTCUSDT.csv.gz"
    rows = [
        f"binance,BTCUSDT,{US + n},{US + n},{n},buy,{price},1" for n, price in enumerate(prices)
    ]
    path.write_bytes(gzip.compress("\n".join([HEAD, *rows, ""]).encode()))
    return path


def test_archive_into_a_store(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The unified symbol is known; the second time nothing happens."""
    file = str(tardis(tmp_path, "1.5", "2.5"))
    for state in ("stored", "there already"):
        assert main(["import", "tardis", file, "--into", str(folder), "--json"]) == 0
        (done,) = json.loads(capsys.readouterr().out)["files"]
        assert done["state"] == state
    with Store(folder) as store:
        assert store.trades("BTC/USDT")["price"].to_pylist() == [1.5, 2.5]


def test_bad_rows_are_named_and_counted(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its line; the file is not stored unless that was said."""
    file = str(tardis(tmp_path, "1.5", *BAD, *["x"] * 10, "2.5"))
    words = ["import", "tardis", file, "--into", str(folder), "--json"]
    assert main(words) == 1
    said = capsys.readouterr()
    (done,) = json.loads(said.out)["files"]
    assert (done["state"], done["rows"], done["bad"]) == ("not stored", 18, 16)
    assert [line.split(":")[2] for line in said.err.splitlines()[:10]] == [
        str(line) for line in range(3, 13)
    ]
    assert "16 bad rows in all" in said.err
    with Store(folder) as store:
        assert store.trades().num_rows == 0
    assert main([*words, "--skip-bad"]) == 1
    (done,) = json.loads(capsys.readouterr().out)["files"]
    assert (done["state"], done["stored"], done["bad"]) == ("stored", 3, 16)
    with Store(folder) as store:
        assert store.trades("BTC/USDT")["price"].to_pylist() == [1.5, 2.5]
        (gap,) = store.gaps("BTC/USDT").to_pylist()
        assert (gap["channel"], gap["missing"], gap["cause"]) == ("trade", 16, "bad_rows")
        assert gap["state"] == "lost"


def test_half_a_change_makes_no_book(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad row takes its message with it, and all its rows are counted."""
    head = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
    rows = [
        f"binance,BTCUSDT,{US},{US},true,bid,9,2",
        f"binance,BTCUSDT,{US + 1},{US + 1},false,bid,8,1",
        f"binance,BTCUSDT,{US + 1},{US + 1},false,bid,oops,1",
        f"binance,BTCUSDT,{US + 2},{US + 2},maybe,bid,7,1",
        f"binance,BTCUSDT,{US + 3},{US + 3},false,bid,6,1",
    ]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([head, *rows, ""]))
    words = ["import", "tardis", str(path), "--into", str(folder), "--skip-bad", "--json"]
    assert main(words) == 1
    (done,) = json.loads(capsys.readouterr().out)["files"]
    assert (done["rows"], done["bad"], done["stored"]) == (5, 3, 3)
    with Store(folder) as store:
        assert store.book("BTC/USDT", 2**62, venue="binance")["price"].to_pylist() == [9.0, 6.0]
        assert store.gaps()["channel"].to_pylist() == ["book"]


def test_public_archive_of_binance(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several files at once; a quote of the futures' bookTicker among them."""
    trades = tmp_path / "BTCUSDT-trades-2023-11-14.csv"
    trades.write_text(f"7,1.5,2,3,{US // 1000},true,true\n")
    quotes = tmp_path / "BTCUSDT-bookTicker-2023-11-14.csv"
    quotes.write_text(
        "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,"
        f"event_time\n9,1.5,2,1.6,3,{US // 1000},{US // 1000}\n"
    )
    words = ["import", "binance-archive", str(trades), str(quotes), "--into", str(folder)]
    assert main(words) == 0
    assert capsys.readouterr().out.count("1 rows stored") == 2
    with Store(folder) as store:
        (row,) = store.quotes("BTC/USDT").to_pylist()
        assert (row["bid_price"], row["ask_quantity"], row["update_id"]) == (1.5, 3.0, 9)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("import tardis --into {store}", 2, "at least one file"),
        ("import tardis nowhere.csv --into {store}", 2, "nowhere.csv: no such file"),
        ("import binance-archive {text} --into {store}", 2, "not named like"),
        ("import tardis {text} --into {store}", 2, "no tardis.dev form"),
        ("import capture {text} --into {new}", 2, "no known recording"),
        ("import capture {text} --into {store}", 2, "not empty"),
        ("export trade --store {store} --out x.csv", 2, "'trade' is no kind"),
        ("export trades BTC/USD --store {store} --out x.csv", 2, "nothing of 'BTC/USD'"),
        ("export trades --venue krakn --store {store} --out x.csv", 2, "nothing of venue"),
        ("export trades --store {store} --out x.xls", 2, "does not tell a format"),
        ("export trades --store {store} --out x.npz", 2, "hftbacktest writes .npz"),
        ("export hftbacktest --store {store} --out x.npz", 2, "wants one market"),
        ("export trades --store {store} --out x.csv --from soon", 2, "not a time: 'soon'"),
        ("export trades --store {new} --out x.csv", 1, "no store here"),
        ("export trades --store {store} --out nowhere/x.csv", 1, "cannot be written"),
        ("query --store {new}", 1, "no store here"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    folder: Path,
    fill: Fill,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    code: int,
    said: str,
) -> None:
    """No traceback, a code that scripts can read, no file."""
    monkeypatch.chdir(tmp_path)
    fill(trade(1))
    text = tmp_path / "text.csv"
    text.write_text("a,b\n1,2\n")
    places = {"store": folder, "new": tmp_path / "new", "text": text}
    assert main(words.format(**places).split()) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"history", "text.csv"}


@pytest.mark.parametrize("name", ["x.csv", "x.json", "x.parquet", "x.arrow"])
def test_export(tmp_path: Path, folder: Path, fill: Fill, name: str) -> None:
    """In the order of time, from and to."""
    fill(*(trade(n, n * 1000, event_ms=n * 1000) for n in (3, 1, 2, 0)))
    out = tmp_path / name
    words = ["export", "trades", "BTC/USDT", "--store", str(folder), "--out", str(out)]
    assert main([*words, "--from", "2023-11-14T22:13:21", "--to", "2023-11-14T22:13:23"]) == 0
    if name == "x.csv":
        ids = pyarrow.csv.read_csv(out)["trade_id"].to_pylist()
    elif name == "x.json":
        ids = [json.loads(row)["trade_id"] for row in out.read_text().splitlines()]
    elif name == "x.parquet":
        ids = pq.read_table(out)["trade_id"].to_pylist()
    else:
        ids = pyarrow.ipc.open_file(out).read_all()["trade_id"].to_pylist()
    assert ids == [1, 2]
    (tmp_path / "usual").touch()
    assert out.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_export_for_hftbacktest(tmp_path: Path, folder: Path, fill: Fill) -> None:
    """One market, as its own form."""
    fill(snapshot(1, [(99.0, 1.0)], [(101.0, 1.0)], 0), delta(2, 2, [(98.0, 1.0)], [], 1))
    out = tmp_path / "x.npz"
    words = ["export", "hftbacktest", "BTC/USDT", "--venue", "binance", "--store", str(folder)]
    assert main([*words, "--out", str(out)]) == 0
    assert np.load(out)["data"].size == 5


def test_query_without_sql_tells_what_there_is(
    folder: Path, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first question anybody has."""
    fill(trade(1), quote(1, 2, exchange="kraken"))
    assert main(["query", "--store", str(folder)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["kind", "venue", "symbol", "unified", "rows", "bytes", "first", "last"]
    assert [row.split()[:5] for row in rows] == [
        ["quotes", "kraken", "BTCUSDT", "BTC/USDT", "1"],
        ["trades", "binance", "BTCUSDT", "BTC/USDT", "1"],
    ]


def test_empty_store_and_open_segment_are_told(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first minutes of a recording: nothing is sealed yet, and that is said."""
    journal = tmp_path / "journal"
    journal.mkdir()
    (journal / "segment-0000000001.cfj.open").touch()
    assert main(["compact", str(journal), "--store", str(folder)]) == 0
    assert "1 still being written" in capsys.readouterr().out
    assert main(["query", "--store", str(folder)]) == 0
    assert "empty" in capsys.readouterr().err


LONG = """
import sys
from crossfeed.cli import main
from crossfeed.store import query

class Told(query.Store):
    def stream(self, *asked):
        print("asked", flush=True)
        return super().stream(*asked)

query.Store = Told
many = "SELECT count(*) FROM range(200000) a, range(200000) b WHERE a.range * b.range = 7"
sys.exit(main(["query", many, "--store", sys.argv[1], "--out", sys.argv[2]]))
"""


@pytest.mark.timeout(60)
def test_interrupted_query_leaves_nothing(tmp_path: Path, folder: Path, fill: Fill) -> None:
    """Ctrl-C: code 130, no traceback, no half a file."""
    fill(trade(1))
    command = [sys.executable, "-c", LONG, str(folder), str(tmp_path / "x.csv")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert error == ""
    assert {path.name for path in tmp_path.iterdir()} == {"history"}


def binance_trade(number: int) -> str:
    """Write a trade as Binance's stream sends it."""
    fields = f'"e":"trade","E":{US // 1000 + number},"s":"BTCUSDT","t":{number},"p":"100.5"'
    return f'{{{fields},"q":"1.5","T":{US // 1000 + number},"m":true,"M":true}}'


def test_recordings_without_times(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files, one journal: the venue's times stand in; what is not understood is named."""
    files = []
    for name, first in (("a", 1), ("b", 101)):
        lines = [binance_trade(first + n) for n in range(5)]
        lines[3:3] = ["nonsense", '{"e":"unheard"}']
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("\n".join([*lines, ""]))
    journal = tmp_path / "journal"
    words = ["import", "capture", *map(str, files), "--into", str(journal), "--json"]
    assert main(words) == 0
    for report in json.loads(capsys.readouterr().out)["files"]:
        assert (report["venue"], report["frames"], report["refused"]) == ("binance", 5, 2)
        assert report["lines"] == [4, 5]
        assert not report["has_receive_times"]
    assert main(["import", "capture", str(files[0]), "--into", str(journal)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["compact", str(journal), "--store", str(folder)]) == 0
    with Store(folder) as store:
        rows = store.trades("BTC/USDT")
        assert rows["trade_id"].to_pylist() == [1, 2, 3, 4, 5, 101, 102, 103, 104, 105]
        assert rows["ts_recv_ns"].to_pylist()[0] == (US // 1000 + 1) * 10**6
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.jsonl", "b.jsonl", "journal", "history",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.jsonl", '{"hello": 1}\n', "no venue known here sends such messages; name it"),
        ("x.hft", "soon {}\n", "x.hft:1: not '<ns> <message>'"),
        ("x.cf2.txt", "1.5: {}\nwhat?\n", "x.cf2.txt:2: not '<s>: <message>'"),
        ("x.cf3.jsonl", '{"t":"recv","ts":1,"data":"{}"}\n{\n', "x.cf3.jsonl:2: "),
        ("x.cbcap", "CBCAP1\n5 10\nshort\n", "x.cbcap:2: cut off"),
        ("x.cbcap", "nothing\n", "x.cbcap:1: no CBCAP head"),
        ("x.jsonl.gz", "not packed\n", "x.jsonl.gz: cannot be read"),
        ("x.jsonl", "", "no venue known here"),
    ],
)
def test_recordings_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    """One line with the file's, and no journal."""
    (tmp_path / name).write_text(text)
    words = ["import", "capture", str(tmp_path / name), "--into", str(tmp_path / "journal")]
    assert main(words) in {1, 2}
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("content", "said"), [(None, "is gone"), (b"PAR1", "has 4 bytes, not")])
def test_lost_file_is_named(
    folder: Path, fill: Fill, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    """Deleted or cut off: which file, and what to do; doing that brings it back."""
    fill(trade(1))
    (file,) = folder.rglob("*.parquet")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    out = str(folder.parent / "x.csv")
    for words in (["query"], ["query", "FROM trades"], ["export", "trades", "--out", out]):
        assert main([*words, "--store", str(folder)]) == 1
        error = capsys.readouterr().err
        assert f"{file.name} {said}" in error
        assert "delete commits/run-1.json" in error
        assert error.count("\n") == 1
    (folder / "commits" / "run-1.json").unlink()
    assert fill(trade(1)).trades().num_rows == 1


def test_what_is_no_journal_is_told(
    tmp_path: Path, folder: Path, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store, an empty folder, files that are no segments: nothing is passed over in silence."""
    fill(trade(1))
    assert main(["compact", str(folder), "--store", str(tmp_path / "new")]) == 1
    assert "a store, not a journal" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    journal = tmp_path / "journal"
    journal.mkdir()
    assert main(["compact", str(journal), "--store", str(folder)]) == 0
    assert "nothing was recorded" in capsys.readouterr().out
    (journal / "segment-0000000003.cfj").write_text("rubbish")
    assert main(["compact", str(journal), "--store", str(folder)]) == 0
    assert "left out: segment-0000000003.cfj" in capsys.readouterr().out
