"""`crossfeed faultproxy`: damage a TCP connection on purpose."""

from __future__ import annotations

import asyncio
import contextlib

from crossfeed.cli.session import check_seconds, interruptible
from crossfeed.errors import ConfigError
from crossfeed.simulator.faultproxy import FaultProxy, ProxyFaults

__all__ = ["run_proxy"]

PORT_MAX = 65_535


def _target(text: str) -> tuple[str, int]:
    """Split "host:port".

    Raises:
        ConfigError: It is none.
    """
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) <= PORT_MAX):
        raise ConfigError(f"{text!r} is no host:port", field="to")
    return host.strip("[]"), int(port)


async def run_proxy(to: str, faults: ProxyFaults, *, port: int, seed: int, seconds: float) -> int:
    """Pass connections on to `to`, damaged, until the time is over or Ctrl-C; return 0.

    Raises:
        ConfigError: No such target, no length of time, or the port is taken.
    """
    check_seconds(seconds)
    over = asyncio.Event()
    proxy = FaultProxy(_target(to), faults, port=port, seed=seed)
    with interruptible(over):
        async with proxy:
            print(f"127.0.0.1:{proxy.port} -> {to}", flush=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds or None):
                    await over.wait()
    counts = proxy.counts
    print(
        f"{counts.connections} connections, {counts.bytes_up} bytes up, {counts.bytes_down} down, "
        f"{counts.swallowed} swallowed, {counts.flipped} bits flipped, {counts.cuts} cuts, "
        f"{counts.closes} closes"
    )
    return 0
