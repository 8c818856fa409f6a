"""Binance spot: limits and numbers as data.

Sources: binance-spot-api-docs (web-socket-streams.md, rest-api.md, enums.md, errors.md), state of
2026-07-21, checked 2026-11-22.
"""

from __future__ import annotations

from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.instruments import Grid
from crossfeed.simulator.session import SessionRules
from crossfeed.simulator.world import Listing

__all__ = [
    "CONNECTS",
    "INTERVALS",
    "LISTING",
    "RULES",
    "STREAMS_MAX",
    "WEIGHT_LIMIT",
    "list_pair",
]

#: One connection: 5 incoming messages a second (pings and pongs count), ping every 20 s with the
#: pong due within 60 s, 24 hours of life.
RULES = SessionRules(
    message_count=5,
    message_span_s=1.0,
    ping_every_s=20.0,
    pong_within_s=60.0,
    lifetime_s=86_400.0,
    slow_close_code=CloseCode.POLICY,
    slow_reason="",
)
#: Streams per connection.
STREAMS_MAX = 1_024
#: Connection attempts per address: (count, seconds).
CONNECTS = (300, 300.0)
#: REST weight per minute and address.
WEIGHT_LIMIT = 6_000

#: Kline intervals with their length in seconds; a month ("1M") is a calendar month.
INTERVALS: dict[str, int] = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": 86_400,
    "3d": 259_200,
    "1w": 604_800,
    "1M": 0,
}

_LOTS = {"BTC": 5, "ETH": 4, "SOL": 3, "BNB": 3, "XRP": 1, "DOGE": 0, "ADA": 1, "LTC": 3}
#: (price from, decimals of price, decimals of size)
_GRIDS = ((10_000.0, 2, 5), (1_000.0, 2, 4), (10.0, 2, 3), (1.0, 4, 2), (0.1, 5, 0), (0.0, 7, 0))


def list_pair(base: str, quote: str, level: float) -> tuple[str, str, Grid]:
    """List BTC/USD as BTCUSDT: Binance has no US dollar, Tether stands in."""
    venue_quote = "USDT" if quote == "USD" else quote
    price, lots = next((p, q) for floor, p, q in _GRIDS if level >= floor)
    return f"{base}{venue_quote}", venue_quote, Grid(price, _LOTS.get(base, lots))


LISTING = Listing(
    venue="binance",
    list_pair=list_pair,
    counters=(3_700_000_000, 50_000_000_000, 90_000_000_000),
)
