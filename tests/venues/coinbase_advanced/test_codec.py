"""The Advanced codec beyond its golden samples: the counter, candles, requests, aliases."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import DecodeError, UnsupportedChannelError
from crossfeed.model.commands import Acknowledged, Refused, Send, VenueNotice, Want
from crossfeed.model.events import BookDelta, BookSnapshot, Candle, Trade
from crossfeed.model.output import Output
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.trust import Integrity, Mark, Trust
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.coinbase_advanced import VENUE
from crossfeed.venues.coinbase_advanced.codec import AdvancedCodec
from crossfeed.venues.symbols import SymbolTable

BTC_TRADES = Want("market_trades", "BTC-USD")
BTC_CANDLES = Want("candles", "BTC-USD")
HEARTBEATS = Want("heartbeats", "")
TS = "2026-04-07T14:30:02.951234567Z"
BAR_S = 300
START_S = 1_775_572_200
NS = 10**9


def codec_of(*wants: Want) -> AdvancedCodec:
    """Make a codec that has asked for `wants`."""
    codec = AdvancedCodec(SymbolTable("coinbase_advanced", VENUE.builtin()), CodecOptions())
    codec.on_open()
    codec.subscribe(wants, 0)
    return codec


def feed(codec: AdvancedCodec, *frames: bytes) -> Output:
    """Decode frames into one output."""
    out = Output()
    for frame in frames:
        codec.receive(frame, 1, 2, out)
    return out


def frame_of(channel: str, *events: dict[str, object], number: int = 7) -> bytes:
    """Write a frame."""
    envelope = {"channel": channel, "timestamp": TS, "sequence_num": number, "events": events}
    return json.dumps(envelope).encode()


def trade_of(trade_id: int, product: str = "BTC-USD") -> dict[str, object]:
    """Write one trade."""
    return {
        "product_id": product,
        "trade_id": str(trade_id),
        "price": "1.5",
        "size": "2",
        "side": "BUY",
        "time": TS,
    }


def bar_of(index: int, close: float = 2.0, product: str = "BTC-USD") -> dict[str, object]:
    """Write the bar that begins `index` times 5 minutes after START_S."""
    return {
        "start": str(START_S + index * BAR_S),
        "open": "2",
        "high": "9",
        "low": "1",
        "close": str(close),
        "volume": "3",
        "product_id": product,
    }


def bars(*items: dict[str, object], kind: str = "update") -> bytes:
    """Write a frame of bars."""
    return frame_of("candles", {"type": kind, "candles": items})


def listed(**channels: object) -> bytes:
    """Write a list of subscriptions."""
    return frame_of("subscriptions", {"subscriptions": channels})


# ── the connection's counter ──────────────────────────────────────────────────


def test_every_frame_hands_on_its_number():
    """Data, replies and heartbeats count; errors have no number; a connection begins with none."""
    codec = codec_of(BTC_TRADES)
    assert codec.connection_sequence is None
    frames = [
        (frame_of("market_trades", {"type": "update", "trades": [trade_of(1)]}, number=0), 0),
        (frame_of("subscriptions", {"subscriptions": {}}, number=1), 1),
        (frame_of("heartbeats", {"heartbeat_counter": 5}, number=2), 2),
        (b'{"type":"error","message":"x"}', None),
        (frame_of("market_trades", number=3), 3),
    ]
    for frame, number in frames:
        feed(codec, frame)
        assert codec.connection_sequence == number
    codec.on_open()
    assert codec.connection_sequence is None


@pytest.mark.parametrize(
    ("frame", "number"),
    [
        # Not for us: nothing of ours is lost, the count goes on.
        (frame_of("market_trades", {"type": "update", "trades": [trade_of(1, "X-USD")]}), 7),
        (frame_of("candles", {"type": "update", "candles": [bar_of(0, product="X-USD")]}), 7),
        (frame_of("futures_balance_summary", {"type": "snapshot"}), 7),
        # It may have held something for us as well: the next number shows a hole.
        (
            frame_of(
                "l2_data",
                {"type": "update", "product_id": "X-USD", "updates": []},
                {"type": "update", "product_id": "BTC-USD", "updates": []},
            ),
            None,
        ),
        # Not understood: what was in it is lost.
        (
            frame_of("market_trades", {"type": "update", "trades": [{"product_id": "BTC-USD"}]}),
            None,
        ),
        (frame_of("market_trades", {"type": "new", "trades": []}), None),
        (b'{"channel":"zz","sequence_num":"x"}', None),
        (b"\x00", None),
    ],
)
def test_refused_frames_count_only_if_not_for_us(frame, number):
    """The counter goes on over foreign data and stops at what could not be read."""
    codec = codec_of(BTC_TRADES)
    feed(codec, frame_of("heartbeats", {"heartbeat_counter": 5}, number=6))
    out = Output()
    with pytest.raises(DecodeError):
        codec.receive(frame, 1, 2, out)
    assert codec.connection_sequence == number
    assert (out.events, out.commands) == ([], [])


# ── trades ────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(0, 2**63), unique=True, max_size=30))
def test_trades_come_oldest_first(ids):
    """Whatever the order in a frame, ids ascend and each trade keeps its place in the frame."""
    codec = codec_of(BTC_TRADES)
    items = [trade_of(trade_id) for trade_id in ids]
    events = feed(codec, frame_of("market_trades", {"type": "update", "trades": items})).events
    assert [event.trade_id for event in events if isinstance(event, Trade)] == sorted(ids)
    assert [ids[event.raw_index] for event in events] == sorted(ids)


# ── candles ───────────────────────────────────────────────────────────────────


def shape(out: Output) -> list[tuple[int, float, bool]]:
    """Return (index of the bar, close, closed) of the candles of an output."""
    return [
        ((event.open_time_ns // NS - START_S) // BAR_S, event.close, event.is_closed)
        for event in out.events
        if isinstance(event, Candle)
    ]


def test_bar_is_closed_when_the_next_one_begins():
    """The last state of a bar comes once more, closed, with the values and the frame it had."""
    codec = codec_of(BTC_CANDLES)
    first = bars(bar_of(0, 5.5))
    feed(codec, bars(bar_of(0, 5.0)), first)
    out = Output()
    codec.receive(bars(bar_of(1, 6.0)), 11, 12, out)
    assert shape(out) == [(0, 5.5, True), (1, 6.0, False)]
    closed = out.events[0]
    assert closed.raw == first
    assert closed.exact["close"] == 5.5
    assert (closed.ts_recv_ns, closed.ts_mono_ns, closed.marks) == (11, 12, Mark.NONE)


def test_slots_without_trades_have_no_bar():
    """A jump over several slots closes the last bar and invents none."""
    codec = codec_of(BTC_CANDLES)
    assert shape(feed(codec, bars(bar_of(0)), bars(bar_of(4)))) == [
        (0, 2.0, False),
        (0, 2.0, True),
        (4, 2.0, False),
    ]


def test_late_word_on_an_old_bar():
    """A bar that is over stays closed and does not become the current one."""
    codec = codec_of(BTC_CANDLES)
    out = feed(codec, bars(bar_of(1)), bars(bar_of(0, 7.0)), bars(bar_of(1, 8.0)))
    assert shape(out) == [(1, 2.0, False), (0, 7.0, True), (1, 8.0, False)]


def test_snapshot_in_mid_connection_is_the_last_word():
    """The snapshot's value of the current bar replaces ours; nothing is closed twice."""
    codec = codec_of(BTC_CANDLES)
    feed(codec, bars(bar_of(1, 5.0)))
    out = feed(codec, bars(bar_of(0), bar_of(1, 6.0), bar_of(2, 7.0), kind="snapshot"))
    assert shape(out) == [(0, 2.0, True), (1, 6.0, True), (2, 7.0, False)]
    assert [event.marks for event in out.events] == [
        Mark.SNAPSHOT | Mark.HISTORY,
        Mark.SNAPSHOT | Mark.HISTORY,
        Mark.SNAPSHOT,
    ]
    assert shape(feed(codec, bars(bar_of(3)))) == [(2, 7.0, True), (3, 2.0, False)]


def test_snapshot_without_our_bar_closes_it():
    """A bar the snapshot does not repeat is closed as we knew it."""
    codec = codec_of(BTC_CANDLES)
    feed(codec, bars(bar_of(1, 5.0)))
    out = feed(codec, bars(bar_of(2), bar_of(3), kind="snapshot"))
    assert shape(out) == [(1, 5.0, True), (2, 2.0, True), (3, 2.0, False)]


def test_unfinished_bars_end_with_connection_and_subscription():
    """What was in the making when the line was cut is not closed with old values."""
    codec = codec_of(BTC_CANDLES)
    feed(codec, bars(bar_of(0)))
    codec.on_open()
    assert shape(feed(codec, bars(bar_of(1)))) == [(1, 2.0, False)]
    codec.unsubscribe([BTC_CANDLES], 0)
    codec.subscribe([BTC_CANDLES], 0)
    assert shape(feed(codec, bars(bar_of(2)))) == [(2, 2.0, False)]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["BTC-USD", "ETH-USD"])), max_size=20))
def test_each_bar_is_closed_at_most_once_while_time_runs(steps):
    """With starts that never go back, all bars of a product but the last are closed once."""
    codec = codec_of(BTC_CANDLES, Want("candles", "ETH-USD"))
    clock: dict[str, int] = {}
    seen: dict[str, list[int]] = {}
    out = Output()
    for step, product in steps:
        clock[product] = clock.get(product, 0) + step % 2
        seen.setdefault(product, []).append(clock[product])
        codec.receive(bars(bar_of(clock[product], product=product)), 1, 2, out)
    for product, indexes in seen.items():
        closed = [
            (event.open_time_ns // NS - START_S) // BAR_S
            for event in out.events
            if isinstance(event, Candle) and event.symbol == product and event.is_closed
        ]
        assert closed == sorted(set(indexes))[:-1]


# ── requests ──────────────────────────────────────────────────────────────────


def test_one_channel_in_each_request():
    """Channels are apart, products in parts of 50, heartbeats in every round."""
    codec = codec_of()
    wants = [Want("level2", f"P{number}-USD") for number in range(120)] + [BTC_TRADES]
    requests = [json.loads(frame) for frame in codec.subscribe(wants, 0)]
    assert [(r["channel"], len(r.get("product_ids", []))) for r in requests] == [
        ("level2", 50),
        ("level2", 50),
        ("level2", 20),
        ("market_trades", 1),
        ("heartbeats", 0),
    ]
    assert all("jwt" not in request for request in requests)


def test_own_heartbeats_are_not_told_of():
    """What the codec subscribed by itself is confirmed, refused and removed in silence."""
    codec = codec_of(BTC_TRADES)
    (command,) = feed(codec, listed(market_trades=["BTC-USD"], heartbeats=["heartbeats"])).commands
    assert isinstance(command, Acknowledged)
    assert command.wants == (BTC_TRADES,)
    codec = codec_of(BTC_TRADES)
    feed(codec, listed(market_trades=["BTC-USD"]))
    (notice,) = feed(
        codec, b'{"type":"error","message":"heartbeats: channel not supported"}'
    ).commands
    assert isinstance(notice, VenueNotice)


def test_wanted_heartbeats_are_told_of():
    """Asked for, heartbeats are confirmed, removed and refused like any other channel."""
    codec = codec_of(HEARTBEATS)
    (added,) = feed(codec, listed(heartbeats=["heartbeats"])).commands
    assert added == Acknowledged((HEARTBEATS,))
    frames = codec.unsubscribe([HEARTBEATS], 0)
    assert [json.loads(frame)["type"] for frame in frames] == ["unsubscribe", "subscribe"]
    (removed,) = feed(codec, listed()).commands
    assert removed == Acknowledged((HEARTBEATS,), is_removal=True)
    assert feed(codec, listed(heartbeats=["heartbeats"])).commands == []
    codec = codec_of(HEARTBEATS)
    (refused,) = feed(codec, b'{"type":"error","message":"channel not supported"}').commands
    assert refused == Refused((HEARTBEATS,), "channel not supported")


def test_refused_unsubscription_is_a_notice():
    """An error about an unsubscribe refuses nothing that is wanted; the rest is asked again."""
    codec = codec_of()
    codec.unsubscribe([BTC_TRADES, Want("market_trades", "ETH-USD")], 0)
    notice, again = feed(codec, b'{"type":"error","message":"BTC-USD"}').commands
    assert isinstance(notice, VenueNotice)
    assert isinstance(again, Send)
    assert json.loads(again.payload) == {
        "type": "unsubscribe",
        "channel": "market_trades",
        "product_ids": ["ETH-USD"],
    }


def test_kinds():
    """Our kinds and the venue's words; what it lacks is said with what it has."""
    keyless = CodecOptions()
    assert VENUE.want("book_ticker", "BTC-USD", keyless) == Want("level2", "BTC-USD")
    assert VENUE.want("kline_5m", "BTC-USD", keyless) == BTC_CANDLES
    assert VENUE.want("heartbeat", "BTC-USD", keyless) == HEARTBEATS
    with pytest.raises(UnsupportedChannelError, match="5 minutes only"):
        VENUE.want("kline_1m", "BTC-USD", keyless)
    with pytest.raises(UnsupportedChannelError, match="on venue coinbase"):
        VENUE.want("full", "BTC-USD", keyless)


# ── aliases ───────────────────────────────────────────────────────────────────


def test_book_and_alias_asked_together():
    """Each name keeps its own data while both are asked; the one that stays gets both again."""
    usd, usdc = Want("market_trades", "BTC-USD"), Want("market_trades", "BTC-USDC")
    codec = codec_of(usdc)
    under_usd = frame_of("market_trades", {"type": "update", "trades": [trade_of(1)]})
    under_usdc = frame_of("market_trades", {"type": "update", "trades": [trade_of(1, "BTC-USDC")]})
    assert feed(codec, under_usd).events[0].symbol == "BTC-USDC"
    codec.subscribe([usd], 0)
    assert feed(codec, under_usd).events[0].symbol == "BTC-USD"
    assert feed(codec, under_usdc).events[0].symbol == "BTC-USDC"
    codec.unsubscribe([usd], 0)
    assert feed(codec, under_usd).events[0].symbol == "BTC-USDC"
    assert feed(codec, under_usd).events[0].unified == "BTC/USD"
    codec.unsubscribe([usdc], 0)
    with pytest.raises(DecodeError):
        feed(codec, under_usdc)


# ── the rest of the contract ──────────────────────────────────────────────────


def test_level2_rule_takes_everything():
    """The connection's counter is the chain: nothing is left for the rule to compare."""
    rule = VENUE.book_rule(Want("level2", "BTC-USD"))
    header = (
        "coinbase",
        "BTC-USD",
        "",
        0,
        0,
        0,
        0,
        Mark.NONE,
        Integrity.NONE,
        Trust.SOUND,
        None,
        0,
    )
    snapshot = BookSnapshot(*header, [], [], 0, None)
    delta = BookDelta(*header, [], [], 0, 0, 0, None)
    assert rule.integrity is Integrity.CONNECTION_SEQUENCED
    assert rule.snapshot_source is SnapshotSource.STREAM
    assert rule.bridge(snapshot, delta) is rule.follow(0, delta) is Verdict.APPLY
    assert rule.verify(None, None) is None  # type: ignore[arg-type]


def test_frames_are_let_go():
    """With keep_raw off no event keeps its frame."""
    table = SymbolTable("coinbase_advanced", VENUE.builtin())
    codec = AdvancedCodec(table, CodecOptions(keep_raw=False))
    codec.subscribe([BTC_TRADES], 0)
    (event,) = feed(
        codec, frame_of("market_trades", {"type": "update", "trades": [trade_of(1)]})
    ).events
    assert event.raw is None
    assert msgspec.structs.asdict(event)["trade_id"] == 1
