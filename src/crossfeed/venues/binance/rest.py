"""Binance spot's REST calls: what to ask, what the answers become, what the refusals mean.

Weights and shapes: rest-api.md; codes: errors.md (see profile.py). Times are ms here, whatever the
stream's unit is: us would need a request header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from crossfeed.errors import (
    AuthRejectedError,
    DecodeError,
    MalformedFrameError,
    RateLimitedError,
    SchemaChangedError,
    VenueError,
    VenueMaintenanceError,
)
from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import AggTrade, MarketData, Trade
from crossfeed.model.trust import Mark
from crossfeed.venues.binance.rest_wire import REST_ROUTES
from crossfeed.venues.decoder import Decoder, SymbolNames

__all__ = [
    "RestReader",
    "backfill_request",
    "next_page",
    "poll_request",
    "recent_instead",
    "refusal",
    "snapshot_request",
]

PAGE: Final = 1000
"""Most rows in one answer of trades, historicalTrades and aggTrades."""
OK: Final = 200
NOT_FOUND: Final = 404

DEPTH: Final = "/api/v3/depth"
TRADES: Final = "/api/v3/trades"
HISTORY: Final = "/api/v3/historicalTrades"
AGG_TRADES: Final = "/api/v3/aggTrades"
TICKER: Final = "/api/v3/ticker/24hr"
BOOK_TICKER: Final = "/api/v3/ticker/bookTicker"
KLINES: Final = "/api/v3/klines"


# ── what to ask ───────────────────────────────────────────────────────────────


def snapshot_request(symbol: str, epoch: int, attempt: int) -> RestRequest:
    """Return the request for a book: 1000 levels a side first (weight 50), then 5000 (250)."""
    limit, weight = ("1000", 50) if attempt == 0 else ("5000", 250)
    return RestRequest(
        purpose="snapshot",
        path=DEPTH,
        query=(("symbol", symbol), ("limit", limit)),
        weight=weight,
        symbol=symbol,
        channel="book",
        epoch=epoch,
    )


def backfill_request(wanted: Backfill) -> RestRequest | None:
    """Return the first page of missing trades or aggregates, None for other streams."""
    channel = wanted.stream.channel
    if channel not in {"trade", "agg_trade"} or wanted.last < wanted.first:
        return None
    path, weight = (HISTORY, 25) if channel == "trade" else (AGG_TRADES, 4)
    return RestRequest(
        purpose="backfill",
        path=path,
        query=_page(wanted.stream.symbol, wanted.first, wanted.last),
        weight=weight,
        symbol=wanted.stream.symbol,
        channel=channel,
        first=wanted.first,
        last=wanted.last,
    )


def _page(symbol: str, first: int, last: int) -> tuple[tuple[str, str], ...]:
    """Return the query of the page `first` (inclusive) to `last`, or as far as a page goes."""
    limit = min(PAGE, last - first + 1)
    return (("symbol", symbol), ("fromId", str(first)), ("limit", str(limit)))


def poll_request(want: Want) -> RestRequest | None:
    """Return the request that stands in for a stream while it is out, None for books."""
    channel, _, interval = want.channel.partition("_")
    symbol = ("symbol", want.symbol)
    calls: dict[str, tuple[str, int, tuple[tuple[str, str], ...]]] = {
        "trade": (TRADES, 25, (symbol, ("limit", str(PAGE)))),
        "aggTrade": (AGG_TRADES, 4, (symbol, ("limit", str(PAGE)))),
        "ticker": (TICKER, 2, (symbol,)),
        "miniTicker": (TICKER, 2, (symbol,)),
        "bookTicker": (BOOK_TICKER, 2, (symbol,)),
        "kline": (KLINES, 2, (symbol, ("interval", interval), ("limit", "2"))),
    }
    if channel not in calls:
        return None
    path, weight, query = calls[channel]
    return RestRequest(
        purpose="poll",
        path=path,
        query=query,
        weight=weight,
        symbol=want.symbol,
        channel=want.channel,
    )


# ── what the answers become ───────────────────────────────────────────────────


class RestReader:
    """Turns answers into events. Made by the codec, one for a connection."""

    def __init__(self, exchange: str, *, keep_raw: bool) -> None:
        """Compile the declarations."""
        self._exchange = exchange
        self._symbols: SymbolNames = {}
        self._decoder = Decoder(exchange, REST_ROUTES, self._symbols, keep_raw=keep_raw)

    def read(
        self,
        request: RestRequest,
        body: bytes,
        names: tuple[str, str],
        ts_recv_ns: int,
        ts_mono_ns: int,
    ) -> list[MarketData]:
        """Return the events of an answer, oldest first, marked as fetched.

        Args:
            request: What was asked.
            body: The answer (status 200).
            names: (symbol, unified symbol) of the answer; most answers do not repeat it.
            ts_recv_ns: Wall time of receipt.
            ts_mono_ns: Monotonic time of receipt.

        Raises:
            DecodeError: The body is not what the venue documents.
        """
        self._symbols.clear()
        self._symbols |= {"": names, request.symbol: names}
        sort = _sort(request)
        entries = self._entries(body) if sort in {"trade", "aggTrade", "kline"} else [body]
        found = [
            event
            for entry in entries
            for event in self._decoder.decode_as(sort, entry, ts_recv_ns, ts_mono_ns)
        ]
        if request.purpose == "backfill":
            wanted = range(request.first, request.last + 1)
            return [
                msgspec.structs.replace(event, marks=event.marks | Mark.BACKFILLED)
                for event in found
                if isinstance(event, Trade | AggTrade) and event.trade_id in wanted
            ]
        interval = request.channel.partition("_")[2]
        changes: dict[str, Any] = {"interval": interval} if sort == "kline" else {}
        events = [
            msgspec.structs.replace(event, marks=event.marks | Mark.REST, **changes)
            for event in found
        ]
        if sort == "kline" and events:
            # Without times the venue gives the newest bars: only the last one is still being made.
            events[-1] = msgspec.structs.replace(events[-1], is_closed=False)
        return events

    def _entries(self, body: bytes) -> list[bytes]:
        """Cut a list into the texts of its entries."""
        try:
            return [bytes(entry) for entry in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except msgspec.ValidationError as exc:
            raise SchemaChangedError(self._exchange, "no_list", str(exc), body) from exc
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise MalformedFrameError(self._exchange, "syntax", str(exc), body) from exc
        except RecursionError as exc:
            raise MalformedFrameError(
                self._exchange, "too_deep", "nested too deeply", body
            ) from exc


def next_page(request: RestRequest, events: Sequence[MarketData]) -> RestRequest | None:
    """Return the request that follows, given the events of this page; None when done.

    A page without progress ends the walk: historicalTrades comes from a database that may lag by
    seconds, so the caller asks again later.
    """
    ids = [event.trade_id for event in events if isinstance(event, Trade | AggTrade)]
    if request.purpose != "backfill" or request.path == TRADES or not ids:
        return None
    reached = max(ids)
    if reached >= request.last:
        return None
    query = _page(request.symbol, reached + 1, request.last)
    return msgspec.structs.replace(request, query=query, first=reached + 1)


def recent_instead(request: RestRequest) -> RestRequest:
    """Return the request for the newest trades in place of a walk through old ones."""
    query = (("symbol", request.symbol), ("limit", str(PAGE)))
    return msgspec.structs.replace(request, path=TRADES, query=query)


def _sort(request: RestRequest) -> str:
    """Return the route of an answer: by path, but for the mini ticker that shares the ticker's."""
    by_path = {
        DEPTH: "depth",
        TRADES: "trade",
        HISTORY: "trade",
        AGG_TRADES: "aggTrade",
        BOOK_TICKER: "bookTicker",
        KLINES: "kline",
        TICKER: "miniTicker" if request.channel == "miniTicker" else "ticker",
    }
    return by_path[request.path]


# ── what the refusals mean ────────────────────────────────────────────────────


class _Body(Struct):
    code: int
    msg: str


_BANNED_UNTIL: Final = re.compile(r"banned until (\d{13})\b", re.ASCII)
_LIMIT_CODES: Final = frozenset({-1003, -1034})
# Unknown error, disconnected, timeout, busy, shutting down: nothing is wrong with the request.
_PASSING_CODES: Final = frozenset({-1000, -1001, -1007, -1008, -1016})
_AUTH_CODES: Final = frozenset({-1002, -1021, -1022, -2014, -2015})
_LIMIT_WAIT_S: Final = 60.0
"""Weights are counted by the minute."""
_BAN_WAIT_S: Final = 120.0
"""The shortest ban."""
_HINTS: Final = {
    -1100: "the symbol holds characters that Binance does not take",
    -1120: "the interval is not one of Binance's",
    -1121: "check the symbol against the venue's list",
    403: "the web application firewall refused the request; slow down, then try again",
    451: "this region is blocked; try the endpoint 'market-data' or 'us'",
}


def refusal(status: int, body: bytes, ts_recv_ns: int) -> VenueError | DecodeError:
    """Make the error for an answer that is not 200.

    Args:
        status: HTTP status: 429 limit broken, 418 banned, 403 firewall, 451 region, 5xx unknown.
        body: `{"code":-1121,"msg":"Invalid symbol."}`, or anything (451: unknown, opaque).
        ts_recv_ns: Wall time, to turn the end of a ban into a wait.
    """
    venue = "binance"
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = _Body(0, body[:120].decode("ascii", "backslashreplace"))
    code = str(said.code or status)
    if status in {418, 429} or said.code in _LIMIT_CODES:
        banned = _BANNED_UNTIL.search(said.msg)
        wait_s = _BAN_WAIT_S if status == 418 else _LIMIT_WAIT_S  # noqa: PLR2004 - HTTP status
        if banned is not None and ts_recv_ns:
            wait_s = max(1.0, int(banned[1]) / 1e3 - ts_recv_ns / 1e9)
        return RateLimitedError(venue, said.msg, retry_after_s=wait_s, code=code)
    if status >= 500 or said.code in _PASSING_CODES:  # noqa: PLR2004 - HTTP status
        return VenueMaintenanceError(venue, said.msg, code=code, hint="try again later")
    if status == 401 or said.code in _AUTH_CODES:  # noqa: PLR2004 - HTTP status
        return AuthRejectedError(venue, said.msg, code=code)
    hint = _HINTS.get(said.code) or _HINTS.get(status, "")
    return VenueError(venue, said.msg, code=code, hint=hint)
