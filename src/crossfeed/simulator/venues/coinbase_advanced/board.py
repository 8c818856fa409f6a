"""One Advanced Trade product: its market's actions and the passing of time become channels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from crossfeed.simulator.delivery import Stream, Subscription
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.market import Market, Trade
from crossfeed.simulator.venues.coinbase_advanced import wire

__all__ = ["AdvancedBoard"]

_MS = 1_000_000
_TRADES_NS = 250 * _MS
_LEVEL2_NS = 50 * _MS
_CANDLES_NS = 1_000 * _MS
_TICKER_BATCH_NS = 5_000 * _MS
_CANDLE_NS = 300_000 * _MS
_TRADES_SNAPSHOT = 100
_CANDLES_SNAPSHOT = 100


class AdvancedBoard(Board):
    """Publishes one product's channels."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        """Build a board without subscribers."""
        super().__init__(exchange, market)
        self.numbers = wire.Numbers(market.instrument)
        self._ticker = self.stream("ticker")
        self._fills: list[Trade] = []
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._running: set[str] = set()
        self._seen_trade = {"ticker_batch": 0, "candles": 0}

    def on_action(self, now_ns: int) -> None:
        """Publish tickers, collect trades and book changes."""
        market = self.market
        if market.fills:
            if self._ticker.groups:
                body = wire.ticker(self.numbers, market, "ticker", "update", now_ns)
                self._plain(self._ticker, body)
            if "market_trades" in self._running:
                self._fills.extend(market.fills)
        if "level2" in self._running:
            self._bids.update(market.bid_changes)
            self._asks.update(market.ask_changes)

    @staticmethod
    def _plain(stream: Stream, body: bytes) -> None:
        """Publish one message without ids."""
        stream.ordinal += 1
        for subs in tuple(stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver_plain(body)

    # ── subscribing ────────────────────────────────────────────────────────

    def open(self, channel: str) -> Stream:
        """Return the stream of a channel, and start what it needs."""
        stream = self.stream(channel, "ids" if channel == "market_trades" else "none")
        periodic: dict[str, tuple[int, Callable[[Stream, int], None]]] = {
            "market_trades": (_TRADES_NS, self._push_trades),
            "level2": (_LEVEL2_NS, self._push_level2),
            "candles": (_CANDLES_NS, self._push_candles),
            "ticker_batch": (_TICKER_BATCH_NS, self._push_ticker_batch),
        }
        if channel in periodic and channel not in self._running:
            self._running.add(channel)
            period_ns, push = periodic[channel]

            def tick(now_ns: int) -> bool:
                if not stream.groups:
                    self._running.discard(channel)
                    self._forget(channel)
                    return False
                push(stream, now_ns)
                return True

            self.exchange.every(period_ns, tick)
        return stream

    def _forget(self, channel: str) -> None:
        """Drop what was collected for a channel nobody wants any more."""
        if channel == "market_trades":
            self._fills = []
        elif channel == "level2":
            self._bids, self._asks = {}, {}

    def greet(self, channel: str, sub: Subscription, now_ns: int) -> None:
        """Send the snapshot of a channel."""
        session, market, numbers = sub.session, self.market, self.numbers
        if channel == "market_trades":
            recent = list(islice(reversed(market.trades), _TRADES_SNAPSHOT))
            # Trades waiting for the next batch are history here: the batch may repeat them to
            # others, so the new subscriber's line begins before them.
            waiting = {one.id for one in self._fills}
            recent = [one for one in recent if one.id not in waiting]
            session.put(wire.trades(numbers, self.symbol, "snapshot", recent, now_ns))
            if recent:
                known = sub.line.last
                new = [one for one in recent if known is not None and one.id > known]
                sub.line.observe(recent[0].id, len(new), sum(one.lots for one in new))
        elif channel == "level2":
            bids, asks = market.book.depth(1 << 30)
            session.put(wire.level2(numbers, self.symbol, "snapshot", bids, asks, now_ns))
            sub.line.count(1, 0)
        elif channel == "candles":
            bars = market.bars.bars(
                0, now_ns + 1, lambda ns: ns // _CANDLE_NS * _CANDLE_NS, limit=_CANDLES_SNAPSHOT
            )
            session.put(wire.candles(numbers, self.symbol, "snapshot", bars, now_ns))
            sub.line.count(1, 0)
        else:
            session.put(wire.ticker(numbers, market, channel, "snapshot", now_ns))
            sub.line.count(1, 0)

    # ── by the clock ───────────────────────────────────────────────────────

    def _push_trades(self, stream: Stream, now_ns: int) -> None:
        """Publish the trades of the last 250 ms, newest first."""
        fills, self._fills = self._fills, []
        if not fills:
            return
        stream.ordinal += 1
        body = wire.trades(self.numbers, self.symbol, "update", reversed(fills), now_ns)
        lots = sum(one.lots for one in fills)
        for subs in tuple(stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver(body, fills[0].id, fills[-1].id, len(fills), lots)

    def _push_level2(self, stream: Stream, now_ns: int) -> None:
        """Publish the changed levels of the last 50 ms."""
        if not self._bids and not self._asks:
            return
        bids, asks = self._bids, self._asks
        self._bids, self._asks = {}, {}
        body = wire.level2(
            self.numbers,
            self.symbol,
            "update",
            sorted(bids.items(), reverse=True),
            sorted(asks.items()),
            now_ns,
        )
        self._plain(stream, body)

    def _has_traded(self, channel: str) -> bool:
        """Tell whether there was a trade since a channel's last message."""
        newest = self.market.ids.trade
        is_news = newest != self._seen_trade[channel]
        self._seen_trade[channel] = newest
        return is_news

    def _push_candles(self, stream: Stream, now_ns: int) -> None:
        if self._has_traded("candles"):
            bar = self.market.bars.since(now_ns // _CANDLE_NS * _CANDLE_NS, now_ns)
            self._plain(stream, wire.candles(self.numbers, self.symbol, "update", [bar], now_ns))

    def _push_ticker_batch(self, stream: Stream, now_ns: int) -> None:
        if self._has_traded("ticker_batch"):
            body = wire.ticker(self.numbers, self.market, "ticker_batch", "update", now_ns)
            self._plain(stream, body)
