"""The player: reads a journal and plays its feeds, one record after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from crossfeed.errors import CrossfeedError
from crossfeed.journal.reader import Damage, Journal, SegmentReader, read_loss
from crossfeed.journal.records import (
    COMMON_MAX,
    REPEATED,
    Decode,
    Loss,
    Record,
    RecordKind,
    decode_records,
)
from crossfeed.model.events import MarketData
from crossfeed.runtime.core_choice import PlayerState, compiled_modules
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.replay import FeedReplay
from crossfeed.transport.listener import OnFrame

__all__ = ["Player", "PlayerHooks"]

log = logging.getLogger("crossfeed.replay")

PlayFrames = Callable[[int, dict[str, OnFrame], PlayerState], int]
"""(place, ways, player) -> place of the first record that is no frame, or has no way yet."""
WAYS_MAX: Final = 4096
FRAME_IN: Final = int(RecordKind.FRAME_IN)
PASSIVE: Final = frozenset({RecordKind.FRAME_OUT, RecordKind.REST_REQUEST, RecordKind.END})
HARMLESS: Final = frozenset({"torn tail", "unsealed", "head"})
"""Damage after which nothing of the same segment follows, or that cost no record."""


class PlayerHooks:
    """What the player tells its owner. Subclassed by it; every method may stay as it is.

    Attributes:
        router: Where events go straight to, by the way that is fastest; None: to `on_event`.
    """

    router: Router | None = None

    def on_feed(self, feed: FeedReplay) -> None:
        """A feed begins."""

    def on_event(self, event: MarketData) -> None:
        """A feed gave out an event."""

    def on_aggregator(self, config: dict[str, Any]) -> None:
        """An aggregator ran while this was recorded."""

    def on_aggregator_stop(self) -> None:
        """It is about to be stopped: what its clients say from now on is not against the data."""

    def on_aggregator_timer(self, now_ns: int, mono_ns: int, *, is_end: bool) -> None:
        """Its timers ran, for the last time with `is_end`."""

    def on_run(self) -> None:
        """Another run of the recorder begins: monotonic times start anew."""

    def on_rare(self, record: Record) -> None:
        """A record that is no frame is about to be played, or left out as known already."""


class Player(PlayerState):
    """Plays one journal. Synchronous; belongs to one thread.

    ```python
    for block in player.blocks():
        player.play_all(block)
    ```

    Attributes:
        journal: The journal.
        feeds: The feeds of the present run, by name.
        now_ns: Wall time of the record last played.
        mono_ns: Its monotonic time, comparable within a run.
        records: Records played.
        runs: Runs of the recorder met.
        names: Names of all feeds met, played or not.
        interruptions: Times records were missing, as told to the streams.
    """

    def __init__(
        self, folder: str | Path, hooks: PlayerHooks, *, feeds: Collection[str] = ()
    ) -> None:
        """Prepare.

        Args:
            folder: The journal's folder.
            hooks: Who is told what happens.
            feeds: Play only these; empty: all.
        """
        self.journal = Journal(folder, _decoder())
        self.feeds: dict[str, FeedReplay] = {}
        self.now_ns = self.mono_ns = 0
        self.records = self.runs = self.interruptions = 0
        self.names: dict[str, None] = {}
        self._hooks = hooks
        self._only = frozenset(feeds)
        self._run = b""
        self._segment = 0
        self._takes_state = False
        self._damages = 0
        self._ways: dict[str, OnFrame] = {}

    # ── reading ─────────────────────────────────────────────────────────────

    def blocks(
        self, *, first_segment: int = 0, is_followed: bool = False
    ) -> Iterator[Sequence[Record]]:
        """Yield blocks of records, to be played before the next one is asked for.

        Args:
            first_segment: Where to begin.
            is_followed: Never end: yield an empty block where there is nothing new now.

        Raises:
            JournalError: The folder cannot be read.
        """
        found = self.journal.blocks(first_segment=first_segment, is_followed=is_followed)
        for reader, block in found:
            if reader is not None:
                self._enter(reader)
            yield block

    def _enter(self, reader: SegmentReader) -> None:
        """See whether the block joins what was played before."""
        head = reader.head
        if head.number != self._segment:
            is_new = head.run != self._run
            # Where a segment is gone, what follows goes on from the state it carries itself.
            self._takes_state = is_new or head.number != self._segment + 1
            if is_new:
                self._begin_run(head.run)
            elif self._takes_state:
                self._skip()
            self._segment = head.number
            self._damages = 0
        found = reader.damages[self._damages :]
        self._damages = len(reader.damages)
        if any(damage.reason not in HARMLESS for damage in found):
            self._interrupt("journal_damage")

    def _begin_run(self, run: bytes) -> None:
        for feed in self.feeds.values():
            feed.close(self.now_ns, self.mono_ns, "recorder_ended")
        self.feeds.clear()
        self._ways.clear()
        self._run = run
        self.runs += 1
        self._hooks.on_run()

    def _skip(self) -> None:
        """Go on behind segments that are gone."""
        self.interruptions += 1
        for feed in self.feeds.values():
            feed.skip(self.now_ns, self.mono_ns, "journal_damage")
        self._ways.clear()

    def _interrupt(self, cause: str) -> None:
        self.interruptions += 1
        for feed in self.feeds.values():
            feed.interrupt(self.now_ns, self.mono_ns, cause)

    # ── playing ─────────────────────────────────────────────────────────────

    def play(self, record: Record) -> None:
        """Play one record; see `play_all`."""
        self.play_all((record,))

    def play_all(self, records: Sequence[Record]) -> None:
        """Play records. Cost of a frame: that of the live path, and 0.3 us; 0.1 where compiled."""
        self.records += len(records)
        play: PlayFrames | None = getattr(records, "play", None)
        if play is not None:
            self._play_block(records, play)
            return
        ways = self._ways
        for record in records:
            if record.kind != FRAME_IN:
                self._play_rare(record)
                continue
            self.now_ns, self.mono_ns = wall_ns, mono_ns = record.wall_ns, record.mono_ns
            way = ways.get(record.source)
            if way is None:
                way = self._way(record)
            way(record.payload, wall_ns, mono_ns)

    def _play_block(self, records: Sequence[Record], play: PlayFrames) -> None:
        """Play a compiled block: it gives the frames to their ways itself."""
        at, end = 0, len(records)
        while (at := play(at, self._ways, self)) < end:
            record = records[at]
            if record.kind == FRAME_IN:
                self._way(record)
            else:
                self._play_rare(record)
                at += 1

    def _way(self, record: Record) -> OnFrame:
        """Find where the frames of a connection go, once."""
        if len(self._ways) >= WAYS_MAX:
            self._ways.clear()
        feed = self.feeds.get(record.feed)
        way: OnFrame = _ignore if feed is None else feed.way(record.line, self._hooks.router)
        self._ways[record.source] = way
        return way

    def turn(self) -> None:
        """Ask the hooks again where events go: `router` has changed."""
        self._ways.clear()

    def _play_rare(self, record: Record) -> None:
        """Play what is no frame."""
        kind = record.kind
        self._hooks.on_rare(record)
        if kind in PASSIVE or (record.flags & REPEATED and not self._takes_state):
            return
        if not record.flags & REPEATED:
            self.now_ns, self.mono_ns = record.wall_ns, record.mono_ns
        try:
            self._play_other(record)
        except CrossfeedError as error:
            log.warning("journal %s: a record is refused: %s", self.journal.folder, error)
            feed = self.feeds.get(record.feed)
            if feed is not None:
                feed.refused += 1

    def _play_other(self, record: Record) -> None:
        kind, name = record.kind, record.feed
        if kind == RecordKind.LOSS:
            if read_loss(record).cause != "crash":
                self._interrupt("journal_loss")
        elif kind == RecordKind.CONFIG:
            self._configure(record)
        elif name in self.feeds:
            self.feeds[name].apply(record)
        elif kind == RecordKind.TIMER and record.payload == b"aggregator":
            self._hooks.on_aggregator_timer(record.wall_ns, record.mono_ns, is_end=False)
        elif kind == RecordKind.CONTROL:
            said = record.json()
            if said.get("call") == "aggregator_stop":
                self._hooks.on_aggregator_stop()
            elif said.get("call") == "aggregator_close":
                now_ns, mono_ns = int(said.get("now_ns", 0)), int(said.get("mono_ns", 0))
                self._hooks.on_aggregator_timer(now_ns, mono_ns, is_end=True)

    def _configure(self, record: Record) -> None:
        config, name = record.json(), record.feed
        if config.get("role") == "aggregator":
            self._hooks.on_aggregator(config)
            return
        self.names[name] = None
        if name not in self.feeds and (not self._only or name in self._only):
            is_midway = bool(record.flags & REPEATED)
            feed = FeedReplay(name, config, self._hooks.on_event, is_midway=is_midway)
            self.feeds[name] = feed
            self._ways.clear()
            self._hooks.on_feed(feed)

    @property
    def segment(self) -> int:
        """Number of the segment that the block last given out is of; 0 before the first."""
        return self._segment

    @property
    def losses(self) -> list[Loss]:
        """What the journal itself says it lacks, as far as it was read."""
        return self.journal.losses

    @property
    def damages(self) -> list[Damage]:
        """What could not be read, in the segments read to their end."""
        return self.journal.damages


def _decoder() -> Decode:
    """Return what reads the records of a block: compiled where the core is."""
    native = compiled_modules()
    if native is None or not issubclass(Player, native.blocks.PlayerState):
        return decode_records

    def decode(
        raw: bytes, count: int, names: dict[bytes, str], where: str, rare: list[Record] | None
    ) -> Sequence[Record]:
        block: Sequence[Record] | None
        block = native.blocks.block_of(raw, count, names, Record, COMMON_MAX, rare)
        return decode_records(raw, count, names, where, rare) if block is None else block

    return decode


def _ignore(frame: bytes, wall_ns: int, mono_ns: int) -> None:
    """Stand in for feeds that are not played."""
