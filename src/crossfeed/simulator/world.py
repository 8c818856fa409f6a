"""All markets of all venues around common prices, advanced by one schedule."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Protocol

import msgspec

from crossfeed.errors import ConfigError
from crossfeed.simulator.instruments import Grid, Instrument, price_level, split_symbol
from crossfeed.simulator.market import Ids, Market
from crossfeed.simulator.orderflow import OrderFlow, lots_mean_of
from crossfeed.simulator.reference import ReferencePrice
from crossfeed.simulator.scheduler import Scheduler

__all__ = ["Listing", "World", "WorldOptions"]

_NS = 1_000_000_000
#: Spread of the fixed price differences between venues, relative.
_BASIS_SIGMA = 0.5e-4


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """How one venue lists unified symbols, and where its counters start."""

    venue: str
    #: (base, quote, seed level) -> the venue's symbol, its quote and its grid.
    list_pair: Callable[[str, str, float], tuple[str, str, Grid]]
    #: Size of the first (trade id, update id, sequence).
    counters: tuple[int, int, int]


class WorldOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a world is made of."""

    symbols: Sequence[str]
    seed: int = 1
    #: Market actions a second per venue, over all its symbols.
    rate_per_s: Mapping[str, float]
    #: Share of the actions that are market orders.
    taker_share: float = 0.35
    #: Resting orders per market, both sides together.
    orders_wanted: int = 400
    #: Trades a market opens with, in the milliseconds before its first action.
    opening_trades: int = 60


class _Watcher(Protocol):
    """Is told of every action of a market."""

    def on_action(self, now_ns: int) -> None:
        """Publish what changed."""
        ...

    def on_restart(self) -> None:
        """Note that the numbering begins anew."""
        ...


class World:
    """Makes markets when they are first needed and lets them trade at each venue's rate.

    Which market acts, when and how is a function of the seed and of simulated time alone.
    """

    def __init__(self, options: WorldOptions, listings: Sequence[Listing], start_ns: int) -> None:
        """Build a world that starts at `start_ns`.

        Raises:
            ConfigError: no symbol, an impossible rate or share.
            UnknownSymbolError: a symbol that is not BASE/QUOTE.
        """
        _check(options)
        self.options = options
        self.start_ns = start_ns
        self.scheduler = Scheduler(start_ns)
        self.is_paused = False
        #: (venue, unified symbol) of markets that do not act.
        self.resting: set[tuple[str, str]] = set()
        self._listings = {listing.venue: listing for listing in listings}
        self._instruments = {name: self._list(one) for name, one in self._listings.items()}
        self._references: dict[str, ReferencePrice] = {}
        self._flows: dict[tuple[str, str], OrderFlow] = {}
        self._watchers: dict[int, list[_Watcher]] = {}
        self.actions = 0
        for name in self._listings:
            self._start_flow(name)

    def _list(self, listing: Listing) -> dict[str, Instrument]:
        """Return a venue's instruments by unified symbol; two that fall together are one."""
        seen: dict[str, Instrument] = {}
        taken: set[str] = set()
        for unified in self.options.symbols:
            base, quote = split_symbol(unified)
            level = price_level(unified, self.options.seed)
            symbol, venue_quote, grid = listing.list_pair(base, quote, level)
            if symbol not in taken:
                taken.add(symbol)
                seen[unified] = Instrument(
                    symbol=symbol,
                    unified=unified,
                    base=base,
                    quote=venue_quote,
                    grid=grid,
                    level=level,
                )
        return seen

    def instruments(self, venue: str) -> list[Instrument]:
        """Return what a venue lists."""
        return list(self._instruments[venue].values())

    # ── markets ────────────────────────────────────────────────────────────

    def market(self, venue: str, unified: str) -> Market:
        """Return a market, making it and its book at the first use."""
        return self._flow(venue, unified).market

    def markets(self) -> list[tuple[tuple[str, str], Market]]:
        """Return all markets there are by (venue, unified symbol)."""
        return [(key, flow.market) for key, flow in self._flows.items()]

    def has_market(self, venue: str, unified: str) -> bool:
        """Tell whether a market exists already: it has been asked for, or has acted."""
        return (venue, unified) in self._flows

    def _flow(self, venue: str, unified: str) -> OrderFlow:
        flow = self._flows.get((venue, unified))
        if flow is None:
            flow = self._flows[venue, unified] = self._make_flow(venue, unified)
        return flow

    def _make_flow(self, venue: str, unified: str) -> OrderFlow:
        """Make one market with its book and its order flow."""
        seed = f"{self.options.seed}/{venue}/{unified}"
        instrument = self._instruments[venue][unified]
        random = Random(f"{seed}/start")
        trade, update, sequence = (
            round(size * random.uniform(1.0, 2.0)) for size in self._listings[venue].counters
        )
        ids = Ids(
            trade=trade,
            update=update,
            sequence=sequence,
            order=random.getrandbits(40),
            aggregate=trade // 3,
        )
        lots_mean = lots_mean_of(instrument.level, instrument.lots)
        now_ns = self.scheduler.now_ns
        market = Market(instrument, ids, seed, now_ns, lots_mean=lots_mean)
        flow = OrderFlow(
            market,
            self._reference(unified),
            f"{seed}/flow",
            basis=math.exp(random.gauss(0.0, _BASIS_SIGMA)),
            taker_share=self.options.taker_share,
            orders_wanted=self.options.orders_wanted,
            lots_mean=lots_mean,
        )
        flow.open_book(now_ns, self.options.opening_trades)
        return flow

    def _reference(self, unified: str) -> ReferencePrice:
        """Return the common price of a symbol."""
        reference = self._references.get(unified)
        if reference is None:
            seed = self.options.seed
            reference = self._references[unified] = ReferencePrice(
                price_level(unified, seed), f"{seed}/reference/{unified}", self.start_ns
            )
        return reference

    def watch(self, market: Market, watcher: _Watcher) -> None:
        """Tell `watcher` of every action of `market`."""
        self._watchers.setdefault(id(market), []).append(watcher)

    # ── time ───────────────────────────────────────────────────────────────

    def _start_flow(self, venue: str) -> None:
        """Schedule a venue's actions: evenly spaced, the symbol drawn by weight."""
        rate = self.options.rate_per_s.get(venue, 0.0)
        names = list(self._instruments[venue])
        if rate <= 0 or not names:
            return
        interval_ns = _NS / rate
        random = Random(f"{self.options.seed}/{venue}/turns").random
        weights = list(accumulate(1.0 / math.sqrt(1 + place) for place in range(len(names))))
        total = weights[-1]
        count = 0
        origin = self.scheduler.now_ns

        def act(now_ns: int) -> int:
            nonlocal count, origin
            expected = origin + round(count * interval_ns)
            if now_ns > expected:  # the schedule was moved: go on from here
                origin += now_ns - expected
            count += 1
            name = names[bisect_right(weights, random() * total)]
            if not self.is_paused and (venue, name) not in self.resting:
                flow = self._flow(venue, name)
                flow.act(now_ns)
                self._publish(flow.market, now_ns)
            return origin + round(count * interval_ns)

        self.scheduler.at(origin, act, rank=0)

    def _publish(self, market: Market, now_ns: int) -> None:
        """Tell the watchers of a market that it has acted."""
        self.actions += 1
        for watcher in self._watchers.get(id(market), ()):
            watcher.on_action(now_ns)

    def announce_restart(self, market: Market) -> None:
        """Tell the watchers of a market that its numbering begins anew."""
        for watcher in self._watchers.get(id(market), ()):
            watcher.on_restart()

    def touch(self, venue: str, unified: str) -> None:
        """Make one trade happen now in a market and publish it."""
        flow = self._flow(venue, unified)
        flow.trade_once(self.scheduler.now_ns)
        self._publish(flow.market, self.scheduler.now_ns)

    def step(self, now_ns: int) -> None:
        """Do everything that is due up to `now_ns`."""
        self.scheduler.run(now_ns)


def _check(options: WorldOptions) -> None:
    """Refuse options a world cannot be made of."""
    if not options.symbols:
        raise ConfigError("at least one symbol is needed", field="simulator.symbols")
    if any(not 0 <= rate <= 1_000_000 for rate in options.rate_per_s.values()):  # noqa: PLR2004
        raise ConfigError(
            f"rates must lie in 0..1000000 actions a second: {dict(options.rate_per_s)}",
            field="simulator.rate_per_s",
        )
    if not 0.0 <= options.taker_share <= 1.0:
        raise ConfigError("must lie in 0..1", field="simulator.taker_share")
    if options.orders_wanted < 20:  # noqa: PLR2004
        raise ConfigError("a book needs at least 20 orders", field="simulator.orders_wanted")
