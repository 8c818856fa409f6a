"""Coinbase Advanced Trade, simulated: a second API of the same order books and trade ids."""

from crossfeed.simulator.venue import Venue
from crossfeed.simulator.venues.coinbase.profile import LISTING
from crossfeed.simulator.venues.coinbase_advanced.exchange import AdvancedExchange

__all__ = ["VENUE"]

VENUE = Venue(
    name="coinbase_advanced",
    owner="coinbase",
    listing=LISTING,
    make=AdvancedExchange,
    ws_path="",
    rest_path="/api/v3/brokerage",
)
