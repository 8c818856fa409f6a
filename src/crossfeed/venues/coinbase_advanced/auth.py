"""Tokens for subscriptions with a key. Public channels need none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from crossfeed.errors import ConfigError
from crossfeed.venues.base import CodecOptions

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["TokenMaker"]

_NS_PER_S: Final = 1_000_000_000
_LIFE_S: Final = 120
_P256_BYTES: Final = 32
_SEED_BYTES: Final = 32
_ED25519_LENGTHS: Final = (32, 64)


class TokenMaker:
    """Makes a new JSON web token for each subscribe message. Secrets stay inside.

    The algorithm follows from the key: ES256 for an elliptic-curve key in PEM, EdDSA for an Ed25519
    key (PEM, or the base64 of 64 or 32 bytes). Needs the package `cryptography`.

    Source: coinbase/coinbase-advanced-py jwt_generator.py at 54fb8ed, checked 2026-11-22.
    """

    def __init__(self, options: CodecOptions) -> None:
        """Read the private key.

        Raises:
            ConfigError: `cryptography` is missing, or the secret is no such key.
        """
        if not options.api_secret:
            msg = "coinbase_advanced: an API key needs its private key too (api_secret)"
            raise ConfigError(msg, field="api_secret")
        self._key = options.api_key
        self._algorithm, self._sign = _signing(options.api_secret)
        self._nonce_key = options.api_secret.encode()
        self._count = 0

    def token(self, ts_ns: int) -> str:
        """Return a token that is valid for 120 s from `ts_ns` (wall)."""
        now_s = ts_ns // _NS_PER_S
        self._count += 1
        # No chance is at hand in a pure codec: a keyed digest nobody else can make serves as well.
        counted = f"{self._key}/{ts_ns}/{self._count}".encode()
        nonce = hmac.new(self._nonce_key, counted, hashlib.sha256).hexdigest()[:32]
        header = {"alg": self._algorithm, "kid": self._key, "nonce": nonce, "typ": "JWT"}
        claims = {"sub": self._key, "iss": "cdp", "nbf": now_s, "exp": now_s + _LIFE_S}
        signed = f"{_part(header)}.{_part(claims)}"
        return f"{signed}.{_base64url(self._sign(signed.encode()))}"


def _part(fields: dict[str, Any]) -> str:
    return _base64url(msgspec.json.encode(fields))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signing(secret: str) -> tuple[str, Callable[[bytes], bytes]]:
    """Return the algorithm of a private key, and the function that signs with it."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        msg = (
            "coinbase_advanced: an API key needs the package 'cryptography': "
            "pip install 'crossfeed[coinbase]', or leave the key out (market data needs none)"
        )
        raise ConfigError(msg, field="api_key") from None
    try:
        if "-----BEGIN" in secret:
            # Keys kept in the environment often have their line ends written as \n.
            pem = secret.replace("\\n", "\n").encode()
            key: object = load_pem_private_key(pem, password=None)
        else:
            key = Ed25519PrivateKey.from_private_bytes(_seed(secret))
    except (ValueError, TypeError, binascii.Error):
        key = None
    if isinstance(key, Ed25519PrivateKey):
        return "EdDSA", key.sign
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return "ES256", _es256(key)
    msg = (
        "coinbase_advanced: api_secret is no private key of the venue: "
        "a P-256 key in PEM or an Ed25519 key in base64 is expected"
    )
    raise ConfigError(msg, field="api_secret")


def _es256(key: EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")

    return sign


def _seed(secret: str) -> bytes:
    """Return the secret bytes of an Ed25519 key: base64 of seed, or of seed and public key."""
    data = base64.b64decode(secret, validate=True)
    if len(data) not in _ED25519_LENGTHS:
        msg = f"{len(data)} bytes are no Ed25519 key"
        raise ValueError(msg)
    return data[:_SEED_BYTES]
