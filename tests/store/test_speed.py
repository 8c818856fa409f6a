"""Size and speed in short form: a share of the rows, and time to spare for a busy machine."""

import time
from collections.abc import Callable
from random import Random

from crossfeed.store.query import Store
from crossfeed.testing.events import trade

Fill = Callable[..., Store]
TRADES = 100_000


def test_a_trade_costs_few_bytes_and_bars_come_fast(fill: Fill) -> None:
    """At most 12 bytes a trade at rest; a million trades a second into bars."""
    chance = Random(7)
    price, at_ms, trades = 100_000.0, 0.0, []
    for number in range(TRADES):
        if chance.random() < 0.4:
            at_ms += chance.expovariate(1 / 80)
            price = round(price + chance.gauss(0, 2), 2)
        size = round(chance.lognormvariate(-6, 1.5), 5)
        received = at_ms + 3 + chance.random()
        trades.append(trade(number, received, event_ms=int(at_ms), price=price, quantity=size))
    store = fill(*trades)
    assert sum(file.bytes for file in store.files("trades")) / TRADES <= 12
    begun = time.perf_counter()
    bars = store.candles("BTC/USDT", "1m")
    assert time.perf_counter() - begun < 0.15 * 10
    assert sum(bars["trades"].to_pylist()) == TRADES
