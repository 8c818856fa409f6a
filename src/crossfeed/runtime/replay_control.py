"""The control interface of a replay server, over HTTP: pause, speed, seek, faults.

`GET /status` · `POST /pause` · `POST /resume` · `POST /speed?value=10` · `POST /seek?to=<time>` ·
`POST /cut` · `POST /faults` (a TOML schedule). For the same machine only: without authentication,
hence on the loopback interface, and closed to browsers (requests with an Origin header).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.runtime.seek import ns_of
from crossfeed.simulator.faults import parse_schedule
from crossfeed.simulator.http import Request, Response, json_response

if TYPE_CHECKING:
    from crossfeed.runtime.replay_server import ReplayServer

__all__ = ["ReplayControl", "moment_of"]


def moment_of(text: str, field: str) -> int:
    """Return "2026-11-22T10:00:00Z" or ns since 1970 as ns; 0 for an empty text.

    Raises:
        ConfigError: Neither.
    """
    if not text:
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time like 2026-11-22T10:00:00Z", field=field) from error
    return ns_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC), field)


class ReplayControl:
    """What the control port serves. Satisfies the simulator's `Endpoint`."""

    def __init__(self, server: ReplayServer) -> None:
        """Control one server."""
        self._server = server
        self._routes: dict[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "/status"): lambda _: None,
            ("POST", "/pause"): lambda _: server.pause(),
            ("POST", "/resume"): lambda _: server.resume(),
            ("POST", "/speed"): self._speed,
            ("POST", "/seek"): lambda asked: server.seek(
                moment_of(asked.params.get("to", ""), "to")
            ),
            ("POST", "/cut"): lambda _: server.cut_all(),
            ("POST", "/faults"): self._faults,
        }

    def connect(self, request: Request, peer: str, now_ns: int) -> Response:
        """Refuse: there is no WebSocket here."""
        del request, peer, now_ns
        return json_response({"error": "no WebSocket on the control port"}, 404)

    def handle(self, request: Request, peer: str, now_ns: int) -> Response:
        """Carry out one request; answer how things stand then."""
        del peer, now_ns
        if "origin" in request.headers:
            return json_response({"error": "not for browsers"}, 403)
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            return json_response({"error": f"unknown; there is {known}"}, 404)
        try:
            route(request)
        except CrossfeedError as error:
            return json_response({"error": str(error)}, 400)
        return json_response(self._server.status())

    def _speed(self, request: Request) -> None:
        try:
            speed = float(request.params.get("value", ""))
        except ValueError:
            raise ConfigError("not a number", field="value") from None
        self._server.set_speed(speed)

    def _faults(self, request: Request) -> None:
        schedule = parse_schedule(request.body.decode("utf-8", "replace"), where="body")
        self._server.inject(schedule.fault)
