"""One virtual day of one symbol: busy and quiet hours, rotations, outages, a silent stall.

Everything of stages 3 and 3b together, as the pipeline wires it, against the truth.
"""

import random

import pytest

from crossfeed.books.sync import BookSync
from crossfeed.integrity.continuity import IdGate, OpenGate
from crossfeed.integrity.freshness import Freshness
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.lines import LineMerge
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import Backfill, FetchSnapshot, Reconnect, Resubscribe
from crossfeed.model.events import Quote, Trade
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, GapState, Stream
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import EPOCH_NS, delta, heartbeat, snapshot, trade
from crossfeed.venues.binance.sequencing import SPOT_BOOK

MS = 1_000_000
HOUR_S = 3_600
OUTAGES = {5 * HOUR_S + 8: 30, 11 * HOUR_S + 100: 300, 19 * HOUR_S: 2}
STALL_AT_S, STALL_LIMIT_S = 15 * HOUR_S + 12, 10.0
STEP_S = 2
QUIET_HOURS = range(2, 5)


class Venue:
    """The truth: a book that walks and trades that are numbered."""

    def __init__(self, rng):
        self.rng = rng
        self.sequence = 1_000
        self.trade_id = 500
        self.mid = 1_000
        self.bids = {float(self.mid - i): 1.0 for i in range(1, 6)}
        self.asks = {float(self.mid + i): 1.0 for i in range(1, 6)}
        self.tops = {self.sequence: (self.mid - 1.0, self.mid + 1.0)}

    def move(self):
        """Shift the book by a tick; return the update."""
        first = self.sequence + 1
        self.sequence += self.rng.randint(1, 5)
        step = self.rng.choice([-1, 1])
        old_bids, old_asks = self.bids, self.asks
        self.mid += step
        self.bids = {float(self.mid - i): self.rng.randint(1, 9) / 2 for i in range(1, 6)}
        self.asks = {float(self.mid + i): self.rng.randint(1, 9) / 2 for i in range(1, 6)}
        self.tops[self.sequence] = (max(self.bids), min(self.asks))
        changes = [
            [(price, 0.0) for price in old if price not in new] + list(new.items())
            for old, new in ((old_bids, self.bids), (old_asks, self.asks))
        ]
        return first, self.sequence, *changes


class Day:
    """The client's machines, its connections and the virtual clock."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.venue = Venue(self.rng)
        self.ledger = GapLedger()
        self.now_s = 0.0
        trades = StreamTrust(Stream("binance", "trade", "BTCUSDT"), self.ledger)
        book = StreamTrust(Stream("binance", "book", "BTCUSDT"), self.ledger)
        self.gate = IdGate(trades)
        self.merge = LineMerge(self.gate, trades)
        self.sync = BookSync(book, SPOT_BOOK)
        self.books = LineMerge(self.sync, book)
        self.trusts = (trades, book)
        self.freshness = Freshness()
        for trust, gate, is_event_like in ((trades, self.gate, True), (book, self.sync, False)):
            self.freshness.watch(trust, gate, 0, age_limit_s=10.0, is_event_like=is_event_like)
        self.heartbeats = OpenGate(StreamTrust(Stream("binance", "heartbeat", ""), self.ledger))
        self.freshness.watch(self.heartbeats.trust, self.heartbeats, 0, age_limit_s=5.0)
        self.lines = []
        self.number = 0
        self.asked = []
        self.delivered = []
        self.alarms = []
        self.reconnect_wanted = False
        self.faulty_until_s = 5.0

    @property
    def mono_ns(self):
        """Return the monotonic time."""
        return int(self.now_s * 1_000) * MS

    def take(self, out):
        """Carry out commands later; check and note what was told."""
        for event in out.events:
            if isinstance(event, Trade):
                self.delivered.append(event)
            elif isinstance(event, Quote) and event.trust is Trust.SOUND:
                assert (event.bid_price, event.ask_price) == self.venue.tops[event.update_id]
            elif isinstance(event, FeedStatus) and event.current is not Trust.SOUND:
                self.alarms.append((self.now_s, event.cause))
        for command in out.commands:
            if isinstance(command, Reconnect):
                self.reconnect_wanted = True
            elif not isinstance(command, Resubscribe):
                self.asked.append(command)

    def run(self, act):
        """Run one step."""
        out = Output()
        act(out)
        self.take(out)

    def up(self):
        """Bring a new connection up."""
        self.number += 1
        name = f"c{self.number}"
        times = (EPOCH_NS + self.mono_ns, self.mono_ns)
        self.run(lambda out: self.merge.line_up(name, *times, out))
        self.run(lambda out: self.books.line_up(name, *times, out))
        self.run(lambda out: self.sync.on_subscribed(*times, out))
        if not self.lines:
            self.freshness.on_open(self.mono_ns)
        self.lines.append(name)

    def down(self, name, cause="disconnected"):
        """End a connection."""
        self.lines.remove(name)
        times = (EPOCH_NS + self.mono_ns, self.mono_ns)
        for merge in (self.merge, self.books):
            self.run(lambda out, m=merge: m.line_down(name, *times, out, cause))

    def step(self, *, is_busy, is_stalled):
        """Two seconds of the venue's life, and of ours."""
        self.now_s += STEP_S
        at_ms = self.now_s * 1_000
        for _ in range(self.rng.randint(1, 2) if is_busy else self.rng.random() < 0.1):
            first, last, bids, asks = self.venue.move()
            update = delta(first, last, bids, asks, at_ms)
            numbers = range(self.venue.trade_id + 1, self.venue.trade_id + self.rng.randint(1, 3))
            self.venue.trade_id += len(numbers)
            events = [trade(number, at_ms) for number in numbers]
            for name in [] if is_stalled else self.lines:
                for event in events:
                    self.run(lambda out, n=name, e=event: self.merge.admit(n, e, out))
                self.run(lambda out, n=name, u=update: self.books.admit(n, u, out))
        if self.lines and not is_stalled:
            self.heartbeats.admit(heartbeat(0, at_ms), Output())
        self.answer()
        times = (EPOCH_NS + self.mono_ns, self.mono_ns)
        for machine in (self.gate, self.merge, self.sync, self.books, self.freshness):
            if self.mono_ns >= machine.next_due_ns:
                self.run(lambda out, m=machine: m.on_timer(*times, out))

    def answer(self):
        """Let REST answer what was asked a moment ago."""
        asked, self.asked = self.asked, []
        at_ms = self.now_s * 1_000
        for command in asked:
            if isinstance(command, FetchSnapshot):
                bids, asks = list(self.venue.bids.items()), list(self.venue.asks.items())
                image = snapshot(self.venue.sequence, bids, asks, at_ms, event_ms=-1)
                epoch = command.epoch
                self.run(lambda out, i=image, e=epoch: self.sync.on_snapshot(i, e, out))
            elif isinstance(command, Backfill):
                numbers = range(command.first, command.last + 1)
                known = [n for n in numbers if n <= self.venue.trade_id]
                found = [trade(n, at_ms, marks=Mark.REST) for n in known]
                times = {"now_ns": EPOCH_NS + self.mono_ns, "mono_ns": self.mono_ns}
                self.run(
                    lambda out, c=command, f=found, t=times: self.gate.admit_backfill(
                        c.gap_id, f, out, complete=True, **t
                    )
                )

    def false_alarms(self):
        """Return the alarms since the last look that nothing explains."""
        alarms, self.alarms = self.alarms, []
        return [alarm for alarm in alarms if alarm[0] > self.faulty_until_s]


@pytest.mark.fault("C06")
@pytest.mark.fault("T04")
@pytest.mark.timeout(60)
def test_a_day_with_rotations_outages_and_quiet_hours():
    """No trade lost or doubled, no false alarm, sound again within seconds after each fault."""
    day = Day(seed=20)
    day.up()
    outage_ends_s, rotate_down_s, found_stall = 0.0, 0.0, None
    for second in range(0, 24 * HOUR_S, STEP_S):
        if second in OUTAGES:
            outage_ends_s = second + OUTAGES[second]
            day.faulty_until_s = outage_ends_s + 15.0
            for name in list(day.lines):
                day.down(name)
        if not day.lines and second >= outage_ends_s:
            day.up()
        if second % HOUR_S == 1_800:  # rotation: make before break
            day.up()
            rotate_down_s = second + 6
        if second == rotate_down_s and len(day.lines) > 1:
            day.down(day.lines[0], "rotated")
        is_stalled = second >= STALL_AT_S and found_stall is None
        if second == STALL_AT_S:
            day.faulty_until_s = float("inf")
        if is_stalled and day.reconnect_wanted:
            found_stall = second
            day.faulty_until_s = second + 15.0
            day.down(day.lines[0], "stale")
        is_busy = (second // HOUR_S) not in QUIET_HOURS
        day.step(is_busy=is_busy, is_stalled=is_stalled)
        if second % 60 == 0:
            assert day.false_alarms() == []
            if day.now_s > day.faulty_until_s:
                assert [trust.current for trust in day.trusts] == [Trust.SOUND] * 2
    assert found_stall is not None
    assert found_stall - STALL_AT_S <= STALL_LIMIT_S + 5 + 2 * STEP_S, "limit, patience, ticks"
    ids = [event.trade_id for event in day.delivered]
    assert sorted(ids) == list(range(ids[0], day.venue.trade_id + 1))
    live = [event.trade_id for event in day.delivered if not event.marks & Mark.BACKFILLED]
    assert live == sorted(live)
    totals = day.ledger.totals()
    assert (totals.open, totals.lost) == (0, 0)
    causes = {record.cause for record in day.ledger.records()}
    assert causes == {"reconnect"}, "rotations leave no trace in the ledger"
    assert list(day.ledger.records(state=GapState.OPEN)) == []
