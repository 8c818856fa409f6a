"""What does the aggregator add to an event? Three venues, one symbol, every strategy.

    python benchmarks/aggregation.py

Prints microseconds per event, the best of many short rounds (other work on the machine only makes a
round slower), the cost of the empty loop taken off.
"""

import time
from collections.abc import Sequence

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
from crossfeed.model.events import MarketData, Quote, Ticker, Trade
from crossfeed.model.trust import Integrity, Mark, Side, Trust

VENUES = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"}
WALL_NS = 1_790_000_000_000_000_000
STEP_NS = 1_000
EVENTS = 6_000
ROUNDS = 40


def make_events(kind: str) -> list[MarketData]:
    """Make events of one kind, the venues in turn."""
    events: list[MarketData] = []
    for index in range(EVENTS):
        venue = list(VENUES)[index % len(VENUES)]
        price = 50_000.0 + index * 7919 % 1000 / 10
        marks = Mark.RECEIVE_TIME if venue == "binance" else Mark.NONE
        times = (WALL_NS, 0, WALL_NS, 1 + index * STEP_NS)
        standing = (marks, Integrity.SELF_CONTAINED, Trust.SOUND, None, 0)
        shared = (venue, VENUES[venue], "BTC/USD", *times, *standing)
        if kind == "book_ticker":
            events.append(Quote(*shared, price, 1.0, price + 1, 2.0, index))
        elif kind == "trade":
            events.append(Trade(*shared, price, 1.0, Side.BUY, index))
        else:
            events.append(Ticker(*shared, price, *[None] * 5, 100.0 + index, *[None] * 8))
    return events


def best_round_ns(aggregator: Aggregator | None, events: Sequence[MarketData]) -> int:
    """Return the time of the best round, ns; without an aggregator that of the empty loop."""
    best_ns, now_ns = 1 << 62, 1
    for _ in range(ROUNDS):
        start_ns = time.perf_counter_ns()
        for event in events:
            values = () if aggregator is None else aggregator.on_event(event, now_ns, WALL_NS)
            for _value in values:
                pass
            now_ns += STEP_NS
        best_ns = min(best_ns, time.perf_counter_ns() - start_ns)
    return best_ns


def main() -> None:
    """Print one line per data type, strategy and interval."""
    for kind in ("book_ticker", "trade", "ticker"):
        events = make_events(kind)
        empty_ns = best_round_ns(None, events)
        for strategy in AggregationStrategy:
            for interval_s in (0.0, 1.0):
                config = AggregatorConfig(
                    exchanges=list(VENUES),
                    symbols={"BTC/USD": VENUES},
                    aggregation_strategy=strategy,
                    update_interval=interval_s,
                )
                spent_ns = best_round_ns(Aggregator(config), events) - empty_ns
                print(f"{kind:12} {strategy:13} {interval_s:4} {spent_ns / EVENTS / 1e3:6.2f} us")


if __name__ == "__main__":
    main()
