"""A test certificate authority of one's own, so that TLS is tried with verification on."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from crossfeed.errors import ConfigError

__all__ = ["CA_FILE", "make_certificates", "server_context"]

CA_FILE = "ca.pem"
_CERT_FILE = "server.pem"
_KEY_FILE = "server.key"
_DEADLINE_S = 30.0


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a server's TLS context from a folder, making CA and certificate at the first use.

    A client verifies against the folder's `ca.pem`; the certificate is for localhost, 127.0.0.1
    and ::1.

    Raises:
        ConfigError: the certificates are missing and cannot be made.
    """
    if not (folder / _CERT_FILE).exists():
        make_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / _CERT_FILE, folder / _KEY_FILE)
    return context


def make_certificates(folder: Path, *, days: int = 30, names: str = "") -> None:
    """Make a CA and a server certificate with the `openssl` command.

    Args:
        folder: Where `ca.pem`, `server.pem` and `server.key` go; made if missing.
        days: Validity; a negative number makes an expired certificate.
        names: subjectAltName of the server, those of this machine if empty.

    Raises:
        ConfigError: there is no openssl, or it fails.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise ConfigError("TLS needs the openssl command to make a test CA", field="simulator.tls")
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = folder / CA_FILE, folder / "ca.key"
    cert, key, request = folder / _CERT_FILE, folder / _KEY_FILE, folder / "server.csr"
    extensions = folder / "server.ext"
    alt = names or "DNS:localhost,IP:127.0.0.1,IP:::1"
    extensions.write_text(f"subjectAltName={alt}\nextendedKeyUsage=serverAuth\n", encoding="ascii")
    new_key = ["-newkey", "rsa:2048", "-nodes"]
    subject = "/CN=crossfeed simulator"
    _run([openssl, "req", "-x509", *new_key, "-keyout", str(ca_key), "-out", str(ca),
          "-days", "30", "-subj", f"{subject} test CA",
          "-addext", "keyUsage=critical,keyCertSign,cRLSign"])  # fmt: skip
    _run([openssl, "req", *new_key, "-keyout", str(key), "-out", str(request),
          "-subj", subject])  # fmt: skip
    _run([openssl, "x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key),
          "-CAcreateserial", "-out", str(cert), "-days", str(days),
          "-extfile", str(extensions)])  # fmt: skip


def _run(command: list[str]) -> None:
    """Run openssl quietly."""
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_DEADLINE_S)  # noqa: S603
    except (subprocess.SubprocessError, OSError) as error:
        detail = getattr(error, "stderr", b"") or b""
        raise ConfigError(
            f"openssl failed: {detail.decode('utf-8', 'replace').strip()[-200:]}",
            field="simulator.tls",
        ) from error
