"""Symbols and scales for any names and increments that the venue may list."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import SchemaChangedError, UnknownSymbolError, UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.events import Trade
from crossfeed.model.numbers import to_units
from crossfeed.model.output import Output
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance import VENUE
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.binance.profile import INTERVALS, channel_of
from crossfeed.venues.symbols import SymbolTable

NAMES = st.text(
    st.characters(exclude_categories=("C", "Z", "P", "Ll"), codec="utf-8"), min_size=1, max_size=12
)


def listed(base: str, quote: str, tick: str = "0.01000000", lot: str = "0.00100000") -> bytes:
    """Return metadata with one symbol."""
    entry = {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick},
            {"filterType": "LOT_SIZE", "stepSize": lot},
            {"filterType": "MAX_POSITION", "maxPosition": "1.0"},
        ],
    }
    return json.dumps({"symbols": [entry]}).encode()


def trade_of(symbol: str, price: str = "1.5", quantity: str = "2") -> bytes:
    """Return a trade as the venue sends it."""
    data = {"e": "trade", "E": 1_672_515_782_136, "T": 1_672_515_782_136, "s": symbol, "t": 1}
    data |= {"p": price, "q": quantity, "m": False}
    message = {"stream": f"{symbol.lower()}@trade", "data": data}
    return json.dumps(message, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def codec() -> BinanceCodec:
    """Return one codec for all examples; each brings its own instruments."""
    return BinanceCodec(SymbolTable("binance"), CodecOptions())


def read(codec: BinanceCodec, symbol: str, frame: bytes) -> Trade:
    """Return the trade of a frame."""
    out = Output()
    codec.subscribe([Want("trade", symbol)], 0)
    codec.receive(frame, 1, 1, out)
    (event,) = out.events
    assert isinstance(event, Trade)
    return event


@given(base=NAMES, quote=NAMES)
def test_any_names_round_trip(codec: BinanceCodec, base: str, quote: str) -> None:
    """Names of any letters are found both ways, and their messages are read."""
    (instrument,) = VENUE.parse_instruments(200, listed(base, quote))
    codec.table = table = SymbolTable("binance", [instrument])
    assert table.find(f"{base}/{quote}") == table.find(base + quote) == instrument
    (frame,) = codec.subscribe([Want("trade", instrument.symbol)], 0)
    assert json.loads(frame)["params"] == [f"{instrument.symbol.lower()}@trade"]
    event = read(codec, instrument.symbol, trade_of(instrument.symbol))
    assert (event.symbol, event.unified) == (base + quote, f"{base}/{quote}")


@given(scale=st.integers(0, 8), digit=st.sampled_from([1, 5]), size_scale=st.integers(0, 8))
def test_increments_become_scales(scale: int, digit: int, size_scale: int) -> None:
    """An increment of eight decimals gives its decimals, and its text without trailing zeros."""
    tick = f"{Decimal(digit).scaleb(-scale):.8f}"
    lot = f"{Decimal(1).scaleb(-size_scale):.8f}"
    (instrument,) = VENUE.parse_instruments(200, listed("A", "B", tick, lot))
    assert (instrument.price_scale, instrument.size_scale) == (scale, size_scale)
    assert Decimal(instrument.tick_size) == Decimal(tick)
    assert not instrument.tick_size.endswith("0")
    assert to_units(float(tick), scale) == digit


@pytest.mark.parametrize(
    "tick", ["", "0.00000000", "nan", "-0.01", "1e-19", "x" * 50, "\uff11", " 1", "10.00000000"]
)
def test_odd_increments(tick: str) -> None:
    """What is no usable increment leaves the venue's eight decimals; large steps need none."""
    (instrument,) = VENUE.parse_instruments(200, listed("A", "B", tick))
    expected = ("10", 0) if tick.startswith("10") else ("", 8)
    assert (instrument.tick_size, instrument.price_scale) == expected


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"symbols":' * 200_000, b"\xff", b"{}"])
def test_metadata_must_be_metadata(body: bytes) -> None:
    """What is not the venue's metadata is refused by type."""
    with pytest.raises(SchemaChangedError):
        VENUE.parse_instruments(200, body)


@given(
    units=st.integers(1, 10**15 - 1),
    scale=st.integers(0, 8),
    size=st.integers(1, 10**15 - 1),
)
def test_numbers_survive(codec: BinanceCodec, units: int, scale: int, size: int) -> None:
    """Any text of at most 15 digits comes out as the same number, float, decimal and integer."""
    price, quantity = (f"{Decimal(n).scaleb(-scale):f}" for n in (units, size))
    event = read(codec, "AB", trade_of("AB", price, quantity))
    assert (event.price, event.quantity) == (float(price), float(quantity))
    assert (f"{event.exact['price']:f}", f"{event.exact['quantity']:f}") == (price, quantity)
    assert (to_units(event.price, scale), to_units(event.quantity, scale)) == (units, size)
    assert Decimal(repr(event.price)) == Decimal(price)


def test_dollars_stand_for_tether() -> None:
    """BTC/USD means BTCUSDT, as the founding document maps it; USDC comes after."""
    table = SymbolTable("binance", VENUE.builtin())
    assert table.resolve("BTC/USD", quotes=VENUE.profile.quote_order).symbol == "BTCUSDT"
    only = [x for x in VENUE.builtin() if x.quote != "USDT"]
    table = SymbolTable("binance", only)
    assert table.resolve("BTC/USD", quotes=VENUE.profile.quote_order).symbol == "BTCUSDC"


@pytest.mark.parametrize("name", ["BTC/XYZ", "BTC/", "BTC/USD:USD", "BTC/usd", "/USD", "/"])
def test_nothing_but_dollars_is_stood_in_for(name: str) -> None:
    """A price in another currency would be wrong without a word."""
    table = SymbolTable("binance", VENUE.builtin())
    with pytest.raises(UnknownSymbolError):
        table.resolve(name, quotes=VENUE.profile.quote_order)


def test_builtin_are_marked() -> None:
    """Built-in scales are ours, not the venue's: no increments are claimed."""
    instruments = VENUE.builtin()
    assert len(instruments) >= 40
    assert {(x.tick_size, x.lot_size) for x in instruments} == {("", "")}


def test_channel_words() -> None:
    """All words of our wants name a channel; others name none."""
    assert len(INTERVALS) == 16
    for interval in INTERVALS:
        assert channel_of(f"kline_{interval}").kind == "kline"
    assert channel_of("depth").kind == channel_of("depth@100ms").kind == "depth"
    for word in ("kline", "kline_7m", "depth5", "depth@250ms", "!miniTicker@arr", ""):
        with pytest.raises(UnsupportedChannelError):
            channel_of(word)
