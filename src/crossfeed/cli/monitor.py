"""What the views show: the newest prices per venue, the consolidated quote, rates, ages, trust."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from crossfeed.clients.aggregator import MarketDataAggregator
from crossfeed.model.events import MarketData, Quote, Ticker, Trade
from crossfeed.model.ports import Clock
from crossfeed.model.trust import Trust
from crossfeed.model.unified import UnifiedMarketData
from crossfeed.runtime.histogram import Histogram

__all__ = ["FeedMonitor", "Row", "VenueCell"]

NS_PER_S: Final = 1_000_000_000
RATE_WINDOW_NS: Final = 2 * NS_PER_S


class VenueCell(Struct, frozen=True):
    """One venue's state of one symbol.

    Attributes:
        price: Last trade or ticker price, None before the first.
        bid: Best bid, None before the first quote.
        ask: Best ask.
        age_s: Seconds since the last news, None before the first.
        trust: Worst trust of its streams.
        cause: Why, where it is not SOUND.
    """

    price: float | None
    bid: float | None
    ask: float | None
    age_s: float | None
    trust: Trust
    cause: str


class Row(Struct, frozen=True):
    """One symbol over all venues."""

    symbol: str
    venues: dict[str, VenueCell]
    view: dict[str, Any]
    excluded: dict[str, str]
    quote_mismatch: bool
    rate_per_s: float


class FeedMonitor:
    """Listens to an aggregator and its clients; asked by the views a few times a second.

    Args:
        aggregator: Not started yet.
        clock: The aggregator's clock.

    Attributes:
        latency: From the venue's event time to our callback, ns (sensible where the clocks agree).
        errors: The last few errors, for people.
        on_trouble: Called with the text of each error.
    """

    def __init__(self, aggregator: MarketDataAggregator, clock: Clock) -> None:
        """Subscribe."""
        self.aggregator = aggregator
        self.latency = Histogram()
        self.errors: list[str] = []
        self.on_trouble: Callable[[str], None] | None = None
        self.updates = 0
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._cpu_s = _cpu_s()
        self._messages = 0
        self._last: dict[tuple[str, str], dict[str, Any]] = {}
        self._views: dict[str, dict[str, UnifiedMarketData]] = {}
        self._counts: dict[str, int] = {}
        self._window: dict[str, int] = {}
        self._window_ns = self._started_ns
        self._rates: dict[str, float] = {}
        self._unified = {
            (client.venue.profile.exchange, venues[name]): unified
            for unified, venues in aggregator.symbols.items()
            for name, client in aggregator.clients.items()
            if name in venues
        }
        for client in aggregator.clients.values():
            for data_type in ("trade", "ticker", "book_ticker"):
                client.add_handler(data_type, self._on_event)
        for data_type in ("trade", "ticker", "book_ticker"):
            aggregator.subscribe("*", data_type, self._on_value)
        aggregator.on_error(self._on_error)

    # ── listening ───────────────────────────────────────────────────────────

    def _on_event(self, event: MarketData) -> None:
        key = (event.exchange, event.symbol)
        cell = self._last.setdefault(key, {})
        if isinstance(event, Trade | Ticker):
            cell["price"] = event.price
        elif isinstance(event, Quote):
            cell["bid"], cell["ask"] = event.bid_price, event.ask_price
        cell["mono_ns"] = event.ts_mono_ns
        unified = self._unified.get(key, "")
        self._counts[unified] = self._counts.get(unified, 0) + 1
        if event.ts_event_ns and isinstance(event, Trade) and not event.marks:
            self.latency.add(self._clock.now_ns() - event.ts_event_ns)

    def _on_value(self, value: UnifiedMarketData) -> None:
        self.updates += 1
        self._views.setdefault(value.symbol, {})[value.data_type] = value

    def _on_error(self, error: BaseException) -> None:
        text = " ".join(str(error).split())
        self.errors = [*self.errors[-4:], text]
        if self.on_trouble is not None:
            self.on_trouble(text)

    def begin(self) -> None:
        """Leave imports, handshakes and metadata out of the CPU time of a message."""
        self._cpu_s = _cpu_s()
        self._messages = sum(each["message_count"] for each in self.venue_stats().values())

    # ── asking ──────────────────────────────────────────────────────────────

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return (self._clock.monotonic_ns() - self._started_ns) / NS_PER_S

    def rows(self) -> list[Row]:
        """Return the present state of every symbol."""
        now_ns = self._clock.monotonic_ns()
        self._measure_rates(now_ns)
        trusts = self._trusts()
        return [
            self._row(symbol, venues, trusts, now_ns)
            for symbol, venues in self.aggregator.symbols.items()
        ]

    def _row(
        self,
        symbol: str,
        venues: dict[str, str],
        trusts: dict[tuple[str, str], tuple[Trust, str]],
        now_ns: int,
    ) -> Row:
        cells: dict[str, VenueCell] = {}
        for name, own in venues.items():
            exchange = self.aggregator.clients[name].venue.profile.exchange
            last = self._last.get((exchange, own), {})
            mono_ns = last.get("mono_ns")
            trust, cause = trusts.get((name, own), (Trust.UNAVAILABLE, "not connected"))
            cells[name] = VenueCell(
                last.get("price"),
                last.get("bid"),
                last.get("ask"),
                None if mono_ns is None else max(0.0, (now_ns - mono_ns) / NS_PER_S),
                trust,
                cause,
            )
        quote = self._views.get(symbol, {}).get("book_ticker")
        return Row(
            symbol,
            cells,
            {} if quote is None else quote.data,
            {} if quote is None else {left.exchange: left.reason for left in quote.excluded},
            False if quote is None else quote.quote_mismatch,
            self._rates.get(symbol, 0.0),
        )

    def _trusts(self) -> dict[tuple[str, str], tuple[Trust, str]]:
        """Return the worst trust per (venue, venue symbol), with its cause."""
        found: dict[tuple[str, str], tuple[Trust, str]] = {}
        for name, client in self.aggregator.clients.items():
            for trust in client.trusts():
                if trust.stream.channel in {"heartbeat", "status"}:
                    continue
                key = (name, trust.stream.symbol)
                known = found.get(key)
                if known is None or trust.current > known[0]:
                    found[key] = (trust.current, trust.cause)
        return found

    def _measure_rates(self, now_ns: int) -> None:
        passed_ns = now_ns - self._window_ns
        if passed_ns < NS_PER_S // 2:
            return
        for symbol, count in self._counts.items():
            fresh = (count - self._window.get(symbol, 0)) * NS_PER_S / passed_ns
            self._rates[symbol] = fresh
        if passed_ns >= RATE_WINDOW_NS:
            self._window, self._window_ns = dict(self._counts), now_ns

    def venue_stats(self) -> dict[str, dict[str, Any]]:
        """Return every venue's own statistics."""
        return {name: client.get_stats() for name, client in self.aggregator.clients.items()}

    def summary(self) -> dict[str, Any]:
        """Return the figures of the whole run."""
        stats = self.aggregator.get_stats()
        venues = self.venue_stats()
        messages = sum(each["message_count"] for each in venues.values())
        counted = messages - self._messages
        cpu_s = _cpu_s() - self._cpu_s
        return {
            "messages_received": messages,
            "updates_published": stats["updates_published"],
            "exchanges_active": stats["exchanges_active"],
            "delivered": sum(each["messages"] for each in venues.values()),
            "invalid": sum(each["invalid"] for each in venues.values()),
            "gaps": sum(each["gaps"] for each in venues.values()),
            "gaps_open": sum(each["gaps_open"] for each in venues.values()),
            "events_missing": sum(each["events_missing"] for each in venues.values()),
            "events_repaired": sum(each["events_repaired"] for each in venues.values()),
            "duplicates": sum(each["duplicates"] for each in venues.values()),
            "reconnects": sum(each["reconnect_attempts"] for each in venues.values()),
            "seconds": round(self.seconds, 3),
            "cpu_us_per_message": round(cpu_s * 1e6 / counted, 2) if counted else None,
            "latency_us": {
                "p50": round(self.latency.quantile(0.5) / 1e3, 1),
                "p99": round(self.latency.quantile(0.99) / 1e3, 1),
            },
            "venues": {
                name: {
                    "state": each["state"],
                    "messages": each["message_count"],
                    "gaps": each["gaps"],
                    "duplicates": each["duplicates"],
                    "invalid": each["invalid"],
                }
                for name, each in venues.items()
            },
        }


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
