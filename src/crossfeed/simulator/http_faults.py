"""Answers that a venue in trouble gives over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from crossfeed.simulator.faults import FaultRule
from crossfeed.simulator.framing import accept_key
from crossfeed.simulator.http import Request, Response, json_response

__all__ = ["handshake_fault", "rest_fault"]

_PAGE = (
    b"<!DOCTYPE html><html><head><title>Attention Required!</title></head>"
    b"<body><script>alert('not JSON')</script>Please try again later.</body></html>"
)
_FOREVER_S = 3_600.0


def _retry_after(rule: FaultRule) -> dict[str, str]:
    return {} if rule.retry_after_s is None else {"Retry-After": str(rule.retry_after_s)}


def _page(rule: FaultRule, status: int) -> Response:
    return Response(status, _PAGE, _retry_after(rule), content_type="text/html")


def rest_fault(rule: FaultRule, truth: Callable[[], Response]) -> Response:
    """Return what a REST rule makes of a request; `truth` gives the right answer."""
    if rule.variant == "html":
        return _page(rule, rule.status)
    if rule.variant == "truncated":
        right = truth()
        right.body = right.body[: len(right.body) // 2]
        return right
    if rule.variant == "slow":
        right = truth()
        right.delay_s = rule.duration_s
        return right
    return json_response({"message": "fault"}, rule.status, _retry_after(rule))


def handshake_fault(rule: FaultRule, request: Request) -> Response:
    """Return what a handshake rule makes of an upgrade request."""
    key = request.headers.get("sec-websocket-key", "")
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(key),
    }
    if rule.variant == "bad_accept":
        return Response(101, headers={**upgrade, "Sec-WebSocket-Accept": accept_key("wrong")})
    if rule.variant == "extension":
        return Response(101, headers={**upgrade, "Sec-WebSocket-Extensions": "x-unasked"})
    if rule.variant == "long_headers":
        return Response(101, headers={**upgrade, **{f"X-{n}": "x" * 1_000 for n in range(2_000)}})
    if rule.variant == "html":
        return _page(rule, 200)
    if rule.variant == "stalled":
        return Response(503, delay_s=_FOREVER_S)
    if rule.variant == "redirect":
        return Response(302, b"", {"Location": rule.location})
    return json_response({"message": "fault"}, rule.status, _retry_after(rule))
