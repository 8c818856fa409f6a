"""Binance spot, simulated: control messages, limits, streams, REST."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfeed.simulator.framing import Opcode
from crossfeed.simulator.http import Request
from crossfeed.simulator.memory import MemorySimulator, RefusedHandshake
from crossfeed.simulator.outgoing import Close, Pong
from crossfeed.simulator.venues.binance.profile import INTERVALS
from crossfeed.simulator.venues.binance.streams import (
    interval_floor,
    interval_next,
    parse_stream,
)

S = 1_000_000_000
DAY_NS = 86_400 * S


@pytest.fixture
def room():
    return MemorySimulator(venues=("binance",), rate_per_s=100.0, seed=3)


def ask(room, link, message):
    """Send a control message 300 ms after the last one; return its answer."""
    room.advance(300_000_000)
    link.receive()
    link.send(message if isinstance(message, bytes) else json.dumps(message).encode())
    (answer,) = link.receive()
    return json.loads(answer)


def by_stream(link):
    """Return the received messages by stream name."""
    found = {}
    for raw in link.receive():
        message = json.loads(raw)
        found.setdefault(message.get("stream"), []).append(message.get("data", message))
    return found


# ── control messages ──────────────────────────────────────────────────────────


def test_control_messages(room):
    link = room.connect("binance", "/ws")
    subscribe = {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "btcusdt@depth"], "id": 1}
    assert ask(room, link, subscribe) == {"result": None, "id": 1}
    unsubscribe = {"method": "UNSUBSCRIBE", "params": ["btcusdt@depth"], "id": "abc"}
    assert ask(room, link, unsubscribe) == {"result": None, "id": "abc"}
    assert ask(room, link, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == {
        "result": ["btcusdt@aggTrade"],
        "id": 3,
    }
    assert ask(room, link, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}) == {
        "result": False,
        "id": 2,
    }
    assert ask(room, link, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == {
        "result": None,
        "id": 5,
    }
    room.advance(S)
    assert set(by_stream(link)) == {"btcusdt@aggTrade"}
    assert ask(room, link, {"method": "LIST_SUBSCRIPTIONS", "id": None})["id"] is None


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (
            {"method": "SET_PROPERTY", "params": ["nope", True], "id": 7},
            {"code": 0, "msg": "Unknown property", "id": 7},
        ),
        (
            {"method": "SET_PROPERTY", "params": ["combined", 1], "id": 7},
            {"code": 1, "msg": "Invalid value type: expected Boolean"},
        ),
        (
            {"method": "SET_PROPERTY", "params": [], "id": 7},
            {"code": 2, "msg": "Invalid request: property name must be a string"},
        ),
        (
            {"method": "SUBSCRIBE", "params": []},
            {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"},
        ),
        (
            {"method": "SUBSCRIBE", "params": [], "id": 1 << 63},
            {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"},
        ),
        (
            {"method": "LIST_SUBSCRIPTIONS", "params": ["x"], "id": 1},
            {"code": 2, "msg": "Invalid request: too many parameters"},
        ),
        (
            {"method": "BUY", "id": 1},
            {
                "code": 2,
                "msg": "Invalid request: unknown variant BUY, expected one of `SUBSCRIBE`, "
                "`UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` "
                "at line 1 column 28",
            },
        ),
        (
            b'{"id":1}',
            {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 8"},
        ),
        (
            b"{nonsense",
            {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2"},
        ),
    ],
)
def test_errors_are_those_of_the_documents(room, message, answer):
    assert ask(room, room.connect("binance", "/ws"), message) == answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["method", "params", "id", "type", "channel", "channels", "name"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_any_message_gets_an_answer(room, payload):
    link = room.connect("binance", "/ws")
    link.send(payload)
    (answer,) = link.receive()
    assert {"code", "result"} & json.loads(answer).keys()
    link.lose()


# ── connection rules ──────────────────────────────────────────────────────────


def test_five_messages_a_second(room):
    link = room.connect("binance", "/ws")
    for number in range(5):
        link.send(b"x", Opcode.PING if number % 2 else Opcode.PONG)
    assert link.end is None
    link.send(b"x", Opcode.PONG)
    assert link.end == Close(1008, "Too many requests")
    assert room.ledger.violations["binance", "message rate"] == 1


def test_pings_are_answered_with_their_payload(room):
    link = room.connect("binance", "/ws")
    link.send(b"abc", Opcode.PING)
    assert Pong(b"abc") in link.receive_all()


def test_server_pings_every_20_s_and_needs_pongs_within_60(room):
    link = room.connect("binance", "/ws")
    room.advance(61 * S)
    assert len(link.pings) == 3
    assert link.end is None
    link.answers_pings = False
    room.advance(120 * S)
    assert link.end == Close(1008, "Pong timeout")
    assert room.ledger.violations["binance", "pong deadline"] == 1


def test_an_unasked_pong_keeps_nothing_alive(room):
    link = room.connect("binance", "/ws")
    link.answers_pings = False
    for _ in range(12):
        room.advance(10 * S)
        link.send(b"", Opcode.PONG)
    assert link.end == Close(1008, "Pong timeout")


def test_a_connection_lives_24_hours():
    room = MemorySimulator(venues=("binance",), rate_per_s=0.0)
    link = room.connect("binance", "/ws")
    room.advance(DAY_NS - S)
    assert link.end is None
    room.advance(2 * S)
    assert link.end is not None
    assert room.ledger.totals()["violations"] == 0


def test_1024_streams_a_connection(room):
    names = [f"s{number}@trade" for number in range(1_024)]
    link = room.connect("binance", f"/stream?streams={'/'.join(names)}")
    assert link.end is None
    link.send(b'{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
    assert link.end is not None
    assert room.ledger.violations["binance", "streams per connection"] == 1


def test_300_connects_in_5_minutes(room):
    for _ in range(300):
        room.connect("binance", "/ws").lose()
    with pytest.raises(RefusedHandshake) as caught:
        room.connect("binance", "/ws")
    assert caught.value.response.status == 429
    room.advance(301 * S)
    room.connect("binance", "/ws")


def test_other_paths_are_not_found(room):
    with pytest.raises(RefusedHandshake) as caught:
        room.connect("binance", "/nothing")
    assert caught.value.response.status == 404


# ── streams ───────────────────────────────────────────────────────────────────


def test_an_unknown_stream_is_acknowledged_and_silent(room):
    link = room.connect("binance", "/ws")
    names = ["nope@trade", "btcusdt@nothing", "BTCUSDT@trade", "!bookTicker", "btcusdt@kline_7m"]
    assert ask(room, link, {"method": "SUBSCRIBE", "params": names, "id": 1})["result"] is None
    assert ask(room, link, {"method": "LIST_SUBSCRIPTIONS", "id": 2})["result"] == names
    room.advance(3 * S)
    assert link.receive() == []


def test_encoded_names_are_understood(room):
    link = room.connect("binance", "/stream?streams=btcusdt%40trade")
    room.advance(S)
    assert by_stream(link)["btcusdt@trade"]


def test_raw_and_combined_carry_the_same(room):
    raw = room.connect("binance", "/ws/btcusdt@trade")
    combined = room.connect("binance", "/stream?streams=btcusdt@trade")
    room.advance(2 * S)
    plain = [json.loads(message) for message in raw.receive()]
    assert plain == by_stream(combined)["btcusdt@trade"]
    assert [one["t"] for one in plain] == list(range(plain[0]["t"], plain[-1]["t"] + 1))


def test_microseconds(room):
    milli = room.connect("binance", "/stream?streams=btcusdt@trade/btcusdt@kline_1m")
    micro = room.connect(
        "binance", "/stream?streams=btcusdt@trade/btcusdt@kline_1m&timeUnit=MICROSECOND"
    )
    room.advance(3 * S)
    first, second = by_stream(milli), by_stream(micro)
    for one, two in zip(first["btcusdt@trade"], second["btcusdt@trade"], strict=True):
        assert two["T"] // 1_000 == one["T"]
        assert len(str(two["E"])) == 16
    assert second["btcusdt@kline_1m"][0]["k"]["T"] % 1_000_000 == 999_999


def test_aggregates_are_sums_of_trades(room):
    link = room.connect("binance", "/stream?streams=btcusdt@trade/btcusdt@aggTrade")
    room.advance(20 * S)
    found = by_stream(link)
    trades = {one["t"]: one for one in found["btcusdt@trade"]}
    last = None
    for group in found["btcusdt@aggTrade"]:
        parts = [trades[number] for number in range(group["f"], group["l"] + 1)]
        assert {part["p"] for part in parts} == {group["p"]}
        assert sum(round(float(part["q"]) * 1e8) for part in parts) == round(
            float(group["q"]) * 1e8
        )
        assert last is None or (group["a"], group["f"]) == (last["a"] + 1, last["l"] + 1)
        last = group
    assert any(group["l"] > group["f"] for group in found["btcusdt@aggTrade"])


@pytest.mark.parametrize("channel", ["depth", "depth@100ms"])
def test_the_book_by_the_official_recipe(room, channel):
    name = f"btcusdt@{channel}"
    link = room.connect("binance", f"/stream?streams={name}/btcusdt@bookTicker")
    room.advance(2_050_000_000)
    snapshot = json.loads(room.rest("binance", "/api/v3/depth?symbol=BTCUSDT&limit=5000").body)
    room.advance(20 * S)
    found = by_stream(link)
    tops = {one["u"]: one for one in found["btcusdt@bookTicker"]}
    book = {side: {float(p): q for p, q in snapshot[side]} for side in ("bids", "asks")}
    at = snapshot["lastUpdateId"]
    applied = compared = 0
    for event in found[name]:
        if event["u"] <= at:
            continue
        assert event["U"] <= at + 1 if not applied else event["U"] == at + 1
        for side, key in (("bids", "b"), ("asks", "a")):
            for price, size in event[key]:
                if float(size) == 0:
                    book[side].pop(float(price), None)
                else:
                    book[side][float(price)] = size
        at = event["u"]
        applied += 1
        bid, ask_ = max(book["bids"]), min(book["asks"])
        assert bid < ask_
        top = tops.get(max((number for number in tops if number <= at), default=-1))
        if top is not None:
            compared += 1
            assert (float(top["b"]), top["B"]) == (bid, book["bids"][bid])
            assert (float(top["a"]), top["A"]) == (ask_, book["asks"][ask_])
    assert applied >= 18
    assert compared >= 15
    market = room.simulator.world.market("binance", "BTC/USD")
    truth = market.history.at(at)
    assert {round(price * 100) for price in book["bids"]} == set(truth.bids)
    assert {round(price * 100) for price in book["asks"]} == set(truth.asks)


def test_partial_depth_is_the_top_of_the_book(room):
    link = room.connect("binance", "/stream?streams=btcusdt@depth5@100ms/btcusdt@depth20")
    room.advance(5 * S)
    found = by_stream(link)
    assert len(found["btcusdt@depth5@100ms"]) > 20
    assert len(found["btcusdt@depth20"]) == 5
    for one in found["btcusdt@depth5@100ms"]:
        assert list(one) == ["lastUpdateId", "bids", "asks"]
        assert len(one["bids"]) == len(one["asks"]) == 5


def test_tickers_agree_with_trades(room):
    names = ["trade", "ticker", "miniTicker", "ticker_1h", "ticker_4h", "ticker_1d", "avgPrice"]
    link = room.connect(
        "binance", "/stream?streams=" + "/".join(f"btcusdt@{name}" for name in names)
    )
    room.advance(65 * S)
    found = by_stream(link)
    trades = found["btcusdt@trade"]
    tickers = found["btcusdt@ticker"]
    assert len(tickers) == 65
    for ticker in tickers:
        assert ticker["n"] == ticker["L"] - ticker["F"] + 1
        before = [one for one in trades if one["T"] <= ticker["E"]]
        if before:
            assert ticker["L"] == before[-1]["t"]
            assert ticker["c"] == before[-1]["p"]
        assert float(ticker["l"]) <= float(ticker["w"]) <= float(ticker["h"])
        assert float(ticker["b"]) < float(ticker["a"])
    mini = found["btcusdt@miniTicker"][-1]
    assert {mini[key] for key in "cohlvq"} == {tickers[-1][key] for key in "cohlvq"}
    volume = sum(round(float(one["q"]) * 1e5) for one in trades if one["t"] > tickers[0]["L"])
    hour = found["btcusdt@ticker_1h"]
    assert hour[0]["e"] == "1hTicker"
    assert not {"x", "Q", "b", "B", "a", "A"} & hour[0].keys()
    assert round((float(hour[50]["v"]) - float(hour[0]["v"])) * 1e5) <= volume
    assert found["btcusdt@avgPrice"][0]["i"] == "5m"


def test_all_market_streams_tell_what_changed(room):
    link = room.connect("binance", "/stream?streams=!miniTicker@arr/!ticker_1h@arr")
    room.advance(3 * S)
    found = by_stream(link)
    assert {one["s"] for one in found["!miniTicker@arr"][0]} == {"BTCUSDT", "ETHUSDT"}
    assert found["!ticker_1h@arr"][0][0]["e"] == "1hTicker"
    room.simulator.pause()
    room.advance(S)
    link.receive()
    room.advance(3 * S)
    assert link.receive() == []


def test_klines_are_sums_of_trades_and_close_once(room):
    link = room.connect(
        "binance", "/stream?streams=btcusdt@trade/btcusdt@kline_1m/btcusdt@kline_1s"
    )
    room.advance(150 * S)
    found = by_stream(link)
    closed = [one["k"] for one in found["btcusdt@kline_1m"] if one["k"]["x"]]
    assert [one["t"] % 60_000 for one in closed] == [0, 0]
    for bar in (*closed, *[one["k"] for one in found["btcusdt@kline_1s"] if one["k"]["x"]]):
        parts = [one for one in found["btcusdt@trade"] if bar["t"] <= one["T"] <= bar["T"]]
        if not parts or parts[0]["t"] != bar["f"]:
            continue  # the first bar began before the subscription
        assert (bar["f"], bar["L"], bar["n"]) == (parts[0]["t"], parts[-1]["t"], len(parts))
        assert (bar["o"], bar["c"]) == (parts[0]["p"], parts[-1]["p"])
        assert float(bar["h"]) == max(float(one["p"]) for one in parts)
        assert float(bar["l"]) == min(float(one["p"]) for one in parts)
        assert round(float(bar["v"]) * 1e5) == sum(round(float(one["q"]) * 1e5) for one in parts)
        bought = sum(round(float(one["q"]) * 1e5) for one in parts if not one["m"])
        assert round(float(bar["V"]) * 1e5) == bought
    assert len({one["t"] for one in closed}) == len(closed)


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_interval_is_served(room, interval):
    link = room.connect("binance", f"/ws/btcusdt@kline_{interval}")
    room.advance(4 * S)
    bar = json.loads(link.receive()[0])["k"]
    assert bar["i"] == interval
    assert bar["T"] + 1 == interval_next(interval, bar["t"] * 1_000_000) // 1_000_000
    rows = json.loads(
        room.rest("binance", f"/api/v3/klines?symbol=BTCUSDT&interval={interval}&limit=3").body
    )
    assert rows[-1][0] == bar["t"] or interval == "1s"
    assert all(len(row) == 12 for row in rows)


def test_interval_borders():
    moment = 1_782_021_600_123_000_000  # Sunday 2026-06-21 06:00 UTC
    day = DAY_NS
    assert interval_floor("1w", moment) == 1_781_481_600 * S  # Monday 2026-06-15
    assert interval_floor("1M", moment) == 1_780_272_000 * S  # 2026-06-01
    assert interval_next("1M", interval_floor("1M", moment)) == 1_782_864_000 * S
    assert interval_floor("1d", moment, 8 * 3_600) == interval_floor("1d", moment) - 8 * 3_600 * S
    assert interval_floor("3d", moment) % (3 * day) == 0


def test_names_are_parsed():
    assert parse_stream("btcusdt@kline_1d@+08:00").offset_s == 28_800
    assert parse_stream("btcusdt@depth20@100ms").levels == 20
    assert parse_stream("btcusdt@depth7").kind == "silent"
    assert parse_stream("").kind == "silent"


def test_server_shutdown_is_announced(room):
    combined = room.connect("binance", "/stream?streams=btcusdt@trade")
    raw = room.connect("binance", "/ws/btcusdt@trade")
    exchange = room.simulator.exchanges["binance"]
    for session in exchange.sessions.values():
        exchange.announce_shutdown(session, room.now_ns)
    assert json.loads(combined.receive()[-1]) == {
        "stream": "!serverShutdown",
        "data": {"e": "serverShutdown", "E": room.now_ns // 1_000_000},
    }
    assert json.loads(raw.receive()[-1])["e"] == "serverShutdown"


# ── REST ──────────────────────────────────────────────────────────────────────


def get(room, path, headers=None):
    response = room.rest("binance", f"/api/v3/{path}", headers)
    return response.status, json.loads(response.body)


def test_weights_are_counted_and_enforced(room):
    weights = {
        "ping": 1,
        "time": 1,
        "exchangeInfo": 20,
        "depth?symbol=BTCUSDT": 5,
        "depth?symbol=BTCUSDT&limit=500": 25,
        "depth?symbol=BTCUSDT&limit=1000": 50,
        "depth?symbol=BTCUSDT&limit=9999": 250,
        "trades?symbol=BTCUSDT": 25,
        "historicalTrades?symbol=BTCUSDT": 25,
        "aggTrades?symbol=BTCUSDT": 4,
        "klines?symbol=BTCUSDT&interval=1m": 2,
        "avgPrice?symbol=BTCUSDT": 2,
        "ticker/24hr?symbol=BTCUSDT": 2,
        "ticker/24hr": 80,
        "ticker/bookTicker?symbol=BTCUSDT": 2,
        "ticker/bookTicker": 4,
    }
    used = 0
    for path, weight in weights.items():
        response = room.rest("binance", f"/api/v3/{path}")
        used += weight
        assert response.status == 200, path
        assert response.headers["X-MBX-USED-WEIGHT-1M"] == str(used), path
    statuses = []
    for _ in range(60):
        response = room.rest("binance", "/api/v3/depth?symbol=BTCUSDT&limit=5000")
        statuses.append(response.status)
        if response.status != 200:
            assert int(response.headers["Retry-After"]) > 0
            assert json.loads(response.body)["code"] == -1003
    assert statuses.index(429) == (6_000 - used) // 250
    assert statuses[-1] == 418
    room.advance(61 * S)
    assert get(room, "ping")[0] == 418
    room.advance(61 * S)
    assert get(room, "ping")[0] == 200


def test_rest_pages_continue_the_stream(room):
    link = room.connect("binance", "/stream?streams=btcusdt@trade/btcusdt@aggTrade")
    room.advance(10 * S)
    found = by_stream(link)
    stream = found["btcusdt@trade"]
    first = stream[5]["t"]
    _, page = get(room, f"historicalTrades?symbol=BTCUSDT&fromId={first}&limit=10")
    assert [row["id"] for row in page] == list(range(first, first + 10))
    for row, event in zip(page, stream[5:15], strict=True):
        assert (row["price"], row["qty"]) == (event["p"], event["q"])
        assert (row["time"], row["isBuyerMaker"]) == (event["T"], event["m"])
    _, newest = get(room, "trades?symbol=BTCUSDT&limit=3")
    assert newest[-1]["id"] == stream[-1]["t"]
    groups = found["btcusdt@aggTrade"]
    _, page = get(room, f"aggTrades?symbol=BTCUSDT&fromId={groups[2]['a']}&limit=4")
    assert [row["a"] for row in page] == [one["a"] for one in groups[2:6]]
    start = groups[3]["T"]
    _, page = get(room, f"aggTrades?symbol=BTCUSDT&startTime={start}&endTime={start + 500}")
    assert all(start <= row["T"] <= start + 500 for row in page)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("depth?symbol=NOPE", 400, -1121),
        ("depth", 400, -1102),
        ("depth?symbol=BTCUSDT&limit=x", 400, -1100),
        ("depth?symbol=BTCUSDT&limit=0", 400, -1130),
        ("klines?symbol=BTCUSDT&interval=7m", 400, -1120),
        ("ticker/24hr?symbols=broken", 400, -1100),
        ('ticker/24hr?symbols=["NOPE"]', 400, -1121),
        ("nothing", 404, -1000),
    ],
)
def test_rest_errors(room, path, status, code):
    found = get(room, path)
    assert (found[0], found[1]["code"]) == (status, code)


def test_rest_details(room):
    room.advance(S)
    assert get(room, "time", {"x-mbx-time-unit": "MICROSECOND"})[1] == {
        "serverTime": room.now_ns // 1_000
    }
    _, info = get(room, "exchangeInfo")
    assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert info["symbols"][0]["filters"][0]["tickSize"] == "0.01000000"
    _, info = get(room, 'exchangeInfo?symbols=["ETHUSDT"]')
    assert [one["symbol"] for one in info["symbols"]] == ["ETHUSDT"]
    _, rows = get(room, 'ticker/24hr?symbols=["ETHUSDT","BTCUSDT"]')
    assert [row["symbol"] for row in rows] == ["ETHUSDT", "BTCUSDT"]
    _, prices = get(room, "ticker/price")
    assert float(prices[0]["price"]) > 1_000
    request = Request("POST", "/api/v3/ping", "", {})
    assert room.simulator.exchanges["binance"].handle(request, "x", room.now_ns).status == 405
