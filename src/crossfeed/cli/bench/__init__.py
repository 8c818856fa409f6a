"""`crossfeed bench`: what the whole path costs, beside floors and peers in the same run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from crossfeed.cli.bench.scenarios import Scenario
    from crossfeed.cli.bench.suite import Results

__all__ = ["BenchOptions", "run_bench"]

SHORT_SHARE: Final = 0.25
SHORT_ROUNDS: Final = 3
FULL_ROUNDS: Final = 5


class BenchOptions(Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        names: Scenarios or groups of them; none: the three of the goals, or all with `is_full`.
        rounds: Interleaved rounds; 0: 3, or 5 with `is_full`.
        share: Share of the messages of each scenario; 0: a quarter, or all with `is_full`.
        is_full: Whether everything is measured.
        minutes: No run begins after that; 0: no limit.
        peers: Interpreter that has other people's clients, empty for none.
        peers_folder: Where their programs are.
        raw: File for each run's figures, as lines of JSON; empty for none.
        source: Such a file from an earlier run, that is shown instead of measuring.
        output: Markdown file that is written, empty for none; its plot lies beside it.
    """

    names: tuple[str, ...] = ()
    rounds: int = 0
    share: float = 0.0
    is_full: bool = False
    minutes: float = 0.0
    peers: str = ""
    peers_folder: str = "benchmarks/peers"
    raw: str = ""
    source: str = ""
    output: str = ""


def run_bench(options: BenchOptions) -> int:
    """Measure, print the tables and write them; return the exit code.

    Raises:
        ConfigError: There is no such scenario, or no such interpreter.
        BenchError: The file to be shown is none.
    """
    from crossfeed.cli.bench.results import render, write
    from crossfeed.cli.bench.suite import Store

    results = Store.read(Path(options.source)) if options.source else _measure(options)
    sys.stdout.write(render(results) + "\n")
    if options.output:
        write(results, Path(options.output))
    own_failures = [client for client, _ in results.failures() if client.startswith("crossfeed")]
    return 1 if own_failures else 0


def _measure(options: BenchOptions) -> Results:
    from crossfeed.cli.bench.suite import Store, describe_machine, peer_clients, run_rounds

    scenarios = _chosen(options)
    rounds = options.rounds or (FULL_ROUNDS if options.is_full else SHORT_ROUNDS)
    share = options.share or (1.0 if options.is_full else SHORT_SHARE)
    folder = Path(options.peers_folder)
    peers, versions = peer_clients(options.peers, folder) if options.peers else ([], {})
    machine = describe_machine(
        command=_command(options), share=share, rounds=rounds, peers=versions
    )
    store = Store(machine, Path(options.raw) if options.raw else None)
    run_rounds(
        store, scenarios, rounds=rounds, share=share, peers=peers, minutes=options.minutes,
        progress=_progress,
    )  # fmt: skip
    _progress("")
    return store.results()


def _chosen(options: BenchOptions) -> list[Scenario]:
    """Return the scenarios that are meant, each once."""
    from crossfeed.cli.bench.scenarios import GROUPS, SCENARIOS, SHORT
    from crossfeed.errors import ConfigError

    names = options.names or (tuple(GROUPS) if options.is_full else SHORT)
    found: dict[str, Scenario] = {}
    for name in names:
        if name in GROUPS:
            found |= {scenario.name: scenario for scenario in GROUPS[name]}
        elif name in SCENARIOS:
            found[name] = SCENARIOS[name]
        else:
            known = ", ".join(dict.fromkeys([*GROUPS, *SCENARIOS]))
            raise ConfigError(f"no scenario or group {name!r} (there are: {known})", field="names")
    return list(found.values())


def _command(options: BenchOptions) -> str:
    """Return the command that measures the same; where the peers are is the reader's own."""
    words = ["crossfeed", "bench", *options.names]
    words += ["--full"] if options.is_full else []
    words += ["--rounds", str(options.rounds)] if options.rounds else []
    words += ["--share", f"{options.share:g}"] if options.share else []
    words += ["--minutes", f"{options.minutes:g}"] if options.minutes else []
    words += ["--peers", "PEERS_PYTHON"] if options.peers else []
    return shlex.join(words)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
