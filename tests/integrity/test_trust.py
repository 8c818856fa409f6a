"""The trust of a stream: worst of all complaints, told on each change."""

import pytest

from crossfeed.integrity.trust import StreamTrust
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus, Gap, GapState, Stream
from crossfeed.model.trust import Integrity, Mark, Trust


def told(out):
    """Return (previous, current, cause) of all status events."""
    return [(e.previous, e.current, e.cause) for e in out.events if isinstance(e, FeedStatus)]


def test_starts_unavailable_until_somebody_lifts_it(trust):
    """Nothing is trusted before its first datum."""
    out = Output()
    assert (trust.current, trust.cause) == (Trust.UNAVAILABLE, "not_subscribed")
    trust.report("connection", Trust.SOUND, "first_data", 10, 5, out)
    assert trust.current is Trust.SOUND
    assert told(out) == [(Trust.UNAVAILABLE, Trust.SOUND, "first_data")]
    assert (trust.since_ns, trust.since_mono_ns) == (10, 5)
    assert "SOUND" in repr(trust)


def test_the_worst_complaint_wins_and_the_next_worst_follows(trust):
    """Withdrawing the worst uncovers what else is known against the stream."""
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 1, 1, out)
    trust.report("freshness", Trust.STALE, "stale", 2, 2, out)
    trust.report("book", Trust.UNSOUND, "checksum", 3, 3, out)
    trust.report("freshness", Trust.STALE, "stale", 4, 4, out)
    assert (trust.current, trust.cause) == (Trust.UNSOUND, "checksum")
    trust.report("book", Trust.SOUND, "resynced", 5, 5, out)
    assert (trust.current, trust.cause) == (Trust.STALE, "stale")
    trust.report("freshness", Trust.SOUND, "fresh", 6, 6, out)
    assert (trust.current, trust.cause) == (Trust.SOUND, "fresh")
    assert [change[1] for change in told(out)] == [
        Trust.SOUND,
        Trust.STALE,
        Trust.UNSOUND,
        Trust.STALE,
        Trust.SOUND,
    ]


@pytest.mark.fault("S19")
def test_a_halted_market_is_closed_until_it_opens(trust):
    """Not its last price for ever: whatever data comes, CLOSED is worse than stale or unsound."""
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 1, 1, out)
    trust.report("market", Trust.CLOSED, "halted", 2, 2, out)
    trust.report("book", Trust.UNSOUND, "checksum", 3, 3, out)
    trust.report("book", Trust.SOUND, "resynced", 4, 4, out)
    assert (trust.current, trust.cause) == (Trust.CLOSED, "halted")
    trust.report("market", Trust.SOUND, "online", 5, 5, out)
    assert told(out)[-1] == (Trust.CLOSED, Trust.SOUND, "online")


@pytest.mark.fault("C09")
def test_maintenance_is_unavailable_until_the_venue_says_online(trust):
    """Data that trickles in meanwhile does not make it sound."""
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 1, 1, out)
    trust.report("market", Trust.UNAVAILABLE, "maintenance", 2, 2, out)
    trust.report("connection", Trust.SOUND, "first_data", 3, 3, out)
    trust.report("freshness", Trust.SOUND, "fresh", 3, 3, out)
    assert (trust.current, trust.cause) == (Trust.UNAVAILABLE, "maintenance")
    trust.report("market", Trust.SOUND, "online", 4, 4, out)
    assert trust.current is Trust.SOUND


def test_a_source_replaces_its_own_complaint_without_noise(trust):
    """A new cause of the same weight is no change, but the cause shown is the newest."""
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 1, 1, out)
    trust.report("book", Trust.UNSOUND, "checksum", 2, 2, out)
    trust.report("book", Trust.UNSOUND, "crossed", 3, 3, out, "bid above ask")
    assert (trust.cause, trust.detail) == ("crossed", "bid above ask")
    assert len(told(out)) == 2
    assert trust.complaint("book") is Trust.UNSOUND
    assert trust.complaint("freshness") is Trust.SOUND


def test_withdrawing_nothing_is_free(trust):
    """A source without a complaint changes nothing and tells nothing."""
    out = Output()
    trust.report("freshness", Trust.SOUND, "fresh", 1, 1, out)
    assert out.events == []
    assert trust.current is Trust.UNAVAILABLE


def test_status_events_carry_the_stream(trust):
    """A subscriber can tell what they concern, and `trust` says the same as `current`."""
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 10, 5, out, "hello")
    event = out.events[0]
    assert (event.exchange, event.symbol, event.unified, event.channel) == (
        "binance",
        "BTCUSDT",
        "BTC/USDT",
        "trade",
    )
    assert (event.ts_event_ns, event.ts_recv_ns, event.ts_mono_ns) == (0, 10, 5)
    assert (event.integrity, event.trust) == (Integrity.SEQUENCED, Trust.SOUND)
    assert event.marks == Mark.RECEIVE_TIME
    assert event.data["detail"] == "hello"


def test_watchers_hear_of_every_change(trust):
    """Gates keep their fast path honest by it."""
    heard = []
    trust.watch(lambda: heard.append(trust.current))
    out = Output()
    trust.report("connection", Trust.SOUND, "first_data", 1, 1, out)
    trust.report("book", Trust.UNSOUND, "checksum", 1, 1, out)
    trust.report("book", Trust.UNSOUND, "again", 1, 1, out)
    assert heard == [Trust.SOUND, Trust.UNSOUND]


def test_an_alert_is_told_and_changes_nothing(trust):
    """Something worth knowing that does not touch the trust."""
    out = Output()
    trust.alert("lines_disagree", "number 5", 1, 1, out)
    assert told(out) == [(Trust.UNAVAILABLE, Trust.UNAVAILABLE, "lines_disagree")]
    assert trust.stats(1).alerts == 1
    assert trust.stats(1).changes == 0


def test_gaps_are_entered_and_told(trust, ledger):
    """A hole and its end are events in the stream, with the ledger's record."""
    out = Output()
    record = trust.open_gap(5, 7, "sequence", 1, 1, out)
    trust.close_gap(record.gap_id, GapState.SNAPSHOT, 2, 2, out, last=8)
    trust.close_gap(record.gap_id, GapState.SNAPSHOT, 3, 3, out)
    assert [type(event) for event in out.events] == [Gap, Gap]
    assert [event.record.state for event in out.events] == [GapState.OPEN, GapState.SNAPSHOT]
    assert out.events[1].record == ledger.get(record.gap_id)
    assert out.events[1].record.last == 8
    assert out.events[0].data["missing"] == 3


def test_a_loss_is_told_once(trust, ledger):
    """What nobody can repair is found and LOST in one record."""
    out = Output()
    trust.lose_gap(5, 6, "sequence", 1, 1, out)
    trust.lose_gap(8, 9, "sequence", 1, 1, out, is_countable=False)
    assert [(e.record.state, e.record.missing) for e in out.events] == [
        (GapState.LOST, 2),
        (GapState.LOST, 0),
    ]
    assert ledger.totals().lost == 2


def test_time_in_each_state_is_counted(ledger):
    """How long a stream was unsound can be asked at any time."""
    trust = StreamTrust(Stream("kraken", "book", "BTC/USD"), ledger)
    out = Output()
    assert trust.stats(99).time_ns == dict.fromkeys(Trust, 0)
    trust.report("connection", Trust.SOUND, "first_data", 0, 100, out)
    trust.report("book", Trust.UNSOUND, "checksum", 0, 150, out)
    trust.report("book", Trust.SOUND, "resynced", 0, 170, out)
    stats = trust.stats(200)
    assert stats.time_ns[Trust.SOUND] == 50 + 30
    assert stats.time_ns[Trust.UNSOUND] == 20
    assert (stats.changes, stats.current, stats.cause) == (3, Trust.SOUND, "resynced")
