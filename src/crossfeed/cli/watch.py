"""`crossfeed watch`: the same view of the real venues."""

from __future__ import annotations

import contextlib
import sys

from msgspec import Struct

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.cli import EXIT_INTERRUPTED
from crossfeed.cli.session import Shown, ViewRun, no_data, print_json
from crossfeed.cli.simulated import SimulatedVenues
from crossfeed.errors import ConfigError
from crossfeed.runtime.config import FileConfig, load_config
from crossfeed.runtime.settings import FeedSettings

__all__ = ["WatchOptions", "run_watch"]

DEFAULT_VENUES = ("binance", "coinbase", "kraken")
SIMULATED_RATE_PER_S = 200.0


class WatchOptions(Struct, frozen=True, kw_only=True):
    """What `crossfeed watch` was told; empty values are taken from the file, then the defaults."""

    symbols: tuple[str, ...]
    venues: tuple[str, ...]
    strategy: str
    seconds: float
    config: str
    is_simulated: bool
    is_json: bool
    is_summary: bool
    metrics_port: int


def _aggregator_config(options: WatchOptions, file: FileConfig) -> AggregatorConfig:
    """Put command line over file over defaults."""
    known = file.aggregator
    exchanges = list(options.venues or known.exchanges or DEFAULT_VENUES)
    symbols: dict[str, dict[str, str]] | list[str] = list(options.symbols) or known.symbols
    if not symbols:
        raise ConfigError("name at least one symbol, like: crossfeed watch BTC/USD")
    return AggregatorConfig(
        exchanges=exchanges,
        symbols=symbols,
        aggregation_strategy=options.strategy or known.aggregation_strategy,
        update_interval=known.update_interval,
        buffer_size=known.buffer_size,
        quote_basis=known.quote_basis,
    )


async def run_watch(options: WatchOptions) -> int:
    """Watch until the time is over or Ctrl-C; return 0 only if data flowed from every venue.

    130 stands for a Ctrl-C before it could begin.

    Raises:
        ConfigError: A venue, symbol, strategy or file that cannot work.
        CrossfeedError: No venue could be reached, or one brought nothing.
    """
    file = load_config(options.config) if options.config else FileConfig()
    config = _aggregator_config(options, file)
    shown = Shown(
        title="crossfeed watch" + (" (simulated venues)" if options.is_simulated else ""),
        seconds=options.seconds,
        is_json=options.is_json,
        is_summary=options.is_summary,
        metrics_port=options.metrics_port or file.metrics_port,
    )
    async with contextlib.AsyncExitStack() as stack:
        venues: dict[str, FeedSettings] = {
            name: settings for name, settings in file.venues.items() if name in config.exchanges
        }
        if options.is_simulated:
            simulated = await stack.enter_async_context(
                SimulatedVenues(
                    config.exchanges,
                    list(config.symbol_map),
                    rate_per_s=SIMULATED_RATE_PER_S,
                    seed=1,
                )
            )
            venues = {name: simulated.settings(name) for name in config.exchanges}
        view = ViewRun(config, venues, shown)
        try:
            await view.run()
            if not view.has_started:
                return EXIT_INTERRUPTED
            summary = view.monitor.summary()
            missing = view.missing_venues()
        finally:
            await view.stop()
    if options.is_summary:
        print_json(summary)
    elif not options.is_json and sys.stdout.isatty():
        print(f"{summary['messages_received']:,} messages in {summary['seconds']:.1f} s")
    if missing:
        raise no_data(missing, summary["seconds"])
    return 0
