"""Our messages against real ones: the same keys in the same order, the same kinds of values.

The real ones lie beside the repository; without them these tests are skipped.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from crossfeed.simulator.memory import MemorySimulator

S = 1_000_000_000
CAPTURES = Path(__file__).resolve().parents[2].parent / "shared" / "captures"
pytestmark = pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="no captured messages beside the repository"
)


def form(text: str) -> str:
    """Return the form of a text: time, number with its decimals kept or trimmed, id, word."""
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{6}Z", text):
        return "time6"
    if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", text):
        return "time"
    if re.fullmatch(r"-?\d+\.\d{8}", text):
        return "number8"
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return "number"
    if re.fullmatch(r"[0-9a-f-]{36}", text):
        return "uuid"
    return "text"


def shape(value, *, has_forms=True):
    """Return the shape of a message: key order and kinds of values; lists by their first row."""
    if isinstance(value, dict):
        return {key: shape(one, has_forms=has_forms) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one, has_forms=has_forms) for one in value[:1]]
    if isinstance(value, str):
        return form(value) if has_forms else "text"
    return "bool" if isinstance(value, bool) else "number" if value is not None else None


def order(value) -> str:
    """Return a shape as text in which key order counts."""
    return json.dumps(value)


def real(path, pick):
    """Return the first real message that `pick` accepts, non-empty lists preferred."""
    if not (CAPTURES / path).exists():
        pytest.skip(f"{path} is not there")
    opener = gzip.open if path.endswith(".gz") else open
    with opener(CAPTURES / path, "rt", encoding="utf-8") as lines:
        for line in lines:
            start = line.find("{")
            if start < 0:
                continue
            try:
                message = json.loads(line[start:])
            except ValueError:
                continue
            if path.endswith(".cf3.jsonl.gz"):
                if message.get("t") != "recv":
                    continue
                message = json.loads(message["data"])
            elif path.endswith("singles.jsonl"):
                message = json.loads(message["text"])
            if pick(message):
                return message
    pytest.fail(f"no such message in {path}")
    return None


def ours(venue, path, requests, pick, seconds=70):
    """Return the first simulated message that `pick` accepts."""
    room = MemorySimulator((venue,), rate_per_s=60.0, seed=3)
    link = room.connect(venue, path)
    for request in requests:
        link.send(json.dumps(request).encode())
    for _ in range(seconds):
        for raw in link.receive():
            message = json.loads(raw)
            if pick(message):
                return message
        room.advance(S)
    pytest.fail("never sent")
    return None


HFT = "binance_spot/btcusdt_20240808.hft.gz"
BINANCE = [
    ("btcusdt@trade", HFT, lambda d: d.get("e") == "trade"),
    ("btcusdt@bookTicker", HFT, lambda d: "B" in d),
    (
        "btcusdt@depth@100ms",
        HFT,
        lambda d: d.get("e") == "depthUpdate" and d["b"] and d["a"],
    ),
    (
        "btcusdt@aggTrade",
        "binance_spot/singles.jsonl",
        lambda d: d.get("e") == "aggTrade" and d["p"].endswith("000000"),
    ),
    ("btcusdt@ticker", "binance_spot/singles.jsonl", lambda d: d.get("e") == "24hrTicker"),
    ("btcusdt@kline_1m", "binance_spot/singles.jsonl", lambda d: d.get("e") == "kline"),
    ("btcusdt@depth20", "binance_spot/singles.jsonl", lambda d: list(d)[:1] == ["lastUpdateId"]),
]


@pytest.mark.parametrize(("stream", "path", "pick"), BINANCE, ids=[row[0] for row in BINANCE])
def test_binance(stream, path, pick):
    def inside(message):
        data = message.get("data", message)
        return isinstance(data, dict) and pick(data)

    found = real(path, lambda m: "stream" in m and inside(m))
    found.pop("generated", None)  # an addition of the recorder
    made = ours("binance", f"/stream?streams={stream}", [], inside)
    assert order(shape(made)) == order(shape(found))


CB = "coinbase_exchange/btc_eth_20260707.ndjson.gz"
COINBASE = ["subscriptions", "snapshot", "l2update", "match", "last_match", "heartbeat"]


@pytest.mark.parametrize("kind", COINBASE)
def test_coinbase(kind):
    request = {
        "type": "subscribe",
        "product_ids": ["BTC-USD", "ETH-USD"],
        "channels": ["level2_batch", "matches", "heartbeat"],
    }

    def pick(message):
        # Trimmed texts lose their decimals by chance: take messages that show them.
        return message["type"] == kind and (
            kind not in {"match", "last_match"} or form(message["size"]) == "number8"
        )

    found = real(CB, lambda m: m.get("type") == kind)
    made = ours("coinbase", "/", [request], pick)
    is_trimmed = kind in {"match", "last_match"}
    assert order(shape(made, has_forms=not is_trimmed)) == order(
        shape(found, has_forms=not is_trimmed)
    )


def test_coinbase_ticker():
    found = real(
        "coinbase_exchange/singles.jsonl",
        lambda m: m.get("type") == "ticker" and "best_bid_size" in m,
    )
    request = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["ticker"]}
    made = ours("coinbase", "/", [request], lambda m: m["type"] == "ticker")
    assert order(shape(made, has_forms=False)) == order(shape(found, has_forms=False))
    assert form(made["best_bid_size"]) == form(found["best_bid_size"]) == "number8"
    assert form(made["time"]) == form(found["time"]) == "time6"


@pytest.mark.parametrize("kind", ["received", "open", "done"])
def test_coinbase_full_events_are_like_those_of_rest_documents(kind):
    found = real("coinbase_exchange/full_20170625.jsonl", lambda m: m.get("type") == kind)
    room = MemorySimulator(("coinbase",), rate_per_s=60.0, seed=3)
    board = room.simulator.exchanges["coinbase"].coinbase_board("BTC-USD")
    board.market.is_feed_wanted = True
    from crossfeed.simulator.venues.coinbase import wire

    made = None
    for _ in range(200):
        room.advance(S // 10)
        for event in board.market.feed:
            message = json.loads(wire.feed_event(board.numbers, "BTC-USD", event))
            if message["type"] == kind and "price" in message:
                made = message
    assert made is not None
    assert set(found) - {"client_oid", "user_id", "profile_id"} <= set(made)


KR = "kraken_v2/btc_eth_d10_20260707.ndjson.gz"
KRAKEN = [
    ("status", lambda m: m.get("channel") == "status"),
    ("ack", lambda m: m.get("method") == "subscribe" and m["result"]["channel"] == "book"),
    ("snapshot", lambda m: m.get("channel") == "book" and m["type"] == "snapshot"),
    (
        "update",
        lambda m: (
            m.get("channel") == "book"
            and m["type"] == "update"
            and m["data"][0]["bids"]
            and not m["data"][0]["asks"]
        ),
    ),
    ("trade", lambda m: m.get("channel") == "trade" and m["type"] == "update"),
    ("heartbeat", lambda m: m.get("channel") == "heartbeat"),
]


@pytest.mark.parametrize(("name", "pick"), KRAKEN, ids=[row[0] for row in KRAKEN])
def test_kraken(name, pick):
    requests = [
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}},
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}},
    ]
    if name == "heartbeat":
        requests = [{"method": "subscribe", "params": {"channel": "instrument", "snapshot": False}}]
    found = real(KR, pick)
    made = ours("kraken", "/v2", requests, pick)
    assert order(shape(made)) == order(shape(found))


@pytest.mark.parametrize("channel", ["ticker", "ohlc"])
def test_kraken_from_documents(channel):
    def pick(message):
        return message.get("channel") == channel

    found = real("kraken_v2/singles.jsonl", pick)
    request = {"method": "subscribe", "params": {"channel": channel, "symbol": ["BTC/USD"]}}
    made = ours("kraken", "/v2", [request], pick)
    assert set(found["data"][0]) <= set(made["data"][0])


def test_kraken_instruments():
    path = CAPTURES / "kraken_v2" / "instrument_snapshot.json.gz"
    if not path.exists():
        pytest.skip("no instrument snapshot")
    found = json.loads(gzip.decompress(path.read_bytes()))["data"]
    request = {"method": "subscribe", "params": {"channel": "instrument"}}
    made = ours("kraken", "/v2", [request], lambda m: m.get("channel") == "instrument")["data"]
    plain = next(one for one in found["pairs"] if not one["marginable"])
    assert set(plain) <= set(made["pairs"][0])
    assert set(found["assets"][0]) == set(made["assets"][0])


ADVANCED = "coinbase_advanced/btc_eth_20260809.cf3.jsonl.gz"
CHANNELS = {
    "market_trades": "market_trades",
    "ticker": "ticker",
    "l2_data": "level2",
    "candles": "candles",
    "heartbeats": "heartbeats",
    "subscriptions": "ticker",
}


@pytest.mark.parametrize(
    ("channel", "kind"),
    [
        *((name, kind) for name in list(CHANNELS)[:4] for kind in ("snapshot", "update")),
        ("heartbeats", None),
        ("subscriptions", None),
    ],
)
def test_coinbase_advanced(channel, kind):
    def pick(message):
        return message.get("channel") == channel and message["events"][0].get("type") == kind

    found = real(ADVANCED, pick)
    request = {"type": "subscribe", "channel": CHANNELS[channel], "product_ids": ["BTC-USD"]}
    made = ours("coinbase_advanced", "/", [request], pick)
    if channel == "subscriptions":
        made["events"][0]["subscriptions"] = found["events"][0]["subscriptions"]
    for message in (made, found):
        text = re.sub(r"\.\d+Z", ".0Z", json.dumps(message))
        message.update(json.loads(text))
    assert order(shape(made, has_forms=False)) == order(shape(found, has_forms=False))


def test_rest_documents():
    found = json.loads((CAPTURES / "kraken_v2/rest_assetpairs_20260707.json").read_text())
    room = MemorySimulator(seed=3)
    made = json.loads(room.rest("kraken", "/0/public/AssetPairs").body)
    assert order(list(found["result"]["XXBTZUSD"])[:12]) == order(
        list(made["result"]["XXBTZUSD"])[:12]
    )
    missing = set(found["result"]["XXBTZUSD"]) - set(made["result"]["XXBTZUSD"])
    assert missing <= {"long_position_limit", "short_position_limit"}
    found = json.loads((CAPTURES / "kraken_v2/rest_depth_btc_20260707.json").read_text())
    made = json.loads(room.rest("kraken", "/0/public/Depth?pair=XBTUSD").body)
    assert order(shape(made)) == order(shape(found))
    found = json.loads((CAPTURES / "binance_spot/rest_depth_btc_20260707.json").read_text())
    made = json.loads(room.rest("binance", "/api/v3/depth?symbol=BTCUSDT").body)
    assert order(shape(made)) == order(shape(found))
    path = CAPTURES / "coinbase_exchange/rest_book_btc_20260707.json.gz"
    found = json.loads(gzip.decompress(path.read_bytes()))
    made = json.loads(room.rest("coinbase", "/products/BTC-USD/book?level=2").body)
    assert list(found)[:2] == list(made)[:2]
    assert set(found) <= set(made)
