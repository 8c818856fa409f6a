"""Decides whether events and prices can be believed.

These are for data from outside the feed (hand-made, other sources) and for a second opinion: what
crossfeed delivers has passed its own decoder. Nothing here reads a clock: the time comes in as an
argument, or as a callable that the front door sets.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from crossfeed.errors import ConfigError
from crossfeed.model.events import MarketData
from crossfeed.model.unified import UnifiedMarketData

__all__ = ["DataValidator", "PriceValidator", "validate_price"]

FUTURE_LIMIT_S: Final = 60.0
VALUE_MAX: Final = 1e18

_PRICES: Final = (
    "price",
    "last_price",
    "bid_price",
    "ask_price",
    "best_bid",
    "best_ask",
    "open",
    "high",
    "low",
    "close",
)
_SIZES: Final = (
    "quantity",
    "size",
    "volume",
    "volume_24h",
    "quote_volume",
    "bid_quantity",
    "ask_quantity",
    "best_bid_quantity",
    "best_ask_quantity",
)
_REQUIRED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "trade": (("price",),),
    "agg_trade": (("price",),),
    "ticker": (("price", "last_price"),),
    "mini_ticker": (("last_price", "price"),),
    "book_ticker": (("bid_price", "best_bid"), ("ask_price", "best_ask")),
    "kline": (("open",), ("high",), ("low",), ("close",)),
}


class DataValidator:
    """Judges events. Stateless but for its counters.

    Attributes:
        future_limit_s: A time stamp further in the future is refused.
        clock: Returns wall time, ns; None compares with the event's own receive time.
        rejected: How often each reason was given.
    """

    def __init__(
        self, *, clock: Callable[[], int] | None = None, future_limit_s: float = FUTURE_LIMIT_S
    ) -> None:
        """Set the clock and the limit."""
        if not 0.0 <= future_limit_s <= 86_400.0:  # noqa: PLR2004 - a day
            raise ConfigError(f"{future_limit_s!r} is not in 0..86400", field="future_limit_s")
        self.clock = clock
        self.future_limit_s = future_limit_s
        self.rejected: dict[str, int] = {}

    def __call__(self, data: MarketData | UnifiedMarketData, now_ns: int | None = None) -> bool:
        """Say whether an event can be believed; never raises for its content.

        Every price it has must be a finite number above 0, every size one from 0 up, what its kind
        needs must be there, and it must not come from the future.

        Args:
            data: Any event, or a unified value.
            now_ns: Wall time to compare the time stamp with; absent, the clock's; without a clock,
                the event's receive time (a hand-made event was "received" at its own time stamp, so
                its future cannot be seen then).
        """
        reason = self.objection(data, now_ns)
        if reason:
            self.rejected[reason] = self.rejected.get(reason, 0) + 1
        return not reason

    def objection(self, data: MarketData | UnifiedMarketData, now_ns: int | None = None) -> str:
        """Return what speaks against an event, empty if nothing does.

        One of "missing", "price", "size", "naive" (a time stamp without a zone), "future".
        """
        values = data.data
        for names in _REQUIRED.get(data.data_type, ()):
            # A unified book ticker and a venue's have different words for the same thing.
            if all(values.get(name) is None for name in names):
                return "missing"
        if any(name in values and not _is_price(values[name]) for name in _PRICES):
            return "price"
        if any(name in values and not _is_size(values[name]) for name in _SIZES):
            return "size"
        if now_ns is None and self.clock is not None:
            now_ns = self.clock()
        if data.timestamp.tzinfo is None:
            return "naive"
        if isinstance(data, UnifiedMarketData):
            stamp_ns, known_ns = round(data.timestamp.timestamp() * 1e6) * 1000, None
        else:
            stamp_ns, known_ns = data.ts_event_ns, data.ts_recv_ns
        limit_ns = known_ns if now_ns is None else now_ns
        is_future = limit_ns is not None and stamp_ns > limit_ns + self.future_limit_s * 1e9
        return "future" if is_future else ""


class PriceValidator:
    """Tells absurd prices from moves. Keeps the latest good prices of each symbol.

    A price is good inside half the lowest to double the highest of the kept ones. One outside is
    refused; but a move that lasts is a move: after `confirmations` refused prices in a row that
    agree with each other by the same measure, the history starts anew from them and they are good.

    Memory: `history_size` prices for each of at most `symbols_max` symbols; beyond it the symbol
    not seen for longest is forgotten.
    """

    def __init__(
        self,
        *,
        history_size: int = 100,
        confirmations: int = 5,
        low_factor: float = 0.5,
        high_factor: float = 2.0,
        symbols_max: int = 10_000,
    ) -> None:
        """Set the band.

        Raises:
            ConfigError: A size is below 1, or the factors do not enclose 1.
        """
        for field, value in (
            ("history_size", history_size),
            ("confirmations", confirmations),
            ("symbols_max", symbols_max),
        ):
            if type(value) is not int or value < 1:
                raise ConfigError(f"{value!r} is no whole number above 0", field=field)
        if not 0.0 < low_factor < 1.0 < high_factor < VALUE_MAX:
            raise ConfigError(
                f"{low_factor!r}..{high_factor!r} does not enclose 1", field="low_factor"
            )
        self._history_size = history_size
        self._confirmations = confirmations
        self._low_factor = low_factor
        self._high_factor = high_factor
        self._symbols_max = symbols_max
        self._histories: OrderedDict[str, _History] = OrderedDict()
        self.accepted = 0
        self.rejected: dict[str, int] = {}

    def validate(self, price: float, symbol: str) -> bool:
        """Say whether `price` is believable for `symbol`; a good one joins the history.

        Never raises for what `price` is: NaN, infinities, bool, text, zero and negative are
        refused.
        """
        reason = self._objection(price, symbol)
        if reason:
            self.rejected[reason] = self.rejected.get(reason, 0) + 1
        else:
            self.accepted += 1
        return not reason

    __call__ = validate

    def _objection(self, price: object, symbol: str) -> str:
        if not _is_price(price):
            return "invalid"
        value = float(price)  # type: ignore[arg-type]
        history = self._history(symbol)
        if not history.good or self._is_near(value, history.good):
            history.odd.clear()
            history.good.append(value)
            return ""
        if history.odd and not self._is_near(value, history.odd):
            history.odd.clear()
        history.odd.append(value)
        if len(history.odd) < self._confirmations:
            return "suspicious"
        history.good.clear()
        history.good.extend(history.odd)
        history.odd.clear()
        return ""

    def _is_near(self, price: float, known: deque[float]) -> bool:
        return min(known) * self._low_factor <= price <= max(known) * self._high_factor

    def _history(self, symbol: str) -> _History:
        history = self._histories.get(symbol)
        if history is None:
            history = _History(self._history_size, self._confirmations)
            self._histories[symbol] = history
            if len(self._histories) > self._symbols_max:
                self._histories.popitem(last=False)
        else:
            self._histories.move_to_end(symbol)
        return history

    def forget(self, symbol: str) -> None:
        """Forget a symbol's history; harmless if it has none."""
        self._histories.pop(symbol, None)

    def recent(self, symbol: str) -> tuple[float, ...]:
        """Return the kept prices of a symbol, oldest first."""
        history = self._histories.get(symbol)
        return () if history is None else tuple(history.good)

    def __repr__(self) -> str:
        """Return the counts."""
        counts = f"{self.accepted} good, {sum(self.rejected.values())} refused"
        return f"PriceValidator({len(self._histories)} symbols, {counts})"


class _History:
    """The good prices of one symbol, and the odd ones in a row since."""

    __slots__ = ("good", "odd")

    def __init__(self, size: int, confirmations: int) -> None:
        self.good: deque[float] = deque(maxlen=size)
        self.odd: deque[float] = deque(maxlen=confirmations)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_price(value: Any) -> bool:  # noqa: ANN401 - whatever a mapping holds
    return _is_number(value) and 0.0 < value < VALUE_MAX


def _is_size(value: Any) -> bool:  # noqa: ANN401 - whatever a mapping holds
    return value is None or (_is_number(value) and 0.0 <= value < VALUE_MAX)


_default_prices = PriceValidator()


def validate_price(price: float, symbol: str) -> bool:
    """Say whether a price is believable for a symbol (see `PriceValidator`).

    The history belongs to the process: all callers share it.
    """
    return _default_prices.validate(price, symbol)
