"""What a client gave out, kept as the plain records the judge reads."""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from crossfeed.model.events import MarketData, Trade
from crossfeed.model.status import FeedStatus, Gap
from crossfeed.model.trust import Mark
from crossfeed.testing.checker import Reported, Seen

__all__ = ["Key", "Recording", "TrustSeen"]

Key = tuple[str, str]
"""Kind ("trade", "book", "book_ticker" ...) and the venue's symbol."""


class TrustSeen(Struct, frozen=True, gc=False):
    """A change of a stream's trust, as the client told it."""

    at_ns: int
    current: str
    cause: str


class Recording:
    """Takes every event of one client, in the order it gives them out.

    Attributes:
        numbered: Trades and reports of holes in their streams.
        holes: Reports of holes of all streams.
        trust: Changes of trust of all streams.
        counts: Events by data type.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.numbered: defaultdict[Key, list[Seen | Reported]] = defaultdict(list)
        self.holes: defaultdict[Key, list[Reported]] = defaultdict(list)
        self.trust: defaultdict[Key, list[TrustSeen]] = defaultdict(list)
        self.counts: defaultdict[str, int] = defaultdict(int)

    def take(self, event: MarketData) -> None:
        """Keep what the judge needs of one event."""
        self.counts[event.data_type] += 1
        at_ns = event.ts_mono_ns
        if isinstance(event, Trade):
            is_late = bool(event.marks & Mark.BACKFILLED)
            seen = Seen(at_ns, event.trade_id, event.price, event.quantity, is_late)
            self.numbered["trade", event.symbol].append(seen)
        elif isinstance(event, Gap):
            record = event.record
            report = Reported(
                at_ns, record.gap_id, record.first, record.last, record.cause, str(record.state)
            )
            key = record.stream.channel, record.stream.symbol
            self.holes[key].append(report)
            if record.stream.channel == "trade":
                self.numbered[key].append(report)
        elif isinstance(event, FeedStatus):
            change = TrustSeen(at_ns, event.current.name, event.cause)
            self.trust[event.channel, event.symbol].append(change)
