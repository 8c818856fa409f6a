"""One file, each event once."""

# ruff: noqa: S608 - the tests' own names
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from crossfeed.errors import SinkError, SinkUnavailableError
from crossfeed.model.events import Candle, MarketData
from crossfeed.model.status import FeedStatus, Gap, GapRecord, Stream
from crossfeed.model.trust import Trust
from crossfeed.sinks.base import event_id, row_of
from crossfeed.sinks.sqlite import SqliteSink
from crossfeed.testing.events import heartbeat, quote, ticker, trade


def every_kind() -> list[MarketData]:
    """Make one event of each kind that has a table."""
    head = [getattr(trade(1), name) for name in MarketData.__struct_fields__]
    is_closed = True
    record = GapRecord(
        gap_id=1,
        stream=Stream("binance", "trade", "BTCUSDT"),
        first=1,
        last=2,
        missing=2,
        cause="sequence",
        ts_found_ns=5,
    )
    return [
        trade(1),
        quote(1, 2),
        ticker(3),
        Candle(*head, "1m", 0, 60, 1.0, 2.0, 0.5, 1.5, 9.0, 3, is_closed),
        Gap(*head, record),
        FeedStatus(*head, "trade", Trust.SOUND, Trust.STALE, "stale", "silent"),
    ]


def test_every_kind_is_stored_once(tmp_path: Path) -> None:
    """A second time nothing is new."""
    sink = SqliteSink(tmp_path / "feed.db")
    sink.open()
    assert sink.write([*every_kind(), heartbeat()]) == 6
    assert sink.write(every_kind()) == 0
    sink.close()
    sink.close()
    with sqlite3.connect(tmp_path / "feed.db") as database:
        tables = ("trades", "quotes", "tickers", "candles", "gaps", "status")
        counts = [database.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables]
        row = database.execute("SELECT ts, venue, price, side FROM trades").fetchone()
    database.close()
    assert counts == [1] * 6
    assert row == ("2023-11-14T22:13:20.000000+00:00", "binance", 100.0, "buy")


def test_ids_name_events_not_receipts() -> None:
    """Two collectors give one trade the same id; other trades have others."""
    assert event_id(trade(1, 0, event_ms=0)) == event_id(trade(1, 9, event_ms=0))
    ids = {event_id(each) for each in [trade(n, n) for n in range(50)] + every_kind()[1:]}
    assert len(ids) == 55
    assert event_id(trade(1)) != event_id(trade(1, exchange="kraken"))
    assert row_of(heartbeat()) is None


def test_refusals_are_told_apart(tmp_path: Path) -> None:
    """No folder may come to be; a file that is no database will not become one."""
    with pytest.raises(SinkUnavailableError):
        SqliteSink(tmp_path / "absent" / "feed.db").open()
    (tmp_path / "text").write_text("no database" * 1000)
    with pytest.raises(SinkError) as told:
        SqliteSink(tmp_path / "text").open()
    assert not isinstance(told.value, SinkUnavailableError)
    with pytest.raises(SinkUnavailableError, match="not open"):
        SqliteSink(tmp_path / "x").write([trade(1)])


def test_hostile_words_end_nothing(tmp_path: Path, hostile: str) -> None:
    """Whatever a venue says is a value; numbers beyond 64 bits are no id."""
    sink = SqliteSink(tmp_path / "x.db")
    sink.open()
    events = [
        trade(1, symbol=hostile),
        replace(trade(2), unified=hostile, trade_id=2**70),
        trade(3),
    ]
    assert sink.write(events) == 3
    assert sink.write(events) == 0
    sink.close()
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        rows = database.execute("SELECT trade_id FROM trades ORDER BY ts, trade_id").fetchall()
        assert sorted(rows, key=str) == [(1,), (3,), (None,)]
