"""Gates of streams that cannot be repaired: quotes, tickers, raw book changes."""

import pytest

from crossfeed.integrity.continuity import ChainGate, OpenGate
from crossfeed.integrity.trust import NEVER_NS
from crossfeed.model.output import Output
from crossfeed.model.status import Gap, GapState
from crossfeed.model.trust import Trust
from crossfeed.testing.events import delta, quote, snapshot, ticker
from crossfeed.venues.binance.sequencing import FUTURES_BOOK, SPOT_BOOK
from crossfeed.venues.coinbase.sequencing import LEVEL2_RULE


def admitted(gate, *events):
    """Admit events into one output and return it."""
    out = Output()
    for event in events:
        gate.admit(event, out)
    return out


def data(out):
    """Return the events that are data."""
    return [event for event in out.events if event.data_type not in {"gap", "feed_status"}]


def test_values_pass_and_the_first_one_lifts(trust):
    """Each value replaces the last one; nothing is judged."""
    gate = OpenGate(trust)
    out = admitted(gate, ticker(100, 1), ticker(90, 0))
    assert [event.price for event in data(out)] == [100, 90]
    assert trust.current is Trust.SOUND
    assert gate.last_event.price == 90
    assert gate.next_due_ns == NEVER_NS
    gate.on_timer(0, 0, out)
    assert gate.stats().passed == 2
    assert "SOUND" in repr(gate)


def test_a_connection_that_goes_and_comes(trust):
    """UNAVAILABLE while nobody carries the stream; the next value lifts it."""
    gate = OpenGate(trust)
    out = admitted(gate, ticker(100))
    gate.on_close(0, 5, out, "rotated")
    assert (trust.current, trust.cause) == (Trust.UNAVAILABLE, "rotated")
    gate.on_open(0, 6, out)
    assert trust.current is Trust.UNAVAILABLE, "a connection alone proves nothing"
    trust.report("freshness", Trust.STALE, "stale", 0, 7, out)
    assert admitted(gate, ticker(101)).events[-1].trust is Trust.SOUND
    trust.report("market", Trust.CLOSED, "halted", 0, 8, out)
    assert admitted(gate, ticker(102)).events[-1].trust is Trust.CLOSED


@pytest.mark.fault("S03")
def test_numbered_quotes_are_given_once(trust):
    """`bookTicker.u` must ascend: what is not newer is a duplicate."""
    gate = OpenGate(trust, number="update_id")
    quotes = [quote(1, 2, update_id=number) for number in (50, 51, 51, 40, 60)]
    out = admitted(gate, *quotes)
    assert [event.update_id for event in data(out)] == [50, 51, 60]
    assert gate.stats().duplicates == 2


@pytest.mark.fault("S05")
def test_an_old_burst_of_quotes_after_a_reconnect_is_dropped(trust):
    """Replayed quotes are near the newest: no new epoch."""
    gate = OpenGate(trust, number="update_id")
    admitted(gate, quote(1, 2, update_id=1_000))
    gate.on_open(0, 0, Output())
    out = admitted(gate, *[quote(1, 2, update_id=number) for number in range(900, 1_001)])
    assert data(out) == []
    assert gate.stats().restarts == 0


@pytest.mark.fault("S06")
def test_quotes_that_count_anew_begin_a_new_epoch(trust):
    """Three far lower numbers that ascend."""
    gate = OpenGate(trust, number="update_id")
    numbers = (1_000, 3, 2, 4, 5, 6)
    out = admitted(gate, *[quote(1, 2, update_id=number) for number in numbers])
    assert [event.update_id for event in data(out)] == [1_000, 6]
    assert gate.stats().restarts == 1
    assert [e.update_id for e in data(admitted(gate, quote(1, 2, update_id=7)))] == [7]


def test_unnumbered_quotes_pass_a_numbering_gate(trust):
    """A polled quote has no number: it cannot be judged and is not dropped."""
    gate = OpenGate(trust, number="update_id")
    out = admitted(gate, quote(1, 2, update_id=5), quote(1, 2, update_id=0))
    assert len(data(out)) == 2


@pytest.mark.fault("S01")
def test_a_hole_in_the_connection_makes_a_value_doubtful_until_the_next(trust, ledger):
    """Perhaps a newer value was lost: UNSOUND, healed by the next one."""
    gate = OpenGate(trust)
    out = Output()
    gate.on_connection_gap(0, 1, out)
    assert ledger.totals().found == 0, "nothing was there to lose"
    admitted(gate, ticker(100))
    gate.on_connection_gap(0, 2, out)
    gate.on_connection_gap(0, 3, out)
    assert trust.current is Trust.UNSOUND
    assert ledger.totals().open == 1
    out = admitted(gate, ticker(101))
    assert trust.current is Trust.SOUND
    assert data(out)[0].trust is Trust.SOUND
    assert [record.state for record in ledger.records()] == [GapState.SNAPSHOT]
    assert gate.stats().gaps == 1


def test_a_value_can_be_given_out_again(trust):
    """A standing-by line that takes over begins with its newest value, if that is news."""
    gate = OpenGate(trust)
    out = Output()
    gate.republish(None, 0, 0, out)
    assert out.events == []
    admitted(gate, ticker(100, 50))
    for after, is_given in [
        (None, True),
        (ticker(1, 49), True),
        (ticker(1, 50), False),
        (ticker(1, 60, event_ms=-1), False),
        (ticker(1, 40, event_ms=-1), True),
    ]:
        out = Output()
        gate.republish(after, 0, 0, out)
        assert bool(out.events) is is_given, after


def test_raw_changes_in_a_chain_pass(trust):
    """Binance diffs that follow each other; a snapshot sets the number."""
    gate = ChainGate(trust, SPOT_BOOK)
    assert gate.next_number == 0
    out = admitted(gate, snapshot(9), delta(10, 12), delta(13, 13))
    assert gate.next_number == 14
    assert [event.data_type for event in data(out)] == ["orderbook_snapshot", "depth", "depth"]
    assert gate.stats().passed == 3
    assert gate.last_event.last == 13
    assert gate.next_due_ns == NEVER_NS
    gate.on_timer(0, 0, out)
    assert "13" in repr(gate)


@pytest.mark.fault("S01")
def test_a_hole_in_raw_changes_is_lost_and_told(trust, ledger):
    """Nobody can fetch them; who builds a book must know."""
    gate = ChainGate(trust, SPOT_BOOK)
    out = admitted(gate, delta(1, 2), delta(5, 6), delta(7, 8))
    assert [event.last for event in data(out)] == [2, 6, 8]
    assert [(r.first, r.last, r.missing, r.state) for r in ledger.records()] == [
        (3, 4, 2, GapState.LOST)
    ]
    assert sum(isinstance(event, Gap) for event in out.events) == 1
    assert trust.current is Trust.SOUND


def test_a_hole_in_futures_changes_is_bounded_not_counted(trust, ledger):
    """`pu` names the lost update; numbers between are not one per event."""
    gate = ChainGate(trust, FUTURES_BOOK)
    admitted(gate, delta(1, 5, previous=0), delta(20, 30, previous=15))
    assert [(r.first, r.last, r.missing) for r in ledger.records()] == [(6, 15, 0)]


@pytest.mark.fault("S03")
def test_old_raw_changes_are_dropped(trust):
    """Repeated ones do not pass twice."""
    gate = ChainGate(trust, SPOT_BOOK)
    out = admitted(gate, delta(1, 5, at_ms=50), delta(1, 5, at_ms=50), delta(2, 4, event_ms=-1))
    assert len(data(out)) == 1
    assert gate.stats().duplicates == 2


@pytest.mark.fault("S06")
def test_raw_changes_that_count_anew(trust, ledger):
    """Three newer ones with old numbers."""
    gate = ChainGate(trust, SPOT_BOOK)
    deltas = [delta(n, n, at_ms=n_ms) for n, n_ms in ((900, 1), (1, 2), (2, 3), (3, 4), (4, 5))]
    out = admitted(gate, *deltas)
    assert [event.last for event in data(out)] == [900, 3, 4]
    assert [(r.first, r.last, r.cause) for r in ledger.records()] == [(901, 0, "restart")]
    assert gate.stats().restarts == 1


def test_a_reconnect_hole_in_raw_changes(trust, ledger):
    """It has its own cause, and only the first jump has it."""
    gate = ChainGate(trust, SPOT_BOOK)
    out = admitted(gate, delta(1, 1))
    gate.on_close(0, 1, out)
    assert trust.current is Trust.UNAVAILABLE
    gate.on_open(0, 2, out)
    admitted(gate, delta(5, 5), delta(9, 9))
    assert [r.cause for r in ledger.records()] == ["reconnect", "sequence"]
    assert trust.current is Trust.SOUND


def test_a_hole_in_the_connection_of_unnumbered_changes(trust, ledger):
    """Recorded, though not which; numbered changes show it by themselves."""
    gate = ChainGate(trust, LEVEL2_RULE)
    out = Output()
    gate.on_connection_gap(0, 0, out)
    admitted(gate, delta(0, 0, exchange="coinbase"))
    gate.on_connection_gap(0, 0, out)
    assert [(r.first, r.last, r.cause) for r in ledger.records()] == [(0, 0, "connection")]
    numbered = ChainGate(trust, SPOT_BOOK)
    admitted(numbered, delta(1, 1))
    numbered.on_connection_gap(0, 0, out)
    assert ledger.totals().found == 1


def test_other_events_pass_a_chain(trust):
    """Only book events are judged."""
    gate = ChainGate(trust, SPOT_BOOK)
    assert len(data(admitted(gate, delta(1, 1), ticker(5), delta(2, 2)))) == 3
