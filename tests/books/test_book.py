"""The public view of a book."""

import pytest

from crossfeed.books.book import OrderBook, Top
from crossfeed.books.ladder import Ladder
from crossfeed.integrity.gaps import GapLedger
from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.output import Output
from crossfeed.model.status import Stream
from crossfeed.model.trust import Integrity, Side, Trust
from crossfeed.testing.events import delta

MS = 1_000_000


class Source:
    """A book's levels and trust, by hand."""

    def __init__(self, bids, asks, last=None):
        self.trust = StreamTrust(
            Stream("binance", "book", "BTCUSDT"),
            GapLedger(),
            unified="BTC/USDT",
            integrity=Integrity.SEQUENCED,
        )
        self.ladder = Ladder()
        self.ladder.load(bids, asks)
        self.sequence = 7
        self.last_applied = last


@pytest.fixture
def source():
    """Return a book three levels deep."""
    return Source(
        [(99.0, 1.0), (98.0, 2.0), (97.0, 3.0)],
        [(101.0, 3.0), (102.0, 2.0), (103.0, 1.0)],
        delta(5, 7, at_ms=500),
    )


@pytest.fixture
def book(source):
    """Return its public view."""
    return OrderBook(source)


@pytest.fixture
def empty():
    """Return a book without levels."""
    return OrderBook(Source([], []))


def test_what_it_is(book):
    """Names, number, trust and integrity at a glance."""
    assert (book.exchange, book.symbol, book.unified) == ("binance", "BTCUSDT", "BTC/USDT")
    assert book.sequence == 7
    assert book.stream == Stream("binance", "book", "BTCUSDT")
    assert (book.trust, book.cause) == (Trust.UNAVAILABLE, "not_subscribed")
    assert book.integrity is Integrity.SEQUENCED
    assert book.level_counts == (3, 3)
    assert "UNAVAILABLE" in repr(book)


def test_the_top_and_its_figures(book):
    """Best, mid, spread, microprice."""
    assert book.best() == Top(99.0, 1.0, 101.0, 3.0)
    assert (book.mid, book.spread) == (100.0, 2.0)
    assert book.microprice == pytest.approx(99.5), "the thin bid will give way"


def test_an_empty_book_has_no_figures(empty):
    """None, not zero."""
    assert empty.best() is None
    assert (empty.mid, empty.spread, empty.microprice) == (None, None, None)
    assert empty.imbalance(5) is None
    assert empty.age_ms(0) is None
    assert empty.ts_event_ns == 0
    image = empty.image()
    assert image.best() is None
    assert (image.ts_event_ns, image.ts_recv_ns, image.ts_mono_ns) == (0, 0, 0)


def test_depth_is_best_first_and_at_least_one_level(book):
    """Floats for reckoning, decimals for the exact text."""
    assert book.depth(2) == ([(99.0, 1.0), (98.0, 2.0)], [(101.0, 3.0), (102.0, 2.0)])
    assert str(book.depth_exact(1)[0][0][0]) == "99.0"
    for read in (book.depth, book.depth_exact, book.imbalance):
        with pytest.raises(ValueError, match="at least 1"):
            read(0)


def test_age_counts_from_the_receipt_of_the_last_update(book):
    """Monotonic, in milliseconds."""
    assert book.age_ms(750 * MS) == 250.0
    assert book.ts_event_ns == delta(5, 7, at_ms=500).ts_event_ns


@pytest.mark.parametrize(
    ("side", "size", "cost", "worst", "levels"),
    [
        (Side.BUY, 1.0, 101.0, 101.0, 1),
        (Side.BUY, 4.0, 3 * 101.0 + 102.0, 102.0, 2),
        (Side.SELL, 2.5, 99.0 + 1.5 * 98.0, 98.0, 2),
        (Side.SELL, 6.0, 99.0 + 196.0 + 291.0, 97.0, 3),
    ],
)
def test_walk_tells_the_price_of_a_size(book, side, size, cost, worst, levels):
    """A buyer takes asks, a seller bids."""
    walk = book.walk(side, size)
    assert (walk.cost, walk.worst_price, walk.levels) == (cost, worst, levels)
    assert (walk.filled, walk.is_partial) == (size, False)
    assert walk.average_price == pytest.approx(cost / size)
    assert book.image().walk(side, size) == walk


def test_walk_beyond_the_known_depth_is_partial(book, empty):
    """It says how much there was."""
    walk = book.walk(Side.BUY, 100.0)
    assert (walk.filled, walk.is_partial, walk.levels) == (6.0, True, 3)
    nothing = empty.walk(Side.SELL, 1.0)
    assert (nothing.filled, nothing.average_price, nothing.worst_price) == (0.0, None, None)


def test_walk_leaves_no_dust():
    """0.1 + 0.2 fills 0.3 without touching the next level."""
    book = OrderBook(Source([], [(1.0, 0.1), (2.0, 0.2), (3.0, 9.0)]))
    walk = book.walk(Side.BUY, 0.3)
    assert (walk.filled, walk.levels, walk.worst_price) == (0.3, 2, 2.0)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_walk_refuses_what_is_no_size(book, size):
    """NaN included."""
    with pytest.raises(ValueError, match="size is"):
        book.walk(Side.BUY, size)


def test_walk_over_numbers_no_float_can_hold():
    """They are read as floats here."""
    source = Source([], [])
    source.ladder.set_scales(1, 1)
    wide = Ladder.shortest([(5.0, 9007199254740994.0)])
    source.ladder.apply_exact(wide, wide)
    assert OrderBook(source).walk(Side.SELL, 2.0).cost == 10.0


def test_imbalance(book):
    """(bids - asks) / (bids + asks) over the best levels."""
    assert book.imbalance(1) == (1 - 3) / (1 + 3)
    assert book.imbalance(3) == 0.0
    assert book.image().imbalance(1) == book.imbalance(1)


def test_an_image_never_changes(book, source):
    """Taken once, true for that moment."""
    image = book.image(2)
    out = Output()
    source.trust.report("connection", Trust.SOUND, "first_data", 0, 0, out)
    source.ladder.apply([(99.0, 0.0)], [])
    assert image.best() == Top(99.0, 1.0, 101.0, 3.0)
    assert image.bids == ((99.0, 1.0), (98.0, 2.0))
    assert image.trust is Trust.UNAVAILABLE
    assert (image.sequence, image.unified) == (7, "BTC/USDT")
    assert image.ts_mono_ns == 500 * MS
    assert book.image().trust is Trust.SOUND
    assert len(book.image().asks) == 3


def test_a_view_can_be_led_to_another_line(book):
    """The pipeline switches whole; the reader's object stays."""
    other = Source([(1.0, 1.0)], [(2.0, 1.0)])
    book.switch(other)
    assert book.best() == Top(1.0, 1.0, 2.0, 1.0)
