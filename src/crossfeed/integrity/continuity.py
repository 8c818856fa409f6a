"""Gates: do the events of a stream follow each other without a hole? One gate per stream."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from crossfeed.integrity.backfill import SECOND_NS, BackfillLimits, BackfillPolicy, Repairs
from crossfeed.integrity.connection_counter import ConnectionCounter, HoleObserver
from crossfeed.integrity.gate_stats import GateStats
from crossfeed.integrity.open_gates import ChainGate, OpenGate
from crossfeed.integrity.tail import TailWatch
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Backfill
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark, Trust

__all__ = ["ChainGate", "ConnectionCounter", "GateStats", "HoleObserver", "IdGate", "OpenGate"]

RESTART_VOTES: Final = 3
TAIL_IDS: Final = 100
_SOUND: Final = Trust.SOUND
_NO_FAST_PATH: Final = -1
_OLD_NEWS: Final = Mark.HISTORY | Mark.REST | Mark.BACKFILLED


class IdGate:
    """Gate of a stream whose events are numbered +1: trades, aggregate trades, `full`.

    In order passes. A jump is a gap at once: recorded, told, repaired by REST as the policy says;
    the stream is UNSOUND until the repair is complete or given up. What came before is dropped and
    counted. Events marked HISTORY (`last_match`, snapshots of old trades) anchor the numbering and
    fill holes; they are never given out twice. A venue that begins to count anew (three events with
    old numbers, ascending, but newer times) starts a new epoch.

    Made by the pipeline, lives as long as the stream, over reconnects.

    Attributes:
        trust: The stream's trust.
        last_event: Newest event let through, None before the first (for freshness).
        next_due_ns: Monotonic time at which `on_timer` has something to do.
    """

    def __init__(
        self,
        trust: StreamTrust,
        *,
        number: str = "trade_id",
        policy: BackfillPolicy = BackfillPolicy.LATE,
        limits: BackfillLimits | None = None,
    ) -> None:
        """Start empty.

        Args:
            trust: The stream's trust.
            number: Attribute that numbers the events ("trade_id", "sequence").
            policy: What to do about holes; OFF where the venue cannot supply missing events.
            limits: Limits of the repairs.
        """
        self.trust = trust
        self.last_event: MarketData | None = None
        self.next_due_ns = NEVER_NS
        self._number_of = attrgetter(number)
        self._policy = policy
        self._limits = limits or BackfillLimits()
        self._repairs = Repairs(trust, self._number_of, self._limits, self._let_go)
        self._expected: int = _NO_FAST_PATH
        self._next = 0
        self._is_history_only = False
        self._is_reconnected = False
        self._tail = TailWatch(self._limits, can_ask=policy is not BackfillPolicy.OFF)
        self._held: list[MarketData] = []
        self._held_until_ns = NEVER_NS
        self._votes: list[MarketData] = []
        self._passed = self._duplicates = self._gaps = 0
        self._backfilled = self._unasked = self._restarts = 0
        trust.watch(self._choose_path)

    def __repr__(self) -> str:
        """Return stream, next number and trust."""
        return f"IdGate({self.trust.stream}: next {self._next}, {self.trust.current.name})"

    @property
    def next_number(self) -> int:
        """Number the next event must have, 0 before the first event."""
        return self._next

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one event; see `Gate.admit`. Cost about 0.15 us when it is in order."""
        number: int = self._number_of(event)
        if number == self._expected:
            self._expected = self._next = number + 1
            self._passed += 1
            self.last_event = event
            out.events.append(event)
        else:
            self._judge(event, number, out)

    def _choose_path(self) -> None:
        """Allow the fast path only while nothing at all needs a second look."""
        is_plain = (
            self.trust.current is _SOUND
            and not self._votes
            and not self._held
            and not self._is_history_only
            and not self._is_reconnected
            and self._next > 0
        )
        self._expected = self._next if is_plain else _NO_FAST_PATH

    def _judge(self, event: MarketData, number: int, out: Output) -> None:
        now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
        self.trust.report("freshness", _SOUND, "fresh", now_ns, mono_ns, out)
        if number <= 0:
            self._deliver(event, out)  # not numbered (`activate` of Coinbase full)
        elif number < self._next:
            self.witness(number, mono_ns)
            self._judge_old(event, number, out)
        else:
            self._drop_votes()
            is_history = bool(event.marks & Mark.HISTORY)
            if self._next == 0:
                self._is_history_only = is_history
                self._tail.start(mono_ns)
            elif number > self._next and (
                self._is_reconnected or not (self._is_history_only and is_history)
            ):
                cause = "reconnect" if self._is_reconnected else "sequence"
                self._open_hole(self._next, number - 1, cause, now_ns, mono_ns, out)
            self._connected("first_data", now_ns, mono_ns, out)
            self._next = number + 1
            self._is_history_only &= is_history
            if is_history and not self._is_history_only:
                # Told as history of a new subscription, but news to a stream that was live before.
                marks = (event.marks & ~Mark.HISTORY) | Mark.BACKFILLED
                event = replace(event, marks=marks)
            self._deliver(event, out)
        self._settle()

    def _connected(self, cause: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """The connection delivers, and what was missed before, if anything, is known."""
        self._is_reconnected = False
        self.trust.report("connection", _SOUND, cause, now_ns, mono_ns, out)

    def _judge_old(self, event: MarketData, number: int, out: Output) -> None:
        """Fill a hole, or see a restart of the numbering, or drop a duplicate."""
        if self._repairs.offer(number, event):
            self._backfilled += 1
            self._repairs.release(event.ts_recv_ns, event.ts_mono_ns, out)
        elif self._is_newer(event, number):
            self._votes.append(event)
            if len(self._votes) >= RESTART_VOTES:
                self._restart(out)
        else:
            if all(number != self._number_of(vote) for vote in self._votes):
                self._drop_votes()  # the twin of a vote (from another line) says nothing against it
            if event.marks & Mark.HISTORY:
                self._unasked += 1  # a new subscription tells old trades again: no repetition
            else:
                self._duplicates += 1

    def _is_newer(self, event: MarketData, number: int) -> bool:
        """Say whether an old number comes with evidence that it is a new event."""
        last = self._votes[-1] if self._votes else self.last_event
        if event.marks & _OLD_NEWS or last is None:
            return False
        if self._votes and number <= self._number_of(last):
            return False
        if event.ts_event_ns and last.ts_event_ns:
            newest = self.last_event
            assert newest is not None
            return event.ts_event_ns >= last.ts_event_ns and event.ts_event_ns > newest.ts_event_ns
        return number < self._next // 2

    def _restart(self, out: Output) -> None:
        """Begin a new epoch with the events that voted for it."""
        votes, self._votes = self._votes, []
        now_ns, mono_ns = votes[0].ts_recv_ns, votes[0].ts_mono_ns
        self._restarts += 1
        self._gaps += 1
        self._repairs.abandon(now_ns, mono_ns, out)
        self.trust.lose_gap(self._next, 0, "restart", now_ns, mono_ns, out)
        self._next = 0
        self._tail.stop()
        for event in votes:
            self._judge(event, self._number_of(event), out)

    def _drop_votes(self) -> None:
        if self._votes:
            self._duplicates += len(self._votes)
            self._votes = []

    def _open_hole(
        self, first: int, last: int, cause: str, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        self._gaps += 1
        if self._policy is BackfillPolicy.OFF:
            self.trust.lose_gap(first, last, cause, now_ns, mono_ns, out)
            return
        after_ns = self.last_event.ts_event_ns if self.last_event is not None else 0
        self._repairs.start(first, last, cause, after_ns, now_ns, mono_ns, out)
        if self._policy is BackfillPolicy.HOLD and not self._held:
            self._held_until_ns = mono_ns + int(self._limits.hold_s * SECOND_NS)

    def _deliver(self, event: MarketData, out: Output) -> None:
        """Give out one event in order, or hold it back (policy HOLD) behind an open hole."""
        self.last_event = event
        if self._held_until_ns == NEVER_NS or not self._repairs.is_open:
            self._pass(event, out)
            return
        self._held.append(event)
        is_late = event.ts_mono_ns >= self._held_until_ns
        if is_late or len(self._held) >= self._limits.hold_events_max:
            self._stop_holding(out)

    def _pass(self, event: MarketData, out: Output) -> None:
        self._passed += 1
        current = self.trust.current
        out.events.append(event if event.trust is current else replace(event, trust=current))

    def _let_go(self, out: Output) -> None:
        """Let go of what is held, up to the next hole that is still open."""
        open_from = self._repairs.first_number
        while self._held and not 0 < open_from < self._number_of(self._held[0]):
            self._pass(self._held.pop(0), out)
        if not self._repairs.is_open:
            self._held_until_ns = NEVER_NS

    def _stop_holding(self, out: Output) -> None:
        """Let go of all that is held; until the next hole nothing is held any more."""
        self._held_until_ns = NEVER_NS
        held, self._held = self._held, []
        for event in held:
            self._pass(event, out)

    def _settle(self) -> None:
        """Bring fast path and due time up to date after anything out of the ordinary."""
        self._choose_path()
        held_ns = self._held_until_ns if self._held else NEVER_NS
        self.next_due_ns = min(self._repairs.next_due_ns, self._tail.next_due_ns, held_ns)

    def admit_backfill(
        self,
        gap_id: int,
        events: Iterable[MarketData],
        out: Output,
        *,
        complete: bool,
        now_ns: int,
        mono_ns: int,
    ) -> None:
        """Take fetched events into the hole they were asked for.

        They are given out marked BACKFILLED, ascending, under their own ids, each once, when their
        hole is complete; events that nothing misses are dropped and counted. The answer to a
        question about the stream's end (negative `gap_id`) bears witness of it.

        Args:
            gap_id: The hole (`Backfill.gap_id`).
            events: One page, any order.
            out: Results.
            complete: True with the last page of one `Backfill`: what is still missing then is asked
                for again later, and the hole stays open.
            now_ns: Wall time.
            mono_ns: Monotonic time.
        """
        newest = self._next - 1
        for event in events:
            newest = max(newest, self._number_of(event))
            if self._repairs.offer(self._number_of(event), event):
                self._backfilled += 1
            else:
                self._unasked += 1
        if complete:
            self._repairs.answered(gap_id, mono_ns)
        if gap_id < 0:
            self.witness(newest, mono_ns)  # the answer to a question (`_check_tail`)
        self._repairs.release(now_ns, mono_ns, out)
        self._settle()

    def backfill_failed(self, gap_id: int, mono_ns: int) -> None:
        """Take one `Backfill` as failed (refused, timed out, malformed): asked again later."""
        self._repairs.answered(gap_id, mono_ns)
        self._settle()

    def witness(self, last_id: int, mono_ns: int) -> None:
        """Hear from elsewhere (heartbeat, REST) that the venue has reached `last_id`.

        Only if the events up to there are still missing after a grace of about a second is it a gap
        (cause "tail"): the witness may have overtaken the stream. After a reconnect it also proves
        that nothing was missed, so that a quiet stream need not wait for its next event.
        """
        tail = self._tail
        if not self._next or tail.due_ns != NEVER_NS:
            return
        tail.seen(mono_ns)
        if last_id >= self._next:
            tail.suspect(last_id, mono_ns)
        elif self._is_reconnected and last_id == self._next - 1:
            tail.prove(last_id, mono_ns)
        self._settle()

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Do what is due: tail check, repeated requests, giving up, letting go."""
        tail = self._tail
        if mono_ns >= tail.due_ns:
            tail.due_ns = NEVER_NS
            if tail.suspected >= self._next:
                first, self._next = self._next, tail.suspected + 1
                self._open_hole(first, tail.suspected, "tail", now_ns, mono_ns, out)
            self._connected("witnessed", now_ns, mono_ns, out)
        if mono_ns >= tail.check_due_ns:
            self._check_tail(mono_ns, out)
        self._repairs.on_timer(now_ns, mono_ns, out)
        if mono_ns >= self._held_until_ns:
            self._stop_holding(out)
        self._settle()

    def _check_tail(self, mono_ns: int, out: Output) -> None:
        """Ask by REST for the end of a stream that has been silent for long."""
        last, stream = self.last_event, self.trust.stream
        assert last is not None, "only a stream that has begun is checked"
        if self._tail.is_time_to_ask(last, mono_ns, is_unproven=self._is_reconnected):
            span = (self._next, self._next + TAIL_IDS - 1)
            question = self.trust.ledger.ask(stream)
            out.commands.append(Backfill(stream, *span, question, last.ts_event_ns))

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """A new connection carries the stream: a jump at its first event is a reconnect gap."""
        self._is_reconnected = self._next > 0
        if self._is_reconnected:
            self._tail.reconnected(mono_ns)
        self._settle()

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """No connection carries the stream any more; what was missed shows when one does."""
        self._tail.stop()
        self.trust.report("connection", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)
        self._settle()

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Nothing to do: the stream's own numbers show what is missing, at the next event."""

    def stats(self) -> GateStats:
        """Return the counts."""
        return GateStats(
            passed=self._passed,
            duplicates=self._duplicates,
            gaps=self._gaps,
            backfilled=self._backfilled,
            unasked=self._unasked,
            restarts=self._restarts,
            held=len(self._held) + len(self._votes),
        )
