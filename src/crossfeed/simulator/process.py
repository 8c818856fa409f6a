"""The simulator as a process of its own: options in, one line of JSON with its URLs out."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from crossfeed.errors import ConfigError
from crossfeed.simulator.instruments import generated_symbols
from crossfeed.simulator.simulator import DEFAULT_SYMBOLS, DEFAULT_VENUES, Simulator
from crossfeed.simulator.tls import server_context

__all__ = ["SimulatorOptions", "main", "parse_arguments", "run_simulator"]

_SECONDS_MAX = 1e9


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything `crossfeed sim` can be told."""

    venues: tuple[str, ...] = DEFAULT_VENUES
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    #: At least this many symbols: made-up ones are added to `symbols`.
    symbol_count: int = 0
    #: Market actions a second per venue.
    rate_per_s: float = 200.0
    #: Rates of single venues, over `rate_per_s`.
    venue_rates_per_s: Mapping[str, float] = {}
    taker_share: float = 0.35
    #: Resting orders per market; None: 400, above 50 symbols 100, above 500 symbols 40.
    orders_wanted: int | None = None
    seed: int = 1
    #: A profile (none, default, harsh) or the path of a TOML schedule.
    faults: str = "none"
    host: str = "127.0.0.1"
    #: First port, 0 for free ones.
    port: int = 0
    #: Control port on the loopback interface: 0 for a free one, None for none.
    control_port: int | None = 0
    #: Folder for a test CA and certificate; serves TLS if given.
    tls_folder: str = ""
    #: Write the ledger to this file at the end.
    ledger_file: str = ""
    #: End by itself after this time, seconds; 0 runs until told to stop.
    seconds: float = 0.0
    #: End when standard input closes: then the simulator cannot outlive who started it.
    ends_with_stdin: bool = False
    #: Print the URLs as one JSON object instead of as text.
    is_json: bool = False


def run_simulator(options: SimulatorOptions) -> int:
    """Serve until SIGINT, SIGTERM, the end of standard input or the time limit; return 0.

    Prints the URLs once everything listens, so that a parent process can wait for that line.

    Raises:
        ConfigError: options that cannot work, a taken port among them; nothing was started.
        OSError: the ledger file cannot be written.
    """
    _check(options)
    symbols = generated_symbols(
        max(options.symbol_count, len(options.symbols)), given=options.symbols
    )
    venue_names = dict.fromkeys(options.venues)
    simulator = Simulator(
        venues=tuple(venue_names),
        symbols=symbols,
        rate_per_s={
            **dict.fromkeys((*venue_names, "coinbase"), options.rate_per_s),
            **options.venue_rates_per_s,
        },
        seed=options.seed,
        faults=options.faults,
        host=options.host,
        port=options.port,
        control_port=options.control_port,
        tls=server_context(Path(options.tls_folder)) if options.tls_folder else None,
        taker_share=options.taker_share,
        orders_wanted=options.orders_wanted,
    )
    asyncio.run(_serve(simulator, options))
    return 0


def _check(options: SimulatorOptions) -> None:
    """Refuse what would only show at the end.

    Raises:
        ConfigError: no length of time, no number of symbols, a ledger file that cannot be written.
    """
    if not 0.0 <= options.seconds < _SECONDS_MAX:
        raise ConfigError(f"{options.seconds} is no time to run", field="seconds")
    if options.symbol_count < 0:
        raise ConfigError(f"{options.symbol_count} is no number of symbols", field="symbol_count")
    if options.ledger_file:
        try:
            with Path(options.ledger_file).open("ab"):
                pass
        except OSError as error:
            raise ConfigError(f"cannot be written: {error}", field="ledger") from error


async def _serve(simulator: Simulator, options: SimulatorOptions) -> None:
    """Serve until the end, then write the ledger."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, over.set)
    if options.ends_with_stdin:
        os.set_blocking(sys.stdin.fileno(), False)
        loop.add_reader(sys.stdin.fileno(), _drain_stdin, over)
    simulator.on_failure = over.set
    async with simulator:
        _announce(simulator, is_json=options.is_json)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.seconds or None):
                await over.wait()
    if options.ledger_file:
        data = msgspec.json.format(msgspec.json.encode(simulator.report()))
        await asyncio.to_thread(Path(options.ledger_file).write_bytes, data)


def _drain_stdin(over: asyncio.Event) -> None:
    """Read and forget standard input; at its end, end."""
    try:
        if not os.read(sys.stdin.fileno(), 4_096):
            over.set()
    except BlockingIOError:
        return
    except OSError:
        over.set()
    if over.is_set():
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _announce(simulator: Simulator, *, is_json: bool) -> None:
    """Tell where the venues listen."""
    urls: dict[str, Any] = {
        "venues": {
            name: {"ws": simulator.ws_url(name), "rest": simulator.rest_url(name)}
            for name in simulator.venues
        },
        "control": simulator.control_url,
        "pid": os.getpid(),
    }
    if is_json:
        text = msgspec.json.encode(urls).decode()
    else:
        lines = [f"{name:18}{one['ws']}  {one['rest']}" for name, one in urls["venues"].items()]
        if simulator.control_url is not None:
            lines.append(f"{'control':18}{simulator.control_url}")
        text = "\n".join(lines)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def parse_arguments(arguments: Sequence[str]) -> SimulatorOptions:
    """Read command-line arguments.

    Raises:
        SystemExit: they cannot be read (2), or help was asked for (0).
    """
    parser = argparse.ArgumentParser(
        prog="python -m crossfeed.simulator", description="Serve simulated exchanges."
    )
    add = parser.add_argument
    add("--venues", default=",".join(DEFAULT_VENUES), help="comma-separated venue names")
    add("--symbols", default=",".join(DEFAULT_SYMBOLS), help="comma-separated BASE/QUOTE")
    add("--symbol-count", type=int, default=0, help="add made-up symbols up to this many")
    add("--rate", type=float, default=200.0, help="market actions a second per venue")
    add("--taker-share", type=float, default=0.35, help="share of market orders")
    add("--orders", type=int, default=None, help="resting orders per market")
    add("--seed", type=int, default=1, help="the same seed gives the same markets")
    add("--faults", default="none", help="a profile (none, default, harsh) or a TOML file")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="first port; 0 takes free ones")
    add("--control-port", type=int, default=0, help="control port; -1 for none")
    add("--tls", default="", help="folder for a test CA; serves TLS")
    add("--ledger", default="", help="write the ledger to this file at the end")
    add("--seconds", type=float, default=0.0, help="end by itself after this time")
    add("--ends-with-stdin", action="store_true", help="end when standard input closes")
    add("--json", action="store_true", help="print the URLs as one JSON object")
    found = parser.parse_args(arguments)
    return SimulatorOptions(
        venues=_split(found.venues),
        symbols=_split(found.symbols),
        symbol_count=found.symbol_count,
        rate_per_s=found.rate,
        taker_share=found.taker_share,
        orders_wanted=found.orders,
        seed=found.seed,
        faults=found.faults,
        host=found.host,
        port=found.port,
        control_port=None if found.control_port < 0 else found.control_port,
        tls_folder=found.tls,
        ledger_file=found.ledger,
        seconds=found.seconds,
        ends_with_stdin=found.ends_with_stdin,
        is_json=found.json,
    )


def _split(text: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with command-line arguments; return the exit code."""
    try:
        return run_simulator(parse_arguments(sys.argv[1:] if arguments is None else arguments))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
