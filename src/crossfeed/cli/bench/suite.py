"""Interleaved rounds over scenarios, kept as lines of JSON, and what they say."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from crossfeed.cli.bench.peers import PEERS as ALL_PEERS
from crossfeed.cli.bench.peers import installed
from crossfeed.cli.bench.runner import BenchError, Figures, Stage, scaled
from crossfeed.cli.bench.scenarios import FLOOR, GROUPS, OURS, PEERS, PURE, Scenario
from crossfeed.runtime.core_choice import active_core

__all__ = ["Client", "Machine", "Record", "Results", "Row", "Store", "clients", "run_rounds"]

PACKAGES: Final = ("crossfeed", "picows", "msgspec", "uvloop")
WITH_GOAL: Final = ("scenarios", "latency", "memory", "aggregator")
ROUNDS_OF_ALL: Final = 3
PEER_SHARE: Final = 0.2
"""A peer gets a fifth of the messages: it takes ten times as long for each."""


class Client(Struct, frozen=True):
    """A client to measure.

    Attributes:
        name: As it stands in the tables.
        command: Command that runs a peer, empty for ours and the floors.
        kinds: What a peer can take, empty for anything.
    """

    name: str
    command: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()


class Record(Struct, frozen=True, kw_only=True):
    """One run: a line of the file.

    Attributes:
        scenario: Its name.
        client: Its name.
        round: Of which round, from 0.
        load: The machine's load average (1 minute) before the run.
        figures: What was measured, None if it failed.
        error: Why it failed.
    """

    scenario: str
    client: str
    round: int
    load: float
    figures: Figures | None = None
    error: str = ""


class Machine(Struct, frozen=True, kw_only=True):
    """What it was measured on: the file's first line.

    Attributes:
        date: Beginning, UTC.
        commit: Of the checkout.
        processor: Its name.
        cores: Processors in use.
        python: Interpreter of ours and of the floors.
        core: The core at hand, and why.
        versions: Package -> version, ours.
        peers: "python" and package -> version, theirs; empty if not measured.
        command: What was typed.
        share: Share of the scenarios' messages.
        round_count: Rounds asked for.
    """

    date: str
    commit: str
    processor: str
    cores: int
    python: str
    core: str
    versions: dict[str, str]
    peers: dict[str, str] = {}
    command: str = ""
    share: float = 1.0
    round_count: int = 0


class Row(Struct, frozen=True, kw_only=True):
    """One client in one scenario, over all rounds.

    Attributes:
        scenario: Its name.
        client: Its name.
        runs: Round -> figures.
        floors: Round -> figures of `floor:msgspec`, where it was measured.
    """

    scenario: str
    client: str
    runs: dict[int, Figures]
    floors: dict[int, Figures]

    @property
    def cpu_us(self) -> float:
        """Median CPU, microseconds a message."""
        return statistics.median(run.cpu_us for run in self.runs.values())

    @property
    def ratio(self) -> float | None:
        """Median of the ratios to the floor of the same round, None without one."""
        ratios = [self.runs[n].cpu_us / f.cpu_us for n, f in self.floors.items() if n in self.runs]
        return statistics.median(ratios) if ratios else None

    def times(self, other: Row) -> float | None:
        """Return how many times our CPU the other needs: median over the rounds of both."""
        shared = self.runs.keys() & other.runs.keys()
        ratios = [other.runs[number].cpu_us / self.runs[number].cpu_us for number in shared]
        return statistics.median(ratios) if ratios else None


class Results(Struct, frozen=True, kw_only=True):
    """A whole file.

    Attributes:
        machine: What it was measured on.
        records: All runs.
    """

    machine: Machine
    records: tuple[Record, ...]

    def rows(self, scenarios: Iterable[Scenario]) -> list[Row]:
        """Return the rows of some scenarios, clients in the order they were measured in."""
        found: list[Row] = []
        for scenario in scenarios:
            runs: dict[str, dict[int, Figures]] = {}
            for record in self.records:
                if record.scenario == scenario.name and record.figures is not None:
                    runs.setdefault(record.client, {})[record.round] = record.figures
            found += [
                Row(scenario=scenario.name, client=client, runs=each, floors=runs.get(FLOOR, {}))
                for client, each in runs.items()
            ]
        return found

    def failures(self) -> dict[tuple[str, str], str]:
        """Return (client, scenario) -> last error, of runs that failed."""
        return {(r.client, r.scenario): r.error for r in self.records if r.error}


class Store:
    """Keeps what was measured; with a file each run is there as soon as it ended.

    Args:
        machine: What is measured on.
        path: File that is written anew, None for none.
    """

    def __init__(self, machine: Machine, path: Path | None = None) -> None:
        self.machine = machine
        self.records: list[Record] = []
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(machine) + b"\n")

    def add(self, record: Record) -> None:
        """Keep one run."""
        self.records.append(record)
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(record) + b"\n")

    def results(self) -> Results:
        """Return everything so far."""
        return Results(machine=self.machine, records=tuple(self.records))

    @staticmethod
    def read(path: Path) -> Results:
        """Read a file that was written earlier.

        Raises:
            BenchError: It is not one.
        """
        try:
            head, *lines = path.read_bytes().splitlines()
            return Results(
                machine=msgspec.json.decode(head, type=Machine),
                records=tuple(msgspec.json.decode(line, type=Record) for line in lines),
            )
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise BenchError(f"{path} holds no results: {error}") from error


def clients(scenario: Scenario, peers: Sequence[Client] = ()) -> list[Client]:
    """Return who takes part in a scenario, as far as the core at hand has them."""
    found: list[Client] = []
    kinds = {kind for feed in scenario.feeds for kind in feed.shares}
    for name in scenario.measured:
        if name == PEERS:
            found += [peer for peer in peers if kinds <= peer.kinds]
        elif name != OURS or active_core().name == "compiled":
            found.append(Client(name))
    return found


def run_rounds(
    store: Store,
    scenarios: Sequence[Scenario],
    *,
    rounds: int,
    share: float = 1.0,
    peers: Sequence[Client] = (),
    minutes: float = 0.0,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Measure in interleaved rounds: everything once, then all again (see `order`).

    Args:
        store: Takes each run. A run that fails is kept as such; the others go on.
        scenarios: What is measured.
        rounds: How often.
        share: Share of the messages; peers get a fifth of that.
        peers: Other people's clients.
        minutes: No run begins after that; 0: no limit.
        progress: Is told what runs.
    """
    end_s = time.monotonic() + minutes * 60 if minutes else float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for number, scenario in order(scenarios, rounds):
            with Stage(scaled(scenario, share), Path(folder)) as stage:
                for client in clients(scenario, peers):
                    if time.monotonic() > end_s:
                        return
                    progress(f"round {number + 1}/{rounds}, {scenario.name}, {client.name}")
                    store.add(_run(stage, client, number))


def order(scenarios: Sequence[Scenario], rounds: int) -> list[tuple[int, Scenario]]:
    """Return round and scenario in the order of running.

    The first rounds are of everything; of the others those of scenarios with a goal come first, so
    that a limit of time leaves out what matters least.
    """
    with_goal = {scenario.name for group in WITH_GOAL for scenario in GROUPS[group]}
    late = [(number, scenario) for number in range(ROUNDS_OF_ALL, rounds) for scenario in scenarios]
    return [
        *((n, scenario) for n in range(min(rounds, ROUNDS_OF_ALL)) for scenario in scenarios),
        *(each for each in late if each[1].name in with_goal),
        *(each for each in late if each[1].name not in with_goal),
    ]


def _run(stage: Stage, client: Client, number: int) -> Record:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    figures, error = None, ""
    is_pure = client.name == PURE
    try:
        figures = stage.run(
            OURS if is_pure else client.name,
            command=client.command,
            pure=is_pure,
            share=PEER_SHARE if client.command else 1.0,
        )
    except BenchError as failure:
        error = str(failure)
    name = stage.scenario.name
    return Record(
        scenario=name, client=client.name, round=number, load=load, figures=figures, error=error
    )


def peer_clients(python: str, folder: Path) -> tuple[list[Client], dict[str, str]]:
    """Return the peers that are installed for an interpreter, and the versions."""
    versions = installed(python, folder)
    found: list[Client] = []
    for peer in ALL_PEERS:
        if peer.package in versions:
            program, *words = peer.program.split()
            command = (python, str(folder / program), *words)
            found.append(Client(peer.name, command, peer.kinds))
    return found, versions


def describe_machine(
    *, command: str, share: float, rounds: int, peers: dict[str, str] | None = None
) -> Machine:
    """Describe what is measured on."""
    about = _text("/proc/cpuinfo").splitlines()
    names = [line.partition(":")[2].strip() for line in about if line.startswith("model name")]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    core = active_core()
    return Machine(
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        commit=_commit(),
        processor=names[0] if names else platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        python=f"{python}, {platform.system()}",
        core=f"{core.name}, {core.reason}",
        versions={name: metadata.version(name) for name in PACKAGES},
        peers=peers or {},
        command=command,
        share=share,
        round_count=rounds,
    )


def _commit() -> str:
    """Return what git says of the checkout, "none" outside of one."""
    git = shutil.which("git")
    if git is None:
        return "none"
    answer = subprocess.run(  # noqa: S603 - git itself
        [git, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "none"


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""
