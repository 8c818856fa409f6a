"""Where to begin in a journal, so that books stand as they did at a wanted moment.

A book follows from its last image and every update since. The image came when its connection was
opened, or with a REST answer (audits bring one every ten minutes, unless told otherwise). Each
segment begins with the steps that made the state of that time, the openings and the notes of images
among them, with their times. So the heads of the segments and the first records of one of them tell
how far back one must read: nothing else is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec import Struct

from crossfeed.errors import ConfigError, CorruptRecordError, CrossfeedError
from crossfeed.journal.folder import SegmentFile
from crossfeed.journal.format import SegmentHead
from crossfeed.journal.reader import Journal, SegmentReader, present_path
from crossfeed.journal.records import REPEATED, Record, RecordKind

__all__ = ["WarmUp", "ns_of", "warm_up_for"]

NS: Final = 1_000_000_000
MARGIN_NS: Final = 60_000_000_000
"""Read from this much before: updates wait for the image they join."""
STATE_RECORDS_MAX: Final = 1_000_000
_BOOK_KINDS: Final = frozenset({"book", "book_ticker"})
_STATE: Final = frozenset({RecordKind.OPEN, RecordKind.CONTROL})


class WarmUp(Struct, frozen=True, kw_only=True):
    """Where reading begins for a wanted moment.

    Attributes:
        segment: Number of the first segment to read; 0: the first one there is.
        begun_ns: Wall time at which that segment was begun; 0 if there is none.
        start_ns: The wanted moment.
        is_whole_run: It is the beginning of the recorder's run: everything stands as it did.
            Otherwise books, sequences and trust do; the gap ledger begins there, a hole or state
            that is older has its beginning there, and a stream that has said nothing since is
            unavailable until it does.
    """

    segment: int = 0
    begun_ns: int = 0
    start_ns: int = 0
    is_whole_run: bool = True


def warm_up_for(journal: Journal, start_ns: int) -> WarmUp:
    """Find where to begin. Cost: 20 us a segment for its head, and the state in one of them.

    Raises:
        JournalError: The folder cannot be read.
    """
    heads = list(_heads(journal))
    place = -1
    for number, (_, head) in enumerate(heads):
        if head.wall_ns > start_ns:
            break
        place = number
    if place < 0:
        return WarmUp(start_ns=start_ns, begun_ns=heads[0][1].wall_ns if heads else 0)
    segment, head = heads[place]
    first = place
    while first and heads[first - 1][1].run == head.run:
        first -= 1
    if first < place:
        since_ns = _needed_since(_state_of(segment), head.mono_ns) - MARGIN_NS
        while place > first and heads[place][1].mono_ns > since_ns:
            place -= 1
    segment, head = heads[place]
    return WarmUp(
        segment=segment.number,
        begun_ns=head.wall_ns,
        start_ns=start_ns,
        is_whole_run=place == first and not any(True for _ in _state_of(segment)),
    )


def _heads(journal: Journal) -> Iterable[tuple[SegmentFile, SegmentHead]]:
    for segment in journal.segments():
        try:
            yield segment, journal.head(segment)
        except CrossfeedError:
            continue  # reading the journal reports it


def _state_of(segment: SegmentFile) -> Iterable[Record]:
    """Yield the state that a segment begins with."""
    with SegmentReader(present_path(segment)) as reader:
        for block in reader.blocks():
            for record in block:
                if record.flags & REPEATED:
                    yield record
                elif record.kind != RecordKind.LOSS:
                    return
            if reader.records > STATE_RECORDS_MAX:
                return


def _needed_since(state: Iterable[Record], mono_ns: int) -> int:
    """Return the monotonic time since which everything must be played; `mono_ns`: nothing before.

    A step that cannot be read counts as one that is needed from the beginning.
    """
    opened: dict[str, list[int]] = {}
    images: dict[tuple[str, str], int] = {}
    books: set[tuple[str, str]] = set()
    symbols: set[tuple[str, str]] = set()
    for record in state:
        if record.kind not in _STATE:
            continue
        try:
            said: dict[str, Any] = record.json()
        except CorruptRecordError:
            return 0
        call, want = said.get("call"), said.get("want")
        if record.kind == RecordKind.OPEN:
            opened.setdefault(record.feed, []).append(record.mono_ns)
        elif call == "imaged":
            images[record.feed, str(said.get("symbol"))] = record.mono_ns
        elif call == "stream_open" and isinstance(want, dict) and said.get("is_open") is not False:
            key = (record.feed, str(cast("dict[str, object]", want).get("symbol")))
            symbols.add(key)
            if said.get("kind") in _BOOK_KINDS:
                books.add(key)
    # Images of the other books came when their connections were opened.
    in_stream = {feed for feed, symbol in books if (feed, symbol) not in images}
    needed = [at_ns for feed in in_stream for at_ns in opened.get(feed, [])]
    needed += [at_ns for key, at_ns in images.items() if key in symbols]
    return min([mono_ns, *needed])


def ns_of(moment: int | datetime, field: str) -> int:
    """Return a moment as ns since 1970.

    Raises:
        ConfigError: A naive datetime, or before 1970.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ConfigError("give an aware datetime (with a time zone)", field=field)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        moment = (since.days * 86_400 + since.seconds) * NS + since.microseconds * 1_000
    if moment < 0:
        raise ConfigError("must not be before 1970", field=field)
    return moment
