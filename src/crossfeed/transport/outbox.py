"""Messages waiting for their turn under the send budget: bounded, with a deadline, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from msgspec import Struct

from crossfeed.errors import CrossfeedError, DeadlineError, NotConnectedError, SendRejectedError
from crossfeed.model.ports import Clock
from crossfeed.transport.deadline import deadline
from crossfeed.transport.limits import SendBudget
from crossfeed.transport.websocket import WebSocketConnection

__all__ = ["Outbox"]

NS_PER_S: Final = 1_000_000_000


class _Waiting(Struct, frozen=True):
    """One message and whoever waits for it to be sent."""

    payload: bytes
    sent: asyncio.Future[None]


class Outbox:
    """The send queue of one manager. A message does not survive its connection: the sender is told.

    Attributes:
        sent_count: Messages sent.
        rejected_count: Messages refused: queue full, deadline passed, connection gone, peer not
            reading.
    """

    def __init__(
        self, budget: SendBudget, clock: Clock, *, queue_max: int, timeout_s: float, where: str
    ) -> None:
        """Queue at most `queue_max` messages, each for at most `timeout_s`."""
        self.budget = budget
        self.sent_count = 0
        self.rejected_count = 0
        self._clock = clock
        self._queue_max = queue_max
        self._timeout_s = timeout_s
        self._where = where
        self._connection: WebSocketConnection | None = None
        self._queue: deque[_Waiting] = deque()
        self._is_filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    async def send(self, payload: bytes) -> None:
        """Send one text message as soon as the budget allows; return when it is with the system.

        Raises:
            NotConnectedError: there is no open connection, or it ended while the message waited.
            SendRejectedError: not UTF-8, queue full, deadline passed, or the peer does not read.
        """
        try:
            _check_utf8(payload, self._where)
            connection = self._require_open()
            if not self._queue and not self.budget.message_wait_ns(self._clock.monotonic_ns()):
                connection.send_text(payload)
            else:
                await self._wait_turn(payload)
        except (NotConnectedError, SendRejectedError):
            self.rejected_count += 1
            raise
        self.sent_count += 1

    async def run(self, connection: WebSocketConnection) -> None:
        """Serve `connection` until cancelled; then refuse what still waits."""
        self._connection = connection
        try:
            while True:
                while not self._queue:
                    self._is_filled.clear()
                    await self._is_filled.wait()
                if self._queue[0].sent.done():
                    self._queue.popleft()  # Nobody waits for it any more.
                    continue
                wait_ns = self.budget.message_wait_ns(self._clock.monotonic_ns())
                if wait_ns:
                    await self._clock.sleep(wait_ns / NS_PER_S)
                    continue
                self._send_first(connection)
        finally:
            self._connection = None
            while self._queue:
                _settle(
                    self._queue.popleft(),
                    NotConnectedError(
                        "the connection ended before the message was sent", where=self._where
                    ),
                )

    def _require_open(self) -> WebSocketConnection:
        if self._connection is None or not self._connection.is_open:
            raise NotConnectedError("no open connection to send on", where=self._where)
        return self._connection

    async def _wait_turn(self, payload: bytes) -> None:
        if len(self._queue) >= self._queue_max:
            text = f"{self._queue_max} messages wait already (send_queue_max)"
            raise SendRejectedError(text, where=self._where)
        waiting = _Waiting(payload, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._is_filled.set()
        try:
            async with deadline(self._clock, self._timeout_s, "waiting for the turn to send"):
                await waiting.sent
        except DeadlineError as exc:
            text = f"not sent within {self._timeout_s:g} s (send_limit, send_timeout_s)"
            raise SendRejectedError(text, where=self._where) from exc
        finally:
            waiting.sent.cancel()

    def _send_first(self, connection: WebSocketConnection) -> None:
        waiting = self._queue.popleft()
        try:
            connection.send_text(waiting.payload)
        except CrossfeedError as exc:
            _settle(waiting, exc)
        else:
            _settle(waiting, None)


def _settle(waiting: _Waiting, error: CrossfeedError | None) -> None:
    if waiting.sent.done():
        return
    if error is None:
        waiting.sent.set_result(None)
    else:
        waiting.sent.set_exception(error)


def _check_utf8(payload: bytes, where: str) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as exc:
        raise SendRejectedError("a text message must be UTF-8", where=where) from exc
