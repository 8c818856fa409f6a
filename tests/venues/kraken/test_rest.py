"""Kraken's REST: what is asked, how a backfill pages, how events are read exactly."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfeed.errors import DecodeError, RateLimitedError, VenueError
from crossfeed.model.commands import Backfill, RestRequest, Want
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.codec import KrakenCodec
from crossfeed.venues.kraken.rest import TRADES_MAX
from crossfeed.venues.symbols import SymbolTable

START_NS = 1_772_366_400 * 10**9


def make_codec(*, keep_raw: bool = True) -> KrakenCodec:
    """Return a codec."""
    table = SymbolTable("kraken", VENUE.builtin())
    return KrakenCodec(table, CodecOptions(keep_raw=keep_raw))


def wanted(first: int, last: int, after_ns: int = START_NS) -> Backfill:
    """Return the wish for some trades."""
    return Backfill(Stream("kraken", "trade", "BTC/USD"), first, last, 1, after_ns)


@pytest.mark.parametrize(
    ("channel", "path", "query"),
    [
        ("trade", "Trades", (("pair", "XBTUSD"), ("count", "100"))),
        ("ticker", "Ticker", (("pair", "XBTUSD"),)),
        ("ticker:bbo", "Ticker", (("pair", "XBTUSD"),)),
        ("ohlc:5", "OHLC", (("pair", "XBTUSD"), ("interval", "5"))),
        ("book:10", "Depth", (("pair", "XBTUSD"), ("count", "10"))),
        ("book:1000", "Depth", (("pair", "XBTUSD"), ("count", "500"))),
    ],
)
def test_poll_request(channel: str, path: str, query: tuple[tuple[str, str], ...]) -> None:
    """Each stream has a request that stands in for it."""
    request = make_codec().poll_request(Want(channel, "BTC/USD"))
    assert request == RestRequest(
        purpose="poll", path=f"/0/public/{path}", query=query, symbol="BTC/USD", channel=channel
    )


def test_poll_request_of_the_venue() -> None:
    """The state of the system can be polled, heartbeats and instruments cannot."""
    codec = make_codec()
    request = codec.poll_request(Want("status", ""))
    assert request is not None
    assert request.path == "/0/public/SystemStatus"
    assert codec.poll_request(Want("heartbeat", "")) is None
    assert codec.poll_request(Want("instrument", "")) is None


def test_backfill_request() -> None:
    """It begins 1 ms before the last good trade; other channels have none."""
    codec = make_codec()
    request = codec.backfill_request(wanted(5, 9))
    assert request is not None
    assert dict(request.query)["since"] == str(START_NS - 1_000_000)
    assert (request.first, request.last, request.purpose) == (5, 9, "backfill")
    newest = codec.backfill_request(wanted(5, 9, 0))
    assert newest is not None
    assert "since" not in dict(newest.query)
    book = Backfill(Stream("kraken", "book", "BTC/USD"), 5, 9, 1, START_NS)
    assert codec.backfill_request(book) is None


class TradesServer:
    """Answers `Trades` as the venue documents it: after `since`, oldest first, `last` to go on."""

    def __init__(self, times: list[int], count: int) -> None:
        self.trades = list(enumerate(times, start=1))
        self.count = count
        self.calls = 0

    def answer(self, request: RestRequest) -> bytes:
        """Return one page."""
        self.calls += 1
        query = dict(request.query)
        assert query["pair"] == "XBTUSD"
        since = int(query["since"])
        page = [trade for trade in self.trades if trade[1] > since][: self.count]
        rows = ",".join(
            f'["64010.20000","0.00100000",{at // 10**9}.{at % 10**9:09},"b","l","",{number}]'
            for number, at in page
        )
        last = page[-1][1] if page else since
        return f'{{"error":[],"result":{{"XXBTZUSD":[{rows}],"last":"{last}"}}}}'.encode()


def walk(server: TradesServer, first: int, last: int, after_ns: int) -> list[int]:
    """Fetch a hole page by page; return the ids that came."""
    codec, out = make_codec(), Output()
    request = codec.backfill_request(wanted(first, last, after_ns))
    while request is not None:
        assert server.calls < 100
        request = codec.receive_rest(request, 200, server.answer(request), 1, 2, out)
    assert all(event.marks is Mark.BACKFILLED for event in out.events)
    return [event.trade_id for event in out.events if isinstance(event, Trade)]


@pytest.mark.fault("S01")
@settings(max_examples=50)
@given(
    steps=st.lists(st.integers(0, 3).map(lambda n: n * 700_000), min_size=3, max_size=40),
    count=st.integers(8, 12),
    data=st.data(),
)
def test_backfill_brings_each_missing_trade_once(
    steps: list[int], count: int, data: st.DataObject
) -> None:
    """Whatever the page size and however many trades share a moment: all of them, in order."""
    times: list[int] = []
    for step in steps:
        # At most four trades of one moment: a page holds more than that.
        is_crowded = len(times) >= 4 and times[-1] == times[-4]
        times.append((times[-1] if times else START_NS) + (step or 1 if is_crowded else step))
    first = data.draw(st.integers(2, len(times) - 1))
    last = data.draw(st.integers(first, len(times) - 1))
    server = TradesServer(times, count)
    assert walk(server, first, last, times[first - 2]) == list(range(first, last + 1))


@pytest.mark.fault("S01")
def test_backfill_ends_where_the_venue_has_no_more() -> None:
    """What the venue cannot supply is not asked for ever."""
    server = TradesServer([START_NS + n * 10**9 for n in range(5)], TRADES_MAX)
    assert walk(server, 4, 900, START_NS + 2 * 10**9) == [4, 5]
    assert server.calls <= 3


def test_time_is_read_exactly() -> None:
    """The decimals of a trade's time are kept as written, where a float would round."""
    server = TradesServer([START_NS, START_NS + 123_456_789], 10)
    codec, out = make_codec(), Output()
    request = codec.backfill_request(wanted(2, 2))
    assert request is not None
    codec.receive_rest(request, 200, server.answer(request), 1, 2, out)
    assert out.events[0].ts_event_ns == START_NS + 123_456_789


def test_row_is_the_raw_of_a_fetched_trade() -> None:
    """A fetched trade keeps its own row, not its page; without raw the floats stand in."""
    server = TradesServer([START_NS, START_NS + 1], 10)
    for keep_raw in (True, False):
        codec, out = make_codec(keep_raw=keep_raw), Output()
        request = codec.backfill_request(wanted(2, 2))
        assert request is not None
        codec.receive_rest(request, 200, server.answer(request), 1, 2, out)
        [event] = out.events
        row = ["64010.20000", "0.00100000", 1772366400.000000001, "b", "l", "", 2]
        assert event.raw_message == ({"data": row} if keep_raw else {})
        assert str(event.exact["price"]) == ("64010.20000" if keep_raw else "64010.2")


@pytest.mark.parametrize(
    ("field", "value"),
    [(2, "1e999999"), (2, "-1"), (2, '"x"'), (2, "9" * 5000), (0, '"nan"'), (0, '"0"'), (1, '"0"'),
     (3, '"x"'), (6, "-1"), (6, "1.5")],
)  # fmt: skip
@pytest.mark.fault("D01", "D02", "D03")
def test_odd_rows_are_refused(field: int, value: str) -> None:
    """A row with no number in the place of one refuses the answer whole."""
    parts = ['"1"', '"1"', "1772366400.5", '"b"', '"l"', '""', "2"]
    parts[field] = value
    good = '["1","1",1772366400.5,"b","l","",2]'
    body = f'{{"error":[],"result":{{"XXBTZUSD":[{good},[{",".join(parts)}]],"last":"5"}}}}'
    codec, out = make_codec(), Output()
    request = codec.backfill_request(wanted(1, 3))
    assert request is not None
    with pytest.raises(DecodeError):
        codec.receive_rest(request, 200, body.encode(), 1, 2, out)
    assert out.events == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("EGeneral:Too many requests", RateLimitedError),
        ("EAPI:Rate limit exceeded", RateLimitedError),
        ("EQuery:Unknown asset pair", VenueError),
        ("E" * 5000, VenueError),
        ("", VenueError),
    ],
)
def test_errors(error: str, kind: type[VenueError]) -> None:
    """Errors come with HTTP 200; their text has two parts."""
    body = json.dumps({"error": [error]}).encode()
    with pytest.raises(kind) as caught:
        VENUE.parse_instruments(200, body)
    assert caught.value.code == error[:200].partition(":")[0]
    assert len(str(caught.value)) < 1000
    if isinstance(caught.value, RateLimitedError):
        assert caught.value.retry_after_s > 0
        assert caught.value.retryable


def test_answer_without_result_is_refused() -> None:
    """An empty answer is no answer."""
    empty: dict[str, Any] = {"error": []}
    assert VENUE.parse_instruments(200, json.dumps(empty | {"result": {}}).encode()) == []
    request = make_codec().poll_request(Want("ticker", "BTC/USD"))
    assert request is not None
    with pytest.raises(DecodeError):
        make_codec().receive_rest(request, 200, json.dumps(empty).encode(), 1, 2, Output())
