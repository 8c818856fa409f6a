"""Kraken, Spot WebSocket v2: trades, quotes, tickers, candles, checked books, status."""

from __future__ import annotations

from typing import Final

from crossfeed.model.events import register_raw_reader
from crossfeed.venues.base import Venue
from crossfeed.venues.kraken.codec import KrakenCodec
from crossfeed.venues.kraken.profile import NAME, PROFILE, want
from crossfeed.venues.kraken.reader import KrakenReader
from crossfeed.venues.kraken.rest import instruments_request, parse_instruments
from crossfeed.venues.kraken.sequencing import book_rule
from crossfeed.venues.kraken.symbols import builtin

__all__ = ["VENUE"]

VENUE: Final = Venue(
    profile=PROFILE,
    builtin=builtin,
    make_codec=KrakenCodec,
    book_rule=book_rule,
    want=want,
    instruments_request=instruments_request,
    parse_instruments=parse_instruments,
)

register_raw_reader(NAME, KrakenReader())
