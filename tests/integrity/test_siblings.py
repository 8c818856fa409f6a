"""What one line owes because another one has brought it."""

import pytest

from crossfeed.integrity.continuity import OpenGate
from crossfeed.integrity.freshness import Freshness
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.siblings import Debt, is_ahead
from crossfeed.integrity.trust import NEVER_NS, StreamTrust
from crossfeed.model.commands import Reconnect, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import heartbeat, quote, snapshot, ticker, trade

MS = 1_000_000


class Other:
    """Another line of the same stream."""

    def __init__(self, *, is_shared=True):
        self.is_shared = is_shared
        self.event = None

    def newest_elsewhere(self):
        """Return what it brought last."""
        return self.event


@pytest.mark.parametrize(
    ("theirs", "ours", "is_news"),
    [
        (trade(5, 100), trade(4, 90), True),
        (trade(5, 100), trade(5, 90, event_ms=100), False),
        (trade(4, 9_000, event_ms=80), trade(5, 90), False),
        (trade(1, 9_000), trade(5_000, 90), True),  # counted anew: newer by its time
        (trade(5, 100), None, True),
        (trade(5, 40), None, False),  # before the line was subscribed
        (trade(5, 100, marks=Mark.HISTORY), trade(4, 90), False),
        (snapshot(9, [], [], 5_000), None, False),
        (ticker(100, 1_000), ticker(100, 500), False),  # may be twins
        (ticker(100, 2_000), ticker(100, 500), True),
        (quote(9, 10, 600, update_id=7), quote(9, 10, 500, update_id=6), True),
        (ticker(100, 1_600, event_ms=-1), ticker(100, 500, event_ms=-1), True),
    ],
)
def test_what_is_news_to_the_other_line(theirs, ours, is_news):
    assert is_ahead(theirs, ours, 50 * MS) is is_news


def test_a_line_owes_only_what_came_after_its_subscription():
    other = Other()
    debt = Debt(other, None)
    other.event = trade(1, 10)
    debt.look(None, 20 * MS)
    assert debt.since_ns == NEVER_NS
    debt.begin(30 * MS)
    debt.look(None, 40 * MS)
    assert debt.since_ns == NEVER_NS
    other.event = trade(2, 50)
    debt.look(None, 60 * MS)
    assert debt.since_ns == 60 * MS
    assert debt.age_ns(None, 5_060 * MS) == 0, "it may be late"
    assert debt.age_ns(None, 5_061 * MS) == (5_061 - 30) * MS
    assert debt.due_ns(None, 10_000 * MS) == 10_030 * MS + 1
    debt.end()
    assert debt.since_ns == NEVER_NS


class Rig:
    """One line with a heartbeat beside the stream that its sibling carries as well."""

    def __init__(self, *, is_shared=True):
        self.freshness = Freshness()
        self.other = Other(is_shared=is_shared)
        self.out = Output()
        self.now_ms = 1_000
        self.gates = {}
        self.due = {}
        for channel in ("trade", "heartbeat"):
            gate = OpenGate(StreamTrust(Stream("x", channel, "BTC"), GapLedger()))
            self.gates[channel] = gate
            self.freshness.watch(
                gate.trust,
                gate,
                self.now_ms * MS,
                age_limit_s=10.0,
                is_event_like=channel == "trade",
                elsewhere=self.other if channel == "trade" else None,
            )
            self.freshness.acknowledged(gate.trust.stream, self.now_ms * MS)

    def run(self, seconds, *, theirs_s=0, ours_after_ms=None):
        """Let time pass; the sibling brings a trade every so often, this line after it or never."""
        due = self.due
        for _ in range(round(seconds * 10)):
            self.now_ms += 100
            if self.now_ms % 1_000 == 0:
                self.gates["heartbeat"].admit(heartbeat(0, self.now_ms), self.out)
            if theirs_s and self.now_ms % int(theirs_s * 1_000) == 0:
                self.other.event = trade(self.now_ms, self.now_ms)
                if ours_after_ms is not None:
                    due[self.now_ms + ours_after_ms] = self.now_ms
            if self.now_ms in due:
                number = due.pop(self.now_ms)
                self.gates["trade"].admit(trade(number, self.now_ms, event_ms=number), self.out)
            if self.freshness.next_due_ns <= self.now_ms * MS:
                self.freshness.on_timer(0, self.now_ms * MS, self.out)
        return self

    @property
    def steps(self):
        """Return the commands given."""
        return [type(command) for command in self.out.commands]

    @property
    def alerts(self):
        """Return the causes told without a change of trust."""
        return [
            e.cause
            for e in self.out.events
            if isinstance(e, FeedStatus) and e.previous is e.current
        ]


@pytest.mark.fault("T04", "S18")
def test_a_line_that_lacks_what_its_sibling_has_is_silent_however_quiet_the_market():
    rig = Rig().run(4, theirs_s=1, ours_after_ms=100)
    rig.run(10.0, theirs_s=1)
    assert rig.alerts == []
    rig.run(0.3, theirs_s=1)
    assert rig.alerts == ["line_silent"]
    assert rig.gates["trade"].trust.current is Trust.STALE
    assert "while another line carries it" in rig.gates["trade"].trust.detail
    rig.run(30, theirs_s=1)
    assert rig.steps == [Resubscribe, Reconnect, Reconnect]
    assert rig.out.commands[-1].is_other_endpoint
    assert rig.freshness.stats().silent_lines == 1
    rig.run(2, theirs_s=1, ours_after_ms=100)
    assert rig.gates["trade"].trust.current is Trust.SOUND


def test_a_quiet_symbol_and_a_slow_line_are_no_silent_line():
    rig = Rig().run(4, theirs_s=1, ours_after_ms=100).run(300)
    assert (rig.alerts, rig.steps) == ([], [])
    rig.run(300, theirs_s=60, ours_after_ms=4_000)
    assert (rig.alerts, rig.steps) == ([], [])
    rig.run(65, theirs_s=60)
    assert rig.alerts == ["line_silent"], "six seconds after the first trade it did not bring"


def test_a_line_found_silent_is_given_no_second_patience_on_a_new_connection():
    rig = Rig().run(2, theirs_s=1, ours_after_ms=100).run(11, theirs_s=1)
    gate, mono_ns = rig.gates["trade"], rig.now_ms * MS
    rig.freshness.on_open(mono_ns)
    rig.freshness.watch(
        gate.trust, gate, mono_ns, age_limit_s=10.0, is_event_like=True, elsewhere=rig.other
    )
    rig.freshness.acknowledged(gate.trust.stream, mono_ns)
    assert len(rig.steps) == 1
    rig.run(7.5, theirs_s=1)
    assert rig.steps == [Resubscribe, Reconnect]


@pytest.mark.parametrize(("is_shared", "is_alarm"), [(True, False), (False, True)])
def test_a_first_datum_is_missed_only_where_the_line_needs_one(is_shared, is_alarm):
    """Lines with one state lack nothing in a quiet market; a line with its own waits for it."""
    freshness, out, other = Freshness(), Output(), Other(is_shared=is_shared)
    other.event = ticker(100, 500)
    gate = OpenGate(StreamTrust(Stream("x", "book", "BTC"), GapLedger()))
    freshness.watch(gate.trust, gate, 1_000 * MS, age_limit_s=60.0, elsewhere=other)
    freshness.acknowledged(gate.trust.stream, 1_000 * MS)
    for now_ms in range(1_000, 16_000, 500):
        freshness.on_timer(0, now_ms * MS, out)
    assert bool(freshness.stats().missing_first) is is_alarm
