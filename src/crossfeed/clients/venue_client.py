"""One venue's client.

Subscriptions, callbacks, streams, books and statistics, for any venue by name.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from crossfeed.books.book import OrderBook
from crossfeed.books.l3 import OrderBookL3
from crossfeed.clients.arguments import check_data_types, check_instance, check_texts
from crossfeed.clients.listening import ALL, Listening
from crossfeed.errors import CrossfeedError, NotConnectedError, UnknownSymbolError
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.instrument import Instrument
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.auditor import BookAudit
from crossfeed.runtime.clock import SystemClock, SystemRandom
from crossfeed.runtime.delivery import EventStream, Router
from crossfeed.runtime.histogram import Histogram
from crossfeed.runtime.queues import OverflowPolicy
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.session import Request, Session
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.registry import find_venue

__all__ = ["VenueClient"]

QUEUE_CAPACITY = 10_000


class VenueClient(Listening):
    """Everything from one venue.

    ```python
    async with VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade"]) as client:
        async for trade in client.stream("trade"):
            ...
    ```

    Created by the user; `connect()` (or `async with`) opens it, `close()` ends it and everything it
    started; it may be connected again. All calls belong to one event loop.

    Args:
        venue: Name of the venue ("binance", "coinbase", "coinbase_advanced", "kraken").
        symbols: The venue's own symbols or unified ones ("BTC/USD").
        kinds: "trade", "agg_trade", "ticker", "mini_ticker", "kline_1m", "depth", "book",
            "book_ticker", "heartbeat", "status", "full".
        settings: Connection, trust and delivery settings.
        clock: Source of time; default: the system's.
        random: Source of jitter; default: the system's.
        recorder: Where everything that comes in is recorded; default: nowhere.

    Raises:
        ConfigError: Unknown venue, symbol that is none, or a kind the venue does not have.
    """

    queue_capacity = QUEUE_CAPACITY

    def __init__(
        self,
        venue: str,
        *,
        symbols: Sequence[str] = (),
        kinds: Sequence[str] = (),
        settings: FeedSettings | None = None,
        clock: Clock | None = None,
        random: RandomSource | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Check the configuration; nothing is connected yet."""
        self.venue = find_venue(venue)
        self.settings = FeedSettings() if settings is None else settings
        check_instance(self.settings, FeedSettings, "settings")
        self.router = Router(failures_max=self.settings.handler_failures_max)
        self.gaps = GapLedger()
        self._session = Session(
            self.venue,
            self.settings,
            router=self.router,
            ledger=self.gaps,
            clock=clock or SystemClock(),
            random=random or SystemRandom(),
            tap=None if recorder is None else recorder.tap(venue),
        )
        self._wanted: dict[Request, None] = dict.fromkeys(self._requests(symbols, kinds))
        self._session.state_handlers.append(self.router.states.emit)
        self._closed: asyncio.Event | None = None
        self._is_connected = False
        self._works: set[asyncio.Future[None]] = set()
        self._was_interrupted = False

    def __repr__(self) -> str:
        """Return a status line."""
        stats = self.get_stats()
        return (
            f"<{type(self).__name__} {self.venue.name} {stats['state']} "
            f"{stats['message_count']} messages {len(self._wanted)} subscriptions>"
        )

    # ── life ────────────────────────────────────────────────────────────────

    async def connect(self) -> None:
        """Connect and subscribe; return when the venue acknowledged. Data flows in the background.

        Raises:
            UnknownSymbolError: A symbol the venue does not list; nothing was opened.
            SubscriptionRejectedError: The venue refused all subscriptions, or one with `strict`.
            TransportError: No connection within `connect_deadline_s`. After any error the client is
                closed and may be connected again.
        """
        if self._is_connected:
            return
        self._closed = asyncio.Event()
        self._was_interrupted = False
        self.router.start()
        try:
            asked = dict(self._wanted)
            await self._until_closed(self._session.open(list(asked)))
            self._is_connected = True
            await self._until_closed(self._catch_up(asked))
        except NotConnectedError:
            if not self._was_interrupted:
                await self.close()
                raise
            # A handler that has what it wanted closes, maybe before the last acknowledgement.
        except BaseException:
            await self.close()
            raise

    async def _catch_up(self, asked: dict[Request, None]) -> None:
        """Do what handlers and other tasks have asked for while it connected."""
        try:
            if new := [request for request in self._wanted if request not in asked]:
                await self._session.add(new)
            if old := [request for request in asked if request not in self._wanted]:
                await self._session.remove(old)
        except CrossfeedError as error:
            self._session.report(error)  # who asked has been answered long ago

    async def _until_closed(self, work: Coroutine[Any, Any, None]) -> None:
        """Await work on the session; `close` interrupts it, whoever waits for it."""
        task = asyncio.ensure_future(work)
        self._works.add(task)
        try:
            await task
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if task in self._works or own is None or own.cancelling():
                raise
            raise NotConnectedError("closed meanwhile", where=self.venue.name) from None
        finally:
            self._works.discard(task)

    async def learn_instruments(self) -> None:
        """Learn what the venue lists, ahead of `connect`.

        The built-in table stands in for a silence.
        """
        await self._session.learn_instruments()

    def instrument(self, name: str) -> Instrument:
        """Return the instrument of a venue symbol or a unified one.

        Raises:
            UnknownSymbolError: The venue lists no such thing.
        """
        return self._session.instrument(name)

    async def close(self) -> None:
        """End all connections and background work, within 5 s. Closing twice is harmless.

        A `connect` under way in another task just returns; a `subscribe` or `unsubscribe` ends with
        `NotConnectedError`.
        """
        self._is_connected = False
        works, self._works = self._works, set()
        self._was_interrupted |= bool(works)
        if works:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
        await self._session.close()
        await self.router.close()
        if self._closed is not None:
            self._closed.set()

    async def run(self) -> None:
        """Connect if need be, and wait until the client is closed or this call is cancelled."""
        await self.connect()
        closed = self._closed
        try:
            if closed is not None:
                await closed.wait()
        finally:
            await self.close()

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()

    def __del__(self) -> None:
        """Warn if nobody has closed it: its connections live on until the event loop ends."""
        if getattr(self, "_is_connected", False):
            msg = f"{self.venue.name}: never closed: use `async with`, or await close()"
            warnings.warn(msg, ResourceWarning, stacklevel=1, source=self)

    # ── subscriptions ───────────────────────────────────────────────────────

    def _requests(self, symbols: Iterable[str], kinds: Iterable[str]) -> list[Request]:
        """Pair symbols with kinds; kinds of the whole venue stand alone. Checks both."""
        listed = check_texts(symbols, "symbols")
        made: list[Request] = []
        for kind in check_texts(kinds, "kinds"):
            if self._session.is_venue_wide(kind):
                made.append(Request(kind, ""))
                continue
            made += [Request(kind, symbol) for symbol in listed]
        for request in made:
            self._session.check(request)
        return made

    async def subscribe(self, symbols: Sequence[str], kinds: Sequence[str]) -> None:
        """Add streams; return when the venue acknowledged. Before `connect` they are only noted.

        Raises:
            UnknownSymbolError: The venue lists no such symbol; nothing was subscribed.
            SubscriptionRejectedError: The venue refused all of them.
        """
        new = [request for request in self._requests(symbols, kinds) if request not in self._wanted]
        if self._is_connected and new:
            await self._until_closed(self._session.add(new))
        self._wanted |= dict.fromkeys(new)

    async def unsubscribe(self, symbols: Sequence[str], kinds: Sequence[str]) -> None:
        """Remove streams; return when the venue acknowledged. What is not subscribed is ignored."""
        old = [request for request in self._requests(symbols, kinds) if request in self._wanted]
        if self._is_connected and old:
            await self._until_closed(self._session.remove(old))
        for request in old:
            self._wanted.pop(request, None)

    # ── callbacks and streams ───────────────────────────────────────────────

    def on_state_change(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Call `handler(old, new)` when a connection changes its `ConnectionState`.

        It may be a coroutine function.
        """
        self.router.states.add(handler)
        return handler

    def stream(
        self,
        *data_types: str,
        symbol: str = ALL,
        capacity: int = QUEUE_CAPACITY,
        policy: OverflowPolicy = OverflowPolicy.DROP_OLDEST,
    ) -> EventStream:
        """Return `async for event in ...` over the events of `data_types` (none: all of them).

        It may be opened before its symbol is subscribed, so that nothing is missed; until then it
        is silent.

        Raises:
            UnsupportedChannelError: No event has such a data type.
            UnknownSymbolError: The venue, which is connected, lists no such symbol.
        """
        check_data_types(data_types)
        own = self._own_name(symbol)
        stream = self.router.stream(data_types, own, capacity=capacity, policy=policy)
        self._listeners_changed()
        return stream

    def _listeners_changed(self) -> None:
        self._session.listeners_changed()

    def _own_name(self, symbol: str) -> str:
        """Return the venue's name of a symbol: BTC/USD is BTCUSDT at Binance, as in `subscribe`."""
        if symbol == ALL:
            return symbol
        try:
            return self.instrument(symbol).symbol
        except UnknownSymbolError:
            if self._is_connected:
                raise  # all that is listed is known: nothing would ever come
            return symbol

    # ── books ───────────────────────────────────────────────────────────────

    def book(self, symbol: str) -> OrderBook:
        """Return the maintained book of `symbol` (the venue's own or unified).

        Raises:
            UnknownSymbolError: No book is kept for it: subscribe kind "book".
        """
        book = self._session.book(symbol)
        if book is None:
            msg = f'{self.venue.name} keeps no book of {symbol!r}: subscribe kind "book" for it'
            raise UnknownSymbolError(msg)
        return book

    def order_book_l3(self, symbol: str) -> OrderBookL3:
        """Return the order-by-order book of `symbol`, kept beside kind "full" (Coinbase).

        Live like `book`: its levels, and each resting order by id or by its place in the queue. Its
        trust and gaps are those of a stream of its own, "book_l3".

        Raises:
            UnknownSymbolError: No such book is kept for it: subscribe kind "full".
        """
        book = self._l3(symbol)
        if book is None:
            name = self.venue.name
            msg = f'{name} keeps no order-by-order book of {symbol!r}: subscribe kind "full" for it'
            raise UnknownSymbolError(msg)
        return book

    def _l3(self, symbol: str) -> OrderBookL3 | None:
        return self._session.streams.order_book(self._own_name(symbol))

    async def books(self, symbol: str) -> AsyncIterator[OrderBook]:
        """Yield the book of `symbol` after each change, conflated: always the newest state."""
        async with self.stream(
            "book", symbol=symbol, capacity=1, policy=OverflowPolicy.CONFLATE
        ) as changes:
            async for _ in changes:
                yield self.book(symbol)

    def audit(self, symbol: str) -> None:
        """Compare the book of `symbol` with a REST image, in the background; see `audits`.

        Raises:
            UnknownSymbolError: No book is kept for it.
        """
        self._session.auditor.audit(self.book(symbol).symbol, self._session.clock.monotonic_ns())

    def audits(self) -> list[BookAudit]:
        """Return the newest audit of each book: its match score against the venue's own image."""
        return list(self._session.auditor.results())

    def resync(self, symbol: str) -> None:
        """Throw the books of `symbol` away and build them again, in the background.

        Raises:
            UnknownSymbolError: No book is kept for it.
        """
        if self._l3(symbol) is None:
            self.book(symbol)
        self._session.resync(symbol)

    def trusts(self) -> Iterator[StreamTrust]:
        """Yield the trust of every open stream: state, cause, since when."""
        return self._session.streams.trusts()

    @property
    def processing(self) -> Histogram:
        """Time from the receipt of a frame to the end of its inline handlers, ns (sampled)."""
        return self._session.processing

    def passed_by_kind(self) -> Iterator[tuple[str, int]]:
        """Yield (kind, events let through) of every open stream."""
        return self._session.streams.passed_by_kind()

    # ── statistics ──────────────────────────────────────────────────────────

    def get_stats(self) -> dict[str, Any]:
        """Return the counters of the client.

        `state` is the worst of its connections; beside it messages, errors, reconnects, uptime,
        refused subscriptions, gaps, and under `connections` each connection's own; under
        `freshness` what was found silent and what was done about it; under `lines` each line of the
        streams that several connections carry: events, wins, how far behind, demoted or given out.
        """
        return self._session.stats()
