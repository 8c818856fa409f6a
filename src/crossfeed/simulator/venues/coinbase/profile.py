"""Coinbase Exchange: limits and numbers as data.

Sources: docs.cdp.coinbase.com/exchange, pages websocket-feed/overview, channels, rate-limits,
authentication (stored copies of 2026), and public observation notes; checked 2026-11-22.
"""

from __future__ import annotations

from crossfeed.simulator.framing import CloseCode
from crossfeed.simulator.instruments import Grid
from crossfeed.simulator.session import SessionRules
from crossfeed.simulator.world import Listing

__all__ = [
    "AUTH_CHANNELS",
    "CHANNELS",
    "CONNECTS",
    "ECHO",
    "LISTING",
    "REST_LIMIT",
    "RULES",
    "TEST_KEY",
    "TEST_PASSPHRASE",
    "TEST_SECRET",
    "list_pair",
]

#: A subscribe within 5 s; at most 100 messages a second and address.
RULES = SessionRules(
    message_count=100,
    message_span_s=1.0,
    are_messages_shared=True,
    subscribe_within_s=5.0,
    slow_close_code=CloseCode.POLICY,
    slow_reason="ErrSlowConsume",
    rate_reason="ErrSlowRead",
)
#: Connects per address: (a second, burst). REST requests per address: (a second, burst).
CONNECTS = (8.0, 20)
REST_LIMIT = (10.0, 15)

CHANNELS = (
    "heartbeat",
    "status",
    "ticker",
    "ticker_batch",
    "matches",
    "level2",
    "level2_batch",
    "level3",
    "full",
)
#: Channels that need a signed subscribe since 2023-08-01.
AUTH_CHANNELS = frozenset({"level2", "level3", "full"})
#: Names in the reply where they differ from the request's; both may be subscribed.
ECHO = {"level2_batch": "level2_50", "ticker_batch": "ticker_1000"}

#: The only key the simulator knows. It opens nothing anywhere else.
TEST_KEY = "crossfeed-simulator-key"
TEST_SECRET = "Y3Jvc3NmZWVkLXNpbXVsYXRvci1zZWNyZXQ="  # noqa: S105 - a published test value
TEST_PASSPHRASE = "simulator"  # noqa: S105 - a published test value

_KNOWN = {"XRP": Grid(4, 6), "DOGE": Grid(5, 1), "ADA": Grid(4, 8), "USDT": Grid(5, 2)}
_GRIDS = ((10.0, Grid(2, 8)), (1.0, Grid(3, 8)), (0.01, Grid(4, 2)), (0.0, Grid(6, 1)))


def list_pair(base: str, quote: str, level: float) -> tuple[str, str, Grid]:
    """List BTC/USD as BTC-USD."""
    grid = _KNOWN.get(base) or next(grid for floor, grid in _GRIDS if level >= floor)
    return f"{base}-{quote}", quote, grid


LISTING = Listing(
    venue="coinbase",
    list_pair=list_pair,
    counters=(800_000_000, 20_000_000_000, 100_000_000_000),
)
