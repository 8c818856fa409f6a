"""`WebSocketPool`: several managed connections under one roof, subscribed to by channel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from crossfeed.errors import ConfigError, CrossfeedError, DeadlineError
from crossfeed.model.ports import Clock, RandomSource
from crossfeed.transport.canary import AdmissionLimits
from crossfeed.transport.config import WebSocketConfig
from crossfeed.transport.deadline import deadline
from crossfeed.transport.defaults import default_clock, default_random
from crossfeed.transport.gate import VenueGate
from crossfeed.transport.handlers import Handlers
from crossfeed.transport.manager import WebSocketManager

__all__ = ["WebSocketPool"]

DRAIN_TIMEOUT_S: Final = 2.0

_H = TypeVar("_H", bound=Callable[..., Any])


class WebSocketPool:
    """Manages several WebSocket connections.

    ```python
    pool = WebSocketPool()
    pool.add_connection("binance", WebSocketConfig(url=..., channel_of=lambda m: m.get("e")))
    pool.subscribe("trade", print)
    async with pool:
        await pool.run()
    ```
    Connections to the same host share one gate, so that they keep the venue's connect budget
    together and one canary goes first after an outage. Used as `async with`, or closed by
    `close_all()`.
    """

    def __init__(
        self,
        *,
        limits: AdmissionLimits | None = None,
        connections_max: int = 1000,
        handler_queue_max: int = 10_000,
        handler_failures_max: int = 10,
        clock: Clock | None = None,
        random: RandomSource | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            limits: How fast connections to one host may be made.
            connections_max: Most connections it takes.
            handler_queue_max: Messages waiting for an async channel handler.
            handler_failures_max: Failures in a row after which a handler is called no more.
            clock: Source of time; the system's by default.
            random: Source of jitter; the system's by default.
        """
        self._limits = limits
        self._connections_max = connections_max
        self._handler_queue_max = handler_queue_max
        self._handler_failures_max = handler_failures_max
        self._clock = clock if clock is not None else default_clock()
        self._random = random if random is not None else default_random()
        self._managers: dict[str, WebSocketManager] = {}
        self._gates: dict[str, VenueGate] = {}
        self._channels: dict[str, Handlers] = {}
        self._error_handlers = Handlers(_drop_error, queue_max=1000, failures_max=10)

    def __repr__(self) -> str:
        """Return the name and state of each connection."""
        states = ", ".join(f"{name} {each.state}" for name, each in self._managers.items())
        return f"<WebSocketPool {states or 'without connections'}>"

    def add_connection(self, name: str, config: WebSocketConfig) -> WebSocketManager:
        """Add a connection; return its manager, on which handlers may be set.

        Raises:
            ConfigError: the name is taken, or the pool is full.
        """
        if name in self._managers:
            raise ConfigError(f"the pool has a connection {name!r} already", field="name")
        if len(self._managers) >= self._connections_max:
            text = f"the pool has {self._connections_max} connections already"
            raise ConfigError(text, field="connections_max")
        gate = self._gates.get(config.host)
        if gate is None:
            gate = VenueGate(self._limits, clock=self._clock, random=self._random)
            self._gates[config.host] = gate
        manager = WebSocketManager(config, clock=self._clock, random=self._random, gate=gate)
        manager.on_error(self._error_handlers.emit)
        self._managers[name] = manager
        if self._channels:
            self._listen(manager)
        return manager

    def subscribe(self, channel: str, handler: _H) -> _H:
        """Call `handler(message)` for messages of `channel` on any connection that names channels.

        What a message's channel is, each connection's `channel_of` says. This sends nothing to the
        server.

        Raises:
            ConfigError: no connection of the pool has a `channel_of`.
        """
        managers = self._managers.values()
        if self._managers and not any(m.config.channel_of for m in managers):
            raise ConfigError("no connection of the pool names channels", field="channel_of")
        is_first = not self._channels
        handlers = self._channels.get(channel)
        if handlers is None:
            handlers = Handlers(
                self._error_handlers.emit,
                queue_max=self._handler_queue_max,
                failures_max=self._handler_failures_max,
            )
            self._channels[channel] = handlers
        handlers.add(handler)
        if is_first:
            for manager in managers:
                self._listen(manager)
        return handler

    def on_error(self, handler: _H) -> _H:
        """Call `handler(error)` for each error of any connection or channel handler."""
        self._error_handlers.add(handler)
        return handler

    def unsubscribe(self, channel: str, handler: Callable[..., Any]) -> None:
        """Call `handler` no more for `channel`; nothing happens if it was not subscribed."""
        handlers = self._channels.get(channel)
        if handlers is not None:
            handlers.remove(handler)

    async def connect_all(self) -> None:
        """Connect all connections in parallel, within the budget of each host.

        Those that connected stay connected if others could not be: the error names these.

        Raises:
            CrossfeedError: the one failure, or the first of several with the others as notes.
        """
        names = list(self._managers)
        for handlers in (*self._channels.values(), self._error_handlers):
            handlers.resume()
        tasks = [asyncio.ensure_future(manager.connect()) for manager in self._managers.values()]
        try:
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        failed = [
            (name, outcome)
            for name, outcome in zip(names, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        ]
        if failed:
            _, first = failed[0]
            for name, error in failed:
                first.add_note(f"{name}: {error}")
            raise first

    async def run(self) -> None:
        """Wait until every connection is closed or has given up."""
        waits = [asyncio.ensure_future(_wait_closed(m)) for m in self._managers.values()]
        try:
            await asyncio.gather(*waits)
        finally:
            for wait in waits:
                wait.cancel()

    async def close_all(self) -> None:
        """Close all connections in parallel, within 5 s. Safe at any time, repeatedly."""
        closes = [asyncio.ensure_future(m.close()) for m in self._managers.values()]
        try:
            await asyncio.gather(*closes)
            with contextlib.suppress(DeadlineError):
                async with deadline(self._clock, DRAIN_TIMEOUT_S, "finishing handlers"):
                    for handlers in (*self._channels.values(), self._error_handlers):
                        await handlers.drain()
        finally:
            for close in closes:
                close.cancel()
            for handlers in (*self._channels.values(), self._error_handlers):
                handlers.cancel()

    def get_stats(self) -> dict[str, dict[str, Any]]:
        """Return each connection's statistics by its name."""
        return {name: manager.get_stats() for name, manager in self._managers.items()}

    async def __aenter__(self) -> Self:
        """Connect all, as `connect_all()`; close again what did connect if that fails."""
        try:
            await self.connect_all()
        except BaseException:
            await self.close_all()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, as `close_all()`."""
        await self.close_all()

    def __getitem__(self, name: str) -> WebSocketManager:
        return self._managers[name]

    def __contains__(self, name: object) -> bool:
        return name in self._managers

    def __iter__(self) -> Iterator[str]:
        return iter(self._managers)

    def __len__(self) -> int:
        return len(self._managers)

    def _listen(self, manager: WebSocketManager) -> None:
        channel_of = manager.config.channel_of
        if channel_of is None:
            return

        def route(message: object) -> None:
            channel = channel_of(message)
            if channel is not None:
                handlers = self._channels.get(channel)
                if handlers is not None:
                    handlers.emit(message)

        manager.on_message(route)


def _drop_error(_error: BaseException) -> None:
    """Take the failure of an error handler, which its handlers have counted."""


async def _wait_closed(manager: WebSocketManager) -> None:
    """Wait for the end of one connection; why it gave up, its error handlers have been told."""
    with contextlib.suppress(CrossfeedError):
        await manager.wait_closed()
