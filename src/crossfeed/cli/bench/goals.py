"""How the measured figures stand against the goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final

from crossfeed.cli.bench.peers import PEERS
from crossfeed.cli.bench.report import added, markdown_table
from crossfeed.cli.bench.scenarios import FLOOR, GROUPS, OURS, PURE
from crossfeed.cli.bench.suite import Results, Row

__all__ = ["goals_table"]

CPU: Final = (
    ("ticks", OURS, 0.9, 1.2),
    ("book", OURS, 3.5, 5.0),
    ("mix", OURS, 1.8, 2.5),
    ("ticks", PURE, 3.0, 3.0),
    ("book", PURE, 12.0, 12.0),
    ("mix", PURE, 6.0, 6.0),
)
"""(scenario, client, goal, accepted from), CPU us a message."""
ADDED: Final = ((OURS, 3.0, 4.0), (PURE, 8.0, 8.0))
"""(client, goal, accepted from), CPU us that the aggregator of three venues adds to a message."""
LATENCY: Final = ((OURS, 1.15, 1.3), (PURE, 1.5, 1.5))
"""(client, goal, accepted from), p50 as a multiple of `floor:msgspec`."""
MEMORY: Final = ((OURS, 60.0, 80.0), (PURE, 100.0, 100.0))
"""(client, goal, accepted from), MB at 50 symbols with books."""
AGAINST: Final = (("ticks", 10.0, 8.0), ("book", 25.0, 18.0), ("mix", 24.0, 16.0))
"""(scenario, goal, accepted from), CPU of the best peer as a multiple of ours."""
RAW_PEERS: Final = frozenset(peer.name for peer in PEERS if peer.is_raw)
PEER_NAMES: Final = frozenset(peer.name for peer in PEERS)

Line = tuple[str, ...]
Pick = Callable[[list[float]], float]


def goals_table(results: Results) -> str:
    """Return each goal, what was measured, and a verdict; without those that were not."""
    rows = {(row.scenario, row.client): row for row in _all_rows(results)}
    lines = [*_cpu(rows), *_added(rows), *_latency(rows), *_memory(rows), *_against(rows)]
    return markdown_table(("what", "client", "measured", "goal", "accepted from", "verdict"), lines)


def _all_rows(results: Results) -> list[Row]:
    return [row for group in GROUPS.values() for row in results.rows(group)]


def _line(what: str, client: str, measured: float, unit: str, bounds: tuple[float, float]) -> Line:
    """Say how a figure stands that should be small."""
    goal, accepted = bounds
    word = "reached" if measured <= goal else "accepted" if measured <= accepted else "missed"
    return (what, client, f"{measured:.2f} {unit}", f"<= {goal:g}", f"<= {accepted:g}", word)


def _cpu(rows: dict[tuple[str, str], Row]) -> list[Line]:
    return [
        _line(f"{scenario}, CPU", client, rows[scenario, client].cpu_us, "us/msg", (goal, accepted))
        for scenario, client, goal, accepted in CPU
        if (scenario, client) in rows
    ]


def _added(rows: dict[tuple[str, str], Row]) -> list[Line]:
    lines: list[Line] = []
    for client, goal, accepted in ADDED:
        pair = [rows.get((f"3 venues, {mode}", client)) for mode in ("events", "aggregator")]
        more = added(pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else []
        if more:
            what = "aggregator, 3 venues, BEST_BID_ASK, added CPU"
            lines.append(_line(what, client, statistics.median(more), "us/msg", (goal, accepted)))
    return lines


def _latency(rows: dict[tuple[str, str], Row]) -> list[Line]:
    name = GROUPS["latency"][0].name
    floor = rows.get((name, FLOOR))
    lines: list[Line] = []
    for client, goal, accepted in LATENCY:
        row = rows.get((name, client))
        if floor is None or row is None:
            continue
        ratios = [
            run.latency_us[0] / floor.runs[number].latency_us[0]
            for number, run in row.runs.items()
            if number in floor.runs and run.latency_us and floor.runs[number].latency_us
        ]
        if ratios:
            median = statistics.median(ratios)
            lines.append(_line("latency p50", client, median, "x floor:msgspec", (goal, accepted)))
    ours = rows.get((name, OURS))
    rivals = [row for (where, who), row in rows.items() if where == name and who in PEER_NAMES]
    if ours is not None and rivals:
        lines += [
            _below("latency p50", 0, ours, rivals, statistics.median),
            _below("latency p99, best round", 1, ours, rivals, min),
        ]
    return lines


def _below(what: str, at: int, ours: Row, rivals: Sequence[Row], pick: Pick) -> Line:
    """Say whether ours is below every peer."""
    mine = pick([run.latency_us[at] for run in ours.runs.values() if run.latency_us] or [0.0])
    best, name = min(
        (pick([run.latency_us[at] for run in row.runs.values() if run.latency_us] or [9e9]), who)
        for row in rivals
        for who in (row.client,)
    )
    word = "reached" if mine < best else "missed"
    return (f"{what}, against every peer", OURS, f"{mine:,.0f} us", f"< {best:,.0f} ({name})",
            "the same", word)  # fmt: skip


def _memory(rows: dict[tuple[str, str], Row]) -> list[Line]:
    name = GROUPS["memory"][0].name
    lines: list[Line] = []
    for client, goal, accepted in MEMORY:
        row = rows.get((name, client))
        if row is not None:
            lines.append(
                _line(f"memory, {name} with books", client, _rss(row), "MB", (goal, accepted))
            )
    ours = rows.get((name, OURS))
    rivals = [row for (where, who), row in rows.items() if where == name and who in PEER_NAMES]
    if ours is not None and rivals:
        best = min(rivals, key=_rss)
        word = "reached" if _rss(ours) < _rss(best) else "missed"
        lines.append(
            ("memory, against every peer", OURS, f"{_rss(ours):.0f} MB",
             f"< {_rss(best):.0f} ({best.client})", "the same", word)
        )  # fmt: skip
    return lines


def _rss(row: Row) -> float:
    return statistics.median(run.rss_mb for run in row.runs.values())


def _against(rows: dict[tuple[str, str], Row]) -> list[Line]:
    """Compare with the best peer, and with the best of those that make events of their own."""
    lines: list[Line] = []
    for scenario, goal, accepted in AGAINST:
        ours = rows.get((scenario, OURS))
        rivals = [r for (where, who), r in rows.items() if where == scenario and who in PEER_NAMES]
        if ours is None or not rivals:
            continue
        makers = [row for row in rivals if row.client not in RAW_PEERS]
        for what, found in (("any", rivals), ("with events of its own", makers)):
            best = min(found, key=lambda row: row.cpu_us, default=None)
            times = ours.times(best) if best is not None else None
            if best is None or times is None:
                continue
            word = "reached" if times >= goal else "accepted" if times >= accepted else "missed"
            lines.append(
                (f"{scenario}, best peer ({what})", OURS, f"{times:.1f} x ({best.client})",
                 f">= {goal:g}", f">= {accepted:g}", word)
            )  # fmt: skip
    return lines
