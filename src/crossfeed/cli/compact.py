"""`crossfeed compact`: the sealed segments of a journal into a store, each segment once."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from crossfeed.cli.progress import SetDone, progress_bar
from crossfeed.errors import CrossfeedError, JournalError, StoreError
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import Record, RecordKind
from crossfeed.model.events import BookDelta, BookSnapshot, DepthDelta, MarketData
from crossfeed.model.instrument import Instrument
from crossfeed.runtime.core_choice import compiled_modules
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.player import Player, PlayerHooks
from crossfeed.runtime.replay import FeedReplay
from crossfeed.store.depth import DepthCut
from crossfeed.store.merge import MergePlan, merge, plan_merges
from crossfeed.store.writer import Commit, SourceWriter, StoreWriter

__all__ = ["Compaction", "open_writer", "rare_collections", "run_compact"]


LOOK_S: Final = 5.0
NAMED_MAX: Final = 5
TOLD_BLOCKS: Final = 64
COLLECT_OBJECTS: Final = 100_000
_BOOKS: Final = frozenset({BookDelta, BookSnapshot, DepthDelta})
_IMAGES: Final = frozenset({BookSnapshot})


def _untold(done: float, total: int) -> None:
    """Show no progress."""


class Segment(NamedTuple):
    """One sealed segment: number, run, its name as a source, and when it began."""

    number: int
    run: bytes
    source: str
    wall_ns: int


class Compaction(PlayerHooks):
    """Plays a journal and stores what its feeds give out, segment by segment.

    Books are built over a whole run of the recorder, so playing begins where the run of the first
    missing segment began; what is stored already is played and not stored again. Asked to `run`
    again, it goes on where it stopped, without playing anything twice.

    Attributes:
        commits: What was stored.
        segments: The sealed segments, in the order of recording, when it last looked.
        missing: Those of them that were not in the store then.
        open: Segments that were still being written.
        unreadable: Files under the names of sealed segments that have no head to be read.
    """

    def __init__(self, journal: str | Path) -> None:
        """Prepare; nothing is read."""
        self.commits: list[Commit] = []
        self.segments: list[Segment] = []
        self.missing: list[Segment] = []
        self.open = 0
        self.unreadable: list[str] = []
        self._journal = journal
        self._player = Player(journal, self)
        self._played = 0
        self._held: list[MarketData] = []
        # The data path: frames and everything else lead into the list, no call of ours in between.
        self.router = Router()
        self.router.subscribe("*", "*", self._held.append)
        self.on_event = self._held.append  # type: ignore[method-assign,assignment]
        self._cuts: dict[tuple[str, str], DepthCut] = {}
        self._instruments: dict[tuple[str, str], Instrument] = {}

    @property
    def damages(self) -> int:
        """Ranges that could not be read, in the segments last played; their streams say so."""
        return len(self._player.damages)

    def look(self, store: StoreWriter) -> int:
        """Look what there is to do; return how many segments.

        Raises:
            JournalError: There is no journal.
        """
        journal = Journal(self._journal)
        listed = journal.segments()
        self.unreadable, self.segments = [], []
        for each in listed:
            if each.state == "sealed":
                try:
                    head = journal.head(each)
                except JournalError:
                    self.unreadable.append(Path(each.path).name)
                    continue
                source = f"{head.run.hex()}-{each.number:010d}"
                self.segments.append(Segment(each.number, head.run, source, head.wall_ns))
        self.open = sum(each.state == "open" for each in listed)
        self.missing = [each for each in self.segments if not store.has(each.source)]
        return len(self.missing)

    def on_run(self) -> None:
        """Forget the books of the run before."""
        self._cuts.clear()

    def _complete(self) -> None:
        """Let each book event held say what falls out of the subscribed depth, if there is one."""
        held = self._held
        if self._cuts or not _IMAGES.isdisjoint(map(type, held)):
            held[:] = [self._completed(event) if type(event) in _BOOKS else event for event in held]

    def _completed(self, event: MarketData) -> MarketData:
        key = (event.exchange, event.symbol)
        if isinstance(event, BookSnapshot):
            depth = self._depth_of(*key)
            if depth and (key not in self._cuts or self._cuts[key].depth != depth):
                self._cuts[key] = DepthCut(depth)
        cut = self._cuts.get(key)
        if cut is None:
            return event
        assert isinstance(event, BookDelta | BookSnapshot), "as was looked at before"
        return cut.admit(event)

    def _depth_of(self, exchange: str, symbol: str) -> int:
        for feed in self._player.feeds.values():
            flow = feed.streams.book_flow(symbol)
            if flow is not None and feed.venue.profile.exchange == exchange:
                return feed.venue.book_rule(flow.want).depth_limit or 0
        return 0

    def on_feed(self, feed: FeedReplay) -> None:
        """Let the feed give out book changes too."""
        feed.set_wanted(deltas=True, books=False)

    def run(self, store: StoreWriter, on_progress: SetDone = _untold) -> Iterator[int]:
        """Store the missing segments one after the other; yield the number of each one done.

        Left early, the segments done are stored, the one under way is not.

        Args:
            store: Where to.
            on_progress: Told now and then how many segments were played, of how many.

        Raises:
            StoreError: A segment could not be stored; those before it are.
            JournalError: The journal cannot be read.
        """
        if not self.look(store):
            return
        by_number = {each.number: each for each in self.segments}
        wanted = {each.number for each in self.missing}
        first, last = self._first(), max(wanted)
        if first != self._played + 1:
            self._player = Player(self._journal, self)
        self._played = 0
        self._held.clear()
        share = self._shares(first, last)
        with ExitStack() as stack:
            current, writing = 0, None
            for count, block in enumerate(self._player.blocks(first_segment=first)):
                if not count % TOLD_BLOCKS:
                    on_progress(*share())
                number = self._player.segment
                if number != current:
                    if writing is not None:
                        yield self._finish(writing, stack, current)
                    writing = None
                    if number > last or number not in by_number:
                        break
                    current = number
                    if number in wanted:
                        begun = store.begin(by_number[number].source)
                        writing = stack.enter_context(begun)
                self._player.play_all(block)
                self._complete()
                if writing is not None:
                    writing.add(self._held)
                self._held.clear()
            if writing is not None:
                yield self._finish(writing, stack, current)
        self._played = current

    def _shares(self, first: int, last: int) -> Callable[[], tuple[float, int]]:
        """Return what tells how many segments were played, by their times, and of how many."""
        played = [each for each in self.segments if first <= each.number <= last]
        begins_ns = [each.wall_ns for each in played]
        ends_ns = [*begins_ns[1:], Journal(self._journal).span()[1]]
        places = {each.number: place for place, each in enumerate(played)}

        def share() -> tuple[float, int]:
            place = places.get(self._player.segment, 0)
            length_ns = max(1, ends_ns[place] - begins_ns[place])
            part = (self._player.now_ns - begins_ns[place]) / length_ns
            return place + min(max(part, 0.0), 1.0), len(played)

        return share

    def _first(self) -> int:
        """Return the segment to begin with: the first of the run of the first missing one.

        The next one, where everything before it has just been played.
        """
        place = self.segments.index(self.missing[0])
        while place and self.segments[place - 1].run == self.segments[place].run:
            if self._played == self.segments[place - 1].number:
                break
            place -= 1
        return self.segments[place].number

    def on_rare(self, record: Record) -> None:
        """Note the instruments that a record names."""
        if record.kind == RecordKind.INSTRUMENTS:
            # What cannot be read is counted by the player.
            with contextlib.suppress(CrossfeedError, msgspec.ValidationError):
                listed = msgspec.convert(record.json().get("instruments", []), list[Instrument])
                self._instruments |= {(each.venue, each.symbol): each for each in listed}

    def _finish(self, writing: SourceWriter, stack: ExitStack, number: int) -> int:
        writing.flush()
        traded = [
            self._instruments[key] for key in sorted(writing.markets) if key in self._instruments
        ]
        self.commits.append(writing.commit(traded))
        stack.pop_all().close()
        return number


def run_compact(
    journal: Path, store: Path, *, is_merging: bool = True, follows: bool = False, is_json: bool
) -> int:
    """Compact, merge small files, and print what was done; return 0.

    Args:
        journal: Folder of the journal.
        store: Folder of the store.
        is_merging: Whether small files are joined.
        follows: Whether to go on with each segment that is sealed, until Ctrl-C or SIGTERM. What
            may pass (another writer, a full disk) is told, and tried again.
        is_json: Whether the report is JSON.

    Raises:
        CrossfeedError: Journal or store cannot be read or written.
    """
    if not journal.is_dir():
        raise JournalError(f"{journal}: no journal here")
    if (journal / "commits").is_dir() and not Journal(journal).segments():
        raise JournalError(f"{journal}: a store, not a journal")
    compaction, plans = Compaction(journal), list[MergePlan]()
    if not follows:
        _compact(compaction, store, plans, is_merging=is_merging)
        _report(compaction, plans, is_json=is_json)
        return 0
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = ""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                _compact(compaction, store, plans, is_merging=is_merging)
            except StoreError as error:
                if str(error) != told:
                    told = str(error)
                    print(f"crossfeed: {told}; trying again", file=sys.stderr)
            threading.Event().wait(LOOK_S)
    signal.signal(signal.SIGTERM, usual)
    _report(compaction, plans, is_json=is_json)
    return 0


def _compact(
    compaction: Compaction, store: Path, plans: list[MergePlan], *, is_merging: bool
) -> None:
    """Store what is missing, then join small files; add what was joined to `plans`."""
    with open_writer(store) as writer, rare_collections():
        if total := compaction.look(writer):
            with progress_bar("compacting", "segments", total) as set_done:
                for _ in compaction.run(writer, set_done):
                    pass
                set_done(total, total)
        todo = plan_merges(writer.commits()) if is_merging else []
        if todo:
            with progress_bar("merging", "days", len(todo)) as set_done:
                for count, plan in enumerate(todo, 1):
                    merge(writer, plan)
                    plans.append(plan)
                    set_done(count, len(todo))


def open_writer(store: Path) -> StoreWriter:
    """Return the writer of a store, with compiled columns where the core is compiled.

    Raises:
        StoreError: Another process writes it, or it cannot be written or read.
        ConfigError: pyarrow or numpy is not installed.
    """
    native = compiled_modules()
    return StoreWriter(store, reader=None if native is None else native.columns)


@contextlib.contextmanager
def rare_collections() -> Generator[None]:
    """Look for cycles rarely: events have none, and looking costs a tenth of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(COLLECT_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _report(compaction: Compaction, plans: Sequence[MergePlan], *, is_json: bool) -> None:
    commits, done = compaction.commits, {commit.source for commit in compaction.commits}
    missing = {each.source for each in compaction.missing}
    left_out: dict[str, int] = {}
    for commit in commits:
        for name, count in commit.left_out.items():
            left_out[name] = left_out.get(name, 0) + count
    figures: dict[str, Any] = {
        "segments": len(commits),
        "already_stored": sum(s.source not in done | missing for s in compaction.segments),
        "not_stored": len(missing - done),
        "rows": sum(commit.rows for commit in commits),
        "bytes": sum(file.bytes for commit in commits for file in commit.files),
        "open": compaction.open,
        "unreadable": len(compaction.unreadable),
        "damages": compaction.damages,
        "refused": sum(commit.refused for commit in commits),
        "left_out": left_out,
        "merged": {
            "commits": sum(len(plan.commits) for plan in plans),
            "files_before": sum(plan.files_before for plan in plans),
            "files_after": sum(plan.files_after for plan in plans),
        },
    }
    if is_json:
        print(json.dumps(figures))
        return
    print(
        f"{figures['segments']} segments stored ({figures['already_stored']} were there already): "
        f"{figures['rows']:,} rows, {figures['bytes']:,} bytes"
    )
    if plans:
        merged = figures["merged"]
        print(
            f"merged: {merged['files_before']:,} files of {len(plans)} days are "
            f"{merged['files_after']:,} now"
        )
    if compaction.open:
        print(
            f"{compaction.open} still being written: stored when the recorder seals it "
            "(at its end, or as --segment-minutes and --segment-mb say)"
        )
    if figures["not_stored"]:
        print(f"{figures['not_stored']} not stored yet: the next run goes on with them")
    if compaction.unreadable:
        names = compaction.unreadable
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        print(f"not readable, and left out: {', '.join(names[:NAMED_MAX])}{more}")
    elif not compaction.segments and not compaction.open:
        print("nothing was recorded in that journal yet")
    if figures["damages"]:
        print(f"damaged, and marked as gaps: {figures['damages']:,} ranges of the journal")
    if left_out:
        kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(left_out.items()))
        print(f"left out, being in no table: {kinds}")
    if figures["refused"]:
        print(f"refused, their numbers being no prices: {figures['refused']:,} rows")
