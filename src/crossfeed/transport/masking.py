"""Text fit for logs and errors: escaped, secrets masked, limited in number."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["LogLimiter", "escape", "mask_url"]

MASK: Final = "***"
_SECRET_PARTS: Final = ("key", "secret", "sign", "token", "pass", "auth", "jwt")
NS_PER_S: Final = 1_000_000_000


def escape(text: str | bytes, length_max: int = 120) -> str:
    """Return `text` on one line, printable ASCII only, at most `length_max` characters."""
    if isinstance(text, str):
        text = text[: length_max * 4].encode("utf-8", "surrogatepass")
    shown = "".join(
        chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"  # noqa: PLR2004 - printable ASCII
        for byte in text[: length_max + 1]
    )
    return shown if len(shown) <= length_max else shown[: length_max - 3] + "..."


def mask_url(url: str) -> str:
    """Return `url` escaped for logs; user, password and secret query values masked."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
        query = parts.query
        if query:
            pairs = parse_qsl(query, keep_blank_values=True)
            if any(_is_secret(name) for name, _ in pairs):
                query = urlencode(
                    [(name, MASK if _is_secret(name) else value) for name, value in pairs],
                    safe="*/@!",
                )
        return escape(urlunsplit((parts.scheme, netloc, parts.path, query, "")), 300)
    except ValueError:
        return "(malformed URL)"


def _is_secret(name: str) -> bool:
    lowered = name.lower()
    return any(part in lowered for part in _SECRET_PARTS)


class LogLimiter:
    """A logger for at most `lines_max` lines a second; says how many it held back.

    One for the whole process, so that a hundred connections lost together do not write a hundred
    times as much. The caller gives the (monotonic) time, ns.
    """

    __slots__ = ("_lines", "_lines_max", "_logger", "_window_ns", "suppressed")

    def __init__(self, logger: logging.Logger, lines_max: int = 20) -> None:
        """Log to `logger`."""
        self._logger = logger
        self._lines_max = lines_max
        self._window_ns = 0
        self._lines = 0
        self.suppressed = 0

    def log(self, level: int, text: str, now_ns: int) -> None:
        """Log one line; its control characters are escaped."""
        if not self._logger.isEnabledFor(level):
            return
        if not 0 <= now_ns - self._window_ns < NS_PER_S:
            self._window_ns = now_ns
            self._lines = 0
        if self._lines >= self._lines_max:
            self.suppressed += 1
            return
        self._lines += 1
        if self.suppressed:
            self._logger.log(level, "(%d lines were held back)", self.suppressed)
            self.suppressed = 0
        self._logger.log(level, "%s", escape(text, 1000))
