"""One Binance symbol: its market's actions and the passing of time become streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from crossfeed.simulator.bars import MINUTE_NS, Bar
from crossfeed.simulator.delivery import Stream
from crossfeed.simulator.exchange import Board, Exchange
from crossfeed.simulator.market import Market, Trade
from crossfeed.simulator.venues.binance import wire
from crossfeed.simulator.venues.binance.streams import (
    StreamName,
    interval_floor,
    interval_next,
)

__all__ = ["BinanceBoard", "publish_plain", "rep_of"]

_MS = 1_000_000
_SECOND_NS = 1_000_000_000
_WINDOWS = {"1h": 60, "4h": 240, "1d": 1_440}


def rep_of(*, is_combined: bool, is_micro: bool) -> int:
    """Return the number of a representation: bit 0 combined, bit 1 microseconds."""
    return int(is_combined) | int(is_micro) << 1


def prefix_of(name: str) -> bytes:
    """Return the start of a combined payload."""
    return f'{{"stream":"{name}","data":'.encode()


def _div(rep: int) -> int:
    """Return what divides nanoseconds into the unit of a representation."""
    return 1_000 if rep & 2 else _MS


def publish_plain(stream: Stream, prefix: bytes, write: Callable[[int], bytes]) -> None:
    """Publish one message without ids; `write` gets the time divisor."""
    stream.ordinal += 1
    for rep, subs in tuple(stream.groups.items()):
        body = write(_div(rep))
        payload = wire.combined(prefix, body) if rep & 1 else body
        for sub in tuple(subs):
            sub.deliver_plain(payload)


class _DepthBatch:
    """Changes of the book collected until the next push."""

    def __init__(self, last: int) -> None:
        """Start after update id `last`."""
        self.last = last
        self.first = last + 1
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def take(self) -> tuple[int, int, dict[int, int], dict[int, int]]:
        """Return the batch (first id, last id, bids, asks) and begin the next one."""
        batch = self.first, self.last, self.bids, self.asks
        self.first = self.last + 1
        self.bids, self.asks = {}, {}
        return batch


class BinanceBoard(Board):
    """Publishes one symbol's streams."""

    def __init__(self, exchange: Exchange, market: Market) -> None:
        """Build a board without subscribers."""
        super().__init__(exchange, market)
        self.numbers = wire.Numbers(market.instrument)
        self._lower = self.symbol.lower()
        self._trades = self.stream("trade", "ids")
        self._aggregates = self.stream("aggTrade", "ids")
        self._top = self.stream("bookTicker")
        self._prefixes = {
            name: prefix_of(f"{self._lower}@{name}") for name in ("trade", "aggTrade", "bookTicker")
        }
        self._batches: dict[str, _DepthBatch] = {}
        self._running: set[str] = set()

    # ── real time ──────────────────────────────────────────────────────────

    def on_action(self, now_ns: int) -> None:
        """Publish trades and the top of the book, collect depth."""
        market = self.market
        del now_ns  # every fill carries its time
        if market.fills:
            if self._trades.groups:
                self._publish_trades()
            if self._aggregates.groups:
                self._publish_aggregates()
        if market.has_top_moved and self._top.groups:
            body = wire.book_ticker(self.numbers, market)
            publish_plain(self._top, self._prefixes["bookTicker"], lambda _: body)
        if self._batches and (market.bid_changes or market.ask_changes):
            for batch in self._batches.values():
                batch.bids.update(market.bid_changes)
                batch.asks.update(market.ask_changes)
                batch.last = market.ids.update

    def _publish_trades(self) -> None:
        """Publish each fill of the last action."""
        stream, prefix = self._trades, self._prefixes["trade"]
        numbers, symbol = self.numbers, self.symbol
        for one in self.market.fills:
            stream.ordinal += 1
            for rep, subs in tuple(stream.groups.items()):
                payload = wire.trade(numbers, symbol, one, _div(rep))
                if rep & 1:
                    payload = wire.combined(prefix, payload)
                for sub in tuple(subs):
                    sub.deliver(payload, one.id, one.id, 1, one.lots)

    def _publish_aggregates(self) -> None:
        """Publish each aggregate of the last action."""
        stream, prefix = self._aggregates, self._prefixes["aggTrade"]
        for one in self.market.fill_groups:
            stream.ordinal += 1
            for rep, subs in tuple(stream.groups.items()):
                payload = wire.agg_trade(self.numbers, self.symbol, one, _div(rep))
                if rep & 1:
                    payload = wire.combined(prefix, payload)
                for sub in tuple(subs):
                    sub.deliver(payload, one.id, one.id, 1, one.lots)

    def on_restart(self) -> None:
        """Begin the batches anew with the numbering."""
        super().on_restart()
        for channel in self._batches:
            self._batches[channel] = _DepthBatch(self.market.ids.update)

    # ── by the clock ───────────────────────────────────────────────────────

    def open(self, name: StreamName) -> Stream:
        """Return the stream of a name, and start what it needs."""
        stream = self.stream(name.channel, "ids" if name.kind == "depth" else "none")
        if name.kind in {"trade", "aggTrade"}:
            return self.streams[name.channel]
        if name.period_ms and name.channel not in self._running:
            self._running.add(name.channel)
            task = self._task(name, stream, prefix_of(f"{self._lower}@{name.channel}"))
            self.exchange.every(name.period_ms * _MS, partial(self._tick, name, stream, task))
        return stream

    def _tick(
        self, name: StreamName, stream: Stream, task: Callable[[int], None], now_ns: int
    ) -> bool:
        """Run a periodic stream's task while it has subscribers."""
        if not stream.groups:
            self._running.discard(name.channel)
            self._batches.pop(name.channel, None)
            return False
        task(now_ns)
        return True

    def _task(self, name: StreamName, stream: Stream, prefix: bytes) -> Callable[[int], None]:
        """Return what a periodic stream does at each tick."""
        if name.kind == "depth":
            self._batches[name.channel] = _DepthBatch(self.market.ids.update)
            return partial(self._push_depth, name.channel, stream, prefix)
        if name.kind == "partialDepth":
            return self._partial_depth_task(name.levels, stream, prefix)
        if name.kind == "kline":
            return self._kline_task(name, stream, prefix)
        writers: dict[str, Callable[[int, int], bytes]] = {
            "ticker": lambda now, div: wire.ticker(self.numbers, self.market, now, div),
            "miniTicker": self.mini_ticker,
            "rollingTicker": lambda now, div: self.rolling_ticker(name.window, now, div),
            "avgPrice": self._average_price,
        }
        write = writers[name.kind]

        def push(now_ns: int) -> None:
            publish_plain(stream, prefix, lambda div: write(now_ns, div))

        return push

    def _push_depth(self, channel: str, stream: Stream, prefix: bytes, now_ns: int) -> None:
        """Publish a batch of depth changes, if there are any."""
        batch = self._batches[channel]
        if batch.last < batch.first:
            return
        first, last, bids, asks = batch.take()
        stream.ordinal += 1
        for rep, subs in tuple(stream.groups.items()):
            payload = wire.depth_update(
                self.numbers, self.symbol, first, last, bids, asks, now_ns // _div(rep)
            )
            if rep & 1:
                payload = wire.combined(prefix, payload)
            for sub in tuple(subs):
                sub.deliver(payload, first, last, 1, 0)

    def _partial_depth_task(
        self, levels: int, stream: Stream, prefix: bytes
    ) -> Callable[[int], None]:
        """Publish the top levels when the book has changed."""
        published = -1

        def push(now_ns: int) -> None:
            nonlocal published
            del now_ns
            if self.market.ids.update != published:
                published = self.market.ids.update
                body = wire.partial_depth(self.numbers, self.market, levels)
                publish_plain(stream, prefix, lambda _: body)

        return push

    def _kline_task(self, name: StreamName, stream: Stream, prefix: bytes) -> Callable[[int], None]:
        """Publish the running candle, and the finished one once with x = true."""
        interval, offset_s = name.interval, name.offset_s
        open_ns = interval_floor(interval, self.exchange.scheduler.now_ns, offset_s)

        def send(start_ns: int, bar: Bar, now_ns: int, *, is_closed: bool) -> None:
            end_ns = interval_next(interval, start_ns, offset_s)
            publish_plain(
                stream,
                prefix,
                lambda div: wire.kline(
                    self.numbers,
                    self.symbol,
                    interval,
                    bar,
                    end_ns,
                    is_closed=is_closed,
                    now_ns=now_ns,
                    div=div,
                ),
            )

        def push(now_ns: int) -> None:
            nonlocal open_ns
            start_ns = interval_floor(interval, now_ns, offset_s)
            if start_ns != open_ns:
                end_ns = interval_next(interval, open_ns, offset_s)
                send(open_ns, self.candle(interval, open_ns, end_ns), now_ns, is_closed=True)
                open_ns = start_ns
            bar = self.candle(interval, start_ns, now_ns)
            if bar.count:
                send(start_ns, bar, now_ns, is_closed=False)

        return push

    # ── also for REST ──────────────────────────────────────────────────────

    def candle(self, interval: str, start_ns: int, end_ns: int) -> Bar:
        """Return the candle that starts at `start_ns`, with the trades before `end_ns`."""
        if interval != "1s":
            return self.market.bars.since(start_ns, end_ns)
        bar = Bar(start_ns, self.market.last_price)
        found: list[Trade] = []
        for trade in reversed(self.market.trades):
            if trade.time_ns < start_ns:
                bar.open = bar.high = bar.low = bar.close = trade.price
                break
            if trade.time_ns < start_ns + _SECOND_NS:
                found.append(trade)
        for trade in reversed(found):
            bar.add(trade.id, trade.price, trade.lots, is_buy=trade.is_buy)
        return bar

    def mini_ticker(self, now_ns: int, div: int) -> bytes:
        """Write this symbol's mini ticker."""
        bar = self.market.bars.day(now_ns)
        return wire.mini_ticker(self.numbers, self.symbol, bar, now_ns, div)

    def rolling_ticker(self, window: str, now_ns: int, div: int) -> bytes:
        """Write this symbol's ticker of a 1h, 4h or 1d window."""
        start_ns = (now_ns // MINUTE_NS - _WINDOWS[window]) * MINUTE_NS
        bar = self.market.bars.since(start_ns, now_ns)
        return wire.rolling_ticker(self.numbers, self.symbol, window, bar, now_ns, div)

    def average_price(self, now_ns: int) -> str:
        """Return the volume-weighted price of the last five minutes."""
        bar = self.market.bars.since((now_ns // MINUTE_NS - 5) * MINUTE_NS, now_ns)
        return self.numbers.average(bar) if bar.lots else self.numbers.price(bar.close)

    def _average_price(self, now_ns: int, div: int) -> bytes:
        last = self.market.last_trade
        last_ns = last.time_ns if last is not None else now_ns
        return (
            f'{{"e":"avgPrice","E":{now_ns // div},"s":"{self.symbol}","i":"5m",'
            f'"w":"{self.average_price(now_ns)}","T":{last_ns // div}}}'
        ).encode()
