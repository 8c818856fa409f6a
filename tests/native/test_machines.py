"""The machines over compiled state are the machines; what is declared for C is what Python does."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.books.sync import BookSync
from crossfeed.cli.bench.tapes import Feed, make_tape
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.plausibility import PRICE_READERS
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.events import (
    AggTrade,
    BookDelta,
    Candle,
    MarketData,
    MiniTicker,
    Quote,
    Ticker,
    Trade,
)
from crossfeed.model.output import Output
from crossfeed.model.sequencing import Follows, Verdict
from crossfeed.model.status import Stream
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.runtime import core_choice
from crossfeed.runtime.gate_chain import chain_of
from crossfeed.runtime.kinds import CLASSES
from crossfeed.runtime.native_core import NativeCore, make_core
from crossfeed.runtime.native_gates import PRICE_FIELDS, machines
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance.sequencing import FUTURES_BOOK, SPOT_BOOK
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE
from crossfeed.venues.kraken.sequencing import KrakenBookRule
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

HEAD = ("binance", "BTCUSDT", "BTC/USDT", 5, 0, 7, 7, Mark.NONE, Integrity.SEQUENCED, Trust.SOUND)
NUMBERS = st.integers(0, 40)


@pytest.fixture
def compiled(native: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let new streams be compiled; return the compiled modules."""
    monkeypatch.delenv("CROSSFEED_PURE", raising=False)
    return native


def trade(number: int, price: float = 100.0) -> Trade:
    """Make one trade."""
    return Trade(*HEAD, None, 0, price, 1.0, Side.BUY, number)


def sample(kind: type[MarketData]) -> MarketData:
    """Make an event whose float fields are all different."""
    names = kind.__struct_fields__[12:]
    return kind(*HEAD, None, 0, *(1.5 + number for number in range(len(names))))


def test_prices_are_read_alike():
    assert set(PRICE_FIELDS) == set(PRICE_READERS) - {Candle}
    for kind in (Trade, AggTrade, Ticker, MiniTicker, Quote):
        event = sample(kind)
        values = [getattr(event, name) for name in PRICE_FIELDS[kind]]
        assert PRICE_READERS[kind](event) == sum(values) / len(values)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_what_a_rule_declares_is_what_it_does(sequence: int, first: int, more: int, before: int):
    delta = BookDelta(*HEAD, None, 0, [], [], first, first + more, before, None)
    ordinary = {
        Follows.NUMBER: first == sequence + 1,
        Follows.NAMED: before == sequence,
        Follows.ANY: True,
    }
    for rule in (SPOT_BOOK, FUTURES_BOOK, LEVEL2_RULE, KrakenBookRule(10)):
        if ordinary[rule.follows]:  # type: ignore[attr-defined]
            assert rule.follow(sequence, delta) is Verdict.APPLY


def numbered() -> tuple[Any, Output]:
    """Make a compiled gate of trades that stands at number 5."""
    trust = StreamTrust(Stream("binance", "trade", "BTCUSDT"), GapLedger())
    gate, out = machines().numbered(trust), Output()
    gate.on_open(1, 1, out)
    gate.admit(trade(4), out)
    return gate, out


def test_numbers_that_no_64_bits_hold_go_the_pure_way(compiled: Any):
    gate, out = numbered()
    assert isinstance(gate, compiled.states.IdState)
    assert gate._expected == gate._next == 5
    gate.admit(trade(2**70), out)
    assert gate.next_number == 2**70 + 1
    gate.trust.report("chain", Trust.SOUND, "repaired", 2, 2, out)
    gate.admit(trade(2**70 + 1), out)
    assert gate.next_number == 2**70 + 2
    assert gate.last_event.trade_id == 2**70 + 1


def core_of(venue: str, symbol: str, kinds: tuple[str, ...], **settings: Any) -> tuple[Any, Any]:
    """Make a compiled core and its streams."""
    found = find_venue(venue)
    table = SymbolTable(venue, found.builtin())
    codec = found.make_codec(table, CodecOptions(**settings))
    streams = StreamSet(found, GapLedger(), FeedSettings())
    wants = []
    for kind in kinds:
        want = found.want(kind, symbol, CodecOptions())
        streams.open(want, kind, table.resolve(symbol, quotes=()))
        wants.append(want)
    codec.subscribe(wants, 0)
    streams.line_up("line", wants, 1, 1, Output())
    return make_core(codec, streams, "line"), streams


@pytest.mark.parametrize(
    ("venue", "symbol", "kind", "expected"),
    [
        ("binance", "BTCUSDT", "trade", "NUMBERED"),
        ("binance", "BTCUSDT", "agg_trade", "NUMBERED"),
        ("binance", "BTCUSDT", "book_ticker", "LATEST"),
        ("binance", "BTCUSDT", "mini_ticker", "LATEST"),
        ("binance", "BTCUSDT", "status", "OTHER"),
        ("coinbase", "BTC-USD", "trade", "NUMBERED"),
        ("coinbase", "BTC-USD", "ticker", "LATEST"),
        ("coinbase", "BTC-USD", "book", "UPDATES"),
        ("coinbase_advanced", "BTC-USD", "book", "UPDATES"),
        ("binance", "BTCUSDT", "book", "UPDATES"),
        ("kraken", "BTC/USD", "book", "UPDATES"),
        ("kraken", "BTC/USD", "trade", "NUMBERED"),
        ("kraken", "BTC/USD", "book_ticker", "LATEST"),
        ("coinbase_advanced", "BTC-USD", "trade", "NUMBERED"),
    ],
)
def test_ordinary_streams_are_served(
    compiled: Any, venue: str, symbol: str, kind: str, expected: str
):
    if kind == "status":
        core, _ = core_of(venue, symbol, ("trade",))
        gates = [gate for key, gate in core.gates.items() if key[1] == ""]
        assert gates
        assert {chain_of(compiled, gate, Trade)["kind"] for gate in gates} == {compiled.cells.OTHER}
        return
    core, streams = core_of(venue, symbol, (kind,))
    for is_told in (False, True):
        streams.set_wanted(deltas=False, books=is_told)
        classes = {k for k, s in core.gates if s == symbol and k in {BookDelta, *CLASSES.values()}}
        assert classes
        for each in classes:
            found = chain_of(compiled, core.gates[each, symbol], each)
            assert found["kind"] == getattr(compiled.cells, expected), each
            assert (found["told"] is not None) == (is_told and kind == "book")


@pytest.mark.parametrize(
    ("kinds", "ordinary"), [(("book_ticker",), 9), (("book_ticker", "ticker"), 0)]
)
@pytest.mark.usefixtures("compiled")
def test_quotes_without_a_number_are_ordinary(kinds: tuple[str, ...], ordinary: int):
    """All but the first; none while the codec makes a ticker of them as well."""
    feed = Feed(venue="kraken", symbols=("BTC/USD",), shares={"quote": 1.0}, messages=10)
    core, _ = core_of("kraken", "BTC/USD", kinds)
    for number, (_, frame) in enumerate(make_tape(feed).frames):
        core.feed(frame, number, number)
    assert core._step.ordinary == ordinary


def test_an_update_is_made_once_and_stays(compiled: Any):
    feed = Feed(venue="coinbase", symbols=("BTC-USD",), shares={"depth": 1.0}, messages=4)
    tape = make_tape(feed)
    core, streams = core_of("coinbase", "BTC-USD", ("book",))
    frames = [frame for first in tape.first.values() for frame in first]
    frames += [frame for _, frame in tape.frames]
    for number, frame in enumerate(frames):
        core.feed(frame, 10 + number, 20 + number)
    (sync,) = streams.book_flows()[0].syncs()
    assert isinstance(sync, compiled.books.BookState)
    assert isinstance(sync, BookSync)
    core.codec.symbols.clear()  # asked for no more: what was taken in stays what it was
    event = sync.last_event
    assert event.raw is frames[-1]
    assert (event.symbol, event.unified, event.ts_mono_ns) == (
        "BTC-USD",
        "BTC/USD",
        19 + len(frames),
    )
    assert len(event.bids) + len(event.asks) == feed.changes
    assert sync.last_event is event
    assert sync.last_applied is event


def test_frames_that_are_not_kept_make_events_without_one(compiled: Any):
    assert compiled is not None
    feed = Feed(venue="coinbase", symbols=("BTC-USD",), shares={"depth": 1.0}, messages=2)
    tape = make_tape(feed)
    core, streams = core_of("coinbase", "BTC-USD", ("book",), keep_raw=False)
    frames = [frame for first in tape.first.values() for frame in first]
    for frame in [*frames, *(frame for _, frame in tape.frames)]:
        core.feed(frame, 1, 2)
    (sync,) = streams.book_flows()[0].syncs()
    assert core._step.ordinary == 2
    assert sync.last_event.raw is None


@pytest.mark.parametrize("name", core_choice.CORE_MODULES)
@pytest.mark.usefixtures("compiled")
def test_without_one_of_its_modules_all_is_pure(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, f"crossfeed.native.{name}", None)
    core_choice._load.cache_clear()
    try:
        core, streams = core_of("binance", "BTCUSDT", ("trade", "book"))
        assert not isinstance(core, NativeCore)
        assert type(streams.counters).__name__ == "Counters"
        assert type(core.gates) is dict
    finally:
        core_choice._load.cache_clear()


@pytest.mark.usefixtures("compiled")
def test_streams_opened_pure_stay_pure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CROSSFEED_PURE", "1")
    pure, streams = core_of("binance", "BTCUSDT", ("trade",))
    monkeypatch.delenv("CROSSFEED_PURE")
    assert type(make_core(pure.codec, streams, "line")) is type(pure)
