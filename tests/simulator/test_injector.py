"""Each fault kind does what it says, and the ledger knows."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from crossfeed.errors import ConfigError
from crossfeed.simulator import FaultRule, Schedule
from crossfeed.simulator.framing import Opcode
from crossfeed.simulator.memory import MemorySimulator, RefusedHandshake
from crossfeed.simulator.outgoing import Close, Cut, Pong, RawBytes

S = 1_000_000_000
PATH = "/stream?streams=btcusdt@trade"


def make_room(*rules, venues=("binance",), seed=3):
    return MemorySimulator(
        venues=venues, rate_per_s=100.0, seed=seed, faults=Schedule(fault=tuple(rules))
    )


def ids_of(link):
    return [json.loads(raw)["data"]["t"] for raw in link.receive()]


def line_of(room, channel="trade", venue="binance", symbol="BTCUSDT"):
    (line,) = room.ledger.streams[venue, channel, symbol].lines
    return line


def holes(ids):
    return [(one + 1, two - 1) for one, two in pairwise(ids) if two > one + 1]


def test_dropped_messages_are_missing_and_counted():
    room = make_room(FaultRule(kind="drop", channels=("trade",), probability=0.1))
    link = room.connect("binance", PATH)
    room.advance(20 * S)
    ids, line = ids_of(link), line_of(room)
    assert [(gap.first, gap.last) for gap in line.gaps] == holes(ids)
    assert line.events == len(ids)
    lost = line.counts["dropped"]
    assert 0.05 < lost / (lost + len(ids)) < 0.16
    assert room.ledger.faults["binance", "drop"] == lost
    assert line.dropped


def test_a_run_drops_neighbours():
    room = make_room(FaultRule(kind="drop", at=(10,), run=4))
    link = room.connect("binance", PATH)
    room.advance(10 * S)
    ((first, last),) = holes(ids_of(link))
    assert last - first == 3


def test_doubled_messages_come_twice():
    room = make_room(FaultRule(kind="double", every=10))
    link = room.connect("binance", PATH)
    room.advance(10 * S)
    ids, line = ids_of(link), line_of(room)
    assert len(ids) - len(set(ids)) == line.duplicates == len(set(ids)) // 10
    assert not line.gaps


def test_swapped_messages_change_places():
    room = make_room(FaultRule(kind="swap", every=10))
    link = room.connect("binance", PATH)
    room.advance(10 * S)
    ids, line = ids_of(link), line_of(room)
    assert ids != sorted(ids)
    assert sorted(ids) == list(range(min(ids), min(ids) + len(ids)))
    assert line.gap_count == line.late == line.counts["swapped"]
    assert line.duplicates == 0


def test_delayed_messages_come_late():
    room = make_room(FaultRule(kind="delay", at=(5,), duration_s=2.0))
    link = room.connect("binance", PATH)
    room.advance(10 * S)
    ids, line = ids_of(link), line_of(room)
    late = ids.index(ids[0] + 4)
    assert late > 20
    assert (line.gap_count, line.late) == (1, 1)


@pytest.mark.parametrize(
    "mode",
    ["json", "utf8", "nan", "zero", "x10", "missing", "unknown", "foreign", "future", "past"],
)
@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken", "coinbase_advanced"])
def test_corrupted_messages_are_wrong(venue, mode):
    rules = (FaultRule(kind="corrupt", mode=mode, every=3),)
    clean, spoiled = make_room(venues=(venue,)), make_room(*rules, venues=(venue,))
    received = []
    for room in (clean, spoiled):
        link = subscribe_trades(room, venue)
        room.advance(5 * S)
        received.append(link.receive())
    different = [(right, wrong) for right, wrong in zip(*received, strict=True) if right != wrong]
    assert len(different) == spoiled.ledger.faults[venue, "corrupt"] > 2
    for _, wrong in different:
        if mode in {"json", "utf8", "nan"}:
            if mode == "nan" and venue != "kraken":
                assert b"NaN" in wrong
                continue
            try:
                json.loads(wrong)
            except ValueError:
                continue
            assert b"NaN" in wrong
        else:
            json.loads(wrong)


def subscribe_trades(room, venue):
    requests = {
        "coinbase": {"type": "subscribe", "channels": ["matches"], "product_ids": ["BTC-USD"]},
        "coinbase_advanced": {
            "type": "subscribe",
            "channel": "market_trades",
            "product_ids": ["BTC-USD"],
        },
        "kraken": {
            "method": "subscribe",
            "params": {"channel": "trade", "symbol": ["BTC/USD"]},
        },
    }
    path = {"binance": PATH, "kraken": "/v2"}.get(venue, "/")
    link = room.connect(venue, path)
    if venue in requests:
        link.send(json.dumps(requests[venue]).encode())
    return link


def test_a_bad_checksum_is_one_desync_until_the_snapshot():
    room = make_room(FaultRule(kind="bad_checksum", channels=("book-*",), at=(3, 5)),
                     venues=("kraken",))  # fmt: skip
    link = room.connect("kraken", "/v2")
    ask = {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}}
    link.send(json.dumps(ask).encode())
    room.advance(5 * S)
    line = line_of(room, "book-10", "kraken", "BTC/USD")
    assert line.counts["bad_checksum"] == 2
    assert line.desyncs == 1


def test_a_stall_holds_back_and_keeps_the_order():
    room = make_room(FaultRule(kind="stall", at_s=(2.0,), duration_s=3.0))
    link = room.connect("binance", PATH)
    room.advance(2 * S + 1)
    link.receive()
    room.advance(2 * S)
    assert link.receive() == []
    room.advance(2 * S)
    ids = ids_of(link)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert line_of(room).gap_count == 0


def test_a_stall_may_lose_and_may_be_deaf():
    room = make_room(FaultRule(kind="stall", mode="deaf", at_s=(1.0,), duration_s=30.0))
    link = room.connect("binance", PATH)
    room.advance(25 * S)
    link.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
    assert all(b"result" not in raw for raw in link.receive())
    room.advance(10 * S)
    line = line_of(room)
    assert line.gap_count == 1
    assert line.counts["stalled"] == line.missing


@pytest.mark.parametrize(
    ("mode", "end"),
    [
        ("clean", Close(1012, "restart")),
        ("eof", Cut("eof")),
        ("reset", Cut("reset")),
    ],
)
def test_cuts(mode, end):
    room = make_room(FaultRule(kind="cut", mode=mode, at_s=(1.0,), code=1012, reason="restart"))
    link = room.connect("binance", PATH)
    room.advance(2 * S)
    assert link.end == end
    again = room.connect("binance", PATH)
    room.advance(S)
    assert again.receive()
    line = line_of(room)
    assert [gap.cause for gap in line.gaps] == ["cut"]
    assert line.connections == [1, 2]


def test_a_mid_frame_cut_leaves_half_a_message():
    room = make_room(FaultRule(kind="cut", mode="mid_frame", at_s=(1.0,), connections="all"))
    links = [room.connect("binance", PATH) for _ in range(3)]
    room.advance(2 * S)
    assert all(isinstance(link.end, Cut) and link.end.payload for link in links)


def test_broken_frames_are_sent_raw():
    room = make_room(FaultRule(kind="frame", mode="rsv", at_s=(1.0,)))
    link = room.connect("binance", PATH)
    room.advance(2 * S)
    (raw,) = [item for item in link.receive_all() if isinstance(item, RawBytes)]
    assert raw.data[0] == 0xF1


def test_a_shutdown_is_announced_then_carried_out():
    room = make_room(FaultRule(kind="shutdown", at_s=(1.0,), duration_s=2.0))
    link = room.connect("binance", PATH)
    room.advance(2 * S)
    assert any(b"serverShutdown" in raw for raw in link.receive())
    assert link.end is None
    room.advance(2 * S)
    assert link.end == Close(1001)


def test_numbering_restarts():
    room = make_room(FaultRule(kind="restart", at_s=(2.0,), symbols=("BTC/USD",)))
    link = room.connect(
        "binance", "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/ethusdt@trade"
    )
    room.advance(6 * S)
    ids, updates, others = [], [], []
    for raw in link.receive():
        data = json.loads(raw)["data"]
        if data["e"] == "depthUpdate":
            updates.append((data["U"], data["u"]))
        else:
            (ids if data["s"] == "BTCUSDT" else others).append(data["t"])
    at = ids.index(1)
    assert ids[at:] == list(range(1, len(ids) - at + 1))
    assert (1, updates[-1][1]) > (0, 0)
    assert min(first for first, _ in updates) == 1
    assert others == list(range(others[0], others[0] + len(others)))
    line = line_of(room)
    assert [gap.cause for gap in line.gaps] == ["restart"]
    assert line.duplicates == 0


def test_numbering_may_restart_anywhere():
    room = make_room(FaultRule(kind="restart", at_s=(1.0,), value=(1 << 63) - 2))
    link = room.connect("binance", PATH)
    room.advance(3 * S)
    assert (1 << 63) + 1 in ids_of(link)


def test_readable_corruption_is_a_delivery():
    room = make_room(FaultRule(kind="corrupt", mode="x10", every=5))
    link = room.connect("binance", PATH)
    room.advance(10 * S)
    ids, line = ids_of(link), line_of(room)
    assert (line.gap_count, line.events) == (0, len(ids))
    assert line.counts["corrupted"] == len(ids) // 5


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken", "coinbase_advanced"])
def test_a_halted_symbol_rests_and_says_so(venue):
    room = make_room(
        FaultRule(kind="halt", symbols=("BTC/USD",), at_s=(1.0,), duration_s=5.0), venues=(venue,)
    )
    link = subscribe_trades(room, venue)
    if venue == "kraken":
        link.send(b'{"method":"subscribe","params":{"channel":"instrument","snapshot":false}}')
    if venue == "coinbase":
        link.send(b'{"type":"subscribe","channels":["status"]}')
    room.advance(2 * S)
    link.receive()
    exchange = room.simulator.exchanges[venue]
    before = room.simulator.market(venue, "BTC/USD").ids.trade
    room.advance(3 * S)
    assert room.simulator.market(venue, "BTC/USD").ids.trade == before
    states = {
        "binance": ("/api/v3/exchangeInfo", b'"HALT"'),
        "coinbase": ("/products", b'"offline"'),
        "kraken": ("/0/public/AssetPairs", b'"cancel_only"'),
    }
    if venue in states:
        path, word = states[venue]
        assert word in room.rest(venue, path).body
    assert not exchange.is_trading(next(iter(exchange.instruments)))
    room.advance(3 * S)
    assert room.simulator.market(venue, "BTC/USD").ids.trade > before
    if venue == "kraken":
        said = [json.loads(raw) for raw in link.receive() if b"instrument" in raw]
        assert said[-1]["data"]["pairs"][0]["status"] == "online"
        assert room.simulator.book("kraken", "ETH/USD", time_ns=1) is None


def test_replies_are_lost_or_late():
    room = make_room(
        FaultRule(kind="ack", at=(1,)), FaultRule(kind="ack", mode="late", at=(1,), duration_s=2.0)
    )
    link = room.connect("binance", "/ws")
    answers = []
    for number in range(3):
        link.send(b'{"method":"LIST_SUBSCRIPTIONS","id":%d}' % number)
        answers.append(link.receive())
    assert [len(one) for one in answers] == [0, 0, 1]
    room.advance(3 * S)
    assert json.loads(link.receive()[0])["id"] == 1


def test_pings_may_die_while_data_flows():
    room = make_room(FaultRule(kind="stall", mode="no_pong", at_s=(1.0,), duration_s=5.0))
    link = room.connect("binance", PATH)
    room.advance(2 * S)
    link.receive()
    link.send(b"x", Opcode.PING)
    assert Pong(b"x") not in link.receive_all()
    room.advance(S)
    assert link.receive()
    room.advance(5 * S)
    link.send(b"x", Opcode.PING)
    assert Pong(b"x") in link.receive_all()


def test_a_quiet_venue_says_nothing():
    room = make_room(FaultRule(kind="quiet", at_s=(1.0,), duration_s=3.0))
    link = room.connect("binance", PATH)
    room.advance(S)
    link.receive()
    room.advance(2 * S)
    assert link.receive() == []
    room.advance(3 * S)
    assert link.receive()


def test_rest_answers_go_wrong():
    room = make_room(
        FaultRule(kind="rest", status=429, retry_after_s=7, path="depth", limit=1),
        FaultRule(kind="rest", mode="truncated", path="trades", limit=1),
        FaultRule(kind="rest", mode="html", status=502, path="klines"),
        FaultRule(kind="rest", mode="slow", duration_s=2.5, path="time"),
        FaultRule(kind="rest", mode="stale", path="bookTicker"),
        FaultRule(kind="rest", status=500, path="ping", every=2),
    )
    api = "/api/v3/"
    response = room.rest("binance", f"{api}depth?symbol=BTCUSDT")
    assert (response.status, response.headers["Retry-After"]) == (429, "7")
    assert room.rest("binance", f"{api}depth?symbol=BTCUSDT").status == 200
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(room.rest("binance", f"{api}trades?symbol=BTCUSDT").body)
    page = room.rest("binance", f"{api}klines?symbol=BTCUSDT&interval=1m")
    assert (page.status, page.content_type) == (502, "text/html")
    assert room.rest("binance", f"{api}time").delay_s == 2.5
    old = room.rest("binance", f"{api}ticker/bookTicker?symbol=BTCUSDT").body
    room.advance(10 * S)
    assert room.rest("binance", f"{api}ticker/bookTicker?symbol=BTCUSDT").body == old
    assert [room.rest("binance", f"{api}ping").status for _ in range(4)] == [200, 500, 200, 500]


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        ("status", 451),
        ("bad_accept", 101),
        ("extension", 101),
        ("html", 200),
        ("stalled", 503),
        ("redirect", 302),
        ("long_headers", 101),
    ],
)
def test_handshakes_go_wrong(mode, status):
    room = make_room(FaultRule(kind="handshake", mode=mode, status=451, retry_after_s=1, limit=2))
    for _ in range(2):
        with pytest.raises(RefusedHandshake) as caught:
            room.connect("binance", PATH)
        assert caught.value.response.status == status
    room.connect("binance", PATH)


def test_faults_end():
    room = make_room(
        FaultRule(kind="drop", probability=1.0, until_s=2.0),
        FaultRule(kind="swap", every=1, after_s=3.0),
        FaultRule(kind="delay", every=1, after_s=4.0, duration_s=60.0),
        FaultRule(kind="stall", every_s=5.0, duration_s=60.0),
    )
    link = room.connect("binance", PATH)
    room.advance(2 * S - 1)
    assert link.receive() == []
    room.advance(6 * S)
    link.receive()
    room.simulator.exchanges["binance"].stop_faults()
    room.advance(5 * S)
    ids = ids_of(link)
    assert len(ids) > 50
    assert ids[-40:] == sorted(ids[-40:])


def test_the_same_seed_gives_the_same_faults():
    def run(seed):
        room = MemorySimulator(
            venues=("binance", "kraken"), rate_per_s=100.0, seed=seed, faults="harsh"
        )
        received = []
        link = None
        for _ in range(100):
            if link is None or link.end is not None:
                link = room.connect("binance", PATH)
            room.advance(S // 4)
            received.extend(link.receive())
        return received, room.ledger.export()

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_lines_have_luck_of_their_own():
    room = make_room(FaultRule(kind="drop", probability=0.05))
    links = [room.connect("binance", PATH) for _ in range(2)]
    room.advance(30 * S)
    one, two = (set(ids_of(link)) for link in links)
    assert one != two
    assert len(one | two) > max(len(one), len(two))
    lines = room.ledger.streams["binance", "trade", "BTCUSDT"].lines
    assert [line.events for line in lines] == [len(one), len(two)]


def test_unknown_profiles_are_refused_before_anything_starts():
    with pytest.raises(ConfigError):
        MemorySimulator(faults="nonsense")
