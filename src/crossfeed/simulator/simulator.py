"""The simulator as an object: venues on loopback ports, one market, one ledger."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crossfeed.errors import ConfigError, UnknownSymbolError
from crossfeed.model.ports import Clock
from crossfeed.simulator.clock import SystemClock
from crossfeed.simulator.control import ControlEndpoint
from crossfeed.simulator.decimals import trimmed
from crossfeed.simulator.drain import Drain
from crossfeed.simulator.exchange import Exchange
from crossfeed.simulator.faults import FaultRule, Schedule, load_schedule
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.market import Market
from crossfeed.simulator.outgoing import Cut, CutMode
from crossfeed.simulator.server import PortServer, check_port
from crossfeed.simulator.truth import BookState
from crossfeed.simulator.venue import Venue, venue_named
from crossfeed.simulator.world import World, WorldOptions

__all__ = ["Simulator"]

DEFAULT_VENUES = ("binance", "coinbase", "kraken")
DEFAULT_SYMBOLS = ("BTC/USD", "ETH/USD")
_NS = 1_000_000_000
#: Symbols from this number on -> resting orders a market, and the trades it opens with.
_SIZES = {0: (400, 60), 51: (100, 60), 501: (40, 15)}
#: Longest and shortest rest of the pump, seconds.
_REST_MAX_S = 0.01
_REST_MIN_S = 0.001
#: Behind by more than this, missed time is skipped instead of made up for.
_CATCH_UP_NS = 500_000_000


def _sizes_for(symbols: Sequence[str], orders_wanted: int | None) -> dict[str, int]:
    """Return the world's options for the size of a market: smaller where there are many."""
    orders, trades = min(sizes for count, sizes in _SIZES.items() if len(symbols) >= count)
    return {
        "orders_wanted": orders if orders_wanted is None else orders_wanted,
        "opening_trades": trades,
    }


class Simulator:
    """Serves venues over real sockets. An async context manager; closes twice safely.

    ```python
    async with Simulator(venues=("binance",), symbols=("BTC/USD",)) as simulator:
        url = simulator.ws_url("binance")  # ws://127.0.0.1:…; append /stream?streams=…
    ```
    """

    def __init__(  # noqa: PLR0913 - the options of the whole product
        self,
        venues: Sequence[str] = DEFAULT_VENUES,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        rate_per_s: float | Mapping[str, float] = 200.0,
        seed: int = 1,
        faults: str | Path | Schedule | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        control_port: int | None = None,
        tls: ssl.SSLContext | None = None,
        taker_share: float = 0.35,
        orders_wanted: int | None = None,
    ) -> None:
        """Prepare; nothing listens before `start`.

        Args:
            venues: Names of venue folders.
            symbols: Unified symbols.
            rate_per_s: Market actions a second per venue over all its symbols; about 0.9
                real-time messages come of one for a client of trades and best prices.
            seed: The same seed gives the same markets.
            faults: None, a profile's name, the path of a TOML schedule, or a Schedule.
            clock: Time; the system's if None.
            host: Address to listen on.
            port: First port; 0 takes free ones, else venues listen on consecutive ports.
            control_port: Also listen for control requests there (0: a free port); None: do not.
            tls: Serve TLS with this context.
            taker_share: Share of actions that are market orders.
            orders_wanted: Resting orders per market; None: 400, fewer with many symbols.

        Raises:
            ConfigError: an unknown venue, a bad symbol, rate or schedule.
        """
        if not venues:
            raise ConfigError("at least one venue is needed", field="simulator.venues")
        check_port(port, "simulator.port", count=len(venues))
        check_port(control_port or 0, "simulator.control_port")
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.venues: dict[str, Venue] = {name: venue_named(name) for name in venues}
        owners = {venue.owner: venue_named(venue.owner) for venue in self.venues.values()}
        rates = {name: self._rate_of(rate_per_s, name) for name in owners}
        options = WorldOptions(
            symbols=tuple(symbols),
            seed=seed,
            rate_per_s=rates,
            taker_share=taker_share,
            **_sizes_for(symbols, orders_wanted),
        )
        self.ledger = Ledger()
        self.world = World(
            options, [venue.listing for venue in owners.values()], self.clock.now_ns()
        )
        self.exchanges: dict[str, Exchange] = {
            name: venue.make(self.world, self.ledger) for name, venue in self.venues.items()
        }
        self._host, self._port, self._tls = host, port, tls
        self._control_port = control_port
        self._control: PortServer | None = None
        self._drain: Drain | None = None
        self._drained = asyncio.Event()
        #: Called if the market breaks down; `close` then raises why.
        self.on_failure: Callable[[], None] | None = None
        schedule = load_schedule(faults)
        if schedule is not None:
            self.inject(*schedule.fault)
        self._servers: dict[str, PortServer] = {}
        self._pump_task: asyncio.Task[None] | None = None

    def _rate_of(self, rate_per_s: float | Mapping[str, float], owner: str) -> float:
        """Return the rate of an owner's books: the highest given for it or a venue showing them."""
        if isinstance(rate_per_s, int | float):
            return float(rate_per_s)
        names = [owner, *(name for name, one in self.venues.items() if one.owner == owner)]
        return max(float(rate_per_s.get(name, 0.0)) for name in names)

    # ── life ───────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Listen on all ports and let the market run."""
        if self._pump_task is not None:
            return
        try:
            for place, (name, exchange) in enumerate(self.exchanges.items()):
                server = PortServer(exchange, self.advance)
                await server.start(self._host, self._port + place if self._port else 0, self._tls)
                self._servers[name] = server
            if self._control_port is not None:
                self._control = PortServer(ControlEndpoint(self), self.advance)
                await self._control.start("127.0.0.1", self._control_port, None)
        except BaseException:
            await self.close()
            raise
        # Owned here, awaited in close(): the simulator's own lifetime is the task's scope.
        self._pump_task = asyncio.create_task(self._pump(), name="simulator-pump")
        self._pump_task.add_done_callback(self._on_pump_end)

    def _on_pump_end(self, task: asyncio.Task[None]) -> None:
        """Tell the owner that the market has broken down; `close` raises why."""
        if not task.cancelled() and task.exception() is not None:
            self._drained.set()
            if self.on_failure is not None:
                self.on_failure()

    async def close(self) -> None:
        """Stop the market, end all connections, free the ports.

        Raises:
            Exception: whatever broke the market down, if something did (a fault of ours).
        """
        task, self._pump_task = self._pump_task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.result()
        finally:
            for server in self._servers.values():
                await server.close()
            self._servers.clear()
            if self._control is not None:
                await self._control.close()
                self._control = None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def __repr__(self) -> str:
        ports = {name: server.port for name, server in self._servers.items()}
        return f"<Simulator {ports or 'not started'} {self.world.actions} actions>"

    async def _pump(self) -> None:
        """Advance and write until cancelled."""
        while True:
            now_ns = self.advance()
            for server in self._servers.values():
                server.flush()
            if self.is_drained:
                self._drained.set()
            due_ns = self.world.scheduler.next_due_ns()
            rest_s = _REST_MAX_S if due_ns is None else (due_ns - now_ns) / _NS
            await asyncio.sleep(min(_REST_MAX_S, max(_REST_MIN_S, rest_s)))

    def advance(self) -> int:
        """Do everything due up to now; return the time. Skips time that was slept through."""
        now_ns = self.clock.now_ns()
        due_ns = self.world.scheduler.next_due_ns()
        if due_ns is not None and now_ns - due_ns > _CATCH_UP_NS:
            self.world.scheduler.jump(now_ns)
        self.world.step(now_ns)
        return now_ns

    # ── where it listens ───────────────────────────────────────────────────

    def ws_url(self, venue: str) -> str:
        """Return the base of a venue's WebSocket URLs."""
        scheme = "wss" if self._tls is not None else "ws"
        return f"{scheme}://{self._host}:{self._server(venue).port}{self.venues[venue].ws_path}"

    def rest_url(self, venue: str) -> str:
        """Return the base of a venue's REST URLs."""
        scheme = "https" if self._tls is not None else "http"
        return f"{scheme}://{self._host}:{self._server(venue).port}{self.venues[venue].rest_path}"

    def _server(self, venue: str) -> PortServer:
        """Return a venue's server, if it runs."""
        if venue not in self._servers:
            raise ConfigError(
                f"venue {venue!r} is not being served; started: {', '.join(self._servers)}",
                field="simulator.venues",
            )
        return self._servers[venue]

    @property
    def control_url(self) -> str | None:
        """Return the base of the control URLs, None if there is no control port."""
        return None if self._control is None else f"http://127.0.0.1:{self._control.port}"

    # ── by hand ────────────────────────────────────────────────────────────

    def pause(self) -> None:
        """Let no market act; timers, pings and heartbeats go on."""
        self.world.is_paused = True

    def resume(self) -> None:
        """Let the markets act again."""
        self.world.is_paused = False

    def inject(self, *rules: FaultRule) -> None:
        """Put fault rules to work; their times count from now."""
        now_ns = self.world.scheduler.now_ns
        for exchange in self.exchanges.values():
            exchange.inject(rules, now_ns)

    def calm(self) -> None:
        """End all faults; what they hold back is delivered. The markets go on."""
        for exchange in self.exchanges.values():
            exchange.stop_faults()

    def cut_all(self, venue: str = "", mode: CutMode = "reset") -> int:
        """Cut all connections of a venue (of all, if none is named); return how many.

        Raises:
            ConfigError: the venue is not served.
        """
        if venue and venue not in self.exchanges:
            raise ConfigError(f"venue {venue!r} is not served", field="venue")
        now_ns = self.world.scheduler.now_ns
        count = 0
        for name, exchange in self.exchanges.items():
            if venue in {"", name}:
                for session in tuple(exchange.sessions.values()):
                    session.cut(Cut(mode), now_ns)
                    count += 1
        return count

    async def shut(self, venue: str) -> None:
        """Refuse connections to a venue from now on; reset those it has. Its market goes on."""
        await self._server(venue).close()

    async def reopen(self, venue: str) -> None:
        """Listen again on the port a venue had before `shut`."""
        server = self._server(venue)
        await server.start(self._host, server.port, self._tls)

    # ── the truth ──────────────────────────────────────────────────────────

    def market(self, venue: str, symbol: str) -> Market:
        """Return the market behind a venue's symbol (its own name of it, or the unified one).

        Raises:
            UnknownSymbolError: the venue does not list it.
        """
        for one in self.exchanges[venue].instruments.values():
            if symbol in {one.symbol, one.unified}:
                return self.world.market(self.venues[venue].owner, one.unified)
        raise UnknownSymbolError(f"{venue} does not list {symbol!r}", field="symbol")

    def book(
        self,
        venue: str,
        symbol: str,
        *,
        update_id: int | None = None,
        time_ns: int | None = None,
    ) -> BookState | None:
        """Return the true book, in ticks and lots, at an update id, at a time, or now.

        None if that moment is no longer kept (some 24,000 changes back).
        """
        market = self.market(venue, symbol)
        if update_id is not None:
            return market.history.at(update_id)
        return market.history.at_time(self.world.scheduler.now_ns if time_ns is None else time_ns)

    def report(self) -> dict[str, Any]:
        """Return the ledger and the totals of all markets as plain values for JSON."""
        markets = [
            {
                "venue": venue,
                "symbol": market.instrument.symbol,
                "unified": unified,
                "trades": market.trade_count,
                "volume": trimmed(market.lots_traded, market.instrument.grid.lot_decimals),
                "trade_id": market.ids.trade,
                "update_id": market.ids.update,
                "sequence": market.ids.sequence,
            }
            for (venue, unified), market in self.world.markets()
        ]
        return {**self.ledger.export(), "markets": markets}

    # ── the end ────────────────────────────────────────────────────────────

    def begin_drain(self, *, grace_s: float = 2.0, limit_s: float = 5.0) -> None:
        """Stop the faults, let every earlier loss become visible, then stop the market.

        Args:
            grace_s: How long the market goes on regardless, so that clients can reconnect.
            limit_s: How long after that to wait for clients that do not come back.
        """
        if self._drain is None:
            self._drain = Drain(self.world, self.exchanges, grace_s=grace_s, limit_s=limit_s)

    async def drain(self, *, grace_s: float = 2.0, limit_s: float = 5.0) -> None:
        """Drain, and return once everything is still and written."""
        self.begin_drain(grace_s=grace_s, limit_s=limit_s)
        await self._drained.wait()

    @property
    def is_drained(self) -> bool:
        """Tell whether a drain has been asked for and is over."""
        return self._drain is not None and self._drain.is_done

    def status(self) -> dict[str, Any]:
        """Return the present state as plain values."""
        world = self.world
        return {
            "phase": (
                "running" if self._drain is None else "drained" if self.is_drained else "draining"
            ),
            "is_paused": world.is_paused,
            "seed": world.options.seed,
            "symbols": len(world.options.symbols),
            "now_ns": world.scheduler.now_ns,
            "skipped_ns": world.scheduler.skipped_ns,
            "actions": world.actions,
            "venues": {
                name: {
                    "ws": self.ws_url(name),
                    "rest": self.rest_url(name),
                    "connections": len(exchange.sessions),
                    "subscriptions": sum(len(one.subs) for one in exchange.sessions.values()),
                }
                for name, exchange in self.exchanges.items()
                if name in self._servers
            },
            "totals": self.ledger.totals(),
        }
