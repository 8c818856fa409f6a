"""Columns are the same whoever reads the attributes: Python, or the compiled reader before it."""

import gc
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.model.events import AggTrade, Candle, DepthDelta, MarketData, MiniTicker, Ticker
from crossfeed.model.trust import Mark, Side, Trust
from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.store import StoreWriter
from crossfeed.store.batch import Batch
from crossfeed.store.columns import rows_of
from crossfeed.testing.events import delta, heartbeat, quote, snapshot, ticker, trade

native = compiled_modules()
pytestmark = pytest.mark.skipif(native is None, reason="the compiled core is not in use")

# Whole numbers where floats are usual, too: an event made by hand may hold either.
prices = (
    st.floats(0.01, 1e7) | st.integers(1, 10_000_000).map(lambda n: n / 100) | st.integers(1, 99)
)
sizes = st.floats(0, 1e6) | st.integers(0, 10**9).map(lambda n: n / 1e5)
ids = st.integers(0, 1 << 62) | st.integers(0, 1000)
levels = st.lists(st.tuples(prices, sizes), max_size=4)
times = st.floats(0, 1e6)
marks = st.sampled_from([Mark.NONE, Mark.SNAPSHOT, Mark.NONE, Mark.BACKFILLED])
unified = st.sampled_from(["BTC/USDT", "BTC/USDT", "BTC/USDT", ""])


def head(event: MarketData) -> list[object]:
    return [getattr(event, name) for name in MarketData.__struct_fields__]


@st.composite
def mixed(draw: st.DrawFn, kind: str) -> list[Any]:
    """Make events of one table, of any of its classes."""
    return [draw(one_of(kind)) for _ in range(draw(st.integers(1, 12)))]


@st.composite
def one_of(draw: st.DrawFn, kind: str) -> Any:
    at_ms, event_ms = draw(times), draw(st.none() | times | st.just(-1.0))
    made: Any
    if kind in {"trades", "agg_trades"}:
        made = trade(
            draw(ids), at_ms, price=draw(prices), quantity=draw(sizes),
            side=draw(st.sampled_from(list(Side))), event_ms=event_ms, marks=draw(marks),
        )  # fmt: skip
        if kind == "agg_trades":
            made = AggTrade(
                *head(made), made.price, made.quantity, made.side, made.trade_id, draw(ids), 9
            )
    elif kind == "quotes":
        made = quote(draw(prices), draw(prices), at_ms, update_id=draw(ids), event_ms=event_ms)
    elif kind == "tickers":
        made = ticker(draw(prices), at_ms, event_ms=event_ms)
        some = [draw(st.none() | prices) for _ in range(13)]
        made = draw(
            st.sampled_from([
                made,
                Ticker(*head(made), 4.0, *some, draw(st.none() | ids)),
                MiniTicker(*head(made), 5.0, *(float(each or 1) for each in some[:5])),
            ])
        )  # fmt: skip
    elif kind == "candles":
        numbers = [float(draw(prices)) for _ in range(5)]
        interval, count, is_closed = (
            draw(st.sampled_from(["1m", "5m"])),
            draw(ids),
            draw(st.booleans()),
        )
        made = Candle(*head(trade(1, at_ms)), interval, 1, 2, *numbers, count, is_closed)
    else:
        first, previous, checksum = draw(ids), draw(ids), draw(st.none() | st.integers(0, 1 << 32))
        bids, asks = draw(levels), draw(levels)
        made = delta(first, first, bids, asks, at_ms, previous=previous, checksum=checksum)
        made = draw(
            st.sampled_from([
                made,
                DepthDelta(*msgspec.structs.astuple(made)),
                snapshot(first, bids, asks, at_ms, checksum=checksum, event_ms=event_ms),
            ])
        )  # fmt: skip
    return msgspec.structs.replace(made, unified=draw(unified))


@pytest.mark.parametrize("kind", ["trades", "agg_trades", "quotes", "tickers", "candles", "books"])
@given(data=st.data())
def test_rows_are_the_same(kind: str, data: st.DataObject):
    events = data.draw(mixed(kind))
    plain, fast = rows_of(kind, events), rows_of(kind, events, reader=native.columns)
    assert (plain.length, plain.refused) == (fast.length, fast.refused)
    assert plain.columns.keys() == fast.columns.keys()
    for name, values in plain.columns.items():
        other = fast.columns[name]
        if not isinstance(values, np.ndarray):
            assert values == other, name
            continue
        assert (values.dtype, np.ma.isMA(values)) == (other.dtype, np.ma.isMA(other)), name
        mask = np.ma.getmaskarray(values)
        assert (mask == np.ma.getmaskarray(other)).all(), name
        assert (np.ma.getdata(values)[~mask] == np.ma.getdata(other)[~mask]).all(), name


def test_files_are_the_same(tmp_path: Path):
    """Many classes and markets, mixed: each event goes to its like, in order."""
    chance, events = random.Random(5), list[Any]()
    for number in range(6_000):
        symbol, exchange = f"S{chance.randrange(150)}USDT", chance.choice(["binance", "kraken"])
        made: Any = chance.choice([
            lambda n=number: trade(n, n),
            lambda n=number: quote(n + 1.0, n + 2.0, n),
            lambda n=number: delta(n, n, [(n + 1.0, 1.0)], [], n),
            lambda n=number: snapshot(n, [(n + 1.0, 1.0)], [], n),
            lambda n=number: heartbeat(n, n),
        ])()  # fmt: skip
        events.append(msgspec.structs.replace(made, symbol=symbol, exchange=exchange))
    for name, reader in (("plain", None), ("fast", native.columns)):
        with StoreWriter(tmp_path / name, reader=reader) as writer:
            commit = writer.write("run", events)
            assert commit is not None
            assert commit.left_out["Heartbeat"] > 1_000
    assert len(tree(tmp_path / "fast")) > 600
    assert tree(tmp_path / "fast") == tree(tmp_path / "plain")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "store.lock"
    }


def test_events_are_dealt_as_far_as_lists_are_known():
    one, other, odd = trade(1), trade(2, symbol="ETHUSDT"), "no event"
    lists: dict[Any, Any] = {(type(one), "binance", "BTCUSDT"): []}
    assert native.columns.deal([one, one, other, one], 0, lists) == 2
    lists[type(one), "binance", "ETHUSDT"] = []
    assert native.columns.deal([one, one, other, one], 2, lists) == 4
    assert list(lists.values()) == [[one, one, one], [other]]
    assert native.columns.deal([one, odd], 0, lists) == 1
    assert native.columns.deal([one], 1, lists) == 1
    with pytest.raises(IndexError):
        native.columns.deal([one], -1, lists)


def test_names_that_run_python_while_events_are_dealt():
    """Whatever it takes away meanwhile: what is dealt is still there."""
    one, lists = trade(1), dict[Any, Any]()

    class Name(str):
        __slots__ = ()
        is_live = False

        def __hash__(self) -> int:
            if Name.is_live:
                lists.clear()
                events.clear()
                lists[type(one), "binance", "QQQ"] = []
                gc.collect()
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

    lists |= {(type(one), "binance", name): [] for name in ("BTCUSDT", "QQQ")}
    events: list[Any] = [one, msgspec.structs.replace(one, symbol=Name("QQQ")), one]
    del one
    one = trade(2)
    Name.is_live = True
    assert native.columns.deal(events, 0, lists) == 2
    assert [event.symbol for event in lists[type(one), "binance", "QQQ"]] == ["QQQ"]


def test_classes_that_read_in_their_own_way_are_declined():
    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            events.clear()
            return type.__getattribute__(cls, name)

    class Watched(metaclass=Meta):
        __slots__ = ("price",)

    class Own:
        __slots__ = ("price",)

        def __getattribute__(self, name: str) -> Any:
            return 99.0

    events: list[Any] = [Watched(), Watched()]
    for event in events:
        event.price = 2.5
    assert Batch(events, native.columns).read("price", np.float64).tolist() == [2.5, 2.5]
    own: Any = Own()
    own.price = 1.0
    assert Batch([own], native.columns).numbers("price", np.float64).tolist() == [99.0]


def replaced(**values: Any) -> Any:
    return msgspec.structs.replace(trade(1), **values)


@pytest.mark.parametrize(
    ("events", "name", "dtype"),
    [
        ([trade(1), replaced(price=5)], "price", np.float64),  # a whole number
        ([trade(1), replaced(trade_id=1 << 70)], "trade_id", np.int64),  # beyond 64 bits
        ([trade(1), replaced(trade_id="7")], "trade_id", np.int64),
        ([trade(1), replaced(marks=1 << 15)], "marks", np.int16),  # one beyond
        ([trade(1), replaced(trust=200)], "trust", np.int8),
        ([trade(1), quote(1.0, 2.0)], "price", np.float64),  # one lacks it
        ([trade(1), "no event"], "price", np.float64),
        ([trade(1)], "is_buyer_maker", np.int64),  # no slot
        ([trade(1)], "trade_id", np.int32),  # no such column
        ([trade(1)], "trade_id", np.dtype(">i8")),
    ],
)
def test_what_is_not_ordinary_is_declined(events: list[Any], name: str, dtype: Any):
    assert Batch(events, native.columns).read(name, dtype) is None


def test_what_is_ordinary_is_read():
    """Else the test above would prove nothing."""
    events: list[Any] = [trade(7, price=2.5), replaced(trade_id=8, price=-0.0, trust=Trust.STALE)]
    batch = Batch(events, native.columns)
    assert batch.read("price", np.float64).tolist() == [2.5, -0.0]
    assert batch.read("trade_id", np.int64).tolist() == [7, 8]
    assert batch.read("trust", np.int8).tolist() == [int(Trust.SOUND), int(Trust.STALE)]
    assert batch.read("marks", np.int16).tolist() == [0, 0]
    assert native.columns.shared(events, "symbol") == "BTCUSDT"
    assert native.columns.shared(events, "trade_id") is None


@pytest.mark.parametrize(
    "bids",
    [((1.0, 2.0),), [[1.0, 2.0]], [(1.0,)], [(1.0, 2.0, 3.0)], [(1, 2.0)], [(1.0, "2")], None],
)
def test_levels_that_are_not_ordinary_are_declined(bids: Any):
    event: Any = msgspec.structs.replace(delta(1, 1), bids=bids)
    counts = np.empty((1, 2), np.int64)
    total = native.columns.level_counts([event], counts)
    assert total < 0 or not native.columns.fill_levels([event], np.empty((total, 2)))


def test_arrays_of_another_size_are_not_touched():
    """Nothing is written beyond an array, whatever was counted before."""
    event: Any = delta(1, 1, [(1.0, 2.0), (3.0, 4.0)], [(5.0, 6.0)])
    for rows in (0, 2, 4):
        assert not native.columns.fill_levels([event], np.empty((rows, 2)))
    assert not native.columns.fill([event, event], "first", np.empty(1, np.int64))
    assert native.columns.level_counts([event], np.empty((2, 2), np.int64)) == -1
    with pytest.raises(ValueError, match="contiguous"):
        native.columns.fill([event, event], "first", np.empty(4, np.int64)[::2])
