"""The compiled way of a message is the pure one: same events, commands, counts, isolation."""

import json
import random
from typing import Any

import pytest

from crossfeed.cli.bench.tapes import Feed, make_tape
from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.events import Quote
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus
from crossfeed.runtime.delivery import Router
from crossfeed.runtime.native_core import NativeCore
from crossfeed.runtime.pipeline import PureCore
from crossfeed.runtime.settings import FeedSettings
from crossfeed.runtime.streams import StreamSet
from crossfeed.venues.base import CodecOptions
from crossfeed.venues.registry import find_venue
from crossfeed.venues.symbols import SymbolTable

COUNTED = ("frames", "messages", "events", "invalid", "unasked", "duplicates", "invalid_by_reason")
SHARES = {"trade": 1.0, "quote": 1.0, "depth": 1.0}
FEEDS = [
    Feed(venue="binance", symbols=("BTCUSDT",), shares=SHARES, messages=1500),
    Feed(venue="coinbase", symbols=("BTC-USD",), shares=SHARES, messages=1500, levels=200),
    Feed(venue="kraken", symbols=("BTC/USD",), shares=SHARES, messages=1500),
]
KINDS = {
    "binance": ("trade", "book_ticker", "book"),
    "coinbase": ("trade", "ticker", "book"),
    "kraken": ("trade", "book_ticker", "book"),
}


def core_of(name: str, symbol: str, native: Any = None) -> PureCore:
    """Make a core whose connection carries the venue's streams."""
    with pytest.MonkeyPatch.context() as patch:
        if native is None:
            patch.setenv("CROSSFEED_PURE", "1")
        else:
            patch.delenv("CROSSFEED_PURE", raising=False)
        return _made(name, symbol, native)


def _made(name: str, symbol: str, native: Any) -> PureCore:
    venue = find_venue(name)
    table = SymbolTable(name, venue.builtin())
    codec = venue.make_codec(table, CodecOptions())
    streams = StreamSet(venue, GapLedger(), FeedSettings())
    wants = []
    for kind in KINDS[name]:
        want = venue.want(kind, symbol, CodecOptions())
        streams.open(want, kind, table.resolve(symbol, quotes=()))
        wants.append(want)
    codec.subscribe(wants, 0)
    streams.line_up("line", wants, 1, 1, Output())
    if native is None:
        return PureCore(codec, streams, "line")
    return NativeCore(native, codec, codec.tables(), streams, "line")  # type: ignore[attr-defined]


def damaged(feed: Feed) -> list[bytes]:
    """Return a session with repeated, missing, exchanged, broken and foreign frames."""
    tape = make_tape(feed)
    frames = [frame for first in tape.first.values() for frame in first]
    source = random.Random(5)
    for _, frame in tape.frames:
        match source.randrange(40):
            case 0:
                frames += [frame, frame]
            case 1:
                continue
            case 2:
                frames += [frame[:-3], frame]
            case 3:
                frames += [b"[]", b'{"no":"such"}', frame]
            case 4:
                frames.insert(-1, frame)
            case _:
                frames.append(frame)
    return frames


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.venue)
def test_same_frames_same_outputs_and_counts(native: Any, feed: Feed):
    pure = core_of(feed.venue, feed.symbols[0])
    core = core_of(feed.venue, feed.symbols[0], native)
    told = 0
    for number, frame in enumerate(damaged(feed)):
        times = (1_790_000_000_000_000_000 + number, 1_000_000 + number * 1000)
        expected, found = pure.feed(frame, *times), core.feed(frame, *times)
        assert found.events == expected.events
        assert repr(found.commands) == repr(expected.commands)
        told += len(found.events)
    for name in COUNTED:
        assert getattr(core.counters, name) == getattr(pure.counters, name), name
    assert told > 500
    assert core.engine.accepted > 1000  # type: ignore[attr-defined]


class Connection:
    """What a path needs of its connection."""

    def __init__(self, core: PureCore) -> None:
        self.session = self
        self.router = Router(failures_max=3)
        self.core = core
        self.slow = 0
        self.sampled: list[int] = []
        self.executed: list[object] = []

    def on_frame(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> None:
        self.slow += 1
        for event in self.core.feed(frame, ts_recv_ns, ts_mono_ns).events:
            self.router.publish(event)

    def sample(self, ts_mono_ns: int) -> None:
        self.sampled.append(ts_mono_ns)

    def execute(self, connection: object, commands: list[object]) -> None:
        assert connection is self
        self.executed += commands


@pytest.fixture
def connection(native: Any) -> Connection:
    return Connection(core_of("binance", "BTCUSDT", native))


def frames_of(kind: str, count: int) -> list[bytes]:
    feed = Feed(venue="binance", symbols=("BTCUSDT",), shares={kind: 1.0}, messages=count)
    return [frame for _, frame in make_tape(feed).frames]


def test_path_delivers_counts_and_samples(connection: Connection):
    take = connection.core.path(connection)  # type: ignore[arg-type]
    got: list[int] = []
    subscription = connection.router.subscribe(
        "trade", "*", lambda event: got.append(event.trade_id)
    )
    for number, frame in enumerate(frames_of("trade", 64)):
        take(frame, number, number)
    assert got == list(range(10**9 + 1, 10**9 + 65))
    assert subscription.delivered == 64
    assert len(connection.sampled) == 8
    assert connection.slow == 0
    assert connection.router.unheard > 0  # the stream's first feed_status


def test_path_hands_commands_over(connection: Connection):
    take = connection.core.path(connection)  # type: ignore[arg-type]
    one, _, three = frames_of("trade", 3)
    take(one, 1, 1)
    take(three, 2, 2)
    assert [type(command).__name__ for command in connection.executed] == ["Backfill"]


def test_path_isolates_and_quarantines_handlers(connection: Connection):
    take = connection.core.path(connection)  # type: ignore[arg-type]
    got: list[object] = []

    def broken(event: object) -> None:
        raise ValueError(event)

    failing = connection.router.subscribe("trade", "*", broken)
    connection.router.subscribe("trade", "*", got.append)
    for number, frame in enumerate(frames_of("trade", 10)):
        take(frame, number, number)
    assert failing.is_quarantined
    assert failing.failures == 3
    assert len(got) == 10


def test_a_handler_that_feeds_the_same_path_goes_the_slow_way(connection: Connection):
    take = connection.core.path(connection)  # type: ignore[arg-type]
    frames = frames_of("trade", 3)
    got: list[int] = []

    def nested(event: Any) -> None:
        got.append(event.trade_id)
        if len(got) == 1:
            take(frames[1], 2, 2)

    connection.router.subscribe("trade", "*", nested)
    take(frames[0], 1, 1)
    take(frames[2], 3, 3)
    assert got == [10**9 + 1, 10**9 + 2, 10**9 + 3]
    assert connection.slow == 1


def test_keyboard_interrupt_is_not_swallowed(connection: Connection):
    take = connection.core.path(connection)  # type: ignore[arg-type]

    def stop(_event: object) -> None:
        raise KeyboardInterrupt

    connection.router.subscribe("trade", "*", stop)
    with pytest.raises(KeyboardInterrupt):
        take(frames_of("trade", 1)[0], 1, 1)


def test_a_book_that_loses_a_side_is_told_alike(native: Any, monkeypatch: pytest.MonkeyPatch):
    """The last quote is taken back in both; the next one comes where the side is filled again."""
    changes = ["buy", "9.5", "0"], ["sell", "11.5", "1"], ["buy", "9.4", "2"], ["sell", "11", "0"]
    image = {"type": "snapshot", "product_id": "BTC-USD", "bids": [["9.5", "1"]]}
    frames = [json.dumps(image | {"asks": [["11", "1"]]}).encode()]
    update = {"type": "l2update", "product_id": "BTC-USD", "time": "2026-01-01T00:00:00.000001Z"}
    frames += [json.dumps(update | {"changes": [change]}).encode() for change in changes]
    told: list[list[str]] = []
    monkeypatch.setitem(KINDS, "coinbase", ("book", "book_ticker"))
    for core in (core_of("coinbase", "BTC-USD"), core_of("coinbase", "BTC-USD", native)):
        events = [
            event for n, frame in enumerate(frames, 2) for event in core.feed(frame, n, n).events
        ]
        told.append([
            f"{event.cause}: {event.detail}" if isinstance(event, FeedStatus) else
            f"{event.bid_price} {event.ask_price}"
            for event in events if isinstance(event, FeedStatus | Quote)
        ])  # fmt: skip
    assert told[0] == told[1]
    assert told[1] == [
        "synced: ",
        "9.5 11.0",
        "one_sided: no bids are left: the last quote holds no more",
        "9.4 11.0",
        "9.4 11.5",
    ]
