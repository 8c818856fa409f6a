"""Hot standby: lines that cannot be merged, switched whole at a sound point."""

import pytest

from crossfeed.books.sync import BookSync
from crossfeed.integrity.continuity import OpenGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.standby import HotStandby
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, GapState, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import delta, snapshot, ticker, trade
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE

STREAM = Stream("coinbase", "book", "BTC-USD")


def line_trust():
    """Return the trust of one line, with a ledger nobody reads."""
    return StreamTrust(STREAM, GapLedger())


def book_line(*, wants_deltas=True):
    """Return one line's own book."""
    return BookSync(line_trust(), LEVEL2_RULE, wants_deltas=wants_deltas)


class Rig:
    """A standby over books or tickers."""

    def __init__(self):
        self.ledger = GapLedger()
        self.trust = StreamTrust(STREAM, self.ledger)
        self.switched = []
        self.standby = HotStandby(self.trust, self.switched.append)
        self.out = Output()

    def up(self, name, gate):
        """Bring a line up."""
        self.standby.line_up(name, gate, 0, 0, self.out)
        return gate

    def feed(self, name, *events):
        """Bring events on one line; return the data given out by it."""
        out = Output()
        for event in events:
            self.standby.admit(name, event, out)
        self.out.events += out.events
        self.out.commands += out.commands
        return [e for e in out.events if e.data_type not in {"gap", "feed_status"}]

    @property
    def statuses(self):
        """Return the trust changes told."""
        return [(e.current, e.cause) for e in self.out.events if isinstance(e, FeedStatus)]

    @property
    def gaps(self):
        """Return (cause, state) of all holes subscribers suffered."""
        return [(r.cause, r.state) for r in self.ledger.records()]


def image(bid, at_ms=0):
    """Return an image with one level a side."""
    return snapshot(0, [(bid, 1.0)], [(bid + 1, 1.0)], at_ms, exchange="coinbase", symbol="BTC-USD")


def change(bid, at_ms=0):
    """Return a change that adds a bid."""
    return delta(0, 0, [(bid, 1.0)], [], at_ms, exchange="coinbase", symbol="BTC-USD")


def test_only_the_active_line_is_given_out():
    """The other is kept up in silence; its commands still go to its connection."""
    rig = Rig()
    rig.up("a", book_line())
    rig.up("b", book_line())
    given = rig.feed("a", image(100))
    assert [event.data_type for event in given] == ["orderbook_snapshot", "book_ticker"]
    assert rig.feed("b", image(100), change(100.5)) == []
    assert rig.statuses == [(Trust.SOUND, "synced")]
    assert rig.standby.active == "a"
    assert rig.feed("c", image(5)) == []
    assert "a of a, b" in repr(rig.standby)
    assert rig.standby.next_due_ns == NEVER_NS


@pytest.mark.fault("C06")
def test_a_switch_begins_with_the_whole_state():
    """The active line dies; the other's book equals the truth at once, no gap, no status change."""
    rig = Rig()
    one, two = rig.up("a", book_line()), rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.feed("b", image(100), change(100.5))
    before = len(rig.out.events)
    rig.standby.line_down("a", 0, 0, rig.out)
    given = rig.out.events[before:]
    assert [event.data_type for event in given] == ["orderbook_snapshot", "book_ticker"]
    assert given[0].bids == [(100.5, 1.0), (100.0, 1.0)]
    assert given[1].bid_price == 100.5
    assert rig.standby.switches == 1
    assert rig.switched == [one, two]
    assert rig.gaps == []
    assert rig.trust.current is Trust.SOUND


def test_an_unsound_active_line_is_left_for_a_sound_one():
    """A hole in its connection makes its book unsound; the other takes over in the same step."""
    rig = Rig()
    one = rig.up("a", book_line())
    rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.feed("b", image(100))
    one.resync("connection", 0, 0, Output())
    rig.feed("a", change(101))
    assert rig.standby.active == "b"
    assert rig.trust.current is Trust.SOUND
    assert rig.gaps == []


@pytest.mark.fault("S18")
def test_no_sound_line_is_one_hole():
    """Both fail: one entry, closed when any line stands again."""
    rig = Rig()
    one, two = rig.up("a", book_line()), rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.feed("b", image(100))
    two.resync("connection", 0, 0, Output())
    one.resync("checksum", 0, 0, Output())
    rig.feed("b", change(101))
    given = rig.feed("a", change(101))
    assert rig.trust.current is Trust.UNSOUND
    assert rig.trust.cause == "checksum"
    assert given[0].trust is Trust.UNSOUND
    assert rig.gaps == [("checksum", GapState.OPEN)]
    rig.feed("b", image(102))
    assert rig.standby.active == "b"
    assert rig.trust.current is Trust.SOUND
    assert rig.gaps == [("checksum", GapState.SNAPSHOT)]


def test_all_lines_down():
    """UNAVAILABLE, one hole; a new line heals it."""
    rig = Rig()
    rig.up("a", book_line())
    rig.feed("a", image(100))
    rig.standby.line_down("a", 0, 0, rig.out, "rotated")
    rig.standby.line_down("a", 0, 0, rig.out)
    assert (rig.trust.current, rig.trust.cause) == (Trust.UNAVAILABLE, "rotated")
    assert rig.gaps == [("rotated", GapState.OPEN)]
    rig.up("b", book_line())
    assert rig.trust.current is Trust.UNAVAILABLE
    rig.feed("b", image(101))
    assert rig.trust.current is Trust.SOUND
    assert rig.gaps == [("rotated", GapState.SNAPSHOT)]


def test_a_dead_line_leaves_an_unready_one():
    """The other line has no book yet: it becomes active, its trust is the stream's."""
    rig = Rig()
    rig.up("a", book_line())
    rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.standby.line_down("a", 0, 0, rig.out)
    assert rig.standby.active == "b"
    assert rig.trust.current is Trust.UNAVAILABLE
    given = rig.feed("b", image(100.0))
    assert given[0].data_type == "orderbook_snapshot"
    assert rig.trust.current is Trust.SOUND


def test_a_standing_by_line_goes_down_unnoticed():
    """Nobody was looking at it."""
    rig = Rig()
    rig.up("a", book_line())
    rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.standby.line_down("b", 0, 0, rig.out)
    assert rig.standby.switches == 0
    assert rig.trust.current is Trust.SOUND


@pytest.mark.fault("C06")
def test_tickers_are_given_once_over_a_switch():
    """The new line begins with its newest value only if that is news."""
    rig = Rig()
    for name in ("a", "b"):
        rig.up(name, OpenGate(line_trust()))
    rig.feed("a", ticker(100, 10))
    rig.feed("b", ticker(100, 11, event_ms=10))
    before = len(rig.out.events)
    rig.standby.line_down("a", 0, 0, rig.out)
    assert rig.out.events[before:] == []
    rig.up("c", OpenGate(line_trust()))
    rig.feed("c", ticker(102, 20))
    rig.feed("b", ticker(101, 15))
    rig.standby.line_down("b", 0, 0, rig.out)
    assert rig.out.events[-1].price == 102


def test_timers_and_commands_belong_to_their_line():
    """A standing-by book asks its own connection again."""
    rig = Rig()
    rig.up("a", book_line())
    two = rig.up("b", book_line())
    rig.feed("a", image(100))
    rig.feed("b", image(100))
    two.resync("checksum", 0, 0, Output())
    due_ns = rig.standby.next_due_ns
    out = Output()
    rig.standby.on_timer("b", 0, due_ns - 1, out)
    rig.standby.on_timer("zzz", 0, due_ns, out)
    assert out.commands == []
    rig.standby.on_timer("b", 0, due_ns, out)
    rig.standby.on_timer("b", 0, rig.standby.next_due_ns, out)
    assert [type(command) for command in out.commands] == [Resubscribe]
    assert out.events == []


def test_an_event_that_breaks_the_active_line():
    """Its own status and holes stay inside; the stream's are told once."""
    rig = Rig()
    gate = rig.up("a", OpenGate(line_trust()))
    rig.feed("a", ticker(100))
    assert rig.feed("a", ticker(101))[0].price == 101

    def broken(_event, out):
        gate.trust.open_gap(0, 0, "test", 0, 0, out)
        gate.trust.report("book", Trust.UNSOUND, "test", 0, 0, out)

    gate.admit = broken
    assert rig.feed("a", ticker(102)) == []
    assert rig.gaps == [("test", GapState.OPEN)]
    assert rig.statuses[-1] == (Trust.UNSOUND, "test")
    assert sum(isinstance(e, FeedStatus) for e in rig.out.events) == 2


def test_an_event_that_yields_nothing():
    """A duplicate leaves everything as it is."""
    rig = Rig()
    rig.up("a", OpenGate(line_trust(), number="trade_id"))
    assert len(rig.feed("a", trade(5))) == 1
    assert rig.feed("a", trade(5)) == []


def test_a_line_judged_from_outside_is_looked_at_again():
    """Freshness finds the active line stale on its timer: the other takes over."""
    rig = Rig()
    rig.standby.review(0, 0, rig.out)
    assert rig.out.events == []
    one = rig.up("a", OpenGate(line_trust()))
    rig.up("b", OpenGate(line_trust()))
    rig.feed("a", ticker(100, 10))
    rig.feed("b", ticker(101, 20))
    one.trust.report("freshness", Trust.STALE, "stale", 0, 30, Output())
    rig.standby.review(0, 30, rig.out)
    assert rig.standby.active == "b"
    assert rig.out.events[-1].price == 101
    assert rig.trust.current is Trust.SOUND


def test_without_anybody_to_tell_about_switches():
    """The callback is optional."""
    trust = StreamTrust(STREAM, GapLedger())
    standby = HotStandby(trust)
    out = Output()
    standby.line_up("a", OpenGate(line_trust()), 0, 0, out)
    standby.admit("a", ticker(5), out)
    assert trust.current is Trust.SOUND
    assert not out.events[-1].marks & Mark.SUSPECT


def test_staleness_of_the_active_line_is_taken_over():
    """STALE is no hole: nothing is entered, the state is told."""
    rig = Rig()
    gate = rig.up("a", OpenGate(line_trust()))
    rig.feed("a", ticker(100))
    gate.trust.report("market", Trust.CLOSED, "halted", 0, 0, Output())
    rig.feed("a", ticker(101))
    assert rig.trust.current is Trust.CLOSED
    assert rig.gaps == []
