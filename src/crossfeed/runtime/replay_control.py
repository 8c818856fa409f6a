"""The control interface of a replay server, over HTTP: pause, speed, seek, faults.

`GET /status` · `POST /pause` · `POST /resume` · `POST /speed?value=10` · `POST /seek?to=<time>` ·
`POST /cut` · `POST /faults` (a TOML schedule). For the same machine only: without authentication,
hence on the loopback interface, and closed to browsers (requests with an Origin header). A seek is
answered when it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crossfeed.errors import ConfigError
from crossfeed.runtime.seek import ns_of
from crossfeed.simulator.control import ControlPort, number_of, schedule_of
from crossfeed.simulator.http import Request

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


class ReplayControl(ControlPort):
    """What a replay server's control port serves; each request is answered with its state."""

    def __init__(self, server: ReplayServer) -> None:
        """Control one server."""
        self._server = server
        routes: dict[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "/status"): lambda _: None,
            ("POST", "/pause"): lambda _: server.pause(),
            ("POST", "/resume"): lambda _: server.resume(),
            ("POST", "/speed"): lambda asked: server.set_speed(number_of(asked, "value")),
            ("POST", "/seek"): lambda asked: server.seek(
                moment_of(asked.params.get("to", ""), "to")
            ),
            ("POST", "/cut"): self._cut,
            ("POST", "/faults"): lambda asked: server.inject(schedule_of(asked).fault),
        }
        super().__init__(routes, server.status)

    def _cut(self, request: Request) -> None:
        del request
        self._server.cut_all()
