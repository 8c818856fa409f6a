"""`crossfeed demo`: the main job against simulated venues, and what the simulator says of it."""

from __future__ import annotations

import sys
from typing import Any, Final

from msgspec import Struct

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.cli import EXIT_INTERRUPTED
from crossfeed.cli.session import Shown, ViewRun, no_data, print_json, print_text
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.runtime.clock import SystemClock

__all__ = ["DemoOptions", "run_demo"]

PIPED_SECONDS: Final = 20.0
SETTLE_S: Final = 0.5
REPAIR_PATIENCE_S: Final = 10.0


class DemoOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed demo` was told.

    No `seconds`: until Ctrl-C, or 20 s without a terminal.
    """

    symbols: tuple[str, ...]
    venues: tuple[str, ...]
    strategy: str
    rate_per_s: float
    seed: int
    faults: str
    seconds: float | None
    is_json: bool
    is_summary: bool
    metrics_port: int


async def run_demo(options: DemoOptions) -> int:
    """Run the demo; return 0 only if data flowed from every venue, 130 if it was not let begin.

    Raises:
        ConfigError: A venue, symbol, strategy or fault profile that does not exist.
    """
    config = AggregatorConfig(
        exchanges=list(options.venues),
        symbols=list(options.symbols),
        aggregation_strategy=options.strategy,
    )
    seconds = options.seconds
    if seconds is None:
        seconds = 0.0 if sys.stdout.isatty() and not options.is_summary else PIPED_SECONDS
    shown = Shown(
        title="crossfeed demo: simulated venues",
        seconds=seconds,
        is_json=options.is_json,
        is_summary=options.is_summary,
        metrics_port=options.metrics_port,
    )
    async with SimulatedVenues(
        options.venues,
        options.symbols,
        rate_per_s=options.rate_per_s,
        seed=options.seed,
        faults=options.faults,
    ) as simulated:
        venues = {name: simulated.settings(name) for name in options.venues}
        view = ViewRun(config, venues, shown)
        try:
            await view.run()
            if not view.has_started:
                return EXIT_INTERRUPTED
            if sys.stdout.isatty():
                print_text("letting the market come to rest, to compare both accounts ...")
            summary = await _settled(view, simulated, has_faults=options.faults != "none")
            missing = view.missing_venues()
        finally:
            await view.stop()
    if options.is_summary or options.is_json:
        print_json(summary)
    else:
        _print_summary(summary)
    if missing:
        raise no_data(missing, view.monitor.seconds)
    return 0


async def _settled(
    view: ViewRun, simulated: SimulatedVenues, *, has_faults: bool
) -> dict[str, Any]:
    """Let the market come to rest, so that both accounts speak of the same messages."""
    clock = SystemClock()
    if has_faults:
        await simulated.drain()
    else:
        await simulated.pause()
    await clock.sleep(SETTLE_S)
    # Venues allow few requests: it takes as long as it takes, while anything is still repaired.
    open_gaps, idle_s = view.monitor.summary()["gaps_open"], 0.0
    while open_gaps and idle_s < REPAIR_PATIENCE_S:
        await clock.sleep(SETTLE_S)
        before, open_gaps = open_gaps, view.monitor.summary()["gaps_open"]
        idle_s = 0.0 if open_gaps < before else idle_s + SETTLE_S
    return view.monitor.summary() | _account(await simulated.ledger())


def _account(ledger: dict[str, Any]) -> dict[str, Any]:
    """Return the simulator's own account of the streams.

    What belongs to the connection is left out (frame counters, heartbeats nobody asked for): what
    it shows is counted by the streams themselves.
    """
    streams = [
        counts
        for name, counts in ledger["channels"].items()
        if not name.endswith((".sequence_num", ".heartbeats"))
    ]

    def total(what: str) -> int:
        return sum(counts.get(what, 0) for counts in streams)

    summed = {name: total(name) for name in ("gaps", "duplicates", "missing", "desyncs")}
    violations: int = ledger["totals"]["violations"]
    return {"sent": total("messages"), "ledger": summed | {"violations": violations}}


def _print_summary(summary: dict[str, Any]) -> None:
    latency, ledger = summary["latency_us"], summary["ledger"]
    p50_ms, p99_ms = latency["p50"] / 1000, latency["p99"] / 1000
    missing, repaired = summary["events_missing"], summary["events_repaired"]
    print_text(f"\n{summary['exchanges_active']} venues active for {summary['seconds']:.1f} s")
    print_text(f"  sent {summary['sent']:,} messages, delivered {summary['delivered']:,}")
    print_text(
        f"  invalid {summary['invalid']}, updates published {summary['updates_published']:,}"
    )
    print_text(f"  gaps {summary['gaps']} (simulator's ledger: {ledger['gaps']})")
    print_text(f"  events missing {missing}, of these fetched again {repaired}")
    print_text(f"  duplicates dropped {summary['duplicates']} (ledger: {ledger['duplicates']})")
    print_text(f"  latency p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms")
    print_text(f"  {summary['cpu_us_per_message'] or 0:.0f} us CPU a message, this view included")
