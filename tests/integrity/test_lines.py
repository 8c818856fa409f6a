"""Two connections of one numbered stream, given out as one."""

import random

import pytest

from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.lines import LineLimits, LineMerge, span_of
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, GapState, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import delta, order, quote, trade

MS = 1_000_000


class Rig:
    """Two lines in front of one gate."""

    def __init__(self, *lines, **limits):
        self.ledger = GapLedger()
        self.trust = StreamTrust(Stream("binance", "trade", "BTCUSDT"), self.ledger)
        self.gate = IdGate(self.trust)
        self.merge = LineMerge(self.gate, self.trust, limits=LineLimits(**limits))
        self.out = Output()
        self.now_ms = 0
        for line in lines or ("a", "b"):
            self.merge.line_up(line, 0, 0, self.out)

    def feed(self, line, *numbers, at_ms=None, **fields):
        """Bring trades on one line, 1 ms apart."""
        for number in numbers:
            self.now_ms = self.now_ms + 1 if at_ms is None else at_ms
            self.merge.admit(line, trade(number, self.now_ms, event_ms=number, **fields), self.out)
        return self

    def wait(self, ms):
        """Let time pass and run what is due."""
        self.now_ms += ms
        if self.merge.next_due_ns <= self.now_ms * MS:
            self.merge.on_timer(0, self.now_ms * MS, self.out)
        return self

    def down(self, line):
        """Let a line die."""
        self.merge.line_down(line, 0, self.now_ms * MS, self.out)
        return self

    @property
    def ids(self):
        """Return the ids delivered."""
        return [event.trade_id for event in self.out.events if isinstance(event, Trade)]

    @property
    def gaps(self):
        """Return (first, last, cause) of all holes."""
        return [(r.first, r.last, r.cause) for r in self.ledger.records()]

    @property
    def alerts(self):
        """Return the details of alerts about the lines."""
        return [
            e.detail
            for e in self.out.events
            if isinstance(e, FeedStatus) and e.cause == "lines_disagree"
        ]


def test_one_line_passes_straight_through():
    """Without a second line nothing is held back: out of order is a gap at once."""
    rig = Rig("a").feed("a", 1, 2, 5)
    assert rig.ids == [1, 2, 5]
    assert rig.gaps == [(3, 4, "sequence")]
    assert rig.merge.next_due_ns == NEVER_NS
    assert "a; 0 waiting" in repr(rig.merge)


def test_first_arrival_wins_and_twins_are_dropped():
    """Each number is delivered once, whoever brings it."""
    rig = Rig().feed("a", 1, 2).feed("b", 1, 2, 3).feed("a", 3, 4)
    assert rig.ids == [1, 2, 3, 4]
    assert rig.merge.duplicates == 3
    wins = {stats.name: (stats.events, stats.wins) for stats in rig.merge.line_stats()}
    assert wins == {"a": (4, 3), "b": (3, 1)}
    assert rig.gaps == []


def test_a_loss_on_one_line_costs_nothing():
    """What is ahead waits for the other line to bring the missing one."""
    rig = Rig().feed("a", 1).feed("b", 1).feed("a", 3, 4)
    assert rig.ids == [1]
    assert rig.merge.next_due_ns == (3 + 250) * MS
    rig.feed("b", 2)
    assert rig.ids == [1, 2, 3, 4]
    assert rig.gaps == []
    assert rig.merge.next_due_ns == NEVER_NS


@pytest.mark.fault("S04")
def test_a_swap_on_one_of_two_lines_is_sorted():
    """The window puts it right."""
    rig = Rig().feed("a", 1, 3, 2, 4)
    assert rig.ids == [1, 2, 3, 4]
    assert rig.gaps == []


@pytest.mark.fault("S04")
def test_the_window_ends_after_its_time():
    """250 ms, then the gate finds the hole."""
    rig = Rig().feed("a", 1, 3)
    assert rig.wait(240).ids == [1]
    assert rig.wait(20).ids == [1, 3]
    assert rig.gaps == [(2, 2, "sequence")]


@pytest.mark.fault("S04")
def test_the_window_is_bounded_in_number():
    """64 events at most wait."""
    rig = Rig(window_max=4).feed("a", 1, 3, 4, 5)
    assert rig.ids == [1]
    rig.feed("a", 6)
    assert rig.ids == [1, 3, 4, 5, 6]


@pytest.mark.fault("S04")
def test_a_swap_on_both_lines_is_sorted():
    """The venue itself swapped them: within the window it is put right."""
    rig = Rig().feed("a", 1, 3).feed("b", 1, 3, 2).feed("a", 2)
    assert rig.ids == [1, 2, 3]
    assert rig.gaps == []


def test_what_neither_line_brings_is_one_hole():
    """After the window, exactly."""
    rig = Rig().feed("a", 1, 4).feed("b", 1, 4).wait(300)
    assert rig.ids == [1, 4]
    assert rig.gaps == [(2, 3, "sequence")]


@pytest.mark.fault("S18")
def test_a_line_that_dies_while_the_other_has_a_gap_is_one_entry():
    """The hole the dead line would have filled is recorded once, exactly."""
    rig = Rig().feed("b", 1).feed("a", 1, 4, 5)
    assert rig.ids == [1]
    rig.down("b")
    assert rig.ids == [1, 4, 5]
    assert rig.gaps == [(2, 3, "sequence")]
    assert rig.trust.current is Trust.UNSOUND


@pytest.mark.fault("S18")
def test_a_dead_line_that_was_ahead_leaves_what_it_brought():
    """The living line catches up; nothing is lost, nothing doubled."""
    rig = Rig().feed("b", 1).feed("a", 1, 3).down("a").feed("b", 2, 3, 4)
    assert rig.ids == [1, 2, 3, 4]
    assert rig.gaps == []


@pytest.mark.fault("C06")
@pytest.mark.fault("C07")
def test_rotation_loses_nothing():
    """New line up, both deliver, old line down: no gap, no doubling, no status change."""
    rig = Rig("old").feed("old", 1, 2, 3)
    statuses = len(rig.out.events) - 3
    rig.merge.line_up("new", 0, 0, rig.out)
    rig.feed("new", 4, 5).feed("old", 4, 5, 6).down("old").feed("new", 6, 7)
    assert rig.ids == [1, 2, 3, 4, 5, 6, 7]
    assert rig.gaps == []
    assert len(rig.out.events) - len(rig.ids) == statuses


def test_three_lines_are_two_lines_and_a_spare():
    """One of three may die without ending the merge."""
    rig = Rig("a", "b", "c").feed("a", 1).down("c").feed("b", 1, 2)
    assert rig.ids == [1, 2]
    assert rig.merge.duplicates == 1


def test_the_last_line_down_makes_the_stream_unavailable():
    """And a new one finds the reconnect hole."""
    rig = Rig().feed("a", 1).down("a")
    assert rig.trust.current is Trust.SOUND
    rig.down("b")
    assert rig.trust.current is Trust.UNAVAILABLE
    rig.down("b")
    rig.feed("b", 9)
    assert rig.ids == [1], "a line that is not up says nothing"
    rig.merge.line_up("c", 0, 0, rig.out)
    rig.feed("c", 4)
    assert rig.gaps == [(2, 3, "reconnect")]


@pytest.mark.fault("S17")
def test_lines_that_disagree_are_told():
    """The first is kept, the difference counted; alerts thin out by powers of two."""
    rig = Rig()
    for number in range(1, 11):
        rig.feed("a", number).feed("b", number, price=101.0)
    assert rig.ids == list(range(1, 11))
    prices = {event.price for event in rig.out.events if isinstance(event, Trade)}
    assert prices == {100.0}
    assert rig.merge.disagreements == 10
    assert len(rig.alerts) == 4
    assert "number 8" in rig.alerts[-1]


def test_a_slow_line_is_not_waited_for():
    """Its average delay demotes it; it is taken back when it is fast again."""
    rig = Rig(review_events=10)
    for number in range(1, 11):
        rig.feed("a", number, at_ms=number).feed("b", number, at_ms=number + 600)
    slow = {stats.name: stats.is_demoted for stats in rig.merge.line_stats()}
    assert slow == {"a": False, "b": True}
    rig.feed("a", 12, at_ms=700)
    assert rig.ids[-1] == 12, "only the slow line could have brought 11"
    for number in range(13, 23):
        rig.feed("a", number, at_ms=1_000).feed("b", number, at_ms=1_001)
    assert not rig.merge.line_stats()[1].is_demoted
    assert rig.merge.line_stats()[0].behind_ms == 0.0


@pytest.mark.fault("S05")
def test_the_old_burst_of_a_new_line_is_dropped():
    """A fresh line that replays history does not move the stream back."""
    rig = Rig("a").feed("a", *range(1, 301))
    rig.merge.line_up("b", 0, 0, rig.out)
    rig.feed("b", *range(290, 301)).feed("a", 301).feed("b", 301, 302)
    assert rig.ids == list(range(1, 303))
    assert rig.gaps == []


@pytest.mark.fault("S05")
def test_the_history_of_a_new_line_is_no_news():
    """A `last_match` tells what the other line has told, or is about to tell live."""
    rig = Rig("a").feed("a", 1, 2)
    rig.merge.line_up("b", 0, 0, rig.out)
    rig.feed("b", 4, marks=Mark.HISTORY).feed("a", 3, 4, 5).feed("b", 5, 6)
    assert rig.ids == [1, 2, 3, 4, 5, 6]
    assert rig.gaps == []
    assert not any(event.marks for event in rig.out.events if isinstance(event, Trade))


@pytest.mark.fault("S06")
def test_a_venue_that_counts_anew_on_both_lines():
    """The gate decides; the merge follows it after a while."""
    rig = Rig().feed("a", 10_000).feed("b", 10_000)
    for number in range(1, 200):
        for line in ("a", "b"):
            rig.now_ms += 1
            event = trade(number, rig.now_ms, event_ms=20_000 + number)
            rig.merge.admit(line, event, rig.out)
    assert rig.ids == [10_000, *range(1, 200)]
    assert [gap[2] for gap in rig.gaps] == ["restart"]
    rig.feed("a", 201).feed("b", 200, 201)
    assert rig.ids[-2:] == [200, 201], "the window works again"


def test_unnumbered_events_come_from_the_first_line_only():
    """Nothing else could tell twins apart."""
    ledger = GapLedger()
    trust = StreamTrust(Stream("coinbase", "full", "BTC-USD"), ledger)
    merge = LineMerge(IdGate(trust, number="sequence"), trust)
    out = Output()
    for line in ("a", "b"):
        merge.line_up(line, 0, 0, out)
    for line in ("a", "b"):
        merge.admit(line, order("received", 5, "x"), out)
        merge.admit(line, order("activate", 0, "x"), out)
    kinds = [event.kind for event in out.events if event.data_type == "full"]
    assert kinds == ["received", "activate"]
    assert merge.duplicates == 2


def test_memory_of_the_comparison_is_bounded():
    """A line that never speaks costs no memory."""
    rig = Rig(memory_max=16).feed("a", *range(1, 500))
    assert len(rig.merge._seen) == 16
    rig.feed("b", 1)
    assert rig.ids == list(range(1, 500)), "forgotten twins are the gate's to drop"


def test_spans_of_all_numbered_kinds():
    """Trades by id, changes by what they fold in, futures behind their predecessor."""
    assert span_of(trade(5)) == (5, 5)
    assert span_of(delta(5, 9)) == (5, 9)
    assert span_of(delta(7, 9, previous=4)) == (5, 9)
    assert span_of(order("open", 8, "x")) == (8, 8)
    with pytest.raises(AssertionError):
        span_of(quote(1, 2))


def test_book_changes_are_merged_and_compared():
    """The same machine serves Binance diffs."""
    seen = []

    class Book:
        next_number = 0

        def admit(self, event, out):
            out.events.append(event)

        def on_open(self, *_):
            seen.append("open")

    ledger = GapLedger()
    trust = StreamTrust(Stream("binance", "book", "BTCUSDT"), ledger)
    merge = LineMerge(Book(), trust)
    out = Output()
    for line in ("a", "b"):
        merge.line_up(line, 0, 0, out)
    one, two = delta(1, 3, [(1.0, 1.0)]), delta(4, 6, [(1.0, 2.0)])
    merge.admit("a", one, out)
    merge.admit("a", delta(7, 8), out)
    merge.admit("b", one, out)
    merge.admit("b", two, out)
    assert [event.last for event in out.events] == [3, 6, 8]
    assert seen == ["open"]
    merge.admit("a", delta(4, 6, [(1.0, 9.0)]), out)
    assert merge.disagreements == 1


def test_quotes_can_be_compared_and_others_never_disagree():
    """What two lines must agree on depends on the kind."""
    ledger = GapLedger()
    trust = StreamTrust(Stream("x", "y", "z"), ledger)

    class Gate:
        next_number = 0

        def admit(self, event, out):
            out.events.append(event)

        def on_open(self, *_):
            """Accept."""

    merge = LineMerge(Gate(), trust, span=lambda e: (e.update_id, e.update_id))
    out = Output()
    for line in ("a", "b"):
        merge.line_up(line, 0, 0, out)
    merge.admit("a", quote(1, 2, update_id=1), out)
    merge.admit("b", quote(1, 3, update_id=1), out)
    assert merge.disagreements == 1
    full = LineMerge(Gate(), trust)
    for line in ("a", "b"):
        full.line_up(line, 0, 0, out)
    full.admit("a", order("open", 1, "x"), out)
    full.admit("b", order("open", 1, "y"), out)
    assert full.disagreements == 0


@pytest.mark.fault("C06")
@pytest.mark.fault("S18")
def test_a_hundred_rotations_and_failures_under_loss():
    """Any loss on one line at a time is healed: 0 lost, 0 doubled, order kept."""
    rng = random.Random(7)
    rig = Rig("l0")
    number, lines, behind = 0, ["l0"], {"l0": []}
    for turn in range(120):
        new = f"l{turn + 1}"
        rig.merge.line_up(new, 0, rig.now_ms * MS, rig.out)
        lines.append(new)
        behind[new] = []
        for _ in range(40):
            number += 1
            lossy = rng.choice(lines)
            for line in rng.sample(lines, len(lines)):
                if line != lossy or rng.random() < 0.7:
                    behind[line].append(number)
                if behind[line] and rng.random() < 0.8:
                    rig.feed(line, *behind[line])
                    behind[line] = []
        for line in lines:
            rig.feed(line, *behind[line])
            behind[line] = []
        old = lines.pop(0)
        rig.down(old)
    rig.wait(1_000)
    assert rig.ids == list(range(1, number + 1))
    assert rig.gaps == []
    assert [r.state for r in rig.ledger.records(state=GapState.LOST)] == []


def test_a_slow_line_of_a_quiet_stream_is_demoted_by_time():
    """Eight late events in ten seconds are enough; a thousand may take a day."""
    rig = Rig()
    for number in range(1, 30):
        rig.feed("a", number, at_ms=number * 1_000)
        rig.feed("b", number, at_ms=number * 1_000 + 900)
    slow = {stats.name: (stats.is_demoted, stats.behind_ms) for stats in rig.merge.line_stats()}
    assert slow == {"a": (False, 0.0), "b": (True, 900.0)}
    for number in range(30, 60):
        rig.feed("a", number, at_ms=number * 1_000)
        rig.feed("b", number, at_ms=number * 1_000 + 5)
    assert not rig.merge.line_stats()[1].is_demoted


@pytest.mark.fault("C06")
def test_a_new_line_has_joined_when_the_old_one_has_brought_what_lies_before():
    """Until then the old one may still have on its way what the new one was never sent."""
    rig = Rig("a")
    assert rig.merge.has_joined("a")
    assert not rig.merge.has_joined("b"), "not up"
    rig.merge.line_up("b", 0, 0, rig.out)
    assert rig.merge.has_joined("b"), "nothing has come at all"
    rig.feed("a", 1, 2, 3)
    assert not rig.merge.has_joined("b")
    rig.feed("b", 6)
    assert not rig.merge.has_joined("b"), "4 and 5 are on their way on the old line"
    rig.feed("a", 4, 5)
    assert rig.merge.has_joined("b")
    assert rig.ids == [1, 2, 3, 4, 5, 6]


def test_the_twin_of_an_event_that_waits_is_a_repetition():
    """It is no second winner, and the two are compared."""
    rig = Rig().feed("a", 1).feed("b", 1).feed("a", 3).feed("b", 3, price=7.0)
    assert rig.merge.duplicates == 2
    assert len(rig.alerts) == 1
    wins = {stats.name: stats.wins for stats in rig.merge.line_stats()}
    assert wins == {"a": 2, "b": 0}
    rig.feed("b", 2)
    assert rig.ids == [1, 2, 3]
