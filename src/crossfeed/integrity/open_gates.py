"""Gates of streams that cannot be repaired: values that replace each other, raw book changes."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from crossfeed.integrity.gate_stats import GateStats
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.events import BookDelta, BookSnapshot, MarketData
from crossfeed.model.output import Output
from crossfeed.model.sequencing import BookRule, Verdict
from crossfeed.model.status import GapState
from crossfeed.model.trust import Trust

__all__ = ["ChainGate", "OpenGate"]

RESTART_VOTES: Final = 3
_SOUND: Final = Trust.SOUND


class OpenGate:
    """Gate of a stream whose every value replaces the last one: quotes, tickers, candles, status.

    Nothing can be missing from it that the next value does not heal. With `number` (Binance
    `bookTicker.u`) values that are not newer are dropped as duplicates; three in a row that ascend
    far below the newest begin a new epoch.

    Attributes:
        trust: The stream's trust.
        last_event: Newest event let through, None before the first (for freshness).
    """

    @property
    def next_due_ns(self) -> int:
        """Never: nothing is ever due here."""
        return NEVER_NS

    def __init__(self, trust: StreamTrust, *, number: str = "") -> None:
        """Start empty; `number` names the attribute that must ascend, empty for none."""
        self.trust = trust
        self.last_event: MarketData | None = None
        self._number_of = attrgetter(number) if number else None
        self._newest = 0
        self._votes: list[int] = []
        self._is_plain = False
        self._gap_id = 0
        self._passed = self._duplicates = self._gaps = self._restarts = 0
        trust.watch(self._choose_path)

    def __repr__(self) -> str:
        """Return stream and trust."""
        return f"OpenGate({self.trust.stream}: {self.trust.current.name})"

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one event; see `Gate.admit`."""
        if self._number_of is not None:
            number = self._number_of(event)
            if number > self._newest:
                self._newest = number
            elif number > 0 and not self._begins_anew(number):
                self._duplicates += 1
                return
        self._passed += 1
        self.last_event = event
        out.events.append(event if self._is_plain else self._judge(event, out))

    def _choose_path(self) -> None:
        self._is_plain = self.trust.current is _SOUND

    def _begins_anew(self, number: int) -> bool:
        votes = self._votes
        if (votes and number <= votes[-1]) or number >= self._newest // 2:
            votes.clear()
            return False
        votes.append(number)
        if len(votes) < RESTART_VOTES:
            return False
        votes.clear()
        self._newest = number
        self._restarts += 1
        return True

    def _judge(self, event: MarketData, out: Output) -> MarketData:
        now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
        trust = self.trust
        if self._gap_id:
            trust.close_gap(self._gap_id, GapState.SNAPSHOT, now_ns, mono_ns, out)
            self._gap_id = 0
        trust.report("chain", _SOUND, "replaced", now_ns, mono_ns, out)
        return _lifted(event, trust, out)

    def republish(self, after: MarketData | None, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """Give out the newest value again, unless `after` is as new (a line takes over)."""
        last = self.last_event
        if last is None:
            return
        if after is not None:
            if last.ts_event_ns > 0 and after.ts_event_ns > 0:
                is_newer = last.ts_event_ns > after.ts_event_ns
            else:
                is_newer = last.ts_mono_ns > after.ts_mono_ns
            if not is_newer:
                return
        out.events.append(last)

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Nothing is ever due here."""

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """A new connection carries the stream; what it repeats of the last one is dropped."""
        self._votes.clear()

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """No connection carries the stream any more."""
        self.trust.report("connection", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)

    def on_connection_gap(
        self, now_ns: int, mono_ns: int, out: Output, cause: str = "connection"
    ) -> None:
        """A value may be lost: UNSOUND until the next one replaces it."""
        if self._gap_id or self.last_event is None:
            return
        self._gaps += 1
        self._gap_id = self.trust.open_gap(0, 0, cause, now_ns, mono_ns, out).gap_id
        self.trust.report("chain", Trust.UNSOUND, f"{cause}_gap", now_ns, mono_ns, out)

    def stats(self) -> GateStats:
        """Return the counts."""
        return GateStats(
            passed=self._passed,
            duplicates=self._duplicates,
            gaps=self._gaps,
            backfilled=0,
            unasked=0,
            restarts=self._restarts,
            held=0,
        )


class ChainGate:
    """Gate of raw book changes for subscribers who keep no book with us: only the chain is judged.

    A missing change cannot be fetched any more: the hole is recorded as LOST and told; who builds a
    book from the changes must take a new snapshot then.

    Attributes:
        trust: The stream's trust.
        last_event: Newest event let through, None before the first (for freshness).
    """

    @property
    def next_due_ns(self) -> int:
        """Never: nothing is ever due here."""
        return NEVER_NS

    def __init__(self, trust: StreamTrust, rule: BookRule) -> None:
        """Start empty; `rule` says how the venue's changes follow each other."""
        self.trust = trust
        self.last_event: MarketData | None = None
        self._follow = rule.follow
        self._sequence = 0
        self._votes = 0
        self._cause = "sequence"
        self._is_plain = False
        self._passed = self._duplicates = self._gaps = self._restarts = 0
        trust.watch(self._choose_path)

    def __repr__(self) -> str:
        """Return stream, number and trust."""
        return f"ChainGate({self.trust.stream}: {self._sequence}, {self.trust.current.name})"

    @property
    def next_number(self) -> int:
        """First update number that the next change must hold, 0 before the first."""
        return self._sequence + 1 if self._sequence else 0

    def admit(self, event: MarketData, out: Output) -> None:
        """Judge one `BookDelta` or `BookSnapshot`; see `Gate.admit`."""
        if isinstance(event, BookDelta):
            if not self._is_next(event, out):
                self._duplicates += 1
                return
            self._sequence = event.last
        elif isinstance(event, BookSnapshot):
            self._sequence = event.sequence
        self._votes = 0
        self._cause = "sequence"
        self._passed += 1
        self.last_event = event
        out.events.append(event if self._is_plain else _lifted(event, self.trust, out))

    def _choose_path(self) -> None:
        self._is_plain = self.trust.current is _SOUND

    def _is_next(self, event: BookDelta, out: Output) -> bool:
        """Say whether a change is new; record the hole before it if there is one."""
        if not self._sequence:
            return True
        verdict = self._follow(self._sequence, event)
        if verdict is Verdict.OLD:
            return self._begins_anew(event, out)
        if verdict is not Verdict.APPLY:
            last = event.previous or event.first - 1
            self._lose(last if last > self._sequence else 0, self._cause, event, out)
        return True

    def _begins_anew(self, event: BookDelta, out: Output) -> bool:
        last = self.last_event
        is_newer = last is not None and event.ts_event_ns > last.ts_event_ns > 0
        self._votes = self._votes + 1 if is_newer else 0
        if self._votes < RESTART_VOTES:
            return False
        self._restarts += 1
        self._lose(0, "restart", event, out)
        return True

    def _lose(self, last: int, cause: str, event: BookDelta, out: Output) -> None:
        self._gaps += 1
        self.trust.lose_gap(
            self._sequence + 1,
            last,
            cause,
            event.ts_recv_ns,
            event.ts_mono_ns,
            out,
            is_countable=event.previous == 0,
        )

    def on_timer(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Nothing is ever due here."""

    def on_open(self, now_ns: int, mono_ns: int, out: Output) -> None:  # noqa: ARG002
        """A new connection carries the stream: a hole at its first change is a reconnect gap."""
        self._cause = "reconnect"

    def on_close(self, now_ns: int, mono_ns: int, out: Output, cause: str = "disconnected") -> None:
        """No connection carries the stream any more."""
        self.trust.report("connection", Trust.UNAVAILABLE, cause, now_ns, mono_ns, out)

    def on_connection_gap(self, now_ns: int, mono_ns: int, out: Output) -> None:
        """Changes without numbers of their own may be lost: recorded, though not which."""
        if self.last_event is not None and not self._sequence:
            self._gaps += 1
            self.trust.lose_gap(0, 0, "connection", now_ns, mono_ns, out)

    def stats(self) -> GateStats:
        """Return the counts."""
        return GateStats(
            passed=self._passed,
            duplicates=self._duplicates,
            gaps=self._gaps,
            backfilled=0,
            unasked=0,
            restarts=self._restarts,
            held=0,
        )


def _lifted(event: MarketData, trust: StreamTrust, out: Output) -> MarketData:
    """Withdraw what an event disproves (silence, no connection); return it with the trust now."""
    now_ns, mono_ns = event.ts_recv_ns, event.ts_mono_ns
    trust.report("freshness", _SOUND, "fresh", now_ns, mono_ns, out)
    trust.report("connection", _SOUND, "first_data", now_ns, mono_ns, out)
    current = trust.current
    return event if event.trust is current else replace(event, trust=current)
