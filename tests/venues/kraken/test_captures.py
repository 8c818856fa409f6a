"""Recorded sessions of Kraken: everything is read, and it is what is known about them.

Every checksum is rebuilt by the venue's rule with a plain book made for this test.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest

from crossfeed.books.ladder import Ladder
from crossfeed.errors import DecodeError
from crossfeed.model.commands import Acknowledged, RestRequest, Want
from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Candle,
    Heartbeat,
    MarketData,
    Quote,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.numbers import to_units
from crossfeed.model.output import Output
from crossfeed.model.sequencing import BookRule
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.codec import KrakenCodec
from crossfeed.venues.kraken.sequencing import book_checksum
from crossfeed.venues.symbols import SymbolTable

pytestmark = pytest.mark.trust

Records = Callable[[str], list[Any]]
Facts = Callable[[str], dict[str, Any]]
Timer = Callable[[Callable[[bytes], object], list[bytes]], float]
Rows = list[tuple[int, int]]
RUN = 40

SESSIONS = (
    "kraken_v2/btc_eth_d10_20260707.ndjson.gz",
    "kraken_v2/btc_d10_resubscribes_20260801.cbcap.gz",
    "kraken_v2/btc_d25_20260802.cbcap.gz",
)
V1 = "kraken_v1/ten_pairs_20210417.cf3.jsonl.gz"
NUMBERS = {
    Trade: {"price": "price", "quantity": "qty"},
    Ticker: {"price": "last", "best_bid": "bid", "best_ask_quantity": "ask_qty", "vwap": "vwap"},
    Quote: {"bid_price": "bid", "bid_quantity": "bid_qty", "ask_price": "ask"},
    Candle: {"open": "open", "close": "close", "volume": "volume"},
}


class PlainBook:
    """Price to size, in units of the pair's decimals; cut to the depth after each message."""

    def __init__(self, depth: int, price_scale: int, size_scale: int) -> None:
        self.depth = depth
        self.price_scale = price_scale
        self.size_scale = size_scale
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.absent = 0

    def apply(self, bids: Iterable[Any], asks: Iterable[Any]) -> None:
        """Set or remove levels in the order given, then cut."""
        for side, rows in ((self.bids, bids), (self.asks, asks)):
            for price, size in rows:
                units = to_units(size, self.size_scale)
                if units:
                    side[to_units(price, self.price_scale)] = units
                else:
                    gone = side.pop(to_units(price, self.price_scale), None)
                    self.absent += gone is None
        for price in sorted(self.bids)[: -self.depth]:
            del self.bids[price]
        for price in sorted(self.asks)[self.depth :]:
            del self.asks[price]

    def take(self, event: BookSnapshot | BookDelta) -> None:
        """Start over with a snapshot, or apply an update."""
        if isinstance(event, BookSnapshot):
            self.bids.clear()
            self.asks.clear()
        self.apply(event.bids, event.asks)

    def top_units(self, count: int) -> tuple[Rows, Rows]:
        """Return the best levels, best first."""
        return sorted(self.bids.items(), reverse=True)[:count], sorted(self.asks.items())[:count]

    def top_digits(self, count: int) -> tuple[bytes, bytes]:
        """Return the digits of the best levels."""
        low, high = (
            "".join(f"{price}{size}" for price, size in rows).encode()
            for rows in self.top_units(count)
        )
        return low, high

    def assert_final(self, final: dict[str, Any]) -> None:
        """Compare the top and the number of levels with what is known."""
        [bid], [ask] = self.top_units(1)
        for (price, size), texts in ((bid, final["best_bid"]), (ask, final["best_ask"])):
            assert price == to_units(texts[0], self.price_scale)
            assert size == to_units(texts[1], self.size_scale)
        assert (len(self.bids), len(self.asks)) == (final["bid_levels"], final["ask_levels"])
        assert (bid[0] >= ask[0]) is final["crossed"]


def make_codec(wants: Iterable[Want]) -> KrakenCodec:
    """Return a codec that was asked for `wants`."""
    codec = KrakenCodec(SymbolTable("kraken", VENUE.builtin()), CodecOptions())
    codec.subscribe(list(wants), 0)
    return codec


def wants_of(known: dict[str, Any]) -> list[Want]:
    """Return what the recorder of a session had asked for."""
    depths = {symbol: about["depth"] for symbol, about in known["symbols"].items()}
    wants = [Want(f"book:{depth}", symbol) for symbol, depth in depths.items()]
    return wants + [Want("trade", symbol) for symbol in depths]


def name_of(message: dict[str, Any]) -> str:
    """Return the name under which expected.json counts a message."""
    if "method" in message:
        return f"reply {message['method']}"
    return f"{message['channel']}/{message['type']}" if "type" in message else message["channel"]


@pytest.mark.parametrize("name", SESSIONS)
def test_session_is_read(name: str, records: Records, facts: Facts) -> None:
    """Every message is accepted and becomes the events it must."""
    known = facts(name)
    codec = make_codec(wants_of(known))
    counts: Counter[str] = Counter()
    acknowledged: list[Want] = []
    made = {"book/snapshot": BookSnapshot, "book/update": BookDelta, "trade/update": Trade,
            "heartbeat": Heartbeat, "status/update": VenueStatus}  # fmt: skip
    for record in records(name):
        if record.kind != "recv":
            counts["_header"] += 1
            continue
        message, out = json.loads(record.text), Output()
        codec.receive(record.text, record.ts_ns, 7, out)
        kind = name_of(message)
        counts[kind] += 1
        if kind.startswith("reply"):
            assert out.events == []
            acknowledged += [
                want
                for said in out.commands
                if isinstance(said, Acknowledged)
                for want in said.wants
            ]
            continue
        items = message.get("data", [{}])
        assert [type(event) for event in out.events] == [made[kind]] * len(items)
        assert [event.raw_index for event in out.events] == list(range(len(items)))
        assert all(event.raw == record.text for event in out.events)
        assert all(event.trust is Trust.SOUND for event in out.events)
        assert {(event.ts_recv_ns, event.ts_mono_ns) for event in out.events} == {(record.ts_ns, 7)}
    assert counts == known["counts"]
    subscribed = {f"book:{about['depth']}" for about in known["symbols"].values()}
    assert {want.channel for want in acknowledged} >= subscribed


@pytest.mark.parametrize("name", SESSIONS)
def test_books_equal_their_checksums(name: str, records: Records, facts: Facts) -> None:
    """Each message's checksum is that of the rebuilt book; tops and ids are the known ones."""
    known = facts(name)
    codec = make_codec(wants_of(known))
    books: dict[str, PlainBook] = {}
    rules: dict[str, BookRule] = {}
    equal: Counter[str] = Counter()
    differ: Counter[str] = Counter()
    absent: Counter[str] = Counter()
    snapshots: dict[str, int] = {}
    trades: dict[str, list[int]] = {symbol: [] for symbol in known["symbols"]}
    newest: dict[str, int] = {}
    for event in play(codec, records(name)):
        if isinstance(event, Trade):
            trades[event.symbol].append(event.trade_id)
        if not isinstance(event, BookSnapshot | BookDelta):
            continue
        assert event.integrity is Integrity.CHECKSUMMED
        if isinstance(event, BookSnapshot):
            instrument = codec.table.find(event.symbol)
            depth = known["symbols"][event.symbol]["depth"]
            assert [instrument.price_scale, instrument.size_scale] == known["symbols"][
                event.symbol
            ]["precision"]
            books[event.symbol] = PlainBook(depth, instrument.price_scale, instrument.size_scale)
            rules[event.symbol] = VENUE.book_rule(Want(f"book:{depth}", event.symbol))
            assert rules[event.symbol].depth_limit == depth
            snapshots[event.symbol] = event.checksum or 0
        else:
            assert event.ts_event_ns >= newest.get(event.symbol, 1)
            newest[event.symbol] = event.ts_event_ns
        book = books[event.symbol]
        book.apply(event.bids, event.asks)
        is_equal = rules[event.symbol].verify(book, event.checksum) == event.checksum
        (equal if is_equal else differ)[event.symbol] += 1
        absent[event.symbol] += book.absent
        book.absent = 0
    assert differ == {}
    for symbol, about in known["symbols"].items():
        assert equal[symbol] == about["checksums_equal"]
        assert snapshots[symbol] == about["snapshot_checksum"]
        assert absent[symbol] == about["deletes_of_absent_level"]
        assert len(trades[symbol]) == about["trades"]
        first = trades[symbol][:1] or [0]
        assert trades[symbol] == [first[0] + n for n in range(about["trades"])]
        books[symbol].assert_final(about["final"])


@pytest.mark.parametrize("name", SESSIONS)
def test_ladder_equals_the_checksums(name: str, records: Records, facts: Facts) -> None:
    """The ladder of the books stage, cut to the depth, gives the same checksums."""
    known = facts(name)
    codec = make_codec(wants_of(known))
    ladders: dict[str, Ladder] = {}
    equal: Counter[str] = Counter()
    for event in play(codec, records(name)):
        if not isinstance(event, BookSnapshot | BookDelta):
            continue
        about = known["symbols"][event.symbol]
        ladder = ladders.setdefault(event.symbol, Ladder(*about["precision"]))
        rule = VENUE.book_rule(Want(f"book:{about['depth']}", event.symbol))
        change = ladder.load if isinstance(event, BookSnapshot) else ladder.apply
        change(event.bids, event.asks)
        ladder.cut(rule.depth_limit)
        equal[event.symbol] += rule.verify(ladder, event.checksum) == event.checksum
    assert equal == {s: about["checksums_equal"] for s, about in known["symbols"].items()}


@pytest.mark.fault("S12")
@pytest.mark.parametrize("name", SESSIONS)
def test_lost_update_is_seen(name: str, records: Records, facts: Facts) -> None:
    """With one update missing, a message's checksum differs exactly while the top ten differ."""
    known = facts(name)
    codec = make_codec(wants_of(known))
    symbol, about = next(iter(known["symbols"].items()))
    events = [
        event
        for event in play(codec, records(name))
        if isinstance(event, BookSnapshot | BookDelta) and event.symbol == symbol
    ]
    rule = VENUE.book_rule(Want(f"book:{about['depth']}", symbol))
    truth = PlainBook(about["depth"], *about["precision"])
    seen = 0
    for start in range(0, len(events), RUN):
        run = events[start : start + RUN]
        broken = PlainBook(about["depth"], *about["precision"])
        broken.bids, broken.asks = dict(truth.bids), dict(truth.asks)
        was_seen = False
        for place, event in enumerate(run):
            truth.take(event)
            if place or isinstance(event, BookSnapshot):
                broken.take(event)
            is_equal = broken.top_units(10) == truth.top_units(10)
            assert rule.verify(truth, event.checksum) == event.checksum
            assert (rule.verify(broken, event.checksum) == event.checksum) is is_equal
            was_seen |= not is_equal
        seen += was_seen
    assert seen > 3


def play(codec: KrakenCodec, entries: Iterable[Any]) -> Iterable[MarketData]:
    """Decode a session; yield its events."""
    for record in entries:
        if record.kind == "recv":
            out = Output()
            codec.receive(record.text, record.ts_ns, 7, out)
            yield from out.events


@pytest.mark.parametrize("name", SESSIONS)
def test_exact_equals_the_text(name: str, records: Records, facts: Facts) -> None:
    """`exact` has the digits of the wire, trailing zeros included."""
    codec = make_codec(wants_of(facts(name)))
    compared = 0
    for number, record in enumerate(records(name)):
        # The reading is slow on purpose: trades, snapshots, and every 10th change of a book.
        if record.kind != "recv" or (number % 10 and b'"book","type":"update' in record.text):
            continue
        tree = json.loads(record.text, parse_float=str, parse_int=str)
        out = Output()
        codec.receive(record.text, 1, 2, out)
        for event in out.events:
            if isinstance(event, Trade):
                item = tree["data"][event.raw_index]
                texts = {"price": item["price"], "quantity": item["qty"]}
                assert {key: str(value) for key, value in event.exact.items()} == texts
                assert event.raw_message["trade_id"] == event.trade_id
                compared += 2
            elif isinstance(event, BookSnapshot | BookDelta):
                for side in ("bids", "asks"):
                    rows = [(row["price"], row["qty"]) for row in tree["data"][0][side]]
                    assert event.exact[side] == [(Decimal(p), Decimal(q)) for p, q in rows]
                    floats = [(float(p), float(q)) for p, q in rows]
                    assert getattr(event, side) == floats
                    compared += len(rows)
    assert compared > 20


def reason_to_refuse(message: dict[str, Any]) -> str:
    """Return why one of the single messages cannot be read, empty if it can."""
    if message.get("channel") == "level3":
        return "unknown_type"
    [item, *_] = message.get("data", [{}])
    needed = {"book": "checksum", "ticker": "last"}.get(message.get("channel", ""))
    return "missing_field" if needed is not None and needed not in item else ""


def test_singles(records: Records, facts: Facts) -> None:
    """Examples of the documentation and of other projects are read.

    Refused are a channel we do not speak, and three messages that their source shortened: without
    checksum, and without the 24 h values of a ticker.
    """
    wants = [
        Want(channel, symbol)
        for symbol in ("BTC/USD", "ETH/USDT", "AAPLx/USD", "ANETx/USD")
        for channel in ("trade", "ticker", "ticker:bbo", "ohlc:1", "ohlc:5", "book:10")
    ]
    codec = make_codec(wants)
    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for record in records("kraken_v2/singles.jsonl"):
        message, out = json.loads(record.text), Output()
        reason = reason_to_refuse(message)
        if reason:
            assert record.kind == "spelled" or reason == "unknown_type"
            with pytest.raises(DecodeError, match=reason):
                codec.receive(record.text, 1, 2, out)
            refused[name_of(message)] += 1
            continue
        codec.receive(record.text, 1, 2, out)
        accepted[name_of(message)] += 1
        texts = json.loads(record.text, parse_float=Decimal, parse_int=Decimal)
        for event in out.events:
            for ours, theirs in NUMBERS.get(type(event), {}).items():
                value = texts["data"][event.raw_index][theirs]
                assert event.exact[ours] == value
                assert getattr(event, ours) == float(value)
            if isinstance(event, Trade):
                assert (Mark.HISTORY in event.marks) is (message["type"] == "snapshot")
    assert refused == {"level3/snapshot": 1, "book/update": 1, "ticker/update": 2}
    assert accepted == {
        "trade/snapshot": 1, "trade/update": 3, "book/snapshot": 2, "ticker/snapshot": 1,
        "ticker/update": 1, "ohlc/update": 2, "reply pong": 1, "reply subscribe": 1,
    }  # fmt: skip
    assert sum((accepted + refused).values()) == facts("kraken_v2/singles.jsonl")["messages"]


def test_instruments_of_the_stream(records: Records, facts: Facts) -> None:
    """The whole instrument snapshot is adopted, pair by pair."""
    name = "kraken_v2/instrument_snapshot.json.gz"
    [record] = records(name)
    codec, out = make_codec([Want("instrument", "")]), Output()
    codec.receive(record.text, 1, 2, out)
    [event] = out.events
    assert isinstance(event, VenueStatus)
    pairs = json.loads(record.text)["data"]["pairs"]
    assert event.products == pairs
    assert len(pairs) == facts(name)["pairs"]
    for pair in pairs:
        found = codec.table.find(pair["symbol"])
        assert found.unified == pair["symbol"]
        assert (found.price_scale, found.size_scale) == (
            pair["price_precision"],
            pair["qty_precision"],
        )
        assert Decimal(found.tick_size) == Decimal(str(pair["price_increment"]))
        assert Decimal(found.lot_size) == Decimal(str(pair["qty_increment"]))


def test_asset_pairs(records: Records, facts: Facts) -> None:
    """The pairs of REST are those of the built-in table, with every name."""
    name = "kraken_v2/rest_assetpairs_20260707.json"
    [record] = records(name)
    found = {pair.symbol: pair for pair in VENUE.parse_instruments(200, record.text)}
    assert len(found) == len(facts(name)["result_keys"])
    table = SymbolTable("kraken", VENUE.builtin())
    for key, pair in json.loads(record.text)["result"].items():
        symbol = table.find(key).symbol
        assert found[symbol] == table.find(symbol)
        assert {pair["altname"], pair["wsname"], key} - {symbol} == set(found[symbol].aliases)
        assert found[symbol].tick_size == pair["tick_size"]


def test_old_asset_pairs_agree_with_the_built_in_table(records: Records) -> None:
    """Of the built-in pairs that were listed in 2021, names and decimals are the same."""
    [record] = [record for record in records(V1) if record.kind == "http"]
    listed = {pair.symbol: pair for pair in VENUE.parse_instruments(200, record.text)}
    assert len(listed) > 250
    compared = [pair for pair in VENUE.builtin() if pair.symbol in listed]
    assert len(compared) > 40
    for pair in compared:
        old = listed[pair.symbol]
        assert (pair.price_scale, pair.size_scale) == (old.price_scale, old.size_scale)
        assert pair.aliases == old.aliases


def test_depth_by_rest(records: Records, facts: Facts) -> None:
    """A REST snapshot becomes a book of the same numbers; sizes come with three decimals only."""
    name = "kraken_v2/rest_depth_btc_20260707.json"
    [record] = records(name)
    codec, out = make_codec([]), Output()
    request = codec.poll_request(Want("book:25", "BTC/USD"))
    assert isinstance(request, RestRequest)
    assert codec.receive_rest(request, 200, record.text, 1, 2, out) is None
    [event] = out.events
    assert isinstance(event, BookSnapshot)
    [key] = facts(name)["result_keys"]
    result = json.loads(record.text)["result"][key]
    for side in ("bids", "asks"):
        texts = [(price, size) for price, size, _ in result[side]]
        assert getattr(event, side) == [(float(price), float(size)) for price, size in texts]
        exact = event.exact[side]
        assert [(str(price), str(size)) for price, size in exact] == texts
        assert all(size.as_tuple().exponent == -3 for _, size in exact)


def test_checksums_of_version_1(records: Records, facts: Facts) -> None:
    """The old protocol's checksum is the same function, with the decimals of its texts as scales.

    Its messages are arrays of texts: `[id, {"a": [...], "b": [...], "c": "crc"}, ..., name, pair]`.
    """
    known = facts(V1)
    books: dict[str, PlainBook] = {}
    equal: Counter[str] = Counter()
    for record in records(V1):
        if record.kind != "recv" or not record.text.startswith(b"["):
            continue
        message = json.loads(record.text)
        name, pair = message[-2:]
        if name != "book-1000":
            continue
        parts = [part for part in message[1:-2] if isinstance(part, dict)]
        if "as" in parts[0]:
            price, size, _ = parts[0]["as"][0]
            books[pair] = PlainBook(1000, *(len(text.partition(".")[2]) for text in (price, size)))
        book = books[pair]
        for part in parts:
            bids, asks = part.get("b", part.get("bs", ())), part.get("a", part.get("as", ()))
            book.apply([row[:2] for row in bids], [row[:2] for row in asks])
        checksum = next((part["c"] for part in parts if "c" in part), None)
        if checksum is not None:
            assert book_checksum(*book.top_units(10)) == int(checksum)
            equal[pair] += 1
    assert equal == {pair: about["checksums_equal"] for pair, about in known["pairs"].items()}
    for pair, about in known["pairs"].items():
        books[pair].assert_final(about["final"])


def test_decode_cost(records: Records, facts: Facts, timer: Timer) -> None:
    """Decoding costs what it may, by an order of magnitude on any machine; prints the figures."""
    name = SESSIONS[0]
    known = facts(name)
    codec = make_codec(wants_of(known))
    frames = [record.text for record in records(name) if record.kind == "recv"]
    for kind in ("book", "trade"):
        chosen = [frame for frame in frames if f'"{kind}","type":"update"'.encode() in frame]

        def decode(frame: bytes) -> None:
            codec.receive(frame, 1, 2, Output())

        cost_us = timer(decode, chosen)
        print(f"kraken {kind}: {cost_us:.2f} us over {len(chosen)} messages")
        assert cost_us < 30
