"""One venue's latest value for one (symbol, data type), and whether it may take part."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from crossfeed.aggregation.conversion import Conversion
from crossfeed.model.events import MarketData
from crossfeed.model.trust import Integrity, Mark, Trust

__all__ = ["NEVER_NS", "VALUE_MAX", "Admission", "Slot", "refusal"]

NEVER_NS: Final = 1 << 62
"""A monotonic time that is never reached."""

VALUE_MAX: Final = 1e18
"""Prices and sizes at or above are no market's; below, no arithmetic of ours can overflow."""

# `&` of two flags is a Python-level call of half a microsecond; on plain integers it is not.
_SUSPECT: Final = int(Mark.SUSPECT)
_TRUST_REASON: Final = {
    Trust.STALE: "stale",
    Trust.UNSOUND: "unsound",
    Trust.CLOSED: "closed",
    Trust.UNAVAILABLE: "unavailable",
}


class Admission(Struct, frozen=True, gc=False):
    """Which values take part.

    Attributes:
        age_limit_ns: Older ones do not.
        min_integrity: Those of streams that can be proven less well do not.
        sound_only: False admits STALE and UNSOUND ones; CLOSED and UNAVAILABLE never are.
    """

    age_limit_ns: int
    min_integrity: Integrity
    sound_only: bool


def refusal(trust: Trust, integrity: Integrity, rules: Admission) -> str:
    """Return why values of a stream that stands like this take no part; empty if they do."""
    if trust is not Trust.SOUND and (rules.sound_only or trust > Trust.UNSOUND):
        return _TRUST_REASON[trust]
    return "integrity" if integrity < rules.min_integrity else ""


class Slot:
    """One venue's place in the aggregate of one (symbol, data type). Made and kept by its board.

    Attributes:
        exchange: Name of the venue, as its events carry it.
        symbol: The venue's own symbol; empty until known.
        quote: Currency of the prices below: the venue's own, or the common one once converted.
        event: The latest event; None before the first, and after the stream was restored until the
            next.
        ts_ns: Monotonic receive time of it.
        reason: Why it may not take part, age apart; empty if it may.
        is_member: Whether it takes part, as of the last regrouping.
        rate: Factor from the venue's currency to the common one, 0 while unknown.
        price: Latest trade or ticker price, converted.
        volume: 24 h volume of a ticker in base units, None where the venue gives none.
        bid: Best bid price, converted. `bid_quantity`, `ask`, `ask_quantity` likewise.
        trades: Trades since the last publication whose prices take part.
    """

    __slots__ = (
        "ask",
        "ask_quantity",
        "bid",
        "bid_quantity",
        "conversion",
        "event",
        "exchange",
        "integrity",
        "is_crossed",
        "is_member",
        "marks",
        "price",
        "quote",
        "rate",
        "reason",
        "symbol",
        "trades",
        "trust",
        "ts_ns",
        "volume",
    )

    def __init__(self, exchange: str, symbol: str, quote: str) -> None:
        """Start without a value."""
        self.exchange = exchange
        self.symbol = symbol
        self.quote = quote
        self.event: MarketData | None = None
        self.ts_ns = 0
        self.trust = Trust.SOUND
        self.integrity = Integrity.NONE
        self.marks = Mark.NONE
        self.is_crossed = False
        self.is_member = False
        self.reason = "no_data"
        self.conversion: Conversion | None = None
        self.rate = 1.0
        self.price = 0.0
        self.volume: float | None = None
        self.bid = self.bid_quantity = self.ask = self.ask_quantity = 0.0
        self.trades = 0

    def judge(self, rules: Admission) -> bool:
        """Set `reason` from what is known of the latest event; say whether it changed."""
        before = self.reason
        self.reason = self._judged(rules)
        return self.reason != before

    def _judged(self, rules: Admission) -> str:
        reason = refusal(self.trust, self.integrity, rules)
        if self.event is None and reason in {"", "integrity"}:
            return "no_data"
        if reason:
            return reason
        if self.is_crossed or int(self.marks) & _SUSPECT:
            return "suspect"
        return "" if self.rate else "quote"

    def use_rate(self) -> None:
        """Take over the current rate of the conversion, 0 while there is none."""
        if self.conversion is not None:
            self.rate = self.conversion.value or 0.0

    def fresh_until_ns(self, age_limit_ns: int) -> int:
        """Return when its value, or the rate it was converted by, gets too old; monotonic ns."""
        until_ns = self.ts_ns + age_limit_ns
        if self.conversion is not None:
            until_ns = min(until_ns, self.conversion.fresh_until_ns(never=NEVER_NS))
        return until_ns

    def reason_at(self, now_ns: int, age_limit_ns: int) -> str:
        """Return why it takes no part at `now_ns`; empty if it does."""
        if self.reason or now_ns <= self.fresh_until_ns(age_limit_ns):
            return self.reason
        return "stale" if now_ns - self.ts_ns > age_limit_ns else "quote"

    def age_s(self, now_ns: int) -> float:
        """Return the age of its value, seconds; 0 if it has none."""
        return 0.0 if self.event is None else max(now_ns - self.ts_ns, 0) / 1e9

    def __repr__(self) -> str:
        """Return the venue and how it stands."""
        return f"Slot({self.exchange}, {self.reason or 'takes part'})"
