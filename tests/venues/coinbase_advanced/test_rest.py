"""REST of Advanced Trade: missing trades come from the Exchange, page by page."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase_advanced import VENUE
from crossfeed.venues.coinbase_advanced.codec import AdvancedCodec
from crossfeed.venues.symbols import SymbolTable

TRADES = Stream("coinbase_advanced", "trade", "BTC-USD")


def codec_of() -> AdvancedCodec:
    """Make a codec."""
    return AdvancedCodec(SymbolTable("coinbase_advanced", VENUE.builtin()), CodecOptions())


def page_of(request: RestRequest, newest: int) -> bytes:
    """Answer the Exchange's `GET /products/{id}/trades` of a product with ids 1..newest."""
    query = dict(request.query)
    ids = range(min(int(query["after"]) - 1, newest), 0, -1)[: int(query["limit"])]
    rows = [
        {"trade_id": i, "side": "buy", "size": "1", "price": "2", "time": "2026-04-07T14:30:02Z"}
        for i in ids
    ]
    return json.dumps(rows).encode()


@settings(max_examples=20)
@given(first=st.integers(1, 5000), size=st.integers(1, 4500), newest=st.integers(1, 9000))
def test_any_hole_is_fetched_exactly(first, size, newest):
    """Every missing trade comes once, in order, in as few pages as there are thousands."""
    codec, last = codec_of(), first + size - 1
    request = codec.backfill_request(Backfill(TRADES, first, last, 1))
    ids: list[int] = []
    pages = 0
    while request is not None:
        pages += 1
        assert pages <= -(-size // 1000)
        out = Output()
        request = codec.receive_rest(request, 200, page_of(request, newest), 1, 2, out)
        for event in out.events:
            assert isinstance(event, Trade)
            assert event.marks is Mark.BACKFILLED
            ids.append(event.trade_id)
    assert ids == list(range(first, min(last, newest) + 1))


def test_backfill_goes_to_the_exchange():
    """The request names its own base, which the endpoint knows; all others have the endpoint's."""
    codec, (endpoint,) = codec_of(), VENUE.profile.endpoints
    request = codec.backfill_request(Backfill(TRADES, 1, 2, 1))
    assert request is not None
    assert endpoint.rest_base(request) == "https://api.exchange.coinbase.com"
    poll = codec.poll_request(Want("ticker", "BTC-USD"))
    assert poll is not None
    assert endpoint.rest_base(poll) == endpoint.rest_url
    assert endpoint.rest_base(VENUE.instruments_request()) == endpoint.rest_url


def test_what_cannot_be_fetched():
    """Only trades with known bounds can be had again; candles and heartbeats have no stand-in."""
    codec = codec_of()
    book = Stream("coinbase_advanced", "book", "BTC-USD")
    assert codec.backfill_request(Backfill(book, 1, 2, 1)) is None
    assert codec.backfill_request(Backfill(TRADES, 0, 0, 1)) is None
    assert codec.backfill_request(Backfill(TRADES, 5, 4, 1)) is None
    assert codec.snapshot_request("BTC-USD", 1, 0) is None
    for channel in ("candles", "heartbeats", "status"):
        assert codec.poll_request(Want(channel, "BTC-USD")) is None
