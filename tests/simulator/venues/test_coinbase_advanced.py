"""Coinbase Advanced Trade, simulated: one counter per connection, the Exchange's books."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfeed.simulator.framing import Opcode
from crossfeed.simulator.memory import MemorySimulator
from crossfeed.simulator.outgoing import Close

S = 1_000_000_000
VENUE = "coinbase_advanced"


@pytest.fixture
def room():
    return MemorySimulator(venues=(VENUE, "coinbase"), rate_per_s=100.0, seed=3)


def subscribe(link, channel, products=("BTC-USD",), kind="subscribe"):
    message = {"type": kind, "channel": channel, "product_ids": list(products)}
    link.send(json.dumps(message).encode())


def messages(link):
    return [json.loads(raw) for raw in link.receive()]


def test_snapshots_precede_the_list(room):
    link = room.connect(VENUE)
    subscribe(link, "market_trades", ["BTC-USD", "ETH-USD"])
    found = messages(link)
    assert [one["channel"] for one in found] == ["market_trades", "market_trades", "subscriptions"]
    assert [one["sequence_num"] for one in found] == [0, 1, 2]
    assert found[2]["events"] == [{"subscriptions": {"market_trades": ["BTC-USD", "ETH-USD"]}}]
    subscribe(link, "heartbeats", [])
    assert messages(link)[-1]["events"][0]["subscriptions"]["heartbeats"] == ["heartbeats"]
    subscribe(link, "market_trades", ["ETH-USD"], "unsubscribe")
    assert messages(link)[-1]["events"][0]["subscriptions"]["market_trades"] == ["BTC-USD"]


def test_eight_messages_a_second_over_all_connections_of_an_address(room):
    links = [room.connect(VENUE) for _ in range(3)]
    for number in range(8):
        links[number % 2].send(b"x", Opcode.PING)
    assert [link.end for link in links] == [None, None, None]
    links[2].send(b"x", Opcode.PING)
    assert links[2].end == Close(1008, "rate limit exceeded")
    assert room.ledger.violations[VENUE, "message rate"] == 1


def test_one_counter_over_all_channels(room):
    link = room.connect(VENUE)
    for channel in ("ticker", "ticker_batch", "market_trades", "level2", "candles", "heartbeats"):
        subscribe(link, channel, ["BTC-USD", "ETH-USD"])
    room.advance(S)
    subscribe(link, "status", [])
    room.advance(11 * S)
    numbers = [one["sequence_num"] for one in messages(link)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 500


def test_trades_are_those_of_the_exchange(room):
    advanced, exchange = room.connect(VENUE), room.connect("coinbase")
    exchange.send(b'{"type":"subscribe","channels":["matches"],"product_ids":["BTC-USD"]}')
    subscribe(advanced, "market_trades")
    room.advance(10 * S)
    matches = {one["trade_id"]: one for one in messages(exchange) if one["type"] == "match"}
    seen = []
    for message in messages(advanced):
        for event in message["events"]:
            ids = [int(one["trade_id"]) for one in event.get("trades", ())]
            assert ids == sorted(ids, reverse=True)
            if event.get("type") == "update":
                seen.extend(reversed(event["trades"]))
    ids = [int(one["trade_id"]) for one in seen]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for one in seen:
        match = matches[int(one["trade_id"])]
        assert one["side"].lower() == match["side"]
        assert (one["price"], one["size"]) == (match["price"], match["size"])


def test_level2_follows_the_book(room):
    link = room.connect(VENUE)
    subscribe(link, "level2")
    room.advance(10 * S + 60_000_000)
    sides = {"bid": {}, "offer": {}}
    for message in messages(link):
        if message["channel"] != "l2_data":
            continue
        (event,) = message["events"]
        for level in event["updates"]:
            if level["new_quantity"] == "0":
                sides[level["side"]].pop(level["price_level"], None)
            else:
                sides[level["side"]][level["price_level"]] = level["new_quantity"]
    market = room.simulator.world.market("coinbase", "BTC/USD")
    state = market.history.at_time(room.now_ns // 50_000_000 * 50_000_000)
    assert {round(float(price) * 100) for price in sides["bid"]} == set(state.bids)
    assert {round(float(price) * 100) for price in sides["offer"]} == set(state.asks)


def test_usdc_is_an_alias(room):
    link = room.connect(VENUE)
    subscribe(link, "ticker", ["BTC-USDC"])
    assert messages(link)[0]["events"][0]["tickers"][0]["product_id"] == "BTC-USD"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (b"{", "unmarshal"),
        (b"[]", "type has to be"),
        (b'{"type":["x"]}', "type has to be"),
        (b'{"type":"subscribe","channel":"user"}', "authentication failure"),
        (b'{"type":"subscribe","channel":"matches"}', "channel not supported"),
        (b'{"type":"subscribe","channel":["x"]}', "channel not supported"),
        (b'{"type":"subscribe","channel":"ticker"}', "no product_ids"),
        (b'{"type":"subscribe","channel":"ticker","product_ids":["NO-NO"]}', "NO-NO"),
        (b'{"type":"subscribe","channel":"ticker","product_ids":[1]}', "must be a list"),
    ],
)
def test_errors_have_no_number(room, request_, text):
    link = room.connect(VENUE)
    link.send(request_)
    (error,) = messages(link)
    assert (list(error), error["type"]) == (["type", "message"], "error")
    assert text in error["message"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["subscribe", "unsubscribe", 1, None, {}]),
            "channel": st.sampled_from(["ticker", "status", "heartbeats", "x", 1, None, {}]),
            "product_ids": st.lists(st.sampled_from(["BTC-USD", 1, None, []]), max_size=2)
            | st.integers(),
        },
    )
)
def test_any_message_gets_an_answer(room, value):
    room.advance(S)
    link = room.connect(VENUE)
    link.send(json.dumps(value).encode())
    assert link.receive()
    link.lose()


def test_deadlines(room):
    silent, idle = room.connect(VENUE), room.connect(VENUE)
    subscribe(idle, "candles")
    room.simulator.pause()
    room.advance(6 * S)
    assert silent.end is not None
    assert idle.end is None
    room.advance(85 * S)
    assert idle.end is not None
    assert room.ledger.violations[VENUE, "idle connection"] == 1


def test_eight_messages_a_second(room):
    link = room.connect(VENUE)
    for _ in range(9):
        subscribe(link, "heartbeats", [])
    assert link.end is not None


def test_a_lost_frame_is_a_gap_of_the_connection():
    from crossfeed.simulator import FaultRule

    room = MemorySimulator(venues=(VENUE,), rate_per_s=100.0, seed=3)
    room.simulator.inject(FaultRule(kind="drop", every=7), FaultRule(kind="double", every=11))
    link = room.connect(VENUE)
    subscribe(link, "ticker")
    subscribe(link, "market_trades")
    room.advance(10 * S)
    numbers = [one["sequence_num"] for one in messages(link)]
    gaps = sum(1 for one, two in pairwise(numbers) if two > one + 1)
    doubles = sum(1 for one, two in pairwise(numbers) if two == one)
    (line,) = room.ledger.streams[VENUE, "sequence_num", "1"].lines
    assert (line.gap_count, line.duplicates) == (gaps, doubles)
    assert gaps > 10
    assert doubles > 5


# ── REST ──────────────────────────────────────────────────────────────────────


def get(room, path):
    room.advance(200_000_000)
    response = room.rest(VENUE, f"/api/v3/brokerage/{path}")
    return response.status, json.loads(response.body)


def test_rest(room):
    room.advance(5 * S)
    assert get(room, "time")[1]["epochMillis"] == str(room.now_ns // 1_000_000)
    _, listing = get(room, "market/products?product_type=SPOT")
    assert listing["num_products"] == 2
    assert listing["products"][0]["alias_to"] == ["BTC-USDC"]
    assert get(room, "market/products?product_type=FUTURE")[1]["products"] == []
    assert get(room, "market/products/BTC-USDC")[1]["product_id"] == "BTC-USD"
    _, book = get(room, "market/product_book?product_id=BTC-USD&limit=3")
    assert len(book["pricebook"]["bids"]) == 3
    _, ticker = get(room, "market/products/BTC-USD/ticker?limit=5")
    ids = [int(one["trade_id"]) for one in ticker["trades"]]
    assert ids == sorted(ids, reverse=True)
    _, candles = get(room, "market/products/BTC-USD/candles?granularity=FIVE_MINUTE")
    starts = [int(one["start"]) for one in candles["candles"]]
    assert starts[0] - starts[1] == 300
    assert len(starts) <= 350


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing", 404),
        ("market/products/NO-NO", 404),
        ("market/products/BTC-USD/nothing", 404),
        ("market/product_book?product_id=NO-NO", 404),
        ("market/products/BTC-USD/candles", 400),
        ("market/products/BTC-USD/candles?granularity=ONE_MINUTE&start=1&end=999999", 400),
        ("market/products/BTC-USD/ticker?limit=x", 400),
    ],
)
def test_rest_errors(room, path, status):
    found, body = get(room, path)
    assert found == status
    assert body["error"]


def test_rest_is_limited(room):
    statuses = [room.rest(VENUE, "/api/v3/brokerage/time").status for _ in range(16)]
    assert statuses[-1] == 429
