"""The lists of currencies other people's clients ask for first, made from recorded instruments.

No feed of ours asks for them, so that no journal has them; ccxt refuses to start without.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

__all__ = ["currencies_for"]

DIGITS: Final = 8


def currencies_for(path: str, instruments: bytes) -> Any | None:  # noqa: ANN401 - JSON
    """Return the answer to a request for currencies; None for another path, or strange bytes.

    Source: docs.kraken.com/api/docs/rest-api/get-asset-info and
    docs.cdp.coinbase.com/exchange/reference/exchangerestapi_getcurrencies (checked 2026-11).

    Args:
        path: Path of the request.
        instruments: The venue's recorded list of instruments.
    """
    make = {"/0/public/Assets": _kraken, "/currencies": _coinbase}.get(path)
    if make is None:
        return None
    try:
        return make(msgspec.json.decode(instruments))
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
        KeyError,
        TypeError,
        AttributeError,
    ):
        return None


def _kraken(listed: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    assets: dict[str, Any] = {}
    for pair in cast("dict[str, dict[str, Any]]", listed["result"]).values():
        names = str(pair.get("wsname") or pair["altname"]).split("/")
        for asset, name in zip((pair["base"], pair["quote"]), names, strict=False):
            assets[str(asset)] = {
                "aclass": "currency",
                "altname": "XBT" if name == "BTC" else name,
                "decimals": DIGITS,
                "display_decimals": DIGITS,
                "status": "enabled",
            }
    return {"error": [], "result": assets}


def _coinbase(listed: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    names: dict[str, None] = {}
    for product in cast("list[dict[str, Any]]", listed):
        names.setdefault(str(product["base_currency"]))
        names.setdefault(str(product["quote_currency"]))
    return [
        {
            "id": name,
            "name": name,
            "display_name": name,
            "min_size": "0.00000001",
            "max_precision": "0.00000001",
            "status": "online",
            "convertible_to": [],
            "details": {"type": "crypto"},
            "supported_networks": [],
        }
        for name in names
    ]
