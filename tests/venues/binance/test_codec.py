"""Binance's control messages, options and REST walk; what samples cannot show."""

import json
from typing import Any

import pytest

from crossfeed.errors import ConfigError, DecodeError, RateLimitedError, UnsupportedChannelError
from crossfeed.model.commands import (
    Acknowledged,
    Backfill,
    Refused,
    RestRequest,
    Resubscribe,
    VenueNotice,
    Want,
)
from crossfeed.model.events import MarketData, Trade
from crossfeed.model.instrument import Instrument
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.binance import VENUE
from crossfeed.venues.binance.codec import PENDING_MAX, BinanceCodec
from crossfeed.venues.symbols import SymbolTable

TRADES = Want("trade", "BTCUSDT")
BOOK = Want("depth@100ms", "BTCUSDT")
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1672515782136,"s":"BTCUSDT","t":5,'
    b'"p":"0.5","q":"1","T":1672515782136,"m":true,"M":true}}'
)
NOW_NS = 1_790_000_000_000_000_000


def make(**options: Any) -> BinanceCodec:
    """Return a codec with the built-in symbols."""
    return BinanceCodec(SymbolTable("binance", VENUE.builtin()), CodecOptions(**options))


def commands(codec: BinanceCodec, **message: object) -> list[object]:
    """Return the commands a service message leads to."""
    out = Output()
    codec.receive(json.dumps(message).encode(), NOW_NS, 1, out)
    assert out.events == []
    return list(out.commands)


def request_id(frame: bytes) -> int:
    """Return the id of a control message."""
    found: int = json.loads(frame)["id"]
    return found


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ("", None),
        ("MILLISECOND", "/stream"),
        ("microsecond", "/stream?timeUnit=MICROSECOND"),
        ("nanosecond", None),
    ],
)
def test_time_unit(unit: str, path: str | None) -> None:
    """The unit stands in the URL; one that the venue does not have is a configuration error."""
    if path is None:
        with pytest.raises(ConfigError, match="MICROSECOND"):
            make(parameters={"time_unit": unit})
        return
    assert make(parameters={"time_unit": unit}).url_path([TRADES]) == path


def test_ids_name_their_request() -> None:
    """Answers in any order find the wants they are about."""
    codec = make()
    asked = request_id(codec.subscribe([TRADES], 0)[0])
    also = request_id(codec.subscribe([BOOK], 0)[0])
    dropped = request_id(codec.unsubscribe([TRADES], 0)[0])
    assert len({asked, also, dropped}) == 3
    assert commands(codec, result=None, id=dropped) == [Acknowledged((TRADES,), is_removal=True)]
    assert commands(codec, code=2, msg="no", id=also) == [Refused((BOOK,), "no [2]")]
    assert commands(codec, result=None, id=asked) == [Acknowledged((TRADES,))]
    assert isinstance(commands(codec, result=None, id=asked)[0], VenueNotice)


@pytest.mark.fault("D19")
def test_error_without_id_and_two_requests_refuses_nothing() -> None:
    """Which of two requests was refused cannot be known: their deadline will tell."""
    codec = make()
    first = request_id(codec.subscribe([TRADES], 0)[0])
    codec.subscribe([BOOK], 0)
    assert commands(codec, code=2, msg="no") == [VenueNotice("2", "no")]
    assert commands(codec, result=None, id=first) == [Acknowledged((TRADES,))]
    assert commands(codec, code=2, msg="no") == [Refused((BOOK,), "no [2]")]


def test_new_connection_knows_no_old_answers() -> None:
    """After `on_open` a late answer of the last connection is nobody's."""
    codec = make()
    old = request_id(codec.subscribe([TRADES], 0)[0])
    codec.on_open()
    (notice,) = commands(codec, result=None, id=old)
    assert isinstance(notice, VenueNotice)
    assert not notice.is_error
    assert request_id(codec.subscribe([TRADES], 0)[0]) > old


def test_listed_subscriptions_are_compared() -> None:
    """What the venue does not list of what was asked is subscribed anew; the answer is no ack."""
    codec = make()
    codec.subscribe([TRADES, BOOK], 0)
    frame = codec.list_subscriptions()
    assert json.loads(frame) == {"method": "LIST_SUBSCRIPTIONS", "id": 2}
    lost = Resubscribe("depth@100ms", "BTCUSDT", "not listed by the venue")
    assert commands(codec, result=["btcusdt@trade"], id=2) == [lost]
    again = request_id(codec.list_subscriptions())
    assert commands(codec, result=["btcusdt@depth@100ms", "btcusdt@trade"], id=again) == []
    again = request_id(codec.list_subscriptions())
    assert commands(codec, result=None, id=again) == []
    again = request_id(codec.list_subscriptions())
    assert commands(codec, error={"code": 2, "msg": "no"}, id=again) == [VenueNotice("2", "no")]


def test_unanswered_requests_are_bounded() -> None:
    """A venue that never answers costs no memory; the oldest request is forgotten."""
    codec = make()
    first = request_id(codec.subscribe([TRADES], 0)[0])
    for _ in range(PENDING_MAX):
        last = request_id(codec.subscribe([TRADES], 0)[0])
    assert isinstance(commands(codec, result=None, id=first)[0], VenueNotice)
    assert commands(codec, result=None, id=last) == [Acknowledged((TRADES,))]


def test_unknown_channel_changes_nothing() -> None:
    """A channel the venue would acknowledge and never serve is refused here, whole."""
    codec = make()
    for method in (codec.subscribe, codec.unsubscribe):
        with pytest.raises(UnsupportedChannelError, match="avgPrice"):
            method([TRADES, Want("avgPrice", "BTCUSDT")], 0)
    assert codec.asked() == []
    with pytest.raises(DecodeError):
        codec.receive(TRADE, 1, 1, Output())
    assert request_id(codec.subscribe([TRADES], 0)[0]) == 1


def test_raw_is_kept_or_not() -> None:
    """Without `keep_raw` events hold no frame, and exact numbers are the shortest decimals."""
    for keep_raw, digits in ((True, "0.5"), (False, "0.5")):
        codec, out = make(keep_raw=keep_raw), Output()
        codec.subscribe([TRADES], 0)
        codec.receive(TRADE, 1, 1, out)
        assert out.events[0].raw == (TRADE if keep_raw else None)
        assert str(out.events[0].exact["price"]) == digits


def test_new_metadata_name_the_next_subscription() -> None:
    """A symbol unknown at first gets its unified name once the metadata are there."""
    table = SymbolTable("binance", [])
    codec = BinanceCodec(table, CodecOptions())
    codec.subscribe([TRADES], 0)
    out = Output()
    codec.receive(TRADE, 1, 1, out)
    table.adopt([Instrument(venue="binance", symbol="BTCUSDT", base="BTC", quote="USDT")])
    codec.subscribe([TRADES], 0)
    codec.receive(TRADE, 1, 1, out)
    assert [event.unified for event in out.events] == ["", "BTC/USDT"]


# ── REST ──────────────────────────────────────────────────────────────────────


def answer(codec: BinanceCodec, request: RestRequest, body: object) -> tuple[Any, list[MarketData]]:
    """Return the following request and the events of an answer."""
    out = Output()
    following = codec.receive_rest(request, 200, json.dumps(body).encode(), NOW_NS, 1, out)
    return following, out.events


def history(query: tuple[tuple[str, str], ...], newest: int) -> list[dict[str, object]]:
    """Answer a query for old trades as the venue does."""
    wanted = dict(query)
    first, limit = int(wanted["fromId"]), int(wanted["limit"])
    return [
        {"id": n, "price": "1.5", "qty": "2", "time": 1_672_515_782_136, "isBuyerMaker": True}
        for n in range(first, min(first + limit, newest + 1))
    ]


@pytest.mark.parametrize(("first", "last"), [(11, 11), (11, 1010), (11, 1011), (11, 2510)])
def test_backfill_walks_pages(first: int, last: int) -> None:
    """Pages of at most 1000 follow each other until the last missing trade is there."""
    codec = make()
    stream = Stream("binance", "trade", "BTCUSDT")
    request = codec.backfill_request(Backfill(stream, first, last, 1))
    ids: list[int] = []
    pages = 0
    while request is not None:
        assert int(dict(request.query)["limit"]) <= 1000
        assert request.weight == 25
        request, events = answer(codec, request, history(request.query, 10**9))
        ids += [event.trade_id for event in events if isinstance(event, Trade)]
        pages += 1
    assert ids == list(range(first, last + 1))
    assert pages == -(-len(ids) // 1000)


def test_backfill_ends_where_the_history_ends() -> None:
    """Newest trades may not be in the database yet: the walk ends, part of the hole stays open."""
    codec = make()
    stream = Stream("binance", "trade", "BTCUSDT")
    request = codec.backfill_request(Backfill(stream, 11, 20, 1))
    assert request is not None
    request, events = answer(codec, request, history(request.query, 15))
    assert len(events) == 5
    assert request is not None
    assert answer(codec, request, history(request.query, 15)) == (None, [])


@pytest.mark.parametrize(
    ("channel", "first", "last"), [("ticker", 1, 2), ("book", 1, 2), ("trade", 2, 1)]
)
def test_no_backfill(channel: str, first: int, last: int) -> None:
    """What has no ids, or an empty range, cannot be fetched."""
    stream = Stream("binance", channel, "BTCUSDT")
    assert make().backfill_request(Backfill(stream, first, last, 1)) is None


@pytest.mark.fault("S08", "S11")
def test_snapshot_goes_deeper_after_the_first_try() -> None:
    """The second try asks for all levels, with their weight."""
    codec = make()
    requests = [codec.snapshot_request("BTCUSDT", 7, attempt) for attempt in (0, 1, 2)]
    assert [dict(r.query)["limit"] for r in requests] == ["1000", "5000", "5000"]
    assert [r.weight for r in requests] == [50, 250, 250]
    assert {r.epoch for r in requests} == {7}


def test_polls() -> None:
    """Every channel but the book has a stand-in with the venue's weight."""
    codec = make()
    weights = {"trade": 25, "aggTrade": 4, "ticker": 2, "miniTicker": 2, "bookTicker": 2}
    for channel, weight in weights.items():
        request = codec.poll_request(Want(channel, "BTCUSDT"))
        assert request is not None
        assert (request.weight, dict(request.query)["symbol"]) == (weight, "BTCUSDT")
    klines = codec.poll_request(Want("kline_1M", "BTCUSDT"))
    assert klines is not None
    assert dict(klines.query) == {"symbol": "BTCUSDT", "interval": "1M", "limit": "2"}
    assert codec.poll_request(BOOK) is None
    assert codec.keepalive() is None


@pytest.mark.fault("H05", "H06")
@pytest.mark.parametrize(
    ("status", "text", "wait_s"),
    [
        (
            429,
            "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.",
            60,
        ),
        (418, "Way too much request weight used; IP banned until 1790000090000. Please use", 90),
        (418, "Way too much request weight used; IP banned until 1780000000000. Please use", 1),
        (418, "teapot", 120),
        (400, "Too many requests queued.", 60),
    ],
)
def test_limits_say_how_long(status: int, text: str, wait_s: float) -> None:
    """A broken limit is an error with the wait the venue asks for, to the end of a ban."""
    codec = make()
    request = codec.snapshot_request("BTCUSDT", 1, 0)
    body = json.dumps({"code": -1003, "msg": text}).encode()
    with pytest.raises(RateLimitedError) as caught:
        codec.receive_rest(request, status, body, NOW_NS, 1, Output())
    assert caught.value.retry_after_s == pytest.approx(wait_s)
    assert caught.value.retryable
