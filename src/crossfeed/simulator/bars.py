"""Candles and rolling statistics of one market, exact in ticks and lots, minute by minute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

__all__ = ["DAY_MINUTES", "MINUTE_NS", "Bar", "BarSeries"]

MINUTE_NS = 60_000_000_000
DAY_MINUTES = 1_440
#: Minutes of made-up past before a market's first live trade.
_PAST_MINUTES = DAY_MINUTES + 60
#: Minutes kept; older ones are forgotten.
_KEPT_MINUTES = 10 * DAY_MINUTES
#: Most a made-up minute moves and shoots beyond, relative to the price.
_PAST_MOVE = 1.2e-3
_PAST_WICK = 7e-4
#: Open sums kept (24 h windows and one per candle interval).
_SUMS_KEPT = 64


class Bar:
    """Open, high, low, close in ticks; volumes in lots and in ticks times lots; trade ids.

    A bar without trades has `count` 0 and `first_id` and `last_id` -1; its prices are then all the
    last price before it.
    """

    __slots__ = (
        "buy_lots",
        "buy_turnover",
        "close",
        "count",
        "first_id",
        "high",
        "last_id",
        "lots",
        "low",
        "open",
        "start_ns",
        "turnover",
    )

    def __init__(self, start_ns: int, price: int) -> None:
        """Build an empty bar that starts at `start_ns` with the last known price."""
        self.start_ns = start_ns
        self.open = self.high = self.low = self.close = price
        self.lots = self.turnover = self.count = 0
        self.buy_lots = self.buy_turnover = 0
        self.first_id = self.last_id = -1

    def add(self, trade_id: int, price: int, lots: int, *, is_buy: bool) -> None:
        """Count one trade. `is_buy`: the taker bought."""
        if self.count == 0:
            self.open = self.high = self.low = price
            self.first_id = trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = trade_id
        self.count += 1
        self.lots += lots
        turnover = price * lots
        self.turnover += turnover
        if is_buy:
            self.buy_lots += lots
            self.buy_turnover += turnover

    def merge(self, later: Bar) -> None:
        """Append a later bar to this one."""
        if later.count:
            if self.count == 0:
                self.open, self.high, self.low = later.open, later.high, later.low
                self.first_id = later.first_id
            else:
                self.high = max(self.high, later.high)
                self.low = min(self.low, later.low)
            self.last_id = later.last_id
            self.close = later.close
        self.count += later.count
        self.lots += later.lots
        self.turnover += later.turnover
        self.buy_lots += later.buy_lots
        self.buy_turnover += later.buy_turnover

    def copy(self) -> Bar:
        """Return an independent copy."""
        twin = Bar(self.start_ns, self.open)
        twin.merge(self)
        twin.open, twin.high, twin.low, twin.close = self.open, self.high, self.low, self.close
        return twin


class BarSeries:
    """The minutes of one market: a made-up past, then what was really traded.

    The past is made when it is first asked for, from its own seed, so that it costs nothing for a
    market nobody looks at and does not depend on when somebody does.
    """

    def __init__(self, seed: str, start_ns: int, price: int, trade_id: int, lots_mean: int) -> None:
        """Begin at `start_ns` with the price and id the first live trade continues from.

        Args:
            seed: Seeds the made-up past.
            start_ns: Time of the first live trade or earlier, ns since 1970 UTC.
            price: Last price of the past, ticks.
            trade_id: Id the first live trade will have.
            lots_mean: Mean size of a made-up trade, lots.
        """
        self._seed = seed
        self._origin = (start_ns // MINUTE_NS, price, trade_id, lots_mean)
        self.current = Bar(start_ns // MINUTE_NS * MINUTE_NS, price)
        self._minutes: dict[int, Bar] = {start_ns // MINUTE_NS: self.current}
        self._has_past = False
        #: start -> (minutes before this one are in the sum, sum)
        self._closed: dict[int, tuple[int, Bar]] = {}

    def add(self, now_ns: int, trade_id: int, price: int, lots: int, *, is_buy: bool) -> None:
        """Count one trade at `now_ns`."""
        if now_ns - self.current.start_ns >= MINUTE_NS:
            self._roll(now_ns)
        self.current.add(trade_id, price, lots, is_buy=is_buy)

    def _roll(self, now_ns: int) -> None:
        """Open the minute `now_ns` lies in. Minutes without trades have no bar."""
        minute = now_ns // MINUTE_NS
        self.current = Bar(minute * MINUTE_NS, self.current.close)
        self._minutes[minute] = self.current
        if len(self._minutes) > _KEPT_MINUTES + _PAST_MINUTES:
            for old in [key for key in self._minutes if key < minute - _KEPT_MINUTES]:
                del self._minutes[old]

    def _make_past(self) -> None:
        """Fill the minutes before the start backwards from the first live price and id."""
        self._has_past = True
        minute, price, trade_id, lots_mean = self._origin
        bits = Random(self._seed).getrandbits
        past: list[tuple[int, Bar]] = []
        for back in range(1, _PAST_MINUTES + 1):
            # One draw a minute, cut into pieces: a market's past costs milliseconds, not tens.
            draw = bits(64)
            wick = max(1, int(price * _PAST_WICK))
            moved = price * _PAST_MOVE * ((draw & 0xFFFF) - 0x8000) // 0x8000
            opened = max(1, price + int(moved))
            bar = Bar((minute - back) * MINUTE_NS, opened)
            bar.close = price
            bar.high = max(opened, price) + ((draw >> 16) & 0xFF) * wick // 0x100
            bar.low = max(1, min(opened, price) - ((draw >> 24) & 0xFF) * wick // 0x100)
            bar.count = count = 1 + ((draw >> 32) & 0x3F)
            bar.lots = count + count * lots_mean * (0x80 + ((draw >> 40) & 0xFF)) // 0x100
            bar.turnover = bar.lots * ((bar.high + bar.low + opened + price) // 4)
            bar.buy_lots = bar.lots * ((draw >> 48) & 0xFF) // 0x100
            bar.buy_turnover = bar.turnover * bar.buy_lots // bar.lots
            bar.last_id = trade_id - 1
            trade_id -= count
            bar.first_id = trade_id
            price = opened
            past.append((minute - back, bar))
        self._minutes = {**dict(reversed(past)), **self._minutes}

    def _sum(self, start_ns: int, minutes: Iterable[int]) -> Bar:
        """Merge the bars of the given minutes, oldest first."""
        total: Bar | None = None
        for minute in minutes:
            bar = self._minutes.get(minute)
            if bar is None:
                continue
            if total is None:
                total = bar.copy()
                total.start_ns = start_ns
            else:
                total.merge(bar)
        return total if total is not None else Bar(start_ns, self._price_before(start_ns))

    def _price_before(self, now_ns: int) -> int:
        """Return the last price before `now_ns`, ticks."""
        minute = now_ns // MINUTE_NS
        known = [key for key in self._minutes if key < minute]
        return self._minutes[max(known)].close if known else self.current.open

    def since(self, start_ns: int, now_ns: int) -> Bar:
        """Return the sum of the minutes from `start_ns` up to now, the unfinished one included.

        Cost O(1) for a start asked for before, and O(minutes) the first time.
        """
        if not self._has_past:
            self._make_past()
        minute = now_ns // MINUTE_NS
        known = self._closed.get(start_ns)
        if known is None or known[0] > minute:
            first, closed = -(-start_ns // MINUTE_NS), None
        else:
            first, closed = known
        if first < minute:
            later = self._sum(first * MINUTE_NS, range(first, minute))
            if closed is None:
                closed = later
                closed.start_ns = start_ns
            else:
                closed.merge(later)
        if closed is None:
            closed = Bar(start_ns, self._price_before(start_ns))
        if len(self._closed) >= _SUMS_KEPT:
            self._closed.pop(next(iter(self._closed)))
        self._closed[start_ns] = (minute, closed)
        total = closed.copy()
        if self.current.start_ns // MINUTE_NS == minute:
            total.merge(self.current)
        return total

    def day(self, now_ns: int) -> Bar:
        """Return the last 24 hours up to `now_ns`. Whole minutes leave the window at its far end.

        Cost O(1), and O(minutes) once a minute.
        """
        return self.since((now_ns // MINUTE_NS - DAY_MINUTES + 1) * MINUTE_NS, now_ns)

    def price_before_day(self, now_ns: int) -> int:
        """Return the last price before the 24-hour window, ticks."""
        bar = self._minutes.get(now_ns // MINUTE_NS - DAY_MINUTES)
        return bar.close if bar is not None else self.day(now_ns).open

    def bars(
        self, start_ns: int, end_ns: int, floor: Callable[[int], int], *, limit: int
    ) -> list[Bar]:
        """Return the newest `limit` bars that start in the half-open span, oldest first.

        Args:
            start_ns: Earliest start, ns.
            end_ns: End of the span, exclusive, ns.
            floor: Maps a time to the start of the bar it lies in, ns.
            limit: Most bars to return. Spans without trades give no bar.
        """
        if not self._has_past:
            self._make_past()
        found: dict[int, Bar] = {}
        for minute, bar in self._minutes.items():
            begin = floor(minute * MINUTE_NS)
            if not start_ns <= begin < end_ns:
                continue
            total = found.get(begin)
            if total is None:
                total = found[begin] = bar.copy()
                total.start_ns = begin
            else:
                total.merge(bar)
        return [found[key] for key in sorted(found)[-limit:]] if limit > 0 else []
