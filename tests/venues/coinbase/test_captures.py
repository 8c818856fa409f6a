"""Recorded Coinbase Exchange sessions go through the codec and agree with what is known of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from crossfeed.errors import DecodeError, SchemaChangedError
from crossfeed.model.commands import Want
from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Heartbeat,
    MarketData,
    OrderEvent,
    Ticker,
    Trade,
)
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark, Side
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase import VENUE
from crossfeed.venues.coinbase.codec import CoinbaseCodec
from crossfeed.venues.symbols import SymbolTable

KEYS = CodecOptions(api_key="key", api_secret="c2VjcmV0", api_passphrase="pass")
LIVE = "coinbase_exchange/btc_eth_20260707.ndjson.gz"
SIX = "coinbase_exchange/six_products_20210417.cf2.txt.gz"
FULL = "coinbase_exchange/full_20170625.jsonl"
OLD = ("SKL-USD", "SKL-BTC", "BAND-BTC", "YFI-BTC", "NU-GBP", "CRV-EUR")
# The test source of another project replaced a size by this text; no venue sent it.
NOT_A_NUMBER = b'"0.-10000"'
TAKER = {"buy": Side.SELL, "sell": Side.BUY}


def codec_of(wants: list[Want], options: CodecOptions | None = None) -> CoinbaseCodec:
    """Make a codec that knows the products of `wants`."""
    codec = CoinbaseCodec(SymbolTable("coinbase", VENUE.builtin()), options or CodecOptions())
    codec.on_open()
    codec.subscribe(wants, 0)
    return codec


def feed(codec: CoinbaseCodec, frames: list[bytes]) -> Output:
    """Decode frames into one output."""
    out = Output()
    for frame in frames:
        codec.receive(frame, 1, 2, out)
    return out


class PlainBook:
    """A price-to-size book of decimals, for comparison only."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}

    def apply(self, event: BookDelta | BookSnapshot) -> None:
        """Take a snapshot or changes, with the decimals as sent."""
        levels = event.exact
        for name, side in self.sides.items():
            if isinstance(event, BookSnapshot):
                side.clear()
            assert [tuple(map(float, row)) for row in levels[name]] == getattr(event, name)
            for price, size in levels[name]:
                side[price] = size
                if not size:
                    del side[price]

    def facts(self) -> dict[str, Any]:
        """Return the state as expected.json writes it."""
        bids, asks = self.sides["bids"], self.sides["asks"]
        bid, ask = max(bids), min(asks)
        return {
            "best_bid": [str(bid), f"{bids[bid]:f}"],
            "best_ask": [str(ask), f"{asks[ask]:f}"],
            "bid_levels": len(bids),
            "ask_levels": len(asks),
            "crossed": bid >= ask,
        }


def kind_of(event: MarketData) -> str:
    """Return the venue's word for an event."""
    if isinstance(event, Trade):
        return "last_match" if event.marks & Mark.HISTORY else "match"
    words = {BookSnapshot: "snapshot", BookDelta: "l2update", Heartbeat: "heartbeat"}
    return words.get(type(event), "ticker")


@pytest.mark.parametrize("name", [LIVE, SIX])
def test_session(name: str, records: Callable, facts: Callable) -> None:
    """Every message is accepted; counts, ids, times, books agree with the known facts."""
    known = facts(name)
    channels = ("level2_batch", "matches", "heartbeat", "ticker")
    wants = [Want(channel, product) for product in known["products"] for channel in channels]
    frames = [record.text for record in records(name) if record.kind == "recv"]
    out = feed(codec_of(wants), frames)
    by_product: dict[str, list[MarketData]] = defaultdict(list)
    for event in out.events:
        by_product[event.symbol].append(event)
    assert set(by_product) == set(known["products"])
    for product, events in by_product.items():
        expected = known["products"][product]
        assert Counter(kind_of(event) for event in events) == expected["by_type"]
        ids = [event.trade_id for event in events if isinstance(event, Trade)]
        jumps = sum(later != former + 1 for former, later in pairwise(ids))
        assert jumps == expected["match_trade_id_jumps"]
        book = PlainBook()
        last_id = equal = 0
        for event in events:
            if isinstance(event, BookSnapshot | BookDelta):
                book.apply(event)
            elif isinstance(event, Trade):
                last_id = event.trade_id
            elif isinstance(event, Heartbeat):
                equal += event.last_trade_id == last_id
        assert equal == expected["heartbeat_last_trade_id_equal"]
        assert book.facts() == expected["final"]
        tickers = [event for event in events if isinstance(event, Ticker)]
        if tickers:
            last = expected["last_ticker"]
            assert tickers[-1].trade_id == last["trade_id"]
            for key in ("price", "best_bid", "best_ask"):
                assert f"{tickers[-1].exact[key]:f}" == last[key]
            assert tickers[-1].best_bid_quantity is None


@pytest.mark.parametrize("name", [LIVE, SIX])
def test_values_equal_the_text(name: str, records: Callable) -> None:
    """Attributes, `exact` and times of trades and tickers equal what stands in the message."""
    products = ("BTC-USD", "ETH-USD", *OLD)
    codec = codec_of([Want(channel, p) for p in products for channel in ("matches", "ticker")])
    compared = 0
    for record in records(name):
        if record.kind != "recv" or b'"price"' not in record.text:
            continue
        (event,) = feed(codec, [record.text]).events
        sent = json.loads(record.text)
        assert event.raw_message == sent
        assert f"{event.exact['price']:f}" == sent["price"]
        assert event.timestamp.isoformat().startswith(sent["time"].rstrip("Z").rstrip("0"))
        compared += 1
        if isinstance(event, Trade):
            assert event.price == float(sent["price"])
            assert event.quantity == float(sent["size"])
            assert f"{event.exact['quantity']:f}" == sent["size"]
            assert event.side is TAKER[sent["side"]]
            assert event.trade_id == sent["trade_id"]
        else:
            assert isinstance(event, Ticker)
            assert event.volume == float(sent["volume_24h"])
    assert compared >= 100


def test_acknowledgements(records: Callable) -> None:
    """The recorded replies confirm what their requests asked, each want once."""
    codec = codec_of([])
    for channel in ("level2", "ticker", "matches"):
        codec.subscribe([Want(channel, product) for product in OLD], 0)
    replies = [r.text for r in records(SIX) if r.kind == "recv" and b"subscriptions" in r.text]
    confirmed = [
        {want.channel for want in command.wants}
        for reply in replies
        for command in feed(codec, [reply]).commands
    ]
    assert confirmed == [{"level2"}, {"ticker"}, {"matches"}]


def test_full(records: Callable, facts: Callable) -> None:
    """The order-by-order recording has no gap and keeps every field."""
    known = facts(FULL)
    frames = [record.text for record in records(FULL)]
    codec = codec_of([Want("full", product) for product in known["products"]], KEYS)
    events = feed(codec, frames).events
    assert [event.data.get("type", "heartbeat") for event in events] == [
        json.loads(frame)["type"] for frame in frames
    ]
    assert Counter(type(event) for event in events) == {OrderEvent: 22, Heartbeat: 1}
    for product, expected in known["products"].items():
        orders = [e for e in events if isinstance(e, OrderEvent) and e.symbol == product]
        sequences = [order.sequence for order in orders]
        assert sequences[0] == expected["first_sequence"]
        assert sequences == list(range(sequences[0], expected["last_sequence"] + 1))
    for event, frame in zip(events, frames, strict=True):
        if isinstance(event, OrderEvent):
            assert event.fields == json.loads(frame)
            assert str(event.exact["price"]) == event.fields["price"]


def test_single_messages(records: Callable) -> None:
    """Published single messages are accepted, but for two with a reason."""
    refused: list[tuple[bytes, DecodeError]] = []
    accepted = 0
    for record in records("coinbase_exchange/singles.jsonl"):
        product = json.loads(record.text).get("product_id", "BTC-USD")
        codec = codec_of([Want(channel, product) for channel in ("matches", "full")], KEYS)
        try:
            accepted += len(feed(codec, [record.text]).events) > 0
        except DecodeError as error:
            refused.append((record.text, error))
    assert accepted == 21
    (number, first), (body, second) = refused
    assert NOT_A_NUMBER in number
    assert isinstance(first, SchemaChangedError)
    assert body.startswith(b'{"bids"')  # a REST answer, not a message
    assert second.reason == "unknown_type"


def test_rest_book(records: Callable, facts: Callable) -> None:
    """A recorded REST book of 42,000 levels becomes the snapshot that is known."""
    name = "coinbase_exchange/rest_book_btc_20260707.json.gz"
    (record,), known = records(name), facts(name)
    codec = codec_of([])
    request = codec.poll_request(Want("level2_batch", "BTC-USD"))
    assert request is not None
    out = Output()
    assert codec.receive_rest(request, 200, record.text, 1, 2, out) is None
    (book,) = out.events
    assert isinstance(book, BookSnapshot)
    assert [len(book.bids), len(book.asks)] == known["levels"]
    assert book.sequence == known["sequence"]
    tops = [[str(value) for value in book.exact[side][0]] for side in ("bids", "asks")]
    assert [[f"{Decimal(size):f}" for size in top] for top in tops] == [
        top[:2] for top in known["top"]
    ]


def test_rest_products(records: Callable) -> None:
    """The recorded product list becomes instruments with the scales of its increments."""
    (record,) = (
        record
        for record in records("coinbase_exchange/rest_products_20210417.cf2.txt.gz")
        if record.kind == "http"
    )
    instruments = VENUE.parse_instruments(200, record.text)
    sent = json.loads(record.text)
    assert [instrument.symbol for instrument in instruments] == [entry["id"] for entry in sent]
    for instrument, entry in zip(instruments, sent, strict=True):
        assert Decimal(10) ** -instrument.price_scale == Decimal(entry["quote_increment"])
        assert instrument.unified == entry["display_name"]


def test_decode_cost(records: Callable, timer: Callable, record_property: Callable) -> None:
    """Ticks and updates are decoded in microseconds; printed with `-s`, bound far above."""
    codec = codec_of([Want(c, p) for p in ("BTC-USD", "ETH-USD") for c in ("matches", "level2")])
    out = Output()

    def decode(frame: bytes) -> None:
        codec.receive(frame, 1, 2, out)
        out.events.clear()

    for word in ("match", "l2update", "heartbeat"):
        start = f'{{"type":"{word}"'.encode()
        frames = [r.text for r in records(LIVE) if r.text.startswith(start)][:300]
        cost_us = timer(decode, frames)
        record_property(f"{word}_us", cost_us)
        assert cost_us < 200
