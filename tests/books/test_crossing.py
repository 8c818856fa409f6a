"""Crossed and locked books: flagged at once, classified, rebuilt only if nothing explains them."""

import pytest

from crossfeed.books.crossing import Crossing


def crossings(rig):
    """Return what became of the crossings so far."""
    return {str(kind): count for kind, count in rig.sync.stats().crossings.items() if count}


@pytest.mark.fault("S13")
def test_a_crossed_book_is_unsound_and_tells_no_quote(live):
    """Nobody shall take it for an arbitrage."""
    live.delta(101, 101, [(102.0, 1.0)])
    assert live.state == ("live", "UNSOUND")
    assert live.statuses == [("UNSOUND", "crossed")]
    assert live.quotes == []
    assert "bid 102.0 and ask 101.0" in live.trust.detail


@pytest.mark.fault("S13")
def test_a_passing_crossing_is_forgotten(live):
    """The venue split one change over two messages: SOUND again, no rebuild."""
    live.delta(101, 101, [(102.0, 1.0)]).delta(102, 102, [], [(101.0, 0.0), (102.0, 0.0)])
    assert live.state == ("live", "SOUND")
    assert live.quotes == [(102.0, 103.0)]
    assert crossings(live) == {"transient": 1}
    live.wait(5_000)
    assert live.fetches == []
    assert live.gaps == []


@pytest.mark.fault("S13")
def test_a_locked_book_is_flagged_as_such(live):
    """Equal prices; a lock that becomes a cross stays one case."""
    live.delta(101, 101, [(101.0, 1.0)])
    assert live.statuses == [("UNSOUND", "locked")]
    live.delta(102, 102, [(101.5, 1.0)])
    assert live.trust.cause == "crossed"
    live.delta(103, 103, [(101.5, 0.0), (101.0, 0.0)])
    assert live.state == ("live", "SOUND")
    assert crossings(live) == {"transient": 1}


@pytest.mark.fault("S13")
def test_a_lasting_crossing_is_corruption(live):
    """After a second the book is rebuilt."""
    live.delta(101, 101, [(102.0, 1.0)]).wait(950)
    assert live.fetches == []
    live.wait(100)
    assert live.state == ("syncing", "UNSOUND")
    assert live.gaps == [(0, 0, "crossed", "open")]
    assert crossings(live) == {"corrupt": 1}
    live.answer(101, [(99.0, 1.0)], [(101.0, 1.0)])
    assert live.state == ("live", "SOUND")


@pytest.mark.fault("S13")
def test_an_auction_may_cross_as_long_as_it_lasts(live):
    """The status allows it: flagged, never rebuilt."""
    live.sync.allows_crossed = True
    live.delta(101, 101, [(102.0, 1.0)]).wait(60_000)
    assert live.state == ("live", "UNSOUND")
    assert live.fetches == []
    assert crossings(live) == {"real": 1}
    live.delta(102, 102, [(102.0, 0.0)])
    assert live.state == ("live", "SOUND")
    assert crossings(live) == {"real": 1}


@pytest.mark.fault("S13")
def test_a_crossing_that_outlasts_its_auction_is_corruption(live):
    """The status explains it no longer: rebuilt within the patience."""
    live.sync.allows_crossed = True
    live.delta(101, 101, [(102.0, 1.0)]).wait(10_000)
    live.sync.allows_crossed = False
    live.wait(1_100)
    assert live.state == ("syncing", "UNSOUND")
    assert crossings(live) == {"corrupt": 1, "real": 1}


@pytest.mark.fault("S13")
def test_a_venue_that_stays_crossed_is_asked_ever_more_patiently(live):
    """A fresh image that is crossed as well doubles the patience; an uncrossed top resets it."""
    times = []
    live.delta(101, 101, [(102.0, 1.0)])
    for _ in range(4):
        asked = len(live.fetches)
        start_ms = live.now_ms
        while len(live.fetches) == asked:
            live.wait(50)
        times.append((live.now_ms - start_ms) // 900)
        live.answer(101, [(102.0, 1.0)], [(101.0, 1.0)])
        assert live.state == ("live", "UNSOUND")
    assert times == [1, 2, 4, 8]
    assert live.sync.stats().crossings[Crossing.CORRUPT] == 4
    live.delta(102, 102, [(102.0, 0.0), (99.0, 1.0)])
    assert live.state == ("live", "SOUND")
    live.delta(103, 103, [(102.0, 1.0)]).wait(1_050)
    assert live.sync.stats().crossings[Crossing.CORRUPT] == 5


def test_a_lost_connection_ends_a_crossing(live):
    """It is judged anew with the next data."""
    live.delta(101, 101, [(102.0, 1.0)]).reconnect().wait(5_000)
    assert crossings(live) == {}
    assert live.trust.cause == "disconnected"
