"""The control interface: the ledger, the state and the faults of a running simulator, over HTTP.

`GET /status` · `GET /ledger` · `POST /faults` (a TOML schedule) · `POST /drain` · `POST /pause` ·
`POST /resume` · `POST /cut?venue=…`. For the same machine only: it has no authentication, so it
listens on the loopback interface and refuses requests with an Origin header (a browser's).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crossfeed.errors import ConfigError
from crossfeed.simulator.faults import parse_schedule
from crossfeed.simulator.http import Request, Response, json_response

if TYPE_CHECKING:
    from crossfeed.simulator.simulator import Simulator

__all__ = ["ControlEndpoint"]


class ControlEndpoint:
    """What the control port serves."""

    def __init__(self, simulator: Simulator) -> None:
        """Control one simulator."""
        self._simulator = simulator
        self._routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/status"): lambda _: json_response(simulator.status()),
            ("GET", "/ledger"): lambda _: json_response(simulator.report()),
            ("POST", "/faults"): self._faults,
            ("POST", "/calm"): self._calm,
            ("POST", "/drain"): self._drain,
            ("POST", "/pause"): self._pause,
            ("POST", "/resume"): self._resume,
            ("POST", "/cut"): self._cut,
        }

    def connect(self, request: Request, peer: str, now_ns: int) -> Response:
        """Refuse: there is no WebSocket here."""
        del request, peer, now_ns
        return json_response({"error": "no WebSocket on the control port"}, 404)

    def handle(self, request: Request, peer: str, now_ns: int) -> Response:
        """Answer one request."""
        del peer, now_ns
        if "origin" in request.headers:
            return json_response({"error": "not for browsers"}, 403)
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            return json_response({"error": f"unknown; there is {known}"}, 404)
        try:
            return route(request)
        except ConfigError as error:
            return json_response({"error": str(error)}, 400)

    def _faults(self, request: Request) -> Response:
        """Add the rules of a TOML schedule; their times count from now."""
        schedule = parse_schedule(request.body.decode("utf-8", "replace"), where="body")
        self._simulator.inject(*schedule.fault)
        return json_response({"rules": len(schedule.fault)})

    def _calm(self, request: Request) -> Response:
        del request
        self._simulator.calm()
        return json_response(self._simulator.status())

    def _drain(self, request: Request) -> Response:
        """Begin to drain; `GET /status` tells when it is done."""
        try:
            grace_s = float(request.params.get("grace_s", "2"))
        except ValueError:
            raise ConfigError("not a number", field="grace_s") from None
        self._simulator.begin_drain(grace_s=grace_s)
        return json_response(self._simulator.status())

    def _pause(self, request: Request) -> Response:
        del request
        self._simulator.pause()
        return json_response(self._simulator.status())

    def _resume(self, request: Request) -> Response:
        del request
        self._simulator.resume()
        return json_response(self._simulator.status())

    def _cut(self, request: Request) -> Response:
        count = self._simulator.cut_all(request.params.get("venue", ""))
        return json_response({"cut": count})
