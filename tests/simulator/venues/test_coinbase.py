"""Coinbase Exchange, simulated: subscriptions, channels, REST."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossfeed.simulator.memory import MemorySimulator, RefusedHandshake
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET

S = 1_000_000_000
AUTH_REASON = (
    "level2, level3, and full channels now require authentication. "
    "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
)


@pytest.fixture
def room():
    return MemorySimulator(venues=("coinbase",), rate_per_s=100.0, seed=3)


def subscribe(link, channels, products=("BTC-USD",), **more):
    message = {"type": "subscribe", "product_ids": list(products), "channels": channels, **more}
    link.send(json.dumps(message).encode())


def messages(link):
    return [json.loads(raw) for raw in link.receive()]


def signed(timestamp="1782000000", secret=TEST_SECRET):
    text = f"{timestamp}GET/users/self/verify".encode()
    digest = hmac.new(base64.b64decode(secret), text, hashlib.sha256).digest()
    return {
        "signature": base64.b64encode(digest).decode(),
        "key": TEST_KEY,
        "passphrase": TEST_PASSPHRASE,
        "timestamp": timestamp,
    }


def test_the_reply_is_the_whole_list_under_other_names(room):
    link = room.connect("coinbase")
    subscribe(link, ["level2_batch", {"name": "ticker_batch", "product_ids": ["ETH-USD"]}])
    first = messages(link)
    assert first[0] == {
        "type": "subscriptions",
        "channels": [
            {"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None},
            {"name": "ticker_1000", "product_ids": ["BTC-USD", "ETH-USD"], "account_ids": None},
        ],
    }
    link.send(b'{"type":"unsubscribe","channels":["ticker_1000"]}')
    assert [one["name"] for one in messages(link)[-1]["channels"]] == ["level2_50"]
    link.send(b'{"type":"unsubscribe","channels":["level2_batch"],"product_ids":["BTC-USD"]}')
    assert messages(link) == [{"type": "subscriptions", "channels": []}]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"channels": ["ticker"], "product_ids": ["FOO-BAR"]}, "FOO-BAR is not a valid product"),
        ({"channels": ["match"], "product_ids": ["BTC-USD"]}, "match is not a valid channel"),
        (
            {"channels": ["full"], "product_ids": ["BTC-USD"]},
            AUTH_REASON,
        ),
        ({"channels": ["ticker"]}, "ticker requires at least one product ID"),
    ],
)
def test_a_refusal_is_followed_by_what_remains(room, request_, reason):
    link = room.connect("coinbase")
    link.send(json.dumps({"type": "subscribe", **request_}).encode())
    assert messages(link) == [
        {"type": "error", "message": "Failed to subscribe", "reason": reason},
        {"type": "subscriptions", "channels": []},
    ]


def test_one_bad_product_refuses_the_whole_message(room):
    link = room.connect("coinbase")
    subscribe(link, ["heartbeat"])
    link.receive()
    subscribe(link, ["ticker"], ["BTC-USD", "FOO-BAR"])
    error, remains = messages(link)
    assert error["reason"] == "FOO-BAR is not a valid product"
    assert [one["name"] for one in remains["channels"]] == ["heartbeat"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=30)
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["subscribe", "unsubscribe", 1, []])},
        optional={
            "channels": st.lists(
                st.sampled_from(["ticker", "status", "x", 1, None, {"name": 1}, {"name": "full"}]),
                max_size=2,
            )
            | st.integers(),
            "product_ids": st.lists(st.sampled_from(["BTC-USD", 1, None]), max_size=2)
            | st.text(max_size=2),
            "signature": st.text(max_size=4),
        },
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_message_gets_an_answer(room, payload):
    room.advance(S)
    link = room.connect("coinbase")
    link.send(payload)
    assert {one["type"] for one in messages(link)} & {"error", "subscriptions"}
    link.lose()


def test_a_subscription_is_due_in_5_s(room):
    silent, speaking = room.connect("coinbase"), room.connect("coinbase")
    subscribe(speaking, ["heartbeat"])
    room.advance(6 * S)
    assert silent.end is not None
    assert speaking.end is None
    assert room.ledger.violations["coinbase", "subscribe deadline"] == 1


def test_connects_are_limited(room):
    for _ in range(20):
        room.connect("coinbase").lose()
    with pytest.raises(RefusedHandshake) as caught:
        room.connect("coinbase")
    assert caught.value.response.status == 429


def test_matches_begin_with_the_last_one_and_show_the_makers_side(room):
    link = room.connect("coinbase")
    subscribe(link, ["matches", "ticker", "heartbeat"])
    room.advance(10 * S)
    found = messages(link)
    matches = [one for one in found if one["type"] in {"match", "last_match"}]
    assert [one["type"] for one in matches[:2]] == ["last_match", "match"]
    ids = [one["trade_id"] for one in matches]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    sides = {one["trade_id"]: one["side"] for one in matches}
    tickers = [one for one in found if one["type"] == "ticker"]
    assert len(tickers) > 50
    for ticker in tickers:
        assert ticker["side"] != sides[ticker["trade_id"]]
    for beat in (one for one in found if one["type"] == "heartbeat"):
        earlier = [one for one in matches if one["time"] <= beat["time"]]
        assert beat["last_trade_id"] == earlier[-1]["trade_id"]


def test_level2_batch_follows_the_book(room):
    link = room.connect("coinbase")
    subscribe(link, ["level2_batch"])
    room.advance(20 * S)
    late = room.connect("coinbase")
    subscribe(late, ["level2_batch"])
    room.advance(7 * S + 60_000_000)
    for one in (link, late):
        found = messages(one)[1:] if one is link else messages(one)
        found = [item for item in found if item["type"] in {"snapshot", "l2update"}]
        snapshot, *updates = found
        assert snapshot["type"] == "snapshot"
        sides = {
            "buy": dict(snapshot["bids"]),
            "sell": dict(snapshot["asks"]),
        }
        for update in updates:
            assert list(update) == ["type", "product_id", "changes", "time"]
            for side, price, size in update["changes"]:
                if float(size) == 0:
                    sides[side].pop(price, None)
                else:
                    sides[side][price] = size
        when = updates[-1]["time"]
        market = room.simulator.world.market("coinbase", "BTC/USD")
        state = market.history.at_time(_ns(when))
        assert {round(float(price) * 100) for price in sides["buy"]} == set(state.bids)
        assert {round(float(price) * 100): round(float(size) * 1e8) for price, size in
                sides["sell"].items()} == state.asks  # fmt: skip


def _ns(text):
    moment = dt.datetime.fromisoformat(text)
    return int(moment.timestamp()) * S + moment.microsecond * 1_000


def test_signed_channels(room):
    link = room.connect("coinbase")
    subscribe(link, ["full", "level2", "level3"], **signed())
    room.advance(5 * S)
    found = messages(link)
    assert {one["type"] for one in found if isinstance(one, dict)} >= {
        "subscriptions",
        "snapshot",
        "level3",
        "l2update",
        "received",
        "open",
        "done",
        "match",
    }
    full = [
        one["sequence"]
        for one in found
        if isinstance(one, dict) and one["type"] in {"received", "open", "done", "match", "change"}
    ]
    assert full == list(range(full[0], full[0] + len(full)))
    compact = [int(one[2]) for one in found if isinstance(one, list)]
    assert compact == full


@pytest.mark.parametrize("change", ["signature", "key", "passphrase"])
def test_a_wrong_signature_is_refused(room, change):
    link = room.connect("coinbase")
    subscribe(link, ["full"], **{**signed(), change: "bm9uc2Vuc2U="})
    assert messages(link)[0]["message"] == "Authentication Failed"


def test_full_rebuilds_the_book_from_rest_level_3(room):
    link = room.connect("coinbase")
    subscribe(link, ["full"], **signed())
    room.advance(2 * S)
    early = [one for one in messages(link) if "sequence" in one]
    book = json.loads(room.rest("coinbase", "/products/BTC-USD/book?level=3").body)
    room.advance(3 * S)
    sizes = {}
    for side in ("bids", "asks"):
        for _, size, order in book[side]:
            sizes[order] = float(size)
    events = [one for one in (*early, *messages(link)) if one.get("sequence", 0) > book["sequence"]]
    assert events
    for event in events:
        if event["type"] == "open":
            sizes[event["order_id"]] = float(event["remaining_size"])
        elif event["type"] == "match":
            sizes[event["maker_order_id"]] -= float(event["size"])
        elif event["type"] == "change":
            sizes[event["order_id"]] = float(event["new_size"])
        elif event["type"] == "done":
            sizes.pop(event["order_id"], None)
    end = json.loads(room.rest("coinbase", "/products/BTC-USD/book?level=3").body)
    truth = {order: float(size) for side in ("bids", "asks") for _, size, order in end[side]}
    assert sizes.keys() == truth.keys()
    assert all(sizes[order] == pytest.approx(truth[order]) for order in truth)


def test_status_lists_products_and_currencies(room):
    link = room.connect("coinbase")
    link.send(b'{"type":"subscribe","channels":[{"name":"status"}]}')
    room.advance(11 * S)
    found = [one for one in messages(link) if one["type"] == "status"]
    assert len(found) == 3
    assert [one["id"] for one in found[0]["products"]] == ["BTC-USD", "ETH-USD"]


def test_subscribing_anew_does_not_double_the_pushes(room):
    link = room.connect("coinbase")
    for _ in range(3):
        link.send(b'{"type":"subscribe","channels":[{"name":"status"}]}')
        subscribe(link, ["heartbeat"])
        link.send(b'{"type":"unsubscribe","channels":["status","heartbeat"]}')
    link.send(b'{"type":"subscribe","channels":[{"name":"status"}]}')
    subscribe(link, ["heartbeat"])
    link.receive()
    room.advance(10 * S)
    kinds = [one["type"] for one in messages(link)]
    assert (kinds.count("status"), kinds.count("heartbeat")) == (2, 10)


# ── REST ──────────────────────────────────────────────────────────────────────


def get(room, path):
    room.advance(200_000_000)
    response = room.rest("coinbase", path)
    return response, json.loads(response.body)


def test_trades_walk_back_with_after(room):
    room.advance(30 * S)
    market = room.simulator.world.market("coinbase", "BTC/USD")
    response, page = get(room, "/products/BTC-USD/trades?limit=10")
    newest = market.ids.trade
    ids = [row["trade_id"] for row in page]
    assert ids == list(range(newest, newest - 10, -1))
    assert response.headers == {"CB-BEFORE": str(newest), "CB-AFTER": str(newest - 9)}
    _, older = get(room, f"/products/BTC-USD/trades?limit=5&after={ids[-1]}")
    assert [row["trade_id"] for row in older] == list(range(ids[-1] - 1, ids[-1] - 6, -1))
    market_now = market.ids.trade
    _, quirk = get(room, f"/products/BTC-USD/trades?limit=5&before={ids[-1]}")
    assert quirk[0]["trade_id"] >= market_now
    _, few = get(room, f"/products/BTC-USD/trades?before={market.ids.trade - 2}")
    assert len(few) >= 2
    _, none = get(room, "/products/BTC-USD/trades?after=5")
    assert none == []


def test_books_tickers_candles(room):
    room.advance(10 * S)
    _, one = get(room, "/products/BTC-USD/book")
    _, two = get(room, "/products/BTC-USD/book?level=2")
    assert len(one["bids"]) == len(one["asks"]) == 1
    assert len(two["bids"]) > 20
    assert all(len(row) == 3 and isinstance(row[2], int) for row in two["bids"])
    _, ticker = get(room, "/products/BTC-USD/ticker")
    assert float(ticker["bid"]) < float(ticker["ask"])
    _, rows = get(room, "/products/BTC-USD/candles?granularity=300")
    assert rows[0][0] - rows[1][0] == 300
    assert all(row[1] <= row[3] <= row[2] and row[1] <= row[4] <= row[2] for row in rows)
    _, few = get(
        room, f"/products/BTC-USD/candles?granularity=60&start={rows[1][0]}&end={rows[0][0]}"
    )
    assert len(few) == 6
    _, iso = get(
        room,
        "/products/BTC-USD/candles?granularity=60&start=2026-06-20T23:50:00Z&end=2026-06-20T23:55:00",
    )
    assert len(iso) == 6
    _, stats = get(room, "/products/BTC-USD/stats")
    assert float(stats["low"]) <= float(stats["last"]) <= float(stats["high"])
    assert set(get(room, "/products/stats")[1]) == {"BTC-USD", "ETH-USD"}
    assert get(room, "/products/ETH-USD")[1]["quote_increment"] == "0.01"
    assert get(room, "/currencies")[1][0]["id"] == "BTC"
    assert get(room, "/time")[1]["epoch"] == room.now_ns // 1_000_000 / 1e3


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/products/NO-NO/book", 404),
        ("/nothing", 404),
        ("/products/BTC-USD/nothing", 404),
        ("/products/BTC-USD/book/more", 404),
        ("/products/BTC-USD/book?level=4", 400),
        ("/products/BTC-USD/trades?limit=0", 400),
        ("/products/BTC-USD/trades?after=x", 400),
        ("/products/BTC-USD/candles?granularity=61", 400),
        ("/products/BTC-USD/candles?start=1&end=9999999", 400),
        ("/products/BTC-USD/candles?start=yesterday", 400),
    ],
)
def test_rest_errors(room, path, status):
    response, body = get(room, path)
    assert response.status == status
    assert body["message"]


def test_rest_is_limited(room):
    statuses = [room.rest("coinbase", "/time").status for _ in range(16)]
    assert statuses == [200] * 15 + [429]
    assert room.ledger.violations["coinbase", "REST rate"] == 1
