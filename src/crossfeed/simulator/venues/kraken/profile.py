"""Kraken spot v2: limits and names as data.

Sources: docs.kraken.com/exchange (guides/websockets, api-reference/spot-websocket-v2 and
spot-rest-api), stored copies of 2026; checked 2026-11-22. Where the venue states no number the
value is this simulator's own and says so.
"""

from __future__ import annotations

from crossfeed.simulator.instruments import Grid
from crossfeed.simulator.session import SessionRules
from crossfeed.simulator.world import Listing

__all__ = [
    "CONNECTS",
    "DEPTHS",
    "INTERVALS",
    "LISTING",
    "MESSAGES",
    "REST_LIMIT",
    "RULES",
    "list_pair",
    "rest_names",
]

#: No deadlines, no pings and no lifetime are documented.
RULES = SessionRules(slow_reason="slow consumer")
#: Client messages: (count, seconds). The venue has a limit without a number; this one is ours.
MESSAGES = (60, 1.0)
#: Connects per address: (count, seconds), as commonly reported.
CONNECTS = (150, 600.0)
#: REST calls per address: (a second, burst). The sustained 1/s is commonly reported.
REST_LIMIT = (1.0, 15)

DEPTHS = (10, 25, 100, 500, 1_000)
#: Candle intervals in minutes.
INTERVALS = (1, 5, 15, 30, 60, 240, 1_440, 10_080, 21_600)

_KNOWN = {"BTC": 1, "ETH": 2, "SOL": 2, "XRP": 5, "DOGE": 7, "LTC": 2, "ADA": 6, "DOT": 4}
_PRICES = ((1_000.0, 2), (10.0, 2), (1.0, 4), (0.1, 5), (0.0, 7))
#: Names that differ on the REST side: unified -> (short, long).
_ASSETS = {
    "BTC": ("XBT", "XXBT"),
    "ETH": ("ETH", "XETH"),
    "XRP": ("XRP", "XXRP"),
    "LTC": ("LTC", "XLTC"),
    "DOGE": ("XDG", "XXDG"),
    "USD": ("USD", "ZUSD"),
    "EUR": ("EUR", "ZEUR"),
    "GBP": ("GBP", "ZGBP"),
}
#: Pairs of these bases with fiat have the long form as key.
_LONG_KEYS = frozenset({"BTC", "ETH", "XRP", "LTC"})
_FIAT = frozenset({"USD", "EUR", "GBP"})


def list_pair(base: str, quote: str, level: float) -> tuple[str, str, Grid]:
    """List BTC/USD as BTC/USD, as WebSocket v2 does."""
    price = next(decimals for floor, decimals in _PRICES if level >= floor)
    return f"{base}/{quote}", quote, Grid(_KNOWN.get(base, price), 8)


def rest_names(base: str, quote: str) -> tuple[str, str, str, str, str]:
    """Return REST's (key, altname, wsname, base, quote) of a pair."""
    short_base, long_base = _ASSETS.get(base, (base, base))
    short_quote, long_quote = _ASSETS.get(quote, (quote, quote))
    is_long = base in _LONG_KEYS and quote in _FIAT
    key = long_base + long_quote if is_long else short_base + short_quote
    return key, short_base + short_quote, f"{short_base}/{short_quote}", long_base, long_quote


LISTING = Listing(
    venue="kraken",
    list_pair=list_pair,
    counters=(60_000_000, 1_000_000_000, 2_000_000_000),
)
