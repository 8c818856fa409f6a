"""How much the aggregator takes, and that nothing is lost on the way.

    python tests/load/test_aggregator_throughput.py [--rate 11000] [--seconds 30]

Three simulated venues in a process of their own send as fast as asked; one aggregator publishes
every trade, ticker and best price of three symbols. Prints rates, CPU, memory and latencies, and
compares the published totals with the simulator's ledger. Exits with 1 if they differ.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import crossfeed
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.histogram import Histogram

VENUES = ("binance", "coinbase", "kraken")
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
TRADES = {("binance", "trade"), ("coinbase", "matches"), ("kraken", "trade")}
MESSAGES_PER_ACTION = 0.93  # measured: trades, best prices, books and tickers of three symbols


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one run showed."""

    seconds: float
    sent: int
    received: int
    events: int
    published: int
    trades: int
    trades_true: int
    volume: float
    volume_true: float
    gaps: int
    duplicates: int
    violations: int
    cpu_us_per_message: float
    cpu_share: float
    rss_mb: float
    rss_growth_mb: float
    latency_us: dict[str, float]
    aggregation_us: dict[str, float]

    @property
    def is_whole(self) -> bool:
        """Whether everything arrived, once, and was published."""
        return (
            self.received == self.sent
            and self.trades == self.trades_true
            and abs(self.volume - self.volume_true) <= 1e-6 * self.volume_true
            and (self.gaps, self.duplicates, self.violations) == (0, 0, 0)
        )


def rss_mb() -> float:
    """Return the memory of this process now, MB."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def true_totals(ledger: dict[str, Any]) -> tuple[int, Decimal]:
    """Return how many trades, of what volume, were sent."""
    lines = [
        line
        for stream in ledger["streams"]
        if (stream["venue"], stream["channel"]) in TRADES
        for line in stream["lines"]
    ]
    return sum(line["events"] for line in lines), sum(Decimal(line["volume"]) for line in lines)


def quantiles(histogram: Histogram) -> dict[str, float]:
    """Return p50, p99 and the largest value, us."""
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(histogram.quantile(share) / 1e3, 1) for name, share in shares.items()}


async def measure(rate_per_s: float, seconds: float) -> Outcome:
    """Run the load and bring it to rest."""
    clock = SystemClock()
    latency, aggregation = Histogram(), Histogram()
    published = trades = 0
    volume = 0.0

    def handle(value: crossfeed.UnifiedMarketData) -> None:
        nonlocal published, trades, volume
        published += 1
        aggregation.add(clock.monotonic_ns() - value.ts_source_mono_ns)
        if value.data_type == "trade":
            data = value.data
            trades += data["num_trades"]
            volume += data["volume"]
            latency.add(clock.now_ns() - value.source_data[-1].ts_event_ns)

    gc.collect()
    before_mb = rss_mb()
    per_venue = rate_per_s / MESSAGES_PER_ACTION / len(VENUES)
    async with SimulatedVenues(VENUES, SYMBOLS, rate_per_s=per_venue, seed=1) as simulated:
        config = crossfeed.AggregatorConfig(exchanges=[*VENUES], symbols=[*SYMBOLS])
        settings = {name: simulated.settings(name) for name in VENUES}
        aggregator = crossfeed.MarketDataAggregator(config, venues=settings)
        aggregator.subscribe("*", "*", handle)
        clients = list(aggregator.clients.values())

        def received() -> int:
            return sum(client.get_stats()["messages"] for client in clients)

        async with aggregator:
            cpu, began, count = os.times(), clock.monotonic_ns(), received()
            await asyncio.sleep(seconds)
            took_s = (clock.monotonic_ns() - began) / 1e9
            spent = os.times()
            cpu_s = spent.user + spent.system - cpu.user - cpu.system
            count = received() - count
            after_mb = rss_mb()
            await simulated.pause()
            ledger = await simulated.ledger()
            for _ in range(200):
                ledger = await simulated.ledger()
                if received() == ledger["totals"]["messages"]:
                    break
                await asyncio.sleep(0.05)
            stats = [client.get_stats() for client in clients]
            events = aggregator.get_stats()["messages_received"]
    trades_true, volume_true = true_totals(ledger)
    return Outcome(
        seconds=took_s,
        sent=ledger["totals"]["messages"],
        received=sum(each["messages"] for each in stats),
        events=events,
        published=published,
        trades=trades,
        trades_true=trades_true,
        volume=volume,
        volume_true=float(volume_true),
        gaps=sum(each["gaps"] for each in stats),
        duplicates=sum(each["duplicates"] for each in stats),
        violations=ledger["totals"]["violations"],
        cpu_us_per_message=cpu_s * 1e6 / count,
        cpu_share=cpu_s / took_s,
        rss_mb=after_mb,
        rss_growth_mb=after_mb - before_mb,
        latency_us=quantiles(latency),
        aggregation_us=quantiles(aggregation),
    )


def report(outcome: Outcome) -> str:
    """Write an outcome for people."""
    rate = outcome.received / outcome.seconds
    return "\n".join(
        [
            f"sent            {outcome.sent:>12,} messages in {outcome.seconds:.1f} s",
            f"received        {outcome.received:>12,} messages, {rate:,.0f}/s",
            f"published       {outcome.published:>12,} values from {outcome.events:,} events",
            f"trades          {outcome.trades:>12,} (ledger {outcome.trades_true:,})",
            f"volume          {outcome.volume:>16,.3f} (ledger {outcome.volume_true:,.3f})",
            f"gaps, doubles   {outcome.gaps:>12} {outcome.duplicates}",
            f"CPU             {outcome.cpu_us_per_message:>14.1f} us a message",
            f"CPU of a core   {outcome.cpu_share:>14.1%}",
            f"memory          {outcome.rss_mb:>14.1f} MB, grown {outcome.rss_growth_mb:.1f} MB",
            f"venue to us     {outcome.latency_us} us",
            f"aggregation     {outcome.aggregation_us} us",
            f"totals          {'equal the ledger' if outcome.is_whole else 'DIFFER'}",
        ]
    )


async def test_totals_equal_the_ledger_under_load() -> None:
    """A short run: whatever this machine can send arrives, and is published to the last trade."""
    outcome = await measure(10_000, 2.0)
    assert outcome.is_whole, report(outcome)
    assert outcome.trades > 500
    assert outcome.rss_growth_mb < 100
    assert outcome.aggregation_us["p50"] < 5_000


@pytest.mark.load
async def test_ten_thousand_messages_a_second() -> None:
    """The figure of the contract: 10,000 msg/s for 30 s, totals equal, below 100 MB."""
    outcome = await measure(11_000, float(os.environ.get("CROSSFEED_SOAK_SECONDS", "30")))
    print("\n" + report(outcome))
    assert outcome.is_whole
    assert outcome.received / outcome.seconds >= 10_000
    assert outcome.rss_growth_mb < 100


def main(arguments: list[str]) -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=11_000, help="messages a second to send")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args(arguments)
    outcome = crossfeed.run(measure(options.rate, options.seconds))
    print(report(outcome))
    return 0 if outcome.is_whole else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
