"""Books whose image comes in the stream: checksums, depth, connection holes."""

from decimal import Decimal

import pytest

from crossfeed.model.commands import Resubscribe
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE
from crossfeed.venues.kraken.sequencing import KrakenBookRule, book_checksum

ASKS = [
    (45285.2, 0.001),
    (45286.4, 1.54571953),
    (45286.6, 1.54571109),
    (45289.6, 1.54560911),
    (45290.2, 0.1589066),
    (45291.8, 1.54553491),
    (45294.7, 0.04454749),
    (45296.1, 0.3538),
    (45297.5, 0.09945542),
    (45299.5, 0.18772827),
]
BIDS = [
    (45283.5, 0.1),
    (45283.4, 1.54582015),
    (45282.1, 0.1),
    (45281.0, 0.1),
    (45280.3, 1.54592586),
    (45279.0, 0.0799),
    (45277.6, 0.03310103),
    (45277.5, 0.3),
    (45277.3, 1.54602737),
    (45276.6, 0.15445238),
]
DOCUMENTED = 3310070434


@pytest.fixture
def kraken(rig_of):
    """Return a Kraken book of depth 10."""
    return rig_of(
        KrakenBookRule(10), exchange="kraken", price_scale=1, size_scale=8, wants_deltas=True
    )


@pytest.fixture
def coinbase(rig_of):
    """Return a Coinbase level2_batch book."""
    return rig_of(LEVEL2_RULE, exchange="coinbase")


def checksum_of(rig):
    """Return the checksum of a rig's book."""
    return book_checksum(*rig.sync.ladder.top_units(10))


def test_the_documented_checksum(kraken):
    """The venue's own example: image, checksum, SOUND."""
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    assert kraken.state == ("live", "SOUND")
    assert kraken.top == (45283.5, 0.1, 45285.2, 0.001)
    assert kraken.statuses == [("UNSOUND", "syncing"), ("SOUND", "synced")]
    kinds = [event.data_type for event in kraken.out.events]
    assert kinds[-2:] == ["orderbook_snapshot", "book_ticker"]


@pytest.mark.fault("S12")
def test_a_wrong_checksum_is_unsound_in_the_same_message(kraken):
    """One resubscription for the desync, none for the messages after it; the image heals."""
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    events = len(kraken.out.events)
    kraken.delta(0, 0, [(45283.5, 5.0)], checksum=1)
    assert kraken.state == ("syncing", "UNSOUND")
    assert kraken.gaps == [(0, 0, "checksum", "open")]
    told = kraken.out.events[events:]
    assert [event.data_type for event in told] == ["gap", "feed_status", "orderbook_update"]
    assert told[-1].trust.name == "UNSOUND"
    for _ in range(5):
        kraken.delta(0, 0, [(45283.5, 6.0)], checksum=2)
    assert kraken.commands == [Resubscribe("book", "BTCUSDT", "checksum")]
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    assert kraken.state == ("live", "SOUND")
    assert kraken.gaps == [(0, 0, "checksum", "snapshot")]
    assert kraken.check_conservation().waiting == 5


@pytest.mark.fault("S12")
def test_an_image_with_a_wrong_checksum_is_no_book(kraken):
    """Asked for again; a resubscription without an answer is repeated."""
    kraken.image(0, BIDS, ASKS, checksum=7)
    assert kraken.state == ("syncing", "UNSOUND")
    kraken.wait(11_000)
    assert kraken.commands == [Resubscribe("book", "BTCUSDT", "checksum")] * 2


@pytest.mark.fault("S15")
def test_levels_beyond_the_depth_are_cut_after_each_update(kraken):
    """The venue never removes them; they would lie in the book for days."""
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    for step in range(1, 200):
        kraken.delta(0, 0, [(45283.5 + step / 10, 1.0)])
        assert len(kraken.levels[0]) == 10
    kraken.delta(0, 0, [(45303.4, 0.0)], checksum=None)
    assert len(kraken.levels[0]) == 9


@pytest.mark.fault("S16")
def test_one_price_twice_in_one_message(kraken):
    """In order: the last wins, and the checksum says so."""
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    other = [(45283.5, 9.0), *BIDS[1:]]
    expected = book_checksum(
        [(round(p * 10), round(q * 10**8)) for p, q in other],
        [(round(p * 10), round(q * 10**8)) for p, q in ASKS],
    )
    kraken.delta(0, 0, [(45283.5, 0.0), (45283.5, 3.0), (45283.5, 9.0)], checksum=expected)
    assert kraken.state == ("live", "SOUND")


class Texts:
    """Stands for the frame: gives the levels as written."""

    def __init__(self):
        self.levels = None

    def __call__(self, _event):
        return self.levels


@pytest.mark.fault("S20")
def test_a_changed_tick_size_is_no_checksum_alarm(rig_of):
    """The numbers' own decimals are the pair's new precision."""
    texts = Texts()
    rig = rig_of(
        KrakenBookRule(10), exchange="kraken", price_scale=1, size_scale=8, exact_reader=texts
    )
    texts.levels = (
        [(Decimal("100.10"), Decimal("1.000"))],
        [(Decimal("100.20"), Decimal("2.000"))],
    )
    expected = book_checksum([(10010, 1000)], [(10020, 2000)])
    rig.image(0, [(100.1, 1.0)], [(100.2, 2.0)], checksum=expected)
    assert rig.state == ("live", "SOUND")
    assert (rig.sync.ladder.price_scale, rig.sync.ladder.size_scale) == (2, 3)
    texts.levels = ([(Decimal("100.10"), Decimal("3.000"))], [])
    rig.delta(0, 0, [(100.1, 3.0)], checksum=5)
    assert rig.state == ("syncing", "UNSOUND"), "the same precision and still wrong: a mismatch"


@pytest.mark.fault("S20")
def test_a_mismatch_at_any_precision_is_one(rig_of):
    """The old precision is kept then."""
    texts = Texts()
    texts.levels = ([(Decimal("100.10"), Decimal("1.000"))], [])
    rig = rig_of(
        KrakenBookRule(10), exchange="kraken", price_scale=1, size_scale=8, exact_reader=texts
    )
    rig.image(0, [(100.1, 1.0)], [], checksum=5)
    assert rig.state == ("syncing", "UNSOUND")
    assert (rig.sync.ladder.price_scale, rig.sync.ladder.size_scale) == (1, 8)
    texts.levels = None
    rig.image(0, [(100.1, 1.0)], [], checksum=5)
    assert rig.gaps[-1][2] == "checksum"


def test_numbers_no_float_can_hold_come_from_the_frame(rig_of):
    """Image and update alike; without the frame their shortest decimals stand in."""
    texts = Texts()
    rig = rig_of(LEVEL2_RULE, exchange="coinbase", price_scale=0, size_scale=1, exact_reader=texts)
    wide = Decimal("900719925474099.3")
    texts.levels = ([(Decimal(5), wide)], [(Decimal(6), Decimal(1))])
    rig.image(0, [(5.0, float(wide))], [(6.0, 1.0)])
    assert rig.sync.book.depth_exact(1)[0] == [(Decimal("5.0"), wide)]
    texts.levels = ([(Decimal(4), wide)], [])
    rig.delta(0, 0, [(4.0, float(wide))])
    assert rig.sync.book.depth_exact(2)[0][1] == (Decimal("4.0"), wide)
    texts.levels = ([], [])
    rig.delta(0, 0, [(4.5, float(wide))])
    assert rig.sync.book.depth_exact(2)[0][1][0] == Decimal("4.5")


def test_unnumbered_changes_wait_for_the_image(coinbase):
    """What comes before it is not of this book."""
    coinbase.delta(0, 0, [(1.0, 1.0)])
    assert coinbase.state == ("waiting", "UNSOUND")
    assert coinbase.levels == ([], [])
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)]).delta(0, 0, [(5.5, 1.0)])
    assert coinbase.top == (5.5, 1.0, 6.0, 1.0)
    assert coinbase.check_conservation().waiting == 1
    assert coinbase.commands == []


def test_an_acknowledgement_asks_for_nothing_here(coinbase):
    """The image comes by itself; nor can a book without numbers be audited at one."""
    coinbase.subscribed()
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)])
    assert not coinbase.sync.begin_audit(0, coinbase.out)
    assert coinbase.commands == []


def test_a_new_image_replaces_the_book(coinbase):
    """The venue may send one at any time."""
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)]).image(0, [(7.0, 1.0)], [(8.0, 1.0)])
    assert coinbase.levels == ([(7.0, 1.0)], [(8.0, 1.0)])
    assert coinbase.gaps == []


def test_a_reconnect_waits_for_the_new_image(coinbase):
    """Changes of the new connection are not applied to the old book; the hole is recorded."""
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)]).reconnect()
    assert coinbase.state == ("waiting", "UNAVAILABLE")
    assert coinbase.gaps == [(0, 0, "reconnect", "open")]
    coinbase.delta(0, 0, [(5.9, 1.0)])
    assert coinbase.state == ("waiting", "UNSOUND")
    assert coinbase.top == (5.0, 1.0, 6.0, 1.0)
    coinbase.image(0, [(5.1, 1.0)], [(6.1, 1.0)])
    assert coinbase.state == ("live", "SOUND")
    assert coinbase.gaps == [(0, 0, "reconnect", "snapshot")]


def test_a_new_connection_without_the_end_of_the_old_one(coinbase):
    """Rotation on one line: the same."""
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)])
    coinbase.sync.on_open(0, 0, coinbase.out)
    assert coinbase.state == ("waiting", "UNSOUND")
    assert coinbase.gaps == [(0, 0, "reconnect", "open")]


@pytest.mark.fault("S01")
def test_a_hole_in_the_connection_rebuilds_the_book(coinbase):
    """Coinbase Advanced: any book of the socket may have lost a change."""
    coinbase.image(0, [(5.0, 1.0)], [(6.0, 1.0)])
    coinbase.sync.on_connection_gap(0, 0, coinbase.out)
    coinbase.sync.on_connection_gap(0, 0, coinbase.out)
    assert coinbase.state == ("syncing", "UNSOUND")
    assert coinbase.gaps == [(0, 0, "connection", "open")]
    assert coinbase.commands == [Resubscribe("book", "BTCUSDT", "connection")]
    coinbase.delta(0, 0, [(5.5, 1.0)])
    assert coinbase.top == (5.0, 1.0, 6.0, 1.0)
    coinbase.image(0, [(5.5, 1.0)], [(6.0, 1.0)])
    assert coinbase.state == ("live", "SOUND")


@pytest.mark.fault("D03")
@pytest.mark.parametrize("size", [1e-19, 5e-300])
def test_a_number_without_a_checksum_is_a_mismatch(kraken, size):
    """No scale holds it: the book starts over, and nothing is raised on the data path."""
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    kraken.delta(0, 0, [(45283.6, size)], checksum=1)
    assert kraken.gaps == [(0, 0, "checksum", "open")]
    assert kraken.state == ("syncing", "UNSOUND")
    kraken.image(0, BIDS, ASKS, checksum=DOCUMENTED)
    assert kraken.state == ("live", "SOUND")


def test_a_size_written_with_a_positive_exponent_has_no_decimals(rig_of):
    """7.35E+16 is written with none at all, not with a negative number of them."""
    rig = rig_of(
        KrakenBookRule(10), exchange="kraken", price_scale=1, size_scale=8,
        exact_reader=lambda _: ([(Decimal(45000), Decimal("7.35E+16"))], []),
    )  # fmt: skip
    rig.image(0, [(45000.0, 7.35e16)], [], checksum=1)
    assert rig.gaps == [(0, 0, "checksum", "open")]


TOO_LONG = Decimal(123456789012345678901234567890)


@pytest.mark.fault("D03")
def test_a_price_no_book_can_hold_starts_the_book_over(rig_of):
    """In an image as in an update: UNSOUND, a hole, one request; the next image mends it."""
    written = ([], [(TOO_LONG, Decimal(7))])
    rig = rig_of(LEVEL2_RULE, exchange="coinbase", exact_reader=lambda _: written)
    rig.image(0, [], [(float(TOO_LONG), 7.0)])
    assert rig.gaps == [(0, 0, "number", "open")]
    assert rig.state == ("syncing", "UNSOUND")
    rig.image(0, [(1.0, 1.0)], [(2.0, 1.0)])
    assert rig.state == ("live", "SOUND")
    rig.delta(0, 0, [], [(float(TOO_LONG), 7.0)])
    assert [gap[2:] for gap in rig.gaps] == [("number", "snapshot"), ("number", "open")]
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.sync.stats().waiting == 1
