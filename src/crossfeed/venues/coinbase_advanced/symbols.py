"""Products of Coinbase Advanced Trade ↔ instruments."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import InvalidValueError
from crossfeed.model.commands import RestRequest
from crossfeed.model.instrument import Instrument, InstrumentStatus
from crossfeed.model.numbers import decimals_of
from crossfeed.venues.coinbase_advanced.errors import VENUE_NAME, check_status
from crossfeed.venues.decoder import refusal
from crossfeed.venues.symbols import are_names

__all__ = ["builtin_instruments", "instruments_request", "parse_instruments"]

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
_WITHOUT_ALIAS: Final = frozenset({"USDT"})


class _Product(Struct):
    """One entry of `GET /market/products`; what else it holds is not needed."""

    product_id: str
    base_currency_id: str
    quote_currency_id: str
    price_increment: str
    base_increment: str
    product_type: str = "SPOT"
    status: str = ""
    trading_disabled: bool = False
    is_disabled: bool = False
    post_only: bool = False
    limit_only: bool = False
    cancel_only: bool = False
    auction_mode: bool = False
    view_only: bool = False
    alias: str = ""
    alias_to: list[str] = []


class _Products(Struct):
    products: list[_Product]


_decode_products = msgspec.json.Decoder(_Products).decode
_STATUS: Final = {
    "online": InstrumentStatus.ONLINE,
    "offline": InstrumentStatus.HALTED,
    "internal": InstrumentStatus.HALTED,
    "delisted": InstrumentStatus.DELISTED,
}


def builtin_instruments() -> list[Instrument]:
    """Return the built-in table."""
    return [
        _instrument(
            _Product(
                product_id=f"{base}-{quote}",
                base_currency_id=base,
                quote_currency_id=quote,
                price_increment=tick,
                base_increment=lot,
                status="online",
                alias_to=(
                    [f"{base}-USDC"] if quote == "USD" and base not in _WITHOUT_ALIAS else []
                ),
            )
        )
        for base, quote, tick, lot in _BUILTIN
    ]


def instruments_request() -> RestRequest:
    """Return the request for the list of spot products."""
    return RestRequest(
        purpose="instruments", path="/market/products", query=(("product_type", "SPOT"),)
    )


def parse_instruments(status: int, body: bytes) -> list[Instrument]:
    """Turn the answer of `GET /market/products` into instruments.

    An `X-USDC` that is an alias of `X-USD` is no instrument but another name of it: one book serves
    both, and messages carry either name. `USDT-USDC` and `EURC-USDC` are books of their own.

    Raises:
        VenueError: The venue refused.
        DecodeError: The body is not what the venue documents.
    """
    check_status(status, body)
    try:
        products = _decode_products(body).products
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise refusal(VENUE_NAME, exc, body) from exc
    try:
        return [
            _instrument(product)
            for product in products
            if product.product_type == "SPOT"
            and not product.alias
            and are_names(product.product_id, product.base_currency_id, product.quote_currency_id)
        ]
    except ValueError as exc:
        raise InvalidValueError(VENUE_NAME, "invalid_value", str(exc), body) from exc


def _status(product: _Product) -> InstrumentStatus:
    status = _STATUS.get(product.status, InstrumentStatus.UNKNOWN)
    if status is not InstrumentStatus.ONLINE:
        return status
    if product.trading_disabled or product.is_disabled:
        return InstrumentStatus.HALTED
    flags = (product.post_only, product.limit_only, product.cancel_only, product.auction_mode)
    return InstrumentStatus.LIMITED if any(flags) or product.view_only else status


def _instrument(product: _Product) -> Instrument:
    return Instrument(
        venue=VENUE_NAME,
        symbol=product.product_id,
        base=product.base_currency_id,
        quote=product.quote_currency_id,
        price_scale=decimals_of(product.price_increment),
        size_scale=decimals_of(product.base_increment),
        tick_size=product.price_increment,
        lot_size=product.base_increment,
        status=_status(product),
        aliases=tuple(product.alias_to),
    )
