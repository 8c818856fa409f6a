"""Tokens: made only with a key, with the algorithm of the key, and verified by its public half."""

import base64
import builtins
import json
from collections.abc import Iterator

import pytest

from crossfeed.errors import ConfigError
from crossfeed.model.commands import Want
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase_advanced import VENUE
from crossfeed.venues.symbols import SymbolTable

ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
utils = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.utils")

NAME = "organizations/o/apiKeys/k"
TS_NS = 1_790_000_000_123_456_789


def options_of(secret: str) -> CodecOptions:
    """Return options with a key."""
    return CodecOptions(api_key=NAME, api_secret=secret)


def tokens_of(secret: str) -> Iterator[str]:
    """Yield the tokens of the requests that subscribe three channels."""
    table = SymbolTable("coinbase_advanced", VENUE.builtin())
    codec = VENUE.make_codec(table, options_of(secret))
    wants = [Want("level2", "BTC-USD"), Want("ticker", "BTC-USD")]
    for frame in codec.subscribe(wants, TS_NS):
        yield json.loads(frame)["jwt"]


def decoded(part: str) -> bytes:
    """Decode one part of a token."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def pem_of(key) -> str:
    """Write a private key as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize("line_end", ["\n", "\\n"])
def test_es256(line_end: str):
    """An elliptic-curve key signs ES256: header, claims and signature are as documented."""
    key = ec.generate_private_key(ec.SECP256R1())
    tokens = list(tokens_of(pem_of(key).replace("\n", line_end)))
    nonces = set()
    for token in tokens:
        head, body, signature = token.split(".")
        header, claims = json.loads(decoded(head)), json.loads(decoded(body))
        assert (header["alg"], header["kid"], header["typ"]) == ("ES256", NAME, "JWT")
        assert int(header["nonce"], 16) >= 0
        nonces.add(header["nonce"])
        now_s = TS_NS // 10**9
        assert claims == {"sub": NAME, "iss": "cdp", "nbf": now_s, "exp": now_s + 120}
        raw = decoded(signature)
        assert len(raw) == 64
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key.public_key().verify(
            utils.encode_dss_signature(r, s),
            f"{head}.{body}".encode(),
            ec.ECDSA(hashes.SHA256()),
        )
    assert len(nonces) == len(tokens) == 3


@pytest.mark.parametrize("form", ["seed", "seed and public key", "pem"])
def test_eddsa(form: str):
    """An Ed25519 key in any of its forms signs EdDSA."""
    key = ed25519.Ed25519PrivateKey.generate()
    seed, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    secrets = {
        "seed": base64.b64encode(seed).decode(),
        "seed and public key": base64.b64encode(seed + public).decode(),
        "pem": pem_of(key),
    }
    for token in tokens_of(secrets[form]):
        head, body, signature = token.split(".")
        assert json.loads(decoded(head))["alg"] == "EdDSA"
        key.public_key().verify(decoded(signature), f"{head}.{body}".encode())


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "no base64!",
        base64.b64encode(b"too short").decode(),
        "-----BEGIN EC PRIVATE KEY-----\nrubbish\n-----END EC PRIVATE KEY-----\n",
    ],
)
def test_no_key_of_the_venue(secret: str):
    """What is no private key is refused before anything is sent, and not repeated."""
    with pytest.raises(ConfigError) as caught:
        list(tokens_of(secret))
    assert caught.value.field == "api_secret"
    assert not secret or secret not in str(caught.value)


def test_other_curves_are_refused():
    """The venue takes P-256 only."""
    with pytest.raises(ConfigError):
        list(tokens_of(pem_of(ec.generate_private_key(ec.SECP384R1()))))


def test_missing_package_is_said(monkeypatch: pytest.MonkeyPatch):
    """Without the package the error names it and the way round."""
    real = builtins.__import__

    def missing(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"cryptography.*leave the key out"):
        list(tokens_of("x"))


def test_secrets_do_not_show():
    """Neither the codec nor what signs for it shows the private key."""
    secret = base64.b64encode(bytes(range(32))).decode()
    table = SymbolTable("coinbase_advanced", VENUE.builtin())
    codec = VENUE.make_codec(table, options_of(secret))
    assert secret not in f"{codec!r} {vars(codec)!r}"
