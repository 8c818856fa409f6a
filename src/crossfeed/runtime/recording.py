"""Recording: what enters the pure half of a session is written to a journal, in order.

A session's pure half (codec, gates, books, freshness) changes only through a few calls: frames,
REST answers, timers, and the steps of the session. Each of them is recorded with its arguments just
before it is made, so that `replay` can make the same calls in the same order and get the same
events. What the pure half gives back (events, commands) is not recorded: it follows.

```
 socket ─► tap (here) ─► core.feed ─► ...        tap: one append to a queue, 0.2 us a frame
                                                 where compiled, 0.5 elsewhere;
                                                 no recorder: nothing at all on this way
```
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.errors import JournalError
from crossfeed.integrity.gaps import GapLedger
from crossfeed.journal.intake import Intake
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.queue import MakeQueue, RecordQueue
from crossfeed.journal.records import (
    RECORD_BYTES_MAX,
    REDACTED,
    Loss,
    RecordKind,
    encode_json,
    encode_record,
    join_body,
)
from crossfeed.journal.stats import JournalStats
from crossfeed.journal.writer import JournalWriter
from crossfeed.model.commands import RestRequest, Want
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.ports import Clock
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.transport.listener import OnFrame
from crossfeed.venues.base import Venue

__all__ = ["FeedTap", "Recorder", "TappedStreams", "journal_queue", "make_streams"]

CLOSE_DEADLINE_S: Final = 5.0
SOURCE_BYTES_MAX: Final = 255
HTTP_OK: Final = 200
FRAME_IN: Final = int(RecordKind.FRAME_IN)


class FeedTap:
    """Writes one feed's records. Made by the recorder, one per client; used on its event loop.

    Attributes:
        feed: Name of the feed in the journal.
    """

    def __init__(self, intake: Intake, feed: str, clock: Clock) -> None:
        """Write under the name `feed`."""
        self.feed = feed
        self._intake = intake
        self._clock = clock
        self._sources: dict[str, bytes] = {}
        self._is_secret = False

    def _source(self, line: str) -> bytes:
        found = self._sources.get(line)
        if found is None:
            name = f"{self.feed}/{line}" if line else self.feed
            found = self._sources[line] = name.encode()[:SOURCE_BYTES_MAX]
        return found

    # ── frames ──────────────────────────────────────────────────────────────

    def frames(self, line: str, take: OnFrame) -> OnFrame:
        """Return what records the frames of a connection and then hands them to `take`."""
        source, put = self._source(line), self._intake.put_frame

        def record(frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
            put(FRAME_IN, source, frame, ts_recv_ns, ts_mono_ns)
            take(frame, ts_recv_ns, ts_mono_ns)

        return record

    def sent(self, line: str, frame: bytes) -> None:
        """Record a frame on its way out; only that there was one where it may hold credentials."""
        flags = REDACTED if self._is_secret else 0
        payload = b"" if self._is_secret else frame
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        kind = RecordKind.FRAME_OUT
        self._intake.put(encode_record(kind, self._source(line), payload, now_ns, mono_ns, flags))

    # ── REST ────────────────────────────────────────────────────────────────

    def asked(self, request: RestRequest) -> None:
        """Record a REST request on its way out."""
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        kind = RecordKind.REST_REQUEST
        self._intake.put(encode_json(kind, self._source(""), request, now_ns, mono_ns))

    def answered(
        self,
        line: str,
        request: RestRequest,
        status: int,
        body: bytes,
        now_ns: int,
        mono_ns: int,
        **purpose: object,
    ) -> None:
        """Record a REST answer that is about to enter the core of connection `line`."""
        meta = {"request": request, "status": status, **purpose}
        payload = join_body(meta, body)
        if len(payload) > RECORD_BYTES_MAX:
            payload = join_body(meta | {"cut": len(body)}, b"")
        record = encode_record(RecordKind.REST_ANSWER, self._source(line), payload, now_ns, mono_ns)
        self._intake.put(record)
        if request.purpose == "snapshot" and status == HTTP_OK:
            # Later segments tell how far back one must read to have this book.
            self.keep("", "imaged", now_ns, mono_ns, key=request.symbol, symbol=request.symbol)

    # ── steps of the session ────────────────────────────────────────────────

    def configured(self, venue: str, settings: FeedSettings) -> None:
        """Record how the feed runs, secrets masked."""
        self._is_secret = bool(settings.api_key)
        config = {"role": "feed", "venue": venue, "settings": settings.masked()}
        self._state(RecordKind.CONFIG, "", "config", config)

    def aggregating(
        self, config: AggregatorConfig, symbols: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Record how an aggregator runs, and which symbols it found where."""
        value = {"role": "aggregator", "config": config, "symbols": symbols}
        self._state(RecordKind.CONFIG, "", "config", value)

    def adopted(self, instruments: Sequence[Instrument]) -> None:
        """Record instruments that the feed is about to use."""
        self._state(RecordKind.INSTRUMENTS, "", "instruments", {"instruments": instruments})

    def _state(self, kind: RecordKind, line: str, key: str, value: object) -> None:
        now_ns, mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        record = encode_json(kind, self._source(line), value, now_ns, mono_ns)
        self._intake.put_state(record, self._source(line).decode(), key)

    def step(
        self, line: str, call: str, now_ns: int = 0, mono_ns: int = 0, **arguments: object
    ) -> None:
        """Record a step that leaves no state behind which a later segment must know."""
        self._intake.put(self._encoded(line, call, now_ns, mono_ns, arguments))

    def keep(
        self,
        line: str,
        call: str,
        now_ns: int = 0,
        mono_ns: int = 0,
        *,
        key: str = "",
        **arguments: object,
    ) -> None:
        """Record a step whose effect lasts: later segments begin with it.

        Args:
            line: The connection, empty for the feed.
            call: The step.
            now_ns: Wall time handed to the pure half.
            mono_ns: Monotonic time handed to it.
            key: What it replaces among the line's steps of this name.
            arguments: What else was handed to it.
        """
        record = self._encoded(line, call, now_ns, mono_ns, arguments)
        self._intake.put_state(record, self._source(line).decode(), f"{call}:{key}")

    def end(
        self, line: str, call: str, now_ns: int = 0, mono_ns: int = 0, **arguments: object
    ) -> None:
        """Record a step that ends everything a connection had."""
        record = self._encoded(line, call, now_ns, mono_ns, arguments)
        self._intake.put_state(record, self._source(line).decode(), None)

    def _encoded(
        self, line: str, call: str, now_ns: int, mono_ns: int, arguments: dict[str, object]
    ) -> bytes:
        kind = {"core_open": RecordKind.OPEN, "line_down": RecordKind.CLOSE}.get(
            call, RecordKind.CONTROL
        )
        # The call's own times are arguments; the record's time is when it was made.
        value = {"call": call, "now_ns": now_ns, "mono_ns": mono_ns, **arguments}
        at_ns, at_mono_ns = self._clock.now_ns(), self._clock.monotonic_ns()
        return encode_json(kind, self._source(line), value, at_ns, at_mono_ns)

    def timer(self, line: str, name: str, now_ns: int, mono_ns: int) -> None:
        """Record that timers are about to run."""
        source = self._source(line)
        self._intake.put(encode_record(RecordKind.TIMER, source, name.encode(), now_ns, mono_ns))


class TappedStreams(StreamSet):
    """Streams whose every change from outside is recorded just before it is made."""

    def __init__(
        self, venue: Venue, ledger: GapLedger, settings: FeedSettings, tap: FeedTap
    ) -> None:
        """Start with no stream open."""
        super().__init__(venue, ledger, settings)
        self._tap = tap
        tap.configured(venue.name, settings)

    def open(self, want: Want, kind: str, instrument: Instrument | None) -> None:
        """See `StreamSet`."""
        key = f"{want.channel}/{want.symbol}/{kind}"
        self._tap.keep("", "stream_open", key=key, want=want, kind=kind, instrument=instrument)
        super().open(want, kind, instrument)

    def close(self, want: Want, kind: str) -> None:
        """See `StreamSet`."""
        key = f"{want.channel}/{want.symbol}/{kind}"
        self._tap.keep("", "stream_open", key=key, want=want, kind=kind, is_open=False)
        super().close(want, kind)

    def forget(self, name: str) -> None:
        """See `StreamSet`."""
        self._tap.end(name, "forget")
        super().forget(name)

    def line_up(
        self, name: str, wants: Sequence[Want], now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """See `StreamSet`."""
        self._tap.keep(name, "line_up", now_ns, mono_ns, key=_key(wants), wants=wants)
        super().line_up(name, wants, now_ns, mono_ns, out)

    def line_down(
        self,
        name: str,
        wants: Sequence[Want],
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        """See `StreamSet`."""
        self._tap.end(name, "line_down", now_ns, mono_ns, wants=wants, cause=cause)
        super().line_down(name, wants, cause, now_ns, mono_ns, out)

    def subscribed(self, want: Want, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `StreamSet`."""
        self._tap.step("", "subscribed", now_ns, mono_ns, want=want)
        super().subscribed(want, now_ns, mono_ns, out)

    def refused(self, want: Want, reason: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `StreamSet`."""
        self._tap.step("", "refused", now_ns, mono_ns, want=want, reason=reason)
        super().refused(want, reason, now_ns, mono_ns, out)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `StreamSet`; recorded only when something is due."""
        if any(mono_ns >= flow.carrier.next_due_ns for flow in self._flows.values()):
            self._tap.timer("", "streams", now_ns, mono_ns)
            super().on_timer(now_ns, mono_ns, out)

    def repair_failed(self, gap_id: int, mono_ns: int) -> None:
        """See `StreamSet`."""
        gap = self.ledger.get(gap_id)
        hole: dict[str, object] = {}
        if gap is not None:
            hole = {"channel": gap.stream.channel, "symbol": gap.stream.symbol}
            hole |= {"first": gap.first, "last": gap.last}
        self._tap.step("", "repair_failed", 0, mono_ns, gap_id=gap_id, **hole)
        super().repair_failed(gap_id, mono_ns)

    def snapshot_failed(self, symbol: str, epoch: int, mono_ns: int, wait_s: float) -> None:
        """See `StreamSet`."""
        self._tap.step("", "snapshot_failed", 0, mono_ns, symbol=symbol, epoch=epoch, wait_s=wait_s)
        super().snapshot_failed(symbol, epoch, mono_ns, wait_s)

    def resync(self, symbol: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """See `StreamSet`."""
        self._tap.step("", "resync", now_ns, mono_ns, symbol=symbol)
        super().resync(symbol, now_ns, mono_ns, out)


def _key(wants: Iterable[Want]) -> str:
    return ",".join(sorted(f"{want.channel}/{want.symbol}" for want in wants))


def make_streams(
    venue: Venue, ledger: GapLedger, settings: FeedSettings, tap: FeedTap | None
) -> StreamSet:
    """Make a session's streams: recorded ones if there is a recorder."""
    if tap is None:
        return StreamSet(venue, ledger, settings)
    return TappedStreams(venue, ledger, settings, tap)


def journal_queue() -> MakeQueue:
    """Return what makes the queue of a journal: compiled where the core is."""
    native = compiled_modules()
    return RecordQueue if native is None else native.queue.RecordQueue


class Recorder:
    """Records any number of clients into one journal.

    ```python
    async with Recorder("recording") as recorder:
        async with VenueClient("kraken", symbols=[...], kinds=[...], recorder=recorder) as client:
            await client.run()
    ```
    An async context manager: entering locks the folder and mends what a crash left, leaving writes
    what waits and seals the segment. The clients are closed before it. Journals hold market data
    only: API keys, and frames that may carry them, are left out.

    Args:
        folder: The journal; made if its parent exists.
        options: Windows, limits, retention.
        clock: Source of time; the clients' own.

    Raises:
        ConfigError: An option that cannot work.
    """

    def __init__(
        self,
        folder: str | Path,
        options: JournalOptions | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Prepare; nothing is touched."""
        self._clock = clock or SystemClock()
        self.writer = JournalWriter(folder, options, clock=self._clock, make_queue=journal_queue())
        self._names: set[str] = set()

    def __repr__(self) -> str:
        """Return a status line."""
        stats = self.stats()
        state = "recording" if stats.is_recording else "not recording"
        return f"<Recorder {self.writer.folder}: {state}, {stats.records} records>"

    def tap(self, name: str) -> FeedTap:
        """Return the tap of one client; clients of one venue are numbered."""
        feed, number = name, 1
        while feed in self._names:
            number += 1
            feed = f"{name}+{number}"
        self._names.add(feed)
        return FeedTap(self.writer.intake, feed, self._clock)

    def on_resume(self, handler: Callable[[Loss], None]) -> None:
        """Call `handler(loss)` on the event loop when recording goes on after records were lost."""
        self.writer.intake.on_resume = handler

    def start(self) -> None:
        """Begin to record; blocks for as long as recovery takes.

        Raises:
            JournalLockedError: Another process records into this folder.
            JournalError: The folder cannot be written.
        """
        self.writer.start()

    async def close(self, deadline_s: float = CLOSE_DEADLINE_S) -> None:
        """Write what waits and seal the segment; closing twice is harmless.

        Raises:
            JournalError: The disk did not take it in time; the next start recovers what is there.
        """
        if not await asyncio.to_thread(self.writer.close, deadline_s):
            stats = self.stats()
            why = stats.failure or f"the disk did not answer within {deadline_s:g} s"
            lost = f"; {stats.lost_records:,} records are lost" if stats.lost_records else ""
            raise JournalError(f"{self.writer.folder}: not closed in order: {why}{lost}")

    async def __aenter__(self) -> Self:
        """Start."""
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    def stats(self) -> JournalStats:
        """Return how the journal stands."""
        return self.writer.stats()
