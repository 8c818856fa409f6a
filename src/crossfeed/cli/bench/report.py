"""Tables of what was measured, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

from crossfeed.cli.bench.peers import PEERS, remarks
from crossfeed.cli.bench.scenarios import GROUPS, OURS
from crossfeed.cli.bench.suite import Results, Row

__all__ = [
    "added",
    "added_table",
    "growth_table",
    "latency_table",
    "markdown_table",
    "peers_table",
    "scenario_table",
    "strategies_table",
]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def scenario_table(rows: Sequence[Row]) -> str:
    """Return CPU, rate, memory and losses of each client in each scenario."""
    head = ("scenario", "client", "CPU us/msg", "min-max", "x floor:msgspec", "x crossfeed",
            "msgs/s", "RSS MB", "lost", "rounds")  # fmt: skip
    ours = {row.scenario: row for row in rows if row.client == OURS}
    return markdown_table(head, [_scenario_line(row, ours.get(row.scenario)) for row in rows])


def _scenario_line(row: Row, ours: Row | None) -> tuple[str, ...]:
    runs = row.runs.values()
    times = ours.times(row) if ours is not None else None
    return (
        row.scenario,
        row.client,
        f"{row.cpu_us:.2f}",
        f"{min(r.cpu_us for r in runs):.2f}-{max(r.cpu_us for r in runs):.2f}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if times is None else f"{times:.2f}",
        f"{statistics.median(r.rate for r in runs):,.0f}",
        f"{max(r.rss_mb for r in runs):.0f}",
        str(sum(r.lost for r in runs)),
        str(len(runs)),
    )


def latency_table(rows: Sequence[Row]) -> str:
    """Return latencies from send to callback: medians over the rounds, and the best round."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        waits = [run.latency_us for run in row.runs.values() if run.latency_us]
        if waits:
            middle = [statistics.median(wait[at] for wait in waits) for at in range(4)]
            best = [min(wait[at] for wait in waits) for at in range(2)]
            lines.append((row.scenario, row.client, *(f"{us:,.0f}" for us in (*middle, *best))))
    head = ("scenario", "client", "p50 us", "p99 us", "p99.9 us", "max us", "best round: p50 us",
            "p99 us")  # fmt: skip
    return markdown_table(head, lines)


def growth_table(rows: Sequence[Row]) -> str:
    """Return CPU against what grows, and how much that is from the first step to the last."""
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    names = list(dict.fromkeys(row.client for row in rows))
    known = {(row.scenario, row.client): row for row in rows}
    lines = [
        (
            scenario,
            *(f"{known[scenario, n].cpu_us:.2f}" if (scenario, n) in known else "-" for n in names),
        )
        for scenario in scenarios
    ]
    ends = (scenarios[0], scenarios[-1])
    factors: list[str] = []
    for name in names:
        first, last = (known.get((scenario, name)) for scenario in ends)
        times = first.times(last) if first is not None and last is not None else None
        factors.append("-" if times is None else f"x {times:.2f}")
    if len(scenarios) > 1:
        lines.append(("last against first, paired", *factors))
    return markdown_table(("CPU us/msg", *names), lines)


def added(plain: Row, whole: Row) -> list[float]:
    """Return what the aggregator adds to a message in each round, us."""
    shared = plain.runs.keys() & whole.runs.keys()
    return [whole.runs[number].cpu_us - plain.runs[number].cpu_us for number in sorted(shared)]


def _added_lines(plain: Sequence[Row], whole: Sequence[Row]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for row in whole:
        base = next((each for each in plain if each.client == row.client), None)
        more = added(base, row) if base is not None else []
        if base is not None and more:
            lines.append(
                (row.scenario, row.client, f"{base.cpu_us:.2f}", f"{row.cpu_us:.2f}",
                 f"{statistics.median(more):.2f}", f"{min(more):.2f}-{max(more):.2f}")
            )  # fmt: skip
    return lines


ADDED_HEAD: Final = ("scenario", "client", "without us/msg", "with us/msg", "added us/msg",
                     "min-max")  # fmt: skip


def added_table(rows: Sequence[Row]) -> str:
    """Return what the aggregator adds to a message, by the number of venues, paired by round."""
    lines: list[tuple[str, ...]] = []
    scenarios = GROUPS["aggregator"]
    for plain, whole in zip(scenarios[::2], scenarios[1::2], strict=True):
        lines += _added_lines(*([r for r in rows if r.scenario == s.name] for s in (plain, whole)))
    return markdown_table(ADDED_HEAD, lines)


def strategies_table(rows: Sequence[Row]) -> str:
    """Return what each strategy adds to a trade, paired by round."""
    plain, *others = GROUPS["strategies"]
    names = {scenario.name for scenario in others}
    lines = _added_lines(
        [row for row in rows if row.scenario == plain.name],
        [row for row in rows if row.scenario in names],
    )
    return markdown_table(ADDED_HEAD, lines)


def peers_table(results: Results) -> str:
    """Return which peers took part, what each does, and what did not work."""
    failures = results.failures()
    lines: list[tuple[str, ...]] = []
    for peer in PEERS:
        version = results.machine.peers.get(peer.package, "not installed")
        failed = [f"{where}: {why}" for (who, where), why in failures.items() if who == peer.name]
        lines.append((peer.name, version, remarks(peer), "; ".join(failed) or "-"))
    return markdown_table(("client", "version", "does", "failed"), lines)
