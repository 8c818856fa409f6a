"""REST of the Exchange: pages of missing trades against a model of the venue's paging."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.model.commands import Backfill, Want
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase import VENUE
from crossfeed.venues.coinbase.codec import CoinbaseCodec
from crossfeed.venues.symbols import SymbolTable

TRADES = Stream("coinbase", "trade", "BTC-USD")


def page_of(query: dict[str, str], newest: int) -> bytes:
    """Answer `GET /products/{id}/trades` of a product with ids 1..newest."""
    after = int(query.get("after", newest + 1))
    limit = int(query.get("limit", 1000))
    ids = range(min(after - 1, newest), 0, -1)[:limit]
    rows = [
        {"trade_id": i, "side": "buy", "size": "1", "price": "2", "time": "2026-04-07T14:30:02Z"}
        for i in ids
    ]
    return json.dumps(rows).encode()


def codec_of() -> CoinbaseCodec:
    """Make a codec."""
    return CoinbaseCodec(SymbolTable("coinbase", VENUE.builtin()), CodecOptions())


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
        body = page_of(dict(request.query), newest)
        request = codec.receive_rest(request, 200, body, 1, 2, out)
        for event in out.events:
            assert isinstance(event, Trade)
            assert event.marks is Mark.BACKFILLED
            ids.append(event.trade_id)
    assert ids == list(range(first, min(last, newest) + 1))


def test_what_cannot_be_fetched():
    """Only trades with known bounds can be had again."""
    codec = codec_of()
    book = Stream("coinbase", "book", "BTC-USD")
    assert codec.backfill_request(Backfill(book, 1, 2, 1)) is None
    assert codec.backfill_request(Backfill(TRADES, 0, 0, 1)) is None
    assert codec.backfill_request(Backfill(TRADES, 5, 4, 1)) is None
    assert codec.poll_request(Want("heartbeat", "BTC-USD")) is None
    assert codec.poll_request(Want("full", "BTC-USD")) is None


def test_answer_for_an_unknown_product_has_no_unified_name():
    """A product the table does not know keeps its own name only."""
    codec, out = codec_of(), Output()
    request = codec.poll_request(Want("matches", "NEW-USD"))
    assert request is not None
    codec.receive_rest(request, 200, page_of({}, 1), 1, 2, out)
    assert (out.events[0].symbol, out.events[0].unified) == ("NEW-USD", "")
