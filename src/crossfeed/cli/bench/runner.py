"""Runs scenarios: a server process for each, and a client process for each run."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crossfeed.cli.bench.client import ClientFeed, ClientOrder
from crossfeed.cli.bench.copies import write_copies
from crossfeed.cli.bench.scenarios import Scenario
from crossfeed.cli.bench.server import ServerOrder
from crossfeed.errors import CrossfeedError
from crossfeed.simulator.tls import CA_FILE, make_certificates

__all__ = ["BenchError", "Figures", "Stage", "measure", "scaled"]

DEADLINE_S: Final = 90.0
WRAPPERS: Final = "crossfeed.cli.bench"
COUNT_MIN: Final = 500


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
        name: str,
        command: Sequence[str],
        order: Struct,
        core: int,
        environment: dict[str, str],
    ) -> None:
        command = [*command, msgspec.json.encode(order).decode()]
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1 and _has_taskset():
            command = ["taskset", "-c", str(core), *command]
        self.name = name
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self.process = subprocess.Popen(  # noqa: S603 - ourselves, or the peer the user named
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
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
                    code = self.process.wait()
                    raise BenchError(f"{self.name} ended with {code}: {self._last_words()}")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def read_object(self) -> dict[str, Any]:
        """Wait for one line that is a JSON object; a peer may print other things before it.

        Raises:
            BenchError: The process ended, or said nothing of that sort in time.
        """
        while not (line := self.read()).startswith("{"):
            pass
        found: dict[str, Any] = msgspec.json.decode(line)
        return found

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no words"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


def _has_taskset() -> bool:
    return any(os.access(f"{folder}/taskset", os.X_OK) for folder in os.get_exec_path())


class Stage:
    """The server of one scenario, for one client after the other.

    A context manager. A run that fails leaves the server in an unknown state: then the next run
    gets a new one.

    Args:
        scenario: The scenario.
        folder: Where certificates and copied venues are kept; made at their first use.
    """

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self._tls = folder / "tls"
        self._copies = folder / "venues"
        if scenario.is_tls and not self._tls.exists():
            make_certificates(self._tls)
        if not self._copies.exists():
            self._copies.mkdir(parents=True)
            write_copies(self._copies)
        self._server: _Child | None = None
        self._ports: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.__exit__()

    def run(
        self, client: str, *, command: Sequence[str] = (), pure: bool = False, share: float = 1.0
    ) -> Figures:
        """Run one client.

        Args:
            client: Its name.
            command: Command that runs a peer; empty for ours and the floors.
            pure: Whether the compiled core is left out.
            share: Share of the messages that is sent; only where there is one feed.

        Raises:
            BenchError: A process failed or hung.
        """
        server = self._server or self._serve()
        scenario = self.scenario if share >= 1 else scaled(self.scenario, share)
        order = self._order(scenario, client)
        environment = {"CROSSFEED_PURE": "1"} if pure else {}
        if any("_" in feed.venue for feed in scenario.feeds):
            environment["PYTHONPATH"] = str(self._copies)
        ours = (sys.executable, "-m", f"{WRAPPERS}.client")
        try:
            with _Child(client, command or ours, order, 1, environment) as runner:
                while runner.read() != "ready":
                    pass
                server.tell(f"go {scenario.rate} {scenario.messages}")
                report, sent = runner.read_object(), server.read_object()
        except BenchError:
            self.__exit__()
            raise
        except (OSError, msgspec.DecodeError) as error:
            self.__exit__()
            raise BenchError(f"{client}: {error}") from error
        return _figures(report, sent, scenario.messages)

    def _serve(self) -> _Child:
        order = ServerOrder(
            feeds=self.scenario.feeds, tls_folder=str(self._tls) if self.scenario.is_tls else ""
        )
        server = _Child("server", (sys.executable, "-m", f"{WRAPPERS}.server"), order, 0, {})
        self._server = server
        self._ports = server.read_object()["ports"]
        return server

    def _order(self, scenario: Scenario, client: str) -> ClientOrder:
        return ClientOrder(
            client=client,
            feeds=tuple(
                ClientFeed(
                    venue=feed.venue,
                    port=port,
                    symbols=feed.symbols,
                    kinds=_kinds(scenario, feed.venue, tuple(feed.shares)),
                    messages=feed.messages,
                )
                for feed, port in zip(scenario.feeds, self._ports, strict=True)
            ),
            connections=scenario.connections,
            subscribers=scenario.subscribers,
            mode=scenario.mode,
            strategy=scenario.strategy,
            is_timed=bool(scenario.rate),
            ca_file=str(self._tls / CA_FILE) if scenario.is_tls else "",
        )


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
    with tempfile.TemporaryDirectory() as folder, Stage(scenario, Path(folder)) as stage:
        return stage.run(client, command=command, pure=pure)


def _kinds(scenario: Scenario, venue: str, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Among several venues quotes are asked for, which Coinbase's come from its book."""
    if len(scenario.feeds) > 1 and venue == "coinbase" and kinds == ("depth",):
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
        replace(feed, messages=max(int(feed.messages * share), COUNT_MIN))
        for feed in scenario.feeds
    ]
    return replace(scenario, feeds=tuple(feeds))
