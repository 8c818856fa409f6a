"""The gate of numbered streams against the truth, under any losses, repeats, swaps, repairs."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from crossfeed.integrity.backfill import BackfillLimits, BackfillPolicy
from crossfeed.integrity.continuity import IdGate
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.lines import LineMerge
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Backfill
from crossfeed.model.events import Trade
from crossfeed.model.output import Output
from crossfeed.model.status import GapState, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import EPOCH_NS, trade

MS = 1_000_000
STREAM = Stream("binance", "trade", "BTCUSDT")
FATES = st.sampled_from(["arrive"] * 6 + ["lose", "repeat", "swap", "hold_back"])


class Feed:
    """A gate with a venue that answers backfills as well as it can."""

    def __init__(self, policy, answers, **limits):
        self.ledger = GapLedger()
        self.trust = StreamTrust(STREAM, self.ledger)
        self.gate = IdGate(
            self.trust, policy=policy, limits=BackfillLimits(tail_check_s=0, **limits)
        )
        self.answers = answers
        self.now_ms = 0
        self.delivered = []
        self.asked = []

    def take(self, out):
        """Note what was delivered and asked."""
        self.delivered += [event for event in out.events if isinstance(event, Trade)]
        self.asked += [c for c in out.commands if isinstance(c, Backfill)]

    def arrive(self, number):
        """Let one trade arrive."""
        self.now_ms += 1
        out = Output()
        self.gate.admit(trade(number, self.now_ms, event_ms=number), out)
        self.take(out)

    def tick(self, ms):
        """Answer what was asked, then let time pass."""
        asked, self.asked = self.asked, []
        for command in asked:
            out = Output()
            answer = next(self.answers, 1.0)
            numbers = range(command.first, command.last + 1)
            kept = [n for n in numbers if random.Random(n).random() < answer]
            events = [trade(n, self.now_ms, marks=Mark.REST, event_ms=n) for n in reversed(kept)]
            times = {"now_ns": EPOCH_NS, "mono_ns": self.now_ms * MS}
            self.gate.admit_backfill(command.gap_id, events, out, complete=True, **times)
            self.take(out)
        self.now_ms += ms
        out = Output()
        self.gate.on_timer(EPOCH_NS, self.now_ms * MS, out)
        self.take(out)

    def settle(self):
        """Let everything that is open come to its end."""
        for _ in range(60):
            self.tick(10_000)

    def check(self, first, last, policy):
        """Assert the invariants against the truth `first..last`."""
        ids = [event.trade_id for event in self.delivered]
        assert max(Counter(ids).values()) == 1, "each at most once"
        lost = set()
        for record in self.ledger.records(state=GapState.LOST):
            lost |= set(range(record.first, record.last + 1))
        assert set(ids) <= set(range(first, last + 1))
        missing = set(range(first, last + 1)) - set(ids)
        assert missing <= lost, "delivered + ledger = sent"
        assert sum(r.missing for r in self.ledger.records()) == len(missing), "exact ranges"
        live = [e.trade_id for e in self.delivered if not e.marks & Mark.BACKFILLED]
        late = [e.trade_id for e in self.delivered if e.marks & Mark.BACKFILLED]
        assert live == sorted(live)
        assert late == sorted(late), "backfilled ones are ordered among themselves"
        if policy is BackfillPolicy.HOLD:
            assert ids == sorted(ids)
        assert self.trust.current is Trust.SOUND
        assert self.ledger.totals().open == 0


def play(feed, fates):
    """Send one trade for each fate; return the last number that surely arrived."""
    held, number = [], 1
    feed.arrive(number)
    for fate in fates:
        number += 1
        if fate == "lose":
            continue
        if fate == "swap":
            number += 1
            feed.arrive(number)
            feed.arrive(number - 1)
        elif fate == "hold_back":
            held.append(number)
        else:
            feed.arrive(number)
            if fate == "repeat":
                feed.arrive(number)
            while held and number % 3 == 0:
                feed.arrive(held.pop(0))
        if number % 5 == 0:
            feed.tick(50)
    feed.arrive(number + 1)
    return number + 1


@given(
    st.lists(FATES, max_size=80),
    st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=10),
    st.sampled_from(list(BackfillPolicy)),
)
def test_every_trade_is_delivered_or_in_the_ledger(fates, answers, policy):
    """Whatever is lost, repeated, swapped, late; whatever the venue can still supply."""
    feed = Feed(policy, iter(answers), hold_s=1e6, deadline_s=300.0)
    last = play(feed, fates)
    feed.settle()
    if policy is not BackfillPolicy.OFF:
        feed.check(1, last, policy)
        return
    ids = [event.trade_id for event in feed.delivered]
    assert ids == sorted(set(ids))
    lost = [n for r in feed.ledger.records() for n in range(r.first, r.last + 1)]
    assert sorted([*ids, *lost]) == list(range(1, last + 1))


def test_ten_thousand_faults_none_unnoticed():
    """Losses of one to nine, repeats, swaps: every range exact, nothing doubled, all repaired."""
    rng = random.Random(3)
    feed = Feed(BackfillPolicy.LATE, iter(()), deadline_s=1e6)
    number, faults, lost = 1, 0, 0
    feed.arrive(number)
    while faults < 10_000:
        number += 1
        fate = rng.random()
        if fate < 0.1:
            run = rng.randint(1, 9)
            number += run
            lost += run
            faults += 1
        elif fate < 0.15:
            feed.arrive(rng.randint(max(1, number - 50), number - 1))
            faults += 1
        elif fate < 0.2:
            feed.arrive(number + 1)
            feed.arrive(number)
            number += 2
            faults += 1
        feed.arrive(number)
        if faults % 20 == 0:
            feed.tick(10)
    feed.settle()
    feed.check(1, number, BackfillPolicy.LATE)
    totals = feed.ledger.totals()
    assert totals.events_lost == 0
    assert totals.events_repaired == totals.events_missing >= lost
    assert [e.trade_id for e in sorted(feed.delivered, key=lambda e: e.trade_id)] == list(
        range(1, number + 1)
    )


@given(st.lists(st.tuples(FATES, FATES, st.integers(0, 3)), min_size=1, max_size=60))
def test_two_lines_lose_only_what_both_lose(arrivals):
    """Merged: order kept, nothing doubled, a hole exactly where both have one."""
    ledger = GapLedger()
    trust = StreamTrust(STREAM, ledger)
    gate = IdGate(trust, policy=BackfillPolicy.OFF)
    merge = LineMerge(gate, trust)
    out = Output()
    for name in ("a", "b"):
        merge.line_up(name, 0, 0, out)
        merge.admit(name, trade(1, 0, event_ms=1), out)
    queues = {"a": [], "b": []}
    lost_by = Counter()
    now_ms = 0
    for number, (fate_a, fate_b, lead) in enumerate(arrivals, start=2):
        for name, fate in (("a", fate_a), ("b", fate_b)):
            if fate == "lose":
                lost_by[number] += 1
            else:
                queues[name] += [number] * (1 + (fate == "repeat"))
                if fate == "swap" and len(queues[name]) > 1:
                    queues[name][-2:] = queues[name][:-3:-1]
        for name in ("a", "b") if lead % 2 else ("b", "a"):
            while len(queues[name]) > lead:
                now_ms += 1
                merge.admit(name, trade(queues[name].pop(0), now_ms, event_ms=number), out)
    end = len(arrivals) + 2
    for name in ("a", "b"):
        for number in [*queues[name], end]:
            now_ms += 1
            merge.admit(name, trade(number, now_ms, event_ms=end), out)
    merge.on_timer(0, (now_ms + 1_000) * MS, out)
    ids = [event.trade_id for event in out.events if isinstance(event, Trade)]
    both = {number for number, count in lost_by.items() if count == 2}
    assert ids == sorted(set(ids))
    assert set(range(1, end + 1)) - set(ids) == both
    assert {n for r in ledger.records() for n in range(r.first, r.last + 1)} == both
