"""Kraken's public REST interface: requests as values, answers as events.

Every answer is `{"error":[...],"result":{...}}` with HTTP 200, errors included. The result's key is
Kraken's own name of the pair, not what was asked. Shapes of `Ticker` and `OHLC` rows are from
memory, the others stand in the protocol sheet (section 7), checked 2026-11-22.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, structs

from crossfeed.errors import (
    RateLimitedError,
    SchemaChangedError,
    UnknownMessageError,
    VenueError,
    VenueMaintenanceError,
)
from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import (
    BookSnapshot,
    Candle,
    MarketData,
    Quote,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.instrument import Instrument
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.venues.decoder import refusal
from crossfeed.venues.kraken.profile import INTERVALS, NAME, parameter_of
from crossfeed.venues.kraken.symbols import AssetPair, instruments_of_asset_pairs, rest_pair
from crossfeed.venues.symbols import SymbolTable
from crossfeed.venues.wire import Count, Price, Quantity, Size

__all__ = [
    "Head",
    "answer",
    "backfill_request",
    "instruments_request",
    "parse_instruments",
    "poll_request",
    "result_of",
]

TRADES_MAX: Final = 1000
"""Trades on one page, the most the venue gives ([TR])."""
POLL_TRADES: Final = 100
POLL_LEVELS: Final = 500
"""Levels of a book by REST, the most the venue gives."""
BEFORE_GAP_NS: Final = 1_000_000
"""A backfill starts 1 ms before the last good trade: `since` is exclusive."""
RETRY_AFTER_S: Final = 5.0
"""Our wait after "Too many requests": the venue names none, its counter refills in seconds."""

_HTTP_OK: Final = 200
_HTTP_TOO_MANY: Final = 429
_HTTP_SERVER: Final = 500
_SECONDS: Final = re.compile(rb"(\d{1,10})(?:\.(\d{1,18}))?", re.ASCII)
_NS: Final = 1_000_000_000


_Common = tuple[str, str, str, int, int, int, int, Mark, Integrity, Trust, bytes | None, int]


class Head(NamedTuple):
    """What all events of one answer share."""

    symbol: str
    unified: str
    ts_recv_ns: int
    ts_mono_ns: int
    marks: Mark
    keep_raw: bool

    def common(self, ts_event_ns: int, integrity: Integrity, raw: bytes, index: int) -> _Common:
        """Return the arguments that every event begins with."""
        return (
            NAME, self.symbol, self.unified, ts_event_ns, 0, self.ts_recv_ns, self.ts_mono_ns,
            self.marks if ts_event_ns else self.marks | Mark.RECEIVE_TIME, integrity, Trust.SOUND,
            raw if self.keep_raw else None, index,
        )  # fmt: skip


# ── shapes ────────────────────────────────────────────────────────────────────


class _Answer(Struct, gc=False):
    error: list[str] = []
    result: Raw = Raw(b"{}")


class _TradeRow(Struct, array_like=True, gc=False):
    """`["64010.20000","0.00100000",1772366404.5855806,"b","l","",10218208]`; the taker's side."""

    price: Price
    quantity: Quantity
    time: Raw
    side: Literal["b", "s"]
    order_type: str
    misc: str
    trade_id: Count


class _Depth(Struct, gc=False):
    asks: list[tuple[Price, Size, Raw]]
    bids: list[tuple[Price, Size, Raw]]


class _OhlcRow(Struct, array_like=True, gc=False):
    """`[1772366400,"64001.9","64010.0","64000.0","64005.1","64004.2","12.5",321]`."""

    time: Annotated[int, Meta(ge=0, lt=1 << 33)]
    open: Price
    high: Price
    low: Price
    close: Price
    vwap: Size
    volume: Size
    trades: Count


class _TickerResult(Struct, gc=False):
    """a, b: [price, whole lots, size]; c: [price, size]; v, p, l, h: [since midnight, 24 hours]."""

    a: tuple[Size, Size, Size]
    b: tuple[Size, Size, Size]
    c: tuple[Size, Size]
    v: tuple[Size, Size]
    p: tuple[Size, Size]
    l: tuple[Size, Size]  # noqa: E741 - the venue's word
    h: tuple[Size, Size]


class _SystemStatus(Struct, gc=False):
    status: str


T = TypeVar("T")


def _decoder(shape: type[T]) -> Callable[[bytes | Raw], T]:
    return msgspec.json.Decoder(shape, strict=False).decode


_decode_answer: Final = _decoder(_Answer)
_decode_result: Final = _decoder(dict[str, Raw])
_decode_rows: Final = _decoder(list[Raw])
_decode_trade: Final = _decoder(_TradeRow)
_decode_depth: Final = _decoder(_Depth)
_decode_ohlc: Final = _decoder(list[_OhlcRow])
_decode_ticker: Final = _decoder(_TickerResult)
_decode_system: Final = _decoder(_SystemStatus)
_decode_pairs: Final = _decoder(dict[str, AssetPair])
_decode_last: Final = msgspec.json.Decoder(
    Annotated[int, Meta(ge=0, le=1 << 62)], strict=False
).decode


# ── requests ──────────────────────────────────────────────────────────────────


def instruments_request() -> RestRequest:
    """Return the request for all pairs."""
    return RestRequest(purpose="instruments", path="/0/public/AssetPairs")


def poll_request(table: SymbolTable, want: Want) -> RestRequest | None:
    """Return the request whose answer stands in for a stream; None for heartbeat and instrument.

    A book's is also its audit (`Depth` rounds sizes to three decimals, so compare prices).
    """
    word = want.channel.partition(":")[0]
    if want.channel == "status":
        return RestRequest(purpose="poll", path="/0/public/SystemStatus", channel="status")
    path, parameters = {
        "trade": ("Trades", (("count", str(POLL_TRADES)),)),
        "ticker": ("Ticker", ()),
        "ohlc": ("OHLC", (("interval", str(parameter_of(want.channel))),)),
        "book": ("Depth", (("count", str(min(parameter_of(want.channel), POLL_LEVELS))),)),
    }.get(word, ("", ()))
    if not path:
        return None
    return RestRequest(
        purpose="poll",
        path=f"/0/public/{path}",
        query=(("pair", rest_pair(table, want.symbol)), *parameters),
        symbol=want.symbol,
        channel=want.channel,
    )


def backfill_request(table: SymbolTable, wanted: Backfill) -> RestRequest | None:
    """Return the first page of missing trades; None for other channels.

    Without the time of the last good trade it asks for the newest trades, and repairs what they
    hold.
    """
    if wanted.stream.channel != "trade":
        return None
    query = [("pair", rest_pair(table, wanted.stream.symbol)), ("count", str(TRADES_MAX))]
    if wanted.after_ns:
        query.append(("since", str(wanted.after_ns - BEFORE_GAP_NS)))
    return RestRequest(
        purpose="backfill",
        path="/0/public/Trades",
        query=tuple(query),
        symbol=wanted.stream.symbol,
        channel="trade",
        first=wanted.first,
        last=wanted.last,
    )


# ── answers ───────────────────────────────────────────────────────────────────


def result_of(status: int, body: bytes) -> Raw:
    """Return the result of an answer.

    Raises:
        RateLimitedError: HTTP 429, "EGeneral:Too many requests" or "EAPI:Rate limit exceeded".
        VenueMaintenanceError: HTTP 5xx, "EService:Unavailable" or "EService:Busy".
        VenueError: Any other error of the venue.
        DecodeError: The body is not what the venue documents.
    """
    if status == _HTTP_TOO_MANY:
        raise RateLimitedError(NAME, "HTTP 429", retry_after_s=RETRY_AFTER_S, code="429")
    if status >= _HTTP_SERVER:
        raise VenueMaintenanceError(
            NAME, f"HTTP {status}", code=str(status), hint="try again later"
        )
    try:
        answer = _decode_answer(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise refusal(NAME, exc, body) from exc
    # A text that begins with E is an error, one with W a warning beside a good result.
    error = next((text for text in answer.error if not text.startswith("W")), None)
    if error is not None:
        raise _venue_error(error)
    if status != _HTTP_OK:
        raise VenueError(NAME, f"HTTP {status}", code=str(status), hint="check the request")
    return answer.result


def _venue_error(error: str) -> VenueError:
    """Give the venue's error text ("EQuery:Unknown asset pair") its type."""
    code, _, text = error[:200].partition(":")
    lowered = text.lower()
    if "too many requests" in lowered or "rate limit" in lowered:
        return RateLimitedError(NAME, text, retry_after_s=RETRY_AFTER_S, code=code)
    if code == "EService":
        return VenueMaintenanceError(NAME, text, code=code, hint="try again later")
    return VenueError(NAME, text, code=code, hint="check the symbol and the request")


def parse_instruments(status: int, body: bytes) -> list[Instrument]:
    """Return the instruments of an `AssetPairs` answer; see `result_of` for what it raises."""
    result = result_of(status, body)
    try:
        return instruments_of_asset_pairs(_decode_pairs(result))
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise refusal(NAME, exc, body) from exc


def answer(
    request: RestRequest, result: Raw, body: bytes, head: Head, table: SymbolTable
) -> tuple[list[MarketData], RestRequest | None]:
    """Turn a result into events, oldest first, and the request of the next page.

    Raises:
        DecodeError: The result is not what the venue documents, or of another pair.
    """
    try:
        if request.channel == "status":
            system = _decode_system(result).status
            status = VenueStatus(*head.common(0, Integrity.SELF_CONTAINED, body, 0), system, [])
            return [status], None
        values = _decode_result(result)
        last = values.pop("last", None)
        value = _of_pair(request, values, body, table)
        word = request.channel.partition(":")[0]
        if word == "trade":
            return _trades(request, value, last, head)
        return _PARSERS[word](request, value, body, head), None
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyError, OverflowError) as exc:
        raise refusal(NAME, exc, body) from exc


def _of_pair(request: RestRequest, values: dict[str, Raw], body: bytes, table: SymbolTable) -> Raw:
    """Return the only value, whose key must be a name of the pair asked."""
    if len(values) != 1:
        detail = f"{len(values)} pairs in place of one"
        raise SchemaChangedError(NAME, "missing_field", detail, body)
    key, value = values.popitem()
    named = table.get(key)
    if named is not None and named.symbol != request.symbol:
        detail = f"{named.symbol} in place of {request.symbol}"
        raise UnknownMessageError(NAME, "unasked_symbol", detail, body)
    return value


def _trades(
    request: RestRequest, value: Raw, last: Raw | None, head: Head
) -> tuple[list[MarketData], RestRequest | None]:
    """Each row keeps its own text as raw; ids outside first..last are left out, repeats too."""
    found: dict[int, MarketData] = {}
    newest = 0
    for raw in _decode_rows(value):
        row = _decode_trade(raw)
        newest = max(newest, row.trade_id)
        if row.trade_id < request.first or (request.last and row.trade_id > request.last):
            continue
        found[row.trade_id] = Trade(
            *head.common(_ns_of(row.time), Integrity.SEQUENCED, bytes(raw), 0),
            row.price,
            row.quantity,
            Side.BUY if row.side == "b" else Side.SELL,
            row.trade_id,
        )
    last_ns = _decode_last(last) if last is not None else 0
    return [found[trade_id] for trade_id in sorted(found)], _next_page(request, last_ns, newest)


def _next_page(request: RestRequest, last_ns: int, newest: int) -> RestRequest | None:
    """Return the request for the page after one of a backfill, None if nothing more can come.

    It begins 1 ns before the venue's `last`, so that trades of one moment on both pages are not
    lost; those already seen fall below its `first`. `since` always grows, so the paging ends.
    """
    if request.purpose != "backfill" or not newest or (request.last and newest >= request.last):
        return None
    query = dict(request.query)
    since_ns = int(query.get("since", "0"))
    if last_ns <= since_ns:
        return None
    query["since"] = str(max(last_ns - 1, since_ns + 1))
    first = max(request.first, newest + 1)
    return structs.replace(request, query=tuple(query.items()), first=first)


def _depth(request: RestRequest, value: Raw, body: bytes, head: Head) -> list[MarketData]:  # noqa: ARG001
    """The times in it are those of the levels: the book itself has none, nor a checksum."""
    depth = _decode_depth(value)
    return [
        BookSnapshot(
            *head.common(0, Integrity.CHECKSUMMED, body, 0),
            [row[:2] for row in depth.bids],
            [row[:2] for row in depth.asks],
            0,
            None,
        )
    ]


def _ohlc(request: RestRequest, value: Raw, body: bytes, head: Head) -> list[MarketData]:
    """The last row is the bar in the making, the one before it the newest closed one."""
    minutes = int(dict(request.query)["interval"])
    rows = _decode_ohlc(value)
    events: list[MarketData] = []
    for index in range(max(0, len(rows) - 2), len(rows)):
        row = rows[index]
        events.append(
            Candle(
                *head.common(0, Integrity.SELF_CONTAINED, body, index),
                INTERVALS[minutes],
                row.time * _NS,
                (row.time + 60 * minutes) * _NS,
                row.open,
                row.high,
                row.low,
                row.close,
                row.volume,
                row.trades,
                index < len(rows) - 1,
            )
        )
    return events


def _ticker(request: RestRequest, value: Raw, body: bytes, head: Head) -> list[MarketData]:
    """A `Quote` for `ticker:bbo`, a `Ticker` for `ticker`; nothing where the venue has no price."""
    found = _decode_ticker(value)
    common = head.common(0, Integrity.SELF_CONTAINED, body, 0)
    (ask, _, ask_size), (bid, _, bid_size), (last, last_size) = found.a, found.b, found.c
    if request.channel == "ticker:bbo":
        return [Quote(*common, bid, bid_size, ask, ask_size, 0)] if bid and ask else []
    if not last:
        return []
    return [
        Ticker(
            *common, last, None, None, None, found.h[1] or None, found.l[1] or None, found.v[1],
            None, found.p[1] or None, bid or None, bid_size if bid else None, ask or None,
            ask_size if ask else None, last_size, None,
        )
    ]  # fmt: skip


_Parser = Callable[[RestRequest, Raw, bytes, Head], list[MarketData]]
_PARSERS: Final[Mapping[str, _Parser]] = {
    "book": _depth,
    "ohlc": _ohlc,
    "ticker": _ticker,
}


def _ns_of(raw: Raw) -> int:
    """Turn a JSON number of seconds into ns from its text: a float would lose digits.

    Raises:
        ValueError: It is no plain number of at most ten digits before the point.
    """
    found = _SECONDS.fullmatch(bytes(raw))
    if found is None:
        msg = f"not a time in seconds: {bytes(raw)[:40]!r}"
        raise ValueError(msg)
    return int(found[1]) * _NS + int((found[2] or b"0")[:9].ljust(9, b"0"))
