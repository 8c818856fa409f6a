"""A store answers what users ask, and nothing they should not ask."""

import importlib.util
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from crossfeed import store as store_package
from crossfeed.errors import ConfigError, StoreError, UnknownSymbolError, UnknownVenueError
from crossfeed.store import StoreWriter
from crossfeed.store.query import Store, exact
from crossfeed.testing.events import EPOCH_NS, delta, quote, snapshot, ticker, trade
from crossfeed.venues.registry import find_venue

Fill = Callable[..., Store]
KRAKEN = {"exchange": "kraken", "symbol": "BTCUSDT"}


def test_time_and_venue_select(fill: Fill) -> None:
    """From start (inclusive) to end (exclusive), in any way of saying it."""
    store = fill(*(trade(n, n * 1000) for n in range(5)), trade(9, 1500, **KRAKEN))
    start = datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)
    assert store.trades("BTC/USDT", start, EPOCH_NS + 3 * 10**9)["trade_id"].to_pylist() == [
        1,
        9,
        2,
    ]
    later = store.trades("BTCUSDT", "2023-11-14T22:13:23", venue="binance")
    assert later["trade_id"].to_pylist() == [3, 4]
    with pytest.raises(UnknownSymbolError, match="ETH/USDT"):
        store.trades("ETH/USDT")


@pytest.mark.parametrize("moment", ["yesterday", "2023-13-01", datetime(2023, 1, 1)])  # noqa: DTZ001
def test_unclear_time_is_refused(fill: Fill, moment: object) -> None:
    """A time without a zone is no time."""
    with pytest.raises(ConfigError):
        fill(trade(1)).trades("BTC/USDT", moment)


def test_candles_of_any_length(fill: Fill) -> None:
    """Open and close by time, by id where times are equal; exact sums."""
    trades = [
        trade(2, 0, price=11.0, quantity=0.1),
        trade(1, 0, price=10.0, quantity=0.2),
        trade(3, 6999, price=9.5, quantity=0.3),
        trade(4, 7000, price=20.0, quantity=1.0),
    ]
    store = fill(*trades)
    # 1_700_000_000 is 3 s after a multiple of 7 s, and 20 s after a whole minute.
    rows = store.candles("BTC/USDT", "4s").to_pylist()
    assert [(r["open"], r["high"], r["low"], r["close"], r["trades"]) for r in rows] == [
        (10.0, 11.0, 10.0, 11.0, 2),
        (9.5, 20.0, 9.5, 20.0, 2),
    ]
    minute = store.candles("BTC/USDT", "1m").to_pylist()[0]
    assert (minute["volume"], minute["ts"].isoformat()) == (1.6, "2023-11-14T22:13:00")
    assert minute["vwap"] == pytest.approx((1.1 + 2.0 + 2.85 + 20.0) / 1.6)
    weighted = store.vwap("BTC/USDT", "1m").to_pylist()[0]
    assert (weighted["vwap"], weighted["trades"]) == (minute["vwap"], 4)
    same = store.sql("SELECT open, close, vwap FROM ohlcv('4 seconds')").to_pylist()
    assert [(r["open"], r["close"]) for r in same] == [(10.0, 11.0), (9.5, 20.0)]


@pytest.mark.parametrize("interval", ["", "1", "0m", "m", "1mo", "-1m", "1m; DROP"])
def test_unclear_interval_is_refused(fill: Fill, interval: str) -> None:
    """Only a number and a unit."""
    with pytest.raises(ConfigError, match="not an interval"):
        fill(trade(1)).candles("BTC/USDT", interval)


def test_book_at_a_moment(fill: Fill) -> None:
    """The last image before it and what changed since."""
    store = fill(
        snapshot(5, [(9.0, 9.0)], [(10.0, 9.0)], 0),
        delta(6, 6, [(9.5, 1.0)], [], 1),
        snapshot(7, [(1.0, 2.0), (0.5, 3.0)], [(1.5, 4.0), (1.6, 1.0)], 2),
        delta(8, 8, [(1.0, 0.0), (0.75, 1.0)], [(1.5, 2.5)], 3),
        delta(9, 9, [(0.75, 7.0)], [], 5),
    )

    def book(at_ms: int) -> list[tuple[str, float, float]]:
        rows = store.book("BTC/USDT", EPOCH_NS + at_ms * 1_000_000, venue="binance").to_pylist()
        return [(row["side"], row["price"], row["quantity"]) for row in rows]

    assert book(-1) == []
    assert book(1) == [("buy", 9.5, 1.0), ("buy", 9.0, 9.0), ("sell", 10.0, 9.0)]
    assert book(4) == [
        ("buy", 0.75, 1.0),
        ("buy", 0.5, 3.0),
        ("sell", 1.5, 2.5),
        ("sell", 1.6, 1.0),
    ]
    assert book(5)[0] == ("buy", 0.75, 7.0)


def test_spread_over_venues(fill: Fill) -> None:
    """The best of each side, and whose it is; negative when crossed."""
    store = fill(
        quote(99.0, 101.0, 0),
        quote(99.5, 100.5, 10),
        quote(101.0, 102.0, 20, exchange="kraken"),
    )
    row = store.spread("BTC/USDT", "1s").to_pylist()[0]
    assert (row["best_bid"], row["best_bid_venue"]) == (101.0, "kraken")
    assert (row["best_ask"], row["best_ask_venue"]) == (100.5, "binance")
    assert (row["spread"], row["venues"]) == (-0.5, 2)


def test_scales_of_files_do_not_mix(folder: Path, fill: Fill) -> None:
    """Files with other decimals answer together, exactly."""
    fill(trade(1, 1, price=100.0))
    fill(trade(2, 2, price=0.12345678), source="run-2")
    store = fill(trade(3, 3, price=1e-18), trade(4, 4, price=9e15), source="run-3")
    assert store.trades()["price"].to_pylist() == [100.0, 0.12345678, 1e-18, 9e15]
    assert [str(each.normalize()) for each in exact(store.trades(), "price")] == [
        "1E+2",
        "0.12345678",
        "1E-18",
        "9E+15",
    ]
    assert folder.is_dir()


def test_exact_needs_the_integers(fill: Fill) -> None:
    """A derived table has no exact price."""
    store = fill(trade(1, quantity=0.3))
    assert [str(each) for each in exact(store.trades(), "quantity")] == ["0.3"]
    with pytest.raises(ConfigError, match="no exact price"):
        exact(store.sql("SELECT price FROM trades"), "price")


@pytest.mark.parametrize("symbol", ["' OR 1=1 --", "x'); DROP VIEW trades; --", "$symbol", "\\"])
def test_names_are_never_code(fill: Fill, symbol: str) -> None:
    """Whatever a symbol says, it is a symbol: when asked for and when stored."""
    store = fill(trade(1), trade(2, symbol=symbol))
    assert store.trades(symbol)["trade_id"].to_pylist() == [2]
    assert store.candles(symbol, "1m").num_rows == 1
    with pytest.raises(UnknownVenueError, match="there is binance"):
        store.trades("BTC/USDT", venue=symbol)
    assert store.book(symbol, 0, venue="binance").num_rows == 0
    assert store.trades().num_rows == 2


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; SELECT 2",
        "",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "DROP VIEW trades",
        "CREATE TABLE x AS SELECT 1",
        "SET threads = 1",
        "INSTALL httpfs",
        "ATTACH 'x.db'",
        "PRAGMA database_list",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
        "SELECT * FROM secret_list",
        "SELECT nonsense(",
    ],
)
def test_only_a_single_select(
    fill: Fill, query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store cannot be changed, nor anything else read."""
    monkeypatch.chdir(tmp_path)
    secret_list = [1]
    store = fill(trade(1))
    with pytest.raises(StoreError, match="query"):
        store.sql(query)
    assert secret_list == [1]
    assert store.trades().num_rows == 1
    assert {path.name for path in tmp_path.iterdir()} == {"history"}


def test_parameters(fill: Fill) -> None:
    """Values go in beside the text."""
    store = fill(*(trade(n) for n in range(4)))
    query = "SELECT count(*) AS n FROM trades WHERE trade_id >= $least"
    assert store.sql(query, {"least": 2}).to_pylist() == [{"n": 2}]


def test_empty_store_answers(folder: Path) -> None:
    """Every view is there before the first row is."""
    StoreWriter(folder).close()
    with store_package.open(folder) as store:
        for name in ("trades", "quotes", "books", "gaps", "status", "tickers", "candles"):
            assert store.sql(f"FROM {name}").num_rows == 0
        assert store.candles("BTC/USD", "1m").num_rows == 0
        assert store.gaps().num_rows == 0
        assert store.spread("BTC/USD", "1s").num_rows == 0


def test_empty_and_full_views_have_the_same_columns(folder: Path, fill: Fill) -> None:
    """A query written before the first row still fits after it."""
    StoreWriter(folder).close()
    events = [trade(1), quote(1, 2), ticker(1), snapshot(1, [(1.0, 1.0)], [])]
    with Store(folder) as empty:
        names = ("trades", "quotes", "tickers", "books")
        before = {name: empty.sql(f"FROM {name}").schema for name in names}
    store = fill(*events)
    for name, schema in before.items():
        now = store.sql(f"FROM {name}").schema
        assert now.names == schema.names
        assert now.types == schema.types


def test_refresh_sees_what_came(folder: Path, fill: Fill) -> None:
    """A reader keeps its view until it asks for the new one."""
    store = fill(trade(1))
    fill(trade(2), source="run-2")
    assert store.trades().num_rows == 1
    store.refresh()
    assert store.trades().num_rows == 2
    assert "2 commits" in repr(store)
    assert folder.is_dir()


def test_no_store_is_told(tmp_path: Path) -> None:
    """An empty folder is not an empty store."""
    with pytest.raises(StoreError, match="no store here"):
        store_package.open(tmp_path)
    (tmp_path / "segment-0000000001.cfj").touch()
    with pytest.raises(StoreError, match="a journal, not a store"):
        store_package.open(tmp_path)


def test_damaged_file_is_told(folder: Path, fill: Fill) -> None:
    """One line, with the file's name."""
    store = fill(trade(1))
    file = next(folder.glob("trades/**/*.parquet"))
    file.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(StoreError, match="parquet"):
        store.trades()


def test_times_as_people_have_them(fill: Fill) -> None:
    """Text, date, aware datetime, digits, numpy: the same moment."""
    store = fill(*(trade(n, n * 1000, event_ms=n * 1000) for n in range(4)))
    at = datetime.fromtimestamp(EPOCH_NS / 1e9, UTC) + timedelta(seconds=2)
    moments = (
        at,
        at.isoformat(),
        at.strftime("%Y-%m-%d %H:%M:%S"),
        at.astimezone(timezone(timedelta(hours=-5))),
        str(EPOCH_NS + 2 * 10**9),
        np.datetime64(EPOCH_NS + 2 * 10**9, "ns"),
    )
    for moment in moments:
        assert store.trades(start=moment)["trade_id"].to_pylist() == [2, 3], moment
    assert store.trades(start=at.date()).num_rows == 4
    assert store.trades(start=at.date() + timedelta(days=1)).num_rows == 0


def test_names_nowhere_in_the_store_are_told(fill: Fill) -> None:
    """A typing mistake is no empty answer; a market without rows in that time is one."""
    store = fill(trade(1), quote(1, 2, exchange="kraken"))
    asked = (
        lambda: store.trades("BTC/USD"),
        lambda: store.candles("BTCUSD", "1m"),
        lambda: store.vwap("BTC/USD", "1m"),
        lambda: store.gaps("BTC/USD"),
        lambda: store.spread("BTC/USD", "1s"),
        lambda: store.book("BTC/USD", 0, venue="binance"),
    )
    for ask in asked:
        with pytest.raises(UnknownSymbolError, match="there is BTC"):
            ask()
    with pytest.raises(UnknownVenueError, match="there is kraken"):
        store.quotes("BTC/USDT", venue="krakn")
    with pytest.raises(ConfigError, match="no kind 'trade'"):
        store.rows("trade")
    assert store.trades("BTC/USDT", venue="kraken").num_rows == 0
    assert store.trades("BTC/USDT", end=0).num_rows == 0


def test_view_that_is_missing_is_told_with_those_there_are(fill: Fill) -> None:
    """And a wrong column with the column."""
    store = fill(trade(1))
    with pytest.raises(StoreError, match=r"trade .*there are trades, agg_trades.*contents"):
        store.sql("FROM trade")
    with pytest.raises(StoreError, match="prize"):
        store.sql("SELECT prize FROM trades")


def test_contents(fill: Fill) -> None:
    """What is there, without reading it."""
    store = fill(trade(1, 1000), trade(2, 2000), quote(1, 2, 3000, exchange="kraken"))
    rows = store.contents().to_pylist()
    assert [(row["kind"], row["venue"], row["rows"]) for row in rows] == [
        ("quotes", "kraken", 1),
        ("trades", "binance", 2),
    ]
    assert rows[1]["last"] - rows[1]["first"] == timedelta(seconds=1)
    assert store.sql("FROM contents").num_rows == 2


def test_book_reads_only_from_the_last_image_on(folder: Path) -> None:
    """Days before it are not touched; a change that came after midnight still counts."""
    day_ms, damaged = 86_400_000, []
    with StoreWriter(folder) as writer:
        writer.write("z", [snapshot(1, [(1.5, 1.0)], [(9.5, 1.0)], 0, event_ms=0)])
        damaged = list(folder.rglob("*.parquet"))
        writer.write("b", [delta(2, 2, [(1.5, 1.0)], [], day_ms, event_ms=day_ms)])
        at = 2 * day_ms
        writer.write(
            "c",
            [
                snapshot(3, [(2.0, 1.0)], [(8.0, 1.0)], at, event_ms=at),
                delta(4, 4, [(2.5, 1.0)], [], at + 1, event_ms=day_ms + 5),
            ],
        )
    damaged[0].write_bytes(b"no longer there")
    with Store(folder) as store:
        book = store.book("BTC/USDT", EPOCH_NS + 3 * day_ms * 10**6, venue="binance")
        assert book["price"].to_pylist() == [2.5, 2.0, 8.0]
        assert book["quantity"].to_pylist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "size", ["0.000000000000000001", "1.234567890123456789", "12.345678901234567891", "1" * 25]
)
def test_sizes_of_18_decimals_are_exact(fill: Fill, size: str) -> None:
    """Beyond what a float holds: the venue's own text, back to the last digit."""
    find_venue("binance")  # its reader of frames
    event = replace(trade(1, quantity=float(size)), raw=trade_frame(size))
    assert event.exact["quantity"] == Decimal(size)
    store = fill(event, trade(2, quantity=0.3))
    answer = store.trades()
    assert exact(answer, "quantity") == [Decimal(size), Decimal("0.3")]
    assert exact(answer, "price") == [100, 100]
    assert answer["quantity"].to_pylist()[0] == pytest.approx(float(size), rel=1e-15)


def trade_frame(size: str) -> bytes:
    """Make a frame of Binance's, from which the exact numbers are read."""
    fields = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": 1, "p": "100.0", "q": size, "T": 1}
    return json.dumps(fields | {"m": True, "M": True}).encode()


def test_other_packages_take_the_answer(fill: Fill) -> None:
    """Pandas, polars and numpy, as the how-to says; each where it is installed."""
    answer = fill(trade(1, quantity=0.5), trade(2, quantity=0.25)).trades("BTC/USDT")
    assert answer["price"].to_numpy().sum() == 200.0
    for name in ("pandas", "polars"):
        if importlib.util.find_spec(name) is None:
            continue
        frame = answer.to_pandas() if name == "pandas" else import_module(name).from_arrow(answer)
        assert frame["quantity"].sum() == 0.75
