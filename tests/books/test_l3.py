"""The order-by-order book."""

from decimal import Decimal

import pytest

from crossfeed.books.l3 import L3Sync
from crossfeed.books.ladder import Ladder
from crossfeed.books.orders import OrderPool
from crossfeed.books.rebuild import BookLimits
from crossfeed.books.stats import BookState
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.commands import FetchSnapshot
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Stream
from crossfeed.model.trust import Mark, Side, Trust
from crossfeed.testing.events import order, ticker

MS = 1_000_000
BUY, SELL = Side.BUY, Side.SELL


class Rig:
    """An order book with all its results."""

    def __init__(self, **limits):
        self.ledger = GapLedger()
        self.trust = StreamTrust(Stream("coinbase", "full_book", "BTC-USD"), self.ledger)
        book_limits = BookLimits(**limits) if limits else None
        self.sync = L3Sync(self.trust, price_scale=2, size_scale=8, limits=book_limits)
        self.out = Output()
        self.now_ms = 0

    def feed(self, *events):
        """Admit events."""
        for event in events:
            self.now_ms += 1
            self.sync.admit(event, self.out)
        return self

    def answer(self, sequence, *orders, epoch=None):
        """Bring the image: (id, side, price, size) each."""
        opens = [
            order("open", sequence, i, side=s, price=p, size=q, marks=Mark.REST | Mark.SNAPSHOT)
            for i, s, p, q in orders
        ]
        epoch = self.sync.stats().epoch if epoch is None else epoch
        self.sync.on_snapshot(opens, sequence, epoch, 0, self.now_ms * MS, self.out)
        return self

    def wait(self, ms):
        """Let time pass."""
        self.now_ms += ms
        if self.sync.next_due_ns <= self.now_ms * MS:
            self.sync.on_timer(0, self.now_ms * MS, self.out)
        return self

    def live(self):
        """Bring the book to life at 10: a and b at 99, c at 101."""
        self.feed(order("received", 10, "x"))
        self.answer(10, ("a", BUY, 99.0, 1.0), ("b", BUY, 99.0, 2.0), ("c", SELL, 101.0, 3.0))
        assert self.state == ("live", "SOUND")
        self.out = Output()
        return self

    @property
    def state(self):
        """Return (state, trust) as words."""
        return str(self.sync.state), self.trust.current.name

    @property
    def gaps(self):
        """Return (first, last, cause, state) of all holes."""
        return [(r.first, r.last, r.cause, str(r.state)) for r in self.ledger.records()]

    @property
    def fetches(self):
        """Return the attempts of the images asked for."""
        return [c.attempt for c in self.out.commands if isinstance(c, FetchSnapshot)]


def test_the_recipe():
    """Queue, fetch, drop what the image holds, replay the rest, go on live."""
    rig = Rig().feed(
        order("open", 10, "old", price=50.0, size=9.0),
        order("open", 11, "d", price=99.5, size=1.0),
        order("match", 12, "a", price=99.0, size=0.25),
    )
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.out.commands == [FetchSnapshot("BTC-USD", 1, 0)]
    rig.answer(10, ("a", BUY, 99.0, 1.0), ("c", SELL, 101.0, 3.0))
    assert rig.state == ("live", "SOUND")
    assert rig.sync.book.depth(5) == ([(99.5, 1.0), (99.0, 0.75)], [(101.0, 3.0)])
    rig.feed(order("done", 13, "d", price=99.5))
    assert rig.sync.book.best().bid_price == 99.0
    stats = rig.sync.stats()
    assert (stats.orders, stats.applied, stats.waiting, stats.updates) == (2, 1, 3, 4)
    assert (rig.sync.sequence, rig.sync.last_event.sequence) == (13, 13)
    assert "live" in repr(rig.sync)


def test_orders_can_be_read():
    """One by id, and the queue at a price in order of arrival."""
    rig = Rig().live()
    assert rig.sync.order("b").units == 200_000_000
    assert rig.sync.order("zzz") is None
    rig.feed(order("open", 11, "e", price=99.0, size=0.5))
    assert [resting.order_id for resting in rig.sync.queue(BUY, 99.0)] == ["a", "b", "e"]
    assert rig.sync.queue(SELL, 99.0) == []


@pytest.mark.fault("S01")
def test_a_missing_event_is_a_hole():
    """UNSOUND, exact range, one request, closed by the image."""
    rig = Rig().live().feed(order("done", 13, "a"), order("done", 14, "b"))
    assert rig.gaps == [(11, 12, "sequence", "open")]
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.fetches == [0]
    rig.answer(13, ("b", BUY, 99.0, 2.0), ("c", SELL, 101.0, 3.0))
    assert rig.gaps == [(11, 12, "sequence", "snapshot")]
    assert rig.sync.book.depth(5)[0] == []
    assert rig.trust.cause == "resynced"
    assert rig.sync.stats().holes == {"sequence": 1}


@pytest.mark.fault("S03")
def test_old_events_are_dropped():
    """Live and while waiting."""
    rig = Rig().live().feed(order("open", 9, "z", price=1.0, size=1.0))
    rig.feed(order("open", 15, "y", price=1.0, size=1.0), order("open", 15, "y"))
    assert rig.sync.stats().duplicates == 2
    assert rig.sync.order("z") is None


def test_a_hole_while_waiting_is_recorded_too():
    """What came before it cannot be used."""
    rig = Rig().feed(order("received", 5, "a"), order("received", 8, "b"))
    assert rig.gaps == [(6, 7, "sequence", "open")]
    assert rig.sync.stats().buffered == 1


@pytest.mark.fault("S08")
@pytest.mark.fault("S11")
def test_an_image_that_is_too_old_is_fetched_again():
    """With growing distance; after three an alert."""
    rig = Rig().feed(order("received", 50, "a"))
    for _ in range(3):
        rig.answer(10).wait(5_000)
        rig.feed(order("received", rig.sync.last_event.sequence + 1, "a"))
    assert [e.cause for e in rig.out.events if isinstance(e, FeedStatus)][-1] == "old_snapshot"
    assert rig.fetches == [0, 1, 2, 3]
    rig.answer(60, ("a", BUY, 1.0, 1.0))
    assert rig.state == ("live", "SOUND")


@pytest.mark.fault("S10")
def test_requests_fail_and_come_late():
    """Asked again; answers of old requests are void."""
    rig = Rig().feed(order("received", 5, "a"))
    rig.sync.on_snapshot_failed(1, rig.now_ms * MS, 2.0)
    rig.sync.on_snapshot_failed(1, rig.now_ms * MS)
    rig.wait(1_900)
    assert rig.fetches == [0]
    rig.wait(200)
    assert rig.fetches == [0, 1]
    rig.answer(5, epoch=1)
    assert rig.sync.stats().void_images == 1
    assert rig.state == ("syncing", "UNSOUND")


def test_an_empty_image_is_a_book():
    """A new market has no orders; the first one opens it."""
    rig = Rig()
    rig.sync.on_subscribed(0, 0, rig.out)
    rig.sync.on_subscribed(0, 0, rig.out)
    assert rig.fetches == [0]
    rig.answer(7)
    assert str(rig.sync.state) == "live"
    assert rig.sync.last_applied is None
    rig.feed(order("open", 8, "a", price=1.0, size=1.0))
    assert rig.state == ("live", "SOUND")


def test_reconnects():
    """Goes on if the next event follows; else a reconnect hole; waits anew if it was waiting."""
    rig = Rig().live()
    rig.sync.on_close(0, 0, rig.out)
    assert rig.state == ("live", "UNAVAILABLE")
    rig.sync.on_open(0, 0, rig.out)
    rig.feed(order("received", 11, "q"))
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == []
    rig.sync.on_open(0, 0, rig.out)
    rig.feed(order("received", 15, "q"))
    assert rig.gaps == [(12, 14, "reconnect", "open")]
    rig.sync.on_close(0, 0, rig.out)
    assert rig.sync.state is BookState.WAITING
    rig.sync.on_open(0, 0, rig.out)
    rig.feed(order("received", 20, "q")).answer(20)
    assert rig.gaps == [(12, 14, "reconnect", "snapshot")]


@pytest.mark.fault("S13")
def test_a_crossed_order_book_is_flagged_and_rebuilt():
    """As any book."""
    rig = Rig().live().feed(order("open", 11, "x", price=102.0, size=1.0))
    assert rig.trust.cause == "crossed"
    rig.feed(order("done", 12, "x"))
    assert rig.state == ("live", "SOUND")
    rig.feed(order("open", 13, "x", price=102.0, size=1.0)).wait(1_100)
    assert rig.gaps == [(0, 0, "crossed", "open")]
    rig.sync.resync("requested", 0, 0, rig.out)
    assert len(rig.gaps) == 1


def test_unnumbered_and_foreign_events():
    """`activate` says nothing of the book; another kind is a mistake of the wiring."""
    rig = Rig().live().feed(order("activate", 0, "x"))
    assert rig.sync.stats().updates == 1
    with pytest.raises(AssertionError):
        rig.sync.admit(ticker(1), rig.out)


def test_trust_of_others_is_lifted_by_data():
    """Staleness ends with the next event."""
    rig = Rig().live()
    rig.trust.report("freshness", Trust.STALE, "stale", 0, 0, rig.out)
    rig.feed(order("received", 11, "q"))
    assert rig.trust.current is Trust.SOUND


# ── the pool of orders ──────────────────────────────────────────────────────


@pytest.fixture
def pool():
    """Return a pool with a ladder."""
    return OrderPool(Ladder(2, 8))


def test_sums_leave_no_dust(pool):
    """A thousand times 0.1 in and out is nothing."""
    for number in range(1_000):
        pool.apply(order("open", 1, str(number), price=5.0, size=0.1))
    assert pool._ladder.depth(1)[0] == [(5.0, 100.0)]
    for number in range(1_000):
        pool.apply(order("done", 1, str(number)))
    assert pool._ladder.depth(1)[0] == []
    assert len(pool) == 0
    assert pool._queues == {}


def test_every_kind_of_event(pool):
    """Open, match, change of size and of price, done; the rest changes nothing."""
    ladder = pool._ladder
    assert pool.apply(order("open", 1, "a", side=SELL, price=5.0, size=3.0))
    assert pool.apply(order("match", 2, "a", side=SELL, price=5.0, size=1.0))
    assert ladder.depth(1)[1] == [(5.0, 2.0)]
    assert pool.apply(order("change", 3, "a", side=SELL, price=5.0, size=0.5))
    assert ladder.depth(1)[1] == [(5.0, 0.5)]
    assert pool.apply(order("change", 4, "a", side=SELL, size=0.25))
    assert ladder.depth(1)[1] == [(5.0, 0.25)]
    assert pool.apply(order("change", 5, "a", side=SELL, price=6.0, size=0.75))
    assert ladder.depth(2)[1] == [(6.0, 0.75)]
    assert pool.get("a").price == 6.0
    assert pool.apply(order("match", 6, "a", side=SELL, price=6.0, size=0.75))
    assert pool.get("a") is None, "filled whole"
    assert not pool.apply(order("done", 7, "a"))
    assert not pool.apply(order("received", 8, "b", price=1.0, size=1.0))
    assert not pool.apply(order("open", 9, "b", size=1.0)), "a market order rests nowhere"
    assert not pool.apply(order("open", 10, "b", price=1.0))
    assert pool.unknown == 1


def test_an_order_opened_twice_counts_once(pool):
    """The newer one stands."""
    pool.apply(order("open", 1, "a", price=5.0, size=3.0))
    pool.apply(order("open", 2, "a", price=4.0, size=1.0))
    assert pool._ladder.depth(5)[0] == [(4.0, 1.0)]
    pool.clear()
    assert len(pool) == 0
    assert pool._ladder.depth(5)[0] == []


def test_a_venue_that_counts_anew():
    """Three old numbers with newer times: a hole of cause "restart", and a new image."""
    rig = Rig().live()
    rig.feed(order("received", 11, "q", at_ms=10))
    rig.feed(order("received", 1, "q", at_ms=11), order("received", 11, "q", at_ms=10))
    rig.feed(*(order("received", number, "q", at_ms=20 + number) for number in (2, 3)))
    assert rig.state == ("live", "SOUND")
    rig.feed(order("received", 4, "q", at_ms=24))
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.gaps == [(12, 0, "restart", "open")]
    rig.feed(order("received", 5, "q", at_ms=25)).answer(4, ("n", BUY, 98.0, 1.0))
    assert rig.state == ("live", "SOUND")
    assert rig.sync.sequence == 5


def test_old_numbers_behind_an_image_are_no_restart():
    """The time of an image may be older than its number."""
    rig = Rig().live()
    rig.feed(*(order("received", number, "q", at_ms=50) for number in (7, 8, 9, 10)))
    assert rig.state == ("live", "SOUND")


@pytest.mark.fault("S13")
def test_an_auction_may_cross_as_long_as_it_lasts():
    """Flagged, not fetched again; when it is over and the book still crossed, it is."""
    rig = Rig().live()
    rig.sync.allows_crossed = True
    rig.feed(order("open", 11, "x", price=102.0, size=1.0)).wait(5_000).wait(5_000)
    assert rig.state == ("live", "UNSOUND")
    assert rig.fetches == []
    rig.sync.allows_crossed = False
    rig.wait(5_000)
    assert rig.fetches == [0]


def test_lost_frames_of_the_connection():
    """Perhaps of this book: it is built anew."""
    rig = Rig().live()
    assert rig.sync.next_number == 11
    rig.sync.on_connection_gap(0, 0, rig.out)
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.sync.next_number == 0


def test_the_public_view_shows_the_orders():
    """By id, and in the queue of a price."""
    book = Rig().live().sync.book
    assert (book.order_count, book.allows_crossed) == (3, False)
    assert [one.order_id for one in book.queue(BUY, 99.0)] == ["a", "b"]
    assert book.queue(BUY, 1.0) == []
    assert book.order("c").price == 101.0
    assert book.order("d") is None


# ── a quiet product after a reconnect, and its tail ───────────────────────────


def reconnected(rig):
    """Let the connection break and come back."""
    at = (0, rig.now_ms * MS)
    rig.sync.on_close(*at, rig.out)
    assert rig.state == ("live", "UNAVAILABLE")
    rig.sync.on_open(*at, rig.out)
    rig.sync.on_subscribed(*at, rig.out)
    return rig


@pytest.mark.fault("S02")
def test_the_heartbeat_proves_a_quiet_book_after_a_reconnect():
    rig = reconnected(Rig().live())
    rig.sync.witness(10, rig.now_ms * MS)
    rig.wait(0)
    assert rig.state == ("live", "SOUND")
    assert rig.trust.cause == "witnessed"
    assert (rig.wait(60_000).fetches, rig.gaps) == ([], [])


@pytest.mark.fault("S02")
def test_a_lost_tail_shows_at_the_next_heartbeat():
    rig = Rig().live()
    rig.sync.witness(12, rig.now_ms * MS)
    assert rig.wait(999).state == ("live", "SOUND"), "the heartbeat may have overtaken the feed"
    assert rig.wait(1).state == ("syncing", "UNSOUND")
    rig.answer(12, ("a", BUY, 99.0, 1.0))
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == [(11, 12, "tail", "snapshot")]


def test_a_heartbeat_that_overtook_the_feed_is_no_loss():
    rig = Rig().live()
    rig.sync.witness(11, rig.now_ms * MS)
    rig.sync.witness(12, rig.now_ms * MS)
    rig.feed(order("received", 11, "x")).wait(2_000)
    assert (rig.state, rig.gaps) == (("live", "SOUND"), [])


def test_an_image_proves_a_quiet_book_where_no_heartbeat_comes():
    rig = reconnected(Rig().live())
    assert rig.wait(1_999).fetches == []
    assert rig.wait(1).fetches == [0]
    rig.answer(9, ("a", BUY, 99.0, 1.0))
    assert rig.state == ("live", "UNAVAILABLE"), "older than the book: it says nothing"
    rig.wait(250)
    assert rig.fetches == [0, 1]
    rig.answer(10, ("a", BUY, 99.0, 1.0))
    assert (rig.state, rig.gaps) == (("live", "SOUND"), [])
    assert rig.sync.order_count == 3, "the book was right and is kept"


def test_an_image_shows_what_a_quiet_book_has_missed():
    rig = reconnected(Rig().live()).wait(2_000)
    rig.answer(13, ("d", BUY, 98.0, 1.0))
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == [(11, 13, "reconnect", "snapshot")]
    assert rig.sync.order_count == 1


def test_an_old_image_again_and_again_is_told():
    rig = reconnected(Rig().live()).wait(2_000)
    for _ in range(3):
        rig.answer(9, ("a", BUY, 99.0, 1.0)).wait(60_000)
    alerts = [e.cause for e in rig.out.events if isinstance(e, FeedStatus)]
    assert "old_snapshot" in alerts


def test_an_event_that_follows_ends_the_doubt():
    rig = reconnected(Rig().live()).wait(2_000)
    rig.feed(order("received", 11, "x"))
    assert rig.state == ("live", "SOUND")
    rig.answer(9, ("a", BUY, 99.0, 1.0))
    assert rig.sync.stats().void_images == 1
    assert rig.wait(60_000).fetches == [0]


def test_what_a_heartbeat_says_while_the_book_is_built_is_of_no_use():
    rig = Rig().feed(order("received", 10, "x"))
    rig.sync.witness(50, rig.now_ms * MS)
    rig.answer(10, ("a", BUY, 99.0, 1.0)).wait(5_000)
    assert rig.gaps == []
    rig.sync.witness(11, rig.now_ms * MS)
    rig.sync.resync("requested", 0, rig.now_ms * MS, rig.out)
    assert rig.wait(1_000).gaps == [(0, 0, "requested", "open")]


@pytest.mark.fault("S11")
def test_an_image_older_than_the_book_it_shall_replace_is_fetched_again():
    """Nothing has come since: the image alone must not take the book back."""
    rig = Rig().live().feed(order("open", 11, "d", side=BUY, price=98.0, size=1.0))
    rig.sync.resync("requested", 0, rig.now_ms * MS, rig.out)
    rig.answer(10, ("a", BUY, 99.0, 1.0))
    assert rig.state == ("syncing", "UNSOUND")
    rig.wait(250).answer(11, ("a", BUY, 99.0, 1.0), ("d", BUY, 98.0, 1.0))
    assert rig.state == ("live", "SOUND")


def test_an_order_finer_than_the_instruments_step():
    """It rests from before the venue made its step coarser: everything is counted finer then."""
    ladder = Ladder(2, 0)
    pool = OrderPool(ladder)
    pool.apply(order("open", 1, "a", price=99.0, size=3.0))
    pool.apply(order("open", 2, "b", price=99.0, size=0.25))
    assert ladder.size_scale == 2
    assert [(o.order_id, o.units) for o in pool.queue(BUY, 99.0)] == [("a", 300), ("b", 25)]
    assert ladder.depth(1)[0] == [(99.0, 3.25)]
    pool.apply(order("match", 3, "a", price=99.0, size=0.125))
    assert pool.get("a").units == 2_875
    assert ladder.depth(1)[0] == [(99.0, 3.125)]
    pool.apply(order("done", 4, "a"))
    assert ladder.depth(1)[0] == [(99.0, 0.25)]


def test_a_level_beyond_what_a_float_holds_exactly():
    """Sums above 2**51 units are kept as decimals, not left out of the levels."""
    ladder = Ladder(2, 8)
    pool = OrderPool(ladder)
    pool.apply(order("open", 1, "a", price=99.0, size=20_000_000.0))
    pool.apply(order("open", 2, "b", price=99.0, size=20_000_000.00000001))
    assert ladder.depth(1)[0] == [(99.0, 40_000_000.00000001)]
    assert ladder.depth_exact(1)[0][0][1] == Decimal("40000000.00000001")
    pool.apply(order("done", 3, "b"))
    assert ladder.depth(1)[0] == [(99.0, 20_000_000.0)]


@pytest.mark.fault("D03")
def test_a_size_no_book_can_hold_starts_the_book_over():
    """In an event as in an image; the next image may be without it."""
    rig = Rig().live().feed(order("open", 11, "d", price=98.0, size=1e-19))
    assert rig.gaps == [(0, 0, "number", "open")]
    assert rig.state == ("syncing", "UNSOUND")
    rig.answer(11, ("d", BUY, 98.0, 1e-19))
    assert rig.state == ("syncing", "UNSOUND")
    rig.wait(300)
    assert rig.fetches == [0, 1]
    rig.answer(11, ("c", SELL, 101.0, 3.0))
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == [(0, 0, "number", "snapshot")]


@pytest.mark.fault("D03")
def test_a_fresh_image_no_book_can_hold_is_no_proof():
    """Of a book that a reconnect left to be proven: it is fetched again as any other."""
    rig = Rig().live()
    rig.sync.on_close(0, rig.now_ms * MS, rig.out)
    rig.sync.on_open(0, rig.now_ms * MS, rig.out)
    rig.sync.on_subscribed(0, rig.now_ms * MS, rig.out)
    rig.wait(3_000).answer(12, ("d", BUY, 98.0, 1e-19))
    assert rig.state == ("syncing", "UNAVAILABLE")
    rig.answer(12, ("c", SELL, 101.0, 3.0))
    assert rig.state == ("live", "SOUND")
