"""Binance spot as data: endpoints, limits, channels. Facts checked 2026-11-22.

The documents read are those of binance/binance-spot-api-docs at commit a5e0bc3 (2026-07-21); each
number names the file it stands in. What no document says is listed in NOTES.md as unknown.
"""

from __future__ import annotations

from typing import Final, get_args

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.trust import Integrity
from crossfeed.venues.base import Channel, CodecOptions, Endpoint, Limits, Profile
from crossfeed.venues.binance.wire import Interval

__all__ = ["INTERVALS", "PROFILE", "channel_of", "want"]

_DOCS: Final = "https://github.com/binance/binance-spot-api-docs/blob/a5e0bc3"
_STREAMS: Final = f"{_DOCS}/web-socket-streams.md (checked 2026-11-22)"
_US_DOCS: Final = (
    "https://github.com/binance-us/binance-us-api-docs/blob/master/web-socket-streams.md "
    "(of 2022-09-30, checked 2026-11-22)"
)

INTERVALS: Final[tuple[str, ...]] = get_args(Interval)
"""All kline intervals, "1s" to "1M" (a month)."""

_ENDPOINTS: Final = (
    Endpoint(
        name="production",
        ws_url="wss://stream.binance.com:9443",
        rest_url="https://api.binance.com",
        source=_STREAMS,
    ),
    Endpoint(
        name="production-443",
        ws_url="wss://stream.binance.com:443",
        rest_url="https://api.binance.com",
        source=_STREAMS,
    ),
    Endpoint(
        name="market-data",
        ws_url="wss://data-stream.binance.vision",
        rest_url="https://data-api.binance.vision",
        source=f"{_DOCS}/faqs/market_data_only.md (checked 2026-11-22)",
    ),
    Endpoint(
        name="us",
        ws_url="wss://stream.binance.us:9443",
        rest_url="https://api.binance.us",
        source=_US_DOCS,
    ),
    Endpoint(
        name="testnet",
        ws_url="wss://stream.testnet.binance.vision",
        rest_url="https://testnet.binance.vision",
        source=f"{_DOCS}/testnet/general-info.md (checked 2026-11-22)",
    ),
    Endpoint(
        name="demo",
        ws_url="wss://demo-stream.binance.com",
        rest_url="https://demo-api.binance.com",
        source=f"{_DOCS}/demo-mode/general-info.md (checked 2026-11-22)",
    ),
)

_LIMITS: Final = Limits(
    # Our own: the largest message we know of is a diff of a few hundred levels, some 30 KiB.
    frame_bytes_max=1 << 20,
    # web-socket-streams.md: "A single connection can listen to a maximum of 1024 streams."
    streams_per_connection=1024,
    # No limit is documented; ours keeps one SUBSCRIBE below about 5 KiB.
    params_per_message=200,
    # web-socket-streams.md: 5 incoming messages a second, counting pings, pongs and control
    # messages. One of them is kept for the pong that answers the server's ping.
    sends_max=4,
    send_window_s=1.0,
    # A burst after a pause could still meet the messages before it: evenly, as its clients do.
    send_spacing_s=0.3,
    # web-socket-streams.md: 300 connections per attempt every 5 minutes per IP.
    connects_max=300,
    connect_window_s=300.0,
    # rest-api.md and exchangeInfo: REQUEST_WEIGHT 6000 a minute per IP.
    rest_weight_max=6000,
    rest_window_s=60.0,
    # web-socket-streams.md: "A single connection is only valid for 24 hours".
    lifetime_s=86_400.0,
    # web-socket-streams.md: the server pings every 20 s (since 2025-02); it answers our pings, too.
    # Ours, 12 a minute of the 5 messages a second, find a half-open peer within 10 s.
    silence_max_s=30.0,
    ack_deadline_s=10.0,
    ping_interval_s=5.0,
)

_CHANNELS: Final = (
    # Trade ids are +1 within a symbol; no message while nobody trades.
    Channel(
        name="trade",
        kind="trade",
        integrity=Integrity.SEQUENCED,
        age_limit_s=60.0,
        is_event_like=True,
        chain="id",
        can_backfill=True,
    ),
    # Aggregates have an id space of their own, +1 as well.
    Channel(
        name="aggTrade",
        kind="agg_trade",
        integrity=Integrity.SEQUENCED,
        age_limit_s=60.0,
        is_event_like=True,
        chain="id",
        can_backfill=True,
    ),
    # Pushed every 1000 ms.
    Channel(name="ticker", kind="ticker", integrity=Integrity.SELF_CONTAINED, age_limit_s=10.0),
    Channel(
        name="miniTicker", kind="mini_ticker", integrity=Integrity.SELF_CONTAINED, age_limit_s=10.0
    ),
    # Pushed every 1000 ms (1s) or 2000 ms (all others) while there are trades.
    Channel(
        name="kline",
        kind="kline",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=60.0,
        is_event_like=True,
        parameters=INTERVALS,
    ),
    # Real time, only when the best bid or offer changes.
    Channel(
        name="bookTicker",
        kind="book_ticker",
        integrity=Integrity.SELF_CONTAINED,
        age_limit_s=60.0,
        is_event_like=True,
    ),
    # Every 100 ms when something changed; one stream serves the raw diffs and the maintained book.
    Channel(
        name="depth",
        kind="depth",
        integrity=Integrity.SEQUENCED,
        age_limit_s=60.0,
        is_event_like=True,
        chain="book",
        parameters=("100ms",),
    ),
    Channel(
        name="depth",
        kind="book",
        integrity=Integrity.SEQUENCED,
        age_limit_s=60.0,
        is_event_like=True,
        chain="book",
        parameters=("100ms",),
    ),
)

PROFILE: Final = Profile(
    name="binance",
    exchange="binance",
    endpoints=_ENDPOINTS,
    limits=_LIMITS,
    channels=_CHANNELS,
    quotes_from="book_ticker",
    # binance.com lists no USD pairs; the founding document maps BTC/USD to BTCUSDT.
    # No close code is documented. 1008 is about this connection (too many messages, a late pong, a
    # slow reader), as other clients' notes have it: what is refused for good is refused in a reply.
    passing_close_codes=frozenset({1008}),
    quote_order=("USDT", "USDC", "FDUSD"),
    documents=(
        _STREAMS,
        f"{_DOCS}/rest-api.md (checked 2026-11-22)",
        f"{_DOCS}/errors.md (checked 2026-11-22)",
        f"{_DOCS}/enums.md (checked 2026-11-22)",
        f"{_DOCS}/filters.md (checked 2026-11-22)",
        f"{_DOCS}/CHANGELOG.md (checked 2026-11-22)",
        f"{_DOCS}/faqs/market_data_only.md (checked 2026-11-22)",
        _US_DOCS,
    ),
)

_KINDS: Final = {channel.kind: channel.name for channel in _CHANNELS} | {
    "depth": "depth@100ms",
    "book": "depth@100ms",
}
_KINDS_TEXT: Final = ", ".join(
    f"kline_<{' '.join(INTERVALS)}>" if kind == "kline" else kind for kind in _KINDS
)
# Words of `Want.channel` -> channel of the profile. "depth" alone is the stream of every 1000 ms.
_WORDS: Final = (
    {channel.name: channel for channel in _CHANNELS if not channel.parameters}
    | {f"kline_{interval}": channel for channel in _CHANNELS[4:5] for interval in INTERVALS}
    | {"depth": _CHANNELS[6], "depth@100ms": _CHANNELS[6]}
)


def channel_of(word: str) -> Channel:
    """Return the channel that a `Want.channel` names ("trade", "kline_1M", "depth@100ms").

    Raises:
        UnsupportedChannelError: Binance has no such channel, or we do not speak it.
    """
    channel = _WORDS.get(word)
    if channel is None:
        msg = f"binance has no channel {word!r}; it has: {', '.join(_WORDS)}"
        raise UnsupportedChannelError(msg)
    return channel


def want(kind: str, symbol: str, options: CodecOptions) -> Want:  # noqa: ARG001 - the contract's form
    """Return the want that yields one of our kinds.

    Args:
        kind: "trade", "agg_trade", "ticker", "mini_ticker", "kline_<interval>", "depth", "book" or
            "book_ticker". "depth" and "book" are the same stream.
        symbol: Binance's symbol ("BTCUSDT").
        options: Not needed: all channels are open to everybody.

    Raises:
        UnsupportedChannelError: There is no such kind or interval.
    """
    name, _, interval = kind.partition("_") if kind.startswith("kline_") else (kind, "", "")
    if name == "kline" and interval in INTERVALS:
        return Want(f"kline_{interval}", symbol)
    if name == "kline" or name not in _KINDS:
        msg = f"binance has no {kind!r}; it has: {_KINDS_TEXT}"
        raise UnsupportedChannelError(msg)
    return Want(_KINDS[name], symbol)
