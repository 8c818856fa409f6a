"""Frame counters of a whole connection (Coinbase Advanced)."""

import pytest

from crossfeed.integrity.continuity import ConnectionCounter
from crossfeed.model.output import Output


class Observer:
    """Counts what it is told."""

    def __init__(self):
        self.holes = 0

    def on_connection_gap(self, *_):
        """Take note of a hole."""
        self.holes += 1


def observe(counter, *numbers):
    """Feed frame numbers; return for each whether it was new."""
    return [counter.observe(number, 0, 0, Output()) for number in numbers]


def test_an_unbroken_count_says_nothing():
    """Acknowledgements and heartbeats count as well: no false alarm."""
    observer = Observer()
    counter = ConnectionCounter((observer,), first=0)
    assert observe(counter, 0, 1, 2, 3) == [True] * 4
    assert (counter.frames, counter.holes, observer.holes) == (4, 0, 0)
    assert "next 4" in repr(counter)


@pytest.mark.fault("S01")
def test_a_hole_concerns_every_stream_of_the_connection():
    """One lost frame may have held changes of any book."""
    observers = [Observer(), Observer()]
    counter = ConnectionCounter(observers)
    assert observe(counter, 7, 8, 11, 12) == [True] * 4
    assert [observer.holes for observer in observers] == [1, 1]
    assert (counter.holes, counter.lost) == (1, 2)


@pytest.mark.fault("S03")
def test_an_old_frame_is_refused():
    """A repeated or late frame must not be applied again."""
    counter = ConnectionCounter()
    assert observe(counter, 5, 6, 6, 5, 7) == [True, True, False, False, True]
    assert (counter.old, counter.holes) == (2, 0)


def test_a_lost_first_frame_shows_where_the_count_has_a_fixed_start():
    """Advanced counts from 0: a connection that begins with 1 has lost a frame."""
    observer = Observer()
    counter = ConnectionCounter((observer,), first=0)
    observe(counter, 1)
    assert observer.holes == 1


@pytest.mark.fault("S06")
def test_a_new_connection_counts_anew():
    """Numbers begin again with each connection."""
    counter = ConnectionCounter(first=None)
    observe(counter, 5, 6)
    counter.on_open()
    assert observe(counter, 0, 1) == [True, True]
    assert (counter.old, counter.holes) == (0, 0)
