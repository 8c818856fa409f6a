"""The ledger's arithmetic: what a correct client must report, and when."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.ledger import GapRecord, Ledger
from crossfeed.simulator.shadow import BookUpdate

KEY = ("binance", "trade", "BTCUSDT")


def open_line(ledger, connection=1, chain="ids"):
    return ledger.stream(KEY, "BTC/USD", chain, 8).open_line(connection)


@given(st.sets(st.integers(2, 60)))
def test_gaps_are_the_ranges_of_what_is_missing(dropped):
    ledger = Ledger()
    line = open_line(ledger)
    for number in range(1, 61):
        if number in dropped:
            line.lose("dropped", number, number)
        else:
            line.record(number, number, 1, 10)
    last = max(set(range(1, 61)) - dropped)
    seen = sorted(number for number in dropped if number < last)
    ranges = []
    for number in seen:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    assert [[gap.first, gap.last] for gap in line.gaps] == ranges
    assert line.missing == len(seen)
    assert line.gap_count == len(ranges)
    assert line.events == 60 - len(dropped)
    assert line.lots == 10 * line.events
    assert line.has_tail == (last < 60)
    assert line.counts["dropped"] == len(dropped)


def test_repeats_and_late_ones_are_told_apart():
    line = open_line(Ledger())
    for first, last in ((1, 2), (1, 2), (5, 6), (3, 4), (6, 6), (7, 7)):
        line.record(first, last, last - first + 1, 1)
    assert line.duplicates == 3
    assert line.late == 2
    assert line.gaps == [GapRecord(3, 4, "drop")]
    assert (line.events, line.messages) == (5, 6)


def test_a_line_goes_on_over_connections():
    ledger = Ledger()
    line = open_line(ledger, 1)
    line.record(1, 1, 1, 0)
    line.end("cut")
    assert line.has_tail
    again = open_line(ledger, 2)
    assert again is line
    assert line.connections == [1, 2]
    line.record(5, 5, 1, 0)
    line.end("resubscribe")
    open_line(ledger, 2)
    line.record(9, 9, 1, 0)
    line.record(11, 11, 1, 0)
    assert [gap.cause for gap in line.gaps] == ["cut", "resubscribe", "drop"]
    assert ledger.gaps(cause="cut") == 1
    assert ledger.gaps("binance", "trade") == 3
    assert ledger.gaps("kraken") == 0
    assert not line.has_tail


def test_two_connections_at_once_are_two_lines():
    ledger = Ledger()
    one, two = open_line(ledger, 1), open_line(ledger, 2)
    assert [one.number, two.number] == [0, 1]
    one.record(1, 1, 1, 0)
    two.record(1, 1, 1, 0)
    one.end("cut")
    assert open_line(ledger, 3) is one
    assert ledger.duplicates() == 0


def test_history_is_no_repeat_and_may_be_news():
    line = open_line(Ledger())
    line.observe(10, 1, 5)
    assert (line.last, line.events) == (10, 0)
    line.record(11, 11, 1, 1)
    line.observe(11, 1, 5)
    assert (line.events, line.duplicates, line.gap_count) == (1, 0, 0)
    line.observe(12, 1, 5)
    assert (line.events, line.lots, line.gap_count) == (2, 6, 0)
    line.observe(20, 3, 5)
    assert line.gaps == [GapRecord(13, 17, "drop")]


def test_numbering_may_begin_anew():
    line = open_line(Ledger())
    line.record(100, 100, 1, 0)
    line.rebase()
    line.record(1, 1, 1, 0)
    line.record(2, 2, 1, 0)
    assert line.gaps == [GapRecord(0, 0, "restart")]
    assert (line.duplicates, line.last) == (0, 2)


def crc(bids, asks):
    import zlib

    rows = sorted(asks.items())[:10] + sorted(bids.items(), reverse=True)[:10]
    return zlib.crc32("".join(f"{price}{lots}" for price, lots in rows).encode())


def play(line, updates, lost, depth=10):
    """Deliver updates of a book, some lost; return the truth after each."""
    bids, asks = {90: 1}, {110: 1}
    for place, (bid_changes, ask_changes) in enumerate(updates):
        before = dict(bids), dict(asks)
        for side, changes in ((bids, bid_changes), (asks, ask_changes)):
            for price, lots in changes:
                if lots:
                    side[price] = lots
                else:
                    side.pop(price, None)
        update = BookUpdate(bid_changes, ask_changes, crc(bids, asks), depth, *before)
        if place in lost:
            line.lose("dropped", -1, -1, update)
        else:
            line.apply(update)


def test_a_lost_book_update_shows_in_the_next_checksum():
    line = open_line(Ledger(), chain="checksum")
    play(line, [([(91, 5)], []), ([(92, 5)], []), ([], [(111, 2)]), ([], [(112, 2)])], {1})
    assert line.desyncs == 1
    assert line.is_desynced
    line.resync()
    assert not line.is_desynced


def test_a_lost_book_update_that_heals_is_not_seen():
    line = open_line(Ledger(), chain="checksum")
    play(line, [([(91, 5)], []), ([(91, 6)], []), ([(91, 7)], [])], {1})
    assert line.desyncs == 0
    assert line.shadow is None


def test_a_lost_update_below_the_checksum_is_not_seen():
    line = open_line(Ledger(), chain="checksum")
    levels = [(100 - place, 1) for place in range(1, 20)]
    play(line, [(levels, []), ([(82, 9)], []), ([], [(111, 1)])], {1}, depth=25)
    assert line.desyncs == 0
    assert line.shadow is not None


def test_a_wrong_checksum_counts_once_until_the_snapshot():
    line = open_line(Ledger(), chain="checksum")
    line.spoil_book()
    line.spoil_book()
    assert line.desyncs == 1
    line.resync()
    line.spoil_book()
    assert line.desyncs == 2


def test_export_is_plain():
    ledger = Ledger()
    line = open_line(ledger)
    line.record(1, 1, 1, 12_345_000)
    line.record(3, 3, 1, 0)
    ledger.violations["binance", "message rate"] += 1
    ledger.log_connection("binance", 1, "accepted", 5)
    found = json.loads(json.dumps(ledger.export()))
    assert found["totals"]["gaps"] == 1
    assert found["violations"] == {"binance.message rate": 1}
    (stream,) = found["streams"]
    assert stream["lines"][0]["volume"] == "0.12345"
    assert stream["lines"][0]["gap_ranges"] == [[2, 2, "drop"]]
    assert found["channels"]["binance.trade"]["missing"] == 1


def test_records_are_bounded(monkeypatch):
    monkeypatch.setattr("crossfeed.simulator.ledger.RECORDS_MAX", 3)
    line = open_line(Ledger())
    for number in range(1, 20, 2):
        line.record(number, number, 1, 0)
        line.lose("dropped", number, number)
    assert (len(line.gaps), len(line.dropped), line.gap_count) == (3, 3, 9)
    with pytest.raises(KeyError):
        line.summary()["unknown"]
