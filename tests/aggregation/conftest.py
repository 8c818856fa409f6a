"""Events of three venues, made by hand and typed."""

from collections.abc import Iterable
from typing import Any

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.model.events import MarketData, Quote, Ticker, Trade
from crossfeed.model.status import FeedStatus, Gap, GapRecord, GapState, Stream
from crossfeed.model.trust import Integrity, Mark, Side, Trust
from crossfeed.model.unified import UnifiedMarketData

WALL_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
SYMBOL = "BTC/USD"
VENUES = {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"}


class Maker:
    """Makes events; times are seconds of the monotonic clock."""

    symbol = SYMBOL
    venues = VENUES
    wall_ns = WALL_NS

    @staticmethod
    def ns(at_s: float) -> int:
        """Return seconds as ns."""
        return round(at_s * SECOND_NS)

    def config(self, **parts: Any) -> AggregatorConfig:
        """Make a configuration of the three venues."""
        parts.setdefault("exchanges", list(VENUES))
        parts.setdefault("symbols", {SYMBOL: VENUES})
        return AggregatorConfig(**parts)

    def aggregator(self, **parts: Any) -> Aggregator:
        """Make an aggregator of the three venues."""
        return Aggregator(self.config(**parts))

    def _shared(self, exchange: str, at_s: float, parts: dict[str, Any]) -> tuple[Any, ...]:
        return (
            exchange,
            parts.get("symbol", VENUES.get(exchange, "BTC-USD")),
            parts.get("unified", "BTC/USDT" if exchange == "binance" else SYMBOL),
            0,
            0,
            WALL_NS + self.ns(at_s),
            self.ns(at_s),
            parts.get("marks", Mark.NONE),
            parts.get("integrity", Integrity.SELF_CONTAINED),
            parts.get("trust", Trust.SOUND),
            None,
            0,
        )

    def trade(
        self, exchange: str, price: float, quantity: float = 1.0, at_s: float = 0, **parts: Any
    ) -> Trade:
        """Make a trade."""
        return Trade(*self._shared(exchange, at_s, parts), price, quantity, Side.BUY, 1)

    def ticker(
        self, exchange: str, price: float, volume: float | None = 1.0, at_s: float = 0, **parts: Any
    ) -> Ticker:
        """Make a ticker."""
        nothing = [None] * 5
        return Ticker(*self._shared(exchange, at_s, parts), price, *nothing, volume, *[None] * 8)

    def quote(
        self,
        exchange: str,
        bid: float,
        ask: float,
        at_s: float = 0,
        sizes: tuple[float, float] = (1.0, 1.0),
        **parts: Any,
    ) -> Quote:
        """Make a quote."""
        shared = self._shared(exchange, at_s, parts)
        return Quote(*shared, bid, sizes[0], ask, sizes[1], 0)

    def status(
        self, exchange: str, current: Trust, channel: str = "", at_s: float = 0, **parts: Any
    ) -> FeedStatus:
        """Make a change of trust."""
        parts.setdefault("symbol", "")
        parts.setdefault("unified", "")
        shared = self._shared(exchange, at_s, parts | {"trust": current})
        return FeedStatus(*shared, channel, Trust.SOUND, current, "test", "")

    def gap(self, exchange: str, gap_id: int, state: GapState) -> Gap:
        """Make a gap event."""
        record = GapRecord(
            gap_id=gap_id,
            stream=Stream(exchange, "trade", VENUES[exchange]),
            first=1,
            last=2,
            missing=2,
            cause="sequence",
            ts_found_ns=WALL_NS,
            state=state,
        )
        return Gap(*self._shared(exchange, 0, {}), record)

    def feed(self, aggregator: Aggregator, events: Iterable[MarketData]) -> list[UnifiedMarketData]:
        """Give events at their own receive times, timers in between; return all that came out."""
        out: list[UnifiedMarketData] = []
        for event in events:
            out += self.wait(aggregator, event.ts_mono_ns / SECOND_NS)
            wall_ns = WALL_NS + event.ts_mono_ns
            out += aggregator.on_event(event, event.ts_mono_ns, wall_ns)
        return out

    def wait(self, aggregator: Aggregator, until_s: float) -> list[UnifiedMarketData]:
        """Let the time pass, each timer at its time; return all that came out."""
        out: list[UnifiedMarketData] = []
        until_ns = self.ns(until_s)
        while (due_ns := aggregator.next_due_ns) is not None and due_ns <= until_ns:
            out += aggregator.on_timer(due_ns, WALL_NS + due_ns)
        return out


@pytest.fixture(scope="session")
def make() -> Maker:
    """Makes events of three venues."""
    return Maker()
