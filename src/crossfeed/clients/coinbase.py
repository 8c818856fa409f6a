"""Coinbase under the names of the contract.

`CoinbaseConfig`, `CoinbaseChannel`, `CoinbaseWebSocket`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct, structs

from crossfeed.clients.arguments import check_instance, check_texts
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError, UnsupportedChannelError
from crossfeed.model.events import (
    BookDelta,
    BookSnapshot,
    Heartbeat,
    OrderEvent,
    Ticker,
    Trade,
    VenueStatus,
)
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.settings import FeedSettings

__all__ = ["CoinbaseChannel", "CoinbaseConfig", "CoinbaseWebSocket"]

HeartbeatHandler = TypeVar("HeartbeatHandler", bound=Callable[[Heartbeat], Any])
OrderEventHandler = TypeVar("OrderEventHandler", bound=Callable[[OrderEvent], Any])
TickerHandler = TypeVar("TickerHandler", bound=Callable[[Ticker], Any])
TradeHandler = TypeVar("TradeHandler", bound=Callable[[Trade], Any])
VenueStatusHandler = TypeVar("VenueStatusHandler", bound=Callable[[VenueStatus], Any])
BookHandler = TypeVar("BookHandler", bound=Callable[[BookSnapshot | BookDelta], Any])


class CoinbaseChannel(StrEnum):
    """The channels of Coinbase, in the words of the Exchange API."""

    TICKER = "ticker"
    MATCHES = "matches"
    LEVEL2 = "level2"
    HEARTBEAT = "heartbeat"
    STATUS = "status"
    FULL = "full"


KINDS: Mapping[str, str] = {
    "ticker": "ticker",
    "ticker_batch": "ticker_batch",
    "matches": "trade",
    "market_trades": "trade",
    "trade": "trade",
    "level2": "book",
    "level2_batch": "book",
    "heartbeat": "heartbeat",
    "heartbeats": "heartbeat",
    "status": "status",
    "full": "full",
    "candles": "kline_5m",
    "book_ticker": "book_ticker",
}
FEEDS: Mapping[str, str] = {"exchange": "coinbase", "advanced": "coinbase_advanced"}


class CoinbaseConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to receive from Coinbase.

    Attributes:
        product_ids: Coinbase's own symbols ("BTC-USD") or unified ones ("BTC/USD").
        channels: Members of `CoinbaseChannel`, or texts.
        api: "exchange" or "advanced": two protocols of the same order book.
        api_key: Needed for FULL, and for LEVEL2 unbatched (without it LEVEL2 uses level2_batch).
        api_secret: The same.
        api_passphrase: The same (Exchange API only).
        ws_url: WebSocket URL that replaces the production one; empty: production.
        rest_url: REST URL that goes with it.
        settings: Everything else.
    """

    product_ids: Sequence[str] = ()
    channels: Sequence[CoinbaseChannel | str] = (CoinbaseChannel.TICKER,)
    api: str = "exchange"
    api_key: str = ""
    api_secret: str = ""
    api_passphrase: str = ""
    ws_url: str = ""
    rest_url: str = ""
    settings: FeedSettings = FeedSettings()

    def __repr__(self) -> str:
        """Return the configuration with secrets masked."""
        key = "set" if self.api_key else "none"
        products = list(self.product_ids)
        return f"CoinbaseConfig({products}, {self.kinds()}, api={self.api!r}, api_key={key})"

    def feed(self) -> str:
        """Return the name of the feed that speaks the chosen API.

        Raises:
            ConfigError: `api` is neither "exchange" nor "advanced".
        """
        if self.api not in FEEDS:
            raise ConfigError(f'must be "exchange" or "advanced", not {self.api!r}', field="api")
        return FEEDS[self.api]

    def kinds(self, channels: Iterable[CoinbaseChannel | str] | None = None) -> list[str]:
        """Return `channels` (default: the configured ones) in our words.

        Raises:
            ConfigError: A text is no channel of Coinbase.
            UnsupportedChannelError: FULL over the Advanced API, or without credentials.
        """
        found: list[str] = []
        for channel in check_texts(self.channels if channels is None else channels, "channels"):
            kind = KINDS.get(str(channel).lower())
            if kind is None:
                known = ", ".join(CoinbaseChannel)
                msg = f"no channel {str(channel)!r} (there are: {known})"
                raise ConfigError(msg, field="channels")
            if kind == "full" and (self.api == "advanced" or not self.api_key):
                why = (
                    "the Advanced API has no such channel"
                    if self.api == "advanced"
                    else (
                        "Coinbase wants credentials for it: api_key, api_secret and api_passphrase"
                    )
                )
                raise UnsupportedChannelError(f"full: {why}", field="channels")
            found.append(kind)
        return list(dict.fromkeys(found))

    def feed_settings(self) -> FeedSettings:
        """Return the settings with URLs and credentials worked in."""
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("api_key", "api_secret", "api_passphrase", "ws_url", "rest_url")
            if getattr(self, name)
        }
        return structs.replace(self.settings, **changes)


class CoinbaseWebSocket(VenueClient):
    """Market data of Coinbase: connections, subscriptions, books, statistics."""

    def __init__(
        self,
        config: CoinbaseConfig,
        *,
        clock: Clock | None = None,
        random: RandomSource | None = None,
    ) -> None:
        """Check the configuration; nothing is connected yet."""
        check_instance(config, CoinbaseConfig, "config")
        self.config = config
        super().__init__(
            config.feed(),
            symbols=config.product_ids,
            kinds=config.kinds(),
            settings=config.feed_settings(),
            clock=clock,
            random=random,
        )

    def on_ticker(self, handler: TickerHandler) -> TickerHandler:
        """Call `handler` with each ticker. Usable as a decorator, like all `on_...`."""
        return self.on("ticker", handler)

    def on_matches(self, handler: TradeHandler) -> TradeHandler:
        """Call `handler` with each trade."""
        return self.on("trade", handler)

    def on_level2(self, handler: BookHandler) -> BookHandler:
        """Call `handler` with each book snapshot and each book change."""
        self.on("orderbook_snapshot", handler)
        return self.on("orderbook_update", handler)

    def on_heartbeat(self, handler: HeartbeatHandler) -> HeartbeatHandler:
        """Call `handler` with each heartbeat."""
        return self.on("heartbeat", handler)

    def on_status(self, handler: VenueStatusHandler) -> VenueStatusHandler:
        """Call `handler` with each status message."""
        return self.on("status", handler)

    def on_full(self, handler: OrderEventHandler) -> OrderEventHandler:
        """Call `handler` with each event of the order-by-order feed."""
        return self.on("full", handler)

    async def subscribe_products(
        self, product_ids: Sequence[str], channels: Sequence[CoinbaseChannel | str]
    ) -> None:
        """Add channels of products; returns when Coinbase acknowledged.

        Raises:
            UnknownSymbolError: Coinbase lists no such product; nothing was subscribed.
            SubscriptionRejectedError: Coinbase refused all of them.
        """
        await self.subscribe(product_ids, self.config.kinds(channels))

    async def unsubscribe_products(
        self, product_ids: Sequence[str], channels: Sequence[CoinbaseChannel | str] | None = None
    ) -> None:
        """Remove channels of products (default: all configured channels)."""
        await self.unsubscribe(product_ids, self.config.kinds(channels))
