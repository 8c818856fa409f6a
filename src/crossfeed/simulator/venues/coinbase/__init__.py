"""Coinbase Exchange, simulated: channels, REST, limits, the test key for signed channels."""

from crossfeed.simulator.venue import Venue
from crossfeed.simulator.venues.coinbase.exchange import CoinbaseExchange
from crossfeed.simulator.venues.coinbase.profile import LISTING

__all__ = ["VENUE"]

VENUE = Venue(name="coinbase", owner="coinbase", listing=LISTING, make=CoinbaseExchange, ws_path="")
