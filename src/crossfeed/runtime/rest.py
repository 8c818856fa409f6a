"""A session's REST side.

Instruments, book snapshots, gap repairs, and polls while the stream is out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from crossfeed.errors import ConnectFailedError, CrossfeedError, RateLimitedError
from crossfeed.model.commands import Backfill, FetchSnapshot, RestRequest, Want
from crossfeed.model.events import BookSnapshot
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.runtime.instrument_cache import InstrumentCache
from crossfeed.transport.http import HttpClient
from crossfeed.transport.state import ConnectionState

if TYPE_CHECKING:
    from crossfeed.runtime.book_flow import BookFlow
    from crossfeed.runtime.connection import Connection
    from crossfeed.runtime.pipeline import PureCore
    from crossfeed.runtime.session import Session

__all__ = ["RestDesk"]

log = logging.getLogger("crossfeed.rest")

REQUEST_DEADLINE_S: Final = 10.0
RETRY_BASE_S: Final = 0.25
RETRY_CAP_S: Final = 30.0
PAGES_MAX: Final = 100
URGENT, NORMAL, IDLE = 0, 1, 2
"""Priorities in the venue's budget: books first, then repairs, then polls and audits."""


class RestDesk:
    """Executes REST requests of one session within the venue's budget. Owned by the session."""

    def __init__(self, session: Session, base_urls: Mapping[str, str]) -> None:
        """Prepare; nothing is opened before the first request.

        Without a URL every request fails.
        """
        self._session = session
        self._base_urls = base_urls
        self._http: dict[str, HttpClient] = {}
        self._cache = InstrumentCache(session.venue.name, base_urls.get("", ""))
        self._learned = False
        self._polled: set[str] = set()
        self.requests = 0
        self.failures = 0

    def open(self) -> None:
        """Be ready for requests."""
        for name, url in self._base_urls.items():
            if name not in self._http:
                self._http[name] = self._session.links.make_http(url)

    async def close(self) -> None:
        """Close the HTTP connections."""
        clients, self._http = list(self._http.values()), {}
        for client in clients:
            await client.close()
        self._polled.clear()

    # ── instruments ─────────────────────────────────────────────────────────

    async def learn_instruments(self, symbols: Iterable[str]) -> None:
        """Adopt the venue's own instruments, from the cache or by REST; the built-in ones stand in.

        Raises:
            UnknownSymbolError: One of `symbols` is not among them.
        """
        session = self._session
        if session.settings.metadata == "auto" and not self._learned:
            now_ns = session.clock.now_ns()
            # A recording holds the venue's own answer, so that a replay server can give it.
            cached = self._cache.load(now_ns) if session.tap is None else None
            if cached is not None:
                self._adopt(cached)
                self._learned = True
            else:
                await self._fetch_instruments()
        for symbol in dict.fromkeys(symbols):
            if symbol:
                session.table.resolve(symbol, quotes=session.venue.profile.quote_order)

    async def _fetch_instruments(self) -> None:
        session = self._session
        request = session.venue.instruments_request()
        try:
            status, body = await self._call(request, URGENT, session.settings.metadata_deadline_s)
            if session.tap is not None:
                mono_ns = session.clock.monotonic_ns()
                now_ns = session.clock.now_ns()
                session.tap.answered("", request, status, body, now_ns, mono_ns, is_metadata=True)
            instruments = session.venue.parse_instruments(status, body)
        except CrossfeedError as error:
            log.warning(
                "%s: no live instrument list (%s); the built-in one stands in",
                session.venue.name,
                error,
            )
            return
        self._adopt(instruments)
        self._learned = True
        self._cache.save(instruments, session.clock.now_ns())

    def _adopt(self, instruments: Sequence[Instrument]) -> None:
        session = self._session
        if session.tap is not None:
            session.tap.adopted(instruments)
        session.table.adopt(instruments)

    # ── snapshots, repairs ──────────────────────────────────────────────────

    def fetch_snapshot(self, core: PureCore, wanted: FetchSnapshot) -> None:
        """Fetch a book snapshot in the background; the book itself asks again if none comes."""
        self._session.tasks.spawn(self._fetch_snapshot(core, wanted), f"snapshot:{wanted.symbol}")

    async def _fetch_snapshot(self, asking: PureCore, wanted: FetchSnapshot) -> None:
        session = self._session
        # A book that asks again by its timer does not know which connection carries its stream.
        for core in (asking, *(c.core for c in session.connections)):
            request = core.codec.snapshot_request(wanted.symbol, wanted.epoch, wanted.attempt)
            if request is not None:
                break
        else:
            return
        wait_s = 0.0
        try:
            await self._run(core, request, URGENT)
        except CrossfeedError as error:
            log.info("%s: snapshot of %s failed: %s", session.venue.name, wanted.symbol, error)
            if isinstance(error, RateLimitedError):
                wait_s = error.retry_after_s
            session.streams.snapshot_failed(
                wanted.symbol, wanted.epoch, session.clock.monotonic_ns(), wait_s
            )

    def backfill(self, core: PureCore, wanted: Backfill) -> None:
        """Repair a gap in the background; what cannot be had is declared lost."""
        self._session.tasks.spawn(self._backfill(core, wanted), f"backfill:{wanted.stream}")

    async def _backfill(self, core: PureCore, wanted: Backfill) -> None:
        """One round: the gate itself asks again for what is still missing.

        And gives up in the end.
        """
        session = self._session
        request = core.codec.backfill_request(wanted)
        try:
            if request is not None:
                await self._run(core, request, NORMAL, gap_id=wanted.gap_id)
                return
        except CrossfeedError as error:
            log.info("%s: repair of %s failed: %s", session.venue.name, wanted.stream, error)
        session.streams.repair_failed(wanted.gap_id, session.clock.monotonic_ns())

    async def _run(
        self,
        core: PureCore,
        request: RestRequest,
        priority: int,
        *,
        gap_id: int = 0,
        line: str = "",
    ) -> None:
        """Run a request and its further pages through the core, and deliver what comes of it."""
        session = self._session
        page: RestRequest | None = request
        for _ in range(PAGES_MAX):
            if page is None:
                return
            status, body = await self._call(page, priority, REQUEST_DEADLINE_S)
            out = Output()
            now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
            if session.tap is not None:
                session.tap.answered(
                    core.name, page, status, body, now_ns, mono_ns, gap_id=gap_id, rest_line=line
                )
            page = core.feed_rest(
                page, status, body, now_ns, mono_ns, out, gap_id=gap_id, line=line
            )
            session.deliver(out, core)
        log.warning("%s: gave up %s after %d pages", session.venue.name, request.path, PAGES_MAX)

    async def _call(
        self, request: RestRequest, priority: int, deadline_s: float
    ) -> tuple[int, bytes]:
        http = self._http.get(request.base)
        if http is None:
            msg = "no REST address: give rest_url beside ws_url"
            raise ConnectFailedError(msg, where=self._session.venue.name)
        self.requests += 1
        if self._session.tap is not None:
            self._session.tap.asked(request)
        try:
            answer = await http.get(
                request.path,
                query=request.query,
                weight=request.weight,
                priority=priority,
                deadline_s=deadline_s,
            )
        except CrossfeedError as error:
            self.failures += 1
            self._session.report(error)
            raise
        return answer.status, answer.body

    async def _wait_after(self, error: CrossfeedError, failures: int) -> None:
        if isinstance(error, RateLimitedError):
            await self._session.clock.sleep(error.retry_after_s)
        else:
            await self._wait(failures)

    async def _wait(self, failures: int) -> None:
        longest = min(RETRY_CAP_S, RETRY_BASE_S * 2.0**failures)
        await self._session.clock.sleep(self._session.links.random.uniform(longest / 2, longest))

    def audit(self, core: PureCore, request: RestRequest, flow: BookFlow) -> None:
        """Fetch an image in the background and compare the book with it, as it is then."""
        self._session.tasks.spawn(self._audit(core, request, flow), f"audit:{flow.want.symbol}")

    async def _audit(self, core: PureCore, request: RestRequest, flow: BookFlow) -> None:
        session = self._session
        try:
            status, body = await self._call(request, IDLE, REQUEST_DEADLINE_S)
            out = Output()
            now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
            if session.tap is not None:
                session.tap.answered(
                    core.name, request, status, body, now_ns, mono_ns, is_audit=True
                )
            core.codec.receive_rest(request, status, body, now_ns, mono_ns, out)
        except CrossfeedError as error:
            log.info("%s: no audit of %s: %s", session.venue.name, flow.want.symbol, error)
            return
        for event in out.events:
            if isinstance(event, BookSnapshot):
                for sync in flow.syncs():
                    sync.audit(event)

    # ── fall-back ───────────────────────────────────────────────────────────

    def start_polling(self, connection: Connection) -> None:
        """Poll what the connection carried until it is up again. One poller per connection."""
        if connection.name in self._polled:
            return
        self._polled.add(connection.name)
        self._session.tasks.spawn(self._poll(connection), f"poll:{connection.name}")

    async def _poll(self, connection: Connection) -> None:
        """Let REST stand in as a line of its own until the stream is back."""
        session = self._session
        line = f"{connection.name}:rest"
        wants = [w for w in connection.wants if connection.core.codec.poll_request(w) is not None]
        self._change_line(line, wants, is_up=True)
        try:
            while connection in session.connections and connection.manager.state not in {
                ConnectionState.CONNECTED,
                ConnectionState.DISCONNECTED,
            }:
                for want in wants:
                    request = connection.core.codec.poll_request(want)
                    if request is None or connection.is_live:
                        continue
                    try:
                        await self._run(connection.core, request, IDLE, line=line)
                    except CrossfeedError as error:
                        log.info("%s: no poll of %s: %s", session.venue.name, want.symbol, error)
                        await self._wait_after(error, 1)
                await session.clock.sleep(session.settings.poll_interval_s)
        finally:
            self._polled.discard(connection.name)
            self._change_line(line, wants, is_up=False)
            session.streams.forget(line)

    def _change_line(self, line: str, wants: Sequence[Want], *, is_up: bool) -> None:
        """Tell the streams that REST carries them, or does no longer."""
        session, out = self._session, Output()
        now_ns, mono_ns = session.clock.now_ns(), session.clock.monotonic_ns()
        if is_up:
            session.streams.line_up(line, wants, now_ns, mono_ns, out)
        else:
            session.streams.line_down(line, wants, "stream_is_back", now_ns, mono_ns, out)
        session.deliver(out)
