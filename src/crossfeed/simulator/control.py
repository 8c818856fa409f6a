"""The control interface: the ledger, the state and the faults of a running simulator, over HTTP.

`GET /status` · `GET /ledger` · `POST /faults` (a TOML schedule) · `POST /calm` · `POST /drain` ·
`POST /pause` · `POST /resume` · `POST /cut?venue=…`. For the same machine only: it has no
authentication, so it listens on the loopback interface and refuses requests with an Origin header
(a browser's).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, cast

from crossfeed.errors import ConfigError, CrossfeedError
from crossfeed.simulator.faults import Schedule, parse_schedule
from crossfeed.simulator.http import Request, Response, json_response

if TYPE_CHECKING:
    from crossfeed.simulator.simulator import Simulator

__all__ = ["ControlEndpoint", "ControlPort", "number_of", "schedule_of"]

Route = Callable[[Request], object]
"""Carries out a request, as a coroutine if it takes time; returns the answer, None: the state."""


def number_of(request: Request, name: str, default: str = "") -> float:
    """Return a number among the parameters of a request.

    Raises:
        ConfigError: It is none.
    """
    try:
        return float(request.params.get(name, default))
    except ValueError:
        raise ConfigError("not a number", field=name) from None


def schedule_of(request: Request) -> Schedule:
    """Return the schedule of faults that a request brings; its times count from now.

    Raises:
        ConfigError: It cannot work.
    """
    return parse_schedule(request.body.decode("utf-8", "replace"), where="body")


class ControlPort:
    """A control port: for programs on the same machine, closed to browsers. Is an `Endpoint`.

    Args:
        routes: What is done, by method and path.
        state: Tells how things stand.
    """

    def __init__(
        self, routes: Mapping[tuple[str, str], Route], state: Callable[[], object]
    ) -> None:
        """Serve these."""
        self._routes = routes
        self._state = state

    def connect(self, request: Request, peer: str, now_ns: int) -> Response:
        """Refuse: there is no WebSocket here."""
        del request, peer, now_ns
        return json_response({"error": "no WebSocket on the control port"}, 404)

    def handle(
        self, request: Request, peer: str, now_ns: int
    ) -> Response | Coroutine[Any, Any, Response]:
        """Carry out one request; answer with what came of it, or how things stand then."""
        del peer, now_ns
        if "origin" in request.headers:
            return json_response({"error": "not for browsers"}, 403)
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = ", ".join(f"{method} {path}" for method, path in self._routes)
            return json_response({"error": f"unknown; there is {known}"}, 404)
        try:
            answer = route(request)
        except CrossfeedError as error:
            return json_response({"error": str(error)}, 400)
        if inspect.iscoroutine(answer):
            return self._done(cast("Coroutine[Any, Any, object]", answer))
        return self._said(answer)

    async def _done(self, carrying_out: Coroutine[Any, Any, object]) -> Response:
        """Answer when it is done."""
        try:
            return self._said(await carrying_out)
        except CrossfeedError as error:
            return json_response({"error": str(error)}, 400)

    def _said(self, answer: object) -> Response:
        return json_response(self._state() if answer is None else answer)


class ControlEndpoint(ControlPort):
    """What the simulator's control port serves."""

    def __init__(self, simulator: Simulator) -> None:
        """Control one simulator."""
        self._simulator = simulator
        routes: dict[tuple[str, str], Route] = {
            ("GET", "/status"): lambda _: None,
            ("GET", "/ledger"): lambda _: simulator.report(),
            ("POST", "/faults"): self._faults,
            ("POST", "/calm"): lambda _: simulator.calm(),
            ("POST", "/drain"): self._drain,
            ("POST", "/pause"): lambda _: simulator.pause(),
            ("POST", "/resume"): lambda _: simulator.resume(),
            ("POST", "/cut"): lambda asked: {
                "cut": simulator.cut_all(asked.params.get("venue", ""))
            },
        }
        super().__init__(routes, simulator.status)

    def _faults(self, request: Request) -> object:
        """Add the rules of a TOML schedule."""
        schedule = schedule_of(request)
        self._simulator.inject(*schedule.fault)
        return {"rules": len(schedule.fault)}

    def _drain(self, request: Request) -> None:
        """Begin to drain; `GET /status` tells when it is done."""
        self._simulator.begin_drain(grace_s=number_of(request, "grace_s", "2"))
