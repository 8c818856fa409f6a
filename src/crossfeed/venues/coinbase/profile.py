"""Facts of Coinbase Exchange, each with where it stands. Read and checked 2026-11-22."""

from __future__ import annotations

from typing import Final

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.trust import Integrity
from crossfeed.venues.base import Channel, CodecOptions, Endpoint, Limits, Profile

__all__ = ["PROFILE", "want"]

_SITE: Final = "docs.cdp.coinbase.com/exchange"
_CHECKED: Final = "checked 2026-11-22"

ENDPOINTS: Final = (
    Endpoint(
        name="production",
        ws_url="wss://ws-feed.exchange.coinbase.com",
        rest_url="https://api.exchange.coinbase.com",
        source=f"{_SITE}/websocket-feed/overview, {_CHECKED}; no key needed",
    ),
    Endpoint(
        name="direct",
        ws_url="wss://ws-direct.exchange.coinbase.com",
        rest_url="https://api.exchange.coinbase.com",
        source=f"{_SITE}/websocket-feed/overview, {_CHECKED}; every subscription needs a key",
    ),
    Endpoint(
        name="eu",
        ws_url="wss://ws-us.dma.prime.coinbase.com",
        rest_url="https://api-us.dma.prime.coinbase.com",
        source=f"{_SITE}/changes/changelog (2025-12-11, clients under MiCA), {_CHECKED}",
    ),
    Endpoint(
        name="eu-direct",
        ws_url="wss://ws-us-direct.dma.prime.coinbase.com",
        rest_url="https://api-us.dma.prime.coinbase.com",
        source=f"{_SITE}/changes/changelog (2025-12-11, clients under MiCA), {_CHECKED}",
    ),
    Endpoint(
        name="sandbox",
        ws_url="wss://ws-feed-public.sandbox.exchange.coinbase.com",
        rest_url="https://api-public.sandbox.exchange.coinbase.com",
        source=f"{_SITE}/introduction/sandbox (few of the books), {_CHECKED}",
    ),
)

LIMITS: Final = Limits(
    # A whole BTC-USD book is 1.1 MB in one frame, `status` 0.7 MB (third-party notes, 2026-08 and
    # 2026-09): far above the 1 MiB default of common clients, so eight times that.
    frame_bytes_max=8 << 20,
    # No number is documented. Ours: a hundred streams share one connection and its fate.
    streams_per_connection=100,
    # No number is documented. Ours: one unknown product spoils its whole request, so keep it small.
    params_per_message=100,
    # "100 messages a second per IP" (websocket-feed/rate-limits).
    sends_max=100,
    send_window_s=1.0,
    is_send_shared=True,
    # "8 requests a second per IP, bursts of 20" (websocket-feed/rate-limits); no burst here.
    connects_max=8,
    connect_window_s=1.0,
    # "10 requests a second per IP, bursts of 15" for public endpoints (rest-api/rate-limits).
    rest_weight_max=10,
    rest_window_s=1.0,
    # "a subscribe message must arrive within 5 seconds" (websocket-feed/overview).
    subscribe_deadline_s=5.0,
    # No lifetime and no server ping are documented; the sign of life is the `heartbeat` channel.
    lifetime_s=0.0,
    silence_max_s=30.0,
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
    # The same message, every 5 s if it changed.
    Channel(
        name="ticker_batch",
        kind="ticker",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=60.0,
        is_event_like=True,
    ),
    # trade_id is contiguous per product: 1000 trades of a REST page are 1000 consecutive ids
    # (third-party notes, 2026-09). `sequence` is not: it counts the messages of `full`.
    Channel(
        name="matches",
        kind="trade",
        integrity=Integrity.SEQUENCED,
        is_event_like=True,
        chain="id",
        can_backfill=True,
    ),
    # "guaranteed delivery" by the documents, but no sequence and no checksum that could prove it.
    Channel(
        name="level2_batch",
        kind="book",
        integrity=Integrity.NONE,
        age_limit_s=30.0,
        chain="book",
    ),
    Channel(
        name="level2",
        kind="book",
        integrity=Integrity.NONE,
        age_limit_s=30.0,
        chain="book",
        needs_key=True,
    ),
    # Every second for each product.
    Channel(
        name="heartbeat",
        kind="heartbeat",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=5.0,
    ),
    # "at a preset interval" that nobody names: no age limit.
    Channel(
        name="status",
        kind="status",
        integrity=Integrity.SELF_CONTAINED,
        has_symbol=False,
    ),
    # `sequence` is +1 for each message of this channel (websocket-feed/overview). A key is needed
    # since 2023-08-01 (changelog).
    Channel(
        name="full",
        kind="full",
        integrity=Integrity.SEQUENCED,
        is_event_like=True,
        chain="sequence",
        needs_key=True,
    ),
)

PROFILE: Final = Profile(
    name="coinbase",
    exchange="coinbase",
    endpoints=ENDPOINTS,
    limits=LIMITS,
    channels=CHANNELS,
    quotes_from="book",
    # Words and flags of a product (`status`, websocket-feed/channels; get all products).
    closed_products=("offline", "internal", "delisted", "cancel_only", "trading_disabled"),
    # Flags of a product. "The book may look crossed in auctions" (websocket-feed/channels,
    # auction feed); while post_only nothing is matched (`status`, the same page).
    auction_states=("auction_mode", "post_only"),
    # No close code is documented. 1008 is about this connection (too many messages, a late pong, a
    # slow reader), as other clients' notes have it: what is refused for good is refused in a reply.
    passing_close_codes=frozenset({1008}),
    quote_order=("USDC", "USDT"),
    documents=(
        f"https://{_SITE}/websocket-feed/overview ({_CHECKED})",
        f"https://{_SITE}/websocket-feed/channels ({_CHECKED})",
        f"https://{_SITE}/websocket-feed/authentication ({_CHECKED})",
        f"https://{_SITE}/websocket-feed/rate-limits ({_CHECKED})",
        f"https://{_SITE}/websocket-feed/errors ({_CHECKED})",
        f"https://{_SITE}/changes/changelog ({_CHECKED})",
        f"https://{_SITE}/rest-api/pagination ({_CHECKED})",
    ),
)

# One of our kinds, or the venue's own word -> the channel to subscribe.
_WORDS: Final = {
    "trade": "matches",
    "matches": "matches",
    "ticker": "ticker",
    "ticker_batch": "ticker_batch",
    "book": "level2_batch",
    "book_ticker": "level2_batch",
    "level2": "level2_batch",
    "level2_batch": "level2_batch",
    "heartbeat": "heartbeat",
    "status": "status",
    "full": "full",
}
_UNBATCHED: Final = frozenset({"book", "book_ticker", "level2"})


def want(kind: str, symbol: str, options: CodecOptions) -> Want:
    """Return the want that yields one of our kinds, or the venue's channel of that name.

    Books come from `level2` with a key and from `level2_batch` (the same every 50 ms) without; the
    codec says so when it is acknowledged. A quote is the top of the book.

    Raises:
        UnsupportedChannelError: The venue has no such channel, or `full` was asked without a key.
    """
    channel = _WORDS.get(kind)
    if channel is None:
        msg = f"coinbase has no channel for {kind!r}; it has {', '.join(sorted(_WORDS))}"
        raise UnsupportedChannelError(msg)
    if channel == "full" and not options.api_key:
        msg = (
            "coinbase gives the channel 'full' to API keys only: set api_key, api_secret and "
            "api_passphrase, or use 'book' (all price levels) and 'trade', which need none"
        )
        raise UnsupportedChannelError(msg)
    if options.api_key and kind in _UNBATCHED:
        channel = "level2"
    return Want(channel, "" if channel == "status" else symbol)
