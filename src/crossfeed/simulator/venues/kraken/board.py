"""One Kraken pair: its market's actions become channels; books are windows of a fixed depth."""

from __future__ import annotations

from crossfeed.simulator.bars import Bar
from crossfeed.simulator.delivery import Stream, Subscription
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.market import Market
from crossfeed.simulator.shadow import BookUpdate
from crossfeed.simulator.venues.kraken import wire
from crossfeed.simulator.venues.kraken.profile import DEPTHS, INTERVALS

__all__ = ["KrakenBoard"]

_MINUTE_NS = 60_000_000_000
_TRADES_SNAPSHOT = 50
_BARS_SNAPSHOT = 100
_LEVELS = wire.CHECKSUM_LEVELS
Side = dict[int, int]


class _BookWindow:
    """The `depth` best levels a side, as every subscriber of that depth has them."""

    def __init__(self, board: KrakenBoard, depth: int, stream: Stream) -> None:
        """Take the present top of the book."""
        self._board = board
        self.depth = depth
        self.stream = stream
        self.bids: Side = {}
        self.asks: Side = {}
        self.refresh()

    def refresh(self) -> None:
        """Take the present top of the book without telling anybody."""
        bids, asks = self._board.market.book.depth(self.depth)
        self.bids, self.asks = dict(bids), dict(asks)

    def changes(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return what has changed in the window since the last call, and take it over.

        A level pushed out of the window by a better one is not mentioned; one that comes back is.
        """
        market = self._board.market
        bids, asks = self.bids, self.asks
        changed_bids: list[tuple[int, int]] = []
        changed_asks: list[tuple[int, int]] = []
        if market.bid_changes and self._touches(market.bid_changes, bids, is_bid=True):
            new = dict(market.book.depth(self.depth)[0])
            changed_bids = _difference(bids, new, market.bid_changes)
            self.bids = new
        if market.ask_changes and self._touches(market.ask_changes, asks, is_bid=False):
            new = dict(market.book.depth(self.depth)[1])
            changed_asks = _difference(asks, new, market.ask_changes)
            self.asks = new
        return changed_bids, changed_asks

    def _touches(self, changed: Side, window: Side, *, is_bid: bool) -> bool:
        """Tell whether a changed price can matter to the window."""
        if len(window) < self.depth:
            return True
        worst = next(reversed(window))
        return any(price >= worst if is_bid else price <= worst for price in changed)


def _difference(old: Side, new: Side, changed: Side) -> list[tuple[int, int]]:
    """Return removed levels (size 0), then changed and new ones."""
    gone = [(price, 0) for price in old if price not in new and changed.get(price) == 0]
    return gone + [(price, lots) for price, lots in new.items() if old.get(price) != lots]


class KrakenBoard(Board):
    """Publishes one pair's channels."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        """Build a board without subscribers."""
        super().__init__(exchange, market)
        self.numbers = wire.Numbers(market.instrument)
        self._trades = self.stream("trade", "ids")
        self._ticker = self.stream("ticker")
        self._top = self.stream("ticker-bbo")
        self._windows: dict[int, _BookWindow] = {}
        self._ohlc: dict[int, Stream] = {}

    # ── real time ──────────────────────────────────────────────────────────

    def on_action(self, now_ns: int) -> None:
        """Publish trades, tickers, candles and books."""
        market = self.market
        if market.fills:
            if self._trades.groups:
                self._publish_trades()
            if self._ticker.groups:
                self._plain(self._ticker, wire.ticker(self.numbers, market, "update", now_ns))
            for interval, stream in self._ohlc.items():
                if stream.groups:
                    bar = self.candle(interval, now_ns)
                    self._plain(
                        stream,
                        wire.ohlc(self.numbers, self.symbol, "update", interval, [bar], now_ns),
                    )
        if market.has_top_moved and self._top.groups:
            self._plain(self._top, wire.ticker(self.numbers, market, "update", now_ns))
        if self._windows and (market.bid_changes or market.ask_changes):
            self._publish_books(now_ns)

    @staticmethod
    def _plain(stream: Stream, body: bytes) -> None:
        """Publish one message without ids."""
        stream.ordinal += 1
        for subs in tuple(stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver_plain(body)

    def _publish_trades(self) -> None:
        """Publish the fills of the last action in one message."""
        stream, fills = self._trades, self.market.fills
        stream.ordinal += 1
        body = wire.trades(self.numbers, self.symbol, "update", fills)
        lots = sum(one.lots for one in fills)
        for subs in tuple(stream.groups.values()):
            for sub in tuple(subs):
                sub.deliver(body, fills[0].id, fills[-1].id, len(fills), lots)

    def _publish_books(self, now_ns: int) -> None:
        """Publish the last action to every depth it matters to."""
        crc = -1
        for window in self._windows.values():
            if not window.stream.groups:
                continue
            before = window.bids, window.asks
            bids, asks = window.changes()
            if not bids and not asks:
                continue
            if crc < 0:
                crc = wire.checksum(*self.market.book.depth(_LEVELS))
            body = wire.book(self.numbers, self.symbol, "update", bids, asks, crc, now_ns)
            update = BookUpdate(bids, asks, crc, window.depth, *before)
            stream = window.stream
            stream.ordinal += 1
            for subs in tuple(stream.groups.values()):
                for sub in tuple(subs):
                    sub.deliver_book(body, update)

    # ── subscribing ────────────────────────────────────────────────────────

    def open(self, channel: str, option: int | str) -> Stream:
        """Return the stream of a channel; `option` is the depth, interval or trigger."""
        if channel == "book":
            assert isinstance(option, int), "a depth"
            assert option in DEPTHS, "checked by the session"
            stream = self.stream(f"book-{option}", "checksum")
            window = self._windows.get(option)
            if window is None:
                self._windows[option] = _BookWindow(self, option, stream)
            elif not stream.groups:
                window.refresh()
            return stream
        if channel == "ohlc":
            assert isinstance(option, int), "an interval"
            assert option in INTERVALS, "checked by the session"
            return self._ohlc.setdefault(option, self.stream(f"ohlc-{option}"))
        if channel == "ticker":
            return self._top if option == "bbo" else self._ticker
        return self._trades

    def greet(self, channel: str, option: int | str, sub: Subscription, now_ns: int) -> None:
        """Send the snapshot of a channel."""
        session, numbers, market = sub.session, self.numbers, self.market
        if channel == "book":
            assert isinstance(option, int), "a depth"
            bids, asks = market.book.depth(option)
            crc = wire.checksum(bids[:_LEVELS], asks[:_LEVELS])
            session.put(wire.book(numbers, self.symbol, "snapshot", bids, asks, crc, now_ns))
            sub.line.count(1, 0)
            sub.line.resync()
        elif channel == "ticker":
            session.put(wire.ticker(numbers, market, "snapshot", now_ns))
            sub.line.count(1, 0)
        elif channel == "ohlc":
            assert isinstance(option, int), "an interval"
            length_ns = option * _MINUTE_NS
            bars = market.bars.bars(
                0, now_ns + 1, lambda ns: ns // length_ns * length_ns, limit=_BARS_SNAPSHOT
            )
            session.put(wire.ohlc(numbers, self.symbol, "snapshot", option, bars, now_ns))
            sub.line.count(1, 0)
        elif channel == "trade":
            recent = market.trades_from(market.ids.trade - _TRADES_SNAPSHOT + 1, _TRADES_SNAPSHOT)
            if recent:
                session.put(wire.trades(numbers, self.symbol, "snapshot", recent))
                known = sub.line.last
                new = [one for one in recent if known is not None and one.id > known]
                sub.line.observe(recent[-1].id, len(new), sum(one.lots for one in new))

    def candle(self, interval: int, now_ns: int) -> Bar:
        """Return the running candle."""
        length_ns = interval * _MINUTE_NS
        return self.market.bars.since(now_ns // length_ns * length_ns, now_ns)
