"""Worlds: listings, determinism, thousands of symbols, virtual days."""

from __future__ import annotations

import json

import pytest

from crossfeed.errors import UnknownSymbolError
from crossfeed.simulator.instruments import generated_symbols, price_level, split_symbol
from crossfeed.simulator.memory import MemorySimulator
from crossfeed.simulator.venue import find_venues

S = 1_000_000_000


def test_all_venue_folders_are_found():
    venues = find_venues()
    assert list(venues) == ["binance", "coinbase", "coinbase_advanced", "kraken"]
    assert venues["coinbase_advanced"].owner == "coinbase"


@pytest.mark.parametrize(
    "text", ["BTCUSD", "btc/usd", "BTC/", "/USD", "BTC-USD", "B" * 30 + "/USD"]
)
def test_symbols_are_checked(text):
    with pytest.raises(UnknownSymbolError):
        split_symbol(text)


def test_symbols_are_generated():
    names = generated_symbols(3_000, given=("SOL/USD",))
    assert len(set(names)) == 3_000
    assert names[0] == "SOL/USD"
    assert all(price_level(name, 1) > 0 for name in names)


def test_venues_agree_on_the_price():
    room = MemorySimulator(rate_per_s=100.0, seed=9)
    room.advance(60 * S)
    mids = []
    for venue in ("binance", "coinbase", "kraken"):
        market = room.simulator.world.market(venue, "BTC/USD")
        bid, _, ask, _ = market.top
        mids.append((bid + ask) / 2 / market.instrument.ticks)
    assert max(mids) / min(mids) < 1.003


def test_two_pairs_that_fall_together_are_one():
    room = MemorySimulator(("binance",), ("BTC/USD", "BTC/USDT", "ETH/BTC"))
    assert list(room.simulator.exchanges["binance"].instruments) == ["BTCUSDT", "ETHBTC"]


def test_the_trace_does_not_depend_on_the_step():
    def run(step):
        room = MemorySimulator(("binance", "kraken"), rate_per_s=200.0, seed=4)
        link = room.connect("binance", "/stream?streams=btcusdt@trade/ethusdt@depth/btcusdt@ticker")
        received = []
        for _ in range(3 * S // step):
            room.advance(step)
            received.extend(link.receive())
        return received

    assert run(S // 500) == run(S)


def test_thousands_of_symbols_are_listed_at_once():
    room = MemorySimulator(
        ("binance",), generated_symbols(3_000), rate_per_s=20.0, orders_wanted=40
    )
    info = json.loads(room.rest("binance", "/api/v3/exchangeInfo").body)
    assert len(info["symbols"]) == 3_000
    link = room.connect("binance", "/stream?streams=!miniTicker@arr")
    room.advance(3 * S)
    assert 1 < len(json.loads(link.receive()[-1])["data"]) < 200


def test_a_day_passes_in_virtual_time():
    room = MemorySimulator(("kraken",), ("BTC/USD",), rate_per_s=0.2, seed=2)
    link = room.connect("kraken", "/v2")
    link.send(b'{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}')
    day = room.simulator.world.market("kraken", "BTC/USD").bars
    ids = []
    for _ in range(24 * 60):
        room.advance(60 * S)
        for raw in link.receive():
            message = json.loads(raw)
            if message.get("channel") == "trade":
                ids.extend(one["trade_id"] for one in message["data"])
    assert link.end is None
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    window = day.day(room.now_ns)
    assert window.last_id == ids[-1]
    assert window.count == window.last_id - window.first_id + 1
    assert abs(window.count - len(ids)) < 60
    assert room.ledger.totals()["gaps"] == 0


def test_a_market_among_thousands_opens_with_few_orders():
    """2,000 books of the usual size would stop the loop for ten seconds."""
    few = MemorySimulator(("binance",), ("BTC/USD",), rate_per_s=0.0)
    many = MemorySimulator(("binance",), generated_symbols(2_000), rate_per_s=0.0)
    sizes = [len(room.simulator.market("binance", "BTCUSDT").book.orders) for room in (few, many)]
    assert sizes == [400, 40]
