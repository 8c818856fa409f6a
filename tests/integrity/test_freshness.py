"""Quiet or dead: evidence, limits, first data, escalation."""

import random

import pytest

from crossfeed.integrity.continuity import OpenGate
from crossfeed.integrity.freshness import Freshness, FreshnessLimits
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Reconnect, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Stream
from crossfeed.model.trust import Trust
from crossfeed.testing.events import EPOCH_NS, heartbeat, ticker

MS = 1_000_000
S = 1_000 * MS
LIVE = ("trade", True), ("book_ticker", False), ("ticker", False), ("book", False)


class Rig:
    """One connection's streams under watch, with a clock in ms."""

    def __init__(self, *channels, age_limit_s=10.0, **limits):
        self.ledger = GapLedger()
        self.freshness = Freshness(FreshnessLimits(**limits))
        self.out = Output()
        self.now_ms = 1_000
        self.gates = {}
        self.trusts = {}
        for name in channels:
            channel, _, symbol = name.partition(":")
            trust = StreamTrust(Stream("x", channel, symbol or "BTC"), self.ledger)
            gate = OpenGate(trust)
            self.gates[name], self.trusts[name] = gate, trust
            self.freshness.watch(
                trust,
                gate,
                self.now_ms * MS,
                age_limit_s=age_limit_s,
                is_event_like=channel == "trade",
            )

    def data(self, *names):
        """Let streams bring a value now."""
        for name in names:
            event = heartbeat(0, self.now_ms) if name == "heartbeat" else ticker(100, self.now_ms)
            self.gates[name].admit(event, self.out)
        return self

    def run(self, seconds, *alive, step_ms=100):
        """Let time pass with a timer each step; `alive` streams bring a value each second."""
        end_ms = self.now_ms + int(seconds * 1_000)
        while self.now_ms < end_ms:
            self.now_ms = min(self.now_ms + step_ms, end_ms)
            if self.now_ms % 1_000 < step_ms:
                self.data(*alive)
            if self.freshness.next_due_ns <= self.now_ms * MS:
                self.tick()
        return self

    def tick(self):
        """Run the timer."""
        now_ns = self.now_ms * MS
        self.freshness.on_timer(EPOCH_NS + now_ns, now_ns, self.out)
        return self

    def trust(self, name):
        """Return a stream's trust."""
        return self.trusts[name].current

    def statuses(self, channel):
        """Return the changes told of a channel."""
        return [
            (e.current, e.cause)
            for e in self.out.events
            if isinstance(e, FeedStatus) and e.channel == channel
        ]


@pytest.mark.fault("T04")
def test_a_stalled_connection_is_found_within_its_limit():
    """Nothing at all comes any more: STALE at the limit, then the steps."""
    rig = Rig("trade", "book_ticker").data("trade", "book_ticker")
    rig.run(10.0)
    assert rig.trust("book_ticker") is Trust.SOUND
    rig.run(0.1)
    assert rig.trust("book_ticker") is Trust.STALE
    assert rig.trust("trade") is Trust.STALE
    assert "silent for 10.1 s, limit 10.0 s" in rig.trusts["trade"].detail
    rig.run(30)
    steps = [type(command) for command in rig.out.commands]
    assert steps == [Resubscribe, Reconnect, Reconnect]
    assert rig.out.commands[-1].is_other_endpoint
    stats = rig.freshness.stats()
    assert (stats.stale, stats.resubscribes, stats.reconnects, stats.other_endpoints) == (
        2,
        1,
        1,
        1,
    )
    rig.data("trade")
    assert rig.trust("trade") is Trust.SOUND, "data is fresh at once"
    assert "2 found stale" in repr(rig.freshness)


@pytest.mark.fault("T04")
def test_a_quiet_market_is_not_stale_while_the_connection_lives():
    """Trades may be silent for hours: the heartbeat says that nothing is wrong."""
    rig = Rig("trade", "book_ticker", "heartbeat").data("trade", "book_ticker")
    rig.run(400, "heartbeat")
    assert rig.trust("trade") is Trust.SOUND
    assert rig.trust("book_ticker") is Trust.SOUND
    assert rig.freshness.stats().quiet == 2
    assert rig.out.commands == []


def test_another_symbol_is_a_sign_of_life():
    """A quiet symbol beside a busy one."""
    rig = Rig("book_ticker:ABC", "book_ticker:BTC").data("book_ticker:ABC")
    rig.run(200, "book_ticker:BTC")
    assert rig.trust("book_ticker:ABC") is Trust.SOUND


@pytest.mark.fault("T04")
@pytest.mark.parametrize(
    ("silent", "moving", "is_stale"),
    [
        ("book_ticker", "trade", True),
        ("book", "trade", True),
        ("book", "book_ticker", True),
        ("ticker", "trade", True),
        ("trade", "book_ticker", False),
        ("book_ticker", "ticker", False),
        ("book_ticker", "trade:ETH", False),
    ],
)
def test_a_sibling_that_must_have_moved_it_is_evidence(silent, moving, is_stale):
    """A trade moves the book; a quote does not make a trade; another symbol proves nothing."""
    rig = Rig(silent, moving).data(silent)
    rig.run(60, moving)
    assert (rig.trust(silent) is Trust.STALE) is is_stale
    if is_stale:
        assert rig.statuses(silent)[-1] == (Trust.STALE, "moved")
        commands = {type(command) for command in rig.out.commands}
        assert commands == {Resubscribe}, "the connection serves others well: it is left alone"


def test_a_well_known_stream_that_freezes_is_found_while_others_live():
    """Far beyond its own habit, whatever lives."""
    rig = Rig("book_ticker:ABC", "book_ticker:BTC")
    rig.run(700, "book_ticker:ABC", "book_ticker:BTC")
    rig.run(290, "book_ticker:BTC")
    assert rig.trust("book_ticker:ABC") is Trust.SOUND
    rig.run(30, "book_ticker:BTC")
    assert rig.statuses("book_ticker")[-1] == (Trust.STALE, "frozen")


def test_a_stream_may_be_as_silent_as_it_is_used_to():
    """The longest silence it came back from by itself raises its limit, for a while."""
    rig = Rig("book_ticker", learned_factor=3.0, pause_s=1e9).data("book_ticker")
    for _ in range(3):
        rig.run(9).data("book_ticker")
    rig.run(26)
    assert rig.trust("book_ticker") is Trust.SOUND
    rig.run(2)
    assert rig.trust("book_ticker") is Trust.STALE


def test_a_silence_that_outlives_a_new_connection_is_learned():
    """The market was quiet indeed: the next such silence is no alarm."""
    rig = Rig("book_ticker", pause_s=1e9).data("book_ticker").run(12)
    assert rig.trust("book_ticker") is Trust.STALE
    rig.freshness.on_open(rig.now_ms * MS)
    rig.run(20).data("book_ticker").run(59)
    assert rig.trust("book_ticker") is Trust.SOUND
    rig.run(2)
    assert rig.trust("book_ticker") is Trust.STALE


def test_what_was_learned_fades_and_is_bounded():
    """An hour halves it; nothing is learned beyond the cap."""
    rig = Rig("book_ticker", learned_max_s=20.0, learned_half_life_s=100.0, pause_s=1e9)
    rig.data("book_ticker").run(60).data("book_ticker").run(0.2)
    watch = next(iter(rig.freshness._watches.values()))
    assert watch.learned_ns == 20 * S
    rig.run(300, "book_ticker")
    assert watch.learned_ns < 4 * S


@pytest.mark.fault("D19")
def test_an_acknowledged_stream_without_data_is_not_healthy():
    """Its first datum has a deadline; the stream stays UNAVAILABLE, is told and resubscribed."""
    rig = Rig("book_ticker", "heartbeat")
    stream = rig.trusts["book_ticker"].stream
    rig.data("heartbeat")
    rig.freshness.acknowledged(stream, rig.now_ms * MS)
    rig.freshness.acknowledged(Stream("x", "nothing", "BTC"), 0)
    rig.run(9.9, "heartbeat")
    assert rig.freshness.stats().missing_first == 0
    rig.run(0.2, "heartbeat")
    assert rig.statuses("book_ticker") == [(Trust.UNAVAILABLE, "no_data")]
    assert rig.out.commands == [Resubscribe("book_ticker", "BTC", "stale")]
    rig.run(200, "heartbeat")
    assert rig.freshness.stats().missing_first == 4, "ever more patient: 10, 30, 70, 150 s"
    assert {type(command) for command in rig.out.commands} == {Resubscribe}


def test_no_first_trade_is_normal_while_the_connection_lives():
    """An illiquid symbol may not trade for hours; on a dead connection it is resubscribed."""
    rig = Rig("trade", "heartbeat")
    stream = rig.trusts["trade"].stream
    rig.data("heartbeat")
    rig.freshness.acknowledged(stream, rig.now_ms * MS)
    rig.run(100, "heartbeat")
    assert rig.freshness.stats().missing_first == 0
    dead = Rig("trade")
    dead.freshness.acknowledged(stream, dead.now_ms * MS)
    dead.run(11)
    assert dead.freshness.stats().missing_first == 1


def test_the_first_datum_ends_its_deadline():
    """In time: nothing happens."""
    rig = Rig("book_ticker")
    rig.freshness.acknowledged(rig.trusts["book_ticker"].stream, rig.now_ms * MS)
    rig.run(5).data("book_ticker").run(7)
    assert rig.freshness.stats().missing_first == 0


def test_a_new_connection_is_given_time():
    """The silence before it does not count."""
    rig = Rig("book_ticker").data("book_ticker").run(9)
    rig.freshness.on_open(rig.now_ms * MS)
    rig.run(9)
    assert rig.trust("book_ticker") is Trust.SOUND
    rig.data("book_ticker").run(9)
    assert rig.trust("book_ticker") is Trust.SOUND


@pytest.mark.fault("K05")
def test_a_stopped_process_calls_everything_old():
    """60 s without a timer: STALE first, new connection, never old data as live."""
    rig = Rig("book_ticker", "trade", pause_s=10.0).data("book_ticker").run(1, "book_ticker")
    rig.now_ms += 60_000
    rig.tick()
    assert rig.trust("book_ticker") is Trust.STALE
    assert rig.trust("trade") is Trust.UNAVAILABLE
    assert rig.out.commands == [Reconnect("paused")]
    assert rig.freshness.stats().pauses == 1
    rig.now_ms += 100
    rig.data("book_ticker").tick()
    assert rig.trust("book_ticker") is Trust.SOUND


def test_a_pause_with_nothing_to_watch_is_nothing():
    """No streams, no due time, no commands."""
    rig = Rig()
    assert rig.freshness.next_due_ns == NEVER_NS
    rig.tick()
    rig.now_ms += 60_000
    rig.tick()
    assert rig.out.commands == []
    assert rig.freshness.next_due_ns == NEVER_NS


@pytest.mark.fault("T08")
def test_a_lagging_connection_makes_all_its_streams_stale():
    """Events come, but ever later."""
    rig = Rig("book_ticker", "trade", lag_limit_s=3.0)
    rig.data("book_ticker", "trade")
    lag_ms = 0.0
    for _ in range(400):
        rig.now_ms += 100
        lag_ms += 50
        event = ticker(100, rig.now_ms, event_ms=rig.now_ms - lag_ms)
        rig.gates["book_ticker"].admit(event, rig.out)
        rig.tick()
    assert rig.trust("book_ticker") is Trust.STALE
    assert rig.statuses("trade")[-1] == (Trust.STALE, "lag")
    assert rig.freshness.stats().lag_ms > 3_000
    for _ in range(100):
        rig.now_ms += 100
        rig.data("book_ticker")
        rig.tick()
    assert rig.trust("book_ticker") is Trust.SOUND


def test_unwatched_streams_are_left_alone():
    """After the end of a subscription nothing is said of it."""
    rig = Rig("book_ticker").data("book_ticker")
    rig.freshness.unwatch(rig.trusts["book_ticker"].stream)
    rig.freshness.unwatch(Stream("x", "y", "z"))
    rig.run(60).tick()
    assert rig.trust("book_ticker") is Trust.SOUND


def test_the_general_limit_serves_where_the_table_has_none():
    """30 s by default."""
    rig = Rig("book_ticker", age_limit_s=0.0).data("book_ticker").run(29)
    assert rig.trust("book_ticker") is Trust.SOUND
    rig.run(2)
    assert rig.trust("book_ticker") is Trust.STALE


def test_a_clean_day_has_no_false_alarm():
    """24 virtual hours: busy and quiet ones, two symbols, a heartbeat; nothing is ever stale."""
    rng = random.Random(11)
    rig = Rig("trade", "book_ticker", "book", "trade:ALT", "book_ticker:ALT", "heartbeat")
    rig.data(*rig.gates)
    before = len(rig.out.events)
    hour_s = 3_600
    for second in range(0, 24 * hour_s, 2):
        rig.now_ms = 1_000 + second * 1_000
        rig.data("heartbeat")
        busy = 1.0 if (second // hour_s) % 24 in range(8, 20) else 0.05
        for symbol, rate in (("", 1.0), (":ALT", 0.02)):
            if rng.random() < rate * busy:
                rig.data("trade" + symbol, "book_ticker" + symbol)
                rig.data(*(["book"] if not symbol else []))
            elif not symbol and rng.random() < busy:
                rig.data("book_ticker", "book")
        rig.tick()
    changes = [e for e in rig.out.events[before:] if isinstance(e, FeedStatus)]
    assert changes == []
    assert rig.out.commands == []
    assert rig.freshness.stats().stale == 0


@pytest.mark.fault("T04")
def test_the_connections_own_heartbeats_make_silence_quiet_and_their_end_makes_it_stale():
    """Coinbase Advanced and Kraken send heartbeats that belong to no stream: they are life, too."""

    class Pulse:
        last_event = None

    rig, pulse = Rig("trade", "book"), Pulse()
    rig.freshness.listen(pulse)
    rig.data("trade", "book").tick()
    for _ in range(100):
        pulse.last_event = heartbeat(0, rig.now_ms)
        rig.run(1)
    assert {rig.trust("trade"), rig.trust("book")} == {Trust.SOUND}
    pulse.last_event = None  # the table was built anew: what was heard is not forgotten
    rig.run(9)
    assert rig.trust("book") is Trust.SOUND
    rig.run(2)
    assert {rig.trust("trade"), rig.trust("book")} == {Trust.STALE}
