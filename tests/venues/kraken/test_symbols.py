"""Kraken's names of pairs, both ways."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import DecodeError
from crossfeed.model.instrument import InstrumentStatus
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.symbols import instrument_of_pair, rest_pair, unified_currency
from crossfeed.venues.kraken.wire import PairItem
from crossfeed.venues.symbols import SymbolTable

CURRENCIES = st.sampled_from(
    ["XBT", "XDG", "ETH", "USD", "EUR", "USDT", "AAPLx", "ETH2.S"]
) | st.text(string.ascii_uppercase + string.digits, min_size=1, max_size=10)


def answer(**pairs: dict[str, object]) -> bytes:
    """Write an AssetPairs answer."""
    return json.dumps({"error": [], "result": pairs}).encode()


def table() -> SymbolTable:
    """Return the built-in table."""
    return SymbolTable("kraken", VENUE.builtin())


@given(base=CURRENCIES, quote=CURRENCIES, decimals=st.integers(0, 12), lot=st.integers(0, 12))
def test_round_trip(base: str, quote: str, decimals: int, lot: int) -> None:
    """A pair is found by each of its names, and REST is asked by its altname."""
    pair = {
        "altname": base + quote,
        "wsname": f"{base}/{quote}",
        "pair_decimals": decimals,
        "lot_decimals": lot,
    }
    [made] = VENUE.parse_instruments(200, answer(KEY_OF_IT=pair))
    known = SymbolTable("kraken", [made])
    assert made.symbol == made.unified == f"{unified_currency(base)}/{unified_currency(quote)}"
    assert (made.price_scale, made.size_scale) == (decimals, lot)
    for name in ("KEY_OF_IT", base + quote, f"{base}/{quote}", made.symbol):
        assert known.find(name) == made
    assert rest_pair(known, made.symbol) == base + quote


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("BTC/USD", "XBTUSD"), ("DOGE/BTC", "XDGXBT"), ("NEW/BTC", "NEWXBT"), ("SOL/USD", "SOLUSD")],
)
def test_rest_name(symbol: str, name: str) -> None:
    """REST is asked by the old names, also for pairs no table knows."""
    assert rest_pair(table(), symbol) == name


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("XXBTZUSD", "BTC/USD"),
        ("XBTUSD", "BTC/USD"),
        ("XBT/USD", "BTC/USD"),
        ("XDG/USD", "DOGE/USD"),
        ("XXDGXXBT", "DOGE/BTC"),
        ("ZEURZUSD", "EUR/USD"),
    ],
)
def test_builtin_names(name: str, symbol: str) -> None:
    """Built-in pairs are found by the names of REST."""
    assert table().find(name).symbol == symbol


@pytest.mark.fault("F10", "D21")
@pytest.mark.parametrize(
    "wsname", ["../../etc", "<b>/USD", "A/B/C", "/USD", "A/", "\uff21/USD", "A /B", ""]
)
def test_odd_names_are_left_out(wsname: str) -> None:
    """What is no BASE/QUOTE never becomes a symbol."""
    pair = {"altname": "A", "wsname": wsname, "pair_decimals": 1, "lot_decimals": 8}
    assert VENUE.parse_instruments(200, answer(A=pair)) == []
    item = PairItem(wsname, "A", "B", "online", 1, 8)
    assert instrument_of_pair(item, None) is None


@pytest.mark.parametrize("decimals", [-1, 19, 10**30, 1.5, "one", None])
def test_odd_decimals_are_refused(decimals: object) -> None:
    """Decimals beyond reason are refused, for they would become powers of ten."""
    pair = {"altname": "A", "wsname": "A/USD", "pair_decimals": decimals, "lot_decimals": 8}
    with pytest.raises(DecodeError):
        VENUE.parse_instruments(200, answer(A=pair))


def test_instrument_channel_keeps_the_rest_names() -> None:
    """What the stream says replaces decimals and status, not the names it does not know."""
    known = table().find("BTC/USD")
    item = PairItem("BTC/USD", "BTC", "USD", "cancel_only", 2, 8, 0.05, 1e-08)
    made = instrument_of_pair(item, known)
    assert made is not None
    assert made.aliases == known.aliases
    assert (made.price_scale, made.tick_size, made.lot_size) == (2, "0.05", "0.00000001")
    assert made.status is InstrumentStatus.LIMITED
    new = instrument_of_pair(PairItem("XYZ/BTC", "XYZ", "BTC", "zz", 8, 5), None)
    assert new is not None
    assert new.aliases == ("XYZXBT", "XYZ/XBT")
    assert (new.tick_size, new.status) == ("0.00000001", InstrumentStatus.UNKNOWN)
