"""One Coinbase Exchange connection: subscribe messages in, the full list and channels out.

Source: docs.cdp.coinbase.com/exchange/websocket-feed/overview, channels, authentication, errors.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import msgspec

from crossfeed.simulator.json_values import as_list, as_object
from crossfeed.simulator.session import Session
from crossfeed.simulator.venues.coinbase.profile import (
    AUTH_CHANNELS,
    CHANNELS,
    ECHO,
    RULES,
    TEST_KEY,
    TEST_PASSPHRASE,
    TEST_SECRET,
)

if TYPE_CHECKING:
    from crossfeed.simulator.http import Request
    from crossfeed.simulator.venues.coinbase.exchange import CoinbaseExchange

__all__ = ["CoinbaseSession"]

_REQUESTED = {echo: name for name, echo in ECHO.items()}
_AUTH_REASON = (
    "level2, level3, and full channels now require authentication. "
    "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
)
_VERIFY_PATH = "/users/self/verify"


class _RefusedError(Exception):
    """A request the venue refuses."""

    def __init__(self, reason: str, message: str = "Failed to subscribe") -> None:
        self.body = {"type": "error", "message": message, "reason": reason}
        super().__init__(reason)


class CoinbaseSession(Session):
    """A connection to the market-data feed."""

    rules = RULES

    def __init__(
        self, exchange: CoinbaseExchange, number: int, request: Request, now_ns: int
    ) -> None:
        """Build the session without subscriptions."""
        super().__init__(exchange, number, request, now_ns)
        self._venue = exchange
        #: channel -> products, in order of subscription; status without products is empty.
        self.channels: dict[str, list[str]] = {}

    def has_subscribed(self) -> bool:
        """Tell whether anything is subscribed."""
        return bool(self.channels)

    def on_text(self, payload: bytes, now_ns: int) -> None:
        """Carry out a request; a refusal is an error frame and the list of what remains."""
        try:
            request = self._parse(payload)
            wanted = self._wanted(request)
            if request["type"] == "subscribe":
                self._check(request, wanted)
                added = self._add(wanted)
            else:
                added = list[tuple[str, str]]()
                self._remove(wanted)
        except _RefusedError as error:
            self.put(msgspec.json.encode(error.body))
            self._echo()
            return
        self._echo()
        for channel, product in added:
            self._begin(channel, product, now_ns)

    # ── reading requests ───────────────────────────────────────────────────

    @staticmethod
    def _parse(payload: bytes) -> dict[str, Any]:
        """Check the frame of a request."""
        try:
            request = as_object(json.loads(payload))
        except (ValueError, RecursionError):
            raise _RefusedError("Malformed JSON", "Malformed JSON") from None
        if request is None or request.get("type") not in ("subscribe", "unsubscribe"):
            raise _RefusedError("Type has to be either subscribe or unsubscribe", "Malformed JSON")
        return request

    def _wanted(self, request: dict[str, Any]) -> list[tuple[str, list[str]]]:
        """Return the (channel, products) a request names, aliases resolved."""
        root = as_list(request.get("product_ids") or [])
        channels = as_list(request.get("channels"))
        if not channels:
            raise _RefusedError("channels must be a list")
        wanted: list[tuple[str, list[str]]] = []
        for entry in channels:
            one = as_object(entry)
            name: object = entry if one is None else one.get("name")
            own = as_list((one or {}).get("product_ids") or [])
            if not isinstance(name, str):
                raise _RefusedError("channel name must be a string")
            name = _REQUESTED.get(name, name)
            if name not in CHANNELS:
                raise _RefusedError(f"{name} is not a valid channel")
            if root is None or own is None:
                raise _RefusedError("product_ids must be a list")
            products = list(dict.fromkeys(str(product) for product in (*root, *own)))
            wanted.append((name, products))
        return wanted

    def _check(self, request: dict[str, Any], wanted: list[tuple[str, list[str]]]) -> None:
        """Refuse what cannot be subscribed: one bad product refuses the whole request."""
        for channel, products in wanted:
            if channel in AUTH_CHANNELS and not self._is_signed(request):
                raise _RefusedError(_AUTH_REASON)
            if not products and channel != "status":
                raise _RefusedError(f"{channel} requires at least one product ID")
            for product in products:
                if product not in self._venue.instruments:
                    raise _RefusedError(f"{product} is not a valid product")

    def _is_signed(self, request: dict[str, Any]) -> bool:
        """Check the signature of a subscribe message against the test key."""
        if "signature" not in request:
            return False
        timestamp = str(request.get("timestamp", ""))
        text = f"{timestamp}GET{_VERIFY_PATH}".encode()
        expected = hmac.new(base64.b64decode(TEST_SECRET), text, hashlib.sha256).digest()
        try:
            given = base64.b64decode(str(request["signature"]), validate=True)
        except (binascii.Error, ValueError):
            given = b""
        is_ours = (
            request.get("key") == TEST_KEY and request.get("passphrase") == TEST_PASSPHRASE
        ) and hmac.compare_digest(given, expected)
        if not is_ours:
            self.exchange.violation("authentication")
            raise _RefusedError("invalid signature, key or passphrase", "Authentication Failed")
        return True

    # ── state ──────────────────────────────────────────────────────────────

    def _add(self, wanted: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
        """Add subscriptions; return those that are new."""
        added: list[tuple[str, str]] = []
        for channel, products in wanted:
            known = self.channels.setdefault(channel, [])
            if channel == "status" and not products:
                added.append((channel, ""))
            for product in products:
                if product not in known:
                    known.append(product)
                    added.append((channel, product))
        return added

    def _remove(self, wanted: list[tuple[str, list[str]]]) -> None:
        """Drop subscriptions; a channel without products is dropped whole."""
        for channel, products in wanted:
            known = self.channels.get(channel)
            if known is None:
                continue
            for product in products or tuple(known):
                if product in known:
                    known.remove(product)
                    sub = self.subs.get((channel, product))
                    if sub is not None:
                        self.exchange.drop(sub)
            if not known:
                del self.channels[channel]
                sub = self.subs.get((channel, ""))
                if sub is not None:
                    self.exchange.drop(sub)

    def _echo(self) -> None:
        """Send the whole list of subscriptions."""
        channels = [
            {"name": ECHO.get(name, name), "product_ids": products, "account_ids": None}
            for name, products in self.channels.items()
        ]
        self.put(msgspec.json.encode({"type": "subscriptions", "channels": channels}))

    def _begin(self, channel: str, product: str, now_ns: int) -> None:
        """Subscribe one stream and send what it begins with."""
        if channel == "status":
            self._venue.begin_status(self)
            return
        board = self._venue.coinbase_board(product)
        sub = self.exchange.subscribe(self, board.open(channel), 0)
        if sub is not None:
            board.greet(channel, sub, now_ns)
