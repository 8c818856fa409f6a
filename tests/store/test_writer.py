"""A store holds whole sources, each once, whatever crashes; and every digit of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from crossfeed.errors import StoreError
from crossfeed.model.events import AggTrade, Candle, MarketData, MiniTicker, Ticker
from crossfeed.model.instrument import Instrument
from crossfeed.model.status import FeedStatus, Gap, GapRecord, GapState, Stream
from crossfeed.model.trust import Side, Trust
from crossfeed.store import StoreWriter
from crossfeed.store import writer as writer_module
from crossfeed.store.layout import StoredFile
from crossfeed.store.query import Store, exact
from crossfeed.testing.events import (
    EPOCH_NS,
    delta,
    heartbeat,
    order,
    quote,
    snapshot,
    ticker,
    trade,
)

Fill = Callable[..., Store]
DAY_MS = 86_400_000


def head(event: MarketData) -> list[object]:
    """Return what all events begin with."""
    return [getattr(event, name) for name in MarketData.__struct_fields__]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file of a store but its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "store.lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_trades_come_back(fill: Fill) -> None:
    """Every column says what the event said."""
    store = fill(trade(7, 5, price=0.1, quantity=2.5, side=Side.SELL, event_ms=3), trade(8, 6))
    rows = store.trades().to_pylist()
    assert [row["trade_id"] for row in rows] == [7, 8]
    first = rows[0]
    assert (first["venue"], first["symbol"], first["unified"]) == ("binance", "BTCUSDT", "BTC/USDT")
    assert (first["price"], first["quantity"], first["side"]) == (0.1, 2.5, "sell")
    assert (first["ts_event_ns"], first["ts_recv_ns"]) == (
        EPOCH_NS + 3_000_000,
        EPOCH_NS + 5_000_000,
    )
    assert (first["trust"], first["integrity"], first["marks"]) == ("sound", 5, 0)


def test_decimals_come_back(fill: Fill) -> None:
    """No digit is lost, whatever the other rows of the file need."""
    texts = ["0.00000001", "123456789.5", "100000.13", "7"]
    store = fill(*(trade(n, n, price=float(text)) for n, text in enumerate(texts)))
    assert exact(store.trades(), "price") == [Decimal(text) for text in texts]


def test_quotes_tickers_and_candles_come_back(fill: Fill) -> None:
    """What a venue does not give stays absent."""
    bare = ticker(3.5)
    full = Ticker(*head(bare), 4.0, *(float(n) for n in range(1, 14)), 99)
    mini = MiniTicker(*head(bare), 5.0, 1.0, 6.0, 0.5, 10.0, 50.0)
    is_closed = True
    candle = Candle(
        *head(bare), "1m", EPOCH_NS, EPOCH_NS + 60, 1.5, 2.0, 1.0, 1.25, 9.0, None, is_closed
    )
    store = fill(quote(1.25, 1.5, update_id=3), bare, full, mini, candle)
    row = store.quotes("BTC/USDT").to_pylist()[0]
    assert (row["bid_price"], row["ask_price"], row["ask_quantity"]) == (1.25, 1.5, 1.0)
    tickers = store.sql("SELECT * FROM tickers ORDER BY price").to_pylist()
    assert [each["price"] for each in tickers] == [3.5, 4.0, 5.0]
    assert (tickers[0]["open"], tickers[0]["volume"], tickers[0]["trade_id"]) == (None, None, None)
    assert (tickers[1]["open"], tickers[1]["vwap"], tickers[1]["trade_id"]) == (3.0, 8.0, 99)
    assert (tickers[2]["high"], tickers[2]["quote_volume"]) == (6.0, 50.0)
    bar = store.sql("SELECT * FROM candles").to_pylist()[0]
    assert (bar["interval"], bar["close"], bar["volume"], bar["trades"]) == ("1m", 1.25, 9.0, None)
    assert bar["is_closed"] is True


def test_aggregated_trades_come_back(fill: Fill) -> None:
    """They have a table of their own."""
    made = AggTrade(*head(trade(1)), 10.5, 2.0, Side.BUY, 4, 11, 13)
    row = fill(made).sql("SELECT * FROM agg_trades").to_pylist()[0]
    assert (row["trade_id"], row["first_trade_id"], row["last_trade_id"]) == (4, 11, 13)


def test_books_come_back(fill: Fill) -> None:
    """One row per level, in order; an event without levels keeps its numbers."""
    store = fill(
        snapshot(5, [(1.0, 2.0), (0.5, 3.0)], [(1.5, 4.0)], checksum=77),
        delta(6, 8, [(1.0, 0.0)], [], 1, previous=5),
        delta(9, 9, [], [], 2),
    )
    rows = store.sql("SELECT * FROM books ORDER BY event, row_number").to_pylist()
    shape = [(r["event"], r["is_snapshot"], r["side"], r["price"], r["quantity"]) for r in rows]
    assert shape == [
        (0, True, "buy", 1.0, 2.0),
        (0, True, "buy", 0.5, 3.0),
        (0, True, "sell", 1.5, 4.0),
        (1, False, "buy", 1.0, 0.0),
        (2, False, "", 0.0, 0.0),
    ]
    assert [(r["first"], r["last"], r["previous"]) for r in rows[2:]] == [
        (5, 5, 0),
        (6, 8, 5),
        (9, 9, 0),
    ]
    assert [r["checksum"] for r in rows[2:4]] == [77, None]


def test_gaps_and_status_come_back(fill: Fill) -> None:
    """The ledger stands beside the data: each gap as last known."""
    stream = Stream("binance", "trade", "BTCUSDT")
    found = GapRecord(
        gap_id=1, stream=stream, first=5, last=9, missing=5, cause="sequence", ts_found_ns=EPOCH_NS
    )
    closed = msgspec.structs.replace(
        found, missing=0, ts_closed_ns=EPOCH_NS + 9, state=GapState.BACKFILLED
    )
    status = FeedStatus(
        *head(trade(1)), "trade", Trust.SOUND, Trust.UNSOUND, "sequence_gap", "5 are missing"
    )
    store = fill(Gap(*head(trade(1)), found), Gap(*head(trade(2, 1)), closed), status)
    gaps = store.gaps("BTCUSDT").to_pylist()
    assert [(g["first"], g["last"], g["state"]) for g in gaps] == [(5, 9, "backfilled")]
    assert store.sql("SELECT count(*) AS n FROM gap_events").to_pylist() == [{"n": 2}]
    row = store.sql("SELECT previous, current, cause, detail FROM status").to_pylist()[0]
    assert tuple(row.values()) == ("sound", "unsound", "sequence_gap", "5 are missing")


def test_left_out_kinds_are_counted(folder: Path) -> None:
    """What has no table is not silently gone."""
    with StoreWriter(folder) as writer:
        commit = writer.write("s", [trade(1), heartbeat(), heartbeat(), order("open", 1, "x")])
    assert commit is not None
    assert (commit.rows, commit.left_out) == (1, {"Heartbeat": 2, "OrderEvent": 1})


def test_days_have_their_own_folders(folder: Path) -> None:
    """A row lies under the day of its event time."""
    with StoreWriter(folder) as writer:
        commit = writer.write("s", [trade(1, 0), trade(2, DAY_MS), trade(3, 1)])
    assert commit is not None
    assert [(file.date, file.rows) for file in commit.files] == [
        ("2023-11-14", 2),
        ("2023-11-15", 1),
    ]


def test_same_source_is_stored_once(folder: Path) -> None:
    """The second time nothing is touched, not even the events."""
    with StoreWriter(folder) as writer:
        assert writer.write("s", [trade(1)]) is not None
        before = tree(folder)
        assert writer.write("s", iter(lambda: pytest.fail("read"), None)) is None
        assert writer.has("s")
        with pytest.raises(StoreError, match="there already"):
            writer.begin("s")
    assert tree(folder) == before
    with StoreWriter(folder) as again:
        assert again.has("s")


def test_memory_is_bounded(folder: Path) -> None:
    """Many events become several files of one commit, with one order of book events."""
    events = [delta(n, n, [(1.0, float(n))], [], n) for n in range(1, 9001)]
    with StoreWriter(folder, rows_held_max=8000) as writer:
        commit = writer.write("s", events)
    assert commit is not None
    assert len(commit.files) > 1
    with Store(folder) as store:
        numbers = store.sql("SELECT event, first FROM books ORDER BY event").to_pydict()
    assert numbers["event"] == list(range(9000))
    assert numbers["first"] == list(range(1, 9001))


def test_error_in_the_source_leaves_nothing(folder: Path) -> None:
    """Half a source is no source."""

    def broken() -> object:
        yield trade(1)
        raise RuntimeError("torn")

    with StoreWriter(folder) as writer:
        with pytest.raises(RuntimeError, match="torn"):
            writer.write("s", broken())
        assert tree(folder) == {}
        assert writer.write("s", [trade(1)]) is not None


def test_instruments_are_kept(folder: Path) -> None:
    """The later word counts."""
    old = Instrument(venue="kraken", symbol="BTC/USD", base="BTC", quote="USD", tick_size="0.1")
    new = Instrument(venue="kraken", symbol="BTC/USD", base="BTC", quote="USD", tick_size="0.01")
    with StoreWriter(folder) as writer:
        writer.write("s-1", [trade(1)], instruments=[old])
        writer.write("s-2", [trade(2)], instruments=[new])
    with Store(folder) as store:
        rows = store.sql("SELECT unified, tick_size FROM instruments").to_pylist()
    assert rows == [{"unified": "BTC/USD", "tick_size": "0.01"}]


@pytest.mark.fault("P09")
def test_second_writer_is_refused(folder: Path) -> None:
    """The kernel's lock names the owner and outlives no crash."""
    with StoreWriter(folder), pytest.raises(StoreError, match="is written by process"):
        StoreWriter(folder)
    StoreWriter(folder).close()


CRASH = """
import os, sys
from pathlib import Path
from crossfeed.store import layout
from crossfeed.store.writer import StoreWriter
from crossfeed.testing.events import trade, quote
left = int(sys.argv[3])
def counted(real):
    def step(*args):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        result = real(*args)
        if left == 0:
            os._exit(9)
        return result
    return step
place = Path if sys.argv[2] in ("replace", "unlink") else layout
setattr(place, sys.argv[2], counted(getattr(place, sys.argv[2])))
with StoreWriter(sys.argv[1]) as w:
    w.write("s-2", [trade(2), quote(1, 2), trade(3, 86_400_000)])
"""


@pytest.mark.fault("F08")
@pytest.mark.parametrize(
    ("step", "count"),
    [
        *(("replace", n) for n in range(1, 6)),  # the intent, three files, the commit
        *(("sync_file", n) for n in (1, 3, 5)),
        *(("sync_folder", n) for n in (1, 4, 11)),
        ("unlink", 1),
    ],
)
def test_crash_between_any_two_steps_heals(folder: Path, step: str, count: int) -> None:
    """Killed after each step of a commit: all of it or nothing; the next run needs no hand."""
    with StoreWriter(folder) as writer:
        writer.write("s-1", [trade(1)])
    result = subprocess.run(
        [sys.executable, "-c", CRASH, str(folder), step, str(count)],
        check=False,
        capture_output=True,
    )
    assert result.returncode == 9, result.stderr
    with Store(folder) as store:
        seen = store.trades()["trade_id"].to_pylist()
    assert seen in ([1], [1, 2, 3])
    with StoreWriter(folder) as writer:
        assert writer.has("s-2") is (seen == [1, 2, 3])
        named = {file.path for commit in writer.commits() for file in commit.files}
        assert {name for name in tree(folder) if name.endswith(".parquet")} == named
        writer.write("s-2", [trade(2), quote(1, 2), trade(3, DAY_MS)])
    with Store(folder) as store:
        assert store.trades()["trade_id"].to_pylist() == [1, 2, 3]
    assert sorted(p for p in tree(folder) if p.startswith("commits")) == [
        "commits/s-1.json",
        "commits/s-2.json",
    ]


@pytest.mark.fault("F04")
def test_full_disk_is_told_and_repeatable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of ours; nothing visible; the same call works later."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with StoreWriter(folder) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(writer_module, "publish", full)
            with pytest.raises(StoreError, match="No space left"):
                writer.write("s", [trade(1)])
        assert writer.write("s", [trade(1)]) is not None


@pytest.mark.fault("F04")
def test_disk_that_fills_while_files_are_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several files written at a time one fails: it is told, and nothing of them is left."""
    encode = writer_module.SourceWriter._encode

    def full(self: writer_module.SourceWriter, named: tuple[StoredFile, object]) -> StoredFile:
        if named[0].kind == "quotes":
            raise OSError(28, "No space left on device")
        return encode(self, named)

    with StoreWriter(folder) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(writer_module.SourceWriter, "_encode", full)
            with pytest.raises(StoreError, match="No space left"):
                writer.write("s", [trade(1), quote(1, 2), trade(2, DAY_MS)])
        assert tree(folder) == {}
        assert writer.write("s", [trade(1)]) is not None


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    "symbol", ["../../etc/x", "a/b", "..", ".", "", "BTC/USD", "%2F", "a\x00b", "é*?", "con:aux"]
)
def test_symbols_never_lead_out(folder: Path, symbol: str) -> None:
    """Any text is a symbol, and comes back as itself."""
    with StoreWriter(folder) as writer:
        commit = writer.write("s", [trade(1, symbol=symbol, exchange="../v")])
    assert commit is not None
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in folder.rglob("*"))
    assert {path.name for path in folder.parent.iterdir()} == {"history"}
    with Store(folder) as store:
        row = store.trades(symbol).to_pylist()[0]
    assert (row["venue"], row["symbol"]) == ("../v", symbol)


@pytest.mark.fault("F10")
@pytest.mark.parametrize("source", ["../x", "a/b", "", ".hidden", "x" * 200, "a\n"])
def test_source_ids_never_lead_out(folder: Path, source: str) -> None:
    """An id names files, so it is made of harmless characters."""
    with StoreWriter(folder) as writer, pytest.raises(StoreError, match="not an id"):
        writer.write(source, [trade(1)])


@pytest.mark.fault("F10")
def test_hostile_commit_cannot_point_elsewhere(folder: Path, fill: Fill) -> None:
    """A forged record of files is refused, by readers and by the sweeping writer."""
    fill(trade(1))
    record = folder / "commits" / "run-1.json"
    commit = json.loads(record.read_text())
    good = commit["files"][0]["path"]
    for path in ("/etc/passwd", good.replace("binance", ".."), f"../{good}", "trades/x.parquet"):
        commit["files"][0]["path"] = path
        record.write_text(json.dumps(commit))
        with pytest.raises(StoreError):
            Store(folder)
        with pytest.raises(StoreError):
            StoreWriter(folder)


@pytest.mark.fault("F10")
def test_link_out_of_the_store_is_refused(folder: Path, tmp_path: Path, fill: Fill) -> None:
    """A folder replaced by a link is not followed."""
    fill(trade(1))
    outside = tmp_path / "outside"
    (folder / "trades").rename(outside)
    (folder / "trades").symlink_to(outside)
    with pytest.raises(StoreError, match="no path of a stored file"):
        Store(folder)


@pytest.mark.fault("F09")
@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 100_000, b'{"source":1}', b"\xff\xfe"])
def test_damaged_commit_is_told(folder: Path, fill: Fill, text: bytes) -> None:
    """Not a store with silent holes."""
    fill(trade(1))
    (folder / "commits" / "run-1.json").write_bytes(text)
    with pytest.raises(StoreError, match=r"run-1\.json"):
        Store(folder)


@pytest.mark.fault("F11")
def test_later_version_is_refused(folder: Path, fill: Fill) -> None:
    """A format this build does not know is named, not guessed at."""
    fill(trade(1))
    record = folder / "commits" / "run-1.json"
    record.write_text(record.read_text().replace('"version":1', '"version":2'))
    with pytest.raises(StoreError, match="version 2"):
        Store(folder)


def test_importing_crossfeed_loads_no_pyarrow() -> None:
    """The store costs nothing to those who do not use it."""
    code = (
        "import sys, crossfeed, crossfeed.store, crossfeed.sinks;"
        "assert not {'pyarrow', 'duckdb', 'psycopg', 'sqlite3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
