"""Coinbase Advanced Trade: coinbase.com's order books through its newer interface."""

from __future__ import annotations

from typing import Final

from crossfeed.model.commands import Want
from crossfeed.model.events import register_raw_reader
from crossfeed.model.sequencing import BookRule
from crossfeed.venues.base import Venue
from crossfeed.venues.coinbase_advanced.codec import AdvancedCodec
from crossfeed.venues.coinbase_advanced.profile import PROFILE, want
from crossfeed.venues.coinbase_advanced.sequencing import LEVEL2_RULE
from crossfeed.venues.coinbase_advanced.symbols import (
    builtin_instruments,
    instruments_request,
    parse_instruments,
)
from crossfeed.venues.coinbase_advanced.wire import REST_ROUTES, ROUTES
from crossfeed.venues.decoder import ExactReader

__all__ = ["VENUE"]


def _book_rule(wanted: Want) -> BookRule:
    del wanted
    return LEVEL2_RULE


VENUE: Final = Venue(
    profile=PROFILE,
    builtin=builtin_instruments,
    make_codec=AdvancedCodec,
    want=want,
    book_rule=_book_rule,
    instruments_request=instruments_request,
    parse_instruments=parse_instruments,
)

register_raw_reader(PROFILE.exchange, ExactReader(ROUTES))
register_raw_reader(PROFILE.exchange, ExactReader(REST_ROUTES))
