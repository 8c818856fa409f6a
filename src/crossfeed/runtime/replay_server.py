"""The replay server: a journal speaks the venues' own protocols, so that any client connects to it.

```python
async with ReplayServer("recording", speed=10) as server:
    url = server.ws_url("kraken")
```
Each feed of the journal gets a port with the venue's WebSocket and the REST answers that were
recorded. History begins for each connection when it has subscribed what it wants, at the beginning
of the journal, or as far before `start` as books need, whose messages are sent at once: images come
first, as they did. Frames keep their recorded content and times. A control port pauses, seeks and
changes the speed; faults of connections, messages and answers happen as in the simulator.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import REPEATED, Record, RecordKind, split_body
from crossfeed.model.commands import RestRequest
from crossfeed.model.ports import Clock
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.pace import Pace
from crossfeed.runtime.replay_control import ReplayControl
from crossfeed.runtime.replay_feed import FeedServer, HistorySession
from crossfeed.runtime.replay_protocols import PROTOCOLS
from crossfeed.runtime.seek import WarmUp, warm_up_for
from crossfeed.runtime.tasks import TaskOwner
from crossfeed.simulator.faults import FaultRule, Schedule, load_schedule
from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.server import PortServer, check_port
from crossfeed.venues.registry import find_venue

__all__ = ["ReplayServer"]

log = logging.getLogger("crossfeed.replay")

NS: Final = 1_000_000_000
UNSENT_BYTES_MAX: Final = 1 << 20
BATCH_RECORDS: Final = 200
PAUSE_S: Final = 0.002
QUIET_S: Final = 0.5
"""History begins this long after a client's last request, so that no stream misses its snapshot."""
FAULT_TICK_S: Final = 0.01
LOOPBACK: Final = "127.0.0.1"
SURVEYED: Final = frozenset({RecordKind.CONFIG, RecordKind.REST_ANSWER})


class ReplayServer:
    """Serves a journal's feeds over real sockets. An async context manager.

    Args:
        folder: The journal.
        speed: 1 as recorded, 10 ten times as fast, 0 as fast as the client reads.
        start: History begins here (wall time, ns). Of what lies before, as much as books need is
            sent at once, and nothing but book messages; 0: with the journal.
        end: History ends after this wall time; 0: with the journal.
        host: Address to listen on.
        port: First port; 0 takes free ones.
        faults: As for the simulator: a profile, a file, or rules; those of a market cannot happen.
        control_port: Port for `ReplayControl`; 0 takes a free one, None: none.
        clock: Paces.

    Attributes:
        feeds: Names of the feeds served -> port.
        skipped: Feeds of venues whose protocol cannot be served.

    Raises:
        ConfigError: A speed or faults that cannot work.
    """

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        folder: str | Path,
        *,
        speed: float = 1.0,
        start: int = 0,
        end: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: str | Path | Schedule | None = None,
        control_port: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is read or opened."""
        self.clock = clock or SystemClock()
        self._model = Pace(self.clock, speed)
        self._faults = load_schedule(faults)
        self._control = PortServer(ReplayControl(self), self.clock.now_ns)
        self._control_port = control_port
        self.tasks = TaskOwner("crossfeed:replay", self._failed)
        self.skipped: list[str] = []
        self._folder = Path(folder)
        self.start_ns, self._end_ns = start, end
        self._first = 0
        self._host, self._port = host, port
        self._served: dict[str, FeedServer] = {}

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

    @property
    def control_url(self) -> str:
        """Base address of the control port; empty if there is none."""
        return "" if self._control_port is None else f"http://{LOOPBACK}:{self._control.port}"

    async def __aenter__(self) -> Self:
        """Read what feeds and answers there are, and listen.

        Raises:
            JournalError: The folder cannot be read.
            ConfigError: No feed in it can be served, not on such ports, or nothing of that time.
            OSError: A port is taken, or the host is none of this machine's; the text names it.
        """
        await asyncio.to_thread(self._survey)
        if not self._served:
            raise ConfigError(f"{self._folder}: no feed that can be served", field="folder")
        check_port(self._port, "port", count=len(self._served))
        check_port(self._control_port or 0, "control_port")
        if self._faults is not None:
            self.inject(self._faults.fault)
        try:
            for number, served in enumerate(self._served.values()):
                await served.port.start(self._host, self._port + number if self._port else 0, None)
            if self._control_port is not None:
                await self._control.start(LOOPBACK, self._control_port, None)
        except BaseException:
            await self.__aexit__()
            raise
        self.tasks.spawn(self._run_faults(), "faults")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        await self.tasks.close()
        for served in self._served.values():
            await served.port.close()
        await self._control.close()

    # ── control ─────────────────────────────────────────────────────────────

    def new_pace(self) -> Pace:
        """Return the pace of a new client: as the others now."""
        pace = Pace(self.clock, self._model.speed)
        pace.is_paused = self._model.is_paused
        return pace

    def _sessions(self) -> list[HistorySession]:
        return [one for served in self._served.values() for one in served.begun]

    def pause(self) -> None:
        """Let history stand still for all clients."""
        for pace in (self._model, *(one.pace for one in self._sessions())):
            pace.is_paused = True

    def resume(self) -> None:
        """Let history go on."""
        for pace in (self._model, *(one.pace for one in self._sessions())):
            pace.is_paused = False

    def set_speed(self, speed: float) -> None:
        """Change the speed for all clients.

        Raises:
            ConfigError: No speed.
        """
        for pace in (self._model, *(one.pace for one in self._sessions())):
            pace.speed = speed

    def seek(self, start_ns: int) -> None:
        """Begin at another moment: all connections end, those that come again begin there.

        Blocks for as long as it takes to read what was answered around that moment.

        Raises:
            JournalError: The folder cannot be read.
            ConfigError: Nothing was recorded then; nobody is moved.
        """
        self._check(start_ns)
        self.start_ns = start_ns
        for served in self._served.values():
            served.forget_answers()
        self._survey()
        self.cut_all()

    def cut_all(self) -> int:
        """End all connections in order (1001); return how many."""
        sessions = self._sessions()
        for session in sessions:
            session.close(CloseCode.GOING_AWAY, "", self.clock.now_ns())
        for served in self._served.values():
            served.port.flush()
        return len(sessions)

    def inject(self, rules: tuple[FaultRule, ...]) -> None:
        """Let faults happen from now on.

        Raises:
            ConfigError: None of them can happen to history.
        """
        for served in self._served.values():
            served.exchange.inject(rules, self.clock.now_ns())

    def status(self) -> dict[str, Any]:
        """Return how history stands for each client."""
        return {
            "speed": self._model.speed,
            "is_paused": self._model.is_paused,
            "start_ns": self.start_ns,
            "feeds": self.feeds,
            "clients": {
                name: [one.at_ns for one in served.begun] for name, served in self._served.items()
            },
            "answers_left_out": {
                name: served.answers_left_out for name, served in self._served.items()
            },
            "faults": {
                name: {kind: n for (_, kind), n in served.exchange.ledger.faults.items()}
                for name, served in self._served.items()
            },
        }

    async def _run_faults(self) -> None:
        """Let what is due of the faults happen."""
        while True:
            await self.clock.sleep(FAULT_TICK_S)
            for served in self._served.values():
                if served.exchange.injector is not None:
                    served.exchange.scheduler.run(self.clock.now_ns())
                    served.port.flush()

    # ── what was recorded ───────────────────────────────────────────────────

    def _survey(self) -> None:
        """Read which feeds there are, and what was answered since books begin."""
        self._check(self.start_ns)
        journal = Journal(self._folder)
        begin = warm_up_for(journal, self.start_ns) if self.start_ns else WarmUp()
        self._first = begin.segment
        for record in journal.records(first_segment=self._first, kinds=SURVEYED):
            self._learn(record)
        if begin.segment and not all(each.has_instruments() for each in self._served.values()):
            # They are asked for when a recorder begins.
            for record in journal.records(last_segment=begin.segment, kinds=SURVEYED):
                self._learn(record, only="instruments")
                if all(each.has_instruments() for each in self._served.values()):
                    break

    def _check(self, start_ns: int) -> None:
        """Refuse to begin after the end: clients would wait for ever.

        Raises:
            ConfigError: With the time there is.
        """
        first_ns, last_ns = Journal(self._folder).span()
        if start_ns > last_ns or 0 < self._end_ns < first_ns:
            first, last = (
                f"{datetime.fromtimestamp(ns / NS, UTC):%Y-%m-%d %H:%M:%S}"
                for ns in (first_ns, last_ns)
            )
            msg = f"nothing was recorded then: there is {first} to {last} UTC"
            raise ConfigError(msg, field="from")

    def _learn(self, record: Record, only: str = "") -> None:
        try:
            if record.kind == RecordKind.CONFIG:
                self._add(record)
            elif record.feed in self._served:
                meta, body = split_body(record.payload)
                request = msgspec.convert(meta.get("request"), RestRequest)
                if not only or request.purpose == only:
                    status = int(meta.get("status", 0))
                    self._served[record.feed].keep(request, record.wall_ns, status, body)
        except (CrossfeedError, msgspec.ValidationError) as error:
            log.warning("replay server: a record is refused: %s", error)

    def _add(self, record: Record) -> None:
        config = record.json()
        venue, name = str(config.get("venue", "")), record.feed
        if config.get("role") != "feed" or name in self._served or name in self.skipped:
            return
        if venue in PROTOCOLS:
            find_venue(venue)
            self._served[name] = FeedServer(self, name, venue)
        else:
            self.skipped.append(name)

    # ── history ─────────────────────────────────────────────────────────────

    async def play(self, feed: FeedServer, session: HistorySession) -> None:
        """Send history to one client until it ends or the client has gone.

        Raises:
            JournalError: It cannot be read any further; the connection ends (1011).
        """
        try:
            await self._play(feed, session)
        except CrossfeedError as error:
            session.close(CloseCode.INTERNAL, type(error).__name__, self.clock.now_ns())
            feed.port.flush()
            raise

    async def _play(self, feed: FeedServer, session: HistorySession) -> None:
        while (quiet_ns := self.clock.monotonic_ns() - session.asked_ns) < QUIET_S * NS:
            await self.clock.sleep(QUIET_S - quiet_ns / NS)
        due_ns = 0
        for number, record in enumerate(self._records(feed.name)):
            if session.is_over or (self._end_ns and record.wall_ns > self._end_ns):
                return
            if record.kind == RecordKind.CLOSE:
                session.drop_line(record.line)
                continue
            is_past = record.wall_ns < self.start_ns
            if not is_past and record.wall_ns > due_ns:
                feed.port.flush()
                due_ns = await session.pace.wait_for(record.wall_ns)
            session.at_ns = record.wall_ns
            session.take_frame(record.line, record.payload, is_past=is_past)
            if number % BATCH_RECORDS == 0:
                await self._let_read(feed, session)
        await self._let_read(feed, session)

    def _records(self, feed: str) -> Iterator[Record]:
        kinds = {RecordKind.FRAME_IN, RecordKind.CLOSE}
        for record in Journal(self._folder).records(first_segment=self._first, kinds=kinds):
            if record.feed == feed and not record.flags & REPEATED:
                yield record

    async def _let_read(self, feed: FeedServer, session: HistorySession) -> None:
        """Write what is there; wait for a client that reads more slowly than history comes."""
        feed.port.flush()
        await asyncio.sleep(0)
        while not session.is_over and feed.port.unsent_bytes(session) > UNSENT_BYTES_MAX:
            await self.clock.sleep(PAUSE_S)
