"""What the tests of stage 3b share."""

import pytest

from crossfeed.books.rebuild import BookLimits
from crossfeed.books.sync import BookSync
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import FetchSnapshot
from crossfeed.model.events import Quote
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Stream
from crossfeed.testing.events import EPOCH_NS, delta, snapshot
from crossfeed.venues.binance.sequencing import SPOT_BOOK

MS = 1_000_000


class BookRig:
    """One book with its clock (ms) and all its results."""

    def __init__(self, rule=SPOT_BOOK, *, limits=None, exchange="binance", **options):
        self.ledger = GapLedger()
        self.exchange = exchange
        self.trust = StreamTrust(Stream(exchange, "book", "BTCUSDT"), self.ledger)
        book_limits = BookLimits(**{"window_levels": 0, **(limits or {})})
        self.sync = BookSync(self.trust, rule, limits=book_limits, **options)
        self.out = Output()
        self.now_ms = 0

    # ── what comes in ───────────────────────────────────────────────────────

    def delta(self, first, last, bids=(), asks=(), **fields):
        """Bring one update, 10 ms after the last event."""
        self.now_ms += 10
        fields = {"at_ms": self.now_ms, "exchange": self.exchange, **fields}
        self.sync.admit(delta(first, last, list(bids), list(asks), **fields), self.out)
        return self

    def image(self, sequence=0, bids=(), asks=(), **fields):
        """Bring one image in the stream."""
        self.now_ms += 10
        fields = {"at_ms": self.now_ms, "exchange": self.exchange, **fields}
        self.sync.admit(snapshot(sequence, list(bids), list(asks), **fields), self.out)
        return self

    def answer(self, sequence, bids=(), asks=(), *, epoch=None, **fields):
        """Bring the REST image that was asked for last (or that of another epoch)."""
        fields = {"at_ms": self.now_ms, "event_ms": -1, "exchange": self.exchange, **fields}
        image = snapshot(sequence, list(bids), list(asks), **fields)
        self.sync.on_snapshot(image, self.epoch if epoch is None else epoch, self.out)
        return self

    def fail(self, wait_s=0.0):
        """Let the REST request fail."""
        self.sync.on_snapshot_failed(self.epoch, self.now_ms * MS, wait_s)
        return self

    def subscribed(self):
        """Let the venue acknowledge."""
        self.sync.on_subscribed(self.now_ns, self.now_ms * MS, self.out)
        return self

    def reconnect(self):
        """Lose the connection and get a new one."""
        self.sync.on_close(self.now_ns, self.now_ms * MS, self.out)
        self.sync.on_open(self.now_ns, self.now_ms * MS, self.out)
        return self

    def wait(self, ms):
        """Let time pass, with a timer where one is due."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(self.now_ms + 50, end_ms)
            if self.sync.next_due_ns <= self.now_ms * MS:
                self.sync.on_timer(self.now_ns, self.now_ms * MS, self.out)
        return self

    # ── what comes out ──────────────────────────────────────────────────────

    @property
    def now_ns(self):
        """Return the wall time."""
        return EPOCH_NS + self.now_ms * MS

    @property
    def epoch(self):
        """Return the newest epoch asked for."""
        return self.sync.stats().epoch

    @property
    def top(self):
        """Return the book's top as (bid, size, ask, size)."""
        return self.sync.ladder.best()

    @property
    def levels(self):
        """Return the whole book."""
        return self.sync.ladder.depth(10_000)

    @property
    def state(self):
        """Return (state, trust) as words."""
        return str(self.sync.state), self.trust.current.name

    @property
    def gaps(self):
        """Return (first, last, cause, state) of the ledger's records."""
        return [(r.first, r.last, r.cause, str(r.state)) for r in self.ledger.records()]

    @property
    def commands(self):
        """Return the commands and forget them."""
        commands, self.out.commands = self.out.commands, []
        return commands

    @property
    def fetches(self):
        """Return (epoch, attempt) of the images asked for so far."""
        return [(c.epoch, c.attempt) for c in self.out.commands if isinstance(c, FetchSnapshot)]

    @property
    def statuses(self):
        """Return (trust, cause) of the changes and alerts told."""
        return [(e.current.name, e.cause) for e in self.out.events if isinstance(e, FeedStatus)]

    @property
    def quotes(self):
        """Return (bid, ask) of the quotes told."""
        return [(e.bid_price, e.ask_price) for e in self.out.events if isinstance(e, Quote)]

    def data(self, kind):
        """Return the events of one type."""
        return [event for event in self.out.events if event.data_type == kind]

    def live(self, sequence=100):
        """Bring the book to life at `sequence`: 99/101, three levels a side."""
        self.delta(sequence, sequence)
        self.answer(
            sequence,
            [(99.0, 1.0), (98.0, 1.0), (97.0, 1.0)],
            [(101.0, 1.0), (102.0, 1.0), (103.0, 1.0)],
        )
        assert self.state == ("live", "SOUND")
        self.out = Output()
        return self

    def check_conservation(self):
        """Assert that every update is accounted for."""
        stats = self.sync.stats()
        assert stats.updates == stats.applied + stats.duplicates + stats.waiting
        self.sync.ladder.check()
        return stats


@pytest.fixture
def rig_of():
    """Return the maker of rigs."""
    return BookRig


@pytest.fixture
def rig():
    """Return a Binance spot book."""
    return BookRig()


@pytest.fixture
def live(rig):
    """Return a Binance spot book that lives at 100."""
    return rig.live()
