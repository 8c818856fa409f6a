"""The refusals of Coinbase Advanced Trade's REST interface → our errors."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.errors import AuthRejectedError, RateLimitedError, VenueError, VenueMaintenanceError

__all__ = ["EXCHANGE_NAME", "VENUE_NAME", "check_status"]

VENUE_NAME: Final = "coinbase_advanced"
EXCHANGE_NAME: Final = "coinbase"
"""Name its events carry: one venue, two interfaces."""

_OK: Final = 200
_UNAUTHORIZED: Final = (401, 403)
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_TEXT_CHARS_MAX: Final = 200
# No Retry-After is sent; the bucket refills with 10 requests a second.
_RETRY_AFTER_S: Final = 1.0


class _ErrorBody(Struct):
    """`{"error":"NOT_FOUND","message":"Product NOPE-USD not supported"}`."""

    message: str = ""


_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def check_status(status: int, body: bytes) -> None:
    """Pass a 200.

    Raises:
        RateLimitedError: 429.
        AuthRejectedError: 401 and 403.
        VenueMaintenanceError: 503.
        VenueError: Any other status; its code is the status.
    """
    if status == _OK:
        return
    try:
        text = _decode_error(body).message
    except (msgspec.MsgspecError, RecursionError, ValueError):
        text = body[:_TEXT_CHARS_MAX].decode("ascii", "backslashreplace")
    text = text[:_TEXT_CHARS_MAX] or f"HTTP status {status}"
    code = str(status)
    if status == _TOO_MANY:
        raise RateLimitedError(VENUE_NAME, text, retry_after_s=_RETRY_AFTER_S, code=code)
    if status in _UNAUTHORIZED:
        raise AuthRejectedError(VENUE_NAME, text, code=code)
    if status == _UNAVAILABLE:
        raise VenueMaintenanceError(VENUE_NAME, text, code=code)
    raise VenueError(VENUE_NAME, text, code=code)
