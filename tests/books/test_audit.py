"""Live books against the venue's own images: scores, windows, consequences."""

import pytest

from crossfeed.books.audit import compare
from crossfeed.books.ladder import Ladder
from crossfeed.testing.events import snapshot
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE
from crossfeed.venues.kraken.sequencing import KrakenBookRule

BIDS = [(99.0, 1.0), (98.0, 1.0), (97.0, 1.0)]
ASKS = [(101.0, 1.0), (102.0, 1.0), (103.0, 1.0)]


def ladder_of(bids, asks):
    """Return a ladder with these levels."""
    ladder = Ladder()
    ladder.load(bids, asks)
    return ladder


def test_equal_books_score_one():
    """Every level, and the top."""
    report = compare(ladder_of(BIDS, ASKS), ladder_of(BIDS, ASKS), sequence=7, ts_recv_ns=9)
    assert (report.levels, report.equal, report.score) == (6, 6, 1.0)
    assert report.is_equal
    assert report.is_top_equal
    assert (report.sequence, report.ts_recv_ns) == (7, 9)
    assert "6 of 6 levels equal at 7" in str(report)


def test_differences_are_counted_by_kind():
    """Another size, a level too many, a level too few."""
    live = ladder_of([(99.0, 1.0), (98.0, 2.0), (96.0, 1.0)], ASKS)
    report = compare(live, ladder_of(BIDS, ASKS))
    assert (report.levels, report.equal) == (7, 4)
    assert (report.only_live, report.only_image) == (1, 1)
    assert report.is_top_equal
    assert not report.is_equal


def test_nothing_to_compare_is_no_difference():
    """Two empty books."""
    assert compare(Ladder(), Ladder()).score == 1.0
    report = compare(ladder_of(BIDS, []), Ladder())
    assert (report.score, report.only_live) == (0.0, 3)


def test_only_the_common_window_is_compared():
    """Beyond the window of either nothing can be said."""
    image = ladder_of([*BIDS, (50.0, 1.0)], [*ASKS, (150.0, 1.0)])
    image.limit_window(97.0, 103.0)
    live = ladder_of([*BIDS, (60.0, 1.0)], [*ASKS, (160.0, 1.0)])
    assert compare(live, image).is_equal
    assert compare(image, live).is_equal


def test_a_book_cut_to_its_depth_covers_no_more():
    """Kraken keeps 3 levels, the image has more; a side that is not full covers everything."""
    live = ladder_of(BIDS, ASKS[:2])
    image = ladder_of([*BIDS, (90.0, 1.0)], [*ASKS[:2], (110.0, 1.0)])
    report = compare(live, image, depth=3)
    assert (report.levels, report.only_image) == (6, 1)


def test_an_audit_compares_at_the_same_number(live):
    """The image is behind: the updates kept since carry it on."""
    assert live.sync.begin_audit(0, live.out)
    assert not live.sync.begin_audit(0, live.out), "one at a time"
    live.delta(101, 101, [(99.0, 2.0)]).delta(102, 102, [(98.5, 1.0)])
    live.answer(101, [(99.0, 2.0), *BIDS[1:]], ASKS)
    report = live.sync.stats().last_audit
    assert (report.score, report.sequence) == (1.0, 102)
    assert live.state == ("live", "SOUND")
    live.delta(103, 103)
    assert live.check_conservation().applied == 3


def test_an_image_ahead_of_the_book_is_waited_for(live):
    """The usual case: REST is newer than the last batch of changes."""
    live.sync.begin_audit(0, live.out)
    live.delta(101, 101).answer(103, [(99.0, 7.0), *BIDS[1:]], ASKS)
    assert live.sync.stats().last_audit is None
    live.delta(102, 102)
    assert live.sync.stats().last_audit is None
    live.delta(103, 104, [(99.0, 7.0)])
    assert live.sync.stats().last_audit.is_equal
    assert live.gaps == []


def test_a_quiet_book_is_compared_as_it_stands(live):
    """No update since: the numbers must be the same."""
    live.sync.begin_audit(0, live.out)
    live.answer(100, BIDS, ASKS)
    assert live.sync.stats().last_audit.is_equal


def test_an_audit_image_that_is_too_old_is_fetched_again(live):
    """A cache must not fake a difference."""
    live.sync.begin_audit(0, live.out)
    live.delta(101, 101).answer(90, BIDS, ASKS)
    assert live.sync.stats().last_audit is None
    live.wait(300).answer(101, BIDS, ASKS)
    assert live.sync.stats().last_audit.is_equal
    assert live.state == ("live", "SOUND")


def test_a_difference_is_told_and_the_book_rebuilt(live):
    """Found wrong by the venue's own word."""
    live.sync.begin_audit(0, live.out)
    live.answer(100, [(99.0, 5.0), *BIDS[1:]], ASKS)
    assert live.statuses == [("SOUND", "audit"), ("UNSOUND", "audit")]
    assert live.gaps == [(0, 0, "audit", "open")]
    assert live.sync.stats().last_audit.score == pytest.approx(5 / 6)
    live.answer(100, [(99.0, 5.0), *BIDS[1:]], ASKS)
    assert live.state == ("live", "SOUND")


def test_a_failed_audit_request_is_repeated(live):
    """As any image."""
    live.sync.begin_audit(0, live.out)
    live.fail().wait(300)
    assert len(live.fetches) == 2
    live.answer(100, BIDS, ASKS)
    assert live.sync.stats().last_audit.is_equal


def test_a_hole_ends_an_audit(live):
    """The image asked for then is for the rebuild."""
    live.sync.begin_audit(0, live.out)
    live.delta(101, 101).answer(105, BIDS, ASKS).delta(110, 110)
    assert live.state == ("syncing", "UNSOUND")
    live.answer(110, BIDS, ASKS)
    assert live.state == ("live", "SOUND")
    assert live.sync.stats().last_audit is None


def test_an_unnumbered_image_is_compared_as_it_is(rig_of):
    """Coinbase REST: the caller judges the score's course; nothing is rebuilt."""
    rig = rig_of(LEVEL2_RULE, exchange="coinbase").image(0, BIDS, ASKS)
    report = rig.sync.audit(snapshot(5, [(99.0, 3.0), *BIDS[1:]], ASKS))
    assert report.score == pytest.approx(5 / 6)
    assert rig.sync.stats().last_audit is report
    assert rig.state == ("live", "SOUND")
    kraken = rig_of(KrakenBookRule(3), exchange="kraken").image(0, BIDS, ASKS)
    assert kraken.sync.audit(snapshot(0, [*BIDS, (1.0, 1.0)], ASKS)).is_equal
