"""One image on its way: epochs, deadlines, backoff, the buffer."""

from crossfeed.books.rebuild import NEVER_NS, BookLimits, Purpose, Rebuild
from crossfeed.model.commands import FetchSnapshot, Resubscribe
from crossfeed.model.output import Output
from crossfeed.model.sequencing import SnapshotSource, Verdict
from crossfeed.model.status import Stream
from crossfeed.testing.events import delta
from crossfeed.venues.binance.sequencing import SPOT_BOOK

S = 1_000_000_000
STREAM = Stream("binance", "book", "BTCUSDT")


def rebuild_of(source=SnapshotSource.REST, **limits):
    """Return a rebuild by Binance's rule."""

    def follow(kept, update):
        return SPOT_BOOK.follow(kept.last, update)

    return Rebuild(STREAM, source, follow, BookLimits(**limits))


def test_nothing_is_wanted_at_first():
    """No purpose, nothing due, nothing is an answer."""
    rebuild = rebuild_of()
    assert rebuild.purpose is Purpose.NONE
    assert rebuild.next_due_ns == NEVER_NS
    assert not rebuild.is_answer(0)
    assert rebuild.last_kept is None
    out = Output()
    rebuild.on_timer(10**18, out)
    assert out.commands == []
    assert "none, epoch 0" in repr(rebuild)


def test_every_request_has_its_epoch():
    """Only the newest one's answer counts, and only once."""
    rebuild, out = rebuild_of(), Output()
    rebuild.begin(Purpose.SYNC, "test", 0, out)
    rebuild.begin(Purpose.AUDIT, "test", 0, out)
    assert out.commands == [FetchSnapshot("BTCUSDT", 1, 0), FetchSnapshot("BTCUSDT", 2, 0)]
    assert not rebuild.is_answer(1)
    assert rebuild.is_answer(2)
    rebuild.arrived()
    assert not rebuild.is_answer(2)
    assert rebuild.purpose is Purpose.AUDIT
    rebuild.end()
    assert rebuild.purpose is Purpose.NONE


def test_backoff_doubles_up_to_its_limit_without_end():
    """Tries never end; also the 5,000th does not overflow."""
    rebuild, out = rebuild_of(retry_s=1.0, retry_max_s=8.0), Output()
    rebuild.begin(Purpose.SYNC, "test", 0, out)
    waits, now = [], 0
    for _ in range(5_000):
        rebuild.failed(now)
        waits.append((rebuild.next_due_ns - now) // S)
        now = rebuild.next_due_ns
        rebuild.on_timer(now, out)
    assert waits[:6] == [1, 2, 4, 8, 8, 8]
    assert rebuild.attempt == 5_000
    assert rebuild.epoch == 5_001


def test_a_stream_image_is_asked_for_by_resubscribing():
    """With the cause, again when it does not come."""
    rebuild, out = rebuild_of(SnapshotSource.STREAM, answer_s=5.0), Output()
    rebuild.begin(Purpose.SYNC, "checksum", 0, out)
    rebuild.on_timer(4 * S, out)
    rebuild.on_timer(5 * S, out)
    rebuild.on_timer(6 * S, out)
    assert out.commands == [Resubscribe("book", "BTCUSDT", "checksum")] * 2


def test_the_buffer_keeps_an_unbroken_run():
    """Repeated updates are dropped, a hole drops what came before it."""
    rebuild = rebuild_of()
    assert rebuild.keep(delta(5, 6)) is Verdict.APPLY
    assert rebuild.keep(delta(5, 6)) is Verdict.OLD
    assert rebuild.keep(delta(7, 7)) is Verdict.APPLY
    assert rebuild.last_kept.last == 7
    assert rebuild.keep(delta(9, 9)) is Verdict.GAP
    assert [update.last for update in rebuild.buffer] == [9]


def test_a_full_buffer_drops_the_oldest():
    """And counts."""
    rebuild = rebuild_of(buffer_max=2)
    for number in range(1, 6):
        rebuild.keep(delta(number, number))
    assert [update.last for update in rebuild.buffer] == [4, 5]
    assert rebuild.overflowed == 3


def test_images_that_are_too_old_in_a_row():
    """Each n-th raises the alarm and drops what is kept."""
    rebuild, out = rebuild_of(), Output()
    rebuild.begin(Purpose.SYNC, "test", 0, out)
    rebuild.keep(delta(5, 6))
    assert [rebuild.is_old_again(0, 3) for _ in range(6)] == [False, False, True] * 2
    assert not rebuild.buffer
