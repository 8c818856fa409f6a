"""What the engine accepts, the reference accepts with equal events."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Frames = Callable[[Path, str], list[bytes]]

MUTANTS = int(os.environ.get("CROSSFEED_MUTANTS", "6000"))
"""Damaged frames for each venue; a long run sets more."""

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":12345,'
    b'"p":"63517.85000000","q":"0.00100000","T":1672515782136,"m":true,"M":true}}'
)
DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT",'
    b'"U":157,"u":160,"b":[["0.0024","10"],["0.0023","0.00000000"]],"a":[]}}'
)


@pytest.fixture
def helpers(request: pytest.FixtureRequest) -> Any:
    """Return the functions of this folder's conftest."""
    return next(
        plugin
        for name, plugin in request.config.pluginmanager.list_name_plugin()
        if str(name).endswith("tests/native/conftest.py")
    )


def test_samples_are_equal(pair: Any, helpers: Any):
    frames = helpers.sample_frames(pair.name)
    pair.know(frames)
    assert sum(pair.judge(frame) for frame in frames) > 0


@pytest.mark.timeout(120)
def test_recordings_are_equal(pair: Any, helpers: Any, captures: Path):
    frames = helpers.recorded_frames(captures, pair.name)
    pair.know(frames)
    accepted = sum(pair.judge(frame) for frame in frames)
    assert accepted > len(frames) * 0.9, f"{accepted} of {len(frames)}"


@pytest.fixture
def binance(native: Any, helpers: Any) -> Any:
    """Return Binance's decoders, one symbol asked for."""
    pair = helpers.Pair("binance", native.engine.Engine)
    pair.know([TRADE])
    return pair


@pytest.mark.parametrize("frame", [TRADE, DEPTH, b"  " + TRADE + b" \r\n"])
def test_plain_messages_are_accepted(binance: Any, frame: bytes):
    assert binance.judge(frame)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"t":12345', b'"t":12345,"t":12346'),
        (b'"t":12345', b'"t":012345'),
        (b'"t":12345', b'"t":-1'),
        (b'"t":12345', b'"t":12345.0'),
        (b'"t":12345,', b""),
        (b'"63517.85000000"', b'"nan"'),
        (b'"63517.85000000"', b'"-63517.85"'),
        (b'"63517.85000000"', b'"0"'),
        (b'"63517.85000000"', b'"6.3e4"'),
        (b'"63517.85000000"', b'"63517."'),
        (b'"63517.85000000"', b'"\\u0036"'),
        (b'"m":true', b'"m":1'),
        (b'"m":true', b'"m":"true"'),
        (b'"M":true', b'"M":True'),
        (b'"M":true', b'"M":[1,]'),
        (b'"s":"BTCUSDT"', b'"s":"ETHUSDT"'),
        (b'"E":1672515782136', b'"E":1672515782'),
        (b"}}", b"}"),
        (b"}}", b"}}x"),
        (b"}}", b"}}{}"),
    ],
)
def test_odd_messages_are_left_to_the_reference(binance: Any, old: bytes, new: bytes):
    frame = TRADE.replace(old, new)
    assert frame != TRADE
    assert not binance.judge(frame)
    assert binance.engine.code > 0


def test_key_order_does_not_matter(binance: Any):
    inner = (
        b'{"M":null,"m":false,"T":1672515782136,"x":{"y":[1,"]",{}]},"q":"1","p":"2","t":5,'
        b'"s":"BTCUSDT","E":1672515782136}'
    )
    assert binance.judge(b'{"stream":"btcusdt@trade","data":' + inner + b"}")
    assert binance.judge(TRADE)
    assert binance.judge(b'{"stream":"btcusdt@trade","data":' + inner + b"}")


def test_symbols_are_read_live(binance: Any):
    assert binance.judge(TRADE)
    known = binance.symbols.pop("BTCUSDT")
    assert not binance.judge(TRADE)
    binance.symbols["BTCUSDT"] = (known[0], "other")
    (event,) = binance.engine.decode(TRADE, 1, 2)
    assert event.unified == "other"


def test_raw_is_the_frame_itself_or_nothing(binance: Any, native: Any):
    (event,) = binance.engine.decode(TRADE, 1, 2)
    assert event.raw is TRADE
    routes = binance.pure._routes
    bare = native.engine.Engine(binance.spec, binance.symbols, routes.guess, keep_raw=False)
    (event,) = bare.decode(TRADE, 1, 2)
    assert event.raw is None


def test_deep_nesting_is_declined(binance: Any):
    for depth in (63, 64, 65, 5000):
        deep = b"[" * depth + b"]" * depth
        assert binance.judge(TRADE.replace(b'"M":true', b'"M":' + deep)) is (depth <= 64)


QUOTE = (
    b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":64010.1,"bid_qty":1.25,'
    b'"ask":64010.2,"ask_qty":0.7,"last":64009.9,"volume":1500.1,"vwap":63900.1,"low":63000.0,'
    b'"high":65100.5,"change":-120.3,"change_pct":-0.19,"timestamp":"2026-03-01T12:26:30.524394Z"}]}'
)


@pytest.fixture
def kraken(native: Any, helpers: Any) -> Any:
    """Return Kraken's decoders: of its tickers some need more than tables can say."""
    pair = helpers.Pair("kraken", native.engine.Engine)
    pair.know([QUOTE])
    return pair


def test_refined_messages_are_read_where_they_are_plain(kraken: Any):
    assert kraken.judge(QUOTE)
    kraken.plain.clear()
    assert not kraken.judge(QUOTE)
    kraken.plain.add("BTC/USD")
    assert kraken.judge(QUOTE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"bid":64010.1', b'"bid":0.0'),
        (b'"ask":64010.2', b'"ask":0'),
        (b',"timestamp":"2026-03-01T12:26:30.524394Z"', b""),
        (b'"2026-03-01T12:26:30.524394Z"', b"null"),
        (b'"2026-03-01T12:26:30.524394Z"', b'"0001-01-01T00:00:00Z"'),
        (b'"last":64009.9', b'"last":-1.0'),
        (b'"last":64009.9', b'"last":null'),
        (b'"last":64009.9,', b""),
        (b'"change":-120.3', b'"change":1e999'),
    ],
)
def test_what_is_refined_is_left_to_the_codec(kraken: Any, old: bytes, new: bytes):
    frame = QUOTE.replace(old, new)
    assert frame != QUOTE
    assert not kraken.judge(frame)


def test_events_of_a_message_go_out_in_their_order(native: Any, helpers: Any):
    trade = (
        b'{"product_id":"BTC-USD","trade_id":"%d","price":"1","size":"1",'
        b'"time":"2026-08-09T21:05:48.1Z","side":"SELL"}'
    )
    frame = (
        b'{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.2Z","sequence_num":9,'
        b'"events":[{"type":"update","trades":[%s]}]}'
    ) % b",".join(trade % number for number in (12, 13, 11))
    pair = helpers.Pair("coinbase_advanced", native.engine.Engine)
    pair.know([frame])
    assert pair.judge(frame)
    told = [(event.trade_id, event.raw_index) for event in pair.engine.decode(frame, 1, 2)]
    assert told == [(11, 2), (12, 0), (13, 1)]


def test_every_cut_is_declined(binance: Any):
    for frame in (TRADE, DEPTH):
        assert not any(binance.judge(frame[:size]) for size in range(len(frame)))


def test_many_streams_and_symbols_are_remembered(binance: Any):
    for number in range(5000):
        name = f"S{number}USDT"
        binance.symbols[name] = (name, name)
        frame = TRADE.replace(b"BTCUSDT", name.encode()).replace(b"btcusdt", name.lower().encode())
        assert binance.judge(frame) or number > 2900


@pytest.mark.timeout(3600)
def test_mutants_are_accepted_only_if_equal(pair: Any, helpers: Any, captures: Path):
    source = random.Random(20261122)
    frames = helpers.sample_frames(pair.name)
    recorded = [f for f in helpers.recorded_frames(captures, pair.name) if len(f) < 3000]
    frames += source.sample(recorded, min(len(recorded), 400))
    pair.know(frames)
    accepted = 0
    for _ in range(MUTANTS):
        frame = helpers.mutated(source.choice(frames), source.choice(frames), source)
        if source.random() < 0.2:
            frame = helpers.mutated(frame, source.choice(frames), source)
        accepted += pair.judge(frame)
    assert accepted > MUTANTS // 200
