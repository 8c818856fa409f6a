"""Which bars are final: nothing in Kraken's messages says so, the next bar's beginning does."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from crossfeed.errors import InvalidValueError
from crossfeed.model.events import Candle, MarketData
from crossfeed.model.trust import Mark
from crossfeed.venues.kraken.profile import INTERVALS, NAME

__all__ = ["Bars"]

_LENGTH_NS: Final = {word: minutes * 60_000_000_000 for minutes, word in INTERVALS.items()}


class Bars:
    """The last bar of each series of one connection.

    Kraken sends a bar when it trades, so a bar is known to be final with the first trade of a later
    one, not at the end of its interval.
    """

    def __init__(self) -> None:
        """Start without bars."""
        self._last: dict[tuple[str, str], Candle] = {}

    def clear(self) -> None:
        """Forget all bars: what was missed meanwhile may belong to them."""
        self._last.clear()

    def forget(self, symbol: str, interval: str) -> None:
        """Forget the bar of one series."""
        self._last.pop((symbol, interval), None)

    def update(self, events: list[Candle], out: list[MarketData]) -> None:
        """Emit each bar; before the first of a later interval the last one once more, closed.

        The closed bar carries the receive time of the message that closed it, and the frame of the
        one that changed it last. A late change of an older bar is emitted closed.

        Raises:
            InvalidValueError: A bar without a beginning. Nothing was changed.
        """
        _check(events)
        for event in events:
            key = (event.symbol, event.interval)
            last = self._last.get(key)
            is_old = last is not None and event.open_time_ns < last.open_time_ns
            bar = _bar(event, event.marks, is_closed=is_old)
            if last is not None and event.open_time_ns > last.open_time_ns:
                out.append(
                    structs.replace(
                        last,
                        is_closed=True,
                        marks=last.marks & Mark.RECEIVE_TIME,
                        ts_recv_ns=event.ts_recv_ns,
                        ts_mono_ns=event.ts_mono_ns,
                    )
                )
            out.append(bar)
            if not is_old:
                self._last[key] = bar

    def replace(self, events: list[Candle], out: list[MarketData]) -> None:
        """Emit the bars of a snapshot, oldest first; all but the newest of a series are closed.

        Raises:
            InvalidValueError: A bar without a beginning. Nothing was changed.
        """
        _check(events)
        bars = sorted(events, key=lambda bar: bar.open_time_ns)
        newest = {(bar.symbol, bar.interval): bar.open_time_ns for bar in bars}
        for event in bars:
            key = (event.symbol, event.interval)
            is_closed = event.open_time_ns < newest[key]
            marks = event.marks | Mark.HISTORY if is_closed else event.marks
            bar = _bar(event, marks, is_closed=is_closed)
            if not is_closed:
                self._last[key] = bar
            out.append(bar)


def _check(events: list[Candle]) -> None:
    for event in events:
        if not event.open_time_ns:
            detail = "interval_begin is no time of a market"
            raise InvalidValueError(NAME, "invalid_value", detail, event.raw or b"")


def _bar(event: Candle, marks: Mark, *, is_closed: bool) -> Candle:
    """Give a bar its end, its state, and its marks."""
    open_ns = event.open_time_ns
    return Candle(
        event.exchange, event.symbol, event.unified, event.ts_event_ns, event.ts_sent_ns,
        event.ts_recv_ns, event.ts_mono_ns,
        marks if event.ts_event_ns else marks | Mark.RECEIVE_TIME, event.integrity, event.trust,
        event.raw, event.raw_index, event.interval, open_ns, open_ns + _LENGTH_NS[event.interval],
        event.open, event.high, event.low, event.close, event.volume, event.trades, is_closed,
    )  # fmt: skip
