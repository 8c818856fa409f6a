"""Captured sessions → a journal, as our recorder would have written it.

```
 file ─► survey (what is in it?) ─► streams opened ─► frames, REST answers ─► journal
                                                  │
                                                  └─► the same cores and books, to learn when an
                                                      image of a book was awaited
```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossfeed.errors import CrossfeedError, JournalError
from crossfeed.integrity.gaps import GapLedger
from crossfeed.journal.captures import Captured, read_capture
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.writer import JournalWriter
from crossfeed.model.commands import FetchSnapshot, Want
from crossfeed.model.output import Output
from crossfeed.runtime.capture_survey import CaptureSurvey, guess_venue
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.native_core import make_core
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.recording import FeedTap, TappedStreams, journal_queue
from crossfeed.runtime.settings import FeedSettings
from crossfeed.venues.registry import find_venue

__all__ = ["CaptureImport", "CaptureReport"]

STEP_NS: Final = 1_000
OK: Final = 200
CLOSE_DEADLINE_S: Final = 60.0
WAIT_S: Final = 0.005
WAITS_MAX: Final = 12_000
LOOK_RECORDS: Final = 1000
LINES_NAMED_MAX: Final = 10


class CaptureReport(Struct, kw_only=True):
    """What became of a file: `records = frames + refused + images + unused`.

    Attributes:
        venue: Whose protocol it is.
        records: What the file holds.
        frames: Frames written that were understood.
        refused: Frames written that were not (unknown messages); a replay counts them too.
        refusals: Reason -> how many of them.
        lines: The lines of the first refused ones.
        images: Images of books written as REST answers.
        unused: REST answers that no book awaited, and metadata; not written.
        streams: Kind -> symbols.
        has_receive_times: False where the venue's times stand in for them.
        instruments: Instruments read or made.
    """

    venue: str = ""
    records: int = 0
    frames: int = 0
    refused: int = 0
    refusals: dict[str, int] = {}
    lines: list[int] = []
    images: int = 0
    unused: int = 0
    streams: dict[str, list[str]] = {}
    has_receive_times: bool = True
    instruments: int = 0


class _CaptureClock:
    """Time as the file tells it."""

    def __init__(self) -> None:
        self.wall_ns = 0
        self.mono_ns = STEP_NS

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_ns(self) -> int:
        return self.mono_ns

    async def sleep(self, seconds: float) -> None:
        del seconds

    def advance(self, wall_ns: int) -> None:
        """Go on to a wall time; the monotonic one never goes back."""
        if self.wall_ns and wall_ns > self.wall_ns:
            self.mono_ns += wall_ns - self.wall_ns
        else:
            self.mono_ns += 1
        self.wall_ns = wall_ns


class _WriterClock(SystemClock):
    """The segments' heads tell the time of the session, the flush window that of the machine."""

    __slots__ = ("now_ns",)

    def __init__(self, session: _CaptureClock) -> None:
        self.now_ns = session.now_ns


class CaptureImport:
    """Writes one captured session into a journal. Made and run once.

    Args:
        path: The recording; see `crossfeed.journal.captures`.
        folder: The journal; a run of its own is added to it.
        venue: Whose protocol it is; empty: whoever understands it.
    """

    def __init__(self, path: str | Path, folder: str | Path, *, venue: str = "") -> None:
        """Prepare; nothing is touched."""
        self.path = str(path)
        self.report = CaptureReport()
        self._folder = folder
        self._venue = venue
        self._clock = _CaptureClock()
        self._cores: dict[str, PureCore] = {}
        self._awaited: dict[str, tuple[str, FetchSnapshot]] = {}

    def run(self, progress: Callable[[int, int], None] | None = None) -> CaptureReport:
        """Import it.

        Args:
            progress: Called now and then with the records done and their total.

        Raises:
            ConfigError: It is of no venue or form known here.
            JournalError: It cannot be read, or the journal not written.
        """
        venue = find_venue(self._venue) if self._venue else guess_venue(read_capture(self.path))
        survey = CaptureSurvey(venue)
        survey.read(self._counted())
        if not survey.decoded:
            raise JournalError(f"{self.path}: no message that {venue.name} sends")
        writer = JournalWriter(
            self._folder,
            JournalOptions(),
            clock=_WriterClock(self._clock),
            make_queue=journal_queue(),
        )
        first = next(iter(self._timed(survey)))[1]
        self._clock.advance(first)
        writer.start()
        try:
            self._write(survey, writer, progress)
        finally:
            is_closed = writer.close(CLOSE_DEADLINE_S)
        stats = writer.stats()
        if not is_closed or stats.lost_records:
            raise JournalError(f"{self._folder}: not written: {stats.failure or 'too slow a disk'}")
        return self.report

    def _counted(self) -> Iterator[Captured]:
        for each in read_capture(self.path):
            self.report.records += 1
            yield each

    def _timed(self, survey: CaptureSurvey) -> Iterator[tuple[Captured, int]]:
        """Yield the records with their times of receipt, or what stands in for them."""
        latest = next(iter(survey.times.values()), 2 * STEP_NS) - STEP_NS
        for record in read_capture(self.path):
            own = record.ts_ns or survey.times.get(record.line, 0)
            latest = own if record.ts_ns else max(own, latest + STEP_NS)
            yield record, latest

    def _write(
        self,
        survey: CaptureSurvey,
        writer: JournalWriter,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        venue, report = survey.venue, self.report
        settings = FeedSettings(
            backfill="off",
            price_band=0.0,
            metadata="builtin",
            parameters=dict(survey.options.parameters),
        )
        tap = FeedTap(writer.intake, venue.name, self._clock)
        streams = TappedStreams(venue, GapLedger(), settings, tap)
        if survey.instruments:
            tap.adopted(survey.instruments)
        report.venue, report.instruments = venue.name, len(survey.instruments)
        report.has_receive_times = not survey.times
        room = _Room(writer)
        for done, (record, at_ns) in enumerate(self._timed(survey)):
            self._clock.advance(at_ns)
            symbol = survey.snapshot_symbol(record)
            if symbol:
                self._answer(record, symbol, tap)
            elif record.url:
                report.unused += 1
            else:
                self._feed(record, survey, streams, tap)
            if done % LOOK_RECORDS == 0:
                room.wait()
                if progress is not None:
                    progress(done, report.records)

    def _feed(
        self, record: Captured, survey: CaptureSurvey, streams: TappedStreams, tap: FeedTap
    ) -> None:
        names = list(survey.streams)
        line = f"{survey.venue.name}-{names.index(record.connection) + 1}"
        core = self._cores.get(line)
        if core is None:
            core = self._open(line, record.connection, survey, streams, tap)
        now_ns, mono_ns = self._clock.wall_ns, self._clock.mono_ns
        due = Output()
        streams.on_timer(now_ns, mono_ns, due)
        counters = streams.counters
        invalid = counters.invalid
        tap.frames(line, _only_recorded)(record.payload, now_ns, mono_ns)
        out = core.feed(record.payload, now_ns, mono_ns)
        self._note(line, (*due.commands, *out.commands))
        if counters.invalid == invalid:
            self.report.frames += 1
            return
        self.report.refused += 1
        self.report.refusals = counters.invalid_by_reason
        if len(self.report.lines) < LINES_NAMED_MAX:
            self.report.lines.append(record.line)

    def _open(
        self,
        line: str,
        connection: str,
        survey: CaptureSurvey,
        streams: TappedStreams,
        tap: FeedTap,
    ) -> PureCore:
        """Open a connection's streams as a session would have."""
        now_ns, mono_ns = self._clock.wall_ns, self._clock.mono_ns
        wants: dict[Want, None] = {}
        for kind, want in survey.wants(connection):
            streams.open(want, kind, survey.table.get(want.symbol))
            wants[want] = None
            self.report.streams.setdefault(kind, []).append(want.symbol)
        codec = survey.venue.make_codec(survey.table, survey.options)
        core = self._cores[line] = make_core(codec, streams, line)
        out = Output()
        tap.keep(line, "core_open", now_ns, mono_ns)
        core.on_open()
        streams.line_up(line, list(wants), now_ns, mono_ns, out)
        tap.keep(line, "subscribe", now_ns, key=line, wants=list(wants))
        codec.subscribe(list(wants), now_ns)
        for want in wants:
            streams.subscribed(want, now_ns, mono_ns, out)
        self._note(line, out.commands)
        return core

    def _note(self, line: str, commands: Iterable[object]) -> None:
        for command in commands:
            if isinstance(command, FetchSnapshot):
                self._awaited[command.symbol] = (line, command)

    def _answer(self, record: Captured, symbol: str, tap: FeedTap) -> None:
        """Write an image of a book as the answer to the question that was open."""
        line, asked = self._awaited.pop(symbol, ("", None))
        core = self._cores.get(line)
        request = None
        if core is not None and asked is not None:
            request = core.codec.snapshot_request(symbol, asked.epoch, asked.attempt)
        if core is None or request is None:
            self.report.unused += 1
            return
        now_ns, mono_ns, out = self._clock.wall_ns, self._clock.mono_ns, Output()
        tap.asked(request)
        tap.answered(line, request, OK, record.payload, now_ns, mono_ns, gap_id=0, rest_line="")
        try:
            core.feed_rest(request, OK, record.payload, now_ns, mono_ns, out)
        except CrossfeedError:
            self.report.unused += 1
            return
        self.report.images += 1
        self._note(line, out.commands)


def _only_recorded(frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
    """Take a frame that the core gets by itself."""
    del frame, ts_recv_ns, ts_mono_ns


class _Room:
    """Waits for the disk: an import has time, and loses nothing."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._limit = writer.options.queue_bytes // 4
        self._event = threading.Event()

    def wait(self) -> None:
        """Wait until a quarter of the queue at most is taken.

        Raises:
            JournalError: The disk takes nothing for a minute.
        """
        for _ in range(WAITS_MAX):
            if self._writer.intake.waiting_bytes <= self._limit:
                return
            self._event.wait(WAIT_S)
        raise JournalError(f"{self._writer.folder}: {self._writer.stats().failure or 'too slow'}")
