"""Run the product against the simulator in another process for a long time, and compare accounts.

    python tools/soak.py [--seconds 60] [--rate 250] [--faults default] [--seed 1]
                         [--lines 1] [--backfill late]

Real sockets, four venues, trades and books and tickers, faults all the time, beside it a consumer
that never reads. Prints one line every few seconds. Exits with 1 unless at the end: every trade
that the venues made is delivered once or reported lost with its number, no hole is open, no book
is unsound, no limit of a venue was broken, and the memory has not grown by more than 16 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from crossfeed import ConnectionState, run
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.clients.venue_client import VenueClient
from crossfeed.model.events import Trade
from crossfeed.model.status import Gap, GapState
from crossfeed.model.trust import Trust

VENUES = ("binance", "coinbase", "coinbase_advanced", "kraken")
SYMBOLS = ("BTC/USD", "ETH/USD")
KINDS = ("trade", "book", "book_ticker", "ticker")
TRADES = {
    "binance": "trade",
    "coinbase": "matches",
    "coinbase_advanced": "market_trades",
    "kraken": "trade",
}
GROWTH_BYTES_MAX = 16 << 20
REPAIR_DEADLINE_S = 90.0


class Spans:
    """A set of whole numbers kept as few ranges: bounded memory for a long run."""

    def __init__(self) -> None:
        """Start empty."""
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.count = 0

    def add(self, first: int, last: int) -> bool:
        """Add `first..last`; False (and nothing changes) if its ends are there already."""
        if self.has(first) or self.has(last):
            return False
        self.count += last - first + 1
        low, high = first, last
        if first - 1 in self.ends:
            low = self.ends.pop(first - 1)
        if last + 1 in self.starts:
            high = self.starts.pop(last + 1)
        self.starts[low], self.ends[high] = high, low
        return True

    def has(self, number: int) -> bool:
        """Say whether a number is in it. Cost O(ranges)."""
        if number in self.starts or number in self.ends:
            return True
        return any(low < number < high for low, high in self.starts.items())


class Account:
    """What one client gave out of its trades, by symbol."""

    def __init__(self, client: VenueClient) -> None:
        """Listen to a client."""
        self.delivered: defaultdict[str, Spans] = defaultdict(Spans)
        self.lost: defaultdict[str, Spans] = defaultdict(Spans)
        self.doubled = self.disordered = 0
        self._highest: defaultdict[str, int] = defaultdict(int)
        client.on("trade", self._on_trade)
        client.on_gap(self._on_gap)

    def _on_trade(self, trade: Trade) -> None:
        self.doubled += not self.delivered[trade.symbol].add(trade.trade_id, trade.trade_id)
        is_late = trade.source == "rest" or "backfilled" in trade.data
        self.disordered += trade.trade_id < self._highest[trade.symbol] and not is_late
        self._highest[trade.symbol] = max(self._highest[trade.symbol], trade.trade_id)

    def _on_gap(self, gap: Gap) -> None:
        record = gap.record
        if record.stream.channel == "trade" and record.state is GapState.LOST:
            for number in range(record.first, record.last + 1):
                if not self.delivered[record.stream.symbol].has(number):
                    self.lost[record.stream.symbol].add(number, number)


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def compare(name: str, account: Account, ledger: dict[str, Any]) -> list[str]:
    """Compare a client's account with the venue's; return what differs."""
    wrong: list[str] = []
    for stream in ledger["streams"]:
        if (stream["venue"], stream["channel"]) != (name, TRADES[name]) or not stream["lines"]:
            continue
        symbol = stream["symbol"]
        delivered, lost = account.delivered[symbol], account.lost[symbol]
        if not delivered.starts:
            wrong.append(f"{name} {symbol}: nothing delivered")
            continue
        first, last = min(delivered.starts), max(delivered.ends)
        unseen = last - first + 1 - delivered.count - lost.count
        if unseen:
            wrong.append(f"{name} {symbol}: {unseen} of {first}..{last} are nowhere")
        if last != stream["lines"][0]["last"]:
            wrong.append(f"{name} {symbol}: ends at {last}, sent to {stream['lines'][0]['last']}")
    if account.doubled or account.disordered:
        wrong.append(f"{name}: {account.doubled} doubled, {account.disordered} out of order")
    return wrong


def progress(began: float, clients: dict[str, VenueClient], base_bytes: int) -> None:
    """Print one line."""
    stats = [client.get_stats() for client in clients.values()]
    grown = (resident_bytes() - base_bytes) / 1e6
    print(
        f"{time.monotonic() - began:6.0f} s  "
        + "  ".join(
            f"{name} {sum(one[name] for one in stats):,}"
            for name in ("messages", "gaps", "gaps_open", "gaps_lost", "duplicates")
        )
        + f"  RSS {resident_bytes() / 1e6:.0f} MB ({grown:+.1f})",
        flush=True,
    )


def is_well(client: VenueClient) -> bool:
    """Say whether a client is connected and all its books are sound."""
    books = [trust for trust in client.trusts() if trust.stream.channel == "book"]
    is_up = client.get_stats()["state"] == ConnectionState.CONNECTED.value
    return is_up and all(trust.current is Trust.SOUND for trust in books)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, a breaker's longest rest and some more; what is missing shows later."""
    waited = time.monotonic()
    while not condition() and time.monotonic() - waited < REPAIR_DEADLINE_S:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


async def soak(asked: argparse.Namespace) -> int:
    """Run, compare, print; return the exit code."""
    began = time.monotonic()
    wrong: list[str] = []
    async with SimulatedVenues(
        VENUES, SYMBOLS, rate_per_s=asked.rate, seed=asked.seed, faults=asked.faults
    ) as venues:
        clients = {}
        for name in VENUES:
            own = replace(venues.settings(name), lines=asked.lines, backfill=asked.backfill)
            clients[name] = VenueClient(name, symbols=SYMBOLS, kinds=KINDS, settings=own)
        accounts = {name: Account(client) for name, client in clients.items()}
        # Consumers that never read: short queues, full before the memory is first looked at.
        dead = [client.stream("trade", capacity=500) for client in clients.values()]
        try:
            await asyncio.gather(*(client.connect() for client in clients.values()))
            await asyncio.sleep(min(10.0, asked.seconds / 4))  # everything is warm
            base_bytes = resident_bytes()
            while time.monotonic() - began < asked.seconds:
                await asyncio.sleep(min(5.0, max(0.1, began + asked.seconds - time.monotonic())))
                progress(began, clients, base_bytes)
            await venues.calm()
            await until(lambda: all(is_well(client) for client in clients.values()))
            await venues.drain()
            await until(
                lambda: not any(client.get_stats()["gaps_open"] for client in clients.values())
            )
            await asyncio.sleep(1.0)
            progress(began, clients, base_bytes)
            ledger = await venues.ledger()
            for name, client in clients.items():
                wrong += compare(name, accounts[name], ledger)
                if client.get_stats()["gaps_open"]:
                    wrong.append(f"{name}: {client.get_stats()['gaps_open']} holes still open")
                wrong += [
                    f"{name}: {trust}"
                    for trust in client.trusts()
                    if trust.current is not Trust.SOUND and trust.stream.channel == "book"
                ]
            grown = resident_bytes() - base_bytes
            if grown > GROWTH_BYTES_MAX:
                wrong.append(f"memory grew by {grown / 1e6:.1f} MB, dead consumers included")
            wrong += [f"venue's limit broken: {what}" for what in ledger["violations"].items()]
        finally:
            for client in clients.values():
                await client.close()
            del dead
    sent = sum(account.delivered[symbol].count for account in accounts.values() for symbol in account.delivered)  # fmt: skip  # noqa: E501
    lost = sum(spans.count for account in accounts.values() for spans in account.lost.values())
    print(f"{sent + lost:,} trades sent, {sent:,} delivered, {lost} reported lost")
    for text in wrong:
        print("WRONG:", text)
    print("FAILED" if wrong else "both accounts agree")
    return int(bool(wrong))


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip  # noqa: E501
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=250.0, help="market actions a second a venue")
    parser.add_argument("--faults", default="default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=1, choices=(1, 2), help="a venue")
    parser.add_argument("--backfill", default="late", choices=("late", "hold", "off"))
    return run(soak(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
