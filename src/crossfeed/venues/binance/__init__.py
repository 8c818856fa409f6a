"""Binance spot: binance.com, its market-data hosts, Binance.US and the test networks."""

from __future__ import annotations

from crossfeed.model.events import register_raw_reader
from crossfeed.venues.base import Venue
from crossfeed.venues.binance.codec import BinanceCodec
from crossfeed.venues.binance.profile import PROFILE, want
from crossfeed.venues.binance.rest_wire import REST_ROUTES
from crossfeed.venues.binance.sequencing import book_rule
from crossfeed.venues.binance.symbols import builtin, instruments_request, parse_instruments
from crossfeed.venues.binance.wire import ROUTES
from crossfeed.venues.decoder import ExactReader

__all__ = ["VENUE"]

VENUE = Venue(
    profile=PROFILE,
    builtin=builtin,
    make_codec=BinanceCodec,
    want=want,
    book_rule=book_rule,
    instruments_request=instruments_request,
    parse_instruments=parse_instruments,
)
register_raw_reader(PROFILE.exchange, ExactReader(ROUTES))
register_raw_reader(PROFILE.exchange, ExactReader(REST_ROUTES))
