"""Coinbase Exchange (once GDAX and Pro): the public feed of coinbase.com's order books."""

from __future__ import annotations

from typing import Final

from crossfeed.model.commands import Want
from crossfeed.model.events import register_raw_reader
from crossfeed.model.sequencing import BookRule
from crossfeed.venues.base import Venue
from crossfeed.venues.coinbase.codec import CoinbaseCodec
from crossfeed.venues.coinbase.profile import PROFILE, want
from crossfeed.venues.coinbase.sequencing import FULL_RULE, LEVEL2_RULE
from crossfeed.venues.coinbase.symbols import (
    builtin_instruments,
    instruments_request,
    parse_instruments,
)
from crossfeed.venues.coinbase.wire import REST_ROUTES, ROUTES
from crossfeed.venues.decoder import ExactReader

__all__ = ["VENUE"]


def _book_rule(wanted: Want) -> BookRule:
    return FULL_RULE if wanted.channel == "full" else LEVEL2_RULE


VENUE: Final = Venue(
    profile=PROFILE,
    builtin=builtin_instruments,
    make_codec=CoinbaseCodec,
    want=want,
    book_rule=_book_rule,
    instruments_request=instruments_request,
    parse_instruments=parse_instruments,
)

register_raw_reader(PROFILE.exchange, ExactReader(ROUTES))
register_raw_reader(PROFILE.exchange, ExactReader(REST_ROUTES))
