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

However long the journal is, a `Survey` is all that is read before it serves, or moves; the rest is
read as the clients' histories get there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import REPEATED, Record, RecordKind
from crossfeed.model.ports import Clock
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.pace import Pace
from crossfeed.runtime.replay_answers import Answers
from crossfeed.runtime.replay_control import ReplayControl
from crossfeed.runtime.replay_feed import FeedServer, HistorySession
from crossfeed.runtime.replay_survey import SetDone, Survey, Surveyor, keep_late
from crossfeed.runtime.tasks import TaskOwner
from crossfeed.simulator.faults import FaultRule, Schedule, load_schedule
from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.server import PortServer, check_port

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
FRAME_IN: Final = int(RecordKind.FRAME_IN)
CLOSE: Final = int(RecordKind.CLOSE)
PLAYED: Final = frozenset({FRAME_IN, CLOSE, int(RecordKind.REST_ANSWER)})

Progress = Callable[[], AbstractContextManager[SetDone]]
"""Shows a survey while it is taken."""


@contextlib.contextmanager
def _unseen() -> Generator[SetDone]:
    yield lambda _done, _total: None


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
        progress: Shows how far it is while it reads what is needed to begin, or to move; what it
            gives is called in another thread.

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
        progress: Progress = _unseen,
    ) -> None:
        """Prepare; nothing is read or opened."""
        self.clock = clock or SystemClock()
        self._model = Pace(self.clock, speed)
        self._faults = load_schedule(faults)
        self._control = PortServer(ReplayControl(self), self.clock.now_ns)
        self._control_port = control_port
        self.tasks = TaskOwner("crossfeed:replay", self._failed)
        self.skipped: list[str] = []
        self.folder = Path(folder)
        self.start_ns, self._end_ns = start, end
        self._first_segment = 0
        self._progress = progress
        self._seeking = asyncio.Lock()
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
        """Read which feeds there are and what they were answered around the beginning, and listen.

        Raises:
            JournalError: The folder cannot be read.
            ConfigError: No feed in it can be served, nothing was recorded at that time, a port is
                taken, or the host is none of this machine's.
        """
        survey = await self._surveyed(self.start_ns)
        for name, venue in survey.venues.items():
            if name in survey.answers:
                self._served[name] = FeedServer(self, name, venue, survey.answers[name])
            else:
                self.skipped.append(name)
        self._first_segment = survey.first_segment
        if not self._served:
            raise ConfigError(f"{self.folder}: no feed that can be served", field="folder")
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

    async def seek(self, start_ns: int) -> None:
        """Begin at another moment: all connections end, those that come again begin there.

        Until all that is needed there has been read, everybody stays where he is and new clients
        begin where they did. Several seeks are carried out one after the other.

        Raises:
            JournalError: The folder cannot be read; nobody is moved.
            ConfigError: Nothing was recorded then; nobody is moved.
        """
        async with self._seeking:
            survey = await self._surveyed(start_ns)
            self.start_ns, self._first_segment = start_ns, survey.first_segment
            for name, served in self._served.items():
                served.begin_anew(survey.answers.get(name) or Answers(start_ns))
            self.cut_all()

    def cut_all(self) -> int:
        """End all connections in order (1001); return how many."""
        sessions = [
            one for served in self._served.values() for one in served.exchange.sessions.values()
        ]
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
                name: served.answers.left_out for name, served in self._served.items()
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

    async def _surveyed(self, start_ns: int) -> Survey:
        """Read in a thread what is needed to begin at a moment; see `Surveyor.take`."""
        with self._progress() as set_done:
            surveyor = Surveyor(self.folder, start_ns, self._end_ns, set_done)
            try:
                return await asyncio.to_thread(surveyor.take)
            finally:
                surveyor.stop()

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
        if session.is_over:
            return
        rested = 0
        for segment, block in self._blocks():
            if segment != session.segment:
                session.segment, session.segment_began = segment, session.passed
            if not await self._play_block(feed, session, block):
                break
            session.passed += len(block)
            if session.passed - rested >= BATCH_RECORDS:
                rested = session.passed
                feed.forget_passed()
                await self._let_read(feed, session)
        await self._let_read(feed, session)

    def _blocks(self) -> Iterator[tuple[int, Sequence[Record]]]:
        """Yield each block from where books begin, with its segment's number."""
        for reader, block in Journal(self.folder).blocks(first_segment=self._first_segment):
            assert reader is not None, "it is not followed"
            yield reader.head.number, block

    async def _play_block(
        self, feed: FeedServer, session: HistorySession, block: Sequence[Record]
    ) -> bool:
        """Send the feed's frames of a block when they are due; False at the end of history."""
        due_ns, given = 0, 0
        for record in block:
            kind = record.kind
            if kind not in PLAYED or record.feed != feed.name or record.flags & REPEATED:
                continue
            if session.is_over or (self._end_ns and record.wall_ns > self._end_ns):
                return False
            if kind == FRAME_IN:
                is_past = record.wall_ns < self.start_ns
                if not is_past and record.wall_ns > due_ns:
                    feed.port.flush()
                    due_ns = await session.pace.wait_for(record.wall_ns)
                session.at_ns = record.wall_ns
                session.take_frame(record.line, record.payload, is_past=is_past)
                given += 1
                if given % BATCH_RECORDS == 0:
                    await self._let_read(feed, session)
            elif kind == CLOSE:
                session.drop_line(record.line)
            else:
                keep_late(record, feed.answers, session.passed)
        return not session.is_over

    async def _let_read(self, feed: FeedServer, session: HistorySession) -> None:
        """Write what is there; wait for a client that reads more slowly than history comes."""
        feed.port.flush()
        await asyncio.sleep(0)
        while not session.is_over and feed.port.unsent_bytes(session) > UNSENT_BYTES_MAX:
            await self.clock.sleep(PAUSE_S)
