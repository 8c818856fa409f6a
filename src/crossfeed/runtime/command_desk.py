"""Carries out what the pipeline asks for: one method per command, slow things as owned tasks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from crossfeed.errors import NotConnectedError, VenueError
from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Command,
    FetchSnapshot,
    Reconnect,
    Refused,
    Resubscribe,
    Rotate,
    Send,
    VenueNotice,
)
from crossfeed.model.output import Output

if TYPE_CHECKING:
    from crossfeed.runtime.connection import Connection
    from crossfeed.runtime.session import Session

__all__ = ["CommandDesk"]

log = logging.getLogger("crossfeed.session")

NOTICES_MAX: Final = 100


class CommandDesk:
    """Executes the commands of one session. Owned by the session.

    Attributes:
        notices: The newest things the venue said beside data and answers, oldest first.
    """

    def __init__(self, session: Session) -> None:
        """Work for `session`."""
        self._session = session
        self.notices: list[VenueNotice] = []

    def execute(self, connection: Connection, commands: Iterable[Command]) -> None:
        """Carry out what the pipeline asked for. Returns at once; slow things become tasks."""
        for command in commands:
            match command:
                case Acknowledged():
                    self._on_acknowledged(connection, command)
                case Refused():
                    connection.on_refused(command)
                case Send():
                    self._spawn(partial(connection.send, command.payload), "send")
                case Resubscribe():
                    self._resubscribe(connection, command)
                case Reconnect():
                    connection.place += command.is_other_endpoint
                    self._session.tasks.spawn(
                        connection.manager.reconnect(command.cause), "reconnect"
                    )
                case Rotate():
                    self._session.tasks.spawn(
                        self._session.links.rotate(self._session, connection, command.cause),
                        "rotate",
                    )
                case FetchSnapshot():
                    self._session.rest.fetch_snapshot(connection.core, command)
                case Backfill():
                    self._session.rest.backfill(connection.core, command)
                case VenueNotice():
                    self._on_notice(command)

    def _on_acknowledged(self, connection: Connection, said: Acknowledged) -> None:
        connection.on_acknowledged(said)
        if said.is_removal:
            return
        out = Output()
        now_ns, mono_ns = self._session.clock.now_ns(), self._session.clock.monotonic_ns()
        for want in said.wants:
            self._session.streams.subscribed(want, now_ns, mono_ns, out)
        self._session.deliver(out, connection.core)

    def _resubscribe(self, connection: Connection, command: Resubscribe) -> None:
        want = self._session.streams.want_of(command.channel, command.symbol)
        connections = self._session.connections
        named = [c for c in connections if c.name == command.line]
        carriers = named or [connection, *(c for c in connections if c is not connection)]
        carrier = next((c for c in carriers if want in c.wants), None)
        if carrier is not None and want is not None:
            self._spawn(partial(carrier.resubscribe, [want]), f"resubscribe:{want.symbol}")

    def _spawn(self, send: Callable[[], Awaitable[None]], name: str) -> None:
        """Send in the background. A connection that ends meanwhile asks for all of it anew."""

        async def work() -> None:
            with contextlib.suppress(NotConnectedError):
                await send()

        self._session.tasks.spawn(work(), name)

    def _on_notice(self, notice: VenueNotice) -> None:
        self.notices = [*self.notices[1 - NOTICES_MAX :], notice]
        log.log(
            logging.WARNING if notice.is_error else logging.INFO,
            "%s says: %s %s",
            self._session.venue.name,
            notice.code,
            notice.text,
        )
        if notice.is_error:
            self._session.report(
                VenueError(self._session.venue.name, notice.text, code=notice.code)
            )
