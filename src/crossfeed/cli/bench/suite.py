"""Interleaved rounds over scenarios, and what they say."""

from __future__ import annotations

import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossfeed.cli.bench.runner import Figures, measure, scaled
from crossfeed.cli.bench.scenarios import Scenario
from crossfeed.runtime.core_choice import active_core

__all__ = ["OURS", "PURE", "Client", "Row", "clients", "machine", "run_rounds"]

PURE: Final = "crossfeed (pure)"
OURS: Final = "crossfeed"
FLOOR: Final = "floor:msgspec"
PACKAGES: Final = ("crossfeed", "picows", "msgspec", "uvloop")


class Client(Struct, frozen=True):
    """A client to measure.

    Attributes:
        name: As it stands in the tables.
        word: As its process is told.
        is_pure: Whether the compiled core is left out.
        command: Command that runs a peer, empty for ours and the floors.
    """

    name: str
    word: str
    is_pure: bool = False
    command: tuple[str, ...] = ()


class Row(Struct, frozen=True, kw_only=True):
    """One client in one scenario, over all rounds.

    Attributes:
        scenario: Its name.
        client: Its name.
        runs: The figures of each round.
        ratios: CPU of each round as a multiple of `floor:msgspec` in the same round.
    """

    scenario: str
    client: str
    runs: tuple[Figures, ...]
    ratios: tuple[float, ...]

    @property
    def cpu_us(self) -> float:
        """Median CPU, microseconds a message."""
        return statistics.median(run.cpu_us for run in self.runs)

    @property
    def ratio(self) -> float | None:
        """Median of the paired ratios, None without a floor beside it."""
        return statistics.median(self.ratios) if self.ratios else None


def clients(*, is_aggregated: bool = False) -> list[Client]:
    """Return ours and the floors, as far as the core at hand has them."""
    ours = [Client(PURE, OURS, is_pure=True)]
    if active_core().name == "compiled":
        ours.insert(0, Client(OURS, OURS))
    if is_aggregated:
        return ours
    return [Client("floor:raw", "floor:raw"), Client(FLOOR, FLOOR), *ours]


def run_rounds(
    scenario: Scenario,
    *,
    rounds: int,
    share: float = 1.0,
    measured: Sequence[Client] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Measure a scenario in interleaved rounds: every client once, then all again.

    Args:
        scenario: The scenario.
        rounds: How often.
        share: Share of its messages.
        measured: The clients; none: ours and the floors.
        progress: Is told what runs.
    """
    smaller = scaled(scenario, share)
    found = list(measured) or clients(is_aggregated=len(scenario.feeds) > 1)
    runs: dict[str, list[Figures]] = {client.name: [] for client in found}
    for number in range(rounds):
        for client in found:
            progress(f"{scenario.name}, round {number + 1}/{rounds}, {client.name}")
            runs[client.name].append(
                measure(smaller, client.word, command=client.command, pure=client.is_pure)
            )
    floors = runs.get(FLOOR, [])
    return [
        Row(
            scenario=scenario.name,
            client=name,
            runs=tuple(figures),
            ratios=tuple(f.cpu_us / g.cpu_us for f, g in zip(figures, floors, strict=False)),
        )
        for name, figures in runs.items()
    ]


def machine() -> list[str]:
    """Describe what this was measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in _text("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or "unknown",
    )
    cores = _text("/proc/cpuinfo").count("processor\t")
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whatever git there is
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"
    load = _text("/proc/loadavg").split()[:1]
    return [
        f"date: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit {commit or 'none'}",
        f"processor: {cpu}, {cores or '?'} cores; load at the end {load[0] if load else '?'}",
        f"{python}; {versions}",
        f"core: {active_core().name}, {active_core().reason}",
    ]


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""
