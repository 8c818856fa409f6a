"""Finds prices of two venues that can be traded against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from crossfeed.errors import ConfigError
from crossfeed.model.trust import Integrity, Trust
from crossfeed.model.unified import UnifiedMarketData

__all__ = ["ArbitrageDetector", "DepthLevel", "DepthView"]

OPPORTUNITIES_MAX: Final = 1000
OPPORTUNITIES_LIMIT: Final = 1e6
EXCHANGE_OF: Final[Mapping[str, str]] = {"coinbase_advanced": "coinbase"}
"""Feeds of one order book: between them there is nothing to gain."""

_VALUE_MIN: Final = 1e-18
_VALUE_MAX: Final = 1e18


class DepthLevel(Protocol):
    """One level of one venue."""

    @property
    def price(self) -> float:
        """Quote units per base unit, before fees."""
        ...

    @property
    def quantity(self) -> float:
        """Base units."""
        ...

    @property
    def exchange(self) -> str:
        """The venue."""
        ...


class DepthView(Protocol):
    """The depth over venues, at one moment; the consolidated book's view is one."""

    @property
    def bids(self) -> Sequence[DepthLevel]:
        """Bids, highest price first."""
        ...

    @property
    def asks(self) -> Sequence[DepthLevel]:
        """Offers, lowest price first."""
        ...


class ArbitrageDetector:
    """Watches the best bid and ask over venues for the crossed case. Not thread-safe.

    Without fees, sizes and depth it behaves as the plainest detector: an opportunity is a best bid
    above another venue's best ask by `min_spread_percent`. Fees, a minimum size and depth make it
    stricter. Never told: anything from one venue (or two feeds of one), from a value that is not
    SOUND, too weakly proven, or with a quote older than `age_limit_s`.

    Attributes:
        opportunities: What was found, newest last, at most `opportunities_max`. Each a dict with
            symbol, buy_exchange, buy_price, sell_exchange, sell_price, spread (quote units a base
            unit), spread_percent (of the mid price, positive), quantity (base units),
            net_profit_percent (of the money paid, after fees, over the quantity), timestamp (aware
            UTC), quote_mismatch.
        rejected: How often each reason spoke against a crossed value: "threshold", "same_venue",
            "trust", "integrity", "stale", "size", "fees", "quote".
    """

    def __init__(
        self,
        min_spread_percent: float = 0.0,
        *,
        fees_percent: Mapping[str, float] | None = None,
        min_size: float = 0.0,
        age_limit_s: float = 5.0,
        min_integrity: Integrity = Integrity.NONE,
        sound_only: bool = True,
        allow_quote_mismatch: bool = True,
        opportunities_max: int = OPPORTUNITIES_MAX,
    ) -> None:
        """Set what counts as an opportunity.

        Args:
            min_spread_percent: Least spread, percent of the mid price, before fees.
            fees_percent: Taker fee per venue, percent of the notional; given, the profit after fees
                must be above 0.
            min_size: Least quantity, base units.
            age_limit_s: Oldest quote that may take part.
            min_integrity: Least provable stream.
            sound_only: False also takes values whose trust is not SOUND.
            allow_quote_mismatch: False refuses prices in different currencies instead of flagging
                them.
            opportunities_max: Most entries kept in `opportunities`.

        Raises:
            ConfigError: A number is out of its range.
        """
        self.min_spread_percent = _checked("min_spread_percent", min_spread_percent, 0.0, 1e6)
        self.min_size = _checked("min_size", min_size, 0.0, _VALUE_MAX)
        self.age_limit_s = _checked("age_limit_s", age_limit_s, 0.0, 86_400.0)
        self.fees_percent = {
            venue: _checked(f"fees_percent.{venue}", fee, -50.0, 50.0)
            for venue, fee in (fees_percent or {}).items()
        }
        self.opportunities_max = int(
            _checked("opportunities_max", opportunities_max, 1.0, OPPORTUNITIES_LIMIT)
        )
        self.min_integrity = min_integrity
        self.sound_only = sound_only
        self.allow_quote_mismatch = allow_quote_mismatch
        self.opportunities: list[dict[str, Any]] = []
        self.checked = 0
        self.found = 0
        self.rejected: dict[str, int] = {}

    def check_opportunity(
        self,
        data: UnifiedMarketData,
        *,
        depth: DepthView | None = None,
        now_mono_ns: int | None = None,
    ) -> bool:
        """Say whether `data` is an opportunity; if so, append it to `opportunities`.

        Args:
            data: A unified book ticker; every other kind, and one without usable prices, is none.
            depth: The consolidated depth, to find how much can be traded; without it the sizes at
                the best prices count.
            now_mono_ns: Monotonic time ages are measured at; the value's own publication where
                absent.

        Returns:
            True if there is one. Never raises for what `data` holds.
        """
        self.checked += 1
        top = _read_top(data)
        if top is None or top.sell_price <= top.buy_price:
            return False
        reason = self._objection(data, top, now_mono_ns)
        if reason:
            self.rejected[reason] = self.rejected.get(reason, 0) + 1
            return False
        buy_fee = self.fees_percent.get(top.buy_exchange, 0.0) / 100
        sell_fee = self.fees_percent.get(top.sell_exchange, 0.0) / 100
        pairs = [(top.buy_price, top.sell_price, top.quantity)]
        if depth is not None:
            pairs = self._walk(depth, top, 1 + buy_fee, 1 - sell_fee)
        quantity = sum(amount for _, _, amount in pairs)
        paid = sum(buy * amount for buy, _, amount in pairs) * (1 + buy_fee)
        got = sum(sell * amount for _, sell, amount in pairs) * (1 - sell_fee)
        if not quantity:  # sizes unknown: judged by the prices alone
            paid, got = top.buy_price * (1 + buy_fee), top.sell_price * (1 - sell_fee)
        reason = ""
        if quantity < self.min_size or (depth is not None and not quantity):
            reason = "size"
        elif got <= paid:
            reason = "fees"
        if reason:
            self.rejected[reason] = self.rejected.get(reason, 0) + 1
            return False
        self._keep(data, top, quantity, (got - paid) / paid * 100)
        return True

    def _objection(self, data: UnifiedMarketData, top: _Top, now_mono_ns: int | None) -> str:
        """Return what speaks against a crossed value; empty if nothing does."""
        name = EXCHANGE_OF.get
        if name(top.buy_exchange, top.buy_exchange) == name(top.sell_exchange, top.sell_exchange):
            return "same_venue"
        if self.sound_only and data.trust is not Trust.SOUND:
            return "trust"
        if data.integrity < self.min_integrity:
            return "integrity"
        if data.quote_mismatch and not self.allow_quote_mismatch:
            return "quote"
        if top.spread_percent < self.min_spread_percent:
            return "threshold"
        return "stale" if self._is_stale(data, top, now_mono_ns) else ""

    def _is_stale(self, data: UnifiedMarketData, top: _Top, now_mono_ns: int | None) -> bool:
        """Say whether one of the two quotes is too old, or left out as such."""
        left_out = {excluded.exchange for excluded in data.excluded}
        if left_out & {top.buy_exchange, top.sell_exchange}:
            return True
        now_ns = data.ts_mono_ns if now_mono_ns is None else now_mono_ns
        limit_ns = self.age_limit_s * 1e9
        concerned = [
            event.ts_mono_ns
            for event in data.source_data
            if event.exchange in {top.buy_exchange, top.sell_exchange}
        ]
        # Hand-made events have no receive time: their age is unknown and not held against them.
        return any(ts_ns and now_ns - ts_ns > limit_ns for ts_ns in concerned)

    def _walk(
        self, depth: DepthView, top: _Top, buy_factor: float, sell_factor: float
    ) -> list[tuple[float, float, float]]:
        """Match the two venues' levels while each further unit still gains after fees."""
        asks = [[a.price, a.quantity] for a in depth.asks if a.exchange == top.buy_exchange]
        bids = [[b.price, b.quantity] for b in depth.bids if b.exchange == top.sell_exchange]
        pairs: list[tuple[float, float, float]] = []
        i = j = 0
        while i < len(asks) and j < len(bids):
            buy, sell = asks[i][0], bids[j][0]
            if sell * sell_factor <= buy * buy_factor:
                break
            amount = min(asks[i][1], bids[j][1])
            pairs.append((buy, sell, amount))
            asks[i][1] -= amount
            bids[j][1] -= amount
            i += asks[i][1] <= 0
            j += bids[j][1] <= 0
        return pairs

    def _keep(
        self, data: UnifiedMarketData, top: _Top, quantity: float, net_profit_percent: float
    ) -> None:
        self.found += 1
        if len(self.opportunities) >= self.opportunities_max:
            del self.opportunities[0]
        self.opportunities.append(
            {
                "symbol": data.symbol,
                "buy_exchange": top.buy_exchange,
                "buy_price": top.buy_price,
                "sell_exchange": top.sell_exchange,
                "sell_price": top.sell_price,
                "spread": top.sell_price - top.buy_price,
                "spread_percent": top.spread_percent,
                "quantity": quantity,
                "net_profit_percent": net_profit_percent,
                "timestamp": data.timestamp,
                "quote_mismatch": data.quote_mismatch,
            }
        )

    def __repr__(self) -> str:
        """Return the threshold and the counts."""
        return (
            f"ArbitrageDetector(>= {self.min_spread_percent:g} %, "
            f"{self.found} found of {self.checked})"
        )


class _Top:
    """The best prices of a unified book ticker, read once."""

    __slots__ = (
        "buy_exchange",
        "buy_price",
        "quantity",
        "sell_exchange",
        "sell_price",
        "spread_percent",
    )

    def __init__(self, values: Mapping[str, Any], buy_price: float, sell_price: float) -> None:
        self.buy_exchange = str(values.get("best_ask_exchange") or "")
        self.sell_exchange = str(values.get("best_bid_exchange") or "")
        self.buy_price = buy_price
        self.sell_price = sell_price
        sizes = (values.get("best_ask_quantity"), values.get("best_bid_quantity"))
        self.quantity = min((_positive(size) or 0.0 for size in sizes), default=0.0)
        mid = (buy_price + sell_price) / 2
        self.spread_percent = (sell_price - buy_price) / mid * 100


def _read_top(data: UnifiedMarketData) -> _Top | None:
    """Return the best prices, None where `data` is no book ticker or has none."""
    values = data.data
    buy, sell = _positive(values.get("best_ask")), _positive(values.get("best_bid"))
    if data.data_type != "book_ticker" or buy is None or sell is None:
        return None
    top = _Top(values, buy, sell)
    return top if top.buy_exchange and top.sell_exchange else None


def _positive(value: object) -> float | None:
    """Return a possible price or size, None for everything else (NaN, infinities, bool, text)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if _VALUE_MIN <= value < _VALUE_MAX else None


def _checked(field: str, value: object, low: float, high: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)  # NaN and the infinities fail the comparison
    raise ConfigError(f"{value!r} is no number in {low:g}..{high:g}", field=field)
