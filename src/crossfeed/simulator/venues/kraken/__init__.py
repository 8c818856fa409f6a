"""Kraken spot v2, simulated: channels with checksummed books, REST, limits."""

from crossfeed.simulator.venue import Venue
from crossfeed.simulator.venues.kraken.exchange import KrakenExchange
from crossfeed.simulator.venues.kraken.profile import LISTING

__all__ = ["VENUE"]

VENUE = Venue(name="kraken", owner="kraken", listing=LISTING, make=KrakenExchange, ws_path="/v2")
