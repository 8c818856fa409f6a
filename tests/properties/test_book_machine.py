"""Books against a naive model: random losses, repeats, swaps, images, resyncs, reconnects."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossfeed.books.rebuild import BookLimits
from crossfeed.books.sync import BookSync
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import FetchSnapshot, Resubscribe
from crossfeed.model.events import Quote
from crossfeed.model.output import Output
from crossfeed.model.status import GapState, Stream
from crossfeed.model.trust import Trust
from crossfeed.testing.events import EPOCH_NS, delta, snapshot
from crossfeed.venues.binance.sequencing import FUTURES_BOOK, SPOT_BOOK
from crossfeed.venues.kraken.sequencing import KrakenBookRule, book_checksum

MS = 1_000_000
# Bids below 50, asks above: the venue's own book is never crossed.
BIDS = st.lists(st.tuples(st.integers(1, 49), st.sampled_from([0.0, 1.0, 2.0, 5.0])), max_size=4)
FATES = ["arrive", "arrive", "arrive", "lose", "repeat", "swap", "wait"]
ASKS = st.lists(st.tuples(st.integers(50, 99), st.sampled_from([0.0, 1.0, 2.0, 5.0])), max_size=4)


class Venue:
    """The truth: a dict book, and what it looked like at each number."""

    def __init__(self):
        self.sequence = 100
        self.bids = {10.0: 1.0, 20.0: 1.0}
        self.asks = {60.0: 1.0, 70.0: 1.0}
        self.history = {}
        self.remember()

    def remember(self):
        """Keep the book as it stands."""
        self.history[self.sequence] = (
            sorted(self.bids.items(), reverse=True),
            sorted(self.asks.items()),
        )

    def change(self, bids, asks, width):
        """Change the book; return (first, last) of the update."""
        first = self.sequence + 1
        self.sequence += width
        for book, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                if size:
                    book[float(price)] = size
                else:
                    book.pop(float(price), None)
        self.remember()
        return first, self.sequence


class RestBookMachine(RuleBasedStateMachine):
    """A Binance spot book on a line that loses, repeats and swaps."""

    rule_of_venue = SPOT_BOOK

    @initialize()
    def start(self):
        """Subscribe."""
        self.venue = Venue()
        self.ledger = GapLedger()
        self.trust = StreamTrust(Stream("binance", "book", "BTCUSDT"), self.ledger)
        limits = BookLimits(window_levels=0, buffer_max=8, retry_s=0.1)
        self.sync = BookSync(self.trust, self.rule_of_venue, wants_deltas=True, limits=limits)
        self.now_ms = 0
        self.wire = []
        self.images = []
        self.delivered = []
        self.step(lambda out: self.sync.on_subscribed(EPOCH_NS, 0, out))
        self.serve(0)

    def step(self, act):
        """Run one step with its own output and judge what it told."""
        out = Output()
        act(out)
        for command in out.commands:
            assert isinstance(command, FetchSnapshot)
            self.images.append(command.epoch)
        for event in out.events:
            if isinstance(event, Quote) and event.trust is Trust.SOUND:
                bids, asks = self.venue.history[event.update_id]
                assert (event.bid_price, event.bid_quantity) == bids[0]
                assert (event.ask_price, event.ask_quantity) == asks[0]
            elif event.data_type == "depth":
                self.delivered.append(event.last)

    @rule(
        traffic=st.lists(
            st.tuples(BIDS, ASKS, st.integers(1, 4), st.sampled_from(FATES)), min_size=1, max_size=6
        )
    )
    def traffic(self, traffic):
        """A few changes, each with its fate."""
        for bids, asks, width, fate in traffic:
            self.change(bids, asks, width)
            if fate == "lose" and len(self.wire) > 1:
                self.wire.pop(0)
            elif fate == "repeat":
                self.deliver(0)
            elif fate == "swap" and len(self.wire) > 1:
                self.wire[0], self.wire[1] = self.wire[1], self.wire[0]
            while self.wire and fate != "wait":
                self.arrive()
            self.sound_or_flagged()

    def serve(self, age):
        """Answer the newest request with an image of some changes ago."""
        epoch = self.images.pop()
        numbers = sorted(self.venue.history)
        number = numbers[max(0, len(numbers) - 1 - age)]
        bids, asks = self.venue.history[number]
        image = snapshot(number, list(bids), list(asks), self.now_ms, event_ms=-1)
        self.step(lambda out: self.sync.on_snapshot(image, epoch, out))

    def change(self, bids, asks, width):
        """The venue's book moves; the update is on the wire."""
        previous = self.venue.sequence
        first, last = self.venue.change(bids, asks, width)
        self.wire.append((first, last, bids, asks, previous))

    def deliver(self, at):
        """Let one update of the wire arrive."""
        first, last, bids, asks, previous = self.wire[at]
        self.now_ms += 1
        levels = ([(float(p), q) for p, q in side] for side in (bids, asks))
        fields = {"at_ms": self.now_ms, "event_ms": last}
        if self.rule_of_venue is FUTURES_BOOK:
            fields["previous"] = previous
        event = delta(first, last, *levels, **fields)
        self.step(lambda out: self.sync.admit(event, out))

    def arrive(self):
        """Let the next update arrive; a hole before it is found by it, exactly."""
        was_live = self.sync.state == "live" and self.trust.current is Trust.SOUND
        before, holes = self.sync.sequence, self.ledger.totals().found
        first, last = self.wire[0][:2]
        is_joined = self.sync._bridge_from is None
        self.deliver(0)
        self.wire.pop(0)
        if self.rule_of_venue is SPOT_BOOK and was_live and is_joined:
            if first > before + 1:
                record = list(self.ledger.records())[-1]
                assert self.ledger.totals().found == holes + 1
                assert (record.first, record.last) == (before + 1, first - 1)
            elif self.sync.state == "live":
                assert self.sync.sequence == max(before, last)

    @precondition(lambda self: self.images)
    @rule(age=st.integers(0, 3))
    def answer(self, age):
        """The image that was asked for arrives, of now or of some changes ago."""
        self.serve(age)

    @precondition(lambda self: len(self.images) > 1)
    @rule()
    def answer_late(self):
        """An image of an old request arrives: a book that never was, to show if it is taken."""
        epoch = self.images.pop(0)
        image = snapshot(self.venue.sequence, [(1.0, 9.0)], [(99.0, 9.0)], self.now_ms, event_ms=-1)
        self.step(lambda out: self.sync.on_snapshot(image, epoch, out))

    @precondition(lambda self: self.images)
    @rule()
    def fail(self):
        """A request fails."""
        epoch = self.images.pop()
        self.sync.on_snapshot_failed(epoch, self.now_ms * MS)

    @rule(ms=st.sampled_from([50, 500, 20_000]))
    def wait(self, ms):
        """Time passes."""
        self.now_ms += ms
        now_ns = self.now_ms * MS
        self.step(lambda out: self.sync.on_timer(EPOCH_NS + now_ns, now_ns, out))

    @rule()
    def resync(self):
        """Somebody asks for a new book."""
        self.step(lambda out: self.sync.resync("requested", 0, self.now_ms * MS, out))

    @rule()
    def audit(self):
        """Somebody asks for a comparison."""
        self.step(lambda out: self.sync.begin_audit(self.now_ms * MS, out))

    @rule(losing=st.booleans())
    def reconnect(self, losing):
        """The connection is lost, with what was on it or without loss."""
        if losing:
            self.wire.clear()
        now_ns = self.now_ms * MS
        self.step(lambda out: self.sync.on_close(EPOCH_NS, now_ns, out))
        self.images.clear()
        self.step(lambda out: self.sync.on_open(EPOCH_NS, now_ns, out))
        self.step(lambda out: self.sync.on_subscribed(EPOCH_NS, now_ns, out))

    @invariant()
    def sound_or_flagged(self):
        """What is given out as SOUND is the truth at its number, to the last digit."""
        if not hasattr(self, "venue"):
            return
        self.sync.ladder.check()
        if self.trust.current is Trust.SOUND:
            assert self.sync.state == "live"
            assert self.sync.ladder.depth(1_000) == self.venue.history[self.sync.sequence]
        stats = self.sync.stats()
        assert stats.updates == stats.applied + stats.duplicates + stats.waiting
        assert stats.buffered <= 8
        assert self.sync.stats().last_audit is None or self.sync.stats().last_audit.is_equal

    @invariant()
    def no_hole_stays_open_on_a_sound_book(self):
        """A book that stands again closes its holes."""
        if hasattr(self, "venue") and self.trust.current is Trust.SOUND:
            assert list(self.ledger.records(state=GapState.OPEN)) == []

    def teardown(self):
        """When the faults stop, the book is sound again without anybody's help."""
        if not hasattr(self, "venue"):
            return
        self.wire.clear()
        self.images.clear()
        now_ns = self.now_ms * MS
        self.step(lambda out: self.sync.on_close(EPOCH_NS, now_ns, out))
        self.step(lambda out: self.sync.on_open(EPOCH_NS, now_ns, out))
        for _ in range(40):
            self.change([(5, 1.0)], [(95, 1.0)], 1)
            self.deliver(0)
            self.wire.clear()
            if self.images:
                self.serve(0)
            self.wait(1_000)
        assert self.trust.current is Trust.SOUND
        self.sound_or_flagged()


class FuturesBookMachine(RestBookMachine):
    """The same for futures, chained by `pu`."""

    rule_of_venue = FUTURES_BOOK


class ChecksumBookMachine(RuleBasedStateMachine):
    """A Kraken book of depth 3 on a line that loses, repeats and swaps."""

    DEPTH = 3

    @initialize()
    def start(self):
        """Subscribe; the image comes by itself."""
        self.venue = Venue()
        self.ledger = GapLedger()
        self.trust = StreamTrust(Stream("kraken", "book", "BTC/USD"), self.ledger)
        rule_of_venue = KrakenBookRule(self.DEPTH)
        self.sync = BookSync(self.trust, rule_of_venue, price_scale=0, size_scale=0)
        self.wire = []
        self.now_ms = 0
        self.image()

    def top(self):
        """Return the best levels of the truth, as subscribed."""
        bids, asks = self.venue.history[self.venue.sequence]
        return bids[: self.DEPTH], asks[: self.DEPTH]

    def checksum(self):
        """Return the venue's checksum of now."""
        return book_checksum(
            *([(int(price), int(size)) for price, size in side] for side in self.top())
        )

    def admit(self, event):
        """Admit one event; every command resubscribes, and is answered by an image later."""
        out = Output()
        self.sync.admit(event, out)
        assert all(isinstance(command, Resubscribe) for command in out.commands)
        assert len(out.commands) <= 1

    def image(self):
        """Put an image on the wire behind what is there, and deliver everything."""
        bids, asks = self.top()
        fields = {"checksum": self.checksum(), "exchange": "kraken", "symbol": "BTC/USD"}
        self.wire.clear()
        self.admit(snapshot(0, list(bids), list(asks), self.now_ms, **fields))

    @rule(traffic=st.lists(st.tuples(BIDS, ASKS, st.sampled_from(FATES)), min_size=1, max_size=6))
    def traffic(self, traffic):
        """A few changes, each with its fate."""
        for bids, asks, fate in traffic:
            self.change(bids, asks)
            if fate == "lose" and len(self.wire) > 1:
                self.wire.pop(0)
            elif fate == "repeat":
                self.wire.insert(0, self.wire[0])
            elif fate == "swap" and len(self.wire) > 1:
                self.wire[0], self.wire[1] = self.wire[1], self.wire[0]
            while self.wire and fate != "wait":
                self.arrive()

    def change(self, bids, asks):
        """The book moves; the venue also sends what comes into the depth again."""
        before = self.top()
        self.venue.change(bids, asks, 1)
        changes = []
        for old, new in zip(before, self.top(), strict=True):
            gone = [(price, 0.0) for price, _ in old if price not in dict(new)]
            fell_out = {p for p, _ in gone if p in self.venue.bids or p in self.venue.asks}
            changes.append(
                [level for level in gone if level[0] not in fell_out]
                + [level for level in new if level not in old]
            )
        self.wire.append((changes[0], changes[1], self.checksum()))

    def arrive(self):
        """The next update arrives."""
        self.now_ms += 1
        bids, asks, checksum = self.wire.pop(0)
        fields = {"checksum": checksum, "exchange": "kraken", "symbol": "BTC/USD"}
        self.admit(delta(0, 0, bids, asks, self.now_ms, **fields))
        self.a_sound_book_has_the_venues_checksum()

    @precondition(lambda self: self.sync.state == "syncing")
    @rule()
    def resubscribed(self):
        """The image that was asked for arrives."""
        self.image()
        assert self.trust.current is Trust.SOUND

    @invariant()
    def a_sound_book_has_the_venues_checksum(self):
        """Whatever was lost: after a message the top is the one the venue had then, or flagged."""
        if not hasattr(self, "venue"):
            return
        self.sync.ladder.check()
        last = self.sync.last_applied
        if self.trust.current is Trust.SOUND and last is not None:
            assert book_checksum(*self.sync.ladder.top_units(10)) == last.checksum
        assert max(map(len, self.sync.ladder.depth(100))) <= self.DEPTH


# A third of the profile's examples: each is a run of up to 30 steps.
SETTINGS = settings(
    max_examples=settings().max_examples // 3, stateful_step_count=30, deadline=None
)
TestRestBook = RestBookMachine.TestCase
TestRestBook.settings = SETTINGS
TestFuturesBook = FuturesBookMachine.TestCase
TestFuturesBook.settings = SETTINGS
TestChecksumBook = ChecksumBookMachine.TestCase
TestChecksumBook.settings = SETTINGS
