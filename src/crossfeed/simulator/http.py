"""Just enough HTTP/1.1 for a venue's REST side and the upgrade: bytes in, requests out.

Source: RFC 9112 (HTTP/1.1 messages).
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

import msgspec

__all__ = ["HttpError", "Request", "RequestParser", "Response", "json_response", "write_response"]

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 1 << 20
_HEADERS_MAX = 100


class HttpError(Exception):
    """The request cannot be read; answer with `status` and close. Private to the simulator."""

    def __init__(self, status: int, text: str) -> None:
        """Build from the HTTP status and what was wrong."""
        self.status = status
        super().__init__(text)


class Request(msgspec.Struct, frozen=True):
    """One HTTP request. Header names are lower case; the last of several equal ones counts."""

    method: str
    #: Decoded path, without the query.
    path: str
    #: The query as written.
    query: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def params(self) -> dict[str, str]:
        """Return the query's parameters; the last of several equal ones counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def is_upgrade(self) -> bool:
        """Tell whether the client asks for a WebSocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


class Response(msgspec.Struct):
    """One HTTP answer. `delay_s` holds it back (a slow endpoint)."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    content_type: str = "application/json"
    delay_s: float = 0.0


def json_response(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Build an answer with `value` encoded as JSON."""
    return Response(status, msgspec.json.encode(value), headers or {})


class RequestParser:
    """Cuts a client's byte stream into requests. One per connection."""

    def __init__(self) -> None:
        """Build an empty parser."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Request]:
        """Add received bytes; return the requests they complete, in order.

        Raises:
            HttpError: not HTTP, or over a limit. The parser must not be used again.
        """
        self._buffer += data
        requests: list[Request] = []
        while (request := self._next()) is not None:
            requests.append(request)
            if request.is_upgrade:
                break
        return requests

    @property
    def rest(self) -> bytes:
        """Return what was received after the last whole request."""
        return bytes(self._buffer)

    def _next(self) -> Request | None:
        """Cut one request off the buffer; None while it is incomplete."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise HttpError(431, "head too long")
            return None
        if end > HEAD_BYTES_MAX:
            raise HttpError(431, "head too long")
        method, target, headers = _parse_head(bytes(self._buffer[:end]))
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise HttpError(400, "bad Content-Length")
        size = int(length) if len(length) < len(str(BODY_BYTES_MAX)) + 1 else BODY_BYTES_MAX + 1
        if size > BODY_BYTES_MAX or "transfer-encoding" in headers:
            raise HttpError(413, "body too long or of unknown length")
        stop = end + 4 + size
        if len(self._buffer) < stop:
            return None
        body = bytes(self._buffer[end + 4 : stop])
        del self._buffer[:stop]
        path, _, query = target.partition("?")
        return Request(method, unquote(path), query, headers, body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Parse the request line and headers."""
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise HttpError(400, "bad request line") from None
    if not version.startswith("HTTP/1."):
        raise HttpError(505, "HTTP/1.1 only")
    if len(lines) > _HEADERS_MAX:
        raise HttpError(431, "too many headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise HttpError(400, "bad header line")
        headers[name.strip().lower()] = value.strip()
    return method, target, headers


def write_response(response: Response, *, is_last: bool = False) -> bytes:
    """Write an answer with its length; `is_last` announces that the connection closes."""
    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:
        phrase = "Status"
    lines = [f"HTTP/1.1 {response.status} {phrase}"]
    if response.body or response.status not in {101, 204}:
        lines.append(f"Content-Type: {response.content_type}")
        lines.append(f"Content-Length: {len(response.body)}")
    lines.extend(f"{name}: {value}" for name, value in response.headers.items())
    if is_last:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + response.body
