"""The contract of a sink, the rows it gets, and the errors it may raise."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from crossfeed.model.events import AggTrade, Candle, MarketData, MiniTicker, Quote, Ticker, Trade
from crossfeed.model.status import FeedStatus, Gap

__all__ = [
    "TABLES",
    "TABLES_BY_NAME",
    "Column",
    "Row",
    "Sink",
    "SqlTable",
    "event_id",
    "row_of",
    "rows_by_table",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID_BYTES: Final = 16
_FLOAT_DIGITS_MAX: Final = 15
_NAME_CHARS_MAX: Final = 500
"""Names stand in an index, whose rows are bounded (PostgreSQL: 2,704 bytes)."""
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


class Sink(Protocol):
    """Takes events to another system. Made by the user, driven by a `SinkRunner` in one thread.

    Every method may block; none is called again while it runs. Anything else than these errors is
    a fault of the sink and ends it.
    """

    name: str

    def open(self) -> None:
        """Connect, and make what is missing (tables). Called again after each failure.

        Raises:
            SinkUnavailableError: Not now; it is tried again later.
            SinkError: Never, unless something is changed; the sink ends.
        """
        ...

    def write(self, events: Sequence[MarketData]) -> int:
        """Take a batch whole or not at all; return how many events were new.

        The same events may come again after a failure, and from other collectors: what is there
        already must not come to stand there twice.

        Raises:
            SinkUnavailableError: Not now; the batch comes again after `open`.
            SinkError: Never; the sink ends.
        """
        ...

    def close(self) -> None:
        """Disconnect. May be called at any time, more than once; raises nothing."""
        ...


class Column(NamedTuple):
    """One column of a table: its name and its sort ("id", "time", "text", "number", "int")."""

    name: str
    sort: str


class SqlTable(NamedTuple):
    """One table and how an event becomes a row of it, without the leading id."""

    name: str
    columns: tuple[Column, ...]
    values: Callable[[Any], tuple[Any, ...]]


class Row(NamedTuple):
    """One event as a row: the table's name and the values of its columns."""

    table: str
    values: tuple[Any, ...]


def event_id(event: MarketData) -> bytes:
    """Return 16 bytes that name an event, the same for every collector that got it.

    Made of the venue's own numbering where there is one (trade ids, update ids, a bar's start),
    else of the event's content.
    """
    key: tuple[object, ...]
    if isinstance(event, Trade | AggTrade) and event.trade_id:
        key = (event.trade_id,)
    elif isinstance(event, Quote) and event.update_id:
        key = (event.update_id,)
    elif isinstance(event, Candle):
        content = (event.open, event.high, event.low, event.close, event.volume, event.is_closed)
        key = (event.interval, event.open_time_ns, *content)
    elif isinstance(event, Gap):
        record = event.record
        key = (*map(str, msgspec.structs.astuple(record)),)
    elif isinstance(event, FeedStatus):
        key = (event.ts_recv_ns, event.channel, int(event.previous), int(event.current))
    else:
        key = (event.ts_event_ns or event.ts_recv_ns, *_own_values(event))
    text = repr((event.exchange, event.data_type, event.symbol, key))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_ID_BYTES).digest()


def row_of(event: MarketData) -> Row | None:
    """Return the event's row, None for kinds without a table (books, heartbeats, order events)."""
    table = TABLES.get(event.data_type)
    if table is None:
        return None
    values = (*_head(event), *table.values(event))
    return Row(table.name, (event_id(event), *map(_storable, values)))


def rows_by_table(events: Iterable[MarketData]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of a batch by the names of their tables."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for event in events:
        row = row_of(event)
        if row is not None:
            found.setdefault(row.table, []).append(row.values)
    return found


def _storable(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """Take out what databases cannot hold, so that no venue's word can end a sink.

    NUL and lone surrogates become U+FFFD; integers beyond 64 bits become NULL.
    """
    if isinstance(value, str):
        if value.isprintable() and value.isascii():
            return value
        clean = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return clean.replace("\x00", "\ufffd")
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        return None
    return value


def _own_values(event: MarketData) -> tuple[Any, ...]:
    return msgspec.structs.astuple(event)[len(MarketData.__struct_fields__) :]


def _time(ns: int) -> datetime | None:
    return _EPOCH + timedelta(microseconds=ns // 1000) if ns else None


def _head(event: MarketData) -> tuple[Any, ...]:
    return (
        _time(event.ts_event_ns or event.ts_recv_ns),
        _time(event.ts_recv_ns),
        event.exchange,
        event.symbol[:_NAME_CHARS_MAX],
        event.unified[:_NAME_CHARS_MAX],
        event.trust.name.lower(),
        int(event.marks),
    )


def _exact(event: MarketData, *names: str) -> tuple[Decimal | None, ...]:
    """Return numbers as decimals: a float's shortest text, the venue's own beyond 15 digits."""
    found: list[Decimal | None] = []
    for name in names:
        value: float | None = getattr(event, name, None)
        decimal = None if value is None else Decimal(repr(value))
        if decimal is not None and len(decimal.as_tuple().digits) > _FLOAT_DIGITS_MAX:
            decimal = event.exact.get(name, decimal)
        found.append(decimal)
    return tuple(found)


def _trade(event: Trade) -> tuple[Any, ...]:
    return (*_exact(event, "price", "quantity"), str(event.side), event.trade_id)


_TICKER_NUMBERS: Final = (
    *("price", "open", "high", "low", "volume", "quote_volume", "vwap"),
    *("best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"),
)


def _ticker(event: Ticker | MiniTicker) -> tuple[Any, ...]:
    return _exact(event, *_TICKER_NUMBERS)


def _quote(event: Quote) -> tuple[Any, ...]:
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    return (*_exact(event, *names), event.update_id)


def _candle(event: Candle) -> tuple[Any, ...]:
    numbers = _exact(event, "open", "high", "low", "close", "volume")
    return (
        event.interval,
        _time(event.open_time_ns),
        *numbers,
        event.trades,
        int(event.is_closed),
    )


def _gap(event: Gap) -> tuple[Any, ...]:
    record = event.record
    return (
        *(record.stream.channel, record.gap_id, record.first, record.last, record.missing),
        *(record.cause, str(record.state), _time(record.ts_found_ns), _time(record.ts_closed_ns)),
    )


def _status(event: FeedStatus) -> tuple[Any, ...]:
    names = (event.previous.name.lower(), event.current.name.lower())
    return (event.channel, *names, event.cause, event.detail)


def _columns(**sorts: str) -> tuple[Column, ...]:
    own = (Column(name, sort) for sort, names in sorts.items() for name in names.split())
    return (*_HEAD, *own)


def _ordered(*pairs: str) -> tuple[Column, ...]:
    return (*_HEAD, *(Column(*pair.split(":")) for pair in " ".join(pairs).split()))


_HEAD: Final = (
    Column("event_id", "id"),
    Column("ts", "time"),
    Column("ts_recv", "time"),
    Column("venue", "text"),
    Column("symbol", "text"),
    Column("unified", "text"),
    Column("trust", "text"),
    Column("marks", "int"),
)
_TRADE_COLUMNS: Final = _ordered("price:number quantity:number side:text trade_id:int")
_TICKER_COLUMNS: Final = _columns(number=" ".join(_TICKER_NUMBERS))
TABLES: Final[dict[str, SqlTable]] = {
    "trade": SqlTable("trades", _TRADE_COLUMNS, _trade),
    "agg_trade": SqlTable("agg_trades", _TRADE_COLUMNS, _trade),
    "book_ticker": SqlTable(
        "quotes",
        _ordered(
            "bid_price:number bid_quantity:number ask_price:number ask_quantity:number "
            "update_id:int"
        ),
        _quote,
    ),
    "ticker": SqlTable("tickers", _TICKER_COLUMNS, _ticker),
    "mini_ticker": SqlTable("tickers", _TICKER_COLUMNS, _ticker),
    "kline": SqlTable(
        "candles",
        _ordered(
            "interval:text open_time:time open:number high:number low:number close:number "
            "volume:number trades:int is_closed:int"
        ),
        _candle,
    ),
    "gap": SqlTable(
        "gaps",
        _ordered(
            "channel:text gap_id:int first:int last:int missing:int cause:text state:text "
            "ts_found:time ts_closed:time"
        ),
        _gap,
    ),
    "feed_status": SqlTable(
        "status",
        _ordered("channel:text previous:text current:text cause:text detail:text"),
        _status,
    ),
}
"""data_type -> its table."""
TABLES_BY_NAME: Final = {each.name: each for each in TABLES.values()}
"""Each table once."""
