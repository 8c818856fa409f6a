"""crossfeed: one trusted real-time market-data feed across exchanges.

Every price carries the proof that it is right, or says that it is not.

```python
import crossfeed


async def main() -> None:
    async with crossfeed.VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade"]) as client:
        async for trade in client.stream("trade"):
            print(trade.symbol, trade.price, trade.quantity, trade.side)


crossfeed.run(main())
```

Names are imported when first used, so that `import crossfeed` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

__version__ = "0.1.0"

_HOMES: Final[dict[str, tuple[str, ...]]] = {
    "crossfeed.aggregation.config": ("AggregationStrategy", "AggregatorConfig"),
    "crossfeed.analytics.arbitrage": ("ArbitrageDetector",),
    "crossfeed.analytics.features": ("FeatureExtractor",),
    "crossfeed.analytics.price_monitor": ("PriceMonitor",),
    "crossfeed.analytics.validation": ("PriceValidator", "validate_price"),
    "crossfeed.books.book": ("OrderBook",),
    "crossfeed.books.l3": ("OrderBookL3",),
    "crossfeed.clients.aggregator": ("MarketDataAggregator",),
    "crossfeed.clients.binance": ("BinanceConfig", "BinanceStream", "BinanceWebSocket"),
    "crossfeed.clients.coinbase": ("CoinbaseChannel", "CoinbaseConfig", "CoinbaseWebSocket"),
    "crossfeed.clients.replay": ("Replay",),
    "crossfeed.clients.validation": ("validate_data",),
    "crossfeed.clients.venue_client": ("VenueClient",),
    "crossfeed.errors": (
        "AuthRejectedError",
        "CircuitOpenError",
        "ConfigError",
        "ConnectFailedError",
        "ConnectionLostError",
        "CrossfeedError",
        "DeadlineError",
        "DecodeError",
        "HandshakeRejectedError",
        "QueueOverflowError",
        "RateLimitedError",
        "SubscriptionRejectedError",
        "TransportError",
        "UnknownSymbolError",
        "UnknownVenueError",
        "UnsupportedChannelError",
        "VenueError",
    ),
    "crossfeed.model.events": (
        "AggTrade",
        "BookDelta",
        "BookSnapshot",
        "Candle",
        "DepthDelta",
        "Heartbeat",
        "MiniTicker",
        "OrderEvent",
        "Quote",
        "Ticker",
        "Trade",
        "VenueStatus",
    ),
    "crossfeed.model.instrument": ("Instrument",),
    "crossfeed.model.status": ("FeedStatus", "Gap", "GapRecord", "GapState", "Stream"),
    "crossfeed.model.trust": ("Integrity", "Mark", "Side", "Trust"),
    "crossfeed.model.unified": ("MarketData", "UnifiedMarketData"),
    "crossfeed.runtime.delivery": ("DeliveryMode",),
    "crossfeed.runtime.log_handler": ("BackgroundLogHandler",),
    "crossfeed.runtime.loop": ("run",),
    "crossfeed.runtime.queues": ("OverflowPolicy",),
    "crossfeed.runtime.recording": ("Recorder",),
    "crossfeed.runtime.settings": ("FeedSettings",),
    "crossfeed.transport.breaker": ("CircuitBreaker",),
    "crossfeed.transport.config": ("WebSocketConfig",),
    "crossfeed.transport.limits": ("rate_limit",),
    "crossfeed.transport.manager": ("WebSocketManager",),
    "crossfeed.transport.pool": ("WebSocketPool",),
    "crossfeed.transport.state": ("ConnectionState",),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
    from crossfeed.analytics.arbitrage import ArbitrageDetector
    from crossfeed.analytics.features import FeatureExtractor
    from crossfeed.analytics.price_monitor import PriceMonitor
    from crossfeed.analytics.validation import PriceValidator, validate_price
    from crossfeed.books.book import OrderBook
    from crossfeed.books.l3 import OrderBookL3
    from crossfeed.clients.aggregator import MarketDataAggregator
    from crossfeed.clients.binance import BinanceConfig, BinanceStream, BinanceWebSocket
    from crossfeed.clients.coinbase import CoinbaseChannel, CoinbaseConfig, CoinbaseWebSocket
    from crossfeed.clients.replay import Replay
    from crossfeed.clients.validation import validate_data
    from crossfeed.clients.venue_client import VenueClient
    from crossfeed.errors import (
        AuthRejectedError,
        CircuitOpenError,
        ConfigError,
        ConnectFailedError,
        ConnectionLostError,
        CrossfeedError,
        DeadlineError,
        DecodeError,
        HandshakeRejectedError,
        QueueOverflowError,
        RateLimitedError,
        SubscriptionRejectedError,
        TransportError,
        UnknownSymbolError,
        UnknownVenueError,
        UnsupportedChannelError,
        VenueError,
    )
    from crossfeed.model.events import (
        AggTrade,
        BookDelta,
        BookSnapshot,
        Candle,
        DepthDelta,
        Heartbeat,
        MiniTicker,
        OrderEvent,
        Quote,
        Ticker,
        Trade,
        VenueStatus,
    )
    from crossfeed.model.instrument import Instrument
    from crossfeed.model.status import FeedStatus, Gap, GapRecord, GapState, Stream
    from crossfeed.model.trust import Integrity, Mark, Side, Trust
    from crossfeed.model.unified import MarketData, UnifiedMarketData
    from crossfeed.runtime.delivery import DeliveryMode
    from crossfeed.runtime.log_handler import BackgroundLogHandler
    from crossfeed.runtime.loop import run
    from crossfeed.runtime.queues import OverflowPolicy
    from crossfeed.runtime.recording import Recorder
    from crossfeed.runtime.settings import FeedSettings
    from crossfeed.transport.breaker import CircuitBreaker
    from crossfeed.transport.config import WebSocketConfig
    from crossfeed.transport.limits import rate_limit
    from crossfeed.transport.manager import WebSocketManager
    from crossfeed.transport.pool import WebSocketPool
    from crossfeed.transport.state import ConnectionState

__all__ = [
    "AggTrade",
    "AggregationStrategy",
    "AggregatorConfig",
    "ArbitrageDetector",
    "AuthRejectedError",
    "BackgroundLogHandler",
    "BinanceConfig",
    "BinanceStream",
    "BinanceWebSocket",
    "BookDelta",
    "BookSnapshot",
    "Candle",
    "CircuitBreaker",
    "CircuitOpenError",
    "CoinbaseChannel",
    "CoinbaseConfig",
    "CoinbaseWebSocket",
    "ConfigError",
    "ConnectFailedError",
    "ConnectionLostError",
    "ConnectionState",
    "CrossfeedError",
    "DeadlineError",
    "DecodeError",
    "DeliveryMode",
    "DepthDelta",
    "FeatureExtractor",
    "FeedSettings",
    "FeedStatus",
    "Gap",
    "GapRecord",
    "GapState",
    "HandshakeRejectedError",
    "Heartbeat",
    "Instrument",
    "Integrity",
    "Mark",
    "MarketData",
    "MarketDataAggregator",
    "MiniTicker",
    "OrderBook",
    "OrderBookL3",
    "OrderEvent",
    "OverflowPolicy",
    "PriceMonitor",
    "PriceValidator",
    "QueueOverflowError",
    "Quote",
    "RateLimitedError",
    "Recorder",
    "Replay",
    "Side",
    "Stream",
    "SubscriptionRejectedError",
    "Ticker",
    "Trade",
    "TransportError",
    "Trust",
    "UnifiedMarketData",
    "UnknownSymbolError",
    "UnknownVenueError",
    "UnsupportedChannelError",
    "VenueClient",
    "VenueError",
    "VenueStatus",
    "WebSocketConfig",
    "WebSocketManager",
    "WebSocketPool",
    "__version__",
    "rate_limit",
    "run",
    "validate_data",
    "validate_price",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module 'crossfeed' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
