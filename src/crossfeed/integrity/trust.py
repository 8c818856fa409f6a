"""The trust of one stream: what is known against it, from several sources, told in the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Gap, GapRecord, GapState, Stream
from crossfeed.model.trust import Integrity, Mark, Trust

__all__ = ["NEVER_NS", "StreamTrust", "TrustStats"]

NEVER_NS: Final = 2**63 - 1
"""A due time that never comes (`next_due_ns` of a machine that waits for nothing)."""
_SOUND: Final = Trust.SOUND


class TrustStats(Struct, frozen=True, kw_only=True):
    """How a stream stands and stood.

    Attributes:
        since_ns: Wall time of the last change.
        changes: Changes so far.
        alerts: Alerts so far.
        time_ns: Monotonic time spent in each state so far, by state; the current one included.
    """

    stream: Stream
    current: Trust
    cause: str
    since_ns: int
    changes: int
    alerts: int
    time_ns: dict[Trust, int]


class StreamTrust:
    """Keeps the trust of one stream; every machine that judges the stream reports here.

    Each *source* ("connection", "chain", "book", "freshness", "market" ...) has at most one
    complaint; the worst one is the stream's trust. Every change is told in the stream as a
    `FeedStatus`, so are gaps as `Gap` events. Starts UNAVAILABLE ("not_subscribed"): the first
    datum lifts that.

    Attributes:
        stream: Which stream.
        unified: Unified symbol, for the events made here.
        integrity: How well the stream can be proven.
        current: The trust now.
        cause: Why; after a recovery what brought it.
        detail: The same as a sentence, may be empty.
        since_ns: Wall time of the last change, 0 before the first.
        since_mono_ns: Monotonic time of the last change, 0 before the first.
    """

    def __init__(
        self,
        stream: Stream,
        ledger: GapLedger,
        *,
        unified: str = "",
        integrity: Integrity = Integrity.NONE,
    ) -> None:
        """Start UNAVAILABLE; `ledger` is the client's."""
        self.stream = stream
        self.ledger = ledger
        self.unified = unified
        self.integrity = integrity
        self.current = Trust.UNAVAILABLE
        self.cause = "not_subscribed"
        self.detail = ""
        self.since_ns = 0
        self.since_mono_ns = 0
        self._complaints: dict[str, tuple[Trust, str, str]] = {
            "connection": (Trust.UNAVAILABLE, "not_subscribed", "")
        }
        self._watchers: list[Callable[[], None]] = []
        self._changes = 0
        self._alerts = 0
        self._time_ns = dict.fromkeys(Trust, 0)

    def __repr__(self) -> str:
        """Return stream, trust and cause."""
        return f"StreamTrust({self.stream}: {self.current.name}, {self.cause})"

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after every change (a gate keeps its fast path honest by it)."""
        self._watchers.append(changed)

    def complaint(self, source: str) -> Trust:
        """Return what `source` has against the stream, SOUND if nothing."""
        found = self._complaints.get(source)
        return _SOUND if found is None else found[0]

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
        """Set what `source` has against the stream; SOUND withdraws it.

        Args:
            source: Who reports; its former complaint is replaced.
            trust: What the stream is worth to it.
            cause: Short stable word (see `FeedStatus.cause`).
            now_ns: Wall time.
            mono_ns: Monotonic time.
            out: Gets a `FeedStatus` if the stream's trust changes by it.
            detail: A sentence for people.
        """
        if trust is _SOUND:
            if self._complaints.pop(source, None) is None:
                return
        else:
            self._complaints[source] = (trust, cause, detail)
        worst = max(self._complaints.values(), key=_severity, default=(_SOUND, cause, detail))
        previous = self.current
        self.current, self.cause, self.detail = worst
        if worst[0] is previous:
            return
        self._changes += 1
        if self.since_mono_ns:
            self._time_ns[previous] += mono_ns - self.since_mono_ns
        self.since_ns, self.since_mono_ns = now_ns, mono_ns
        out.events.append(self._status(previous, self.cause, self.detail, now_ns, mono_ns))
        for changed in self._watchers:
            changed()

    def alert(self, cause: str, detail: str, now_ns: int, mono_ns: int, out: Output) -> None:
        """Tell subscribers something that does not change the trust."""
        self._alerts += 1
        out.events.append(self._status(self.current, cause, detail, now_ns, mono_ns))

    def open_gap(
        self,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_countable: bool = True,
    ) -> GapRecord:
        """Enter a hole in the ledger and tell it in the stream (see `GapLedger.open`)."""
        record = self.ledger.open(
            self.stream, first, last, cause, now_ns, is_countable=is_countable
        )
        out.events.append(self._gap(record, now_ns, mono_ns))
        return record

    def close_gap(
        self,
        gap_id: int,
        state: GapState,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        last: int = 0,
    ) -> None:
        """Close a hole and tell it; nothing happens if it is closed already."""
        record = self.ledger.close(gap_id, state, now_ns, last=last)
        if record is not None:
            out.events.append(self._gap(record, now_ns, mono_ns))

    def lose_gap(
        self,
        first: int,
        last: int,
        cause: str,
        now_ns: int,
        mono_ns: int,
        out: Output,
        *,
        is_countable: bool = True,
    ) -> None:
        """Enter a hole that nobody can repair: found and LOST in one record, told once."""
        record = self.ledger.open(
            self.stream, first, last, cause, now_ns, is_countable=is_countable
        )
        closed = self.ledger.close(record.gap_id, GapState.LOST, now_ns)
        assert closed is not None, "a hole just opened can be closed"
        out.events.append(self._gap(closed, now_ns, mono_ns))

    def stats(self, mono_ns: int) -> TrustStats:
        """Return how the stream stands at `mono_ns`."""
        time_ns = dict(self._time_ns)
        if self.since_mono_ns:
            time_ns[self.current] += mono_ns - self.since_mono_ns
        return TrustStats(
            stream=self.stream,
            current=self.current,
            cause=self.cause,
            since_ns=self.since_ns,
            changes=self._changes,
            alerts=self._alerts,
            time_ns=time_ns,
        )

    def _status(
        self, previous: Trust, cause: str, detail: str, now_ns: int, mono_ns: int
    ) -> FeedStatus:
        stream = self.stream
        return FeedStatus(
            stream.venue,
            stream.symbol,
            self.unified,
            0,
            0,
            now_ns,
            mono_ns,
            Mark.RECEIVE_TIME,
            self.integrity,
            self.current,
            None,
            0,
            stream.channel,
            previous,
            self.current,
            cause,
            detail,
        )

    def _gap(self, record: GapRecord, now_ns: int, mono_ns: int) -> Gap:
        stream = self.stream
        return Gap(
            stream.venue,
            stream.symbol,
            self.unified,
            0,
            0,
            now_ns,
            mono_ns,
            Mark.RECEIVE_TIME,
            self.integrity,
            self.current,
            None,
            0,
            record,
        )


def _severity(complaint: tuple[Trust, str, str]) -> Trust:
    return complaint[0]
