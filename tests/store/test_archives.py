"""Other people's archives come in whole, and nonsense in them is named."""

import gzip
import zipfile
from pathlib import Path

import pytest

from crossfeed.errors import ConfigError, InvalidValueError, StoreError
from crossfeed.model.events import AggTrade, BookDelta, BookSnapshot, Candle, Quote, Trade
from crossfeed.model.trust import Side
from crossfeed.store import StoreWriter
from crossfeed.store.archives import read_binance, read_tardis, source_of
from crossfeed.store.query import Store

US = 1_700_000_000_000_000
HEAD = "exchange,symbol,timestamp,local_timestamp"
ROW = f"binance,BTCUSDT,{US},{US + 5}"


def written(tmp_path: Path, name: str, *lines: str) -> Path:
    """Write a file, packed as its name says."""
    path, text = tmp_path / name, "\n".join(lines) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name.replace(".zip", ".csv"), text)
    else:
        path.write_text(text)
    return path


def test_tardis_trades(tmp_path: Path) -> None:
    """Times are microseconds."""
    path = written(
        tmp_path, "t.csv.gz", f"{HEAD},id,side,price,amount", f"{ROW},17,sell,100.25,0.001"
    )
    (made,) = read_tardis(path, unified="BTC/USDT")
    assert isinstance(made, Trade)
    assert (made.price, made.quantity, made.side, made.trade_id) == (100.25, 0.001, Side.SELL, 17)
    assert (made.ts_event_ns, made.ts_recv_ns) == (US * 1000, (US + 5) * 1000)
    assert (made.exchange, made.symbol, made.unified) == ("binance", "BTCUSDT", "BTC/USDT")


def test_tardis_quotes_and_snapshots(tmp_path: Path) -> None:
    """A side may be empty, a book shorter than its columns."""
    path = written(
        tmp_path, "q.csv", f"{HEAD},ask_amount,ask_price,bid_price,bid_amount", f"{ROW},1,2.5,,"
    )
    (quote,) = read_tardis(path)
    assert isinstance(quote, Quote)
    assert (quote.ask_price, quote.ask_quantity, quote.bid_price) == (2.5, 1.0, 0.0)
    names = [f"{s}[{n}].{f}" for n in (0, 1) for s in ("asks", "bids") for f in ("price", "amount")]
    path = written(tmp_path, "b.csv", f"{HEAD},{','.join(names)}", f"{ROW},10,1,9,2,11,3,,")
    (book,) = read_tardis(path)
    assert isinstance(book, BookSnapshot)
    assert (book.asks, book.bids) == ([(10.0, 1.0), (11.0, 3.0)], [(9.0, 2.0)])


def test_tardis_incremental(tmp_path: Path) -> None:
    """The rows of one message are one event."""
    path = written(
        tmp_path,
        "i.csv",
        f"{HEAD},is_snapshot,side,price,amount",
        f"{ROW},true,bid,9,2",
        f"{ROW},true,ask,10,1",
        f"{ROW},false,bid,9,0",
        f"{ROW},false,ask,10,5",
        f"binance,BTCUSDT,{US + 9},{US + 9},false,bid,8,1",
    )
    image, first, second = read_tardis(path)
    assert isinstance(image, BookSnapshot)
    assert isinstance(first, BookDelta)
    assert (image.bids, image.asks) == ([(9.0, 2.0)], [(10.0, 1.0)])
    assert (first.bids, first.asks) == ([(9.0, 0.0)], [(10.0, 5.0)])
    assert second.bids == [(8.0, 1.0)]


@pytest.mark.parametrize("scale", [1, 1000], ids=["milliseconds", "microseconds"])
def test_binance_files(tmp_path: Path, scale: int) -> None:
    """Trades, aggregated trades and candles, in the old unit of time and the new."""
    ms = 1_700_000_000_000
    time = ms * scale
    path = written(tmp_path, "BTCUSDT-trades-2023-11-14.zip", f"7,1.5,2,3,{time},True,True")
    (made,) = read_binance(path)
    assert isinstance(made, Trade)
    assert (made.trade_id, made.price, made.side) == (7, 1.5, Side.SELL)
    assert made.ts_event_ns == ms * 1_000_000
    path = written(
        tmp_path,
        "BTCUSDT-aggTrades-2023-11-14.csv",
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
        f"5,1.5,2,11,13,{time},false",
    )
    (merged,) = read_binance(path)
    assert isinstance(merged, AggTrade)
    assert (merged.trade_id, merged.first_trade_id, merged.side) == (5, 11, Side.BUY)
    closed = (ms + 60_000) * scale - 1
    path = written(
        tmp_path, "BTCUSDT-1m-2023-11-14.csv", f"{time},1,2,0.5,1.5,9,{closed},13,4,4,6,0"
    )
    (bar,) = read_binance(path, unified="BTC/USDT")
    assert isinstance(bar, Candle)
    assert (bar.open, bar.close, bar.volume, bar.trades, bar.interval) == (1.0, 1.5, 9.0, 4, "1m")
    assert (bar.open_time_ns, bar.close_time_ns) == (ms * 10**6, (ms + 60_000) * 10**6)


def test_imports_are_stored_once(tmp_path: Path, folder: Path) -> None:
    """The content names the source, whatever the file is called."""
    one = written(tmp_path, "BTCUSDT-trades-1.csv", *(f"{n},1.5,2,3,{US},true" for n in range(9)))
    two = tmp_path / "BTCUSDT-trades-copy.csv"
    two.write_bytes(one.read_bytes())
    with StoreWriter(folder) as writer:
        assert writer.write(source_of(one), read_binance(one)) is not None
        assert writer.write(source_of(two), read_binance(two)) is None
    with Store(folder) as store:
        assert store.trades("BTCUSDT").num_rows == 9


@pytest.mark.fault("F09")
@pytest.mark.parametrize("price", ["nan", "inf", "1_0", "", "\uff11", "0x10", "9" * 5000, "1;2"])
def test_nonsense_is_named(tmp_path: Path, folder: Path, price: str) -> None:
    """No number, no row; and nothing of the file is stored."""
    tardis = written(tmp_path, "t.csv", f"{HEAD},id,side,price,amount", f"{ROW},1,buy,{price},1")
    with pytest.raises(InvalidValueError):
        list(read_tardis(tardis))
    binance = written(
        tmp_path, "BTCUSDT-trades-1.csv", f"1,1,1,1,{US},true", f"2,{price},1,1,{US},true"
    )
    with StoreWriter(folder) as writer:
        with pytest.raises(InvalidValueError, match=":2"):
            writer.write("s", read_binance(binance))
        assert not writer.commits()


@pytest.mark.fault("F09")
def test_files_that_are_none(tmp_path: Path) -> None:
    """Unknown forms, torn archives, absent files: one error each, ours."""
    with pytest.raises(ConfigError, match="no tardis"):
        list(read_tardis(written(tmp_path, "x.csv", "a,b", "1,2")))
    with pytest.raises(ConfigError, match="not named like"):
        list(read_binance(tmp_path / "trades.csv"))
    with pytest.raises(StoreError, match="cannot be read"):
        list(read_tardis(tmp_path / "absent.csv"))
    with pytest.raises(StoreError, match="cannot be read"):
        source_of(tmp_path / "absent.csv")
    for name in ("t.csv.gz", "BTCUSDT-trades-2.zip"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 torn")
        read = read_binance if name.endswith("zip") else read_tardis
        with pytest.raises(StoreError, match="cannot be read"):
            list(read(tmp_path / name))
