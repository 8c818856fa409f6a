"""Tables of what was measured, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

from crossfeed.cli.bench.suite import OURS, PURE, Row

__all__ = ["added_table", "goals_table", "growth_table", "latency_table", "scenario_table"]

GOALS: Final = (
    ("ticks", OURS, 0.9, 1.2),
    ("book", OURS, 3.5, 5.0),
    ("mix", OURS, 1.8, 2.5),
    ("ticks", PURE, 3.0, 3.0),
    ("book", PURE, 12.0, 12.0),
    ("mix", PURE, 6.0, 6.0),
)
"""(scenario, client, goal, accepted from), CPU us a message."""
RAW: Final = "floor:raw"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def scenario_table(rows: Sequence[Row]) -> str:
    """Return CPU, rate, memory and losses of each client in each scenario."""
    head = ("scenario", "client", "CPU us/msg", "min-max", "x floor:msgspec", "msgs/s", "RSS MB",
            "lost")  # fmt: skip
    return _table(
        head,
        [
            (
                row.scenario,
                row.client,
                f"{row.cpu_us:.2f}",
                f"{min(r.cpu_us for r in row.runs):.2f}-{max(r.cpu_us for r in row.runs):.2f}",
                "-" if row.ratio is None else f"{row.ratio:.2f}",
                f"{statistics.median(r.rate for r in row.runs):,.0f}",
                f"{max(r.rss_mb for r in row.runs):.0f}",
                str(sum(r.lost for r in row.runs)),
            )
            for row in rows
        ],
    )


def goals_table(rows: Sequence[Row]) -> str:
    """Return how the goals stand."""
    known = {(row.scenario, row.client): row.cpu_us for row in rows}
    lines: list[tuple[str, ...]] = []
    for scenario, client, goal, accepted in GOALS:
        found = known.get((scenario, client))
        if found is not None:
            word = "reached" if found <= goal else "accepted" if found <= accepted else "missed"
            lines.append((scenario, client, f"{found:.2f}", f"{goal:g}", f"{accepted:g}", word))
    return _table(("scenario", "client", "CPU us/msg", "goal", "accepted from", "verdict"), lines)


def latency_table(rows: Sequence[Row]) -> str:
    """Return latencies from send to callback: medians over the rounds, best round for p99."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        waits = [run.latency_us for run in row.runs if run.latency_us]
        if waits:
            middle = [statistics.median(wait[at] for wait in waits) for at in range(4)]
            best = min(wait[1] for wait in waits)
            lines.append((row.scenario, row.client, *(f"{us:.0f}" for us in middle), f"{best:.0f}"))
    head = ("scenario", "client", "p50 us", "p99 us", "p99.9 us", "max us", "p99 us, best round")
    return _table(head, lines)


def growth_table(rows: Sequence[Row]) -> str:
    """Return CPU against what grows."""
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    names = list(dict.fromkeys(row.client for row in rows))
    known = {(row.scenario, row.client): row for row in rows}
    return _table(
        ("CPU us/msg", *names),
        [
            (scenario, *(f"{known[scenario, name].cpu_us:.2f}" for name in names))
            for scenario in scenarios
        ],
    )


def added_table(plain: Sequence[Row], whole: Sequence[Row]) -> str:
    """Return what the aggregator adds to a message, paired by round."""
    lines: list[tuple[str, ...]] = []
    for row in whole:
        base = next((r for r in plain if r.client == row.client), None)
        if base is not None:
            pairs = zip(row.runs, base.runs, strict=False)
            added = [more.cpu_us - less.cpu_us for more, less in pairs]
            lines.append(
                (row.client, f"{base.cpu_us:.2f}", f"{row.cpu_us:.2f}",
                 f"{statistics.median(added):.2f}", f"{min(added):.2f}-{max(added):.2f}")
            )  # fmt: skip
    head = ("client", "three clients", "with aggregator", "added us/msg", "min-max")
    return _table(head, lines)
