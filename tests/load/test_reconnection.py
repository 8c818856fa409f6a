"""Connections killed at random under load: how long recovery takes, what is lost exactly.

    python tests/load/test_reconnection.py [--rate 3000] [--kills 30] [--seed 1]

Three simulated venues in a process of their own; at random moments all connections of one of them
are cut, with a TCP reset. Prints how long it takes until the connection is up, until the first new
trade, until the book is sound, and what was missed, fetched again and lost for good, per venue.
Exits with 1 if the account differs from the simulator's ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import defaultdict
from typing import Any

import msgspec
import pytest

import crossfeed
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.histogram import Histogram

VENUES = ("binance", "coinbase", "kraken")
SYMBOLS = ("BTC/USD", "ETH/USD")
TRADES = {"binance": "trade", "coinbase": "matches", "kraken": "trade"}
KINDS = {
    "binance": ["trade", "book"],
    "coinbase": ["trade", "book"],
    "kraken": ["trade", "ticker"],
}
NS_PER_MS = 1_000_000
RECOVERY_DEADLINE_S = 20.0


class Venue:
    """One client, what came over it, and when it was whole again after each kill."""

    def __init__(self, name: str, settings: crossfeed.FeedSettings) -> None:
        self.name = name
        # Killed each second on purpose: what a breaker is for is another test's question.
        settings = msgspec.structs.replace(settings, reconnect_attempts_max=0)
        self.client = crossfeed.VenueClient(
            name, symbols=SYMBOLS, kinds=KINDS[name], settings=settings
        )
        self.clock = SystemClock()
        self.killed_ns = 0
        self.recovered = asyncio.Event()
        self.times = {what: Histogram() for what in ("connected", "first trade", "books sound")}
        self.ids: defaultdict[str, list[int]] = defaultdict(list)
        self._waits_for: set[str] = set()
        self.client.on_state_change(self._on_state)
        self.client.on("trade", self._on_trade)
        self.client.on_feed_status(lambda _: self._look_at_books())

    def killed(self) -> None:
        """Start the watch."""
        self.killed_ns = self.clock.monotonic_ns()
        self.recovered.clear()
        self._waits_for = (
            set(self.times) if "book" in KINDS[self.name] else {*self.times} - {"books sound"}
        )

    async def wait_recovered(self, kill: int) -> None:
        """Wait until it is whole again; say what it still lacks if that takes too long."""
        try:
            async with asyncio.timeout(RECOVERY_DEADLINE_S):
                await self.recovered.wait()
        except TimeoutError:
            lacks = f"{self.name} waits for {sorted(self._waits_for)} after kill {kill}"
            trusts = [f"{t.stream} {t.current.name} {t.cause}" for t in self.client.trusts()]
            raise AssertionError(f"{lacks}: {self.client!r} {trusts}") from None

    def _is_up_again(self) -> bool:
        return "connected" not in self._waits_for

    def _on_state(self, _old: object, new: crossfeed.ConnectionState) -> None:
        if new is crossfeed.ConnectionState.CONNECTED:
            self._reached("connected")
            self._look_at_books()

    def _on_trade(self, trade: crossfeed.Trade) -> None:
        if not trade.marks & crossfeed.Mark.HISTORY:
            self.ids[trade.symbol].append(trade.trade_id)
        if not trade.marks and self._is_up_again():
            self._reached("first trade")

    def _look_at_books(self) -> None:
        if "book" in KINDS[self.name] and self._is_up_again():
            books = [self.client.book(symbol) for symbol in SYMBOLS]
            if all(book.trust is crossfeed.Trust.SOUND for book in books):
                self._reached("books sound")

    def _reached(self, what: str) -> None:
        if what in self._waits_for:
            self._waits_for.discard(what)
            self.times[what].add(self.clock.monotonic_ns() - self.killed_ns)
            if not self._waits_for:
                self.recovered.set()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What one venue's connections cost."""

    kills: int
    recovery_ms: dict[str, dict[str, float]]
    gaps: int
    gaps_true: int
    missing: int
    missing_true: int
    fetched_again: int
    lost: int
    doubled: int
    trades: int
    trades_true: int

    @property
    def is_exact(self) -> bool:
        """Whether it agrees with the ledger, and nothing is missing or doubled in the end."""
        return (
            (self.gaps, self.missing) == (self.gaps_true, self.missing_true)
            and self.fetched_again == self.missing
            and self.trades == self.trades_true
            and (self.lost, self.doubled) == (0, 0)
        )


def account(venue: Venue, kills: int, ledger: dict[str, Any]) -> Account:
    """Compare one venue with the ledger."""
    lines = [
        line
        for stream in ledger["streams"]
        if (stream["venue"], stream["channel"]) == (venue.name, TRADES[venue.name])
        for line in stream["lines"]
    ]
    holes = [r for r in venue.client.gaps.records() if r.stream.channel == "trade"]
    sizes = {r.gap_id: r.last - r.first + 1 for r in holes}
    ids = [number for each in venue.ids.values() for number in each]
    once = sum(len(set(each)) for each in venue.ids.values())
    return Account(
        kills=kills,
        recovery_ms={
            what: {
                "p50": round(times.quantile(0.5) / NS_PER_MS, 1),
                "max": round(times.maximum / NS_PER_MS, 1),
            }
            for what, times in venue.times.items()
            if times.count
        },
        gaps=len(holes),
        gaps_true=sum(line["gaps"] for line in lines),
        missing=sum(sizes.values()),
        missing_true=sum(line["missing"] for line in lines),
        fetched_again=sum(
            sizes[r.gap_id] for r in holes if r.state is crossfeed.GapState.BACKFILLED
        ),
        lost=sum(r.missing for r in holes if r.state is crossfeed.GapState.LOST),
        doubled=len(ids) - once,
        trades=once,
        trades_true=sum(line["events"] + line["missing"] for line in lines),
    )


async def measure(rate_per_s: float, kills: int, seed: int) -> dict[str, Account]:
    """Kill connections at random, one venue at a time; return each venue's account."""
    chance = random.Random(seed)
    counts = dict.fromkeys(VENUES, 0)
    per_venue = rate_per_s / len(VENUES)
    async with SimulatedVenues(VENUES, SYMBOLS, rate_per_s=per_venue, seed=seed) as simulated:
        venues = {name: Venue(name, simulated.settings(name)) for name in VENUES}
        await asyncio.gather(*(venue.client.connect() for venue in venues.values()))
        try:
            for number in range(kills):
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                name = VENUES[number % 3] if number < len(VENUES) else chance.choice(VENUES)
                counts[name] += 1
                venues[name].killed()
                await simulated._post(f"/cut?venue={name}")
                await venues[name].wait_recovered(number)
            await simulated.drain()
            async with asyncio.timeout(RECOVERY_DEADLINE_S + 2.0 * kills):
                while any(v.client.get_stats()["gaps_open"] for v in venues.values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            ledger = await simulated.ledger()
            return {name: account(v, counts[name], ledger) for name, v in venues.items()}
        finally:
            await asyncio.gather(*(venue.client.close() for venue in venues.values()))


def report(accounts: dict[str, Account]) -> str:
    """Write the accounts for people."""
    lines = []
    for name, one in accounts.items():
        lines.append(f"{name}: {one.kills} kills, {'exact' if one.is_exact else 'NOT EXACT'}")
        for what, times in one.recovery_ms.items():
            lines.append(
                f"  {what:12} after {times['p50']:8.1f} ms (p50) {times['max']:8.1f} ms (max)"
            )
        truth = f"(ledger {one.gaps_true}, {one.missing_true})"
        lines += [
            f"  holes        {one.gaps}, {one.missing} trades missing {truth}",
            f"  fetched      {one.fetched_again} again, lost {one.lost}, doubled {one.doubled}",
            f"  trades       {one.trades} of {one.trades_true}",
        ]
    return "\n".join(lines)


def check(accounts: dict[str, Account]) -> None:
    """Fail unless every account is exact and recovery took what it may."""
    text = report(accounts)
    for one in accounts.values():
        assert one.kills > 0, text
        assert one.is_exact, text
        assert one.missing > 0, text
        assert one.recovery_ms["connected"]["p50"] < 3_000, text


async def test_connections_killed_under_load() -> None:
    """A short run: one kill a venue."""
    check(await measure(600, 3, 1))


@pytest.mark.load
@pytest.mark.timeout(600)
async def test_many_connections_killed_under_load() -> None:
    """Thirty kills at 3,000 messages a second."""
    accounts = await measure(3_000, 30, 7)
    print("\n" + report(accounts))
    check(accounts)


def main(arguments: list[str]) -> int:
    """Run by hand."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=3_000, help="market actions a second")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    accounts = crossfeed.run(measure(options.rate, options.kills, options.seed))
    print(report(accounts))
    return 0 if all(one.is_exact for one in accounts.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
