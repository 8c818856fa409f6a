"""Products of Coinbase Exchange ↔ instruments."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import InvalidValueError
from crossfeed.model.commands import RestRequest
from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.numbers import decimals_of
from crossfeed.venues.coinbase.errors import VENUE_NAME, check_status
from crossfeed.venues.decoder import refusal

__all__ = ["builtin_instruments", "instruments_request", "parse_instruments"]

_USDC: Final = "-USDC"
_USD: Final = "-USD"

# (base, quote, tick, lot) of busy products as listed in August 2026, for a start without
# network; the venue's own list replaces them.
_BUILTIN: Final = (
    ("BTC", "USD", "0.01", "0.00000001"),
    ("ETH", "USD", "0.01", "0.00000001"),
    ("SOL", "USD", "0.01", "0.00000001"),
    ("XRP", "USD", "0.0001", "0.000001"),
    ("ADA", "USD", "0.00001", "0.00000001"),
    ("DOGE", "USD", "0.00001", "0.1"),
    ("LTC", "USD", "0.01", "0.00000001"),
    ("LINK", "USD", "0.001", "0.01"),
    ("XLM", "USD", "0.000001", "0.00000001"),
    ("SUI", "USD", "0.0001", "0.1"),
    ("NEAR", "USD", "0.0001", "0.001"),
    ("USDT", "USD", "0.00001", "0.01"),
    ("BTC", "USDT", "0.01", "0.00000001"),
    ("ETH", "USDT", "0.01", "0.00000001"),
    ("BTC", "EUR", "0.01", "0.00000001"),
    ("ETH", "EUR", "0.01", "0.00000001"),
    ("SOL", "EUR", "0.01", "0.001"),
    ("BTC", "GBP", "0.01", "0.00000001"),
    ("ETH", "BTC", "0.000001", "0.00000001"),
    ("USDT", "USDC", "0.0001", "0.01"),
    ("EURC", "USDC", "0.0001", "1"),
)


class _Product(Struct):
    """One entry of `GET /products`; what else it holds is not needed."""

    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    base_increment: str
    status: str = ""
    trading_disabled: bool = False
    post_only: bool = False
    limit_only: bool = False
    cancel_only: bool = False
    auction_mode: bool = False


_decode_products = msgspec.json.Decoder(list[_Product]).decode
_STATUS: Final = {
    "online": InstrumentStatus.ONLINE,
    "offline": InstrumentStatus.HALTED,
    "internal": InstrumentStatus.HALTED,
    "delisted": InstrumentStatus.DELISTED,
}


def builtin_instruments() -> list[Instrument]:
    """Return the built-in table."""
    return [
        _instrument(f"{base}-{quote}", base, quote, tick, lot, InstrumentStatus.ONLINE)
        for base, quote, tick, lot in _BUILTIN
    ]


def instruments_request() -> RestRequest:
    """Return the request for the list of products."""
    return RestRequest(purpose="instruments", path="/products")


def parse_instruments(status: int, body: bytes) -> list[Instrument]:
    """Turn the answer of `GET /products` into instruments.

    A delisted `X-USDC` beside a living `X-USD` is no instrument but another name of it: both
    currencies share one book.

    Raises:
        VenueError: The venue refused.
        DecodeError: The body is not what the venue documents.
    """
    check_status(status, body)
    try:
        products = _decode_products(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise refusal(VENUE_NAME, exc, body) from exc
    known = {product.id for product in products if product.status != "delisted"}
    try:
        return [
            _instrument(
                product.id,
                product.base_currency,
                product.quote_currency,
                product.quote_increment,
                product.base_increment,
                _status(product),
            )
            for product in products
            if product.id in known or not _is_alias(product.id, known)
        ]
    except ValueError as exc:
        raise InvalidValueError(VENUE_NAME, "invalid_value", str(exc), body) from exc


def _is_alias(product: str, known: set[str]) -> bool:
    return product.endswith(_USDC) and product.removesuffix(_USDC) + _USD in known


def _status(product: _Product) -> InstrumentStatus:
    status = _STATUS.get(product.status, InstrumentStatus.UNKNOWN)
    if status is not InstrumentStatus.ONLINE:
        return status
    if product.trading_disabled:
        return InstrumentStatus.HALTED
    if product.post_only or product.limit_only or product.cancel_only or product.auction_mode:
        return InstrumentStatus.LIMITED
    return status


def _instrument(
    product: str, base: str, quote: str, tick: str, lot: str, status: InstrumentStatus
) -> Instrument:
    aliases = (product.removesuffix(_USD) + _USDC,) if product.endswith(_USD) else ()
    return Instrument(
        venue=VENUE_NAME,
        symbol=product,
        base=base,
        quote=quote,
        price_scale=decimals_of(tick),
        size_scale=decimals_of(lot),
        tick_size=tick,
        lot_size=lot,
        status=status,
        aliases=aliases,
    )
