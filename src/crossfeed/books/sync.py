"""Keeping one book in step with its venue, by the venue's own rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from crossfeed.books.assembly import Assembler, ExactReader, bare
from crossfeed.books.audit import AuditReport
from crossfeed.books.auditor import Auditor
from crossfeed.books.book import OrderBook
from crossfeed.books.crossing import CrossingWatch
from crossfeed.books.holes import BookHoles, is_counted_anew
from crossfeed.books.ladder import Ladder
from crossfeed.books.ports import TrustKeeper
from crossfeed.books.quotes import TopFigures, image_of, quote_of, tell_one_sided
from crossfeed.books.rebuild import NEVER_NS, SECOND_NS, BookLimits, Purpose, Rebuild
from crossfeed.books.stats import BookState, BookStats
from crossfeed.model.events import BookDelta, BookSnapshot, MarketData
from crossfeed.model.output import Output
from crossfeed.model.sequencing import BookRule, SnapshotSource, Verdict
from crossfeed.model.trust import Trust

__all__ = ["BookSync"]

RESTART_VOTES: Final = 3
_SOUND: Final = Trust.SOUND
_APPLY: Final = Verdict.APPLY
_OLD: Final = Verdict.OLD


class BookSync:
    """Synchronises one book: image, updates, checks, and starting over when a check fails.

    Gate of the stream's `BookSnapshot` and `BookDelta` events; REST images come in by
    `on_snapshot`. Whatever breaks the chain (a hole, a checksum, a book crossed for too long) makes
    the stream UNSOUND in the same message, is entered in the gap ledger, and is followed by exactly
    one request for a new image; the hole is closed as SNAPSHOT when the book stands again. Tries
    never end. Made by the pipeline, lives as long as the stream, over reconnects.

    Attributes:
        trust: The stream's trust.
        book: The public view.
        ladder: The levels; another object after each rebuild from REST.
        sequence: Update number the levels stand at.
        last_event: Newest message taken in, None before the first (for freshness).
        last_applied: Newest message that is in the levels, None before the first.
        state: How far the book is.
        wants_quotes: Whether a `Quote` is emitted each time the top moves.
        wants_deltas: Whether the book's own events are passed on.
        allows_crossed: True while the venue's status explains a crossed book (auction): it is
            flagged, not rebuilt. Set by the pipeline.
    """

    def __init__(  # noqa: PLR0913 - the settings of one book, by keyword
        self,
        trust: TrustKeeper,
        rule: BookRule,
        *,
        price_scale: int = 8,
        size_scale: int = 8,
        wants_quotes: bool = True,
        wants_deltas: bool = False,
        limits: BookLimits | None = None,
        exact_reader: ExactReader | None = None,
        ladder_type: type[Ladder] = Ladder,
    ) -> None:
        """Start without a book.

        Args:
            trust: The stream's trust.
            rule: The venue's rule.
            price_scale: The instrument's decimals of a price.
            size_scale: The instrument's decimals of a size.
            wants_quotes: See the attribute.
            wants_deltas: See the attribute.
            limits: Limits of this book.
            exact_reader: Reads levels from the frame, for numbers no float can hold and for
                precision changes.
            ladder_type: Makes the levels' store.
        """
        self.trust = trust
        self.ladder = ladder_type(price_scale, size_scale)
        self.sequence = 0
        self.last_event: BookDelta | BookSnapshot | None = None
        self.last_applied: BookDelta | BookSnapshot | None = None
        self.state = BookState.WAITING
        self.wants_quotes = wants_quotes
        self.wants_deltas = wants_deltas
        self.allows_crossed = False
        self.book = OrderBook(self)
        self._limits = limits or BookLimits()
        self._rule = rule
        self._follow = rule.follow
        self._is_rest = rule.snapshot_source is SnapshotSource.REST
        self._assembler = Assembler(rule, self._limits, exact_reader)
        self._auditor = Auditor(self._assembler)
        self._rebuild: Rebuild[BookDelta] = Rebuild(
            trust.stream,
            rule.snapshot_source,
            lambda kept, update: rule.follow(kept.last, update),
            self._limits,
        )
        self._crossing = CrossingWatch(trust, self._limits)
        self._holes = BookHoles(trust)
        self._top: TopFigures | None = None
        self._window_min = 0
        self._bridge_from: BookSnapshot | None = None
        self._votes = 0
        self._quiet_due_ns = NEVER_NS
        self._is_reconnected = self._is_plain = False
        self._updates = self._applied = self._duplicates = self._waiting = 0
        self._images = self._void_images = self._old_images = 0
        trust.watch(self._choose_path)

    def __repr__(self) -> str:
        """Return trust, state and sequence."""
        return f"BookSync({self.trust}, {self.state}, {self.sequence})"

    @property
    def next_number(self) -> int:
        """Update number that the next update must hold, 0 while the book is not built."""
        return self.sequence + 1 if self.state is BookState.LIVE and self.sequence else 0

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one `BookDelta` or stream `BookSnapshot`; see `Gate.admit`."""
        if isinstance(event, BookDelta):
            self._updates += 1
            if self._is_plain and self._follow(self.sequence, event) is _APPLY:
                self._apply(event, out)
            else:
                self._judge(event, out)
        else:
            assert isinstance(event, BookSnapshot), f"no book event: {type(event).__name__}"
            self._take_stream_image(event, out)

    def _choose_path(self) -> None:
        """Allow the fast path only while nothing at all needs a second look."""
        self._is_plain = (
            self.trust.current is _SOUND
            and self.state is BookState.LIVE
            and self._rebuild.purpose is Purpose.NONE
            and self._bridge_from is None
            and not self._votes
            and not self._is_reconnected
        )

    def _apply(self, event: BookDelta, out: Output) -> None:
        """Apply one update that follows."""
        if not self._assembler.apply(self.ladder, event):
            self._start_over(event, out, "number")
            return
        self.sequence = event.last
        self.last_event = self.last_applied = event
        self._applied += 1
        self._conclude(event, out)

    def _conclude(self, event: BookDelta, out: Output) -> None:
        """Check the levels as they are after `event`; tell what subscribers shall see."""
        ladder = self.ladder
        if event.checksum is not None and not self._assembler.is_verified(ladder, event):
            self._desync("checksum", event.ts_recv_ns, event.ts_mono_ns, out)
            self._pass_on(event, out)
            return
        if self.wants_deltas:
            self._pass_on(event, out)
        top = ladder.best()
        if top != self._top:
            self._tell_top(top, event, out)

    def _pass_on(self, event: BookDelta | BookSnapshot, out: Output) -> None:
        if self.wants_deltas:
            current = self.trust.current
            out.events.append(event if event.trust is current else replace(event, trust=current))

    def _tell_top(
        self, top: TopFigures | None, event: BookDelta | BookSnapshot, out: Output
    ) -> None:
        """Emit a top that moved as a quote, unless it is crossed; tell that a side is empty."""
        self._top = top
        is_due = top is None or not self._applied % self._limits.window_check_updates
        if is_due and self.ladder.is_thinner_than(self._window_min):
            self._refresh(event.ts_mono_ns, out)
        if top is None:
            tell_one_sided(self.ladder, event, self.trust, out)
            return
        is_odd = top[0] >= top[2] or not self._crossing.is_calm
        if is_odd and self._crossing.judge(top[0], top[2], event.ts_recv_ns, event.ts_mono_ns, out):
            return
        if self.wants_quotes:
            out.events.append(quote_of(top, event, self.trust, self.sequence))

    def _judge(self, event: BookDelta, out: Output) -> None:
        """Judge an update off the fast path."""
        if self.state is not BookState.LIVE:
            self._await_image(event, out)
        else:
            image = self._bridge_from
            if image is None:
                verdict = self._follow(self.sequence, event)
            else:
                verdict = self._rule.bridge(image, event)
            if verdict is _APPLY:
                self._carry_on(event, out)
            elif verdict is _OLD:
                self._drop_old(event, out)
            else:
                self._start_over(event, out)
        self._choose_path()

    def _connected(self, event: BookDelta | BookSnapshot, out: Output) -> None:
        """Take an event as proof of life; while there is no book the stream is UNSOUND at best."""
        now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
        if self.state is BookState.WAITING:
            self.trust.report("book", Trust.UNSOUND, "syncing", now_ns, mono_ns, out)
        self.trust.report("freshness", _SOUND, "fresh", now_ns, mono_ns, out)
        self.trust.report("connection", _SOUND, "first_data", now_ns, mono_ns, out)

    def _carry_on(self, event: BookDelta, out: Output) -> None:
        """Apply an update that follows, and feed it to the image that is on its way, if any."""
        self._connected(event, out)
        self._bridge_from = None
        self._votes = 0
        self._is_reconnected = False
        self._quiet_due_ns = NEVER_NS
        if self._rebuild.purpose is not Purpose.NONE:
            self._rebuild.keep(event)
        self._apply(event, out)
        if self._auditor.image is not None:
            self._finish_audit(self._auditor.image, out)

    def _drop_old(self, event: BookDelta, out: Output) -> None:
        """Drop a repeated update, unless several show that the venue has begun to count anew."""
        self._duplicates += 1
        if event.last == self.sequence:
            self._connected(event, out)  # nothing was missed up to here, over a reconnect as well
        is_anew = is_counted_anew(event, self.last_applied, self.sequence)
        self._votes = self._votes + 1 if is_anew else 0
        if self._votes >= RESTART_VOTES:
            now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
            self._desync("restart", now_ns, mono_ns, out, first=self.sequence + 1)
            self._rebuild.keep(event)

    def _start_over(self, event: BookDelta, out: Output, cause: str = "") -> None:
        """Something is missing before `event`: it is the first one kept for the new image."""
        behind = "sequence" if self._bridge_from is None else "old_snapshot"
        cause = cause or ("reconnect" if self._is_reconnected else behind)
        self._holes.open_before(self.sequence, event, cause, out)
        self._begin_sync(cause, event.ts_recv_ns, event.ts_mono_ns, out)
        self._await_image(event, out)

    def _await_image(self, event: BookDelta, out: Output) -> None:
        """Keep an update for the image that is on its way (REST), or pass over it (stream)."""
        self._connected(event, out)
        if self._is_rest:
            if self.state is BookState.WAITING:
                self._begin_sync("subscribed", event.ts_recv_ns, event.ts_mono_ns, out)
            kept = self._rebuild.last_kept
            verdict = self._rebuild.keep(event)
            if verdict is _OLD:
                self._duplicates += 1
                return
            if verdict is Verdict.GAP and kept is not None:
                self._holes.open_before(kept.last, event, "sequence", out)
        self._waiting += 1
        self.last_event = event
        self._pass_on(event, out)

    def _take_stream_image(self, image: BookSnapshot, out: Output) -> None:
        """Take over an image the venue sent in the stream: everything before it is void."""
        self._connected(image, out)
        fault = self._assembler.take(self.ladder, image)
        self.sequence = image.sequence
        self.last_event = self.last_applied = bare(image)
        if fault:
            self._desync(fault, image.ts_recv_ns, image.ts_mono_ns, out)
            self._pass_on(image, out)
        else:
            self._go_live(image.ts_recv_ns, image.ts_mono_ns, out)
            self._pass_on(image, out)
            self._tell_top(self.ladder.best(), image, out)
        self._choose_path()

    def on_snapshot(self, image: BookSnapshot, epoch: int, out: Output) -> None:
        """Take a REST image that was asked for as `epoch`; with the kept updates it is the book.

        An image older than those is fetched again, one of an older epoch dropped.
        """
        if not self._rebuild.is_answer(epoch):
            self._void_images += 1
            return
        if self._rebuild.purpose is Purpose.AUDIT:
            self._rebuild.arrived()
            self._auditor.image = image
            self._finish_audit(image, out)
        else:
            verdict, updates = self._assembler.bridge(image, list(self._rebuild.buffer))
            if verdict is _APPLY and (self._rebuild.buffer or image.sequence >= self.sequence):
                self._replace(image, updates, out)
            else:
                self._fetch_again(image, out)
        self._choose_path()

    def on_snapshot_failed(self, epoch: int, mono_ns: int, wait_s: float = 0.0) -> None:
        """Take a request as failed (refused, late, malformed); asked again after `wait_s`."""
        if self._rebuild.is_answer(epoch):
            self._rebuild.failed(mono_ns, wait_s)

    def _fetch_again(self, image: BookSnapshot, out: Output) -> None:
        """The image is older than what is known, with a hole between: useless. Ask for another."""
        self._old_images += 1
        if self._rebuild.is_old_again(image.ts_mono_ns, self._limits.old_images_max):
            detail = f"image {image.sequence} is older than the updates that came before it"
            self.trust.alert("old_snapshot", detail, image.ts_recv_ns, image.ts_mono_ns, out)

    def _replace(self, image: BookSnapshot, updates: Sequence[BookDelta], out: Output) -> None:
        """Put the rebuilt book in the place of the old one and tell it."""
        now_ns, mono_ns = image.ts_recv_ns, image.ts_mono_ns
        ladder = self._assembler.build(self.ladder, image, updates)
        if ladder is None:
            self._rebuild.failed(mono_ns)
            return
        self._connected(image, out)
        before, was_live = self.sequence, self.state is BookState.LIVE
        self.ladder, image = ladder, bare(image)
        self._window_min = self._limits.window_levels_min if ladder.has_window else 0
        self.sequence = updates[-1].last if updates else image.sequence
        self.last_applied = updates[-1] if updates else image
        kept = self._rebuild.last_kept
        is_joined = updates or (kept is not None and kept.last == image.sequence)
        self._bridge_from = None if is_joined else image
        if was_live and self._is_reconnected and before < self.sequence:
            self._holes.open(
                before + 1, self.sequence, "reconnect", now_ns, mono_ns, out, is_countable=False
            )
        self._go_live(now_ns, mono_ns, out)
        self._tell_whole(now_ns, mono_ns, out)

    def _tell_whole(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Tell the book as it stands: the whole of it to who follows its changes, and its top."""
        assert self.last_applied is not None, "a live book was made from something"
        stamped = replace(self.last_applied, ts_recv_ns=now_ns, ts_mono_ns=mono_ns)
        if self.wants_deltas:
            out.events.append(image_of(self.ladder, stamped, self.trust, self.sequence))
        self._tell_top(self.ladder.best(), stamped, out)

    def republish(self, after: MarketData | None, now_ns: int, mono_ns: int, out: Output) -> None:
        """Give out the state as it stands, whatever `after` told (a line takes over)."""
        del after
        if self.last_applied is not None:
            self._tell_whole(now_ns, mono_ns, out)

    def _go_live(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Close what was open against the book and call it sound."""
        self._images += 1
        self.state = BookState.LIVE
        self._is_reconnected = False
        self._quiet_due_ns = NEVER_NS
        self._votes = 0
        self._top = None
        self._rebuild.end()
        self._holes.close(now_ns, mono_ns, out)
        cause = "resynced" if self._images > 1 else "synced"
        self.trust.report("book", _SOUND, cause, now_ns, mono_ns, out)

    def resync(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Build the book anew; not while it is built."""
        if self.state is BookState.LIVE:
            self._desync(cause, now_ns, mono_ns, out)

    def _desync(
        self, cause: str, now_ns: int, mono_ns: int, out: Output, *, first: int = 0
    ) -> None:
        """Record that the chain is broken, make the stream UNSOUND, ask once for a new image."""
        self._holes.open(first, 0, cause, now_ns, mono_ns, out)
        self._begin_sync(cause, now_ns, mono_ns, out)

    def _begin_sync(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        self.state = BookState.SYNCING
        self._bridge_from = self._auditor.image = self._top = None
        self._is_reconnected = False
        self._votes = 0
        self._rebuild.begin(Purpose.SYNC, cause, mono_ns, out)
        self.trust.report("book", Trust.UNSOUND, cause, now_ns, mono_ns, out)
        self._crossing.forget(now_ns, mono_ns, out)
        self._choose_path()

    def _refresh(self, mono_ns: int, out: Output) -> None:
        """Fetch a new image for a book that is right: its window ran thin, or it must be proven."""
        if self._rebuild.purpose is Purpose.NONE:
            self._rebuild.begin(Purpose.REFRESH, "refresh", mono_ns, out)
            self._choose_path()

    def begin_audit(self, mono_ns: int, out: Output) -> bool:
        """Ask for a REST image, numbered like the updates, to compare the live book with.

        The result is in `stats().last_audit`; a difference is told, and the book is rebuilt.
        Returns False where that cannot be done now: not sound, or an image is on its way.
        """
        if not (self._is_plain and self._is_rest):
            return False
        self._rebuild.begin(Purpose.AUDIT, "audit", mono_ns, out)
        self._choose_path()
        return True

    def _finish_audit(self, image: BookSnapshot, out: Output) -> None:
        """Compare as soon as image and kept updates reach the number of the live book."""
        verdict = self._auditor.join(self.ladder, self.sequence, self._rebuild.buffer)
        if verdict is Verdict.EARLY:
            self._fetch_again(image, out)
        elif verdict is _APPLY:
            self._rebuild.end()
            report = self._auditor.last
            if report is not None and not report.is_equal:
                now_ns, mono_ns = image.ts_recv_ns, image.ts_mono_ns
                self.trust.alert("audit", str(report), now_ns, mono_ns, out)
                self._desync("audit", now_ns, mono_ns, out)

    def audit(self, image: BookSnapshot) -> AuditReport | None:
        """Compare an image that cannot be numbered (Coinbase REST) with the live book, as it is.

        Levels that changed between the two count as different: judge by the score's course.
        """
        return self._auditor.compare(self.ladder, self.sequence, image, [])

    def on_subscribed(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """The venue acknowledged the subscription: a REST image may be fetched from now on."""
        if not self._is_rest:
            return
        if self.state is BookState.WAITING:
            self._begin_sync("subscribed", now_ns, mono_ns, out)
        elif self._is_reconnected:
            self._quiet_due_ns = mono_ns + int(self._limits.reconnect_quiet_s * SECOND_NS)

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """A new connection: a book with REST images goes on if its first update follows."""
        self._drop_connection(now_ns, mono_ns, out)
        self._is_reconnected = self.state is BookState.LIVE
        self._choose_path()

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """No connection carries the stream any more."""
        self.trust.report("connection", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)
        self._drop_connection(now_ns, mono_ns, out)

    def _drop_connection(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Forget what belonged to the last connection: kept updates, unfinished images."""
        self._rebuild.end()
        self._auditor.image = self._top = None
        self._quiet_due_ns = NEVER_NS
        self._crossing.forget(now_ns, mono_ns, out)
        if self.state is BookState.LIVE and not self._is_rest:
            self._holes.open(0, 0, "reconnect", now_ns, mono_ns, out)
            self.trust.report("book", Trust.UNSOUND, "reconnect", now_ns, mono_ns, out)
        if self.state is BookState.SYNCING or not self._is_rest:
            self.state = BookState.WAITING
        self._choose_path()

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Messages of the connection were lost, perhaps of this book: build it anew."""
        self.resync("connection", now_ns, mono_ns, out)

    @property
    def next_due_ns(self) -> int:
        """Monotonic time at which `on_timer` has something to do."""
        return min(self._rebuild.next_due_ns, self._crossing.next_due_ns, self._quiet_due_ns)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due: ask again for an image, judge a crossed book, prove a quiet one."""
        self._rebuild.on_timer(mono_ns, out)
        if mono_ns >= self._quiet_due_ns:
            self._quiet_due_ns = NEVER_NS
            self._refresh(mono_ns, out)
        if self._crossing.is_corrupt(mono_ns, allows_crossed=self.allows_crossed):
            self.resync("crossed", now_ns, mono_ns, out)

    def stats(self) -> BookStats:
        """Return the counts."""
        rebuild = self._rebuild
        return BookStats(
            state=self.state,
            epoch=rebuild.epoch,
            attempt=rebuild.attempt,
            buffered=len(rebuild.buffer),
            updates=self._updates,
            applied=self._applied,
            duplicates=self._duplicates,
            waiting=self._waiting,
            images=self._images,
            void_images=self._void_images,
            old_images=self._old_images,
            overflowed=rebuild.overflowed,
            holes=dict(self._holes.counts),
            unknown_removals=self.ladder.unknown_removals,
            out_of_window=self.ladder.out_of_window,
            crossings=dict(self._crossing.counts),
            last_audit=self._auditor.last,
        )
