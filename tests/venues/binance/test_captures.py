"""Recorded sessions of Binance: everything is read, and it is what is known about them."""

import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from crossfeed.errors import DecodeError
from crossfeed.model.commands import RestRequest, Want
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    BookSnapshot,
    Candle,
    DepthDelta,
    MarketData,
    Quote,
    Trade,
)
from crossfeed.model.numbers import to_units
from crossfeed.model.output import Output
from crossfeed.model.sequencing import Verdict
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance import VENUE
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.binance.sequencing import (
    FUTURES_BOOK,
    SPOT_BOOK,
    FuturesBookRule,
    SpotBookRule,
)
from crossfeed.venues.symbols import SymbolTable

SPOT = (
    "btcusdt_20240808.hft.gz",
    "btc_eth_20260707.ndjson.gz",
    "four_pairs_20211012.cf3.jsonl.gz",
    "btc_eth_dot_20210404.cf2.txt.gz",
    "us_four_pairs_20211012.cf3.jsonl.gz",
    "btcusdt_small_deltas.jsonl",
)
FUTURES = (
    "binance_usdm/btcusdt_20240808.hft.gz",
    "binance_usdm/four_pairs_20210722.cf3.jsonl.gz",
    "binance_coinm/ethusd_perp_20240808.hft.gz",
)
CHANNELS = ("trade", "aggTrade", "ticker", "miniTicker", "kline_1m", "bookTicker", "depth@100ms")
KIND_OF = {
    Trade: "trade",
    AggTrade: "aggTrade",
    Candle: "kline",
    Quote: "bookTicker",
    DepthDelta: "depthUpdate",
}
NUMBERS = {
    "trade": {"price": "p", "quantity": "q"},
    "aggTrade": {"price": "p", "quantity": "q"},
    "bookTicker": {"bid_price": "b", "bid_quantity": "B", "ask_price": "a", "ask_quantity": "A"},
    "kline": {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
}
Records = Callable[[str], list[Any]]
Facts = Callable[[str], dict[str, Any]]


def codec_for(symbols: list[str]) -> BinanceCodec:
    """Return a codec that was asked for everything about some symbols."""
    codec = BinanceCodec(SymbolTable("binance", VENUE.builtin()), CodecOptions())
    codec.subscribe([Want(channel, symbol) for symbol in symbols for channel in CHANNELS], 0)
    return codec


def rest_request(url: str, symbol: str = "") -> RestRequest:
    """Return the request that a recorded answer belongs to (/api/v1 has been renamed since)."""
    parts = urlsplit(url)
    query = tuple(parse_qsl(parts.query))
    path = parts.path.replace("/v1/", "/v3/") or "/api/v3/depth"
    symbol = dict(query).get("symbol", symbol)
    return RestRequest(
        purpose="snapshot", path=path, query=query, symbol=symbol, channel="book", epoch=1
    )


def play(records: list[Any], symbols: list[str]) -> list[MarketData]:
    """Decode a session in the order of receipt, REST answers included."""
    codec, out = codec_for(symbols), Output()
    for record in sorted(records, key=lambda record: record.ts_ns):
        is_book = record.text.startswith(b'{"lastUpdateId"')
        if record.kind == "http" and "exchangeInfo" in record.place:
            codec.table.adopt(VENUE.parse_instruments(200, record.text))
            codec.subscribe(codec.asked(), 0)
        elif is_book:
            request = rest_request(record.place, symbols[0])
            following = codec.receive_rest(request, 200, record.text, record.ts_ns, 0, out)
            assert following is None
        elif record.kind == "recv":
            codec.receive(record.text, record.ts_ns, 0, out)
    assert out.commands == []
    return out.events


class Book:
    """A plain price-to-size book, kept by a venue's rule."""

    def __init__(self, rule: SpotBookRule | FuturesBookRule) -> None:
        self.rule = rule
        self.snapshot: BookSnapshot | None = None
        self.sequence = 0
        self.buffer: list[BookDelta] = []
        self.verdicts: Counter[Verdict] = Counter()
        self.first: BookDelta | None = None
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.order: dict[int, list[float]] = {}
        self.crossed = 0
        self.absent = 0
        self.tops: list[tuple[int, Any]] = []

    def load(self, snapshot: BookSnapshot) -> None:
        """Start from a snapshot and bring in what was buffered."""
        self.snapshot, self.bids, self.asks = snapshot, dict(snapshot.bids), dict(snapshot.asks)
        self.order = {-1: sorted(-price for price in self.bids), 1: sorted(self.asks)}
        for delta in self.buffer:
            self.take(delta)

    def take(self, delta: BookDelta) -> None:
        """Judge and apply one update, or buffer it."""
        if self.snapshot is None:
            self.buffer.append(delta)
            return
        if self.first is None:
            verdict = self.rule.bridge(self.snapshot, delta)
        else:
            verdict = self.rule.follow(self.sequence, delta)
        self.verdicts[verdict] += 1
        if verdict is not Verdict.APPLY:
            return
        self.first = self.first or delta
        self.sequence = delta.last
        for side, sign, levels in ((self.bids, -1, delta.bids), (self.asks, 1, delta.asks)):
            for price, size in levels:
                if size and price not in side:
                    insort(self.order[sign], sign * price)
                elif not size and side.pop(price, None) is None:
                    self.absent += 1
                elif not size:
                    del self.order[sign][bisect_left(self.order[sign], sign * price)]
                if size:
                    side[price] = size
        top = self.top()
        self.crossed += top[0][0] >= top[1][0]
        self.tops.append((delta.last, top))

    def top(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return best bid and ask with their sizes."""
        bid, ask = -self.order[-1][0], self.order[1][0]
        return (bid, self.bids[bid]), (ask, self.asks[ask])


def assert_book(book: Book, known: dict[str, Any], quotes: list[tuple[int, Any]]) -> None:
    """Compare a rebuilt book with what is known about it."""
    assert book.snapshot is not None
    assert book.first is not None
    assert book.snapshot.sequence == known["snapshot_lastUpdateId"]
    levels = [len(book.snapshot.bids), len(book.snapshot.asks)]
    assert levels == known["snapshot_levels"]
    applied = known["first_applied"]
    assert (book.first.first, book.first.last) == (applied["U"], applied["u"])
    assert book.first.previous == (applied["pu"] or 0)
    assert book.verdicts[Verdict.OLD] == known["diffs_dropped_old"]
    assert book.verdicts[Verdict.APPLY] == known["diffs_applied"]
    assert book.verdicts[Verdict.GAP] == known["gaps_while_applying"] == 0
    assert book.verdicts[Verdict.EARLY] == 0
    assert book.crossed == known["crossed_after_diff"]
    assert book.absent == known["deletes_of_absent_level"]
    final = known["final"]
    expected = [tuple(map(float, final[side])) for side in ("best_bid", "best_ask")]
    assert list(book.top()) == expected
    assert [len(book.bids), len(book.asks)] == [final["bid_levels"], final["ask_levels"]]
    compared, at = 0, 0
    quotes.sort(key=lambda quote: quote[0])
    for sequence, top in book.tops:
        while at < len(quotes) and quotes[at][0] <= sequence:
            at += 1
        if at:
            compared += 1
            assert quotes[at - 1][1] == top
    assert compared >= known["bookticker_compared"]


@pytest.mark.trust
@pytest.mark.parametrize("name", SPOT)
def test_session_is_read(name: str, records: Records, facts: Facts) -> None:
    """Every message is accepted: the counts, ids and rebuilt books are the known ones."""
    known = facts(f"binance_spot/{name}")
    symbols = known["symbols"]
    entries = list(records(f"binance_spot/{name}"))
    if name == "btcusdt_small_deltas.jsonl":
        entries = [*records("binance_spot/btcusdt_small_snapshot.json"), *entries]
    events = play(entries, list(symbols))
    counts = Counter(KIND_OF[type(e)] for e in events if not isinstance(e, BookSnapshot))
    assert counts == {k: v for k, v in known["counts"].items() if k in set(KIND_OF.values())}
    for symbol, expected in symbols.items():
        own = [event for event in events if event.symbol == symbol]
        assert all(event.trust is Trust.SOUND for event in own)
        trades = [event.trade_id for event in own if isinstance(event, Trade | AggTrade)]
        assert len(trades) == expected.get("trades", 0)
        if trades:
            assert [trades[0], trades[-1]] == expected["trade_ids"]
            assert trades == list(range(trades[0], trades[-1] + 1))
        diffs = [event for event in own if isinstance(event, DepthDelta)]
        assert len(diffs) == expected["diffs"]
        assert (diffs[0].first, diffs[-1].last) == (expected["first_U"], expected["last_u"])
        verdicts = {SPOT_BOOK.follow(a.last, b) for a, b in pairwise(diffs)}
        assert verdicts <= {Verdict.APPLY}
        if "snapshot_lastUpdateId" in expected:
            book = Book(SPOT_BOOK)
            for event in own:
                if isinstance(event, BookSnapshot):
                    book.load(event)
                elif isinstance(event, DepthDelta):
                    book.take(event)
            quotes = [
                (e.update_id, ((e.bid_price, e.bid_quantity), (e.ask_price, e.ask_quantity)))
                for e in own
                if isinstance(e, Quote)
            ]
            assert_book(book, expected, quotes)


@pytest.mark.parametrize("name", SPOT)
def test_session_keeps_every_digit(name: str, records: Records, facts: Facts) -> None:
    """`exact` is the text; floats count in integers exactly at the venue's 8 decimals."""
    symbols = list(facts(f"binance_spot/{name}")["symbols"])
    entries = [r for r in records(f"binance_spot/{name}") if r.kind == "recv"]
    events = [e for e in play(entries, symbols) if not isinstance(e, BookSnapshot)]
    for event in events[:: max(1, len(events) // 1500)]:
        message = json.loads(event.raw or b"")
        message = message.get("data", message)
        assert event.raw_message == message
        if isinstance(event, DepthDelta):
            for side, key in (("bids", "b"), ("asks", "a")):
                rows = [[f"{value:f}" for value in row] for row in event.exact[side]]
                assert rows == message[key]
                for row, level in zip(message[key], getattr(event, side), strict=True):
                    assert [to_units(value, 8) for value in level] == [
                        int(Decimal(text) * 10**8) for text in row
                    ]
            continue
        kind = KIND_OF[type(event)]
        texts = message.get("k", message)
        for attribute, key in NUMBERS[kind].items():
            assert f"{event.exact[attribute]:f}" == texts[key]
            assert getattr(event, attribute) == float(texts[key])
        if kind == "trade":
            assert event.ts_event_ns == message["T"] * 1_000_000
        if kind == "bookTicker":
            assert event.ts_event_ns == 0
            assert event.marks is Mark.RECEIVE_TIME
            assert event.timestamp.timestamp() == pytest.approx(event.ts_recv_ns / 1e9)


@pytest.mark.parametrize("name", ["rest_depth_btc_20260707.json", "btcusdt_small_snapshot.json"])
def test_rest_book_is_read(name: str, records: Records, facts: Facts) -> None:
    """A recorded REST book becomes a snapshot with all its levels."""
    known = facts(f"binance_spot/{name}")
    body = records(f"binance_spot/{name}")[0].text
    out = Output()
    codec_for(["BTCUSDT"]).receive_rest(rest_request("", "BTCUSDT"), 200, body, 7, 8, out)
    (event,) = out.events
    assert isinstance(event, BookSnapshot)
    assert event.sequence == known["lastUpdateId"]
    assert [len(event.bids), len(event.asks)] == known["levels"]
    exact = [[str(value) for value in event.exact[side][0]] for side in ("bids", "asks")]
    assert exact == known["top"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("four_pairs_20211012.cf3.jsonl.gz", {"BTCUSDT": (2, 5), "ETHUSDT": (2, 4)}),
        ("us_four_pairs_20211012.cf3.jsonl.gz", {"BTCUSDT": (2, 6), "ETHUSD": (2, 5)}),
    ],
)
def test_recorded_metadata(
    name: str, expected: dict[str, tuple[int, int]], records: Records
) -> None:
    """Recorded metadata give instruments that are found by both names, each by its own."""
    body = next(r.text for r in records(f"binance_spot/{name}") if "exchangeInfo" in r.place)
    instruments = VENUE.parse_instruments(200, body)
    assert len(instruments) == len(json.loads(body)["symbols"])
    table = SymbolTable("binance", instruments)
    for instrument in instruments:
        assert table.find(instrument.symbol) == table.find(instrument.unified) == instrument
        assert instrument.symbol == instrument.base + instrument.quote
        assert instrument.tick_size
        assert instrument.lot_size
        assert instrument.price_scale <= 8
    for symbol, scales in expected.items():
        found = table.find(symbol)
        assert (found.price_scale, found.size_scale) == scales
    for coarse in VENUE.builtin():
        listed = table.get(coarse.symbol) or coarse
        assert (coarse.base, coarse.quote) == (listed.base, listed.quote)
        assert coarse.price_scale >= listed.price_scale
        assert coarse.size_scale >= listed.size_scale


def futures_books(entries: list[Any]) -> Iterator[tuple[str, Book, list[tuple[int, Any]]]]:
    """Rebuild the books of a futures session from plain JSON: the codec speaks spot."""
    books: dict[str, Book] = {}
    quotes: dict[str, list[tuple[int, Any]]] = {}
    for record in sorted(entries, key=lambda record: record.ts_ns):
        if record.kind not in {"recv", "http"} or "exchangeInfo" in record.place:
            continue
        message = json.loads(record.text)
        message = message.get("data", message)
        query = dict(parse_qsl(urlsplit(record.place).query))
        symbol = message.get("s") or query.get("symbol") or next(iter(books))
        book = books.setdefault(symbol, Book(FUTURES_BOOK))
        if "lastUpdateId" in message:
            sides = [[(float(p), float(q)) for p, q in message[k]] for k in ("bids", "asks")]
            book.load(BookSnapshot(*common(symbol), *sides, message["lastUpdateId"], None))
        elif message.get("e") == "depthUpdate":
            sides = [[(float(p), float(q)) for p, q in message[key]] for key in ("b", "a")]
            numbers = (message["U"], message["u"], message["pu"])
            book.take(DepthDelta(*common(symbol), *sides, *numbers, None))
        elif message.get("e") == "bookTicker":
            top = tuple((float(message[p]), float(message[q])) for p, q in ("bB", "aA"))
            quotes.setdefault(symbol, []).append((message["u"], top))
    for symbol, book in books.items():
        yield symbol, book, quotes.get(symbol, [])


def common(symbol: str) -> tuple[Any, ...]:
    """Return the attributes that all events share."""
    return ("x", symbol, "", 0, 0, 1, 1, Mark.NONE, Integrity.SEQUENCED, Trust.SOUND, None, 0)


@pytest.mark.trust
@pytest.mark.parametrize("name", FUTURES)
def test_futures_rule(name: str, records: Records, facts: Facts) -> None:
    """USD-M and COIN-M books chain by `pu` without a gap and equal the recorded best quotes."""
    known = facts(name)["symbols"]
    rebuilt = 0
    for symbol, book, quotes in futures_books(records(name)):
        if "snapshot_lastUpdateId" in known[symbol]:
            assert_book(book, known[symbol], quotes)
            rebuilt += 1
    assert rebuilt == sum("snapshot_lastUpdateId" in entry for entry in known.values())


# What the singles hold of streams and products that are not spoken: partial depth, all-market and
# option streams, REST bodies, and the tickers of futures, which have no best bid and offer.
FOREIGN = (
    "depth20", "depthSnapshot", "!ticker@arr", "TRADE_ALL", "TICKER_ALL", '"!bookTicker"',
    "openInterest", '{"lastUpdateId"', "btcusdt_220624@ticker", '"c":"1782.02"',
)  # fmt: skip


def test_single_messages(records: Records) -> None:
    """Published single messages are read, except those of other products and streams."""
    texts = [r.text.decode() for r in records("binance_spot/singles.jsonl")]
    symbols = sorted({s for text in texts for s in symbols_in(json.loads(text))})
    codec = codec_for(symbols)
    kinds: Counter[str] = Counter()
    for text in texts:
        out = Output()
        is_ours = not any(word in text for word in FOREIGN)
        with nullcontext() if is_ours else pytest.raises(DecodeError) as caught:
            codec.receive(text.encode(), 1, 1, out)
        if caught is not None:
            kinds[caught.value.reason] += 1
        kinds.update(type(event).__name__ for event in out.events)
    assert sum(kinds.values()) == len(texts)
    assert kinds["Trade"] == 2
    assert kinds["AggTrade"] == 4
    assert kinds["Candle"] == 4
    assert kinds["DepthDelta"] == 5


def symbols_in(message: dict[str, Any]) -> Iterator[str]:
    """Yield the symbols that a message names."""
    inner = message.get("data", message)
    for entry in inner if isinstance(inner, list) else [inner]:
        if isinstance(entry.get("s"), str):
            yield entry["s"]
