"""Products of Coinbase Exchange ↔ instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import InvalidValueError
from crossfeed.model.commands import RestRequest
from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.numbers import decimals_of
from crossfeed.venues.coinbase.errors import VENUE_NAME, check_status
from crossfeed.venues.decoder import refusal
from crossfeed.venues.symbols import are_names

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
    products = [
        _Product(
            id=f"{base}-{quote}",
            base_currency=base,
            quote_currency=quote,
            quote_increment=tick,
            base_increment=lot,
            status="online",
        )
        for base, quote, tick, lot in _BUILTIN
    ]
    return _instruments(products)


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
    try:
        return _instruments(products)
    except ValueError as exc:
        raise InvalidValueError(VENUE_NAME, "invalid_value", str(exc), body) from exc


def _instruments(listing: Sequence[_Product]) -> list[Instrument]:
    products = [p for p in listing if are_names(p.id, p.base_currency, p.quote_currency)]
    alive = {product.id for product in products if product.status != "delisted"}
    kept = [
        product for product in products if product.id in alive or _usd_book(product.id) not in alive
    ]
    listed = {product.id for product in kept}
    return [_instrument(product, listed) for product in kept]


def _usd_book(product: str) -> str:
    """Return the product whose book a delisted `X-USDC` is, empty for other products."""
    return product.removesuffix(_USDC) + _USD if product.endswith(_USDC) else ""


def _status(product: _Product) -> InstrumentStatus:
    status = _STATUS.get(product.status, InstrumentStatus.UNKNOWN)
    if status is not InstrumentStatus.ONLINE:
        return status
    if product.trading_disabled:
        return InstrumentStatus.HALTED
    if product.post_only or product.limit_only or product.cancel_only or product.auction_mode:
        return InstrumentStatus.LIMITED
    return status


def _instrument(product: _Product, listed: set[str]) -> Instrument:
    alias = product.id.removesuffix(_USD) + _USDC
    is_aliased = product.id.endswith(_USD) and alias not in listed
    return Instrument(
        venue=VENUE_NAME,
        symbol=product.id,
        base=product.base_currency,
        quote=product.quote_currency,
        price_scale=decimals_of(product.quote_increment),
        size_scale=decimals_of(product.base_increment),
        tick_size=product.quote_increment,
        lot_size=product.base_increment,
        status=_status(product),
        aliases=(alias,) if is_aliased else (),
    )
