"""`crossfeed bench`: what the whole path costs, measured beside floors in the same run."""

from __future__ import annotations

import sys
from pathlib import Path

from msgspec import Struct

__all__ = ["BenchOptions", "run_bench"]

SHORT_SHARE = 0.25
SHORT_ROUNDS = 3
GROWTH_SHARE = 0.5


class BenchOptions(Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        names: Scenarios; none: the three of the goals, or all of them with `is_full`.
        rounds: Interleaved rounds; 0: 3, or 5 with `is_full`.
        share: Share of the messages of each scenario; 0: a quarter, or all with `is_full`.
        is_full: Whether latency, growth and memory are measured as well.
        output: Markdown file that is written, empty for none.
    """

    names: tuple[str, ...] = ()
    rounds: int = 0
    share: float = 0.0
    is_full: bool = False
    output: str = ""


def run_bench(options: BenchOptions) -> int:
    """Measure, print the tables and write them; return the exit code.

    Raises:
        ConfigError: There is no such scenario.
        BenchError: A measured process failed.
    """
    from crossfeed.cli.bench import report
    from crossfeed.cli.bench.scenarios import GROWTH, LATENCY, SCENARIOS
    from crossfeed.cli.bench.suite import Row, machine, run_rounds
    from crossfeed.errors import ConfigError

    unknown = [name for name in options.names if name not in SCENARIOS]
    if unknown:
        known = ", ".join(SCENARIOS)
        raise ConfigError(f"no scenario {unknown[0]!r} (there are: {known})", field="names")
    names = options.names or (tuple(SCENARIOS) if options.is_full else ("ticks", "book", "mix"))
    rounds = options.rounds or (5 if options.is_full else SHORT_ROUNDS)
    share = options.share or (1.0 if options.is_full else SHORT_SHARE)
    rows: list[Row] = []
    for name in names:
        rows += run_rounds(SCENARIOS[name], rounds=rounds, share=share, progress=_progress)
    single = [row for row in rows if not row.scenario.startswith("three")]
    parts: list[tuple[str, str]] = []
    if single:
        parts += [
            ("Goals", report.goals_table(single)),
            ("Scenarios", report.scenario_table(single)),
        ]
    trio = {
        mode: [r for r in rows if r.scenario.endswith(mode)] for mode in ("events", "aggregator")
    }
    if all(trio.values()):
        parts.append(
            ("Aggregator, BEST_BID_ASK", report.added_table(trio["events"], trio["aggregator"]))
        )
    if options.is_full:
        paced = [
            row
            for scenario in LATENCY
            for row in run_rounds(scenario, rounds=rounds, progress=_progress)
        ]
        parts.append(("Latency at 5,000 messages a second", report.latency_table(paced)))
        for what, steps in GROWTH.items():
            grown = [
                row
                for scenario in steps
                for row in run_rounds(
                    scenario, rounds=3, share=share * GROWTH_SHARE, progress=_progress
                )
            ]
            table = report.scenario_table if what == "memory" else report.growth_table
            parts.append((f"Growth: {what}", table(grown)))
    text = "\n".join(f"- {line}" for line in machine())
    for title, table_text in parts:
        text += f"\n\n## {title}\n\n{table_text}"
    _progress("")
    sys.stdout.write(text + "\n")
    if options.output:
        Path(options.output).write_text(text + "\n", "utf-8")
    return 0


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
