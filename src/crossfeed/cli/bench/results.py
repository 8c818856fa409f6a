"""What a run measured, as one document."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from crossfeed.cli.bench.goals import goals_table
from crossfeed.cli.bench.plot import growth_plot
from crossfeed.cli.bench.report import (
    added_table,
    growth_table,
    latency_table,
    peers_table,
    scenario_table,
    strategies_table,
)
from crossfeed.cli.bench.scenarios import GROUPS
from crossfeed.cli.bench.suite import Results

__all__ = ["render", "write"]

PLOT: Final = "growth.svg"
NOTES: Final = "notes.md"
TITLES: Final = {
    "scenarios": "Scenarios",
    "latency": "Latency at 5,000 messages a second",
    "memory": "Memory: 50 symbols with books of 1,000 levels a side",
    "aggregator": "Aggregator: BEST_BID_ASK over quotes, by venues",
    "strategies": "Aggregator: every strategy over the trades of three venues",
    "symbols": "Growth: symbols",
    "connections": "Growth: connections, 50 symbols",
    "subscribers": "Growth: subscribers of a stream",
    "levels": "Growth: book levels a side",
}
TABLES: Final = {
    "latency": latency_table,
    "aggregator": added_table,
    "strategies": strategies_table,
    "symbols": growth_table,
    "connections": growth_table,
    "subscribers": growth_table,
    "levels": growth_table,
}
HEAD: Final = """\
# Results

Written by `crossfeed bench --output`; the text at the end is `notes.md`.

CPU is user and system time of the whole client process for each message, from the server's first
byte to the last callback, over loopback; medians of interleaved rounds. Server and client have a
core each. Ours goes the public way: `VenueClient` with trust, gap detection, price band, raw frames
and counters on. `floor:raw` counts frames with picows; `floor:msgspec` is picows, one typed decoder
a stream, floats, a callback, and for books a dict with a sorted list: no checks of any kind. Ratios
are medians of the ratios within each round, so they hold where the machine was busy; messages a
second and latencies do not.
"""


def render(results: Results) -> str:
    """Return everything that was measured as Markdown, without a title."""
    parts = [_machine(results), "## Goals\n\n" + goals_table(results)]
    for group, scenarios in GROUPS.items():
        rows = results.rows(scenarios)
        if rows:
            counts = sorted({len(row.runs) for row in rows})
            rounds = " to ".join(str(count) for count in {counts[0]: 0, counts[-1]: 0})
            table = TABLES.get(group, scenario_table)(rows)
            parts.append(f"## {TITLES[group]}\n\nRounds: {rounds}.\n\n{table}")
    if results.machine.peers:
        python = results.machine.peers["python"]
        parts.append(f"## Other people's clients\n\nOn CPython {python}.\n\n{peers_table(results)}")
    failures = [f"- {who}, {where}: {why}" for (who, where), why in results.failures().items()]
    if failures:
        parts.append("## Failed runs\n\n" + "\n".join(failures))
    return "\n\n".join(parts)


def write(results: Results, path: Path) -> None:
    """Write the document, with the notes that lie beside it, and the plot."""
    parts = [HEAD, render(results)]
    path.parent.mkdir(parents=True, exist_ok=True)
    if results.rows(GROUPS["symbols"]):
        (path.parent / PLOT).write_text(growth_plot(results), "utf-8")
        parts[1] = parts[1].replace(
            "## Growth: symbols",
            f"![CPU a message against what grows]({PLOT})\n\n## Growth: symbols",
        )
    notes = path.parent / NOTES
    if notes.exists():
        parts.append("\n" + notes.read_text("utf-8").rstrip())
    path.write_text("\n".join(parts) + "\n", "utf-8")


def _machine(results: Results) -> str:
    """Say what, where, when, how, and how busy it was."""
    machine = results.machine
    loads = [record.load for record in results.records] or [0.0]
    rounds = max((record.round for record in results.records), default=-1) + 1
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    load = f"load average {min(loads):.1f} to {max(loads):.1f} (up to 2 the benchmark's own)"
    share = f"{machine.share:g} of each scenario's messages, peers a fifth of that"
    return "\n".join(
        [
            f"- {machine.date}, commit {machine.commit}",
            f"- {machine.processor}, {machine.cores} cores; {load}",
            f"- {machine.python}; {versions}; core: {machine.core}",
            f"- {rounds} rounds begun of {machine.round_count}, {len(loads)} runs, {share}",
            f"- `{machine.command}`",
        ]
    )
