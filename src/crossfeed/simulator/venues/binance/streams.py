"""Names of Binance streams: parsed once, at subscription."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Literal
from urllib.parse import unquote

import msgspec

from crossfeed.simulator.venues.binance.profile import INTERVALS

__all__ = ["StreamName", "interval_floor", "interval_next", "parse_stream"]

_NS = 1_000_000_000
_DAY_S = 86_400
#: The epoch was a Thursday; Binance weeks start on Monday.
_WEEK_SHIFT_S = 4 * _DAY_S
Kind = Literal[
    "trade",
    "aggTrade",
    "bookTicker",
    "ticker",
    "miniTicker",
    "rollingTicker",
    "kline",
    "depth",
    "partialDepth",
    "avgPrice",
    "miniTickers",
    "rollingTickers",
    "silent",
]


class StreamName(msgspec.Struct, frozen=True):
    """A stream name taken apart.

    A well-formed name of something that does not exist is `silent`: Binance acknowledges it and
    never sends anything.
    """

    name: str
    kind: Kind
    #: Upper case, empty for all-market streams.
    symbol: str = ""
    #: The name after the "@".
    channel: str = ""
    period_ms: int = 0
    levels: int = 0
    interval: str = ""
    offset_s: int = 0
    window: str = ""


def parse_stream(raw: str) -> StreamName:
    """Parse a stream name, percent-encoded or not."""
    name = unquote(raw)
    head, _, channel = name.partition("@")
    if head.startswith("!"):
        return _parse_all_market(name)
    symbol = head.upper() if head == head.lower() else ""

    def named(kind: Kind, **more: object) -> StreamName:
        return StreamName(name, kind, symbol, channel, **more)  # type: ignore[arg-type]

    simple: dict[str, tuple[Kind, int]] = {
        "trade": ("trade", 0),
        "aggTrade": ("aggTrade", 0),
        "bookTicker": ("bookTicker", 0),
        "ticker": ("ticker", 1_000),
        "miniTicker": ("miniTicker", 1_000),
        "avgPrice": ("avgPrice", 1_000),
        "depth": ("depth", 1_000),
        "depth@100ms": ("depth", 100),
    }
    if not symbol:
        return StreamName(name, "silent")
    if channel in simple:
        kind, period_ms = simple[channel]
        return named(kind, period_ms=period_ms)
    if channel in {"ticker_1h", "ticker_4h", "ticker_1d"}:
        return named("rollingTicker", period_ms=1_000, window=channel.removeprefix("ticker_"))
    if channel.startswith("kline_"):
        interval, _, zone = channel.removeprefix("kline_").partition("@")
        if interval in INTERVALS and zone in {"", "+08:00"}:
            return named(
                "kline",
                period_ms=1_000 if interval == "1s" else 2_000,
                interval=interval,
                offset_s=8 * 3_600 if zone else 0,
            )
    body, _, speed = channel.removeprefix("depth").partition("@")
    if channel.startswith("depth") and body in {"5", "10", "20"} and speed in {"", "100ms"}:
        return named("partialDepth", levels=int(body), period_ms=100 if speed else 1_000)
    return StreamName(name, "silent")


def _parse_all_market(name: str) -> StreamName:
    """Parse a name that begins with "!"."""
    if name == "!miniTicker@arr":
        return StreamName(name, "miniTickers", channel=name, period_ms=1_000)
    for window in ("1h", "4h", "1d"):
        if name == f"!ticker_{window}@arr":
            return StreamName(name, "rollingTickers", channel=name, period_ms=1_000, window=window)
    return StreamName(name, "silent")


def interval_floor(interval: str, now_ns: int, offset_s: int = 0) -> int:
    """Return the start of the bar that `now_ns` lies in, ns.

    Args:
        interval: One of the venue's intervals.
        now_ns: Time, ns since 1970 UTC.
        offset_s: Shift of the bar borders, 8 hours for the "+08:00" variants.
    """
    seconds = now_ns // _NS + offset_s
    if interval == "1M":
        day = dt.datetime.fromtimestamp(seconds, dt.UTC)
        start = calendar.timegm((day.year, day.month, 1, 0, 0, 0))
    elif interval == "1w":
        start = (seconds - _WEEK_SHIFT_S) // INTERVALS["1w"] * INTERVALS["1w"] + _WEEK_SHIFT_S
    else:
        length = INTERVALS[interval]
        start = seconds // length * length
    return (start - offset_s) * _NS


def interval_next(interval: str, start_ns: int, offset_s: int = 0) -> int:
    """Return the end (exclusive) of the bar that starts at `start_ns`, ns."""
    if interval != "1M":
        return start_ns + INTERVALS[interval] * _NS
    return interval_floor("1M", start_ns + 32 * _DAY_S * _NS, offset_s)
