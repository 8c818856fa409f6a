"""The provable window of a book built from a cut REST image."""

import pytest

from crossfeed.books.ladder import Ladder

BIDS = [(99.0 - i, 1.0) for i in range(5)]
ASKS = [(101.0 + i, 1.0) for i in range(5)]


@pytest.fixture
def rig(rig_of):
    """Return a book whose venue cuts its images at 5 levels."""
    rig = rig_of(limits={"window_levels": 5, "window_levels_min": 3, "window_check_updates": 1})
    rig.delta(100, 100).answer(100, BIDS, ASKS)
    rig.commands.clear()
    return rig


def test_levels_beyond_a_cut_image_are_not_kept(rig):
    """Nothing says what else lies there."""
    rig.delta(101, 101, [(90.0, 1.0), (95.0, 2.0)], [(110.0, 1.0)])
    assert rig.levels[0][-1] == (95.0, 2.0)
    assert rig.levels[1][-1] == (105.0, 1.0)
    assert rig.sync.stats().out_of_window == 2


def test_a_whole_side_has_no_window(rig_of):
    """Fewer levels than the cut: everything is known."""
    rig = rig_of(limits={"window_levels": 5})
    rig.delta(100, 100).answer(100, BIDS[:4], ASKS)
    rig.delta(101, 101, [(1.0, 1.0)], [(200.0, 1.0)])
    assert rig.levels[0][-1] == (1.0, 1.0)
    assert rig.levels[1][-1] == (105.0, 1.0)


def test_a_window_that_runs_thin_is_renewed_while_the_book_stays_sound(rig):
    """The market moved: a new image, no hole, no complaint."""
    rig.delta(101, 101, [(99.0, 0.0), (98.0, 0.0)])
    assert rig.fetches == []
    rig.delta(102, 102, [(97.0, 0.0)]).delta(103, 103, [(96.0, 3.0)])
    assert len(rig.fetches) == 1
    assert rig.state == ("live", "SOUND")
    assert rig.quotes[-1] == (96.0, 101.0)
    new_bids = [(96.0 - i, 3.0) for i in range(5)]
    rig.answer(103, new_bids, ASKS)
    assert rig.levels[0] == new_bids
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == []
    rig.delta(104, 104, [(96.0, 4.0)])
    assert rig.sync.sequence == 104


def test_the_levels_left_are_counted_now_and_then(rig_of):
    """Counting them costs; a window runs thin over many updates."""
    rig = rig_of(limits={"window_levels": 5, "window_levels_min": 3, "window_check_updates": 4})
    rig.delta(100, 100).answer(100, BIDS, ASKS)
    rig.commands.clear()
    rig.delta(101, 101, [(99.0, 0.0), (98.0, 0.0), (97.0, 0.0)])
    for number in range(102, 105):
        assert rig.fetches == []
        rig.delta(number, number, [(96.0, float(number))])
    assert len(rig.fetches) == 1


def test_a_window_that_ran_out_is_renewed_too(rig):
    """A whole side gone in one message."""
    rig.delta(101, 101, [(price, 0.0) for price, _ in BIDS])
    assert rig.top is None
    assert len(rig.fetches) == 1
    rig.delta(102, 102, [(90.0, 1.0)])
    assert rig.top is None, "below the window nothing can be proven"
    rig.answer(102, [(90.0, 1.0)], ASKS)
    assert rig.top == (90.0, 1.0, 101.0, 1.0)


def test_a_hole_during_a_renewal_is_a_hole(rig):
    """The renewal becomes a rebuild."""
    rig.delta(101, 101, [(price, 0.0) for price, _ in BIDS[:3]])
    renewal = rig.epoch
    rig.delta(105, 105)
    assert rig.state == ("syncing", "UNSOUND")
    rig.answer(105, BIDS, ASKS, epoch=renewal)
    assert rig.state == ("syncing", "UNSOUND"), "the renewal's image is void"
    rig.answer(105, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")


def test_the_window_is_remembered_by_the_ladder_only_while_it_lasts():
    """A stream image has none."""
    ladder = Ladder()
    ladder.load(BIDS, ASKS)
    ladder.limit_window(97.0, 200.0)
    assert ladder.has_window
    ladder.load(BIDS, ASKS)
    assert not ladder.has_window
