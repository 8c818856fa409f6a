"""`raw_message` and `exact` of Kraken's events: the venue's own words and digits."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from crossfeed.model.events import BookSnapshot, Candle, MarketData, Quote, Ticker
from crossfeed.model.raw import read_message
from crossfeed.venues.decoder import ExactReader
from crossfeed.venues.kraken.wire import ROUTES

__all__ = ["KrakenReader"]

# Slots of a ticker message (those of a Quote) under the names that a Ticker gives them.
_OF_QUOTE: Final = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_OF_TICKER: Final = {
    "bid_price": "best_bid",
    "bid_quantity": "best_bid_quantity",
    "ask_price": "best_ask",
    "ask_quantity": "best_ask_quantity",
}
# Places in REST answers: key and index.
_REST_QUOTE: Final = {
    "bid_price": ("b", 0), "bid_quantity": ("b", 2),
    "ask_price": ("a", 0), "ask_quantity": ("a", 2),
}  # fmt: skip
_REST_TICKER: Final = {
    "price": ("c", 0), "last_quantity": ("c", 1), "volume": ("v", 1), "vwap": ("p", 1),
    "low": ("l", 1), "high": ("h", 1), "best_bid": ("b", 0), "best_bid_quantity": ("b", 2),
    "best_ask": ("a", 0), "best_ask_quantity": ("a", 2),
}  # fmt: skip
_REST_CANDLE: Final = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 6}


class KrakenReader(ExactReader):
    """Reads stream frames by their declarations, and REST answers by their places.

    Events of REST carry the whole answer, a trade only its own row.
    """

    def __init__(self) -> None:
        """Take Kraken's declarations."""
        super().__init__(ROUTES)

    def reads(self, raw: bytes) -> bool:
        """Say whether `raw` is a frame, an answer or a row of Kraken's."""
        return raw.startswith((b"[", b'{"error"')) or super().reads(raw)

    def message(self, event: MarketData) -> dict[str, Any]:
        """Return the venue's own message: an item of `data`, or what REST said."""
        if event.raw is not None and event.raw.startswith(b"["):
            return {"data": read_message(event.raw)}
        return super().message(event)

    def exact(self, event: MarketData) -> Mapping[str, Any]:
        """Return the numbers of `event` as Decimals, by attribute name."""
        raw = event.raw or b"{}"
        if raw.startswith((b"[", b'{"error"')):
            return _rest_exact(event, raw)
        values = super().exact(event)
        if isinstance(event, Quote):
            return {name: values[name] for name in _OF_QUOTE if name in values}
        if isinstance(event, Ticker):
            named = {_OF_TICKER.get(name, name): value for name, value in values.items()}
            return {name: v for name, v in named.items() if getattr(event, name) is not None}
        return values


def _rest_exact(event: MarketData, raw: bytes) -> Mapping[str, Any]:
    tree: Any = read_message(raw)
    if raw.startswith(b"["):
        return {"price": Decimal(tree[0]), "quantity": Decimal(tree[1])}
    result: dict[str, Any] = tree["result"]
    value: Any = next(iter(item for key, item in result.items() if key != "last"))
    if isinstance(event, BookSnapshot):
        return {
            side: [(Decimal(row[0]), Decimal(row[1])) for row in value[side]]
            for side in ("bids", "asks")
        }
    if isinstance(event, Candle):
        row = value[event.raw_index]
        return {name: Decimal(row[place]) for name, place in _REST_CANDLE.items()}
    places = _REST_QUOTE if isinstance(event, Quote) else _REST_TICKER
    if not isinstance(event, Quote | Ticker):
        return {}
    return {
        name: Decimal(value[key][index])
        for name, (key, index) in places.items()
        if getattr(event, name) is not None
    }
