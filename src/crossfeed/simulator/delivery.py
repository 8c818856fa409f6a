"""From one published message to the sessions that asked for it, through the fault injector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from crossfeed.simulator.ledger import Line, StreamRecord
from crossfeed.simulator.shadow import BookUpdate

if TYPE_CHECKING:
    from crossfeed.simulator.session import Session

__all__ = ["Injector", "Stream", "Subscription"]


class Injector(Protocol):
    """Stands between a message and its session while faults are active."""

    def deliver(
        self, sub: Subscription, payload: bytes, first: int, last: int, events: int, lots: int
    ) -> None:
        """Deliver a message, or do something worse with it."""
        ...

    def deliver_book(self, sub: Subscription, payload: bytes, book: BookUpdate) -> None:
        """Deliver an update of a checksummed book, or do something worse with it."""
        ...

    def forget(self, sub: Subscription) -> None:
        """Forget a subscription that is over."""
        ...


class Subscription:
    """One session's subscription of one stream, in one representation."""

    __slots__ = ("injector", "is_over", "line", "rep", "session", "stream")

    def __init__(
        self, session: Session, stream: Stream, rep: int, line: Line, injector: Injector | None
    ) -> None:
        """Build a subscription; the exchange puts it into its stream."""
        self.session = session
        self.stream = stream
        self.rep = rep
        self.line = line
        self.injector = injector
        self.is_over = False

    def deliver(self, payload: bytes, first: int, last: int, events: int, lots: int) -> None:
        """Send one message that carries the ids `first..last`, and account for it."""
        if self.injector is not None:
            self.injector.deliver(self, payload, first, last, events, lots)
            return
        self.session.put(payload)
        self.line.record(first, last, events, lots)

    def deliver_plain(self, payload: bytes, events: int = 1) -> None:
        """Send one message of a stream without ids, and account for it."""
        if self.injector is not None:
            self.injector.deliver(self, payload, -1, -1, events, 0)
            return
        self.session.put(payload)
        self.line.count(events, 0)

    def deliver_book(self, payload: bytes, book: BookUpdate) -> None:
        """Send one update of a checksummed book, and account for it."""
        if self.injector is not None:
            self.injector.deliver_book(self, payload, book)
            return
        self.session.put(payload)
        self.line.apply(book)


class Stream:
    """One stream's subscribers, by representation (a small number the venue gives a meaning)."""

    __slots__ = ("groups", "key", "ordinal", "record")

    def __init__(self, record: StreamRecord) -> None:
        """Build a stream nobody has subscribed."""
        self.record = record
        self.key = record.key
        self.groups: dict[int, list[Subscription]] = {}
        #: Messages published so far, for faults on streams without ids.
        self.ordinal = 0

    def add(self, sub: Subscription) -> None:
        """Put a subscription into its group."""
        self.groups.setdefault(sub.rep, []).append(sub)

    def remove(self, sub: Subscription) -> None:
        """Take a subscription out; an empty group disappears, so that nothing is formatted."""
        group = self.groups[sub.rep]
        group.remove(sub)
        if not group:
            del self.groups[sub.rep]
