"""`crossfeed config`: what is set, from where, and whether it can work."""

from __future__ import annotations

from pathlib import Path

from crossfeed.runtime.config import load_config, resolved_settings

__all__ = ["check_config", "show_config"]


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
    venues = ", ".join(config.venues) or "no venue settings"
    print(f"{file}: valid ({venues}; {len(config.aggregator.symbols)} symbols)")
    return 0
