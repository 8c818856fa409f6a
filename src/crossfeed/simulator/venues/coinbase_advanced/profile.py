"""Coinbase Advanced Trade: limits as data.

Sources: docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket (overview, channels,
rate-limits), the venue's AsyncAPI document, and captures of 2026-08-09; checked 2026-11-22.
"""

from __future__ import annotations

from crossfeed.simulator.session import SessionRules

__all__ = ["CHANNELS", "CONNECTS", "IDLE_S", "REST_LIMIT", "RULES"]

#: A subscribe within 5 s; unauthenticated clients 8 messages a second and address.
RULES = SessionRules(
    message_count=8,
    message_span_s=1.0,
    are_messages_shared=True,
    subscribe_within_s=5.0,
    slow_reason="slow consumer",
    rate_reason="rate limit exceeded",
)
#: A connection without any update ends after 60 to 90 s.
IDLE_S = 75.0
#: Connects per address: (a second, burst). REST requests per address: (a second, burst).
CONNECTS = (8.0, 20)
REST_LIMIT = (10.0, 15)

CHANNELS = (
    "heartbeats",
    "status",
    "ticker",
    "ticker_batch",
    "market_trades",
    "level2",
    "candles",
)
