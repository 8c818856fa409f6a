"""Signing of subscriptions with an API key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from crossfeed.errors import ConfigError
from crossfeed.venues.base import CodecOptions

__all__ = ["Signer"]

_NS_PER_S: Final = 1_000_000_000


class Signer:
    """Adds the credentials to subscribe messages. Secrets stay inside; `repr` shows none.

    signature = base64(HMAC-SHA256(secret, timestamp + "GET" + "/users/self/verify")), the secret
    itself decoded from base64 first.

    Source: docs.cdp.coinbase.com/exchange/websocket-feed/authentication, checked 2026-11-22.
    """

    def __init__(self, options: CodecOptions) -> None:
        """Take the credentials.

        Raises:
            ConfigError: The secret is no base64, or secret or passphrase is missing.
        """
        if not (options.api_secret and options.api_passphrase):
            msg = "coinbase: an API key needs its api_secret and api_passphrase too"
            raise ConfigError(msg, field="api_key")
        try:
            self._secret = base64.b64decode(options.api_secret, validate=True)
        except (binascii.Error, ValueError):
            msg = "coinbase: the API secret is not base64; copy it as the venue showed it"
            raise ConfigError(msg, field="api_secret") from None
        self._key = options.api_key
        self._passphrase = options.api_passphrase

    def fields(self, ts_ns: int) -> dict[str, str]:
        """Return what signs a subscribe message sent at `ts_ns` (wall)."""
        timestamp = str(ts_ns // _NS_PER_S)
        message = f"{timestamp}GET/users/self/verify".encode()
        digest = hmac.new(self._secret, message, hashlib.sha256).digest()
        return {
            "signature": base64.b64encode(digest).decode(),
            "key": self._key,
            "passphrase": self._passphrase,
            "timestamp": timestamp,
        }
