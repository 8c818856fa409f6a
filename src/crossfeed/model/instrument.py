"""What is traded: one venue's instrument and its unified name."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = ["Instrument", "InstrumentKind", "InstrumentStatus", "split_unified"]


class InstrumentKind(StrEnum):
    """Sort of contract."""

    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class InstrumentStatus(StrEnum):
    """Whether an instrument trades now.

    Venue words we do not know become UNKNOWN and count as open.
    """

    ONLINE = "online"
    LIMITED = "limited"
    """Orders are restricted (post-only, cancel-only, limit-only), prices are still made."""
    HALTED = "halted"
    DELISTED = "delisted"
    UNKNOWN = "unknown"


class Instrument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tradable thing at one venue.

    Attributes:
        venue: Name of the venue ("binance").
        symbol: The venue's own symbol as its messages carry it ("BTCUSDT", "BTC-USD", "BTC/USD").
        base: Unified base currency ("BTC").
        quote: Unified quote currency ("USDT"); USD, USDT and USDC are different currencies.
        price_scale: Decimals of the price: one tick unit is `10**-price_scale`.
        size_scale: Decimals of the size.
        tick_size: Smallest price step as the venue's text; empty if unknown.
        lot_size: Smallest size step as the venue's text; empty if unknown.
        aliases: Other names the venue uses for it (Kraken: "XXBTZUSD", "XBTUSD", "XBT/USD").
        settle: Settlement currency of a derivative, else empty.
        expiry: "YYMMDD" of a dated contract, else empty.
        strike: Strike price text of an option, else empty.
        option_side: "C" or "P" of an option, else empty.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    price_scale: int = 8
    size_scale: int = 8
    tick_size: str = ""
    lot_size: str = ""
    kind: InstrumentKind = InstrumentKind.SPOT
    status: InstrumentStatus = InstrumentStatus.ONLINE
    aliases: tuple[str, ...] = ()
    settle: str = ""
    expiry: str = ""
    strike: str = ""
    option_side: str = ""

    @property
    def unified(self) -> str:
        """The unified name.

        `BASE/QUOTE`, with `:SETTLE-EXPIRY-STRIKE-SIDE` parts for derivatives.
        """
        pair = f"{self.base}/{self.quote}"
        if self.kind is InstrumentKind.SPOT:
            return pair
        parts = [self.settle or self.quote, self.expiry, self.strike, self.option_side]
        return pair + ":" + "-".join(part for part in parts if part)


def split_unified(unified: str) -> tuple[str, str]:
    """Split "BTC/USD" (or "BTC/USDT:USDT") into base and quote.

    Raises:
        ValueError: The text has no single slash with a currency on both sides.
    """
    base, slash, rest = unified.partition("/")
    quote = rest.partition(":")[0]
    if not (base and slash and quote) or "/" in rest:
        msg = f"not a unified symbol: {unified!r} (write it like BTC/USD)"
        raise ValueError(msg)
    return base, quote
