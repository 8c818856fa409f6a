"""Runs scenarios: a server and a client process for each run, in interleaved rounds."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crossfeed.cli.bench.client import ClientFeed, ClientOrder
from crossfeed.cli.bench.scenarios import Scenario
from crossfeed.cli.bench.server import ServerOrder
from crossfeed.errors import CrossfeedError

__all__ = ["BenchError", "Figures", "measure", "scaled"]

DEADLINE_S: Final = 240.0
WRAPPERS: Final = "crossfeed.cli.bench"


class BenchError(CrossfeedError):
    """A run did not work; the text has what its process said last."""


class Figures(Struct, frozen=True, kw_only=True):
    """What one run measured.

    Attributes:
        cpu_us: CPU of the client, user and system, microseconds a message.
        rate: Messages a second, from the server's first byte to the last callback.
        rss_mb: Peak memory of the client.
        lost: Messages that never reached the callback.
        latency_us: p50, p99, p99.9 and largest, from send to callback; empty where not paced.
    """

    cpu_us: float
    rate: float
    rss_mb: float
    lost: int
    latency_us: tuple[float, ...] = ()


class _Child:
    """One process that answers lines with lines."""

    def __init__(
        self,
        module: str,
        order: Struct,
        core: int,
        environment: dict[str, str],
        command: Sequence[str] = (),
    ) -> None:
        command = [
            *(command or (sys.executable, "-m", module)),
            msgspec.json.encode(order).decode(),
        ]
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            command = ["taskset", "-c", str(core), *command] if _has_taskset() else command
        self.name = module
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
        )
        self._buffer = b""

    def tell(self, text: str) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def read(self) -> str:
        """Wait for one line.

        Raises:
            BenchError: The process ended, or said nothing in time.
        """
        assert self.process.stdout is not None
        deadline_s = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not selector.select(left_s):
                    raise BenchError(f"{self.name} said nothing for {DEADLINE_S:g} s")
                chunk = os.read(self.process.stdout.fileno(), 1 << 20)
                if not chunk:
                    raise BenchError(f"{self.name} ended with {self.process.wait()}")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def _has_taskset() -> bool:
    return any(os.access(f"{folder}/taskset", os.X_OK) for folder in os.get_exec_path())


def measure(
    scenario: Scenario, client: str, *, command: Sequence[str] = (), pure: bool = False
) -> Figures:
    """Run one scenario with one client.

    Args:
        scenario: The scenario.
        client: Name of the client.
        command: Command that runs a peer; empty for ours and the floors.
        pure: Whether the compiled core is left out.

    Raises:
        BenchError: A process failed or hung.
    """
    environment = {"CROSSFEED_PURE": "1"} if pure else {}
    server_order = ServerOrder(feeds=scenario.feeds)
    with _Child(f"{WRAPPERS}.server", server_order, 0, {}) as server:
        ports = msgspec.json.decode(server.read())["ports"]
        order = ClientOrder(
            client=client,
            feeds=tuple(
                ClientFeed(
                    venue=feed.venue,
                    port=port,
                    symbols=feed.symbols,
                    kinds=_kinds(scenario, feed.venue, tuple(feed.shares), client),
                    messages=feed.messages,
                )
                for feed, port in zip(scenario.feeds, ports, strict=True)
            ),
            connections=scenario.connections,
            subscribers=scenario.subscribers,
            mode=scenario.mode,
            is_timed=bool(scenario.rate),
        )
        with _Child(f"{WRAPPERS}.client", order, 1, environment, command) as runner:
            while runner.read() != "ready":
                pass
            server.tell(f"go {scenario.rate}" if scenario.rate else "go")
            report = msgspec.json.decode(runner.read())
            sent = msgspec.json.decode(server.read())
    return _figures(report, sent, scenario.messages)


def _kinds(scenario: Scenario, venue: str, kinds: tuple[str, ...], client: str) -> tuple[str, ...]:
    """Among three venues our client is asked for quotes, which Coinbase's come from its book."""
    if len(scenario.feeds) > 1 and client == "crossfeed" and venue == "coinbase":
        return ("book_ticker",)
    return kinds


def _figures(report: dict[str, Any], sent: dict[str, Any], expected: int) -> Figures:
    seen = max(report["seen"], 1)
    took_s = max(report["done_ns"] - sent["started_ns"], 1) / 1e9
    latencies: tuple[float, ...] = ()
    times_ns, sent_ns = report["times_ns"], sent["sent_ns"]
    if sent_ns and len(times_ns) == len(sent_ns):
        waits = sorted(got - at for got, at in zip(times_ns, sent_ns, strict=True))
        shares = (0.5, 0.99, 0.999, 1.0)
        latencies = tuple(waits[min(int(len(waits) * s), len(waits) - 1)] / 1e3 for s in shares)
    return Figures(
        cpu_us=report["cpu_s"] * 1e6 / seen,
        rate=seen / took_s,
        rss_mb=report["rss_mb"],
        lost=max(expected - report["seen"], 0),
        latency_us=latencies,
    )


def scaled(scenario: Scenario, share: float) -> Scenario:
    """Return the scenario with a share of its messages."""
    feeds: Sequence[Any] = [
        replace(feed, messages=max(int(feed.messages * share), 500)) for feed in scenario.feeds
    ]
    return replace(scenario, feeds=tuple(feeds))
