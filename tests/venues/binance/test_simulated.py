"""The codec and the simulated venue, which share no code, understand each other."""

from urllib.parse import urlencode

import pytest

from crossfeed.errors import VenueError
from crossfeed.model.commands import Acknowledged, Backfill, RestRequest, Want
from crossfeed.model.events import (
    AggTrade,
    BookSnapshot,
    Candle,
    DepthDelta,
    MarketData,
    MiniTicker,
    Quote,
    Ticker,
    Trade,
)
from crossfeed.model.output import Output
from crossfeed.model.sequencing import Verdict
from crossfeed.model.status import Stream
from crossfeed.simulator.memory import MemoryLink, MemorySimulator
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance import VENUE
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.binance.profile import INTERVALS
from crossfeed.venues.binance.sequencing import SPOT_BOOK
from crossfeed.venues.symbols import SymbolTable

S = 1_000_000_000
WORDS = ("trade", "aggTrade", "ticker", "miniTicker", "bookTicker", "depth@100ms")
KLINES = tuple(f"kline_{interval}" for interval in INTERVALS)
CLASSES = {Trade, AggTrade, Ticker, MiniTicker, Quote, DepthDelta, Candle}
SYMBOLS = ("BTCUSDT", "ETHUSDT")
WANTS = [Want(word, symbol) for symbol in SYMBOLS for word in (*WORDS, *KLINES)]


@pytest.fixture
def room() -> MemorySimulator:
    """Return a venue in virtual time."""
    return MemorySimulator(venues=("binance",), rate_per_s=200.0, seed=5)


def fetch(room: MemorySimulator, codec: BinanceCodec, request: RestRequest) -> list[MarketData]:
    """Make a request and all pages that follow; return the events."""
    out = Output()
    following: RestRequest | None = request
    while following is not None:
        path = f"{following.path}?{urlencode(following.query)}"
        answer = room.rest("binance", path)
        now_ns = room.now_ns
        following = codec.receive_rest(following, answer.status, answer.body, now_ns, 1, out)
    return out.events


def listen(
    room: MemorySimulator, codec: BinanceCodec, link: MemoryLink, seconds: int
) -> list[MarketData]:
    """Let time pass and decode what comes; every frame is read."""
    events: list[MarketData] = []
    for _ in range(seconds * 10):
        room.advance(S // 10)
        for frame in link.receive():
            out = Output()
            codec.receive(frame, room.now_ns, room.now_ns, out)
            assert out.commands == [] or isinstance(out.commands[0], Acknowledged)
            events += out.events
    return events


def open_codec(room: MemorySimulator, unit: str = "MILLISECOND") -> BinanceCodec:
    """Return a codec that has learnt the venue's metadata."""
    request = VENUE.instruments_request()
    answer = room.rest("binance", request.path)
    table = SymbolTable("binance", VENUE.parse_instruments(answer.status, answer.body))
    return BinanceCodec(table, CodecOptions(parameters={"time_unit": unit}))


def subscribe(
    room: MemorySimulator, codec: BinanceCodec, link: MemoryLink, wants: list[Want]
) -> None:
    """Send the subscriptions, each message 300 ms after the last."""
    for frame in codec.subscribe(wants, room.now_ns):
        room.advance(S // 3)
        link.send(frame)


@pytest.mark.parametrize(
    ("unit", "path"),
    [("MILLISECOND", None), ("MICROSECOND", None), ("MILLISECOND", "/ws")],
    ids=["ms", "us", "bare"],
)
def test_every_stream_is_understood(room: MemorySimulator, unit: str, path: str | None) -> None:
    """All channels in both spellings and units: ids chain, bars have borders, times are now."""
    codec = open_codec(room, unit)
    link = room.connect("binance", path or codec.url_path(WANTS))
    subscribe(room, codec, link, WANTS)
    start_ns = room.now_ns
    events = listen(room, codec, link, 6)
    assert {(type(event), event.symbol) for event in events} == {
        (kind, symbol) for kind in CLASSES for symbol in SYMBOLS
    }
    for event in events:
        assert event.unified == event.symbol.replace("USDT", "/USDT")
        if event.ts_event_ns:
            assert start_ns - S <= event.ts_event_ns <= event.ts_recv_ns
    for symbol in SYMBOLS:
        for kind in (Trade, AggTrade):
            ids = [e.trade_id for e in events if isinstance(e, kind) and e.symbol == symbol]
            assert ids == list(range(ids[0], ids[0] + len(ids)))
    bars = {bar.interval: bar for bar in events if isinstance(bar, Candle)}
    assert set(bars) == set(INTERVALS)
    for bar in bars.values():
        assert bar.open_time_ns <= room.now_ns
        assert (bar.close_time_ns - bar.open_time_ns) % S == 0
        assert bar.open_time_ns % S == bar.close_time_ns % S == 0
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
    assert all(e.bid_price < e.ask_price for e in events if isinstance(e, Quote))


def test_book_joins_and_equals_the_venue(room: MemorySimulator) -> None:
    """Diffs over a snapshot give the venue's own book at the same number, level by level."""
    codec = open_codec(room)
    want = VENUE.want("book", "BTCUSDT", CodecOptions())
    link = room.connect("binance", codec.url_path([want]))
    subscribe(room, codec, link, [want])
    buffered = listen(room, codec, link, 1)
    (start,) = fetch(room, codec, codec.snapshot_request("BTCUSDT", 1, 0))
    assert isinstance(start, BookSnapshot)
    sequence, joined = start.sequence, False
    sides = (dict(start.bids), dict(start.asks))
    books: dict[int, tuple[dict[float, float], dict[float, float]]] = {}
    truths: list[BookSnapshot] = []
    for second in range(6):
        for event in buffered if second == 0 else listen(room, codec, link, 1):
            assert isinstance(event, DepthDelta)
            verdict = (
                SPOT_BOOK.follow(sequence, event) if joined else SPOT_BOOK.bridge(start, event)
            )
            assert verdict in {Verdict.OLD, Verdict.APPLY}
            if verdict is Verdict.APPLY:
                joined, sequence = True, event.last
                for side, levels in zip(sides, (event.bids, event.asks), strict=True):
                    side.update(levels)
                    for price in [price for price, size in levels if not size]:
                        del side[price]
                books[sequence] = (dict(sides[0]), dict(sides[1]))
        found = fetch(room, codec, codec.snapshot_request("BTCUSDT", 1, 1))
        truths += [event for event in found if isinstance(event, BookSnapshot)]
    compared = [truth for truth in truths if truth.sequence in books]
    assert compared
    for truth in compared:
        assert books[truth.sequence] == (dict(truth.bids), dict(truth.asks))


@pytest.mark.parametrize("channel", ["trade", "aggTrade"])
def test_backfill_brings_what_was_live(room: MemorySimulator, channel: str) -> None:
    """What is fetched for a hole equals what the stream had delivered there."""
    codec = open_codec(room)
    want = Want(channel, "BTCUSDT")
    link = room.connect("binance", codec.url_path([want]))
    subscribe(room, codec, link, [want])
    live = [e for e in listen(room, codec, link, 10) if isinstance(e, Trade | AggTrade)]
    hole = live[3:-3]
    kind = "trade" if channel == "trade" else "agg_trade"
    stream = Stream("binance", kind, "BTCUSDT")
    request = codec.backfill_request(Backfill(stream, hole[0].trade_id, hole[-1].trade_id, 1))
    assert request is not None
    found = [e for e in fetch(room, codec, request) if isinstance(e, Trade | AggTrade)]
    assert len(found) == len(hole) > 10
    for event, known in zip(found, hole, strict=True):
        assert type(event) is type(known)
        assert dict(event.exact) == dict(known.exact)
        for name in ("trade_id", "price", "quantity", "side", "ts_event_ns", "symbol", "unified"):
            assert getattr(event, name) == getattr(known, name)


@pytest.mark.parametrize("word", [word for word in (*WORDS, "kline_1m") if "depth" not in word])
def test_polls_stand_in_for_streams(room: MemorySimulator, word: str) -> None:
    """A poll yields the same class of events as the stream it stands in for."""
    codec = open_codec(room)
    room.advance(5 * S)
    request = codec.poll_request(Want(word, "BTCUSDT"))
    assert request is not None
    events = fetch(room, codec, request)
    assert events
    assert {type(event) for event in events} < CLASSES
    assert {event.source for event in events} == {"rest"}
    assert {event.unified for event in events} == {"BTC/USDT"}


@pytest.mark.parametrize("kind", ["depth", "trade"])
def test_unknown_symbol_is_refused_by_the_venue(room: MemorySimulator, kind: str) -> None:
    """The venue's own refusal arrives as an error with its code."""
    codec = open_codec(room)
    request = codec.snapshot_request("NOSUCH", 1, 0)
    if kind == "trade":
        polled = codec.poll_request(Want("trade", "NOSUCH"))
        assert polled is not None
        request = polled
    with pytest.raises(VenueError, match=r"-1121.*Invalid symbol"):
        fetch(room, codec, request)
