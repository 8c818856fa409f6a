"""A recorded Advanced Trade session goes through the codec and agrees with what is known of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from crossfeed.model.commands import Acknowledged, Want
from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Candle,
    Heartbeat,
    MarketData,
    Ticker,
    Trade,
)
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark, Side
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase_advanced import VENUE
from crossfeed.venues.coinbase_advanced.codec import AdvancedCodec
from crossfeed.venues.symbols import SymbolTable

LIVE = "coinbase_advanced/btc_eth_20260809.cf3.jsonl.gz"
SINGLES = "coinbase_advanced/singles.jsonl"
PRODUCTS = ("BTC-USD", "ETH-USD")
CHANNELS = ("market_trades", "candles", "ticker", "level2")
TAKER = {"BUY": Side.SELL, "SELL": Side.BUY}


def codec_of(*channels: str) -> AdvancedCodec:
    """Make a codec that has asked as the recording did."""
    codec = AdvancedCodec(SymbolTable("coinbase_advanced", VENUE.builtin()), CodecOptions())
    codec.on_open()
    codec.subscribe([Want(channel, product) for channel in channels for product in PRODUCTS], 0)
    return codec


def received(records: list[Any]) -> list[bytes]:
    """Return the frames of the stream."""
    return [record.text for record in records if record.kind == "recv"]


def apply(book: dict[str, dict[Decimal, Decimal]], event: BookDelta | BookSnapshot) -> int:
    """Apply one event to a plain book of decimals; return how many levels it names."""
    levels = event.exact
    for name, side in book.items():
        if isinstance(event, BookSnapshot):
            side.clear()
        assert [tuple(map(float, row)) for row in levels[name]] == getattr(event, name)
        for price, size in levels[name]:
            side[price] = size
            if not size:
                del side[price]
    return len(levels["bids"]) + len(levels["asks"])


def final_of(book: dict[str, dict[Decimal, Decimal]]) -> dict[str, Any]:
    """Return the state of a book as expected.json writes it."""
    bid, ask = max(book["bids"]), min(book["asks"])
    return {
        "best_bid": [f"{bid:f}", f"{book['bids'][bid]:f}"],
        "best_ask": [f"{ask:f}", f"{book['asks'][ask]:f}"],
        "bid_levels": len(book["bids"]),
        "ask_levels": len(book["asks"]),
        "crossed": bid >= ask,
    }


def test_session(records: Callable, facts: Callable) -> None:
    """All frames are accepted; numbers, counts, trades and books agree with the known facts."""
    known = facts(LIVE)
    codec, out = codec_of(*CHANNELS), Output()
    numbers = []
    frames = received(records(LIVE))
    for frame in frames:
        codec.receive(frame, 1, 2, out)
        numbers.append(codec.connection_sequence)
    first, last = known["sequence_num"]
    assert numbers == list(range(first, last + 1))
    sorts = Counter(type(event) for event in out.events)
    counts = known["counts"]
    assert sorts[BookSnapshot] == counts["l2_data/snapshot"]
    assert sorts[BookDelta] == counts["l2_data/update"]
    assert sorts[Ticker] == counts["ticker/snapshot"] + counts["ticker/update"]
    assert sorts[Heartbeat] == counts["heartbeats/"]
    by_product: dict[str, list[MarketData]] = defaultdict(list)
    for event in out.events:
        by_product[event.symbol].append(event)
    for product in PRODUCTS:
        expected, events = known["products"][product], by_product[product]
        check_trades(events, expected)
        book: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        changes = sum(apply(book, e) for e in events if isinstance(e, BookDelta | BookSnapshot))
        assert changes == expected["level_changes"]
        assert final_of(book) == expected["final"]
        ticker = [event for event in events if isinstance(event, Ticker)][-1]
        assert {key: f"{ticker.exact[key]:f}" for key in expected["last_ticker"]} == expected[
            "last_ticker"
        ]


def check_trades(events: list[MarketData], expected: dict[str, Any]) -> None:
    """Assert that the trades of a product are in order, whole, and old ones marked."""
    trades = [event for event in events if isinstance(event, Trade)]
    ids = [trade.trade_id for trade in trades]
    assert len(ids) == expected["trades"]
    assert len(set(ids)) == expected["distinct_trade_ids"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    history = [trade for trade in trades if trade.marks & Mark.HISTORY]
    assert len(history) == 100
    assert trades[:100] == history


def test_acknowledgements(records: Callable) -> None:
    """The recorded replies confirm the four channels one by one, and our heartbeats silently."""
    codec, out = codec_of(*CHANNELS), Output()
    for frame in received(records(LIVE)):
        codec.receive(frame, 1, 2, out)
    assert all(isinstance(command, Acknowledged) for command in out.commands)
    confirmed = [{want.channel for want in c.wants} for c in out.commands]  # type: ignore[union-attr]
    assert confirmed == [{channel} for channel in CHANNELS]


def test_values_equal_the_text(records: Callable) -> None:
    """Attributes, `exact` and times of trades equal what stands in the frame."""
    codec = codec_of("market_trades")
    compared = 0
    for frame in received(records(LIVE)):
        if b'"market_trades","timestamp"' not in frame:
            continue
        out, sent = Output(), json.loads(frame)
        codec.receive(frame, 1, 2, out)
        items = [trade for event in sent["events"] for trade in event["trades"]]
        assert out.events[0].raw_message == sent
        for event in out.events[:10]:
            assert isinstance(event, Trade)
            item = items[event.raw_index]
            assert (event.symbol, str(event.trade_id)) == (item["product_id"], item["trade_id"])
            assert (event.price, event.quantity) == (float(item["price"]), float(item["size"]))
            assert f"{event.exact['price']:f}" == item["price"]
            assert f"{event.exact['quantity']:f}" == item["size"]
            assert event.side is TAKER[item["side"]]
            assert event.timestamp.isoformat()[:19] == item["time"][:19]
            compared += 1
    assert compared == 80


def test_candles(records: Callable) -> None:
    """The recorded bars: a hundred a product, the newest open, then its updates."""
    codec, out = codec_of("candles"), Output()
    for frame in received(records(LIVE)):
        if frame.startswith(b'{"channel":"candles"'):
            codec.receive(frame, 1, 2, out)
    for product in PRODUCTS:
        bars = [e for e in out.events if isinstance(e, Candle) and e.symbol == product]
        assert [bar.is_closed for bar in bars] == [True] * 99 + [False] * 2
        starts = [bar.open_time_ns for bar in bars]
        assert starts == sorted(starts)
        assert all(bar.close_time_ns - bar.open_time_ns == 300 * 10**9 for bar in bars)


def test_single_messages(records: Callable) -> None:
    """The examples of the documents are accepted, all six."""
    table = SymbolTable("coinbase_advanced", VENUE.builtin())
    sorts = []
    for record in records(SINGLES):
        codec, out = AdvancedCodec(table, CodecOptions()), Output()
        codec.subscribe([Want("ticker", "ETH-USDT")], 0)
        codec.receive(record.text, 1, 2, out)
        sorts.append([event.data_type for event in out.events])
    assert sorts == [["status"], ["ticker"], ["ticker"], ["kline"], ["trade"] * 2, ["heartbeat"]]


def test_rest_products(records: Callable) -> None:
    """The recorded list of 920 products: every one is found, aliases as another name."""
    (record,) = (record for record in records(LIVE) if record.kind == "http")
    instruments = VENUE.parse_instruments(200, record.text)
    sent = json.loads(record.text)["products"]
    table = SymbolTable("coinbase_advanced", instruments)
    assert len(instruments) == sum(not product["alias"] for product in sent) == 520
    for product in sent:
        found = table.find(product["product_id"])
        assert found.symbol == (product["alias"] or product["product_id"])
        assert Decimal(10) ** -found.price_scale == Decimal(product["price_increment"])


def test_decode_cost(records: Callable, timer: Callable, record_property: Callable) -> None:
    """Ticks and updates are decoded in microseconds; kept in the report, bound far above."""
    codec, out = codec_of(*CHANNELS), Output()

    def decode(frame: bytes) -> None:
        codec.receive(frame, 1, 2, out)
        out.events.clear()

    for channel in ("ticker", "market_trades", "l2_data", "heartbeats"):
        start = f'{{"channel":"{channel}"'.encode()
        frames = [f for f in received(records(LIVE)) if f.startswith(start) and len(f) < 2000]
        cost_us = timer(decode, frames[:300])
        record_property(f"{channel}_us", cost_us)
        assert cost_us < 200
