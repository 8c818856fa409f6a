"""The one view over venues, and the public doors for making events by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from crossfeed.model.events import MarketData as EventBase
from crossfeed.model.trust import Integrity, Mark, Trust

__all__ = ["Excluded", "MarketData", "RecordedEvent", "UnifiedMarketData"]


class RecordedEvent(EventBase, frozen=True, gc=False):
    """An event given by its parts, as the document constructs it. Behaves like any other event."""

    kind: str
    values: dict[str, Any]
    message: dict[str, Any]

    @property
    def data_type(self) -> str:  # type: ignore[override]
        """The kind it was made with."""
        return self.kind

    @property
    def data(self) -> dict[str, Any]:
        """The values it was made with."""
        return self.values

    @property
    def raw_message(self) -> dict[str, Any]:
        """The message it was made with."""
        return self.message

    @property
    def exact(self) -> Mapping[str, Any]:
        """The shortest decimals of its numbers."""
        numbers = {k: v for k, v in self.values.items() if type(v) in {int, float}}
        return {name: Decimal(repr(value)) for name, value in numbers.items()}


def _event_ns(timestamp: datetime) -> int:
    if timestamp.tzinfo is None:
        msg = "timestamp must be aware (datetime.now(UTC)); a naive one has no place in time"
        raise ValueError(msg)
    delta = timestamp - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def _recorded(
    *,
    exchange: str,
    symbol: str,
    data_type: str,
    timestamp: datetime,
    data: Mapping[str, Any],
    raw_message: Mapping[str, Any] | None = None,
) -> RecordedEvent:
    ts_ns = _event_ns(timestamp)
    return RecordedEvent(
        exchange,
        symbol,
        "",
        ts_ns,
        0,
        ts_ns,
        0,
        Mark.NONE,
        Integrity.NONE,
        Trust.SOUND,
        None,
        0,
        data_type,
        dict(data),
        dict(raw_message or {}),
    )


if TYPE_CHECKING:
    MarketData = EventBase
else:

    class _Door(type):
        """Lets one name be both the common base of all events and the document's constructor.

        A msgspec Struct cannot have a constructor of its own, and the events' constructor is the
        fast positional one. So the public name is this door: calling it makes a `RecordedEvent`,
        isinstance and issubclass ask the real base.
        """

        def __call__(cls, **parts: object) -> RecordedEvent:
            return _recorded(**parts)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, EventBase)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, EventBase)

    class MarketData(metaclass=_Door):
        """Common base of all events; called with the document's keywords it makes one by hand.

        Args:
            exchange: Name of the venue.
            symbol: The venue's symbol.
            data_type: Kind of event ("trade").
            timestamp: Aware datetime; ValueError if naive.
            data: The values.
            raw_message: The original message, optional.
        """


class Excluded(Struct, frozen=True, gc=False):
    """A venue that was left out of an aggregate, and why.

    Attributes:
        exchange: Name of the venue.
        reason: "no_data", "stale", "unsound", "closed", "unavailable", "suspect", "integrity",
            "quote".
        age_s: Age of its value, seconds; 0 if it has none.
    """

    exchange: str
    reason: str
    age_s: float


class UnifiedMarketData(Struct, frozen=True, kw_only=True):
    """One value over all venues.

    Attributes:
        symbol: Unified symbol ("BTC/USD").
        data_type: "trade", "ticker" or "book_ticker".
        timestamp: Aware UTC: wall time of publication.
        exchanges: Venues that took part.
        data: The values (see the vocabulary).
        source_data: The events it was made from, at most `buffer_size`, oldest first.
        excluded: Venues that were left out, with the reason.
        trust: Worst trust among those that took part (SOUND by default settings).
        integrity: Weakest integrity among those that took part.
        quote_mismatch: True where prices in different quote currencies were mixed unconverted.
        ts_mono_ns: Monotonic time of publication.
        ts_source_mono_ns: Monotonic receive time of the newest event in it.
    """

    symbol: str
    data_type: str
    timestamp: datetime
    exchanges: list[str]
    data: dict[str, Any]
    source_data: Sequence[EventBase] = ()
    excluded: tuple[Excluded, ...] = ()
    trust: Trust = Trust.SOUND
    integrity: Integrity = Integrity.NONE
    quote_mismatch: bool = False
    ts_mono_ns: int = 0
    ts_source_mono_ns: int = 0

    exchange: ClassVar[str] = "*"
