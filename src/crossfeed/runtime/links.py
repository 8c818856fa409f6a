"""A session's lines to the venue: addresses, budgets, managers, and their replacement."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfeed.errors import ConfigError, CrossfeedError, DeadlineError, VenueError
from crossfeed.model.commands import Want
from crossfeed.model.output import Output
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.connection import Connection, WantState
from crossfeed.runtime.core_choice import listener_factory
from crossfeed.runtime.settings import FeedSettings
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.http import HttpClient
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.listener import FrameListener
from crossfeed.transport.manager import WebSocketManager
from crossfeed.transport.reconnect import Refusal
from crossfeed.transport.rest_budget import RestBudget
from crossfeed.transport.state import ConnectionState
from crossfeed.venues.base import Codec, CodecOptions, Endpoint, Limits, Venue
from crossfeed.venues.symbols import SymbolTable

if TYPE_CHECKING:
    from crossfeed.runtime.pipeline import PureCore
    from crossfeed.runtime.session import Session

__all__ = ["Links", "make_send_budget"]

log = logging.getLogger("crossfeed.session")

FAILURES_PER_ADDRESS = 2
READY_DEADLINE_S = 10.0
READY_POLL_S = 0.05
SEND_JITTER_S = 0.25
"""Messages bunch up on their way (a resent packet, a busy host): what left within a window may
arrive within one that is this much shorter."""


class Links:
    """Makes connections and HTTP clients for one session, all under the venue's shared budgets.

    Args:
        venue: The venue.
        settings: Where and how to connect.
        clock: Source of time.
        random: Source of jitter.

    Raises:
        ConfigError: The venue has no endpoint of the configured name.
    """

    def __init__(
        self, venue: Venue, settings: FeedSettings, clock: Clock, random: RandomSource
    ) -> None:
        """Choose the endpoint; nothing is opened."""
        self.venue = venue
        self.settings = settings
        self.clock = clock
        self.random = random
        self.endpoint = _endpoint(venue, settings)
        limits = venue.profile.limits
        windows = ((limits.connects_max, limits.connect_window_s),)
        self.rest_budget = RestBudget(limits.rest_weight_max, limits.rest_window_s)
        self._rotating: list[Connection] = []
        self.gate = VenueGate(AdmissionLimits(windows=windows), clock=clock, random=random)
        self._shared_budget = make_send_budget(limits) if limits.is_send_shared else None

    def ws_url(self, codec: Codec, wants: Sequence[Want], place: int = 0) -> str:
        """Return the address of a connection that is to carry `wants`.

        Args:
            codec: Knows the venue's path.
            wants: What it is to carry.
            place: Which of the addresses: lines begin at different ones, and a connection that
                keeps failing goes on to the next.
        """
        own = self.settings.ws_url or self.endpoint.ws_url
        bases = (own, *self.settings.alternate_ws_urls)
        base = bases[place % len(bases)].rstrip("/")
        path, question, query = codec.url_path(wants).partition("?")
        # An address that a user copied whole has the venue's path already.
        return base + ("" if base.endswith(path) else path) + question + query

    def by_path(
        self, wants: Sequence[Want], table: SymbolTable, options: CodecOptions
    ) -> dict[str, list[Want]]:
        """Sort wants by the path of the address that serves them: a connection has but one."""
        groups: dict[str, list[Want]] = {}
        if wants:
            codec = self.venue.make_codec(table, options)
            for want in wants:
                groups.setdefault(codec.url_path([want]), []).append(want)
        return groups

    def rest_urls(self) -> dict[str, str]:
        """Return the REST base URLs by `RestRequest.base` (empty: the main one)."""
        own = self.settings.rest_url
        if own:
            bases = dict.fromkeys(self.endpoint.rest_bases, own)
            return {"": own, **bases, **self.settings.rest_bases}
        if self.settings.ws_url:
            # An address of one's own without its REST side: asking the real venue would mix two
            # worlds.
            return {}
        return {"": self.endpoint.rest_url, **self.endpoint.rest_bases}

    def make_http(self, base_url: str) -> HttpClient:
        """Make the REST client of one base URL, within the venue's weight budget."""
        return HttpClient(
            base_url,
            budget=self.rest_budget,
            name=self.venue.name,
            proxy=self.settings.proxy,
            tls_ca_file=self.settings.ca_file,
            clock=self.clock,
        )

    def make_connection(
        self, session: Session, name: str, core: PureCore, wants: Sequence[Want]
    ) -> Connection:
        """Make a connection that is to carry `wants`; it is not opened yet."""
        limits = self.venue.profile.limits
        settings = self.settings
        keepalive = core.codec.keepalive()
        config = WebSocketConfig(
            url=self.ws_url(core.codec, wants),
            name=name,
            heartbeat_interval=limits.silence_max_s,
            ping_interval_s=limits.ping_interval_s,
            ping_timeout_s=min(10.0, max(limits.ping_interval_s, 5.0)),
            app_ping=keepalive.decode() if keepalive else "",
            app_ping_interval_s=20.0 if keepalive else 0.0,
            max_reconnect_attempts=settings.reconnect_attempts_max,
            on_exhausted="open",
            backoff_base_s=settings.reconnect_base_s,
            backoff_cap_s=settings.reconnect_cap_s,
            breaker_cooldown_s=settings.breaker_cooldown_s,
            breaker_cooldown_max_s=max(settings.breaker_cooldown_s, 60.0),
            open_timeout_s=settings.connect_deadline_s,
            frame_bytes_max=limits.frame_bytes_max,
            close_code_meanings=dict.fromkeys(
                self.venue.profile.passing_close_codes, Refusal.PASSING
            ),
            proxy=settings.proxy,
            tls_ca_file=settings.ca_file,
        )
        manager = WebSocketManager(
            config,
            clock=self.clock,
            random=self.random,
            gate=self.gate,
            send_budget=self._shared_budget or make_send_budget(limits),
            listener_factory=listener_factory() or FrameListener,
        )
        connection = Connection(session, name, manager, core)
        connection.wants = dict.fromkeys(wants, WantState.NOTED)
        take = core.path(connection)
        manager.on_frame(take if session.tap is None else session.tap.frames(name, take))
        manager.on_open(connection.on_open)

        def address(failures: int) -> str:
            place = connection.place + failures // FAILURES_PER_ADDRESS
            return self.ws_url(core.codec, list(connection.wants), place)

        manager.set_url_provider(address)
        manager.on_error(session.report)

        def on_state(old: ConnectionState, new: ConnectionState) -> None:
            session.on_connection_state(connection, old, new)

        manager.on_state_change(on_state)
        return connection

    def rotation_due_ns(self, mono_ns: int) -> int:
        """Return when a connection opened now is to be replaced: before the venue cuts it.

        Spread at random over half the margin, so that a client's connections take turns. 0 where
        the venue has no limit.
        """
        lifetime_s = self.venue.profile.limits.lifetime_s
        if not lifetime_s:
            return 0
        margin_s = min(self.settings.rotate_margin_s, lifetime_s / 2)
        due_s = lifetime_s - margin_s - self.random.uniform(0.0, margin_s / 2)
        return mono_ns + int(due_s * 1e9)

    async def rotate(self, session: Session, connection: Connection, cause: str) -> None:
        """Replace a connection: open the new one, then close the old one (make before break).

        Both carry the streams for a moment: what comes twice is dropped by its number.
        """
        if connection not in session.connections or connection in self._rotating:
            return
        self._rotating.append(connection)
        fresh = session.twin(connection)
        try:
            await self.connect([fresh], self.settings.connect_deadline_s)
            waited_s = 0.0
            while not session.streams.is_ready(fresh.name, list(fresh.wants)):
                if waited_s >= READY_DEADLINE_S or not connection.is_live:
                    break
                await self.clock.sleep(READY_POLL_S)
                waited_s += READY_POLL_S
            session.replace(connection, fresh)
        except BaseException:
            # Cancelled or failed: the new connection belongs to nobody but us.
            await fresh.manager.close()
            out = Output()
            fresh.on_lost("closed", out)
            session.deliver(out)
            session.streams.forget(fresh.name)
            raise
        finally:
            self._rotating.remove(connection)
        await connection.manager.close()
        session.streams.forget(connection.name)
        log.info("%s replaced by %s: %s", connection.name, fresh.name, cause)

    async def connect(self, connections: Sequence[Connection], deadline_s: float) -> None:
        """Open connections in parallel; return when all are up and subscribed.

        Args:
            connections: In the order of their turns in the venue's connect budget.
            deadline_s: For each of them, from the moment when its turn can have come.

        Raises:
            CrossfeedError: The first failure, the others noted on it; a connection that failed is
                closed.
        """
        limits = self.venue.profile.limits
        results = await asyncio.gather(
            *(
                self._open(
                    connection, deadline_s + place // limits.connects_max * limits.connect_window_s
                )
                for place, connection in enumerate(connections)
            ),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if not failures:
            return
        # Bugs before outages before refusals, which may concern one connection only.
        first = min(
            failures, key=lambda f: isinstance(f, CrossfeedError) + isinstance(f, VenueError)
        )
        for other in failures:
            if other is not first:
                first.add_note(f"also: {other}")
        raise first

    async def _open(self, connection: Connection, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await connection.manager.connect()
        except TimeoutError as error:
            if isinstance(error, CrossfeedError):
                raise
            cause = connection.manager.get_stats().get("last_error") or "no answer"
            await connection.manager.close()
            msg = f"not connected and subscribed within {deadline_s:g} s: {cause}"
            raise DeadlineError(msg, limit_s=deadline_s, where=connection.name) from error


def make_send_budget(limits: Limits) -> SendBudget:
    """Make the budget that keeps a venue's message limits where they are counted: at the venue."""
    return SendBudget(
        limit=limits.sends_max,
        window_s=limits.send_window_s + SEND_JITTER_S,
        spacing_s=limits.send_spacing_s,
    )


def _endpoint(venue: Venue, settings: FeedSettings) -> Endpoint:
    endpoints = venue.profile.endpoints
    if not settings.endpoint:
        return endpoints[0]
    for endpoint in endpoints:
        if endpoint.name == settings.endpoint:
            return endpoint
    known = ", ".join(endpoint.name for endpoint in endpoints)
    msg = f"{venue.name} has no endpoint {settings.endpoint!r} (there are: {known})"
    raise ConfigError(msg, field="endpoint")
