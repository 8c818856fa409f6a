"""The gap ledger: opening, filling, closing, counting, staying bounded."""

import pytest

from crossfeed.integrity import gaps
from crossfeed.integrity.gaps import GapLedger
from crossfeed.model.status import GapState, Stream

STREAM = Stream("binance", "trade", "BTCUSDT")
OTHER = Stream("binance", "trade", "ETHUSDT")


def test_open_records_the_exact_range():
    """A hole knows its stream, bounds, size, cause and time."""
    ledger = GapLedger()
    record = ledger.open(STREAM, 5, 7, "sequence", 99)
    assert (record.gap_id, record.stream, record.first, record.last) == (1, STREAM, 5, 7)
    assert (record.missing, record.cause, record.ts_found_ns) == (3, "sequence", 99)
    assert (record.state, record.ts_closed_ns) == (GapState.OPEN, 0)
    assert ledger.missing(1) == ((5, 7),)
    assert "1 open" in repr(ledger)


@pytest.mark.parametrize(
    ("first", "last", "is_countable"), [(0, 0, True), (5, 0, True), (5, 9, False)]
)
def test_holes_without_numbers_miss_nothing_countable(first, last, is_countable):
    """Where the stream has no numbers, or they are not one per event, nothing is counted."""
    ledger = GapLedger()
    record = ledger.open(STREAM, first, last, "checksum", 1, is_countable=is_countable)
    assert record.missing == 0
    assert ledger.missing(record.gap_id) == ()
    assert not ledger.fill(record.gap_id, 5)


def test_fill_splits_shrinks_and_empties_the_range():
    """Each fetched number leaves the rest as exact spans."""
    ledger = GapLedger()
    gap_id = ledger.open(STREAM, 1, 5, "sequence", 1).gap_id
    assert ledger.fill(gap_id, 3)
    assert ledger.missing(gap_id) == ((1, 2), (4, 5))
    assert not ledger.fill(gap_id, 3), "a number is filled once"
    assert not ledger.fill(gap_id, 0)
    assert not ledger.fill(gap_id, 9)
    assert ledger.fill(gap_id, 1)
    assert ledger.fill(gap_id, 5)
    assert ledger.missing(gap_id) == ((2, 2), (4, 4))
    assert ledger.is_missing(gap_id, 4)
    assert not ledger.is_missing(gap_id, 3)
    assert not ledger.is_missing(gap_id, 1)
    assert ledger.fill(gap_id, 2)
    assert ledger.fill(gap_id, 4)
    assert ledger.missing(gap_id) == ()
    assert ledger.get(gap_id).state is GapState.OPEN, "closing is a decision of its own"
    assert ledger.close(gap_id, GapState.BACKFILLED, 9).ts_closed_ns == 9


def test_unknown_ids_are_harmless():
    """Nothing is known of a record that never was."""
    ledger = GapLedger()
    assert ledger.get(1) is None
    assert ledger.missing(1) == ()
    assert not ledger.is_missing(1, 5)
    assert not ledger.fill(1, 5)
    assert ledger.close(1, GapState.LOST, 1) is None


def test_a_partial_repair_cannot_be_closed_as_backfilled():
    """BACKFILLED means that every missing event was fetched."""
    ledger = GapLedger()
    gap_id = ledger.open(STREAM, 1, 2, "sequence", 1).gap_id
    ledger.fill(gap_id, 1)
    with pytest.raises(AssertionError, match="partial"):
        ledger.close(gap_id, GapState.BACKFILLED, 2)
    with pytest.raises(AssertionError, match="ending"):
        ledger.close(gap_id, GapState.OPEN, 2)
    lost = ledger.close(gap_id, GapState.LOST, 2)
    assert (lost.state, lost.missing) == (GapState.LOST, 1)
    assert ledger.close(gap_id, GapState.LOST, 3) is None, "a hole is closed once"
    assert not ledger.fill(gap_id, 2), "what was given up is not repaired behind the reader's back"


def test_close_can_learn_the_last_number():
    """A reconnect hole may learn its end only when it is closed."""
    ledger = GapLedger()
    gap_id = ledger.open(STREAM, 5, 0, "reconnect", 1).gap_id
    assert ledger.close(gap_id, GapState.SNAPSHOT, 2, last=9).last == 9


def test_records_are_found_by_stream_and_state():
    """The ledger answers who lost what, and what is still open."""
    ledger = GapLedger()
    first = ledger.open(STREAM, 1, 1, "sequence", 1)
    second = ledger.open(OTHER, 1, 1, "sequence", 2)
    closed = ledger.close(first.gap_id, GapState.LOST, 3)
    assert list(ledger.records()) == [closed, second]
    assert list(ledger.records(STREAM)) == [closed]
    assert list(ledger.records(state=GapState.OPEN)) == [second]
    assert list(ledger.records(OTHER, GapState.LOST)) == []


def test_totals_account_for_every_missing_event():
    """Missing = repaired + lost + still open, at any time."""
    ledger = GapLedger()
    one = ledger.open(STREAM, 1, 10, "sequence", 1).gap_id
    two = ledger.open(STREAM, 21, 22, "sequence", 1).gap_id
    ledger.open(STREAM, 0, 0, "checksum", 1)
    for number in (1, 2, 21, 22):
        ledger.fill(one if number < 20 else two, number)
    ledger.close(two, GapState.BACKFILLED, 2)
    ledger.close(one, GapState.LOST, 2)
    ledger.close(3, GapState.SNAPSHOT, 2)
    totals = ledger.totals()
    assert (totals.found, totals.open, totals.overflowed) == (3, 0, 0)
    assert (totals.backfilled, totals.snapshot, totals.lost) == (1, 1, 1)
    assert (totals.events_missing, totals.events_repaired, totals.events_lost) == (12, 4, 8)


def test_a_full_ledger_drops_the_oldest_closed_record_first():
    """Bounded, with the loss of records counted and the totals kept."""
    ledger = GapLedger(capacity=2)
    ledger.open(STREAM, 1, 1, "sequence", 1)
    ledger.open(STREAM, 3, 3, "sequence", 1)
    ledger.close(2, GapState.LOST, 2)
    ledger.open(STREAM, 5, 5, "sequence", 1)
    assert [record.gap_id for record in ledger.records()] == [1, 3]
    ledger.open(STREAM, 7, 8, "sequence", 1)
    assert [record.gap_id for record in ledger.records()] == [3, 4], "none closed: the oldest goes"
    totals = ledger.totals()
    assert (totals.found, totals.open, totals.overflowed) == (4, 2, 2)
    assert totals.events_missing == totals.events_lost + 1 + 2


def test_fragments_of_one_hole_are_bounded(monkeypatch):
    """A hole that would shatter keeps its number missing, to be asked for again."""
    monkeypatch.setattr(gaps, "FRAGMENTS_MAX", 2)
    ledger = GapLedger()
    gap_id = ledger.open(STREAM, 1, 9, "sequence", 1).gap_id
    assert ledger.fill(gap_id, 5)
    assert not ledger.fill(gap_id, 3)
    assert ledger.is_missing(gap_id, 3)
    assert ledger.fill(gap_id, 4), "an edge does not add a piece"
    assert ledger.missing(gap_id) == ((1, 3), (6, 9))


def test_questions_are_no_gaps():
    """They lead an answer back to their stream, and are bounded."""
    ledger = GapLedger(capacity=2)
    one, two = ledger.ask(STREAM), ledger.ask(OTHER)
    assert one != two
    assert ledger.ask(STREAM) == one
    assert ledger.get(two).stream == OTHER
    assert ledger.get(-99) is None
    third = ledger.ask(Stream("kraken", "trade", "BTC/USD"))
    assert ledger.get(one) is None
    assert ledger.get(third).cause == "question"
    assert list(ledger.records()) == []
    assert ledger.totals().found == 0
    assert not ledger.fill(two, 5)
    assert ledger.close(two, GapState.LOST, 1) is None


def test_a_ledger_needs_room():
    """A capacity of nothing is a mistake."""
    with pytest.raises(AssertionError):
        GapLedger(0)
