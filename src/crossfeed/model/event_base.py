"""What all events share: who, when, how trustworthy, and the views that are built when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, cast

import msgspec
from msgspec import Struct

from crossfeed.model.raw import read_message
from crossfeed.model.trust import Integrity, Mark, Trust

__all__ = ["MarketData", "RawReader", "register_raw_reader", "utc_datetime"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_EXACT: Final[Mapping[str, Any]] = {}


def utc_datetime(ns: int) -> datetime:
    """Turn ns since 1970 into an aware UTC datetime (microseconds, rounded down)."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


class RawReader(Protocol):
    """Reads what only the venue's own message knows. Each venue registers one at import."""

    def reads(self, raw: bytes) -> bool:
        """Say whether `raw` is a frame of this reader's protocol (one exchange may speak two)."""
        ...

    def message(self, event: MarketData) -> dict[str, Any]:
        """Return the original message of `event` as a dict."""
        ...

    def exact(self, event: MarketData) -> Mapping[str, Any]:
        """Return the numbers of `event` as the venue wrote them, by attribute name."""
        ...


_raw_readers: dict[str, list[RawReader]] = {}


def register_raw_reader(exchange: str, reader: RawReader) -> None:
    """Let `reader` serve the raw views of the events of `exchange` whose frames it reads."""
    _raw_readers.setdefault(exchange, []).append(reader)


def _reader_of(event: MarketData) -> RawReader | None:
    if event.raw is None:
        return None
    raw = event.raw
    return next((r for r in _raw_readers.get(event.exchange, ()) if r.reads(raw)), None)


class _ViewMemo:
    """Remembers one view of the event last looked at. Bounded: one event, one value."""

    __slots__ = ("_build", "_event", "_value")

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._event: object = None
        self._value: Any = None

    def get(self, event: MarketData) -> Any:  # noqa: ANN401 - each view has its own type
        if self._event is not event:
            value = self._build(event)
            self._event, self._value = event, value
            return value
        return self._value


class MarketData(Struct, frozen=True, gc=False):
    """What all events share.

    Never made itself: `crossfeed.MarketData(...)` makes a `RecordedEvent`.

    Attributes:
        exchange: Name of the venue ("binance", "coinbase", "kraken").
        symbol: The venue's own symbol.
        unified: The unified symbol ("BTC/USDT"); empty where the venue's symbol is unknown to us.
        ts_event_ns: When it happened, venue's clock; 0 where the venue does not say.
        ts_sent_ns: When the venue sent it; 0 where the venue does not say.
        ts_recv_ns: When we received it, wall clock.
        ts_mono_ns: When we received it, monotonic clock.
        marks: What is special about this event.
        integrity: How well the stream it came on can be proven.
        trust: Whether the stream was proven when it came.
        raw: The frame it came in (shared by all events of the frame), None with `keep_raw=False`.
        raw_index: Its place among the events of that frame.
    """

    exchange: str
    symbol: str
    unified: str
    ts_event_ns: int
    ts_sent_ns: int
    ts_recv_ns: int
    ts_mono_ns: int
    marks: Mark
    integrity: Integrity
    trust: Trust
    raw: bytes | None
    raw_index: int

    data_type: ClassVar[str] = ""

    if TYPE_CHECKING:
        # How users make one (`model/unified.py`). The kinds have constructors of their own fields.
        def __init__(
            self,
            *,
            exchange: str,
            symbol: str,
            data_type: str,
            timestamp: datetime,
            data: Mapping[str, Any],
            raw_message: Mapping[str, Any] | None = None,
        ) -> None: ...

    def __repr__(self) -> str:
        """Return who, when, the kind's own values and the trust; never the frame."""
        own = self.__struct_fields__[_SHARED_FIELDS:]
        values = "".join(f" {name}={_shown(getattr(self, name))}" for name in own)
        marks = f" {self.marks.name}" if self.marks else ""
        where = f"{self.exchange} {self.symbol}".strip()
        when = self.timestamp.isoformat().removesuffix("+00:00")
        return f"<{type(self).__name__} {where} {when}Z{values} {self.trust.name}{marks}>"

    @property
    def timestamp(self) -> datetime:
        """When it happened, aware UTC.

        The receive time where the venue gives none (see `marks`).
        """
        return utc_datetime(self.ts_event_ns or self.ts_recv_ns)

    @property
    def data(self) -> dict[str, Any]:
        """The event's own values under the names of the vocabulary.

        Handlers of an event may share it: copy it (`dict(event.data)`) before changing it.
        """
        view: dict[str, Any] = _data_memo.get(self)
        return view

    @property
    def raw_message(self) -> dict[str, Any]:
        """The venue's original message as a dict; empty with `keep_raw=False`."""
        view: dict[str, Any] = _message_memo.get(self)
        return view

    @property
    def exact(self) -> Mapping[str, Any]:
        """The venue's own decimals by attribute name, no digit lost.

        Numbers are `decimal.Decimal`; `bids` and `asks` are lists of (price, size) pairs of them.
        Without `raw` the shortest decimal of each float stands in (exact to 15 digits).
        """
        view: Mapping[str, Any] = _exact_memo.get(self)
        return view

    @property
    def source(self) -> str:
        """How it reached us: "stream", or "rest" for polled and backfilled events."""
        return "rest" if self.marks & (Mark.REST | Mark.BACKFILLED) else "stream"

    def values_view(self) -> dict[str, Any]:
        """Build the values of `data`, new at each call; each kind has its own."""
        return {}


_SHARED_FIELDS: Final = len(MarketData.__struct_fields__)
_SHOWN_MAX: Final = 3


def _shown(value: object) -> str:
    """Write a value for people: of a long list how long it is."""
    if isinstance(value, Enum):
        return value.name.lower()
    count = len(value) if isinstance(value, Sized) and not isinstance(value, str) else 0
    return f"[{count} entries]" if count > _SHOWN_MAX else repr(value)


def _build_message(event: MarketData) -> dict[str, Any]:
    if event.raw is None:
        return {}
    reader = _reader_of(event)
    if reader is not None:
        return reader.message(event)
    message: Any = read_message(event.raw)
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {"data": message}


def _build_exact(event: MarketData) -> Mapping[str, Any]:
    reader = _reader_of(event)
    if reader is not None:
        return reader.exact(event)
    values = msgspec.structs.asdict(event)
    floats = {name: Decimal(repr(value)) for name, value in values.items() if type(value) is float}
    return floats or _NO_EXACT


_data_memo: Final = _ViewMemo(lambda event: event.values_view() | _origin(event))
_message_memo: Final = _ViewMemo(_build_message)
_exact_memo: Final = _ViewMemo(_build_exact)


def _origin(event: MarketData) -> dict[str, Any]:
    """Say in `data` what is special about the event; nothing for an ordinary one."""
    if not event.marks:
        return {}
    marked: dict[str, Any] = {}
    if event.marks & (Mark.REST | Mark.BACKFILLED):
        marked["source"] = "rest"
    if event.marks & Mark.BACKFILLED:
        marked["backfilled"] = True
    if event.marks & Mark.HISTORY:
        marked["history"] = True
    if event.marks & Mark.SUSPECT:
        marked["suspect"] = True
    if event.marks & Mark.FROM_TICKER:
        marked["derived"] = "ticker"
    if event.marks & Mark.FROM_BOOK:
        marked["derived"] = "book"
    return marked
