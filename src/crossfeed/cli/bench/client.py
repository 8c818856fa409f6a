"""One measured client: one process, one run, one line of JSON.

    python -m crossfeed.cli.bench.client '{"client": "crossfeed", ...}'

Connects, says `ready`, and counts from there: its CPU time (user and system), when each message
reached the callback, its memory. The clock stands from `ready` on, so whatever a client does before
its first callback counts.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from msgspec import Struct
from picows import WSTransport

from crossfeed.cli.bench.floors import run_floor

__all__ = ["ClientFeed", "ClientOrder", "Counter", "main"]

QUIET_S: Final = 3.0
BUDGET: Final = 1 << 40
EVENT_OF: Final = {"trade": "trade", "quote": "book_ticker", "depth": "book"}


class ClientFeed(Struct, frozen=True, kw_only=True):
    """One venue to connect to."""

    venue: str
    port: int
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    messages: int


class ClientOrder(Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        client: "crossfeed", "floor:raw", "floor:msgspec", or a peer's name.
        feeds: Where.
        connections: Connections of each feed, as far as the client can choose.
        subscribers: Handlers of each kind of event.
        mode: "events", or "aggregator".
        strategy: Of the aggregator.
        is_timed: Whether the time of each callback is kept.
        ca_file: Certificate authority where the server speaks TLS, else empty.
    """

    client: str
    feeds: tuple[ClientFeed, ...]
    connections: int = 1
    subscribers: int = 1
    mode: str = "events"
    strategy: str = "best_bid_ask"
    is_timed: bool = False
    ca_file: str = ""

    def url(self, feed: ClientFeed, scheme: str) -> str:
        """Return the address of a feed; `scheme` is "ws" or "http"."""
        return f"{scheme}{'s' if self.ca_file else ''}://127.0.0.1:{feed.port}"


class Counter:
    """Counts callbacks; stops the clock when all are there."""

    def __init__(self, expected: int, *, is_timed: bool) -> None:
        """Expect so many callbacks."""
        self.expected = expected
        self.seen = 0
        self.times_ns: list[int] | None = [] if is_timed else None
        self.done = asyncio.Event()
        self.cpu_start_s = 0.0
        self.cpu_s = 0.0
        self.done_ns = 0

    def start(self) -> None:
        """Start the clock; say so."""
        self.cpu_start_s = _cpu_s()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    def take(self, event: object) -> None:  # noqa: ARG002 - a handler's signature
        """Take one callback."""
        self.seen += 1
        if self.times_ns is not None:
            self.times_ns.append(time.monotonic_ns())
        if self.seen == self.expected:
            self.finish()

    def take_book(self, book: Any) -> None:  # noqa: ANN401 - a live book of any client
        """Take one callback of a book: read its top."""
        book.best()
        self.take(book)

    def finish(self) -> None:
        """Stop the clock."""
        self.cpu_s = _cpu_s() - self.cpu_start_s
        self.done_ns = time.monotonic_ns()
        self.done.set()

    async def wait(self) -> None:
        """Wait for the last callback, or until none has come for a while."""
        before = -1
        while not self.done.is_set():
            if self.seen == before and self.seen:
                self.finish()
                return
            before = self.seen
            try:
                async with asyncio.timeout(QUIET_S if self.seen else 10.0):
                    await self.done.wait()
            except TimeoutError:
                if not self.seen:
                    self.finish()

    def report(self) -> dict[str, Any]:
        """Return the figures."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seen": self.seen,
            "cpu_s": self.cpu_s,
            "done_ns": self.done_ns,
            "rss_mb": usage.ru_maxrss / 1024,
            "times_ns": self.times_ns or [],
        }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def subscriptions(feed: ClientFeed) -> list[dict[str, Any]]:
    """Write the venue's own subscribe messages, for clients that are written by hand."""
    if feed.venue == "binance":
        words = {"trade": "trade", "quote": "bookTicker", "depth": "depth@100ms"}
        names = [f"{s.lower()}@{words[kind]}" for s in feed.symbols for kind in feed.kinds]
        return [
            {"method": "SUBSCRIBE", "params": names[at : at + 200], "id": at}
            for at in range(0, len(names), 200)
        ]
    if feed.venue == "coinbase":
        words = {"trade": "matches", "quote": "ticker", "depth": "level2_batch"}
        return [
            {
                "type": "subscribe",
                "product_ids": feed.symbols,
                "channels": [words[kind] for kind in feed.kinds],
            }
        ]
    words = {"trade": "trade", "quote": "ticker", "depth": "book"}
    return [
        {"method": "subscribe", "params": {"channel": words[kind], "symbol": feed.symbols}}
        for kind in feed.kinds
    ]


async def _floor(order: ClientOrder, counter: Counter) -> Callable[[], Awaitable[None]]:
    transports: list[WSTransport] = []
    for feed in order.feeds:
        asked = subscriptions(feed)
        for part in range(order.connections):
            transport = await run_floor(
                order.client, feed.venue, order.url(feed, "ws"),
                _split(asked, part, order.connections), counter.take, order.ca_file,
            )  # fmt: skip
            transports.append(transport)

    async def close() -> None:
        for transport in transports:
            transport.disconnect()

    return close


def _split(asked: list[dict[str, Any]], part: int, parts: int) -> list[dict[str, Any]]:
    """Take every n-th stream of Binance's subscribe messages."""
    if parts == 1:
        return asked
    names = [name for message in asked for name in message["params"]]
    return [{"method": "SUBSCRIBE", "params": names[part::parts], "id": part}]


async def _crossfeed(order: ClientOrder, counter: Counter) -> Callable[[], Awaitable[None]]:
    from crossfeed.clients.venue_client import VenueClient
    from crossfeed.runtime.settings import FeedSettings
    from crossfeed.transport.rest_budget import RestBudget

    clients: list[VenueClient] = []
    for feed in order.feeds:
        kinds = [_kind(feed, kind) for kind in feed.kinds]
        streams = len(kinds) * len(feed.symbols)
        settings = FeedSettings(
            ws_url=order.url(feed, "ws"),
            rest_url=order.url(feed, "http"),
            ca_file=order.ca_file,
            metadata="auto" if feed.venue == "binance" else "builtin",
            streams_per_connection=-(-streams // order.connections) if order.connections > 1 else 0,
        )
        client = VenueClient(feed.venue, symbols=feed.symbols, kinds=kinds, settings=settings)
        # Fetching 50 images takes a minute within Binance's weight limit: that is not measured.
        session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        session.links.rest_budget = RestBudget(BUDGET, 60.0)
        for kind in kinds:
            take = counter.take_book if kind == "book" else counter.take
            client.on(kind, take)
            for _ in range(order.subscribers - 1):
                client.on(kind, _nothing)
        await client.connect()
        clients.append(client)
    await _wait_books(clients)

    async def close() -> None:
        for client in clients:
            await client.close()

    return close


async def _aggregator(order: ClientOrder, counter: Counter) -> Callable[[], Awaitable[None]]:
    from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
    from crossfeed.clients.aggregator import MarketDataAggregator
    from crossfeed.runtime.settings import FeedSettings

    config = AggregatorConfig(
        exchanges=[feed.venue for feed in order.feeds],
        symbols={"BTC/USD": {feed.venue: feed.symbols[0] for feed in order.feeds}},
        aggregation_strategy=AggregationStrategy(order.strategy),
        update_interval=0.0,
    )
    settings = {
        feed.venue: FeedSettings(
            ws_url=order.url(feed, "ws"), rest_url=order.url(feed, "http"), metadata="builtin"
        )
        for feed in order.feeds
    }
    kind = "trade" if "trade" in order.feeds[0].kinds else "book_ticker"
    aggregator = MarketDataAggregator(config, venues=settings)
    aggregator.subscribe("*", kind, _nothing)
    for client in aggregator.clients.values():
        client.on(kind, counter.take)
    await aggregator.start()
    await _wait_books(list(aggregator.clients.values()))

    async def close() -> None:
        published = aggregator.get_stats()["updates_published"]
        assert published >= counter.seen // 2, f"only {published} updates of {counter.seen} events"
        await aggregator.stop()

    return close


def _kind(feed: ClientFeed, kind: str) -> str:
    """Return our word; Coinbase's `quote` messages are its tickers."""
    return "ticker" if feed.venue == "coinbase" and kind == "quote" else EVENT_OF.get(kind, kind)


async def _wait_books(clients: list[Any]) -> None:
    """Wait until every book stands."""
    from crossfeed.model.trust import Trust

    async with asyncio.timeout(120.0):
        while True:
            books = [t for c in clients for t in c.trusts() if t.stream.channel == "book"]
            if all(trust.current is Trust.SOUND for trust in books):
                return
            await asyncio.sleep(0.01)


def _nothing(event: object) -> None:
    """Be one more subscriber."""


async def run_client(order: ClientOrder) -> dict[str, Any]:
    """Run one order; return its figures."""
    counter = Counter(sum(feed.messages for feed in order.feeds), is_timed=order.is_timed)
    if order.client.startswith("floor:"):
        close = await _floor(order, counter)
    elif order.mode == "aggregator":
        close = await _aggregator(order, counter)
    else:
        close = await _crossfeed(order, counter)
    counter.start()
    await counter.wait()
    report = counter.report()
    await close()
    return report


def main() -> int:
    """Run one order from the command line."""
    from crossfeed.runtime.loop import run

    order = msgspec.json.decode(sys.argv[1], type=ClientOrder)
    profile = os.environ.get("CROSSFEED_BENCH_PROFILE", "")
    if profile:
        import cProfile

        profiler = cProfile.Profile()
        report = profiler.runcall(run, run_client(order))
        profiler.dump_stats(profile)
    else:
        report = run(run_client(order))
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
