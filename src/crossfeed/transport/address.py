"""From a host name to a connected TCP socket: resolve off the loop, try addresses quickly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import Struct

from crossfeed.errors import ConnectFailedError, DeadlineError
from crossfeed.model.ports import Clock
from crossfeed.transport.deadline import deadline

__all__ = ["Address", "Resolver", "connect_first", "tune_socket"]

ATTEMPT_DELAY_S: Final = 0.25
LOOKUP_TIMEOUT_S: Final = 5.0
ADDRESSES_MAX: Final = 16
HOSTS_MAX: Final = 256
KEEPALIVE_IDLE_S: Final = 15
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_PROBES: Final = 3


class Address(Struct, frozen=True):
    """One resolved address: family (`socket.AF_*`) and the socket address tuple of that family."""

    family: int
    sockaddr: tuple[Any, ...]


Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]


async def system_lookup(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver in the loop's thread pool."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


class Resolver:
    """Looks names up anew for each attempt and remembers the last good answer for when that fails.

    One lookup per name is under way at a time: while the system's resolver hangs, further attempts
    wait for the same answer instead of filling its threads.

    Attributes:
        failures: Lookups that failed or took too long.
        stale_uses: Of these, how many were helped out by the last good answer.
    """

    def __init__(self, clock: Clock, lookup: Lookup = system_lookup) -> None:
        """Resolve with `lookup`; waits run on `clock`."""
        self._clock = clock
        self._lookup = lookup
        self._last_good: dict[tuple[str, int], Sequence[Address]] = {}
        self._pending: dict[tuple[str, int], asyncio.Future[Sequence[Address]]] = {}
        self.failures = 0
        self.stale_uses = 0

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of `host`, at most 16, best first.

        Raises:
            ConnectFailedError: the lookup failed or hung and there is no earlier answer.
        """
        key = (host, port)
        try:
            async with deadline(self._clock, LOOKUP_TIMEOUT_S, f"looking up {host}"):
                found = (await asyncio.shield(self._start(key)))[:ADDRESSES_MAX]
        except (OSError, UnicodeError, DeadlineError) as exc:
            return self._fall_back(key, exc)
        if not found:
            return self._fall_back(key, OSError("no address"))
        if len(self._last_good) < HOSTS_MAX or key in self._last_good:
            self._last_good[key] = found
        return found

    def _fall_back(self, key: tuple[str, int], exc: Exception) -> Sequence[Address]:
        self.failures += 1
        known = self._last_good.get(key)
        if known is None:
            raise ConnectFailedError(f"cannot look up {key[0]}: {exc}") from exc
        self.stale_uses += 1
        return known

    def _start(self, key: tuple[str, int]) -> asyncio.Future[Sequence[Address]]:
        pending = self._pending.get(key)
        if pending is None:
            pending = asyncio.ensure_future(self._lookup(*key))
            self._pending[key] = pending
            pending.add_done_callback(lambda done: self._finish(key, done))
        return pending

    def _finish(self, key: tuple[str, int], done: asyncio.Future[Sequence[Address]]) -> None:
        self._pending.pop(key, None)
        if not done.cancelled():
            done.exception()  # Everybody who waited may be gone: mark it as seen.


async def connect_first(
    addresses: Sequence[Address], clock: Clock, *, delay_s: float = ATTEMPT_DELAY_S
) -> socket.socket:
    """Connect to the first address that answers; try the next after `delay_s` or a failure.

    Returns:
        A connected, non-blocking socket; the caller owns it. All others are closed.

    Raises:
        OSError: none of them could be connected; the error of the first.
    """
    loop = asyncio.get_running_loop()
    attempts: dict[asyncio.Task[None], socket.socket] = {}
    errors: list[OSError] = []
    waiting = list(addresses)
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.pop(0)
                try:
                    sock = socket.socket(address.family, socket.SOCK_STREAM)
                except OSError as exc:
                    errors.append(exc)
                    continue
                sock.setblocking(False)  # noqa: FBT003 - the signature is the system's
                task = loop.create_task(loop.sock_connect(sock, address.sockaddr))
                attempts[task] = sock
            winner = await _first_connected(attempts, errors, clock, delay_s if waiting else None)
            if winner is not None:
                return winner
        raise errors[0] if errors else OSError("no address to connect to")
    finally:
        for task in attempts:
            task.cancel()
        if attempts:
            await asyncio.gather(*attempts, return_exceptions=True)
        for sock in attempts.values():
            sock.close()


async def _first_connected(
    attempts: dict[asyncio.Task[None], socket.socket],
    errors: list[OSError],
    clock: Clock,
    delay_s: float | None,
) -> socket.socket | None:
    """Wait until an attempt ends or `delay_s` is over; return the socket of one that succeeded."""
    timer = asyncio.ensure_future(clock.sleep(delay_s)) if delay_s is not None else None
    try:
        waited: set[asyncio.Future[None]] = set(attempts)
        if timer is not None:
            waited.add(timer)
        done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if timer is not None:
            timer.cancel()
    for task in [task for task in attempts if task in done]:
        sock = attempts.pop(task)
        error = task.exception()
        if error is None:
            return sock
        sock.close()
        if not isinstance(error, OSError):
            raise error
        errors.append(error)
    return None


def tune_socket(sock: socket.socket, user_timeout_s: float) -> None:
    """Set what keeps a dead peer from being believed alive, as far as the system offers it.

    Nagle off, keepalive after 15 s (3 probes, 5 s apart), unacknowledged data at most
    `user_timeout_s` (0: system's).
    """
    options: list[tuple[int, str, int]] = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_PROBES),
    ]
    if user_timeout_s:
        options.append((socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", round(user_timeout_s * 1000)))
    for level, name, value in options:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(
                OSError
            ):  # An option the system knows but refuses is no reason to fail.
                sock.setsockopt(level, option, value)
