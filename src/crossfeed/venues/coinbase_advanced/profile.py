"""Facts of Coinbase Advanced Trade, each with where it stands. Read and checked 2026-11-22."""

from __future__ import annotations

from typing import Final

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.trust import Integrity
from crossfeed.venues.base import Channel, CodecOptions, Endpoint, Limits, Profile

__all__ = ["EXCHANGE_BASE", "PROFILE", "want"]

_SITE: Final = "docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis"
_ASYNCAPI: Final = (
    "docs.cdp.coinbase.com/api-reference/advanced-trade-api/advanced-trade-asyncapi.json"
)
_SDK: Final = "github.com/coinbase/coinbase-advanced-py"
_CHECKED: Final = "checked 2026-11-22"

EXCHANGE_BASE: Final = "exchange"
"""Name of the REST base of Coinbase Exchange: same books and trade ids, and pages by id."""

ENDPOINTS: Final = (
    Endpoint(
        name="production",
        ws_url="wss://advanced-trade-ws.coinbase.com",
        rest_url="https://api.coinbase.com/api/v3/brokerage",
        source=f"{_SITE}/websocket/websocket-endpoints, {_CHECKED}; no key needed",
        rest_bases={EXCHANGE_BASE: "https://api.exchange.coinbase.com"},
    ),
)

LIMITS: Final = Limits(
    # The BTC-USD snapshot is 4.6 to 5.1 MB in one frame (third-party notes, August and September
    # 2026), the official SDK allows 10 MiB: well above both.
    frame_bytes_max=16 << 20,
    # No number is documented. Ours: one lost frame spoils every book of its connection.
    streams_per_connection=30,
    # No number is documented. Ours.
    params_per_message=50,
    # "8 messages a second per IP" without a key (websocket-rate-limits).
    sends_max=8,
    send_window_s=1.0,
    is_send_shared=True,
    # "8 connections a second per IP" (websocket-rate-limits). Ours is lower: each of them sends up
    # to five messages of the 8 a second, the first of them within 5 s.
    connects_max=1,
    connect_window_s=1.0,
    # About 10 a second per IP for the public part (third-party notes only).
    rest_weight_max=10,
    rest_window_s=1.0,
    # "a subscribe message must arrive within 5 seconds" (websocket-overview).
    subscribe_deadline_s=5.0,
    # Neither a lifetime nor a server ping is documented. `heartbeats` come every second on every
    # connection of ours, and idle channels are closed after 60 to 90 s without them.
    lifetime_s=0.0,
    silence_max_s=10.0,
    ping_interval_s=5.0,
)

CHANNELS: Final = (
    # Each value replaces the last one. One per trade, so a quiet product is silent.
    Channel(
        name="ticker",
        kind="ticker",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=60.0,
        is_event_like=True,
    ),
    # The same every 5 s, without best prices.
    Channel(
        name="ticker_batch",
        kind="ticker",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=60.0,
        is_event_like=True,
    ),
    # Ids are contiguous per product. An intact frame counter does not prove a complete tape: trades
    # were missing with an intact one (third-party notes, October 2026). So the ids are checked too.
    Channel(
        name="market_trades",
        kind="trade",
        integrity=Integrity.SEQUENCED,
        is_event_like=True,
        chain="id",
        can_backfill=True,
    ),
    # One `sequence_num` counts the frames of the whole connection.
    Channel(
        name="level2",
        kind="book",
        integrity=Integrity.CONNECTION_SEQUENCED,
        age_limit_s=30.0,
        chain="book",
    ),
    # "5-minute buckets, updates each second" - while there are trades.
    Channel(
        name="candles",
        kind="kline",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=600.0,
        is_event_like=True,
        parameters=("5m",),
    ),
    # Every second, for the connection rather than for a product.
    Channel(
        name="heartbeats",
        kind="heartbeat",
        integrity=Integrity.CONNECTION_SEQUENCED,
        age_limit_s=5.0,
        has_symbol=False,
    ),
    # The interval is documented nowhere: no age limit.
    Channel(
        name="status",
        kind="status",
        integrity=Integrity.SELF_CONTAINED,
        has_symbol=False,
    ),
)

PROFILE: Final = Profile(
    name="coinbase_advanced",
    exchange="coinbase",
    endpoints=ENDPOINTS,
    limits=LIMITS,
    channels=CHANNELS,
    quotes_from="book",
    # Words of a product (`status`, websocket-channels).
    closed_products=("offline", "internal", "delisted"),
    # No close code is documented. 1008 is about this connection (too many messages, a late pong, a
    # slow reader), as other clients' notes have it: what is refused for good is refused in a reply.
    passing_close_codes=frozenset({1008}),
    quote_order=("USDC", "USDT"),
    documents=(
        f"https://{_SITE}/websocket/websocket-overview ({_CHECKED})",
        f"https://{_SITE}/websocket/websocket-channels ({_CHECKED})",
        f"https://{_SITE}/websocket/websocket-endpoints ({_CHECKED})",
        f"https://{_SITE}/websocket/websocket-rate-limits ({_CHECKED})",
        f"https://{_ASYNCAPI} ({_CHECKED})",
        f"https://{_SDK} at 54fb8ed, version 1.8.4: frame size, tokens ({_CHECKED})",
    ),
)

# One of our kinds, or the venue's own word -> the channel to subscribe.
_WORDS: Final = {
    "trade": "market_trades",
    "market_trades": "market_trades",
    "ticker": "ticker",
    "ticker_batch": "ticker_batch",
    "book": "level2",
    "book_ticker": "level2",
    "level2": "level2",
    "kline_5m": "candles",
    "candles": "candles",
    "heartbeat": "heartbeats",
    "heartbeats": "heartbeats",
    "status": "status",
}
_WITHOUT_SYMBOL: Final = frozenset(channel.name for channel in CHANNELS if not channel.has_symbol)


def want(kind: str, symbol: str, options: CodecOptions) -> Want:
    """Return the want that yields one of our kinds, or the venue's channel of that name.

    A quote is the top of the book. Heartbeats and status concern the whole venue: their want has no
    symbol.

    Raises:
        UnsupportedChannelError: The venue has no such channel, or no candles of that length.
    """
    del options
    channel = _WORDS.get(kind)
    if channel is None:
        only = " (its candles are of 5 minutes only)" if kind.startswith("kline") else ""
        elsewhere = " ('full' is on venue coinbase)" if kind == "full" else ""
        msg = (
            f"coinbase_advanced has no channel for {kind!r}{only}{elsewhere}; "
            f"it has {', '.join(sorted(_WORDS))}"
        )
        raise UnsupportedChannelError(msg)
    return Want(channel, "" if channel in _WITHOUT_SYMBOL else symbol)
