"""What a venue folder hands out, and how the folders are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import msgspec

from crossfeed.errors import UnknownVenueError
from crossfeed.simulator.exchange import Exchange
from crossfeed.simulator.ledger import Ledger
from crossfeed.simulator.world import Listing, World

__all__ = ["Venue", "find_venues", "venue_named"]


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """One simulated venue."""

    name: str
    #: The venue whose order books it shows; itself unless it is a second API of the same books.
    owner: str
    listing: Listing
    make: Callable[[World, Ledger], Exchange]
    #: Path of the WebSocket URL.
    ws_path: str
    #: Path that all REST requests begin with, part of the base URL.
    rest_path: str = ""


def find_venues() -> dict[str, Venue]:
    """Return all venues by name: every folder under `venues` with a VENUE."""
    import crossfeed.simulator.venues as folder

    found: dict[str, Venue] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        if module.ispkg:
            venue = getattr(
                importlib.import_module(f"{folder.__name__}.{module.name}"), "VENUE", None
            )
            assert isinstance(venue, Venue), f"{module.name} has no VENUE"
            found[venue.name] = venue
    return found


def venue_named(name: str) -> Venue:
    """Return one venue.

    Raises:
        UnknownVenueError: there is no such folder.
    """
    venues = find_venues()
    if name not in venues:
        raise UnknownVenueError(
            f"the simulator has no venue {name!r}; it has {', '.join(sorted(venues))}",
            field="simulator.venues",
        )
    return venues[name]
