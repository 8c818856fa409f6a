"""Finds the venues.

Folders beside this file, and packages registered as `crossfeed.venues` entry points.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from crossfeed.errors import UnknownVenueError
from crossfeed.venues.base import Venue

__all__ = ["find_venue", "venue_names"]


@cache
def venue_names() -> tuple[str, ...]:
    """Return the names of all venues, built-in ones first. Imports none of them."""
    package = importlib.import_module("crossfeed.venues")
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg]
    names += [entry.name for entry in entry_points(group="crossfeed.venues")]
    return tuple(dict.fromkeys(names))


@cache
def find_venue(name: str) -> Venue:
    """Import and return one venue.

    Raises:
        UnknownVenueError: No folder and no entry point has that name.
    """
    if name in venue_names():
        for entry in entry_points(group="crossfeed.venues", name=name):
            venue: Venue = entry.load()
            return venue
        module = importlib.import_module(f"crossfeed.venues.{name}")
        built_in: Venue = module.VENUE
        return built_in
    near = difflib.get_close_matches(str(name).lower(), venue_names(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    msg = f"no venue named {name!r}{hint} (there are: {', '.join(venue_names())})"
    raise UnknownVenueError(msg)
