"""One Coinbase product: its market's actions and the passing of time become channels."""

from __future__ import annotations

from collections.abc import Callable

from crossfeed.simulator.delivery import Stream, Subscription
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.market import Market
from crossfeed.simulator.venues.coinbase import wire

__all__ = ["CoinbaseBoard"]

_MS = 1_000_000
_BATCH_NS = 50 * _MS
_HEARTBEAT_NS = 1_000 * _MS
_TICKER_BATCH_NS = 5_000 * _MS


class CoinbaseBoard(Board):
    """Publishes one product's channels."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        """Build a board without subscribers."""
        super().__init__(exchange, market)
        self.numbers = wire.Numbers(market.instrument)
        self._matches = self.stream("matches", "ids")
        self._ticker = self.stream("ticker")
        self._level2 = self.stream("level2")
        self._full = self.stream("full", "ids")
        self._level3 = self.stream("level3", "ids")
        self._batch = self.stream("level2_batch")
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._running: set[str] = set()
        self._ticker_batch_id = 0

    # ── real time ──────────────────────────────────────────────────────────

    def on_action(self, now_ns: int) -> None:
        """Publish matches, tickers and book changes."""
        market = self.market
        if market.fills:
            if self._matches.groups:
                self._publish_matches()
            if self._ticker.groups:
                self._plain(self._ticker, wire.ticker(self.numbers, market, now_ns))
        if market.bid_changes or market.ask_changes:
            if "level2_batch" in self._running:
                self._bids.update(market.bid_changes)
                self._asks.update(market.ask_changes)
            if self._level2.groups:
                body = wire.l2update(
                    self.numbers, self.symbol, market.bid_changes, market.ask_changes, now_ns
                )
                self._plain(self._level2, body)
        if market.is_feed_wanted:
            self._publish_feed()

    @staticmethod
    def _plain(stream: Stream, body: bytes) -> None:
        """Publish one message without ids."""
        stream.ordinal += 1
        for subs in tuple(stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver_plain(body)

    def _publish_matches(self) -> None:
        """Publish each fill of the last action."""
        stream = self._matches
        for one in self.market.fills:
            stream.ordinal += 1
            body = wire.match(self.numbers, self.symbol, one)
            for subs in tuple(stream.groups.values()):
                for sub in tuple(subs):
                    sub.deliver(body, one.id, one.id, 1, one.lots)

    def _publish_feed(self) -> None:
        """Publish each order-by-order event of the last action."""
        for stream, write in ((self._full, wire.feed_event), (self._level3, wire.level3_event)):
            if not stream.groups:
                continue
            for event in self.market.feed:
                stream.ordinal += 1
                body = write(self.numbers, self.symbol, event)
                for subs in tuple(stream.groups.values()):
                    for sub in tuple(subs):
                        sub.deliver(body, event.sequence, event.sequence, 1, 0)

    # ── subscribing ────────────────────────────────────────────────────────

    def open(self, channel: str) -> Stream:
        """Return the stream of a channel, and start what it needs."""
        if channel in {"full", "level3"}:
            self.market.is_feed_wanted = True
        stream = self.stream(channel)
        periodic: dict[str, tuple[int, Callable[[int], None]]] = {
            "heartbeat": (_HEARTBEAT_NS, self._push_heartbeat),
            "ticker_batch": (_TICKER_BATCH_NS, self._push_ticker_batch),
            "level2_batch": (_BATCH_NS, self._push_batch),
        }
        if channel in periodic and channel not in self._running:
            self._running.add(channel)
            period_ns, push = periodic[channel]

            def tick(now_ns: int) -> bool:
                if not stream.groups:
                    self._running.discard(channel)
                    if channel == "level2_batch":
                        self._bids, self._asks = {}, {}
                    return False
                push(now_ns)
                return True

            self.exchange.every(period_ns, tick)
        return stream

    def greet(self, channel: str, sub: Subscription, now_ns: int) -> None:
        """Send a new subscriber what the channel begins with."""
        session = sub.session
        if channel in {"level2", "level2_batch"}:
            # A batch that is being collected may repeat some of this: sizes are absolute.
            session.put(wire.snapshot(self.numbers, self.market, now_ns))
            sub.line.count(1, 0)
        elif channel == "matches":
            last = self.market.last_trade
            assert last is not None, "a market opens with trades"
            session.put(wire.match(self.numbers, self.symbol, last, "last_match"))
            sub.line.observe(last.id, 1, last.lots)
        elif channel in {"ticker", "ticker_batch"}:
            session.put(wire.ticker(self.numbers, self.market, now_ns))
            sub.line.count(1, 0)
        elif channel == "level3":
            session.put(wire.LEVEL3_SCHEMA)

    # ── by the clock ───────────────────────────────────────────────────────

    def _push_heartbeat(self, now_ns: int) -> None:
        self._plain(self.streams["heartbeat"], wire.heartbeat(self.market, now_ns))

    def _push_ticker_batch(self, now_ns: int) -> None:
        if self.market.ids.trade != self._ticker_batch_id:
            self._ticker_batch_id = self.market.ids.trade
            body = wire.ticker(self.numbers, self.market, now_ns)
            self._plain(self.streams["ticker_batch"], body)

    def _push_batch(self, now_ns: int) -> None:
        if self._bids or self._asks:
            bids, asks = self._bids, self._asks
            self._bids, self._asks = {}, {}
            body = wire.l2update(self.numbers, self.symbol, bids, asks, now_ns)
            self._plain(self._batch, body)
