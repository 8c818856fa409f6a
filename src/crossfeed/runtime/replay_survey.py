"""What is read of a journal for REST answers: a survey where history begins, a look ahead later.

A survey tells which feeds there are (each run's first and last segment begin with that), and what
was answered from where books begin to the wanted moment, and a window beyond it. Nothing else is
opened but the segments' heads, whatever the length of the journal. It runs in any thread: it owns
what it makes until it returns it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import ConfigError, CrossfeedError, JournalError
from crossfeed.journal.folder import SegmentFile
from crossfeed.journal.format import SegmentHead
from crossfeed.journal.reader import NS_MAX, Journal
from crossfeed.journal.records import Record, RecordKind, decode_records, split_body, wall_of
from crossfeed.model.commands import RestRequest
from crossfeed.runtime.replay_answers import Answers
from crossfeed.runtime.replay_protocols import PROTOCOLS
from crossfeed.runtime.seek import WarmUp, warm_up_for

__all__ = [
    "WINDOW_RECORDS",
    "AnswerReader",
    "Lookahead",
    "Recorded",
    "SetDone",
    "Survey",
    "Surveyor",
    "keep_late",
    "recorded_answer",
]

log = logging.getLogger("crossfeed.replay")

NS: Final = 1_000_000_000
WINDOW_RECORDS: Final = 500_000
"""So many records of any kind ahead of a client answers are looked for, and so many behind it they
are kept. Reading them takes 0.3 s; a busy recording has so many in a minute, most in hours."""
OPENING_RECORDS: Final = 20_000
"""Of a segment: the state it begins with, and what a recorder asks when it begins."""
SLICE_RECORDS: Final = 1_000
REST_S: Final = 0.0001
"""Half a millisecond of reading, then a moment in which the event loop gets hold of the interpreter
at once, instead of after the 5 ms for which a busy thread may keep it."""
_SIGNS: Final = (b'"purpose":', b'"role":')
"""A block without any of these holds neither an answer nor a configuration."""

SetDone = Callable[[float, int], None]
"""(done, total) segments; total 0 while unknown."""


class Recorded(Struct, frozen=True):
    """A REST answer as it was recorded.

    Attributes:
        request: What was asked.
        at_ns: When the answer came, wall time.
        status: HTTP status.
        body: As received.
    """

    request: RestRequest
    at_ns: int
    status: int
    body: bytes


def recorded_answer(record: Record) -> Recorded | None:
    """Return the REST answer that a record holds; None, and a word in the log, if it is none."""
    try:
        meta, body = split_body(record.payload)
        request = msgspec.convert(meta.get("request"), RestRequest)
        return Recorded(request, record.wall_ns, int(meta.get("status", 0)), body)
    except (CrossfeedError, msgspec.ValidationError, TypeError, ValueError) as error:
        log.warning("replay server: a record is refused: %s", error)
        return None


def keep_late(record: Record, answers: Answers, place: int) -> None:
    """Remember the REST answer that a record holds, met at a place of history."""
    found = recorded_answer(record)
    if found is not None:
        answers.keep_late(found.request, found.at_ns, found.status, found.body, place)


class AnswerReader:
    """Reads a journal's REST answers and configurations alone: 0.6 us for each other record.

    Attributes:
        passed: Records passed, those of other kinds too.
        at_ns: Wall time of the last block's first record.
    """

    def __init__(
        self, folder: str | Path, first_segment: int = 0, last_segment: int = NS_MAX
    ) -> None:
        """Read these segments; nothing is opened yet."""
        self.passed = self.at_ns = 0
        self._journal = Journal(folder, self._decode)
        self._first, self._last = first_segment, last_segment

    def _decode(
        self,
        raw: bytes,
        count: int,
        names: dict[bytes, str],
        where: str,
        rare: list[Record] | None,
    ) -> Sequence[Record]:
        self.passed += count
        self.at_ns = wall_of(raw) if count else self.at_ns
        if any(sign in raw for sign in _SIGNS):
            return decode_records(raw, count, names, where, rare)
        return ()

    def blocks(self) -> Iterator[tuple[int, list[Record]]]:
        """Yield each block's segment and what there is of these records in it.

        Raises:
            JournalError: The folder cannot be read.
        """
        kinds = (RecordKind.REST_ANSWER, RecordKind.CONFIG)
        for reader, block in self._journal.blocks(
            first_segment=self._first, last_segment=self._last
        ):
            assert reader is not None, "it is not followed"
            yield reader.head.number, [record for record in block if record.kind in kinds]


class Lookahead:
    """Reads what one feed was answered before history gets there, when somebody asks for it.

    Args:
        folder: The journal.
        feed: Whose answers.
        answers: Takes them.
        segment: Where to begin.
        began: Records before that segment, counted from where books begin.

    Attributes:
        answers: Takes them.
        began: From this place on all answers have been kept that `passed` has come to.
    """

    def __init__(self, folder: Path, feed: str, answers: Answers, segment: int, began: int) -> None:
        """Prepare; nothing is opened."""
        self.began = began
        self._first = began
        self._feed, self.answers = feed, answers
        self._reader = AnswerReader(folder, segment)
        self._blocks = self._reader.blocks()
        self._rested = 0

    @property
    def passed(self) -> int:
        """Records passed, counted from where books begin."""
        return self._first + self._reader.passed

    async def reach(self, passed: int) -> None:
        """Read on until so many records have been passed; other tasks have their turns meanwhile.

        Raises:
            JournalError: The folder cannot be read.
        """
        while self.passed < passed:
            found = next(self._blocks, None)
            if found is None:
                return
            for record in found[1]:
                if record.kind == RecordKind.REST_ANSWER and record.feed == self._feed:
                    keep_late(record, self.answers, self.passed)
            if self.passed >= self._rested + SLICE_RECORDS:
                self._rested = self.passed
                await asyncio.sleep(0)


class Survey(Struct, frozen=True):
    """Where history begins, and what is answered there.

    Attributes:
        start_ns: The moment, wall time; 0: the beginning of the journal.
        first_segment: Books are made from this segment on.
        venues: Names of the feeds in the journal -> venue, in the order of recording.
        answers: Names of the feeds that can be served -> what they were answered.
    """

    start_ns: int
    first_segment: int
    venues: dict[str, str]
    answers: dict[str, Answers]


class Surveyor:
    """Takes one survey. Used once, in one thread; only `stop` may be called from another.

    Args:
        folder: The journal.
        start_ns: The moment at which history is to begin.
        end_ns: It ends after this one; 0: with the journal.
        set_done: Told how many segments have been looked at.
    """

    def __init__(self, folder: Path, start_ns: int, end_ns: int, set_done: SetDone) -> None:
        """Prepare; nothing is read."""
        self._over = threading.Event()
        self._rested = 0
        self._folder = folder
        self._start_ns, self._end_ns = start_ns, end_ns
        self._set_done = set_done
        self._done = self._total = 0
        self._answers: dict[str, Answers] = {}
        self._venues: dict[str, str] = {}

    def stop(self) -> None:
        """Let `take` return early with what it has: nobody waits for it any more."""
        self._over.set()

    def take(self) -> Survey:
        """Read what is needed.

        Raises:
            JournalError: The folder cannot be read.
            ConfigError: Nothing was recorded at that time.
        """
        journal = Journal(self._folder)
        _check(journal, self._start_ns, self._end_ns)
        begin = warm_up_for(journal, self._start_ns) if self._start_ns else WarmUp()
        heads = list(_heads(journal))
        runs = _runs(heads)
        ends = [segment for run in runs for segment in dict.fromkeys((run[0], run[-1]))]
        before = [each for each, head in heads if head.wall_ns <= self._start_ns]
        self._total = len(ends) + sum(each.number >= begin.segment for each in before)
        for segment in ends:
            self._learn_feeds(segment)
        self._answers = {
            name: Answers(self._start_ns)
            for name, venue in self._venues.items()
            if venue in PROTOCOLS
        }
        self._read_beginning(begin.segment)
        self._find_instruments(runs, begin.segment)
        return Survey(self._start_ns, begin.segment, self._venues, self._answers)

    def _is_over(self, reader: AnswerReader) -> bool:
        """Rest when a slice has been read; say whether to stop."""
        if 0 <= reader.passed - self._rested < SLICE_RECORDS:
            return self._over.is_set()
        self._rested = reader.passed
        return self._over.wait(REST_S)

    def _step(self) -> None:
        self._done += 1
        self._set_done(self._done, max(self._total, self._done))

    def _opening(self, segment: SegmentFile) -> Iterator[Record]:
        """Yield the answers and configurations that a segment begins with."""
        reader = AnswerReader(self._folder, segment.number, segment.number)
        for _, records in reader.blocks():
            yield from records
            if self._is_over(reader) or reader.passed > OPENING_RECORDS:
                break
        self._step()

    def _learn_feeds(self, segment: SegmentFile) -> None:
        for record in self._opening(segment):
            if record.kind != RecordKind.CONFIG:
                continue
            try:
                config = record.json()
            except CrossfeedError as error:
                log.warning("replay server: a record is refused: %s", error)
                continue
            if config.get("role") == "feed":
                self._venues.setdefault(record.feed, str(config.get("venue", "")))

    def _read_beginning(self, first_segment: int) -> None:
        """Read what was answered from where books begin until a window after the moment."""
        reader = AnswerReader(self._folder, first_segment)
        until = at = 0
        for number, records in reader.blocks():
            if number != at:
                at = number
                self._step()
            for record in records:
                self._learn(record)
            if not until and reader.at_ns > self._start_ns:
                until = reader.passed + WINDOW_RECORDS
            if self._is_over(reader) or (until and reader.passed > until):
                return

    def _find_instruments(self, runs: list[list[SegmentFile]], first_segment: int) -> None:
        """Look where recorders began for lists of instruments that are still missing.

        The run of the moment comes first, then those before it, the nearest first, then the rest.
        """
        place = sum(run[0].number <= first_segment for run in runs)
        for run in (*reversed(runs[:place]), *runs[place:]):
            missing = {name for name, each in self._answers.items() if each.instruments() is None}
            if not missing or self._over.is_set():
                return
            for record in self._opening(run[0]):
                if record.feed in missing:
                    self._learn(record, only="instruments")

    def _learn(self, record: Record, only: str = "") -> None:
        if record.kind != RecordKind.REST_ANSWER or record.feed not in self._answers:
            return
        found = recorded_answer(record)
        if found is not None and (not only or found.request.purpose == only):
            self._answers[record.feed].keep(found.request, found.at_ns, found.status, found.body)


def _heads(journal: Journal) -> Iterator[tuple[SegmentFile, SegmentHead]]:
    for segment in journal.segments():
        try:
            yield segment, journal.head(segment)
        except JournalError:
            continue  # its records are missing to whoever plays it


def _runs(heads: Sequence[tuple[SegmentFile, SegmentHead]]) -> list[list[SegmentFile]]:
    """Return the segments of each run of a recorder, in order."""
    grouped = itertools.groupby(heads, key=lambda each: each[1].run)
    return [[segment for segment, _ in run] for _, run in grouped]


def _check(journal: Journal, start_ns: int, end_ns: int) -> None:
    """Refuse to begin after the end: clients would wait for ever.

    Raises:
        ConfigError: With the time there is.
    """
    first_ns, last_ns = journal.span()
    if start_ns > last_ns or 0 < end_ns < first_ns:
        first, last = (
            f"{datetime.fromtimestamp(ns / NS, UTC):%Y-%m-%d %H:%M:%S}"
            for ns in (first_ns, last_ns)
        )
        msg = f"nothing was recorded then: there is {first} to {last} UTC"
        raise ConfigError(msg, field="from")
