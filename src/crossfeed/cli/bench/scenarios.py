"""What is measured: scenarios by name."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.cli.bench.tapes import Feed

__all__ = ["GROWTH", "LATENCY", "SCENARIOS", "Scenario"]

TICKS: Final = {"trade": 1.0, "quote": 1.0}
BOOK: Final = {"depth": 1.0}
MIX: Final = {"trade": 0.3, "quote": 0.3, "depth": 0.4}
ONE: Final = ("BTCUSDT",)


class Scenario(Struct, frozen=True, kw_only=True):
    """One measured situation.

    Attributes:
        name: Its name in the tables.
        feeds: What the venues send.
        connections: Connections the client spreads a feed over.
        subscribers: Handlers of each kind.
        mode: "events" or "aggregator".
        rate: Messages a second; 0: as fast as they are taken.
    """

    name: str
    feeds: tuple[Feed, ...]
    connections: int = 1
    subscribers: int = 1
    mode: str = "events"
    rate: float = 0.0

    @property
    def messages(self) -> int:
        """Messages of all feeds."""
        return sum(feed.messages for feed in self.feeds)


def _symbols(count: int) -> tuple[str, ...]:
    return tuple(f"S{number:04d}USDT" for number in range(count))


def _binance(
    name: str,
    shares: dict[str, float],
    messages: int,
    *,
    symbols: tuple[str, ...] = ONE,
    levels: int = 1000,
    connections: int = 1,
    subscribers: int = 1,
    rate: float = 0.0,
) -> Scenario:
    feed = Feed(venue="binance", symbols=symbols, shares=shares, messages=messages, levels=levels)
    return Scenario(
        name=name, feeds=(feed,), connections=connections, subscribers=subscribers, rate=rate
    )


def _trio(mode: str) -> Scenario:
    each = 20_000
    return Scenario(
        name=f"three venues, {mode}",
        feeds=(
            Feed(venue="binance", symbols=ONE, shares={"quote": 1.0}, messages=each),
            Feed(venue="coinbase", symbols=("BTC-USD",), shares={"depth": 1.0}, messages=each,
                 changes=2),
            Feed(venue="kraken", symbols=("BTC/USD",), shares={"quote": 1.0}, messages=each),
        ),
        mode=mode,
    )  # fmt: skip


def _coinbase(name: str, shares: dict[str, float], messages: int) -> Scenario:
    feed = Feed(
        venue="coinbase", symbols=("BTC-USD",), shares=shares, messages=messages,
        levels=5000, changes=6,
    )  # fmt: skip
    return Scenario(name=name, feeds=(feed,))


_KRAKEN = Feed(venue="kraken", symbols=("BTC/USD",), shares=BOOK, messages=40_000)

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        _binance("ticks", TICKS, 200_000),
        _binance("book", BOOK, 40_000),
        _binance("mix", MIX, 80_000),
        _coinbase("coinbase ticks", TICKS, 80_000),
        _coinbase("coinbase book", BOOK, 60_000),
        Scenario(name="kraken book", feeds=(_KRAKEN,)),
        _trio("events"),
        _trio("aggregator"),
    )
}
GROWTH: Final[dict[str, tuple[Scenario, ...]]] = {
    "symbols": tuple(
        _binance(f"ticks, {n} symbols", TICKS, 100_000, symbols=_symbols(n)) for n in (1, 50, 500)
    ),
    "connections": tuple(
        _binance(f"ticks, {n} connections", TICKS, 100_000, symbols=_symbols(50), connections=n)
        for n in (1, 2, 10)
    ),
    "subscribers": tuple(
        _binance(f"ticks, {n} subscribers", TICKS, 60_000, subscribers=n) for n in (1, 5, 20, 50)
    ),
    "levels": tuple(
        _binance(f"book, {n} levels", BOOK, 30_000, levels=n) for n in (10, 100, 1000, 5000)
    ),
    "memory": (_binance("mix, 50 symbols", MIX, 60_000, symbols=_symbols(50)),),
}
LATENCY: Final = (
    _binance("ticks, 5000/s", TICKS, 20_000, rate=5000.0),
    _binance("mix, 5000/s", MIX, 20_000, rate=5000.0),
)
