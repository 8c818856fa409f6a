"""The replay server: a journal speaks the venues' own protocols, so that any client connects to it.

```python
async with ReplayServer("recording", speed=10) as server:
    url = server.ws_url("kraken")
```
Each feed of the journal gets a port with the venue's WebSocket and the REST answers that were
recorded. History begins for each connection when it has subscribed what it wants, at the beginning
of the journal: snapshots come first, as they did. What lies before `start` is sent at once, so that
books stand. Frames keep their recorded content and times.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import parse_qsl

import msgspec

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import REPEATED, Record, RecordKind, split_body
from crossfeed.model.commands import RestRequest
from crossfeed.model.ports import Clock
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.replay_protocols import PROTOCOLS, HistoryProtocol
from crossfeed.runtime.tasks import TaskOwner
from crossfeed.simulator.exchange import Exchange
from crossfeed.simulator.http import Request, Response, json_response
from crossfeed.simulator.server import PortServer
from crossfeed.simulator.session import Session
from crossfeed.venues.registry import find_venue

__all__ = ["ReplayServer"]

log = logging.getLogger("crossfeed.replay")

NS: Final = 1_000_000_000
UNSENT_BYTES_MAX: Final = 1 << 20
BATCH_RECORDS: Final = 200
PAUSE_S: Final = 0.002
QUIET_S: Final = 0.5
"""History begins this long after a client's last request, so that no stream misses its snapshot."""
ANSWERS_BYTES_MAX: Final = 512 << 20
NO_ANSWER: Final = Response(404, b'{"message":"not in the recording"}')


class _HistorySession(Session):
    """One client's connection to history: requests are answered, frames are put by the server."""

    def __init__(
        self, feed: _FeedServer, number: int, request: Request, now_ns: int, speaks: HistoryProtocol
    ) -> None:
        super().__init__(feed.exchange, number, request, now_ns)
        self.speaks = speaks
        self.asked_ns = 0
        self._feed = feed
        self._owners: dict[str, str] = {}

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Answer a request; history begins soon after the last subscription."""
        del now_ns
        self.asked_ns = self._feed.now_mono_ns()
        for reply in self.speaks.on_text(payload):
            self.put(reply)
        self._feed.begin(self)

    def take_frame(self, line: str, frame: bytes) -> bool:
        """Put a recorded frame if it is for this client; say whether.

        Of several lines that carried a stream, only the first one's frames are given.
        """
        wanted, owners = self.speaks.wanted, self._owners
        for key in self.speaks.keys(frame):
            if key in wanted and owners.setdefault(key, line) == line:
                self.put(self.speaks.seal(frame))
                return True
        return False

    def drop_line(self, line: str) -> None:
        """Let another line carry what this one carried."""
        self._owners = {key: owner for key, owner in self._owners.items() if owner != line}


class _Bystander:
    """What a session asks of its exchange: history breaks no rule and schedules nothing."""

    injector = None
    now_ns = 0

    def __init__(self, name: str, begun: set[_HistorySession]) -> None:
        self.name = name
        self.scheduler = self
        self._begun = begun

    def at(self, due_ns: int, task: object) -> None:
        """Schedule nothing."""

    def violation(self, rule: str) -> None:
        """Count nothing."""

    def drop(self, subscription: object, cause: str) -> None:
        """Drop nothing."""

    def forget(self, session: _HistorySession, what: str, now_ns: int) -> None:
        """Forget a session that is over."""
        del what, now_ns
        self._begun.discard(session)


class _FeedServer:
    """One feed's port. Satisfies the simulator's `Endpoint`."""

    def __init__(self, server: ReplayServer, name: str, venue: str) -> None:
        self.name = name
        self.venue = venue
        self.port = PortServer(self, server.clock.now_ns)
        self.begun: set[_HistorySession] = set()
        self._server = server
        self._number = 0
        self._answers: dict[str, list[tuple[dict[str, str], int, bytes]]] = {}
        self._answers_bytes = 0
        self.exchange = cast("Exchange", _Bystander(name, self.begun))

    # ── the simulator's side ────────────────────────────────────────────────

    def connect(self, request: Request, peer: str, now_ns: int) -> Session | Response:
        """Accept a client."""
        del peer
        self._number += 1
        speaks = PROTOCOLS[self.venue](request.path, request.query)
        session = _HistorySession(self, self._number, request, now_ns, speaks)
        if speaks.wanted and self.venue == "binance":
            self.begin(session)
        return session

    def handle(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer a REST request with what was recorded for it, or for the one most like it."""
        del peer, now_ns
        known = (kept for path, kept in self._answers.items() if request.path.endswith(path))
        found = self._answers.get(request.path) or next(known, None)
        if not found:
            return _time_of(request, self._server) or NO_ANSWER
        asked = dict(parse_qsl(request.query, keep_blank_values=True))

        def likeness(answer: tuple[dict[str, str], int, bytes]) -> int:
            query = answer[0]
            return sum(1 if query.get(k) == v else -1 for k, v in asked.items() if k in query)

        best = max(found, key=likeness)
        if any(k in asked and asked[k] != best[0][k] for k in ("symbol", "pair") if k in best[0]):
            return NO_ANSWER
        return Response(best[1], best[2])

    def now_mono_ns(self) -> int:
        """Return monotonic time."""
        return self._server.clock.monotonic_ns()

    def begin(self, session: _HistorySession) -> None:
        """Begin history for a client that has subscribed."""
        if session in self.begun or not session.speaks.wanted:
            return
        self.begun.add(session)
        self._server.tasks.spawn(self._server.play(self, session), f"{self.name}:{session.number}")

    # ── answers ─────────────────────────────────────────────────────────────

    def keep(self, request: RestRequest, status: int, body: bytes) -> None:
        """Remember a recorded answer, the first of each request."""
        query = dict(request.query)
        kept = self._answers.setdefault(request.path, [])
        is_known = any(answer[0] == query for answer in kept)
        if not is_known and self._answers_bytes + len(body) <= ANSWERS_BYTES_MAX:
            self._answers_bytes += len(body)
            kept.append((query, status, body))


class ReplayServer:
    """Serves a journal's feeds over real sockets. An async context manager.

    Args:
        folder: The journal.
        speed: 1 as recorded, 10 ten times as fast, 0 as fast as the client reads.
        start: What lies before this wall time (ns) is sent at once.
        end: History ends after this wall time; 0: with the journal.
        host: Address to listen on.
        port: First port; 0 takes free ones.
        clock: Paces.

    Attributes:
        feeds: Names of the feeds served -> port.
        skipped: Feeds of venues whose protocol cannot be served.

    Raises:
        ConfigError: A speed that cannot work.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        speed: float = 1.0,
        start: int = 0,
        end: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is read or opened."""
        if not 0 <= speed < float("inf"):
            raise ConfigError(f"{speed!r} is no speed: 0 or more", field="speed")
        self.clock = clock or SystemClock()
        self.tasks = TaskOwner("crossfeed:replay", self._failed)
        self.skipped: list[str] = []
        self._folder = Path(folder)
        self._speed = speed
        self._start_ns, self._end_ns = start, end
        self._host, self._port = host, port
        self._served: dict[str, _FeedServer] = {}

    def _failed(self, error: BaseException) -> None:
        log.error("replay server: %r", error)

    @property
    def feeds(self) -> dict[str, int]:
        """Names of the feeds served -> port."""
        return {name: served.port.port for name, served in self._served.items()}

    def ws_url(self, feed: str) -> str:
        """Return the WebSocket base address of a feed."""
        return f"ws://{self._host}:{self._served[feed].port.port}"

    def rest_url(self, feed: str) -> str:
        """Return the REST base address of a feed."""
        return f"http://{self._host}:{self._served[feed].port.port}"

    async def __aenter__(self) -> Self:
        """Read what feeds and answers there are, and listen.

        Raises:
            JournalError: The folder cannot be read.
            ConfigError: No feed in it can be served.
        """
        await asyncio.to_thread(self._survey)
        if not self._served:
            raise ConfigError(f"{self._folder}: no feed that can be served", field="folder")
        for number, served in enumerate(self._served.values()):
            await served.port.start(self._host, self._port + number if self._port else 0, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        await self.tasks.close()
        for served in self._served.values():
            await served.port.close()

    def _survey(self) -> None:
        kinds = {RecordKind.CONFIG, RecordKind.REST_ANSWER}
        for record in Journal(self._folder).records(kinds=kinds):
            try:
                if record.kind == RecordKind.CONFIG:
                    self._add(record)
                elif record.feed in self._served:
                    meta, body = split_body(record.payload)
                    request = msgspec.convert(meta.get("request"), RestRequest)
                    self._served[record.feed].keep(request, int(meta.get("status", 0)), body)
            except (CrossfeedError, msgspec.ValidationError) as error:
                log.warning("replay server: a record is refused: %s", error)

    def _add(self, record: Record) -> None:
        config = record.json()
        venue, name = str(config.get("venue", "")), record.feed
        if config.get("role") != "feed" or name in self._served or name in self.skipped:
            return
        if venue in PROTOCOLS:
            find_venue(venue)
            self._served[name] = _FeedServer(self, name, venue)
        else:
            self.skipped.append(name)

    # ── history ─────────────────────────────────────────────────────────────

    async def play(self, feed: _FeedServer, session: _HistorySession) -> None:
        """Send history to one client until it ends or the client has gone."""
        while (quiet_ns := self.clock.monotonic_ns() - session.asked_ns) < QUIET_S * NS:
            await self.clock.sleep(QUIET_S - quiet_ns / NS)
        base: tuple[int, int] | None = None
        for number, record in enumerate(self._records(feed.name)):
            if session.is_over or (self._end_ns and record.wall_ns > self._end_ns):
                return
            if record.kind == RecordKind.CLOSE:
                session.drop_line(record.line)
                continue
            if self._speed and record.wall_ns >= self._start_ns:
                now_ns = self.clock.monotonic_ns()
                if base is None or record.wall_ns < base[0]:
                    base = (record.wall_ns, now_ns)
                due_ns = base[1] + round((record.wall_ns - base[0]) / self._speed)
                if due_ns > now_ns:
                    feed.port.flush()
                    await self.clock.sleep((due_ns - now_ns) / NS)
            session.take_frame(record.line, record.payload)
            if number % BATCH_RECORDS == 0:
                await self._let_read(feed, session)
        await self._let_read(feed, session)

    def _records(self, feed: str) -> Iterator[Record]:
        kinds = {RecordKind.FRAME_IN, RecordKind.CLOSE}
        for record in Journal(self._folder).records(kinds=kinds):
            if record.feed == feed and not record.flags & REPEATED:
                yield record

    async def _let_read(self, feed: _FeedServer, session: _HistorySession) -> None:
        """Write what is there; wait for a client that reads more slowly than history comes."""
        feed.port.flush()
        await asyncio.sleep(0)
        while not session.is_over and feed.port.unsent_bytes(session) > UNSENT_BYTES_MAX:
            await self.clock.sleep(PAUSE_S)


def _time_of(request: Request, server: ReplayServer) -> Response | None:
    """Answer requests that no journal holds and every client makes: ping and time."""
    if request.path.endswith("/ping"):
        return json_response({})
    if request.path.lower().endswith("/time"):
        now_ns = server.clock.now_ns()
        value: dict[str, Any] = {"serverTime": now_ns // 1_000_000, "epoch": now_ns / NS}
        return json_response(value)
    return None
