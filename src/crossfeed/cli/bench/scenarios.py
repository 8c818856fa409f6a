"""What is measured: scenarios by name, in the groups that the results show them in."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.cli.bench.tapes import Feed

__all__ = ["FLOOR", "GROUPS", "OURS", "PEERS", "PURE", "RAW", "SCENARIOS", "SHORT", "Scenario"]

RAW: Final = "floor:raw"
FLOOR: Final = "floor:msgspec"
OURS: Final = "crossfeed"
PURE: Final = "crossfeed (pure)"
PEERS: Final = "peers"
"""Stands for every peer that can do the scenario."""
OWN: Final = (RAW, FLOOR, OURS, PURE)
SHORT: Final = ("ticks", "book", "mix")

TICKS: Final = {"trade": 1.0, "quote": 1.0}
BOOK: Final = {"depth": 1.0}
MIX: Final = {"trade": 0.3, "quote": 0.3, "depth": 0.4}
ONE: Final = ("BTCUSDT",)
GOAL_VENUES: Final = 3
"""The goal of the aggregator is set for so many."""
STRATEGIES: Final = ("first", "last", "average", "median", "weighted", "best_bid_ask")


class Scenario(Struct, frozen=True, kw_only=True):
    """One measured situation.

    Attributes:
        name: Its name in the tables.
        feeds: What the venues send.
        measured: The clients, `PEERS` for those of other people.
        connections: Connections the client spreads a feed over.
        subscribers: Handlers of each kind.
        mode: "events" or "aggregator".
        strategy: Of the aggregator.
        rate: Messages a second; 0: as fast as they are taken.
        is_tls: Whether the connection is encrypted, its certificate verified.
    """

    name: str
    feeds: tuple[Feed, ...]
    measured: tuple[str, ...] = OWN
    connections: int = 1
    subscribers: int = 1
    mode: str = "events"
    strategy: str = "best_bid_ask"
    rate: float = 0.0
    is_tls: bool = False

    @property
    def messages(self) -> int:
        """Messages of all feeds."""
        return sum(feed.messages for feed in self.feeds)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _symbols(count: int) -> tuple[str, ...]:
    return tuple(f"S{number:04d}USDT" for number in range(count))


def _binance(  # noqa: PLR0913 - a scenario has that many sides
    name: str,
    shares: dict[str, float],
    messages: int,
    measured: tuple[str, ...] = OWN,
    *,
    symbols: tuple[str, ...] = ONE,
    levels: int = 1000,
    connections: int = 1,
    subscribers: int = 1,
    rate: float = 0.0,
    is_tls: bool = False,
) -> Scenario:
    feed = Feed(venue="binance", symbols=symbols, shares=shares, messages=messages, levels=levels)
    return Scenario(
        name=name, feeds=(feed,), measured=measured, connections=connections,
        subscribers=subscribers, rate=rate, is_tls=is_tls,
    )  # fmt: skip


def _coinbase(name: str, shares: dict[str, float], messages: int) -> Scenario:
    feed = Feed(
        venue="coinbase", symbols=("BTC-USD",), shares=shares, messages=messages,
        levels=5000, changes=6,
    )  # fmt: skip
    return Scenario(name=name, feeds=(feed,))


def _venues(count: int, sort: str) -> tuple[Feed, ...]:
    """Return feeds of so many venues; beyond three they are copies of Binance.

    Best prices come from quotes, at Coinbase from the top of the book, moved by each message.
    """
    quote = {sort: 1.0}
    each = 12_000
    known = (
        Feed(venue="binance", symbols=ONE, shares=quote, messages=each),
        Feed(
            venue="coinbase", symbols=("BTC-USD",), messages=each, changes=2,
            shares=BOOK if sort == "quote" else quote,
        ),
        Feed(venue="kraken", symbols=("BTC/USD",), shares=quote, messages=each),
        Feed(venue="binance_2", symbols=ONE, shares=quote, messages=each),
        Feed(venue="binance_3", symbols=ONE, shares=quote, messages=each),
    )  # fmt: skip
    return known[:count]


def _pair(count: int, clients: tuple[str, ...]) -> tuple[Scenario, Scenario]:
    """Return the same feeds without and with the aggregator."""
    feeds = _venues(count, "quote")
    name = _count(count, "venue")
    return (
        Scenario(name=f"{name}, events", feeds=feeds, measured=clients),
        Scenario(name=f"{name}, aggregator", feeds=feeds, measured=clients, mode="aggregator"),
    )


_KRAKEN = Feed(venue="kraken", symbols=("BTC/USD",), shares=BOOK, messages=40_000)
_BOTH: Final = (OURS, PURE)

GROUPS: Final[dict[str, tuple[Scenario, ...]]] = {
    "scenarios": (
        _binance("ticks", TICKS, 100_000, (*OWN, PEERS)),
        _binance("book", BOOK, 20_000, (*OWN, PEERS)),
        _binance("mix", MIX, 40_000, (*OWN, PEERS)),
        _binance("ticks over TLS", TICKS, 100_000, is_tls=True),
        _coinbase("coinbase ticks", TICKS, 80_000),
        _coinbase("coinbase book", BOOK, 40_000),
        Scenario(name="kraken book", feeds=(_KRAKEN,)),
    ),
    "latency": (_binance("ticks, 5000/s", TICKS, 10_000, (*OWN, PEERS), rate=5000.0),),
    "memory": (
        _binance("mix, 50 symbols", MIX, 40_000, (*_BOTH, PEERS), symbols=_symbols(50)),
    ),
    "aggregator": tuple(
        each for n in range(1, 6) for each in _pair(n, _BOTH if n == GOAL_VENUES else (OURS,))
    ),
    "strategies": (
        Scenario(name="trades of 3 venues, events", feeds=_venues(3, "trade"), measured=(OURS,)),
        *(
            Scenario(
                name=f"trades of 3 venues, {name}", feeds=_venues(3, "trade"), measured=(OURS,),
                mode="aggregator", strategy=name,
            )
            for name in STRATEGIES
        ),
    ),
    "symbols": tuple(
        _binance(
            "ticks, " + _count(n, "symbol"), TICKS, 200_000, (FLOOR, *_BOTH),
            symbols=_symbols(n),
        )
        for n in (1, 10, 50, 500)
    ),
    "connections": tuple(
        _binance(
            "ticks, " + _count(n, "connection"), TICKS, 100_000, (FLOOR, OURS),
            symbols=_symbols(50), connections=n,
        )
        for n in (1, 2, 10)
    ),
    "subscribers": tuple(
        _binance("ticks, " + _count(n, "subscriber"), TICKS, 60_000, _BOTH, subscribers=n)
        for n in (1, 5, 20, 50)
    ),
    "levels": tuple(
        _binance(f"book, {n} levels", BOOK, 15_000, (FLOOR, *_BOTH), levels=n)
        for n in (10, 100, 1000, 5000)
    ),
}  # fmt: skip
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario for group in GROUPS.values() for scenario in group
}
