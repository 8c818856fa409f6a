"""What Kraken's codec remembers: ticker triggers, requests, bars, decimals."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import DecodeError, UnsupportedChannelError
from crossfeed.model.commands import Acknowledged, Refused, Resubscribe, VenueNotice, Want
from crossfeed.model.events import Candle, Quote, Ticker, Trade
from crossfeed.model.output import Output
from crossfeed.model.trust import Mark
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.kraken import VENUE
from crossfeed.venues.kraken.codec import KrakenCodec
from crossfeed.venues.kraken.requests import PENDING_MAX
from crossfeed.venues.symbols import SymbolTable

BBO = Want("ticker:bbo", "BTC/USD")
TICKER = Want("ticker", "BTC/USD")
BOOK = Want("book:10", "BTC/USD")
TICK = {
    "symbol": "BTC/USD", "bid": 64010.1, "bid_qty": 1.25, "ask": 64010.2, "ask_qty": 0.7,
    "last": 64009.9, "volume": 1500.1, "vwap": 63900.1, "low": 63000.0, "high": 65100.5,
    "change": -120.3, "change_pct": -0.19, "timestamp": "2026-03-01T12:00:02.123456Z",
}  # fmt: skip
PAIR = {
    "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online",
    "price_precision": 1, "qty_precision": 8,
}  # fmt: skip


@pytest.fixture
def codec() -> KrakenCodec:
    """Return a codec on a new connection."""
    made = KrakenCodec(SymbolTable("kraken", VENUE.builtin()), CodecOptions())
    made.on_open()
    return made


def receive(codec: KrakenCodec, message: object, ts_ns: int = 1_790_000_000_000_000_000) -> Output:
    """Decode one message."""
    out = Output()
    codec.receive(json.dumps(message).encode(), ts_ns, 7, out)
    return out


def sent(frames: list[bytes]) -> list[tuple[str, Any]]:
    """Return method and parameters of frames."""
    messages = [json.loads(frame) for frame in frames]
    return [(message["method"], message.get("params")) for message in messages]


def kinds(codec: KrakenCodec) -> list[type]:
    """Return the classes of the events that a ticker message yields."""
    out = receive(codec, {"channel": "ticker", "type": "update", "data": [TICK]})
    return [type(event) for event in out.events]


def ticker(method: str, trigger: str) -> tuple[str, Any]:
    """Return what a ticker request must be."""
    params = {"channel": "ticker", "event_trigger": trigger, "symbol": ["BTC/USD"]}
    return method, params | ({"snapshot": True} if method == "subscribe" else {})


# ── one ticker subscription per symbol ────────────────────────────────────────


def test_quotes_after_tickers_move_the_trigger(codec: KrakenCodec) -> None:
    """A wish for quotes replaces the subscription by trades; the answer settles it."""
    assert sent(codec.subscribe([TICKER], 0)) == [ticker("subscribe", "trades")]
    assert kinds(codec) == [Ticker]
    assert sent(codec.subscribe([BBO], 0)) == [
        ticker("unsubscribe", "trades"),
        ticker("subscribe", "bbo"),
    ]
    assert kinds(codec) == [Quote, Ticker]
    left = {"method": "unsubscribe", "success": True, "req_id": 2, "result": {"channel": "ticker"}}
    assert receive(codec, left).commands == []
    joined = {
        "method": "subscribe",
        "success": True,
        "req_id": 3,
        "result": {"channel": "ticker", "symbol": "BTC/USD"},
    }
    assert receive(codec, joined).commands == [Acknowledged((BBO,))]


def test_tickers_after_quotes_need_no_other_trigger(codec: KrakenCodec) -> None:
    """The same subscription is asked again, which Kraken answers "Already subscribed"."""
    codec.subscribe([BBO], 0)
    assert kinds(codec) == [Quote]
    assert sent(codec.subscribe([TICKER], 0)) == [ticker("subscribe", "bbo")]
    assert kinds(codec) == [Quote, Ticker]
    answer = {
        "method": "subscribe", "success": False, "error": "Already subscribed",
        "symbol": "BTC/USD", "req_id": 2,
    }  # fmt: skip
    assert receive(codec, answer).commands == [Acknowledged((TICKER,))]


def test_removing_tickers_beside_quotes_needs_nothing(codec: KrakenCodec) -> None:
    """The pong of a ping settles a removal that changes nothing on the wire."""
    codec.subscribe([BBO, TICKER], 0)
    frames = codec.unsubscribe([TICKER], 0)
    assert sent(frames) == [("ping", None)]
    assert kinds(codec) == [Quote]
    pong = {"method": "pong", "req_id": json.loads(frames[0])["req_id"]}
    assert receive(codec, pong).commands == [Acknowledged((TICKER,), is_removal=True)]


def test_removing_quotes_beside_tickers_moves_the_trigger(codec: KrakenCodec) -> None:
    """What remains is subscribed by trades again."""
    codec.subscribe([BBO, TICKER], 0)
    frames = codec.unsubscribe([BBO], 0)
    assert sent(frames) == [ticker("unsubscribe", "bbo"), ticker("subscribe", "trades")]
    assert kinds(codec) == [Ticker]
    answer = {
        "method": "unsubscribe", "success": True, "req_id": 2,
        "result": {"channel": "ticker", "symbol": "BTC/USD"},
    }  # fmt: skip
    assert receive(codec, answer).commands == [Acknowledged((BBO,), is_removal=True)]


def test_new_connection_carries_no_ticker(codec: KrakenCodec) -> None:
    """After a reconnect nothing is moved: everything is subscribed afresh, in one form."""
    codec.subscribe([TICKER], 0)
    codec.subscribe([BBO], 0)
    codec.on_open()
    assert sent(codec.subscribe([TICKER], 0)) == [ticker("subscribe", "bbo")]
    assert kinds(codec) == [Quote, Ticker]


@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from([[BBO], [TICKER], [BBO, TICKER]]))))
def test_any_order_of_wishes(steps: list[tuple[bool, list[Want]]]) -> None:
    """After any wishes the venue carries just what is wanted, and the events are those wanted."""
    codec = KrakenCodec(SymbolTable("kraken", VENUE.builtin()), CodecOptions())
    codec.subscribe([BOOK], 0)
    wanted: set[Want] = set()
    carried = ""
    for is_wish, wants in steps:
        wanted = wanted | set(wants) if is_wish else wanted - set(wants)
        for method, params in sent((codec.subscribe if is_wish else codec.unsubscribe)(wants, 0)):
            if method == "unsubscribe":
                assert params["event_trigger"] == carried or not carried
                carried = ""
            elif method == "subscribe":
                assert carried in {"", params["event_trigger"]}
                carried = params["event_trigger"]
        assert carried == ("bbo" if BBO in wanted else "trades" if TICKER in wanted else "")
        expected = [kind for want, kind in ((BBO, Quote), (TICKER, Ticker)) if want in wanted]
        assert kinds(codec) == (expected or [Quote, Ticker])


# ── requests and answers ──────────────────────────────────────────────────────


def reply(method: str, req_id: int, symbol: str = "", error: str = "") -> dict[str, Any]:
    """Write an answer."""
    message: dict[str, Any] = {"method": method, "success": not error, "req_id": req_id}
    return message | ({"symbol": symbol} if symbol else {}) | ({"error": error} if error else {})


@pytest.mark.fault("D19")
def test_one_answer_per_symbol(codec: KrakenCodec) -> None:
    """Answers of one request come one by one, in any order, and some refuse."""
    wants = [Want("trade", symbol) for symbol in ("BTC/USD", "ETH/USD", "BTC/XXX")]
    codec.subscribe(wants, 0)
    assert receive(codec, reply("subscribe", 1, "ETH/USD")).commands == [Acknowledged((wants[1],))]
    text = "Currency pair not supported BTC/XXX"
    assert receive(codec, reply("subscribe", 1, "BTC/XXX", text)).commands == [
        Refused((wants[2],), text)
    ]
    assert receive(codec, reply("subscribe", 1, "ETH/USD")).commands == []
    assert receive(codec, reply("subscribe", 1, "BTC/USD")).commands == [Acknowledged((wants[0],))]
    assert receive(codec, reply("subscribe", 1, "BTC/USD")).commands == []


@pytest.mark.fault("D19")
def test_answers_of_the_last_connection_are_void(codec: KrakenCodec) -> None:
    """A number asked on the last connection settles nothing on this one."""
    codec.subscribe([BOOK], 0)
    codec.on_open()
    assert receive(codec, reply("subscribe", 1, "BTC/USD")).commands == []


def test_failed_removal_is_a_removal(codec: KrakenCodec) -> None:
    """Kraken refuses to remove what is not there; only its rate limit leaves it open."""
    codec.subscribe([BOOK], 0)
    codec.unsubscribe([BOOK], 0)
    codec.unsubscribe([BOOK], 0)
    limited = receive(codec, reply("unsubscribe", 2, "BTC/USD", "Exceeded msg rate")).commands
    assert limited == [VenueNotice("unsubscribe", "Exceeded msg rate")]
    missing = receive(codec, reply("unsubscribe", 3, "BTC/USD", "Subscription Not Found")).commands
    assert missing == [
        VenueNotice("unsubscribe", "Subscription Not Found", is_error=False),
        Acknowledged((BOOK,), is_removal=True),
    ]


def test_refusal_of_something_unknown_is_a_notice(codec: KrakenCodec) -> None:
    """An error for a number we do not know is passed on as the venue's words."""
    assert receive(codec, reply("subscribe", 77, "", "zz")).commands == [
        VenueNotice("subscribe", "zz")
    ]


def test_pending_requests_are_bounded(codec: KrakenCodec) -> None:
    """A venue that never answers costs bounded memory; the oldest requests are forgotten."""
    codec.subscribe([BOOK], 0)
    for _ in range(PENDING_MAX):
        codec.keepalive()
    assert receive(codec, reply("subscribe", 1, "BTC/USD")).commands == []


def test_many_symbols_are_split(codec: KrakenCodec) -> None:
    """A message names at most as many symbols as the profile allows; each settles its own."""
    most = VENUE.profile.limits.params_per_message
    wants = [Want("trade", f"S{number}/USD") for number in range(most + 1)]
    frames = [json.loads(frame) for frame in codec.subscribe(wants, 0)]
    assert [len(frame["params"]["symbol"]) for frame in frames] == [most, 1]
    last = receive(codec, reply("subscribe", 2, f"S{most}/USD")).commands
    assert last == [Acknowledged((wants[-1],))]


def test_two_depths_of_one_book_are_refused(codec: KrakenCodec) -> None:
    """Their messages could not be told apart; nothing changes."""
    codec.subscribe([BOOK], 0)
    with pytest.raises(UnsupportedChannelError, match="book:10"):
        codec.subscribe([Want("trade", "ETH/USD"), Want("book:25", "BTC/USD")], 0)
    assert codec.asked() == [BOOK]
    codec.unsubscribe([BOOK], 0)
    assert len(codec.subscribe([Want("book:25", "BTC/USD")], 0)) == 1


# ── bars ──────────────────────────────────────────────────────────────────────


def bar(minute: int, close: float, interval: int = 1, kind: str = "update") -> dict[str, Any]:
    """Write a bar that begins at 12:00 plus some minutes."""
    item = {
        "symbol": "BTC/USD", "open": 1.0, "high": 9.0, "low": 1.0, "close": close, "trades": 3,
        "volume": 2.5, "vwap": 2.0, "interval_begin": f"2026-03-01T12:{minute:02}:00.000000000Z",
        "interval": interval,
    }  # fmt: skip
    stamp = f"2026-03-01T12:{minute:02}:30.5Z"
    return {"channel": "ohlc", "type": kind, "timestamp": stamp, "data": [item]}


def seen(out: Output) -> list[tuple[int, str, float, bool]]:
    """Return minute, interval, close and state of the bars that came out."""
    bars = [event for event in out.events if isinstance(event, Candle)]
    assert len(bars) == len(out.events)
    start = 1772366400 * 10**9
    minute = 60 * 10**9
    return [((b.open_time_ns - start) // minute, b.interval, b.close, b.is_closed) for b in bars]


def test_bar_is_closed_by_the_next(codec: KrakenCodec) -> None:
    """The last state of a bar comes once more, closed, before the first of the next."""
    codec.subscribe([Want("ohlc:1", "BTC/USD")], 0)
    assert seen(receive(codec, bar(0, 2.0))) == [(0, "1m", 2.0, False)]
    assert seen(receive(codec, bar(0, 3.0))) == [(0, "1m", 3.0, False)]
    out = receive(codec, bar(2, 4.0), 1_790_000_001_000_000_000)
    assert seen(out) == [(0, "1m", 3.0, True), (2, "1m", 4.0, False)]
    closed = out.events[0]
    assert isinstance(closed, Candle)
    assert closed.close_time_ns == closed.open_time_ns + 60 * 10**9
    assert closed.ts_recv_ns == 1_790_000_001_000_000_000
    assert str(closed.exact["close"]) == "3.0"
    assert closed.raw_message["close"] == 3.0
    assert seen(receive(codec, bar(1, 5.0))) == [(1, "1m", 5.0, True)]
    assert seen(receive(codec, bar(2, 6.0))) == [(2, "1m", 6.0, False)]


def test_series_are_apart(codec: KrakenCodec) -> None:
    """Bars of another interval close nothing."""
    codec.subscribe([Want("ohlc:1", "BTC/USD"), Want("ohlc:5", "BTC/USD")], 0)
    receive(codec, bar(0, 2.0, 1))
    receive(codec, bar(0, 2.0, 5))
    assert seen(receive(codec, bar(1, 3.0, 1))) == [(0, "1m", 2.0, True), (1, "1m", 3.0, False)]
    assert seen(receive(codec, bar(0, 3.0, 5))) == [(0, "5m", 3.0, False)]


def test_bar_across_a_reconnect_is_not_called_final(codec: KrakenCodec) -> None:
    """What was missed meanwhile may belong to it: only the venue's snapshot may close it."""
    codec.subscribe([Want("ohlc:1", "BTC/USD")], 0)
    receive(codec, bar(0, 2.0))
    codec.on_open()
    codec.subscribe([Want("ohlc:1", "BTC/USD")], 0)
    assert seen(receive(codec, bar(1, 3.0))) == [(1, "1m", 3.0, False)]


def test_bar_of_a_removed_series_is_forgotten(codec: KrakenCodec) -> None:
    """Subscribed again, a series starts anew."""
    wants = [Want("ohlc:1", "BTC/USD")]
    codec.subscribe(wants, 0)
    receive(codec, bar(0, 2.0))
    codec.unsubscribe(wants, 0)
    codec.subscribe(wants, 0)
    assert seen(receive(codec, bar(1, 3.0))) == [(1, "1m", 3.0, False)]


def test_snapshot_then_updates(codec: KrakenCodec) -> None:
    """The newest bar of a snapshot is in the making, the others are history."""
    codec.subscribe([Want("ohlc:1", "BTC/USD")], 0)
    snapshot = bar(3, 3.0, kind="snapshot")
    snapshot["data"] += bar(1, 1.0)["data"] + bar(2, 2.0)["data"]
    out = receive(codec, snapshot)
    assert seen(out) == [(1, "1m", 1.0, True), (2, "1m", 2.0, True), (3, "1m", 3.0, False)]
    history, first = Mark.SNAPSHOT | Mark.HISTORY, Mark.SNAPSHOT
    assert [event.marks for event in out.events] == [history, history, first]
    out = receive(codec, bar(4, 4.0))
    assert seen(out) == [(3, "1m", 3.0, True), (4, "1m", 4.0, False)]
    assert out.events[0].marks is Mark.NONE


@pytest.mark.parametrize("kind", ["update", "snapshot"])
def test_bar_without_beginning_is_refused(codec: KrakenCodec, kind: str) -> None:
    """A bar of no known time is no bar, and changes nothing."""
    codec.subscribe([Want("ohlc:1", "BTC/USD")], 0)
    receive(codec, bar(0, 2.0))
    message = bar(1, 3.0, kind=kind)
    message["data"].append(message["data"][0] | {"interval_begin": "1970-01-01T00:00:00Z"})
    with pytest.raises(DecodeError):
        receive(codec, message)
    assert seen(receive(codec, bar(1, 4.0))) == [(0, "1m", 2.0, True), (1, "1m", 4.0, False)]


# ── instruments ───────────────────────────────────────────────────────────────


def instruments(*pairs: dict[str, Any]) -> dict[str, Any]:
    """Write an instrument message."""
    return {"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": [*pairs]}}


@pytest.mark.fault("S20")
def test_changed_decimals_resubscribe_the_book(codec: KrakenCodec) -> None:
    """New decimals are adopted, and a book made with the old ones is subscribed anew, once."""
    codec.subscribe([Want("instrument", ""), BOOK, Want("trade", "ETH/USD")], 0)
    assert receive(codec, instruments(PAIR)).commands == []
    finer = PAIR | {"price_precision": 2}
    commands = receive(codec, instruments(finer)).commands
    assert commands == [Resubscribe("book:10", "BTC/USD", "precision")]
    assert codec.table.find("BTC/USD").price_scale == 2
    assert codec.table.find("XXBTZUSD").price_scale == 2
    assert receive(codec, instruments(finer)).commands == []
    other = PAIR | {"symbol": "ETH/USD", "base": "ETH", "qty_precision": 5}
    assert receive(codec, instruments(other)).commands == []
    assert codec.table.find("ETH/USD").size_scale == 5


@pytest.mark.fault("S20")
def test_every_connection_learns_of_changed_decimals() -> None:
    """The table is shared: that one connection adopted it does not hide the change from another."""
    table = SymbolTable("kraken", VENUE.builtin())
    codecs = [KrakenCodec(table, CodecOptions()) for _ in range(2)]
    for made in codecs:
        made.subscribe([Want("instrument", ""), BOOK], 0)
    finer = instruments(PAIR | {"price_precision": 2})
    expected = [Resubscribe("book:10", "BTC/USD", "precision")]
    assert [receive(made, finer).commands for made in codecs] == [expected, expected]


def test_bad_pair_changes_nothing(codec: KrakenCodec) -> None:
    """One pair that lacks what we need refuses the whole message."""
    codec.subscribe([BOOK], 0)
    with pytest.raises(DecodeError):
        receive(codec, instruments(PAIR | {"price_precision": 2}, PAIR | {"qty_precision": "x"}))
    assert codec.table.find("BTC/USD").price_scale == 1


def test_paths() -> None:
    """All channels share one path; the stream brings snapshots itself."""
    codec = KrakenCodec(SymbolTable("kraken", VENUE.builtin()), CodecOptions())
    assert codec.url_path([BOOK]) == "/v2"
    assert codec.snapshot_request("BTC/USD", 1, 0) is None
    assert json.loads(codec.keepalive())["method"] == "ping"


def test_odd_beginnings_teach_nothing(codec: KrakenCodec) -> None:
    """A message whose name stands behind its data is read, and does not name others like it."""
    codec.subscribe([BBO, Want("trade", "BTC/USD")], 0)
    trade = {
        "symbol": "BTC/USD", "side": "buy", "price": 1.5, "qty": 2.0, "trade_id": 1,
        "timestamp": "2026-03-01T12:00:00.5Z",
    }  # fmt: skip
    for _ in range(2):
        out = receive(codec, {"data": [TICK], "channel": "ticker", "type": "update"})
        assert [type(event) for event in out.events] == [Quote]
        out = receive(codec, {"data": [trade], "channel": "trade", "type": "update"})
        assert [type(event) for event in out.events] == [Trade]
        out = receive(codec, {"channel": "trade", "type": "update", "data": [trade]})
        assert [type(event) for event in out.events] == [Trade]
        assert kinds(codec) == [Quote]
