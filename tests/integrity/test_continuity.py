"""The gate of numbered streams: order, holes, repair, tails, restarts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.integrity.backfill import BackfillLimits, BackfillPolicy
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Backfill
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Gap, GapState, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import EPOCH_NS, order, trade

MS = 1_000_000
SECOND_MS = 1_000


class Rig:
    """A gate with its clock and all its results."""

    def __init__(self, policy=BackfillPolicy.LATE, **limits):
        self.ledger = GapLedger()
        self.trust = StreamTrust(Stream("binance", "trade", "BTCUSDT"), self.ledger)
        self.gate = IdGate(
            self.trust, policy=policy, limits=BackfillLimits(**{"tail_check_s": 0.0, **limits})
        )
        self.out = Output()
        self.now_ms = 0

    def feed(self, *trades):
        """Admit trades (a bare number is an ordinary one, 10 ms after the last)."""
        for item in trades:
            self.now_ms += 10
            event = trade(item, self.now_ms) if isinstance(item, int) else item
            self.gate.admit(event, self.out)
        return self

    def answer(self, gap_id, *numbers, complete=True, marks=Mark.REST | Mark.BACKFILLED):
        """Bring fetched trades."""
        events = [trade(number, self.now_ms, marks=marks) for number in numbers]
        self.gate.admit_backfill(
            gap_id,
            events,
            self.out,
            complete=complete,
            now_ns=EPOCH_NS + self.now_ms * MS,
            mono_ns=self.now_ms * MS,
        )
        return self

    def wait(self, ms):
        """Let time pass, with a timer each 100 ms."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(self.now_ms + 100, end_ms)
            if self.gate.next_due_ns <= self.now_ms * MS:
                self.gate.on_timer(EPOCH_NS + self.now_ms * MS, self.now_ms * MS, self.out)
        return self

    @property
    def ids(self):
        """Return the ids delivered."""
        return [event.trade_id for event in self.out.events if isinstance(event, Trade)]

    @property
    def backfilled(self):
        """Return the ids delivered late."""
        return [
            event.trade_id
            for event in self.out.events
            if isinstance(event, Trade) and event.marks & Mark.BACKFILLED
        ]

    @property
    def gaps(self):
        """Return (first, last, cause, state) of the ledger's records."""
        return [(r.first, r.last, r.cause, r.state) for r in self.ledger.records()]

    @property
    def asked(self):
        """Return the ranges asked for."""
        return [(c.first, c.last) for c in self.out.commands if isinstance(c, Backfill)]

    @property
    def statuses(self):
        """Return the trust changes told."""
        return [(e.current, e.cause) for e in self.out.events if isinstance(e, FeedStatus)]

    def check_conservation(self):
        """Assert that every event that came is accounted for."""
        stats = self.gate.stats()
        delivered = stats.passed + stats.backfilled
        assert len(self.ids) + len(self.unreleased) == delivered
        return stats

    @property
    def unreleased(self):
        """Return found events that wait for an older hole."""
        repairs = self.gate._repairs._repairs.values()
        return [number for repair in repairs for number, _ in repair.found]


def test_in_order_passes_and_the_first_datum_lifts():
    """The acknowledgement proves nothing; the first trade does."""
    rig = Rig().feed(5, 6, 7)
    assert rig.ids == [5, 6, 7]
    assert rig.statuses == [(Trust.SOUND, "first_data")]
    assert rig.gaps == []
    assert rig.gate.last_event.trade_id == 7
    assert rig.gate.next_due_ns == NEVER_NS
    assert rig.check_conservation().passed == 3
    assert "next 8" in repr(rig.gate)


@pytest.mark.fault("S01")
def test_a_jump_is_a_gap_at_once_and_is_fetched():
    """UNSOUND at the next event, exact range, one command, event delivered flagged."""
    rig = Rig().feed(1, 2, 6)
    assert rig.ids == [1, 2, 6]
    assert rig.gaps == [(3, 5, "sequence", GapState.OPEN)]
    assert rig.statuses[-1] == (Trust.UNSOUND, "sequence_gap")
    assert rig.out.events[-1].trust is Trust.UNSOUND
    command = rig.out.commands[0]
    assert (command.first, command.last, command.gap_id) == (3, 5, 1)
    assert command.after_ns == EPOCH_NS + 20 * MS, "venues that page by time need the last time"
    assert "3 missing: 3..5" in rig.trust.detail


@pytest.mark.fault("S01")
def test_backfill_closes_the_gap_and_makes_it_sound():
    """Missing trades come late, sorted, once, marked, under their own ids."""
    rig = Rig().feed(1, 2, 6).answer(1, 5, 3, 4, 4, 9)
    assert rig.ids == [1, 2, 6, 3, 4, 5]
    assert rig.backfilled == [3, 4, 5]
    assert rig.gaps == [(3, 5, "sequence", GapState.BACKFILLED)]
    assert rig.statuses[-1] == (Trust.SOUND, "backfilled")
    late = next(event for event in rig.out.events if getattr(event, "trade_id", 0) == 4)
    assert late.source == "rest"
    assert late.trust is Trust.SOUND
    stats = rig.feed(7).check_conservation()
    assert (stats.backfilled, stats.unasked) == (3, 2)
    assert rig.ids[-1] == 7
    assert rig.gate.next_due_ns == NEVER_NS


def test_a_partial_repair_stays_open_and_is_asked_for_again():
    """What is still missing is asked for with backoff; what was found waits for the rest."""
    rig = Rig().feed(1, 6).answer(1, 2, 5)
    assert rig.gaps == [(2, 5, "sequence", GapState.OPEN)]
    assert rig.ledger.missing(1) == ((3, 4),)
    assert rig.ids == [1, 6]
    assert rig.trust.current is Trust.UNSOUND
    rig.wait(900)
    assert rig.asked == [(2, 5)], "not before the backoff of a second"
    rig.wait(200)
    assert rig.asked == [(2, 5), (3, 4)]
    rig.answer(1, 3, 4)
    assert rig.ids == [1, 6, 2, 3, 4, 5]
    assert rig.trust.current is Trust.SOUND


def test_pages_are_one_answer():
    """The hole is not asked for again before its last page."""
    rig = Rig().feed(1, 6).answer(1, 2, 3, complete=False).wait(5_000)
    assert rig.asked == [(2, 5)]
    rig.answer(1, 4, 5, complete=True)
    assert rig.backfilled == [2, 3, 4, 5]


def test_a_hole_with_two_spans_is_asked_for_span_by_span():
    """And counts as answered when all of them are."""
    rig = Rig().feed(1, 9).answer(1, 4, 6).wait(1_100)
    assert rig.asked == [(2, 8), (2, 3), (5, 5), (7, 8)]
    rig.answer(1, 2, 3).answer(1, 5)
    rig.wait(3_000)
    assert len(rig.asked) == 4, "one request is still out"
    rig.answer(1).wait(2_100)
    assert rig.asked[4:] == [(7, 8)]


def test_a_request_without_an_answer_counts_as_failed():
    """Nothing waits for ever."""
    rig = Rig(answer_s=2.0).feed(1, 3).wait(2_100)
    assert rig.asked == [(2, 2), (2, 2)]


def test_a_failed_request_is_repeated_with_growing_distance_then_given_up():
    """After the last round the hole is LOST and the stream sound again, with its loss recorded."""
    rig = Rig(attempts_max=3).feed(1, 3)
    times = []
    while rig.trust.current is Trust.UNSOUND:
        before = len(rig.asked)
        rig.gate.backfill_failed(1, rig.now_ms * MS)
        while len(rig.asked) == before and rig.trust.current is Trust.UNSOUND:
            rig.wait(100)
        times.append(rig.now_ms)
    assert rig.gaps == [(2, 2, "sequence", GapState.LOST)]
    assert rig.statuses[-1] == (Trust.SOUND, "lost")
    assert len(rig.asked) == 3
    assert [round((b - a) / 1000) for a, b in zip([20, *times], times, strict=False)] == [1, 2, 4]
    rig.gate.backfill_failed(1, rig.now_ms * MS)
    rig.answer(1, 2)
    assert rig.ids == [1, 3], "too late: it was given up"


def test_a_hole_is_given_up_at_its_deadline():
    """Whatever is answered meanwhile."""
    rig = Rig(deadline_s=3.0, attempts_max=99).feed(1, 5).answer(1, 3)
    rig.wait(3_100)
    assert rig.gaps == [(2, 4, "sequence", GapState.LOST)]
    assert rig.backfilled == [3], "what was found is delivered"
    assert rig.ledger.totals().events_lost == 2


def test_backfilled_events_keep_their_order_over_several_holes():
    """The younger hole waits for the older one: backfilled events are ordered among themselves."""
    rig = Rig(deadline_s=60.0).feed(1, 3, 5)
    rig.answer(2, 4)
    assert rig.backfilled == []
    assert rig.gaps[1][3] is GapState.OPEN
    assert rig.check_conservation().backfilled == 1
    rig.wait(11_000)
    assert rig.asked == [(2, 2), (4, 4), (2, 2)], "the complete one is not asked for again"
    rig.answer(1, 2)
    assert rig.backfilled == [2, 4]
    assert {gap[3] for gap in rig.gaps} == {GapState.BACKFILLED}


def test_holes_under_repair_are_bounded():
    """One hole too many gives up the oldest."""
    rig = Rig(holes_max=2).feed(1, 3, 5, 7)
    assert [gap[3] for gap in rig.gaps] == [GapState.LOST, GapState.OPEN, GapState.OPEN]
    assert rig.trust.current is Trust.UNSOUND


def test_a_huge_hole_is_asked_for_in_bounded_pieces_newest_first():
    """One command never asks for more than the limit."""
    rig = Rig(ids_max=100).feed(1, 1_001)
    assert rig.asked == [(901, 1_000)]
    rig.answer(1, *range(901, 1_001)).wait(1_100)
    assert rig.asked[1:] == [(801, 900)]


def test_off_records_the_loss_and_goes_on_sound():
    """Nothing is fetched, nothing is hidden."""
    rig = Rig(BackfillPolicy.OFF).feed(1, 4, 5)
    assert rig.gaps == [(2, 3, "sequence", GapState.LOST)]
    assert rig.asked == []
    assert rig.trust.current is Trust.SOUND
    assert rig.ids == [1, 4, 5]
    assert sum(isinstance(event, Gap) for event in rig.out.events) == 1


def test_hold_keeps_the_order_whole():
    """Live events wait behind the hole and follow it."""
    rig = Rig(BackfillPolicy.HOLD).feed(1, 4, 5)
    assert rig.ids == [1]
    assert rig.gate.stats().held == 2
    rig.answer(1, 2, 3)
    assert rig.ids == [1, 2, 3, 4, 5]
    assert rig.trust.current is Trust.SOUND
    rig.feed(6)
    assert rig.ids[-1] == 6


def test_hold_lets_go_after_its_time():
    """Held events are never held for ever; the hole then is repaired late."""
    rig = Rig(BackfillPolicy.HOLD, hold_s=1.0).feed(1, 4, 5).wait(1_200)
    assert rig.ids == [1, 4, 5]
    rig.feed(6)
    assert rig.ids == [1, 4, 5, 6], "this hole holds nothing any more"
    rig.answer(1, 2, 3)
    assert rig.ids == [1, 4, 5, 6, 2, 3]
    rig.feed(9).answer(2, 7, 8)
    assert rig.ids[-3:] == [7, 8, 9], "the next hole holds again"


@pytest.mark.fault("S04")
def test_an_event_that_comes_before_the_timer_overtakes_nothing():
    """The wait is over, and the timer has not said so yet."""
    rig = Rig(BackfillPolicy.HOLD, hold_s=1.0).feed(1, 4, 5)
    rig.now_ms += 1_500
    rig.feed(6, 7)
    assert rig.ids == [1, 4, 5, 6, 7]
    rig.answer(1, 2, 3)
    assert rig.ids == [1, 4, 5, 6, 7, 2, 3]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(0, 3)),
        st.tuples(st.just("answer"), st.integers(1, 6)),
        st.tuples(st.just("pause"), st.integers(1, 900)),
        st.tuples(st.just("wait"), st.integers(1, 900)),
    ),
    max_size=60,
)


@pytest.mark.fault("S04")
@given(STEPS)
def test_hold_delivers_live_events_in_order_each_once(steps):
    """Whatever is missing, answered and waited for, and whenever timers run."""
    rig, number = Rig(BackfillPolicy.HOLD, hold_s=1.0, hold_events_max=20), 1
    rig.feed(number)
    for step, value in steps:
        if step == "feed":
            number += 1 + value
            rig.feed(number)
        elif step == "answer" and (record := rig.ledger.get(value)) is not None:
            rig.answer(value, *range(record.first, record.last + 1))
        elif step == "pause":
            rig.now_ms += value
        elif step == "wait":
            rig.wait(value)
    rig.wait(1_200)
    live = [one for one in rig.ids if one not in rig.backfilled]
    assert live == sorted(set(live))
    assert len(rig.ids) == len(set(rig.ids))
    assert number in rig.ids


def test_hold_is_bounded_in_number():
    """A flood behind a hole is let go."""
    rig = Rig(BackfillPolicy.HOLD, hold_events_max=3).feed(1, 3, 4, 5, 6)
    assert rig.ids == [1, 3, 4, 5, 6]


def test_hold_lets_go_when_the_hole_is_given_up():
    """LOST ends the wait as well."""
    rig = Rig(BackfillPolicy.HOLD, hold_s=100.0, deadline_s=2.0).feed(1, 3).wait(2_200)
    assert rig.ids == [1, 3]
    assert rig.gaps[0][3] is GapState.LOST


def test_a_second_hole_is_held_with_the_first():
    """Both are closed before anything goes on."""
    rig = Rig(BackfillPolicy.HOLD).feed(1, 3, 5)
    rig.answer(1, 2)
    assert rig.ids == [1, 2, 3]
    rig.answer(2, 4)
    assert rig.ids == [1, 2, 3, 4, 5]


def test_held_events_are_merged_even_if_the_younger_hole_closes_first():
    """The order is whole whatever is answered first."""
    rig = Rig(BackfillPolicy.HOLD).feed(1, 3, 5)
    rig.answer(2, 4)
    assert rig.ids == [1]
    rig.answer(1, 2)
    assert rig.ids == [1, 2, 3, 4, 5]


@pytest.mark.fault("S03")
def test_duplicates_are_dropped_and_counted():
    """Volume is never counted twice."""
    rig = Rig().feed(1, 2, 2, 1, 3)
    assert rig.ids == [1, 2, 3]
    assert rig.check_conservation().duplicates == 2


@pytest.mark.fault("S04")
def test_a_swap_on_one_line_is_a_gap_at_once_and_heals():
    """The late event fills its hole, marked; live order is not broken in silence."""
    rig = Rig().feed(1, 3, 2, 4)
    assert rig.ids == [1, 3, 2, 4]
    assert rig.backfilled == [2]
    assert rig.gaps == [(2, 2, "sequence", GapState.BACKFILLED)]
    assert rig.trust.current is Trust.SOUND
    rig.answer(1, 2)
    assert rig.ids == [1, 3, 2, 4], "the fetched twin is not delivered again"


@pytest.mark.fault("S05")
def test_an_old_burst_after_a_reconnect_is_dropped():
    """The venue replays its last trades; nobody gets them twice."""
    rig = Rig().feed(*range(1, 50))
    rig.gate.on_close(0, rig.now_ms * MS, rig.out)
    assert rig.trust.current is Trust.UNAVAILABLE
    rig.gate.on_open(0, rig.now_ms * MS, rig.out)
    rig.feed(*[trade(i, rig.now_ms, event_ms=10 * i) for i in range(30, 50)], 50)
    assert rig.ids == list(range(1, 51))
    assert rig.gate.stats().duplicates == 20
    assert rig.gaps == []
    assert rig.trust.current is Trust.SOUND


@pytest.mark.fault("S05")
def test_a_reconnect_hole_has_its_own_cause():
    """The first jump over a reconnect is a reconnect gap, the next a plain one."""
    rig = Rig().feed(1, 2)
    rig.gate.on_close(0, rig.now_ms * MS, rig.out, "rotated")
    assert rig.trust.cause == "rotated"
    rig.gate.on_open(0, rig.now_ms * MS, rig.out)
    rig.feed(6, 8)
    assert [gap[:3] for gap in rig.gaps] == [(3, 5, "reconnect"), (7, 7, "sequence")]


@pytest.mark.fault("S06")
def test_a_restart_of_the_numbering_begins_a_new_epoch():
    """Nothing is dropped as old: three newer events with old, ascending numbers tell it."""
    rig = Rig().feed(1_000, 1_001, 1_004)
    rig.feed(1, 2)
    assert rig.ids == [1_000, 1_001, 1_004]
    assert rig.gate.stats().held == 2
    rig.feed(3, 4)
    assert rig.ids == [1_000, 1_001, 1_004, 1, 2, 3, 4]
    assert rig.gaps == [
        (1_002, 1_003, "sequence", GapState.LOST),
        (1_005, 0, "restart", GapState.LOST),
    ]
    assert rig.trust.current is Trust.SOUND
    stats = rig.check_conservation()
    assert (stats.restarts, stats.duplicates) == (1, 0)


@pytest.mark.fault("S06")
def test_a_restart_right_after_reconnect_and_with_a_hole():
    """The new epoch is judged like any other."""
    rig = Rig().feed(1_000)
    rig.gate.on_open(0, 0, rig.out)
    rig.feed(1, 2, 5)
    assert rig.ids == [1_000, 1, 2, 5]
    assert rig.gaps[-1][:3] == (3, 4, "sequence")


def test_a_restart_without_event_times_needs_a_far_lower_number():
    """Without times only a number far below can be told from a duplicate."""
    rig = Rig()
    rig.feed(*[trade(i, event_ms=-1) for i in (1_000, 900, 901, 902, 903)])
    assert rig.ids == [1_000]
    rig.feed(*[trade(i, event_ms=-1) for i in (1, 2, 3)])
    assert rig.ids == [1_000, 1, 2, 3]


def test_false_evidence_of_a_restart_is_dropped():
    """Numbers that do not ascend, old times, or an event in order end the suspicion."""
    rig = Rig().feed(1_000, 1_001)
    rig.feed(5, 6, 4)
    assert rig.gate.stats().held == 0
    rig.feed(7, 8, 1_002)
    assert rig.ids == [1_000, 1_001, 1_002]
    assert rig.gate.stats().duplicates == 5
    rig.feed(9, trade(10, event_ms=1), trade(11, event_ms=1))
    assert rig.gate.stats().restarts == 0
    assert rig.gate.stats().duplicates == 8
    rig.feed(trade(12, 500, marks=Mark.HISTORY))
    assert rig.gate.stats().unasked == 1, "history is never evidence"
    assert rig.check_conservation().held == 0


def test_hold_is_ended_by_a_restart():
    """What is held belongs to the old epoch and goes out before the new one."""
    rig = Rig(BackfillPolicy.HOLD).feed(1_000, 1_002).feed(1, 2, 3)
    assert rig.ids == [1_000, 1_002, 1, 2, 3]


@pytest.mark.fault("S07")
def test_ids_beyond_2_to_63_are_exact():
    """Integers stay integers."""
    big = 2**63 + 2**53
    rig = Rig().feed(big, big + 1, big + 3)
    assert rig.gaps == [(big + 2, big + 2, "sequence", GapState.OPEN)]
    rig.answer(1, big + 2)
    assert rig.ids == [big, big + 1, big + 3, big + 2]


def test_history_anchors_the_numbering():
    """Coinbase `last_match`: the first live trade must follow it."""
    rig = Rig()
    rig.feed(trade(10, 5, marks=Mark.HISTORY), 12)
    assert rig.ids == [10, 12]
    assert rig.gaps == [(11, 11, "sequence", GapState.OPEN)]


def test_holes_within_history_are_nobodys_loss():
    """A snapshot of old trades may be sparse: they happened before we asked."""
    rig = Rig()
    rig.feed(*[trade(i, marks=Mark.HISTORY) for i in (3, 5, 9)], 10, 11)
    assert rig.ids == [3, 5, 9, 10, 11]
    assert rig.gaps == []


def test_history_after_a_reconnect_fills_and_is_never_doubled():
    """Kraken's snapshot of 50 trades: old ones dropped, new ones delivered, a hole found."""
    rig = Rig().feed(1, 2, 3)
    rig.gate.on_open(0, 0, rig.out)
    history = [trade(i, rig.now_ms, marks=Mark.HISTORY, event_ms=10 * i) for i in (2, 3, 6, 7)]
    rig.feed(*history, 8)
    assert rig.ids == [1, 2, 3, 6, 7, 8]
    assert rig.gaps == [(4, 5, "reconnect", GapState.OPEN)]
    rig.feed(trade(4, marks=Mark.HISTORY), trade(5, marks=Mark.HISTORY))
    assert rig.gaps == [(4, 5, "reconnect", GapState.BACKFILLED)]
    assert rig.gate.stats().unasked == 2


def test_a_quiet_stream_is_proven_by_the_newest_old_trade():
    """`last_match` is the last trade we know: nothing was missed over the reconnect."""
    rig = Rig().feed(1, 2, 3)
    rig.gate.on_close(0, rig.now_ms * MS, rig.out)
    rig.gate.on_open(0, rig.now_ms * MS, rig.out)
    rig.feed(trade(2, rig.now_ms, event_ms=20, marks=Mark.HISTORY)).wait(200)
    assert rig.trust.current is Trust.UNAVAILABLE, "an older one proves nothing"
    rig.feed(trade(3, rig.now_ms, event_ms=30, marks=Mark.HISTORY))
    assert rig.trust.current is Trust.UNAVAILABLE, "more history may follow in the same frame"
    rig.wait(100)
    assert rig.statuses[-1] == (Trust.SOUND, "witnessed")
    rig.feed(6)
    assert rig.gaps == [(4, 5, "sequence", GapState.OPEN)]


def test_a_quiet_stream_is_proven_by_a_heartbeat_after_a_reconnect():
    """The witness says what we know; without a new connection it says nothing new."""
    rig = Rig().feed(1, 2, 3)
    rig.gate.on_close(0, rig.now_ms * MS, rig.out)
    rig.gate.witness(3, rig.now_ms * MS)
    assert rig.gate.next_due_ns == NEVER_NS
    rig.gate.on_open(0, rig.now_ms * MS, rig.out)
    rig.gate.witness(3, rig.now_ms * MS)
    rig.wait(100)
    assert rig.statuses[-1] == (Trust.SOUND, "witnessed")


@pytest.mark.fault("S02")
def test_a_tail_over_a_reconnect_is_found_when_it_is_over():
    """A witness of the old connection is void with it; the jump shows the hole."""
    rig = Rig().feed(1)
    rig.gate.witness(4, rig.now_ms * MS)
    rig.gate.on_close(0, rig.now_ms * MS, rig.out)
    rig.wait(2_000)
    assert rig.gaps == []
    rig.gate.on_open(0, rig.now_ms * MS, rig.out)
    rig.feed(6)
    assert rig.gaps == [(2, 5, "reconnect", GapState.OPEN)]
    told = [status for status, _ in rig.statuses]
    assert told == [Trust.SOUND, Trust.UNAVAILABLE, Trust.UNSOUND], (
        "never sound before it is proven"
    )


@pytest.mark.fault("S02")
def test_a_missing_tail_is_found_by_a_witness():
    """The heartbeat says 7, nothing comes: after the grace it is a gap."""
    rig = Rig().feed(5)
    rig.gate.witness(7, rig.now_ms * MS)
    rig.gate.witness(8, rig.now_ms * MS)
    rig.wait(900)
    assert rig.gaps == []
    rig.wait(200)
    assert rig.gaps == [(6, 7, "tail", GapState.OPEN)]
    assert rig.statuses[-1] == (Trust.UNSOUND, "tail_gap")
    rig.answer(1, 6, 7).feed(8)
    assert rig.ids == [5, 6, 7, 8]
    assert rig.trust.current is Trust.SOUND


@pytest.mark.fault("S02")
def test_a_witness_that_overtook_the_stream_is_no_alarm():
    """The trades arrive within the grace."""
    rig = Rig().feed(5)
    rig.gate.witness(7, rig.now_ms * MS)
    rig.feed(6, 7).wait(2_000)
    assert rig.gaps == []
    rig.gate.witness(7, rig.now_ms * MS)
    rig.gate.witness(3, rig.now_ms * MS)
    assert rig.gate.next_due_ns == NEVER_NS


def test_a_witness_before_the_first_trade_proves_nothing():
    """Without a first trade there is no tail."""
    rig = Rig()
    rig.gate.witness(7, 0)
    assert rig.wait(2_000).gaps == []


@pytest.mark.fault("S02")
def test_a_silent_stream_is_asked_for_by_rest():
    """A lost tail is found though nobody speaks of it: after a minute, then ever more rarely."""
    rig = Rig(tail_check_s=60.0, tail_check_max_s=200.0).feed(1, 2)
    rig.wait(59_900)
    assert rig.asked == []
    rig.wait(200)
    assert rig.asked == [(3, 102)]
    question = rig.out.commands[0].gap_id
    assert question < 0
    assert rig.ledger.get(question).stream == rig.trust.stream
    rig.answer(question, 3, 4).wait(900)
    assert rig.gaps == [], "the answer may have overtaken the stream"
    rig.wait(200)
    assert rig.gaps == [(3, 4, "tail", GapState.OPEN)]
    assert rig.asked == [(3, 102), (3, 4)]
    rig.answer(1, 3, 4)
    assert rig.ids == [1, 2, 3, 4]
    rig.wait(600_000)
    assert rig.asked[2:] == [(5, 104)] * 3, "120, 200, 200 ... seconds apart"
    rig.feed(5).wait(130_000)
    assert rig.asked[5:] == [(6, 105)], "from the beginning again after each event"


def test_a_stream_others_speak_of_is_not_asked_for():
    """Heartbeats bear witness all the time; a closed connection, or OFF, asks for nothing."""
    rig = Rig(tail_check_s=60.0).feed(1)
    for _ in range(30):
        rig.gate.witness(1, rig.now_ms * MS)
        rig.wait(10_000)
    assert rig.asked == []
    rig.gate.on_close(0, rig.now_ms * MS, rig.out)
    assert rig.wait(300_000).asked == []
    assert Rig(BackfillPolicy.OFF, tail_check_s=60.0).feed(1).wait(300_000).asked == []


def test_a_quiet_stream_is_proven_by_rest_after_a_reconnect():
    """Two seconds without an event: REST says that nothing was missed, or what."""
    rig = Rig(tail_check_s=60.0).feed(1, 2)
    for answer, state in (((), "SOUND"), ((3,), "UNSOUND")):
        rig.gate.on_close(0, rig.now_ms * MS, rig.out)
        rig.gate.on_open(0, rig.now_ms * MS, rig.out)
        rig.out.commands.clear()
        rig.wait(1_900)
        assert rig.asked == []
        rig.wait(200)
        assert rig.asked == [(3, 102)]
        rig.answer(rig.out.commands[0].gap_id, *answer).wait(1_200)
        assert rig.trust.current.name == state
    assert rig.gaps == [(3, 3, "tail", GapState.OPEN)]


def test_unnumbered_events_pass():
    """`activate` of Coinbase full has no sequence."""
    ledger = GapLedger()
    trust = StreamTrust(Stream("coinbase", "full", "BTC-USD"), ledger)
    gate = IdGate(trust, number="sequence", policy=BackfillPolicy.OFF)
    out = Output()
    events = [
        order("received", 5, "a"),
        order("activate", 0, "b"),
        order("open", 6, "a"),
        order("done", 9, "a"),
    ]
    for event in events:
        gate.admit(event, out)
    kinds = [event.kind for event in out.events if event.data_type == "full"]
    assert kinds == ["received", "activate", "open", "done"]
    assert [(r.first, r.last) for r in ledger.records()] == [(7, 8)]


def test_staleness_ends_with_the_next_event():
    """Data that comes is fresh."""
    rig = Rig().feed(1)
    rig.trust.report("freshness", Trust.STALE, "stale", 0, 1, rig.out)
    rig.feed(2)
    assert rig.statuses[-1] == (Trust.SOUND, "fresh")
    assert rig.out.events[-1].trust is Trust.SOUND


@pytest.mark.fault("S19")
def test_events_of_a_closed_market_say_so():
    """Another source's complaint is on the event as well."""
    rig = Rig().feed(1)
    rig.trust.report("market", Trust.CLOSED, "halted", 0, 1, rig.out)
    rig.feed(2)
    assert rig.out.events[-1].trust is Trust.CLOSED


def test_a_hole_in_the_connection_needs_nothing_here():
    """The stream's own numbers show it."""
    rig = Rig().feed(1)
    rig.gate.on_connection_gap(0, 0, rig.out)
    assert rig.trust.current is Trust.SOUND
