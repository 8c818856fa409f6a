"""Kraken v2, simulated: acknowledgements, channels, checksums, REST."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfeed.simulator import FaultRule
from crossfeed.simulator.memory import MemorySimulator, RefusedHandshake
from crossfeed.simulator.venues.kraken import wire
from crossfeed.simulator.venues.kraken.profile import DEPTHS, INTERVALS, rest_names

S = 1_000_000_000


@pytest.fixture
def room():
    return MemorySimulator(venues=("kraken",), rate_per_s=100.0, seed=3)


def connect(room):
    link = room.connect("kraken", "/v2")
    link.receive()
    return link


def ask(link, method="subscribe", req_id=None, **params):
    message = {"method": method, "params": params}
    if req_id is not None:
        message["req_id"] = req_id
    link.send(json.dumps(message).encode())
    return [json.loads(raw) for raw in link.receive()]


def test_the_greeting(room):
    link = room.connect("kraken", "/v2")
    (status,) = [json.loads(raw) for raw in link.receive()]
    (data,) = status["data"]
    assert (status["channel"], status["type"]) == ("status", "update")
    assert data["system"] == "online"
    assert data["connection_id"] > 1 << 53
    with pytest.raises(RefusedHandshake):
        room.connect("kraken", "/")


def test_one_acknowledgement_per_symbol(room):
    link = connect(room)
    found = ask(link, req_id=7, channel="book", symbol=["BTC/USD", "NO/NO", "ETH/USD"], depth=25)
    acks = [one for one in found if "method" in one]
    assert [one["success"] for one in acks] == [True, False, True]
    assert all(one["req_id"] == 7 for one in acks)
    assert acks[0]["result"] == {
        "channel": "book",
        "depth": 25,
        "snapshot": True,
        "symbol": "BTC/USD",
    }
    assert acks[1]["error"] == "Currency pair not supported NO/NO"
    assert acks[1]["symbol"] == "NO/NO"
    assert [one["type"] for one in found if one.get("channel") == "book"] == ["snapshot"] * 2


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": 11}, "depth not supported"),
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": 10.0}, "depth not supported"),
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": True}, "depth not supported"),
        ({"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2}, "interval not supported"),
        ({"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "x"}, "trigger"),
        ({"channel": "nothing", "symbol": ["BTC/USD"]}, "Unknown channel"),
        ({"channel": "trade"}, "Malformed request"),
        ({}, "Malformed request"),
    ],
)
def test_refusals(room, params, error):
    (answer,) = ask(connect(room), **params)
    assert answer["success"] is False
    assert error in answer["error"]


def test_subscribing_twice_is_refused(room):
    link = connect(room)
    ask(link, channel="book", symbol=["BTC/USD"])
    assert ask(link, channel="book", symbol=["BTC/USD"])[0]["error"] == "Already subscribed"
    (answer,) = ask(link, "unsubscribe", channel="book", symbol=["BTC/USD"], depth=25)
    assert answer["error"] == "Subscription Not Found"
    (answer,) = ask(link, "unsubscribe", channel="book", symbol=["BTC/USD"])
    assert answer["success"]
    assert ask(link, channel="book", symbol=["BTC/USD"])[0]["success"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=30)
    | st.fixed_dictionaries(
        {"method": st.sampled_from(["subscribe", "unsubscribe", "ping", "x", 1, None])},
        optional={
            "params": st.dictionaries(
                st.sampled_from(["channel", "symbol", "depth", "interval", "snapshot"]),
                st.sampled_from(
                    ["book", "trade", "ohlc", "instrument", ["BTC/USD"], [1], [], 10, 1.5, None, {}]
                ),
                max_size=4,
            )
            | st.integers(),
            "req_id": st.integers() | st.text(max_size=3),
        },
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_message_gets_an_answer(room, payload):
    room.advance(5 * S)
    link = connect(room)
    link.send(payload)
    assert link.receive()
    link.lose()


def test_ping_and_unknown_methods(room):
    link = connect(room)
    (pong,) = ask(link, "ping", req_id=101)
    assert list(pong) == ["method", "time_in", "time_out", "req_id"]
    (answer,) = ask(link, "add_order")
    assert answer["error"] == "Unsupported event"


def test_heartbeats_fill_the_silence(room):
    link = connect(room)
    room.advance(3 * S)
    assert link.receive() == []
    ask(link, channel="trade", symbol=["BTC/USD"])
    room.simulator.pause()
    room.advance(4 * S + 1)
    beats = link.receive()
    assert beats == [wire.HEARTBEAT] * len(beats)
    assert len(beats) in {3, 4}
    room.simulator.resume()
    room.advance(3 * S)
    assert wire.HEARTBEAT not in link.receive()


def test_too_many_messages(room):
    link = connect(room)
    for _ in range(60):
        ask(link, "ping")
    link.send(b'{"method":"ping"}')
    assert link.receive() == [b'{"Error":"Exceeded msg rate"}']
    assert link.end is None


class Book:
    """A client's book: texts kept, cut to the depth, checked."""

    def __init__(self, depth):
        self.depth = depth
        self.sides = ({}, {})

    def take(self, raw):
        message = json.loads(raw, parse_float=str, parse_int=str)
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.sides = ({}, {})
        for side, name, is_bid in zip(self.sides, ("bids", "asks"), (True, False), strict=True):
            for level in data[name]:
                price = float(level["price"])
                if float(level["qty"]) == 0:
                    side.pop(price, None)
                else:
                    side[price] = (level["price"], level["qty"])
            for price in sorted(side, reverse=is_bid)[self.depth :]:
                del side[price]
        text = "".join(
            part.replace(".", "").lstrip("0")
            for side, is_bid in ((self.sides[1], False), (self.sides[0], True))
            for price in sorted(side, reverse=is_bid)[:10]
            for part in side[price]
        )
        return zlib.crc32(text.encode()) == int(data["checksum"])


@pytest.mark.parametrize("depth", DEPTHS)
def test_checksums_come_out_right(room, depth):
    link = connect(room)
    link.send(
        json.dumps(
            {
                "method": "subscribe",
                "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": depth},
            }
        ).encode()
    )
    room.advance(20 * S)
    book = Book(depth)
    results = [book.take(raw) for raw in link.receive() if b'"channel":"book","type"' in raw]
    assert len(results) > 200
    assert all(results)
    market = room.simulator.world.market("kraken", "BTC/USD")
    bids, asks = market.book.depth(depth)
    assert sorted(book.sides[0], reverse=True) == [price / 10 for price, _ in bids]
    assert sorted(book.sides[1]) == [price / 10 for price, _ in asks]


def test_the_checksum_of_the_guide():
    asks = """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911
    45290.2/0.15890660 45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000
    45297.5/0.09945542 45299.5/0.18772827"""
    bids = """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000
    45280.3/1.54592586 45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000
    45277.3/1.54602737 45276.6/0.15445238"""

    def levels(text):
        pairs = (one.split("/") for one in text.split())
        return [(int(p.replace(".", "")), int(q.replace(".", ""))) for p, q in pairs]

    assert wire.checksum(levels(bids), levels(asks)) == 3310070434


def test_trades_and_tickers(room):
    link = connect(room)
    ask(link, channel="trade", symbol=["BTC/USD"], snapshot=True)
    ask(link, channel="ticker", symbol=["BTC/USD"], event_trigger="bbo", snapshot=False)
    room.advance(10 * S)
    trades, tickers = [], []
    for raw in link.receive():
        message = json.loads(raw)
        rows = {"trade": trades, "ticker": tickers}[message["channel"]]
        rows.extend(message["data"])
    ids = [one["trade_id"] for one in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {one["ord_type"] for one in trades} == {"limit", "market"}
    assert tickers
    assert all(one["bid"] < one["ask"] for one in tickers)
    tops = [(one["bid"], one["bid_qty"], one["ask"], one["ask_qty"]) for one in tickers]
    assert all(one != two for one, two in pairwise(tops))


def test_the_trade_snapshot_has_50(room):
    (_, snapshot) = ask(connect(room), channel="trade", symbol=["BTC/USD"], snapshot=True)
    assert (snapshot["type"], len(snapshot["data"])) == ("snapshot", 50)


@pytest.mark.parametrize("interval", INTERVALS)
def test_candles(room, interval):
    link = connect(room)
    _, snapshot = ask(link, channel="ohlc", symbol=["BTC/USD"], interval=interval)
    room.advance(2 * S)
    updates = [json.loads(raw)["data"][0] for raw in link.receive()]
    assert updates[-1]["interval"] == interval
    assert updates[-1]["interval_begin"].endswith(".000000000Z")
    assert updates[-1]["interval_begin"] >= snapshot["data"][-1]["interval_begin"]
    assert updates[-1]["trades"] >= updates[0]["trades"]


def test_instruments(room):
    link = connect(room)
    ack, snapshot = ask(link, channel="instrument", req_id=3)
    assert ack["result"] == {"channel": "instrument", "snapshot": True}
    assert [one["symbol"] for one in snapshot["data"]["pairs"]] == ["BTC/USD", "ETH/USD"]
    assert snapshot["data"]["pairs"][0]["price_precision"] == 1
    assert ask(link, channel="instrument")[0]["error"] == "Already subscribed"
    assert ask(link, "unsubscribe", channel="instrument")[0]["success"]


def test_maintenance_is_told(room):
    link = connect(room)
    room.simulator.inject(FaultRule(kind="maintenance", at_s=(0.0,), duration_s=2.0))
    room.advance(1)
    assert json.loads(link.receive()[0])["data"][0]["system"] == "maintenance"
    room.advance(3 * S)
    assert json.loads(link.receive()[-1])["data"][0]["system"] == "online"


# ── REST ──────────────────────────────────────────────────────────────────────


def get(room, path):
    room.advance(2 * S)
    return json.loads(room.rest("kraken", f"/0/public/{path}").body)


@pytest.mark.parametrize("pair", ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD"])
def test_rest_names(room, pair):
    body = get(room, f"Depth?pair={pair}&count=2")
    (key,) = body["result"]
    assert key == "XXBTZUSD"
    assert len(body["result"][key]["asks"]) == 2
    assert body["error"] == []


def test_names_of_pairs():
    assert rest_names("SOL", "USD") == ("SOLUSD", "SOLUSD", "SOL/USD", "SOL", "ZUSD")
    assert rest_names("DOGE", "USD")[:3] == ("XDGUSD", "XDGUSD", "XDG/USD")


def test_rest_trades_page_by_time(room):
    room.advance(10 * S)
    first = get(room, "Trades?pair=XBTUSD&count=20")["result"]
    rows = first["XXBTZUSD"]
    ids = [row[6] for row in rows]
    assert ids == list(range(ids[0], ids[0] + 20))
    room.advance(2 * S)
    second = get(room, f"Trades?pair=XBTUSD&since={first['last']}")["result"]["XXBTZUSD"]
    assert second[0][6] == ids[-1] + 1
    assert all(isinstance(row[2], float) for row in rows)


def test_rest_rest(room):
    pairs = get(room, "AssetPairs")["result"]
    assert pairs["XXBTZUSD"]["pair_decimals"] == 1
    assert list(get(room, "AssetPairs?pair=XBTUSD,ETHUSD")["result"]) == ["XXBTZUSD", "XETHZUSD"]
    assert get(room, "Assets")["result"]["XXBT"]["altname"] == "XBT"
    assert get(room, "SystemStatus")["result"]["status"] == "online"
    assert get(room, "Time")["result"]["unixtime"] == room.now_ns // S
    rows = get(room, "OHLC?pair=XBTUSD&interval=60")["result"]["XXBTZUSD"]
    assert rows[-1][0] - rows[-2][0] == 3_600
    ticker = get(room, "Ticker?pair=XBTUSD")["result"]["XXBTZUSD"]
    assert float(ticker["b"][0]) < float(ticker["a"][0])


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("Depth?pair=NONO", "EQuery:Unknown asset pair"),
        ("Ticker?pair=XBTUSD,NONO", "EQuery:Unknown asset pair"),
        ("OHLC?pair=XBTUSD&interval=2", "EGeneral:Invalid arguments"),
        ("Depth?pair=XBTUSD&count=x", "EGeneral:Invalid arguments"),
        ("Nothing", "EGeneral:Unknown method"),
    ],
)
def test_rest_errors(room, path, error):
    assert get(room, path) == {"error": [error]}


def test_rest_is_limited(room):
    bodies = [room.rest("kraken", "/0/public/Time").body for _ in range(16)]
    assert b"EGeneral:Too many requests" in bodies[15]
    assert b"result" in bodies[14]
