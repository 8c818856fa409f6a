"""Kraken's facts as data, and the words of its channels.

Read in the protocol sheet of Kraken Spot WebSocket v2, which was checked 2026-11-22 against the
documents listed in `DOCUMENTS`; "from memory" stands where the sheet itself found no document.

A want's channel is one of

| want | subscribes | yields |
|---|---|---|
| `trade` | trade | `Trade` |
| `ticker:bbo` | ticker, event_trigger bbo | `Quote` on every change of the best bid or offer |
| `ticker` | ticker, event_trigger trades | `Ticker` after trades |
| `ohlc:<minutes>` | ohlc with that interval | `Candle`, closed when the next bar begins |
| `book:<depth>` | book with that depth | `BookSnapshot`, `BookDelta` |
| `instrument` | instrument (all pairs) | `VenueStatus` with the pairs as products |
| `status` | nothing: Kraken sends it unasked | `VenueStatus` with the state of the system |
| `heartbeat` | nothing: Kraken sends it unasked while idle | `Heartbeat` |

Our kind "status" is `instrument`, for the states of the system come anyway.

Kraken carries one ticker subscription per symbol and connection. Where both `ticker` and
`ticker:bbo` of a symbol are wanted, it is subscribed once with trigger bbo, and every message
yields a `Quote` and a `Ticker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from crossfeed.errors import UnsupportedChannelError
from crossfeed.model.commands import Want
from crossfeed.model.trust import Integrity
from crossfeed.venues.base import Channel, CodecOptions, Endpoint, Limits, Profile

__all__ = ["BOOK_DEPTHS", "DOCUMENTS", "INTERVALS", "NAME", "PROFILE", "parameter_of", "want"]

NAME: Final = "kraken"

DOCUMENTS: Final = (
    "https://docs.kraken.com/exchange/guides/websockets/introduction",
    "https://docs.kraken.com/exchange/guides/websockets/reconnection",
    "https://docs.kraken.com/exchange/guides/websockets/book-checksum-v2",
    "https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book",
    "https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker",
    "https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/heartbeat",
    "https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status",
    "https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ping",
    "https://docs.kraken.com/api/docs/change-log",
)
"""Checked 2026-11-22; the last entry read of the change log is of 2025-12-15."""

BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)
"""Depths of the book channel; only 10 is verified as deep as it goes (checksum over the top 10)."""

INTERVALS: Final[Mapping[int, str]] = {
    1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w",
    21600: "15d",
}  # fmt: skip
"""Minutes of the ohlc channel -> our word (sheet section 4, ohlc)."""

_MINUTES: Final = {word: minutes for minutes, word in INTERVALS.items()}
_PLAIN: Final = {
    "trade": "trade",
    "ticker": "ticker",
    "book_ticker": "ticker:bbo",
    "ticker:bbo": "ticker:bbo",
}
_WHOLE_VENUE: Final = {"status": "instrument", "instrument": "instrument", "heartbeat": "heartbeat"}
_KINDS: Final = (
    "trade, ticker, book_ticker, book, kline_<interval>, status, heartbeat",
    "intervals: " + ", ".join(_MINUTES),
)

PROFILE: Final = Profile(
    name=NAME,
    exchange=NAME,
    endpoints=(
        Endpoint(
            name="production",
            ws_url="wss://ws.kraken.com",
            rest_url="https://api.kraken.com",
            source="websockets/introduction, checked 2026-11-22",
        ),
        Endpoint(
            # The production engine behind newer interface software; it has no REST of its own.
            name="beta",
            ws_url="wss://beta-ws.kraken.com",
            rest_url="https://api.kraken.com",
            source="websockets/introduction, checked 2026-11-22",
        ),
    ),
    limits=Limits(
        # The largest frame is the instrument snapshot: 222 kB without blanks for 683 pairs (a
        # recording of 2023-24), so the default of 1 MiB holds more than 3,000 pairs.
        frame_bytes_max=1 << 20,
        # "Depends on system load", no number ([NT] constants): spaced with care.
        sends_max=5,
        send_window_s=1.0,
        # No limit on symbols per message is documented but for level3 (200); its value is taken for
        # all.
        params_per_message=200,
        # About 150 in any 10 minutes, then a ban of 10 minutes (from memory): two thirds of it.
        connects_max=100,
        connect_window_s=600.0,
        # About one public request a second (from memory).
        rest_weight_max=1,
        rest_window_s=1.0,
        # A heartbeat every second while idle [HB]; reconnect after about 5 s of nothing at all
        # [RC].
        silence_max_s=5.0,
        ping_interval_s=2.0,
        # Neither a lifetime nor a subscribe deadline is documented.
        lifetime_s=0.0,
        subscribe_deadline_s=0.0,
    ),
    channels=(
        Channel(
            name="trade",
            kind="trade",
            # trade_id is "the sequence number per book": +1 within a symbol.
            integrity=Integrity.SEQUENCED,
            is_event_like=True,
            chain="id",
            can_backfill=True,
        ),
        Channel(
            name="ticker:bbo",
            kind="book_ticker",
            integrity=Integrity.SELF_CONTAINED,
            age_limit_s=60.0,
        ),
        Channel(
            name="ticker",
            kind="ticker",
            integrity=Integrity.SELF_CONTAINED,
            age_limit_s=300.0,
        ),
        Channel(
            name="ohlc",
            kind="kline",
            integrity=Integrity.SELF_CONTAINED,
            is_event_like=True,
            parameters=tuple(_MINUTES),
        ),
        Channel(
            name="book",
            kind="book",
            integrity=Integrity.CHECKSUMMED,
            age_limit_s=60.0,
            chain="book",
            parameters=tuple(str(depth) for depth in BOOK_DEPTHS),
        ),
        Channel(
            name="instrument",
            kind="status",
            integrity=Integrity.SELF_CONTAINED,
            is_event_like=True,
            has_symbol=False,
        ),
        Channel(
            name="status",
            kind="status",
            integrity=Integrity.SELF_CONTAINED,
            is_event_like=True,
            has_symbol=False,
        ),
        Channel(
            name="heartbeat",
            kind="heartbeat",
            integrity=Integrity.NONE,
            is_event_like=True,
            has_symbol=False,
        ),
    ),
    quotes_from="book_ticker",
    # Of the system (status): in both nothing is traded.
    closed_states=("cancel_only", "maintenance"),
    # Of a pair (instrument): in the others orders are taken or matched.
    closed_products=("cancel_only", "delisted", "maintenance", "work_in_progress"),
    # Of the system and of a pair: orders are taken, nothing is matched (status, instrument).
    auction_states=("post_only",),
    # No close code is documented. 1008 is about this connection (too many messages, a late pong, a
    # slow reader), as other clients' notes have it: what is refused for good is refused in a reply.
    passing_close_codes=frozenset({1008}),
    documents=DOCUMENTS,
)


def parameter_of(channel: str) -> int:
    """Return the number in "book:25" or "ohlc:5"; 0 where the channel has none."""
    _, _, parameter = channel.partition(":")
    return int(parameter) if parameter.isdecimal() else 0


def want(kind: str, symbol: str, options: CodecOptions) -> Want:
    """Turn one of our kinds, or one of the wants' own words, into the want that yields it.

    Args:
        kind: "trade", "ticker", "book_ticker", "book", "kline_5m", "status", "heartbeat",
            or a word of the table above ("book:25", "ohlc:5").
        symbol: The venue's symbol ("BTC/USD").
        options: Parameter "book_depth" chooses the depth of "book" (10).

    Raises:
        UnsupportedChannelError: Kraken has no such channel, depth or interval.
    """
    if kind in _PLAIN:
        return Want(_PLAIN[kind], symbol)
    if kind in _WHOLE_VENUE:
        return Want(_WHOLE_VENUE[kind], "")
    if kind == "book":
        kind = f"book:{options.parameters.get('book_depth', '10')}"
    elif kind.startswith("kline_"):
        kind = f"ohlc:{_MINUTES.get(kind.removeprefix('kline_'), 0)}"
    word, _, _ = kind.partition(":")
    number = parameter_of(kind)
    if (word == "book" and number in BOOK_DEPTHS) or (word == "ohlc" and number in INTERVALS):
        return Want(f"{word}:{number}", symbol)
    if word == "book":
        depths = ", ".join(map(str, BOOK_DEPTHS))
        msg = f"kraken has no book of depth {kind.partition(':')[2]!r} (it has {depths})"
        raise UnsupportedChannelError(msg)
    msg = f"kraken has no {kind!r} (it has {_KINDS[0]}; {_KINDS[1]})"
    raise UnsupportedChannelError(msg)
