"""Run the fault tests in full and print what they prove: ids, figures, gates.

    python tools/faults_report.py [--short] [--markdown FILE] [pytest options, such as -k rotation]

Reads the catalogue (tests/faults.toml). Every test marked `fault("ID")`, wherever it lies, counts
for its id; those in tests/faults also tell what was injected, found, repaired, lost and doubled,
and measure the figures the project promises. What measures time or memory runs alone, after the
rest. Exits with 1 when a test failed or a figure was missed, in a whole run also when one was not
measured and no test says why this machine cannot.
"""

import os
import sys
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "tests" / "faults.toml"
STYLES = {"proven": "green", "failed": "bold red", "skipped": "yellow", "no test": "red"}
COLUMNS = ("injected", "detected", "recovered", "lost", "doubled")
GAPS_GATE = 10_000
WIDTH = 150

FIGURES = {
    "gaps injected": "10,000",
    "undetected gaps": "0",
    "exact gap ranges": "100 %",
    "false alarms, clean day": "0",
    "duplicates delivered": "0",
    "order violations delivered": "0",
    "lost or doubled over planned rotations": "0",
    "lost or doubled with two lines, one failing": "0",
    "lost over an unplanned drop, after backfill": "0",
    "dead peer found later than ping interval + timeout": "0.5 s",
    "silent stream found later than its limit": "100 ms",
    "gap or checksum fault found by which next message": "1",
    "drop to all books sound, p50": "0.75 s",
    "drop to all books sound, p99": "3 s",
    "30 s outage: first connection, p99": "5 s",
    "30 s outage: all of 100 connections": "25 s",
    "30 s outage: connects in any one second": "15",
    "30 s outage: venue limits broken": "0",
    "memory growth, dead consumer, 10,000 msg/s": "16 MB",
    "loop lag at 10,000 msg/s, p99.9": "20 ms",
    "shutdown": "5 s",
    "200 simulated hours of faults, on two cores": "180 s",
}
"""The promises in their order, and their gates in words; the tests carry the gates themselves."""
ELSEWHERE = {
    "fuzz: 1 M inputs a parser": ("make fuzz", ()),
    "recorder: kill -9, torn tail, bit flips": ("", ("F01", "F02", "F03")),
    "recorder: 200 kills, all bits of 64 KiB": ("pytest -m load tests/journal", ()),
    "WebSocket conformance of the client": ("", ("D12", "D13", "D14", "D15", "H10", "T07")),
}
"""Promises with a command of their own, or proven by the tests of ids."""


SUMMED = "200 simulated hours of faults, on two cores"
"""A figure whose measurements are parts of one whole."""


class Figure(NamedTuple):
    """One measurement as a test noted it."""

    name: str
    measured: float
    gate: float
    unit: str
    at_least: bool
    detail: str

    @property
    def is_met(self) -> bool:
        """Whether the gate is kept."""
        return self.measured >= self.gate if self.at_least else self.measured <= self.gate

    @property
    def shown(self) -> str:
        """The value with its unit."""
        value = f"{self.measured:,.3g}" if self.measured % 1 else f"{self.measured:,.0f}"
        return f"{value} {self.unit}".strip()


class Recorder:
    """A pytest plugin that notes outcome, time and figures of each test under its fault ids."""

    def __init__(self) -> None:
        """Start empty."""
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.tallies: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.figures: list[Figure] = []
        self.losses: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}
        self.unmeasured: dict[str, str] = {}
        self.slow: list[tuple[float, str]] = []

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
            self.slow.append((report.duration, report.nodeid))
            self._note(ids, report)

    def _note(self, ids: list[str], report: pytest.TestReport) -> None:
        """Add up what a test said of itself; one that says nothing stands for one fault."""
        tally: Counter[str] = Counter()
        for name, value in report.user_properties:
            if name == "tally" and isinstance(value, dict):
                tally.update(value)
            elif name == "figure" and isinstance(value, list):
                self.figures.append(Figure(*value))
            elif name == "losses" and isinstance(value, dict):
                self.losses.update(value)
            elif name == "unmeasured" and isinstance(value, list):
                self.unmeasured[str(value[0])] = str(value[1])
        if not tally and not report.skipped:
            tally.update(injected=1, detected=int(report.passed))
        for fault in ids:
            self.tallies[fault].update(tally)
        for group in {fault[0] for fault in ids}:
            self.groups[group].update(tally)

    def verdict(self, fault: str) -> str:
        """Say in one word how a fault stands."""
        outcomes = self.outcomes[fault]
        if outcomes["failed"]:
            return "failed"
        if outcomes["passed"]:
            return "proven"
        return "skipped" if outcomes["skipped"] else "no test"

    def measured(self, name: str) -> tuple[Figure | None, list[Figure]]:
        """Return the worst measurement of a promise, and all of them."""
        found = [one for one in self.figures if one.name == name]
        if not found:
            return None, []
        if name == SUMMED:
            whole = sum(one.measured for one in found)
            detail = f"{len(found)} x {found[0].detail}"
            return found[0]._replace(measured=whole, detail=detail), found[:1]
        worst = min if found[0].at_least else max
        return worst(found, key=lambda one: one.measured), found

    def add_losses(self, *, is_whole: bool) -> None:
        """Make figures of what the tests that count single messages found."""
        losses = self.losses
        if not losses:
            return
        exact = 100.0 * losses["exact"] / max(1, losses["ranges"])
        gate = float(GAPS_GATE if is_whole else 1)
        of = f"beside {losses['injected'] - losses['gaps']:,} other faults in messages"
        ranges = f"{losses['ranges']:,} ranges"
        self.figures += [
            Figure("gaps injected", losses["gaps"], gate, "", at_least=True, detail=of),
            Figure("undetected gaps", losses["undetected"], 0, "", at_least=False, detail=""),
            Figure("exact gap ranges", exact, 100, "%", at_least=True, detail=ranges),
            Figure("duplicates delivered", losses["doubled"], 0, "", at_least=False, detail=""),
            Figure(
                "order violations delivered", losses["disordered"], 0, "", at_least=False, detail=""
            ),
        ]


Row = tuple[str, ...]


def load_catalogue() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return the groups of the catalogue, and id -> feature for those without their feature."""
    catalogue: dict[str, dict[str, str]] = tomllib.loads(CATALOGUE.read_text("utf-8"))
    absent = catalogue.pop("absent", {})
    return catalogue, {fault: feature for feature, ids in absent.items() for fault in ids}


def standing(recorder: Recorder, fault: str, absent: dict[str, str]) -> str:
    """Say how an id stands, its feature included."""
    verdict = recorder.verdict(fault)
    is_absent = verdict == "no test" and fault in absent
    return f"no {absent[fault]} yet" if is_absent else verdict


def catalogue_table(recorder: Recorder, *, is_whole: bool) -> Table:
    """Build the table of all ids; of those that were run, if only a part was."""
    groups, absent = load_catalogue()
    table = Table("id", "fault", "state", "tests", *COLUMNS, "s", title="Faults")
    for group in groups.values():
        for fault, title in group.items():
            verdict = standing(recorder, fault, absent)
            tally = recorder.tallies[fault]
            if not is_whole and not recorder.outcomes[fault]:
                continue
            table.add_row(
                fault,
                title,
                f"[{STYLES.get(verdict, 'dim')}]{verdict}[/]",
                str(recorder.outcomes[fault].total()),
                *(f"{tally[name]:,}" if name in tally else "" for name in COLUMNS),
                f"{recorder.seconds[fault]:.1f}",
            )
        table.add_section()
    table.caption = "A test without an account of its own counts as one fault injected."
    return table


def group_rows(recorder: Recorder, *, is_whole: bool) -> list[Row]:
    """Return one row for each group of the catalogue (of which something was run)."""
    groups, absent = load_catalogue()
    rows: list[Row] = []
    for name, group in groups.items():
        states = Counter(standing(recorder, fault, absent) for fault in group)
        letter = next(iter(group))[0]
        tally = recorder.groups[letter]
        if not is_whole and not tally:
            continue
        others = ", ".join(f"{n} {state}" for state, n in states.items() if state != "proven")
        rows.append(
            (
                f"{letter} {name}",
                f"{states['proven']} of {len(group)}",
                *(f"{tally[column]:,}" for column in COLUMNS),
                others,
            )
        )
    return rows


def figure_rows(recorder: Recorder, *, is_whole: bool) -> tuple[list[Row], bool]:
    """Return a row for each promised figure; say whether all are met (in a whole run: measured)."""
    rows: list[Row] = []
    are_met = True
    for name, gate in FIGURES.items():
        worst, found = recorder.measured(name)
        if worst is None and name in recorder.unmeasured:
            rows.append((name, "not here", gate, "", recorder.unmeasured[name]))
            continue
        if worst is None:
            are_met &= not is_whole
            if is_whole:
                rows.append((name, "not measured", gate, "MISSING", ""))
            continue
        is_met = worst.is_met and all(one.is_met for one in found)
        are_met &= is_met
        sign = "≥" if worst.at_least else "≤"
        detail = worst.detail if len(found) == 1 else f"worst of {len(found)}: {worst.detail}"
        rows.append((name, worst.shown, f"{sign} {gate}", "met" if is_met else "MISSED", detail))
    for name, (command, ids) in ELSEWHERE.items() if is_whole else ():
        if command:
            rows.append((name, "not in this run", "", "", command))
            continue
        counts = sum((recorder.outcomes[fault] for fault in ids), Counter[str]())
        is_met = not counts["failed"]
        words = "met" if is_met else "MISSED"
        detail = f"ids {', '.join(ids)}"
        rows.append((name, f"{counts['passed']} tests pass", "all", words, detail))
    return rows, are_met


GROUP_TITLES = ("group", "ids proven", *COLUMNS, "others")
FIGURE_TITLES = ("figure", "measured", "gate", "", "of what")


def as_table(title: str, titles: Row, rows: list[Row]) -> Table:
    """Build a table for the terminal."""
    table = Table(*titles, title=title)
    for row in rows:
        table.add_row(*row, style="bold red" if {"MISSED", "MISSING"} & set(row) else "")
    return table


def as_markdown(titles: Row, rows: list[Row]) -> str:
    """Write a table as Markdown."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def run_tests(options: list[str], recorder: Recorder) -> int:
    """Run everything marked; what measures time and memory alone. Return the exit code.

    With options only tests/faults is looked through: all that measures a figure lies there.
    """
    shared = ["-p", "no:randomly", "--timeout=900", "-q", "-ra", *options]
    folder = str(ROOT / "tests" / "faults")
    spread = [folder] if options else ["-n2", "--dist=worksteal"]
    together = ["-m", "fault and not load", *shared, *spread]
    alone = ["-m", "fault and load", *shared, folder]
    codes = {int(pytest.main(part, plugins=[recorder])) for part in (together, alone)}
    return max(codes - {int(pytest.ExitCode.NO_TESTS_COLLECTED)}, default=1)


def main(options: list[str]) -> int:
    """Run, print the tables, return the exit code."""
    is_full = "--short" not in options
    if is_full:
        os.environ["CROSSFEED_FAULTS"] = "full"
    chosen = [option for option in options if option != "--short"]
    markdown = ""
    if "--markdown" in chosen:
        place = chosen.index("--markdown")
        markdown = chosen.pop(place + 1)
        chosen.pop(place)
    recorder = Recorder()
    started = time.monotonic()
    code = run_tests(chosen, recorder)
    is_whole = is_full and not chosen
    recorder.add_losses(is_whole=is_whole)
    figures, are_met = figure_rows(recorder, is_whole=is_whole)
    groups = group_rows(recorder, is_whole=is_whole)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(catalogue_table(recorder, is_whole=is_whole))
    console.print(as_table("Groups", GROUP_TITLES, groups))
    console.print(as_table("Figures", FIGURE_TITLES, figures))
    for fault, reason in recorder.reasons.items():
        console.print(f"{fault} skipped: {reason}")
    for seconds, name in sorted(recorder.slow, reverse=True)[:5]:
        console.print(f"{seconds:6.1f} s {name}", markup=False)
    console.print(f"{time.monotonic() - started:.0f} s, {'full' if is_full else 'short'} form")
    if markdown:
        text = as_markdown(GROUP_TITLES, groups) + "\n" + as_markdown(FIGURE_TITLES, figures)
        Path(markdown).write_text(text, "utf-8")
    return code or int(not are_met)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
