"""Binance spot under the names of the contract.

`BinanceConfig`, `BinanceStream`, `BinanceWebSocket`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from msgspec import Struct, structs

from crossfeed.clients.arguments import check_instance, check_texts
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import ConfigError
from crossfeed.model.events import AggTrade, Candle, DepthDelta, MiniTicker, Quote, Ticker, Trade
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.runtime.settings import FeedSettings

__all__ = ["BinanceConfig", "BinanceStream", "BinanceWebSocket"]

AggTradeHandler = TypeVar("AggTradeHandler", bound=Callable[[AggTrade], Any])
CandleHandler = TypeVar("CandleHandler", bound=Callable[[Candle], Any])
DepthDeltaHandler = TypeVar("DepthDeltaHandler", bound=Callable[[DepthDelta], Any])
MiniTickerHandler = TypeVar("MiniTickerHandler", bound=Callable[[MiniTicker], Any])
QuoteHandler = TypeVar("QuoteHandler", bound=Callable[[Quote], Any])
TickerHandler = TypeVar("TickerHandler", bound=Callable[[Ticker], Any])
TradeHandler = TypeVar("TradeHandler", bound=Callable[[Trade], Any])


class BinanceStream(StrEnum):
    """The streams of Binance spot. As text, klines carry their interval: "kline_5m"."""

    TRADE = "trade"
    AGG_TRADE = "aggTrade"
    TICKER = "ticker"
    KLINE = "kline"
    DEPTH = "depth"
    BOOK_TICKER = "bookTicker"
    MINI_TICKER = "miniTicker"


KINDS: Mapping[str, str] = {
    "trade": "trade",
    "aggtrade": "agg_trade",
    "agg_trade": "agg_trade",
    "ticker": "ticker",
    "depth": "depth",
    "bookticker": "book_ticker",
    "book_ticker": "book_ticker",
    "miniticker": "mini_ticker",
    "mini_ticker": "mini_ticker",
    "book": "book",
}


class BinanceConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to receive from Binance.

    Attributes:
        symbols: Binance's own symbols ("BTCUSDT") or unified ones ("BTC/USDT").
        streams: Members of `BinanceStream`, or texts ("trade", "kline_5m").
        kline_intervals: Intervals that KLINE stands for.
        host: Name of an endpoint ("production", "market-data", "us" ...) or a host or WebSocket URL
            of your own ("wss://stream.binance.us:9443").
        rest_url: REST base URL that goes with a host of your own; empty: the endpoint's.
        time_unit: "MILLISECOND" or "MICROSECOND": resolution of Binance's times.
        api_key: Not needed for market data; kept for account streams, never sent.
        api_secret: The same.
        settings: Everything else.
    """

    symbols: Sequence[str] = ()
    streams: Sequence[BinanceStream | str] = (BinanceStream.TRADE,)
    kline_intervals: Sequence[str] = ("1m",)
    host: str = ""
    rest_url: str = ""
    time_unit: str = "MILLISECOND"
    api_key: str | None = None
    api_secret: str | None = None
    settings: FeedSettings = FeedSettings()

    def __repr__(self) -> str:
        """Return the configuration with secrets masked."""
        key = "set" if self.api_key else "none"
        return f"BinanceConfig(symbols={list(self.symbols)}, streams={self.kinds()}, api_key={key})"

    def kinds(self, streams: Iterable[BinanceStream | str] | None = None) -> list[str]:
        """Return `streams` (default: the configured ones) in our words.

        Raises:
            ConfigError: A text is no stream of Binance, or one text stands where a list should.
        """
        found: list[str] = []
        check_texts(self.kline_intervals, "kline_intervals")
        for stream in check_texts(self.streams if streams is None else streams, "streams"):
            word = str(stream)
            name, _, interval = word.partition("_")
            if name.lower() == "kline":
                intervals = [interval] if interval else list(self.kline_intervals)
                found += [f"kline_{each}" for each in intervals]
                continue
            kind = KINDS.get(word.lower())
            if kind is None:
                known = ", ".join(BinanceStream)
                raise ConfigError(f"no stream {word!r} (there are: {known})", field="streams")
            found.append(kind)
        return list(dict.fromkeys(found))

    def feed_settings(self) -> FeedSettings:
        """Return the settings with host and time unit worked in."""
        changes: dict[str, Any] = {}
        if "://" in self.host:
            changes["ws_url"] = self.host
        elif "." in self.host:
            changes["ws_url"] = f"wss://{self.host}"
        elif self.host:
            changes["endpoint"] = self.host
        if self.rest_url:
            changes["rest_url"] = self.rest_url
        if self.time_unit not in {"MILLISECOND", "MICROSECOND"}:
            msg = f"must be MILLISECOND or MICROSECOND, not {self.time_unit!r}"
            raise ConfigError(msg, field="time_unit")
        if self.time_unit == "MICROSECOND":
            changes["parameters"] = {**self.settings.parameters, "time_unit": "MICROSECOND"}
        return structs.replace(self.settings, **changes)


class BinanceWebSocket(VenueClient):
    """Market data of Binance spot: connections, subscriptions, books, statistics.

    ```python
    client = BinanceWebSocket(BinanceConfig(symbols=["BTCUSDT"], streams=[BinanceStream.TRADE]))


    @client.on_trade
    def handle(trade: Trade) -> None: ...


    await client.connect()  # returns when subscribed; data flows in the background
    ```
    """

    def __init__(
        self,
        config: BinanceConfig,
        *,
        clock: Clock | None = None,
        random: RandomSource | None = None,
    ) -> None:
        """Check the configuration; nothing is connected yet."""
        check_instance(config, BinanceConfig, "config")
        self.config = config
        super().__init__(
            "binance",
            symbols=config.symbols,
            kinds=config.kinds(),
            settings=config.feed_settings(),
            clock=clock,
            random=random,
        )

    def on_trade(self, handler: TradeHandler) -> TradeHandler:
        """Call `handler` with each trade. Usable as a decorator, like all `on_...`."""
        return self.on("trade", handler)

    def on_agg_trade(self, handler: AggTradeHandler) -> AggTradeHandler:
        """Call `handler` with each aggregate trade."""
        return self.on("agg_trade", handler)

    def on_ticker(self, handler: TickerHandler) -> TickerHandler:
        """Call `handler` with each 24 h ticker."""
        return self.on("ticker", handler)

    def on_kline(self, handler: CandleHandler) -> CandleHandler:
        """Call `handler` with each state of a candle."""
        return self.on("kline", handler)

    def on_depth(self, handler: DepthDeltaHandler) -> DepthDeltaHandler:
        """Call `handler` with each book change."""
        return self.on("depth", handler)

    def on_book_ticker(self, handler: QuoteHandler) -> QuoteHandler:
        """Call `handler` with each best bid and offer."""
        return self.on("book_ticker", handler)

    def on_mini_ticker(self, handler: MiniTickerHandler) -> MiniTickerHandler:
        """Call `handler` with each mini ticker."""
        return self.on("mini_ticker", handler)

    async def subscribe_symbols(
        self, symbols: Sequence[str], streams: Sequence[BinanceStream | str]
    ) -> None:
        """Add streams of symbols; returns when Binance acknowledged.

        Raises:
            UnknownSymbolError: Binance lists no such symbol; nothing was subscribed.
            SubscriptionRejectedError: Binance refused all of them.
        """
        await self.subscribe(symbols, self.config.kinds(streams))

    async def unsubscribe_symbols(
        self, symbols: Sequence[str], streams: Sequence[BinanceStream | str] | None = None
    ) -> None:
        """Remove streams of symbols (default: all configured streams).

        Returns when acknowledged.
        """
        await self.unsubscribe(symbols, self.config.kinds(streams))
