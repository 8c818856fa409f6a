"""Events about the feed itself.

Trust changes and gaps, delivered in the stream, in order with the data.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Final

from msgspec import Struct

from crossfeed.model.events import MarketData
from crossfeed.model.trust import Trust

__all__ = ["ONE_SIDED", "FeedStatus", "Gap", "GapRecord", "GapState", "Stream"]


ONE_SIDED: Final = "one_sided"
"""Cause of a `FeedStatus` that changes no trust: the book is right and has an empty side, so that
the last quote made from it holds no more."""


class Stream(Struct, frozen=True, gc=False):
    """One (venue, channel, symbol) flow with its own order.

    Hashable: the key of all per-stream state.

    Attributes:
        venue: Name of the venue.
        channel: The `data_type` the stream yields ("trade", "book_ticker", "kline_1m", "book").
        symbol: The venue's own symbol.
    """

    venue: str
    channel: str
    symbol: str

    def __str__(self) -> str:
        """Return "venue/channel/symbol"."""
        return f"{self.venue}/{self.channel}/{self.symbol}"


class GapState(StrEnum):
    """How a hole stands."""

    OPEN = "open"
    BACKFILLED = "backfilled"
    """Every missing event was fetched and delivered."""
    SNAPSHOT = "snapshot"
    """The state was rebuilt whole; the events in between are gone, the state is right."""
    LOST = "lost"
    """Given up: the venue cannot supply them any more."""


class GapRecord(Struct, frozen=True, kw_only=True):
    """One hole of a stream, as it stands in the gap ledger.

    Attributes:
        gap_id: Number within the ledger, counted from 1.
        first: First missing number; 0 where the stream has none.
        last: Last missing number; 0 where the stream has none.
        missing: Numbers still missing (a partial repair leaves some); 0 where they cannot be
            counted.
        cause: "sequence", "reconnect", "tail", "checksum", "crossed", "connection", "number" ...
        ts_found_ns: Wall time of discovery.
        ts_closed_ns: Wall time of the resolution, 0 while open.
    """

    gap_id: int
    stream: Stream
    first: int
    last: int
    missing: int
    cause: str
    ts_found_ns: int
    ts_closed_ns: int = 0
    state: GapState = GapState.OPEN


class FeedStatus(MarketData, frozen=True, gc=False):
    """The trust of one stream changed.

    Attributes:
        channel: Channel of the stream (see `Stream`); empty where it concerns the whole venue.
        previous: Trust before.
        current: Trust from now on (`trust` says the same).
        cause: Short stable word: "subscribed", "sequence_gap", "checksum", "crossed", "stale",
            "disconnected", "resynced", "halted", "refused", "clock_jump" ...
        detail: A sentence for people.
    """

    channel: str
    previous: Trust
    current: Trust
    cause: str
    detail: str

    data_type: ClassVar[str] = "feed_status"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        return {
            "channel": self.channel,
            "previous": self.previous.name,
            "current": self.current.name,
            "cause": self.cause,
            "detail": self.detail,
        }


class Gap(MarketData, frozen=True, gc=False):
    """A hole was found, or changed its state.

    Attribute `record` is the ledger's entry at that moment.
    """

    record: GapRecord

    data_type: ClassVar[str] = "gap"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`."""
        record = self.record
        return {
            "gap_id": record.gap_id,
            "channel": record.stream.channel,
            "first": record.first,
            "last": record.last,
            "missing": record.missing,
            "cause": record.cause,
            "state": str(record.state),
        }
