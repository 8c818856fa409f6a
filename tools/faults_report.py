"""Run the fault tests in full and print what they prove: ids, figures, gates.

    python tools/faults_report.py [--short] [pytest options]

Reads the catalogue (tests/faults.toml). Every test marked `fault("ID")`, wherever it lies, counts
for its id; those in tests/faults also tell what was injected, found, repaired, lost and doubled,
and measure the figures the project promises. Exits with 1 when a test failed or a gate was missed.
"""

import os
import sys
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "tests" / "faults.toml"
STYLES = {"proven": "green", "failed": "bold red", "skipped": "yellow", "no test": "red"}
COLUMNS = ("injected", "detected", "recovered", "lost", "doubled")
INJECTED_GATE = 10_000


class Recorder:
    """A pytest plugin that notes outcome, time and figures of each test under its fault ids."""

    def __init__(self) -> None:
        """Start empty."""
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.figures: list[tuple[str, float, float, str, bool]] = []
        self.losses: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test's outcome once: its call, or the phase that kept it from being called."""
        ids = list(
            dict.fromkeys(
                str(fault)
                for name, faults in report.user_properties
                if name == "faults" and isinstance(faults, list)
                for fault in faults
            )
        )
        for fault in ids:
            self.seconds[fault] += report.duration
            if report.when == "call" or report.outcome != "passed":
                self.outcomes[fault][report.outcome] += 1
            if report.skipped and isinstance(report.longrepr, tuple):
                self.reasons[fault] = str(report.longrepr[2]).removeprefix("Skipped: ")
        if report.when == "call":
            self._note(ids, dict(report.user_properties))

    def _note(self, ids: list[str], properties: dict[str, object]) -> None:
        tally, figure, losses = (properties.get(n) for n in ("tally", "figure", "losses"))
        if isinstance(tally, dict):
            for fault in ids:
                self.tallies[fault].update(tally)
        if isinstance(figure, list):
            name, measured, gate, unit, at_least = figure
            self.figures.append((name, measured, gate, unit, at_least))
        if isinstance(losses, dict):
            self.losses.update(losses)

    def verdict(self, fault: str) -> str:
        """Say in one word how a fault stands."""
        outcomes = self.outcomes[fault]
        if outcomes["failed"]:
            return "failed"
        if outcomes["passed"]:
            return "proven"
        return "skipped" if outcomes["skipped"] else "no test"


def catalogue_table(recorder: Recorder) -> tuple[Table, Counter[str]]:
    """Build the table of all ids, and count how they stand."""
    catalogue: dict[str, dict[str, str]] = tomllib.loads(CATALOGUE.read_text("utf-8"))
    absent = {
        fault: feature for feature, faults in catalogue.pop("absent").items() for fault in faults
    }
    table = Table("id", "fault", "state", "tests", *COLUMNS, "s", title="Faults")
    totals: Counter[str] = Counter()
    for group in catalogue.values():
        for fault, title in group.items():
            verdict = recorder.verdict(fault)
            if verdict == "no test" and fault in absent:
                verdict = f"no {absent[fault]} yet"
            totals[verdict] += 1
            style = STYLES.get(verdict, "dim")
            tally = recorder.tallies[fault]
            table.add_row(
                fault,
                title,
                f"[{style}]{verdict}[/]",
                str(recorder.outcomes[fault].total()),
                *(str(tally[name]) if name in tally else "" for name in COLUMNS),
                f"{recorder.seconds[fault]:.1f}",
            )
        table.add_section()
    return table, totals


def figures_table(recorder: Recorder, *, is_full: bool) -> tuple[Table, bool]:
    """Build the table of figures against their gates; say whether all are met."""
    table = Table("figure", "measured", "gate", "", title="Figures")
    losses, figures = recorder.losses, list(recorder.figures)
    if losses:
        gate = INJECTED_GATE if is_full else 1
        injected = float(losses["injected"])
        exact = 100.0 * losses["exact"] / max(1, losses["ranges"])
        figures[:0] = [
            ("injected losses, duplicates, swaps, restarts, corruptions", injected, gate, "", True),
            ("undetected gaps", float(losses["undetected"]), 0, "", False),
            ("exact gap ranges", exact, 100, "%", True),
            ("duplicates delivered", float(losses["doubled"]), 0, "", False),
        ]
    are_met = True
    for name, measured, limit, unit, at_least in figures:
        is_met = measured >= limit if at_least else measured <= limit
        are_met &= is_met
        sign = "≥" if at_least else "≤"
        colour, word = ("green", "met") if is_met else ("bold red", "MISSED")
        table.add_row(
            name, f"{measured:,.3g} {unit}" if measured % 1 else f"{measured:,.0f} {unit}",
            f"{sign} {limit:,g} {unit}", f"[{colour}]{word}[/]",
        )  # fmt: skip
    return table, are_met


def main(options: list[str]) -> int:
    """Run, print the tables, return the exit code."""
    is_full = "--short" not in options
    if is_full:
        os.environ["CROSSFEED_FAULTS"] = "full"
    recorder = Recorder()
    chosen = [option for option in options if option != "--short"]
    started = time.monotonic()
    code = pytest.main(
        ["-m", "fault", "-p", "no:randomly", "--timeout=900", "-q", "-n2", *chosen],
        plugins=[recorder],
    )
    table, totals = catalogue_table(recorder)
    figures, are_met = figures_table(recorder, is_full=is_full)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(figures)
    for fault, reason in recorder.reasons.items():
        console.print(f"{fault} skipped: {reason}")
    console.print(", ".join(f"{count} {verdict}" for verdict, count in totals.most_common()))
    console.print(f"{time.monotonic() - started:.0f} s, {'full' if is_full else 'short'} form")
    return int(code) or int(not are_met)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
