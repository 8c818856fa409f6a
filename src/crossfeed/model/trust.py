"""What is known about a stream: how well it can be proven, and whether it is proven now."""

from __future__ import annotations

from enum import IntEnum, IntFlag, StrEnum

__all__ = ["Integrity", "Mark", "Side", "Trust"]


class Integrity(IntEnum):
    """How strongly a venue lets us prove a stream.

    Higher is stronger; consumers may demand a minimum.

    A property of the (venue, channel), never of one message.
    """

    NONE = 0
    """Nothing in the stream shows a loss (Coinbase `level2_batch`, Hyperliquid books)."""
    SELF_CONTAINED = 1
    """Each value replaces the last one (quotes, tickers, candles): a loss is healed by the next."""
    INFERRED = 2
    """A loss shows by convention rather than by documented numbering (Bybit)."""
    CONNECTION_SEQUENCED = 3
    """One counter for a whole connection (Coinbase Advanced): a hole concerns all its books."""
    CHECKSUMMED = 4
    """Content is checked after each message, but only as deep as the checksum (Kraken book)."""
    SEQUENCED = 5
    """Every message is numbered: any hole is seen (Binance depth, trade ids)."""


class Trust(IntEnum):
    """Whether a stream's values can be relied on now. Lower is better: `max()` is the worst.

    SOUND means: nothing is known against it at its own `Integrity` level.
    """

    SOUND = 0
    STALE = 1
    """No news for longer than the stream's age limit."""
    UNSOUND = 2
    """Known to be broken (gap, checksum, crossed); being resynchronised."""
    CLOSED = 3
    """The venue says the market is halted, delisted or in maintenance for this symbol."""
    UNAVAILABLE = 4
    """No connection or no subscription."""


class Mark(IntFlag):
    """What is special about one event."""

    NONE = 0
    BACKFILLED = 1
    """Fetched by REST to repair a gap: late, in order among its like, under its own id."""
    REST = 2
    """Polled by REST while the venue's stream is out (`source="rest"`)."""
    FROM_TICKER = 4
    """A quote taken from a ticker's bid and ask (`derived="ticker"`)."""
    SUSPECT = 8
    """Valid, but far from what the stream showed before; kept out of aggregates."""
    HISTORY = 16
    """Happened before the subscription (Coinbase `last_match`, snapshots of old trades)."""
    RECEIVE_TIME = 32
    """The venue gives no event time: `timestamp` is the receive time (Binance bookTicker)."""
    SNAPSHOT = 64
    """First image after a subscription rather than a change."""
    FROM_BOOK = 128
    """A quote taken from the top of the maintained book (`derived="book"`)."""


class Side(StrEnum):
    """The taker's side of a trade, or the side of a book level. Compares equal to its text."""

    BUY = "buy"
    SELL = "sell"
    UNKNOWN = ""
