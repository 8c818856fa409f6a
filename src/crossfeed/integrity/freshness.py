"""Is a stream that says nothing merely quiet, or dead? Age limits, evidence, escalation."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from crossfeed.integrity.escalation import Escalation, EscalationLimits
from crossfeed.integrity.lag import LagWatch
from crossfeed.integrity.siblings import Debt, Elsewhere
from crossfeed.integrity.trust import NEVER_NS
from crossfeed.model.commands import Reconnect
from crossfeed.model.events import MarketData
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Trust

__all__ = ["Freshness", "FreshnessLimits", "FreshnessStats", "Judged", "Watched"]

SECOND_NS: Final = 1_000_000_000
DOUBLINGS_MAX: Final = 16
MOVED: Final = {
    "trade": frozenset({"book", "depth", "book_ticker", "ticker", "mini_ticker", "agg_trade"}),
    "agg_trade": frozenset({"book", "depth", "book_ticker", "ticker", "mini_ticker", "trade"}),
    "full": frozenset({"book", "depth"}),
    "book_ticker": frozenset({"book", "depth"}),
}
"""Kind -> kinds that cannot stand still while it has news."""


class Watched(Protocol):
    """What freshness reads of a gate."""

    @property
    def last_event(self) -> MarketData | None:
        """Newest event let through."""
        ...


class Judged(Protocol):
    """What freshness has to say goes here: a stream's trust, or that of one of its lines."""

    @property
    def stream(self) -> Stream:
        """Which stream."""
        ...

    @property
    def current(self) -> Trust:
        """The trust now."""
        ...

    def complaint(self, source: str) -> Trust:
        """Return what `source` has against it, SOUND if nothing."""
        ...

    def report(
        self,
        source: str,
        trust: Trust,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        detail: str = "",
    ) -> None:
        """Set what `source` has against it; SOUND withdraws it."""
        ...

    def alert(self, cause: str, detail: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Tell subscribers something that does not change the trust."""
        ...


class FreshnessLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one connection's freshness.

    Attributes:
        age_limit_s: A stream without a limit of its own is old after this.
        learned_factor: A stream may be silent for this many times its longest usual silence.
        learned_half_life_s: The longest silence seen is forgotten at this pace.
        learned_max_s: No more than this is ever learned.
        frozen_factor: A well-known stream that is silent for this many times its longest usual
            silence is frozen, even while others on the connection live ...
        frozen_min_s: ... but not before this ...
        frozen_after_s: ... and not before it was watched for this long.
        first_datum_s: A stream of values has brought its first one this soon after the
            acknowledgement.
        pause_s: A timer that comes this late means that the process was stopped.
        lag_limit_s: Events that come this much later than they used to are old.
        escalation: Patience and pace of what is done about it.
    """

    age_limit_s: float = 30.0
    learned_factor: float = 3.0
    learned_half_life_s: float = 3_600.0
    learned_max_s: float = 3_600.0
    frozen_factor: float = 50.0
    frozen_min_s: float = 300.0
    frozen_after_s: float = 600.0
    first_datum_s: float = 10.0
    pause_s: float = 10.0
    lag_limit_s: float = 5.0
    escalation: EscalationLimits = EscalationLimits()


class FreshnessStats(Struct, frozen=True, kw_only=True):
    """Counts of one connection's freshness.

    Attributes:
        stale: Times a stream was found stale.
        quiet: Streams that are silent beyond their limit now, with evidence that it is only quiet.
        missing_first: Streams acknowledged, but without a first datum in time.
        silent_lines: Times another line of a stream carried what this connection did not.
        pauses: Times the process was stopped.
        lag_ms: How much later than at best events come now.
        resubscribes: Steps of the first kind.
        reconnects: Steps of the second kind.
        other_endpoints: Steps of the third kind.
    """

    stale: int
    quiet: int
    missing_first: int
    silent_lines: int
    pauses: int
    lag_ms: float
    resubscribes: int
    reconnects: int
    other_endpoints: int


class _Watch:
    """One watched stream."""

    __slots__ = (
        "ack_due_ns",
        "age_limit_ns",
        "debt",
        "gate",
        "is_event_like",
        "learned_at_ns",
        "learned_ns",
        "seen_ns",
        "since_ns",
        "tries",
        "trust",
    )

    def __init__(
        self,
        trust: Judged,
        gate: Watched,
        age_limit_ns: int,
        elsewhere: Elsewhere | None,
        *,
        is_event_like: bool,
    ) -> None:
        self.trust = trust
        self.gate = gate
        self.debt = None if elsewhere is None else Debt(elsewhere, gate.last_event)
        self.age_limit_ns = age_limit_ns
        self.is_event_like = is_event_like
        self.seen_ns = 0
        self.since_ns = 0
        self.learned_ns = 0.0
        self.learned_at_ns = 0
        self.ack_due_ns = NEVER_NS
        self.tries = 0

    def learn(self, newest_ns: int, limits: FreshnessLimits) -> None:
        """Take note of a silence that has ended; forget longer ones with time.

        What went on after a new connection had been made counts from there: it was quiet indeed.
        """
        silence_ns = newest_ns - max(self.seen_ns, self.since_ns)
        halves = (newest_ns - self.learned_at_ns) / (limits.learned_half_life_s * SECOND_NS)
        faded_ns = self.learned_ns * 0.5**halves
        cap_ns = limits.learned_max_s * SECOND_NS
        self.learned_ns = min(max(faded_ns, silence_ns), cap_ns)
        self.learned_at_ns = newest_ns

    @property
    def is_accompanied(self) -> bool:
        """Whether another line would show what this one lacks."""
        return self.debt is not None and self.debt.is_accompanied

    def limit_ns(self, limits: FreshnessLimits) -> int:
        """Return how long it may be silent: its own limit, more if it is used to silence."""
        return max(self.age_limit_ns, int(self.learned_ns * limits.learned_factor))


class Freshness:
    """Watches over all streams of one connection and does something about the dead ones.

    Apart from the transport's watchdog, which asks whether the connection lives at all: here a
    venue that answers pings but has stopped sending is found (fault T04). Silence beyond its limit
    makes a stream STALE unless there is evidence that the market is merely quiet:

    - values (quotes, books, tickers) are quiet if something else on the connection lives (another
      stream, a heartbeat) and nothing that must have moved them happened (a trade moves the book);
    - events (trades) are quiet if something else on the connection lives;
    - a stream watched for long that is silent far beyond its own habit is frozen, whatever lives;
    - where another line carries the same stream, it is the better witness: a line that has not
      brought what its sibling has, for as long as its limit, is silent, however quiet the market.

    What is found stale is resubscribed, then the connection is renewed, then another endpoint is
    taken, each step with its patience and its count. Data that comes makes a stream fresh at once
    (its gate says so).

    Made by the session, one per connection. Costs nothing on the data path: it reads the gates'
    newest events on the timer.

    Attributes:
        next_due_ns: Monotonic time of the next look, NEVER_NS while nothing is watched.
    """

    def __init__(self, limits: FreshnessLimits | None = None) -> None:
        """Start with nothing to watch."""
        self._limits = limits or FreshnessLimits()
        self._watches: dict[Stream, _Watch] = {}
        self._lag = LagWatch(self._limits.lag_limit_s)
        self._escalation = Escalation(self._limits.escalation)
        self._pulse: Watched | None = None
        self._looked_ns = self._heard_ns = 0
        self._stale = self._quiet = self._missing_first = self._pauses = 0
        self._silent_lines = 0
        self.next_due_ns = NEVER_NS

    def __repr__(self) -> str:
        """Return how many streams are watched, and the counts."""
        return f"Freshness({len(self._watches)} streams, {self._stale} found stale)"

    def watch(
        self,
        trust: Judged,
        gate: Watched,
        mono_ns: int,
        *,
        age_limit_s: float = 0.0,
        is_event_like: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Watch over one stream, from its subscription on.

        Args:
            trust: The stream's trust, or that of the line of it that this connection is.
            gate: Its gate, or what this connection alone has brought of it.
            mono_ns: Monotonic time.
            age_limit_s: Its limit from the venue's table; 0: the general one.
            is_event_like: True where silence may just be a quiet market (trades).
            elsewhere: What the other lines of the stream bring, None where there can be none.
        """
        age_limit_ns = int((age_limit_s or self._limits.age_limit_s) * SECOND_NS)
        watch = _Watch(trust, gate, age_limit_ns, elsewhere, is_event_like=is_event_like)
        watch.since_ns = watch.learned_at_ns = mono_ns
        last = self._watches.get(trust.stream)
        if last is not None and last.debt is not None and watch.debt is not None:
            watch.debt.is_suspect = last.debt.is_suspect
        self._watches[trust.stream] = watch
        self.next_due_ns = min(self.next_due_ns, mono_ns + 1)

    def listen(self, pulse: Watched) -> None:
        """Take the heartbeats of the whole connection as proof that it is fed."""
        self._pulse = pulse

    def carry_on(self, last: Freshness) -> None:
        """Go on with the counts of a connection that this one has replaced."""
        self._stale += last._stale
        self._missing_first += last._missing_first
        self._silent_lines += last._silent_lines
        self._pauses += last._pauses
        self._escalation.carry_on(last._escalation)

    def unwatch(self, stream: Stream) -> None:
        """Watch over a stream no longer."""
        self._watches.pop(stream, None)
        self._escalation.forget(stream)

    def acknowledged(self, stream: Stream, mono_ns: int) -> None:
        """The venue acknowledged a subscription, which proves nothing: its first datum does."""
        watch = self._watches.get(stream)
        if watch is not None:
            watch.tries = 0
            self._await_first(watch, mono_ns)
            if watch.debt is not None:
                watch.debt.begin(mono_ns)
            self.next_due_ns = min(self.next_due_ns, mono_ns + 1)

    def _await_first(self, watch: _Watch, mono_ns: int) -> None:
        """Set the deadline of a first datum; later ones are ever more patient."""
        limits = self._limits
        patience_s = limits.first_datum_s * 2.0 ** min(watch.tries, DOUBLINGS_MAX)
        patience_ns = int(min(patience_s, limits.escalation.patience_max_s) * SECOND_NS)
        watch.ack_due_ns = mono_ns + max(patience_ns, watch.age_limit_ns * watch.is_event_like)

    def on_open(self, mono_ns: int) -> None:
        """A new connection carries the streams: what was known of the old one's lag is void."""
        self._lag.restart()
        self._looked_ns = mono_ns
        for watch in self._watches.values():
            watch.since_ns = max(watch.since_ns, mono_ns)
            watch.ack_due_ns = NEVER_NS
            if watch.debt is not None:
                watch.debt.end()

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Look at all streams. Cost about 3 us a stream, once a second at least."""
        looked_ns, self._looked_ns = self._looked_ns, mono_ns
        newest: dict[Stream, int] = {}
        for stream, watch in self._watches.items():
            event = watch.gate.last_event
            if watch.debt is not None:
                watch.debt.look(event, mono_ns)
            newest[stream] = newest_ns = 0 if event is None else event.ts_mono_ns
            if newest_ns > watch.seen_ns:
                if watch.seen_ns:
                    watch.learn(newest_ns, self._limits)
                watch.seen_ns = newest_ns
                watch.ack_due_ns = NEVER_NS
                self._lag.sample(event, mono_ns)
        if looked_ns and mono_ns - looked_ns > self._limits.pause_s * SECOND_NS:
            self._paused(now_ns, mono_ns, out)
        else:
            alive_ns = max(self._heard(), *newest.values(), 0)
            self._quiet = 0
            for watch in self._watches.values():
                self._judge(watch, newest, alive_ns, now_ns, mono_ns, out)
            self._judge_lag(now_ns, mono_ns, out)
        self._find_due(mono_ns)

    def _heard(self) -> int:
        """Return when the connection's last heartbeat came, 0 if none ever did."""
        event = None if self._pulse is None else self._pulse.last_event
        if event is not None:
            self._heard_ns = max(self._heard_ns, event.ts_mono_ns)
        return self._heard_ns

    def _paused(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """The process was stopped: what lies in the buffers is old, so is all we know."""
        self._pauses += 1
        for watch in self._watches.values():
            if watch.trust.current is Trust.SOUND:
                watch.trust.report("freshness", Trust.STALE, "paused", now_ns, mono_ns, out)
        if self._watches:
            out.commands.append(Reconnect("paused"))

    def _judge(
        self,
        watch: _Watch,
        newest: dict[Stream, int],
        alive_ns: int,
        now_ns: int,
        mono_ns: int,
        out: Output,
    ) -> None:
        stream, limits = watch.trust.stream, self._limits
        last_ns = max(watch.seen_ns, watch.since_ns)
        if self._judge_line(watch, now_ns, mono_ns, out):
            return
        if not watch.seen_ns or watch.seen_ns < watch.since_ns:
            self._judge_first(watch, alive_ns, now_ns, mono_ns, out)
            return
        age_ns, limit_ns = mono_ns - last_ns, watch.limit_ns(limits)
        if age_ns <= limit_ns:
            watch.trust.report("freshness", Trust.SOUND, "fresh", now_ns, mono_ns, out)
            self._escalation.recovered(stream, mono_ns)
            return
        cause = self._cause(watch, newest, alive_ns, age_ns, limit_ns, mono_ns)
        if not cause:
            self._quiet += 1
            return
        if watch.trust.complaint("freshness") is Trust.SOUND:
            self._stale += 1
        detail = f"silent for {age_ns / SECOND_NS:.1f} s, limit {limit_ns / SECOND_NS:.1f} s"
        watch.trust.report("freshness", Trust.STALE, cause, now_ns, mono_ns, out, detail)
        self._escalation.escalate(stream, mono_ns, out, is_connection=cause == "stale")

    def _judge_line(self, watch: _Watch, now_ns: int, mono_ns: int, out: Output) -> bool:
        """Find a line that is silent while its sibling is not; return whether it is."""
        if watch.debt is None or watch.debt.since_ns == NEVER_NS:
            return False
        age_ns = watch.debt.age_ns(watch.gate.last_event, mono_ns)
        if not age_ns or (age_ns <= watch.age_limit_ns and not watch.debt.is_suspect):
            return False
        watch.debt.is_suspect = True
        stream = watch.trust.stream
        detail = f"silent for {age_ns / SECOND_NS:.1f} s while another line carries it"
        if watch.trust.complaint("freshness") is Trust.SOUND:
            self._stale += 1
            self._silent_lines += 1
            watch.trust.report("freshness", Trust.STALE, "line", now_ns, mono_ns, out, detail)
            watch.trust.alert("line_silent", detail, now_ns, mono_ns, out)
        else:
            watch.trust.report("freshness", Trust.STALE, "line", now_ns, mono_ns, out, detail)
        self._escalation.escalate(stream, mono_ns, out, is_connection=True)
        return True

    def _cause(
        self,
        watch: _Watch,
        newest: dict[Stream, int],
        alive_ns: int,
        age_ns: int,
        limit_ns: int,
        mono_ns: int,
    ) -> str:
        """Return why a silent stream is stale; empty if it is only quiet."""
        limits, stream = self._limits, watch.trust.stream
        if mono_ns - alive_ns > limit_ns or alive_ns <= watch.seen_ns:
            return "stale"  # nothing else on the connection lives
        if not watch.is_event_like and self._has_moved(stream, newest, watch.seen_ns + limit_ns):
            return "moved"
        habit_ns = max(watch.learned_ns * limits.frozen_factor, limits.frozen_min_s * SECOND_NS)
        is_known = watch.seen_ns - watch.since_ns > limits.frozen_after_s * SECOND_NS
        return "frozen" if is_known and age_ns > habit_ns else ""

    @staticmethod
    def _has_moved(stream: Stream, newest: dict[Stream, int], since_ns: int) -> bool:
        """Say whether a sibling has news since then that must have moved this stream."""
        return any(
            sibling.symbol == stream.symbol
            and newest_ns >= since_ns
            and stream.channel in MOVED.get(sibling.channel, ())
            for sibling, newest_ns in newest.items()
        )

    def _judge_first(
        self, watch: _Watch, alive_ns: int, now_ns: int, mono_ns: int, out: Output
    ) -> None:
        """Judge a stream that was acknowledged and has brought nothing yet."""
        if mono_ns < watch.ack_due_ns or watch.is_accompanied:
            return
        watch.tries += 1
        self._await_first(watch, mono_ns)
        is_alive = mono_ns - alive_ns <= watch.age_limit_ns
        if watch.is_event_like and is_alive:
            return
        self._missing_first += 1
        detail = "acknowledged, but nothing came"
        watch.trust.alert("no_data", detail, now_ns, mono_ns, out)
        self._escalation.escalate(watch.trust.stream, mono_ns, out, is_connection=not is_alive)

    def _judge_lag(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Take all streams for old while events come ever later."""
        change = self._lag.judge(mono_ns)
        if change is None:
            return
        trust = Trust.STALE if change else Trust.SOUND
        detail = f"events come {self._lag.lag_ms:.0f} ms later than at best"
        for watch in self._watches.values():
            watch.trust.report("lag", trust, "lag", now_ns, mono_ns, out, detail)

    def _find_due(self, mono_ns: int) -> None:
        """Find the next moment at which a stream can pass its limit."""
        if not self._watches:
            self.next_due_ns = NEVER_NS
            return
        due_ns = mono_ns + SECOND_NS
        for watch in self._watches.values():
            limit_ns = max(watch.seen_ns, watch.since_ns) + watch.limit_ns(self._limits) + 1
            if watch.debt is not None and watch.debt.since_ns != NEVER_NS:
                patience_ns = 0 if watch.debt.is_suspect else watch.age_limit_ns
                limit_ns = watch.debt.due_ns(watch.gate.last_event, patience_ns)
            due_ns = min(due_ns, max(limit_ns, mono_ns + 1), max(watch.ack_due_ns, mono_ns + 1))
        self.next_due_ns = due_ns

    def stats(self) -> FreshnessStats:
        """Return the counts."""
        steps = self._escalation
        return FreshnessStats(
            stale=self._stale,
            quiet=self._quiet,
            missing_first=self._missing_first,
            silent_lines=self._silent_lines,
            pauses=self._pauses,
            lag_ms=self._lag.lag_ms,
            resubscribes=steps.resubscribes,
            reconnects=steps.reconnects,
            other_endpoints=steps.other_endpoints,
        )
