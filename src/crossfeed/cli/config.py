"""`crossfeed config`: what is set, from where, and whether it can work."""

from __future__ import annotations

from pathlib import Path

from crossfeed.cli.record import recorded_venues
from crossfeed.cli.record_sinks import kinds_of
from crossfeed.clients.venue_client import VenueClient
from crossfeed.runtime.config import FileConfig, load_config, resolved_settings

__all__ = ["check_config", "show_config"]

ANY_SYMBOLS = ("BTC/USD",)


def show_config(file: Path | None) -> int:
    """Print every setting with its origin, secrets masked; return 0.

    Raises:
        ConfigError: The file cannot work.
    """
    rows = [(origin.path, repr(origin.value), origin.origin) for origin in resolved_settings(file)]
    width = max(len(path) for path, _, _ in rows)
    for path, value, origin in rows:
        print(f"{path:{width}}  {value}  ({origin})")
    return 0


def check_config(file: Path) -> int:
    """Check a file; print one line and return 0 if it can work.

    Raises:
        ConfigError: It cannot; the text names the field.
    """
    config = load_config(file)
    _check_record(config)
    venues = ", ".join(config.venues) or "no venue settings"
    symbols = {*config.aggregator.symbols, *config.record.symbols}
    print(f"{file}: valid ({venues}; {len(symbols)} symbols)")
    return 0


def _check_record(config: FileConfig) -> None:
    """Refuse what `crossfeed record` would refuse before it connects."""
    record = config.record
    # Where the command line is to name them, any will do.
    symbols = [*(record.symbols or config.aggregator.symbols or ANY_SYMBOLS)]
    for venue in recorded_venues(config) if record.kinds else ():
        settings = config.venues.get(venue)
        VenueClient(venue, symbols=symbols, kinds=record.kinds, settings=settings)
    for sink in record.sinks:
        kinds_of(sink)
