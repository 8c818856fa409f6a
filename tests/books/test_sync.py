"""Books whose image comes by REST: the venue's recipe, holes, epochs, retries, restarts."""

from decimal import Decimal

import pytest

from crossfeed.books.rebuild import NEVER_NS
from crossfeed.model.commands import FetchSnapshot
from crossfeed.model.status import ONE_SIDED
from crossfeed.model.trust import Mark, Trust
from crossfeed.testing.events import ticker
from crossfeed.venues.binance.sequencing import FUTURES_BOOK

BIDS, ASKS = [(99.0, 1.0)], [(101.0, 1.0)]


# ── the recipe ──────────────────────────────────────────────────────────────


def test_the_first_update_asks_for_an_image(rig):
    """Open the stream, buffer, fetch: UNSOUND until the book stands."""
    assert rig.state == ("waiting", "UNAVAILABLE")
    assert rig.sync.next_number == 0
    rig.delta(5, 6).delta(7, 9)
    assert rig.sync.next_number == 0
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.commands == [FetchSnapshot("BTCUSDT", 1, 0)]
    assert rig.sync.stats().buffered == 2
    assert rig.quotes == []


def test_the_acknowledgement_may_ask_as_well(rig):
    """A quiet market is not waited for; a second acknowledgement asks nothing new."""
    rig.subscribed().subscribed()
    assert rig.commands == [FetchSnapshot("BTCUSDT", 1, 0)]
    rig.answer(8, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    assert rig.statuses[-1] == ("SOUND", "synced")


def test_kept_updates_carry_on_from_the_image(rig):
    """Old ones are dropped, the first that straddles the image is applied, then the rest."""
    rig.delta(5, 6, [(50.0, 9.0)]).delta(7, 9, [(99.5, 2.0)]).delta(10, 10, [], [(100.5, 3.0)])
    rig.answer(8, BIDS, ASKS)
    assert rig.top == (99.5, 2.0, 100.5, 3.0)
    assert rig.sync.sequence == 10
    assert rig.levels[0] == [(99.5, 2.0), (99.0, 1.0)], "what the image holds already is not redone"
    assert rig.quotes == [(99.5, 100.5)]
    rig.delta(11, 12, [(99.7, 1.0)])
    assert rig.quotes[-1] == (99.7, 100.5)
    assert rig.sync.next_number == 13
    stats = rig.check_conservation()
    assert (stats.updates, stats.applied, stats.waiting, stats.images) == (4, 1, 3, 1)
    assert "live" in repr(rig.sync)


def test_quotes_tell_each_move_of_the_top_and_nothing_else(live):
    """Price or size; a change below the top is silent. Derived quotes are marked."""
    live.delta(101, 101, [(98.0, 5.0)])
    assert live.quotes == []
    live.delta(102, 102, [(99.0, 2.0)])
    live.delta(103, 103, [(99.0, 0.0)])
    assert live.quotes == [(99.0, 101.0), (98.0, 101.0)]
    event = live.data("book_ticker")[0]
    assert (event.bid_quantity, event.ask_quantity, event.update_id) == (2.0, 1.0, 102)
    assert event.marks == Mark.FROM_BOOK
    assert event.source == "stream"
    assert event.data["derived"] == "book"
    assert event.raw is None


def test_a_side_that_runs_dry_is_told(live):
    """The book is right and stays sound; the last quote is not, and no other would follow."""
    live.delta(101, 101, [(99.0, 0.0), (98.0, 0.0), (97.0, 0.0)])
    (told,) = live.data("feed_status")
    assert (told.cause, told.channel, told.current) == (ONE_SIDED, "book", Trust.SOUND)
    assert told.detail == "no bids are left: the last quote holds no more"
    live.delta(102, 102, [], [(103.0, 1.0)])
    assert len(live.data("feed_status")) == 1, "once"
    live.delta(103, 103, [(97.0, 1.0)])
    assert live.quotes == [(97.0, 101.0)]
    live.delta(104, 104, [(97.0, 0.0)], [(101.0, 0.0), (102.0, 0.0), (103.0, 0.0)])
    assert live.data("feed_status")[-1].detail.startswith("no bids and asks are left")
    assert live.state == ("live", "SOUND")


def test_quotes_and_changes_only_where_wanted(rig_of):
    """Nothing is made that nobody asked for."""
    silent = rig_of(wants_quotes=False).live().delta(101, 101, [(99.5, 1.0)])
    assert silent.out.events == []
    loud = rig_of(wants_deltas=True).live().delta(101, 101, [(99.5, 1.0)])
    assert [event.data_type for event in loud.out.events] == ["depth", "book_ticker"]


def test_changes_before_the_image_are_passed_on_flagged(rig_of):
    """Who follows the changes gets each once, and then the whole book as it stands."""
    rig = rig_of(wants_deltas=True)
    rig.delta(5, 6).delta(7, 9, [(99.5, 2.0)]).answer(8, BIDS, ASKS).delta(10, 11)
    depth = rig.data("depth")
    assert [(event.last, event.trust.name) for event in depth] == [
        (6, "UNSOUND"),
        (9, "UNSOUND"),
        (11, "SOUND"),
    ]
    image = rig.data("orderbook_snapshot")[0]
    assert (image.sequence, image.trust.name, image.checksum) == (9, "SOUND", None)
    assert image.bids == [(99.5, 2.0), (99.0, 1.0)]


def test_futures_go_by_their_predecessor(rig_of):
    """`pu` chains; U and u say nothing."""
    rig = rig_of(FUTURES_BOOK)
    rig.delta(5, 10, previous=4).delta(20, 30, [(99.5, 1.0)], previous=10)
    rig.answer(10, BIDS, ASKS)
    assert rig.sync.sequence == 30
    assert rig.state == ("live", "SOUND")
    rig.delta(50, 60, previous=45)
    assert rig.gaps == [(31, 45, "sequence", "open")]
    assert next(rig.ledger.records()).missing == 0, "numbers between are not one per event"


# ── holes ───────────────────────────────────────────────────────────────────


@pytest.mark.fault("S01")
def test_a_missing_update_is_found_by_the_next_one(live):
    """UNSOUND at once, exact range, one request; the last levels stay readable."""
    live.delta(103, 105, [(99.5, 1.0)])
    assert live.state == ("syncing", "UNSOUND")
    assert live.gaps == [(101, 102, "sequence", "open")]
    assert live.statuses == [("UNSOUND", "sequence")]
    assert live.top == (99.0, 1.0, 101.0, 1.0)
    live.delta(106, 106).delta(107, 107)
    assert live.fetches == [(2, 0)], "once for each desync, not for each message"
    live.answer(105, BIDS, ASKS)
    assert live.state == ("live", "SOUND")
    assert live.sync.sequence == 107
    assert live.gaps == [(101, 102, "sequence", "snapshot")]
    assert live.statuses[-1] == ("SOUND", "resynced")
    assert live.check_conservation().holes == {"sequence": 1}


def test_a_hole_while_the_book_is_being_built_is_recorded_too(rig):
    """What came before it is of no use any more; every hole is in the ledger."""
    rig.delta(5, 6).delta(9, 9).delta(10, 10)
    assert rig.gaps == [(7, 8, "sequence", "open")]
    assert rig.sync.stats().buffered == 2
    rig.answer(7, BIDS, ASKS)
    assert rig.state == ("syncing", "UNSOUND"), "older than what is kept"
    rig.wait(300).answer(9, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    assert rig.gaps == [(7, 8, "sequence", "snapshot")]


@pytest.mark.fault("S03")
def test_repeated_updates_are_dropped_and_counted(live):
    """Live and while waiting alike."""
    live.delta(101, 102, [(99.5, 1.0)])
    live.delta(101, 102, [(99.5, 7.0)], event_ms=1).delta(100, 101, event_ms=1)
    assert live.top[1] == 1.0
    live.delta(105, 105).delta(105, 105)
    assert live.check_conservation().duplicates == 3
    assert live.gaps == [(103, 104, "sequence", "open")]


@pytest.mark.fault("S04")
def test_swapped_updates_on_one_line_are_a_hole(live):
    """Never applied out of order."""
    live.delta(102, 102).delta(101, 101, event_ms=1)
    assert live.gaps == [(101, 101, "sequence", "open")]
    assert live.sync.stats().duplicates == 1


# ── images ──────────────────────────────────────────────────────────────────


@pytest.mark.fault("S08")
def test_an_image_older_than_the_kept_updates_is_fetched_again(rig):
    """Never applied with a hole; backoff in between."""
    rig.delta(50, 51).answer(48, BIDS, ASKS)
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.fetches == [(1, 0)]
    rig.wait(200)
    assert rig.fetches == [(1, 0)]
    rig.wait(100)
    assert rig.fetches == [(1, 0), (2, 1)]
    rig.answer(49, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    assert rig.sync.stats().old_images == 1


@pytest.mark.fault("S09")
def test_an_image_newer_than_all_updates_waits_for_the_one_that_joins(rig):
    """Old ones are not applied again; the first that reaches beyond carries on."""
    rig.delta(50, 51).answer(60, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    rig.delta(52, 59, [(50.0, 1.0)]).delta(60, 60, [(51.0, 1.0)])
    assert rig.sync.sequence == 60
    assert len(rig.levels[0]) == 1
    rig.delta(58, 62, [(99.5, 1.0)])
    assert rig.sync.sequence == 62
    assert rig.gaps == []
    assert rig.check_conservation().duplicates == 2


@pytest.mark.fault("S09")
def test_an_image_that_the_stream_has_left_behind(rig):
    """Nothing was kept, the next update is too far: the book says so and starts over."""
    rig.subscribed().answer(60, BIDS, ASKS).delta(65, 66)
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.gaps == [(61, 64, "old_snapshot", "open")]
    rig.answer(66, BIDS, ASKS)
    assert rig.gaps == [(61, 64, "old_snapshot", "snapshot")]


@pytest.mark.fault("S10")
def test_a_refused_or_slow_image_is_asked_for_again_without_end(rig):
    """Growing distance, visible attempts, bounded buffer."""
    rig.delta(1, 1)
    for _ in range(6):
        rig.fail()
        rig.wait(31_000)
    attempts = [attempt for _, attempt in rig.fetches]
    assert attempts[:4] == [0, 1, 2, 3]
    assert rig.sync.stats().attempt >= 6
    assert rig.state == ("syncing", "UNSOUND")
    rig.answer(1, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    assert rig.sync.stats().attempt == attempts[-1] + (rig.fetches[-1][1] != attempts[-1])


@pytest.mark.fault("S10")
def test_no_answer_is_a_failure(rig):
    """After its deadline the request counts as failed; the late answer is void."""
    rig.delta(1, 1).wait(10_000).wait(400)
    assert rig.fetches == [(1, 0), (2, 1)]
    rig.answer(1, BIDS, ASKS, epoch=1)
    assert rig.state == ("syncing", "UNSOUND")
    assert rig.sync.stats().void_images == 1


def test_a_venue_that_names_its_wait_is_obeyed(rig):
    """Retry-After goes before our own backoff."""
    rig.delta(1, 1).fail(wait_s=7.0).wait(6_900)
    assert len(rig.fetches) == 1
    rig.wait(200)
    assert len(rig.fetches) == 2
    rig.sync.on_snapshot_failed(1, 0)
    assert rig.sync.stats().attempt == 1, "a failure of an older request says nothing"


@pytest.mark.fault("S10")
def test_the_buffer_is_bounded_and_still_joins(rig_of):
    """The oldest go first: the image must then be newer."""
    rig = rig_of(limits={"buffer_max": 4})
    for number in range(1, 11):
        rig.delta(number, number, [(90.0 + number / 100, 1.0)])
    stats = rig.sync.stats()
    assert (stats.buffered, stats.overflowed) == (4, 6)
    rig.answer(3, BIDS, ASKS).wait(300)
    assert rig.state == ("syncing", "UNSOUND")
    rig.answer(6, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")
    assert rig.sync.sequence == 10
    assert len(rig.levels[0]) == 5


@pytest.mark.fault("S11")
def test_a_cache_that_serves_old_images_is_told_and_asked_differently(rig):
    """After n tries an alert; `attempt` tells the codec to ask for another depth; no busy loop."""
    rig.delta(50, 50)
    for _ in range(3):
        rig.answer(10, BIDS, ASKS)
        rig.wait(2_500).delta(*[51 + rig.sync.stats().waiting - 1] * 2)
    assert ("UNSOUND", "old_snapshot") in rig.statuses
    assert rig.trust.stats(0).alerts == 1
    assert rig.fetches[-1][1] == 3
    rig.answer(60, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")


def test_epochs_keep_old_rebuilds_from_publishing(live):
    """A hole while the image of another hole is on its way voids it."""
    live.delta(105, 105)
    old = live.epoch
    live.reconnect().delta(120, 120)
    assert live.epoch == old + 1
    live.answer(105, [(1.0, 1.0)], [(2.0, 1.0)], epoch=old)
    assert live.state == ("syncing", "UNSOUND")
    live.answer(120, BIDS, ASKS)
    assert live.state == ("live", "SOUND")
    live.answer(120, [(1.0, 1.0)], [(2.0, 1.0)], epoch=live.epoch)
    assert live.top == (99.0, 1.0, 101.0, 1.0)
    assert live.sync.stats().void_images == 2


# ── restarts, reconnects ────────────────────────────────────────────────────


@pytest.mark.fault("S06")
def test_a_venue_that_counts_anew_gets_a_new_image(live):
    """Three newer updates with old numbers: not everything is dropped as old for ever."""
    live.delta(1, 1).delta(2, 2)
    assert live.state == ("live", "SOUND")
    live.delta(3, 3)
    assert live.state == ("syncing", "UNSOUND")
    assert live.gaps == [(101, 0, "restart", "open")]
    live.delta(4, 4).answer(3, BIDS, ASKS)
    assert live.sync.sequence == 4
    assert live.check_conservation().duplicates == 3


@pytest.mark.fault("S06")
def test_a_restart_without_event_times(rig):
    """Then only numbers far below are evidence."""
    rig.delta(1_000, 1_000, event_ms=-1).answer(1_000, BIDS, ASKS)
    for number in (900, 901, 902, 903):
        rig.delta(number, number, event_ms=-1)
    assert rig.state == ("live", "SOUND")
    for number in (1, 2, 3):
        rig.delta(number, number, event_ms=-1)
    assert rig.gaps == [(1_001, 0, "restart", "open")]


@pytest.mark.fault("S06")
def test_a_restart_while_waiting_for_an_image(rig):
    """The kept updates are of the old count: they are dropped when images keep not joining."""
    rig.delta(1_000, 1_000)
    for number in range(1, 4):
        rig.delta(number, number).answer(number, BIDS, ASKS).wait(2_500)
    assert rig.sync.stats().buffered == 0
    rig.delta(4, 4).answer(4, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")


@pytest.mark.fault("S05")
def test_a_reconnect_without_loss_goes_on(live):
    """The first update follows: no image, no gap."""
    live.reconnect()
    assert live.state == ("live", "UNAVAILABLE")
    live.delta(98, 99, event_ms=1)
    assert live.state == ("live", "UNAVAILABLE"), "an older one proves nothing"
    live.delta(99, 100, event_ms=1)
    assert live.state == ("live", "SOUND"), "the newest we know: nothing was missed"
    live.delta(101, 101, [(99.5, 1.0)])
    assert live.state == ("live", "SOUND")
    assert live.gaps == []
    assert live.fetches == []
    assert live.quotes == [(99.5, 101.0)]


def test_a_reconnect_with_loss_is_a_reconnect_hole(live):
    """With its exact range."""
    live.reconnect().delta(110, 111)
    assert live.gaps == [(101, 109, "reconnect", "open")]
    live.answer(111, BIDS, ASKS)
    assert live.gaps == [(101, 109, "reconnect", "snapshot")]


def test_a_quiet_book_is_proven_by_an_image_after_a_reconnect(live):
    """No update comes; the acknowledgement plus two seconds bring an image."""
    live.reconnect().subscribed().wait(1_900)
    assert live.fetches == []
    live.wait(200)
    assert len(live.fetches) == 1
    live.answer(100, BIDS, ASKS)
    assert live.state == ("live", "SOUND")
    assert live.gaps == []


def test_what_a_quiet_book_missed_over_a_reconnect_is_recorded(live):
    """The image is ahead: bounded by both numbers, closed at once."""
    live.reconnect().subscribed().wait(2_100).answer(105, BIDS, ASKS)
    assert live.gaps == [(101, 105, "reconnect", "snapshot")]
    assert live.sync.sequence == 105


def test_losing_the_connection_while_syncing_starts_over(rig):
    """What was kept does not join what will come."""
    rig.delta(1, 1).reconnect()
    assert rig.state == ("waiting", "UNAVAILABLE")
    assert rig.sync.next_due_ns == NEVER_NS
    rig.delta(50, 50)
    assert rig.fetches == [(1, 0), (2, 0)]
    rig.answer(1, BIDS, ASKS, epoch=1).answer(50, BIDS, ASKS)
    assert rig.state == ("live", "SOUND")


# ── wishes, trust, other things ─────────────────────────────────────────────


def test_resync_builds_the_book_anew(live):
    """Once; not while it is being built."""
    live.sync.resync("requested", 0, 0, live.out)
    live.sync.resync("requested", 0, 0, live.out)
    live.sync.on_connection_gap(0, 0, live.out)
    assert live.gaps == [(0, 0, "requested", "open")]
    assert len(live.fetches) == 1


@pytest.mark.fault("S19")
def test_a_closed_market_is_said_on_quotes(live):
    """The book goes on; nobody may take its prices for tradable."""
    live.trust.report("market", Trust.CLOSED, "halted", 0, 0, live.out)
    live.delta(101, 101, [(99.5, 1.0)])
    assert live.data("book_ticker")[0].trust is Trust.CLOSED
    live.trust.report("freshness", Trust.STALE, "stale", 0, 0, live.out)
    live.delta(102, 102)
    assert live.trust.complaint("freshness") is Trust.SOUND


def test_only_book_events_are_taken(rig):
    """Anything else is a mistake of the wiring."""
    with pytest.raises(AssertionError, match="Ticker"):
        rig.sync.admit(ticker(5), rig.out)


def test_a_side_may_be_empty(live):
    """No top, no quote, no fuss."""
    live.delta(101, 101, [(99.0, 0.0), (98.0, 0.0), (97.0, 0.0)])
    assert live.top is None
    assert live.quotes == []
    live.delta(102, 102, [(90.0, 1.0)])
    assert live.quotes == [(90.0, 101.0)]


def test_the_state_can_be_given_out_again(rig_of):
    """A standing-by line that takes over begins with its whole state."""
    rig = rig_of(wants_deltas=True)
    rig.sync.republish(None, 0, 0, rig.out)
    assert rig.out.events == []
    rig.live()
    rig.sync.republish(None, 5, 6, rig.out)
    kinds = [event.data_type for event in rig.out.events]
    assert kinds == ["orderbook_snapshot", "book_ticker"]
    assert (rig.out.events[0].ts_recv_ns, rig.out.events[0].ts_mono_ns) == (5, 6)


def test_the_last_event_is_the_newest_taken_in(rig):
    """Freshness reads it: also while the book is being built."""
    assert rig.sync.last_event is None
    rig.delta(5, 5)
    assert rig.sync.last_event.last == 5
    assert rig.sync.last_applied is None
    rig.answer(5, BIDS, ASKS)
    rig.delta(6, 6)
    assert rig.sync.last_applied.last == rig.sync.last_event.last == 6


def test_holes_that_never_close_are_bounded(rig):
    """Hundreds of holes without one image: the oldest are given up."""
    number = 1
    for _ in range(300):
        rig.delta(number, number)
        number += 2
    states = [gap[3] for gap in rig.gaps]
    assert states.count("lost") == 299 - 256
    assert states.count("open") == 256


@pytest.mark.fault("S11")
@pytest.mark.parametrize("is_reconnect", [False, True])
def test_an_image_older_than_the_book_does_not_take_it_back(live, is_reconnect):
    """A cache may serve the past while nothing new comes: not a sound book of ten minutes ago."""
    known = live.sync.sequence
    if is_reconnect:
        live.reconnect().subscribed().wait(2_000)
    else:
        live.sync.resync("requested", 0, 0, live.out)
    live.answer(known - 1, BIDS, ASKS)
    assert live.state[1] != "SOUND"
    assert live.sync.sequence == known
    assert live.sync.stats().old_images == 1
    live.wait(1_000).answer(known, BIDS, ASKS)
    assert live.state == ("live", "SOUND")


@pytest.mark.fault("D03")
def test_an_image_that_no_book_can_hold_is_fetched_again(rig_of):
    """With backoff; a book that is only refreshed keeps its levels."""
    long = Decimal(123456789012345678901234567890)
    rig = rig_of(exact_reader=lambda _: ([(long, Decimal(1))], []))
    rig.delta(100, 100)
    rig.answer(100, [(float(long), 1.0)])
    assert rig.state == ("syncing", "UNSOUND")
    rig.wait(300)
    assert rig.fetches == [(1, 0), (2, 1)]
    rig.answer(100, [(99.0, 1.0)], [(101.0, 1.0)])
    assert rig.state == ("live", "SOUND")
    assert rig.top == (99.0, 1.0, 101.0, 1.0)
