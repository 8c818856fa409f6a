"""Run the fault tests and print, for each id of the catalogue, whether it is proven.

    python tools/faults.py [pytest options]

Reads tests/faults.toml. Exits with pytest's code: a failed test fails, an id without a test is only
shown.
"""

import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "tests" / "faults.toml"
STYLES = {"proven": "green", "failed": "bold red", "skipped": "yellow", "no test": "red"}


class Recorder:
    """A pytest plugin that notes outcome and time of each test under its fault ids."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which ids each test proves."""
        for item in session.items:
            marks = item.iter_markers("fault")
            self._ids[item.nodeid] = [str(fault) for mark in marks for fault in mark.args]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test's outcome once: its call, or the phase that kept it from being called."""
        for fault in self._ids.get(report.nodeid, ()):
            self.seconds[fault] += report.duration
            if report.when == "call" or report.outcome != "passed":
                self.outcomes[fault][report.outcome] += 1

    def verdict(self, fault: str) -> str:
        """Say in one word how a fault stands."""
        outcomes = self.outcomes[fault]
        if outcomes["failed"]:
            return "failed"
        if outcomes["passed"]:
            return "proven"
        return "skipped" if outcomes["skipped"] else "no test"


def main(options: list[str]) -> int:
    """Run, print the table and its sum, return the exit code."""
    catalogue: dict[str, dict[str, str]] = tomllib.loads(CATALOGUE.read_text("utf-8"))
    absent = {
        fault: feature for feature, faults in catalogue.pop("absent").items() for fault in faults
    }
    recorder = Recorder()
    chosen = ["-m", "fault", "-p", "no:randomly", "--timeout=300", "-q", *options]
    code = pytest.main(chosen, plugins=[recorder])
    table = Table("id", "fault", "state", "tests", "s", title="Faults")
    totals: Counter[str] = Counter()
    for group in catalogue.values():
        for fault, title in group.items():
            verdict = recorder.verdict(fault)
            if verdict == "no test" and fault in absent:
                verdict = f"no {absent[fault]} yet"
            totals[verdict] += 1
            count, seconds = recorder.outcomes[fault].total(), recorder.seconds[fault]
            style = STYLES.get(verdict, "dim")
            table.add_row(fault, title, f"[{style}]{verdict}[/]", str(count), f"{seconds:.1f}")
        table.add_section()
    console = Console()
    console.print(table)
    console.print(", ".join(f"{count} {verdict}" for verdict, count in totals.most_common()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
