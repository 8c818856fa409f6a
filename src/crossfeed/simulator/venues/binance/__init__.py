"""Binance spot, simulated: streams, control messages, REST, limits."""

from crossfeed.simulator.venue import Venue
from crossfeed.simulator.venues.binance.exchange import BinanceExchange
from crossfeed.simulator.venues.binance.profile import LISTING

__all__ = ["VENUE"]

VENUE = Venue(name="binance", owner="binance", listing=LISTING, make=BinanceExchange, ws_path="")
