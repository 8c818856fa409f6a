"""A store answers what users ask, and nothing they should not ask."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossfeed import store as store_package
from crossfeed.errors import ConfigError, StoreError
from crossfeed.store import StoreWriter
from crossfeed.store.query import Store, exact
from crossfeed.testing.events import EPOCH_NS, delta, quote, snapshot, ticker, trade

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
    assert store.trades("ETH/USDT").num_rows == 0


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
    assert store.trades("BTC/USDT", venue=symbol).num_rows == 0
    assert store.book(symbol, 0, venue=symbol).num_rows == 0
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


def test_damaged_file_is_told(folder: Path, fill: Fill) -> None:
    """One line, with the file's name."""
    store = fill(trade(1))
    file = next(folder.glob("trades/**/*.parquet"))
    file.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(StoreError, match="parquet"):
        store.trades()
