"""A recording, replayed, equals what was given out live: every event, value, gap and book."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.clients.replay import Replay
from crossfeed.errors import (
    ConfigError,
    JournalError,
    UnknownSymbolError,
    UnsupportedChannelError,
)
from crossfeed.journal.folder import list_segments
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import RecordKind, decode_records
from crossfeed.runtime.delivery import DeliveryMode
from crossfeed.testing.clock import ManualClock


def played(folder, prints, **options):
    """Replay at full speed; return events, values and the replay."""
    event_print, value_print = prints
    replay = Replay(folder, aggregator=True, **options)
    events, values = [], []
    replay.on("*", lambda event: events.append(event_print(event)))
    replay.on_update(lambda value: values.append(value_print(value)))
    replay.play()
    return events, values, replay


def test_replay_refuses_what_could_bring_nothing(tmp_path):
    replay = Replay(tmp_path)
    with pytest.raises(UnsupportedChannelError, match="did you mean 'trade'"):
        replay.on("trades", print)
    with pytest.raises(UnsupportedChannelError, match="did you mean 'trade'"):
        replay.stream("trades")
    with pytest.raises(UnsupportedChannelError, match="did you mean 'trade'"):
        next(replay.events("trades"))
    with pytest.raises(ConfigError, match="nothing is aggregated"):
        replay.on_update(print)
    with pytest.raises(UnsupportedChannelError, match="'depth' is not aggregated"):
        Replay(tmp_path, aggregator=True).on_update(print, "depth")


def test_blocks_are_played_alike_by_python_and_compiled(live, prints, monkeypatch):
    """Events, values and times are those of records decoded one by one."""
    fast = played(live.folder, prints)
    monkeypatch.setattr("crossfeed.runtime.player._decoder", lambda: decode_records)
    slow = played(live.folder, prints)
    assert fast[0]
    assert fast[:2] == slow[:2]
    assert fast[2].stats() == slow[2].stats()


def test_replay_takes_decorators_as_a_client_does(calm):
    replay, trades = Replay(calm.folder), []

    @replay.on("trade")
    def take(trade):
        trades.append(trade)

    replay.play()
    assert trades
    assert take.__name__ == "take"


# ── identity ──────────────────────────────────────────────────────────────────


def assert_equal(live, prints):
    events, values, replay = played(live.folder, prints)
    assert events == live.events
    assert values == live.values
    ledgers = {name: list(feed.gaps.records()) for name, feed in replay.feeds.items()}
    assert ledgers == live.gaps
    stats = replay.stats()
    assert (stats.interruptions, stats.refused, stats.runs) == (0, 0, 1)
    assert replay.damages == []
    assert replay.losses == []


def test_replay_equals_live_with_faults(live, prints):
    """Lost, doubled, swapped and broken frames, dropped connections, repairs: all of it again."""
    assert sum(map(len, live.gaps.values())) > 5
    assert len(list_segments(live.folder)) > 1
    assert_equal(live, prints)


def test_replay_equals_live_without_faults(calm, prints):
    assert len(calm.values) > 50
    assert_equal(calm, prints)


def test_two_replays_of_one_recording_are_the_same(live, prints):
    first, second = played(live.folder, prints), played(live.folder, prints)
    assert first[:2] == second[:2]


@pytest.mark.load
def test_long_recording_equals_live(tmp_path, record_for, prints, soak_seconds):
    """`make soak SECONDS=600` records ten minutes."""
    live = asyncio.run(record_for(tmp_path / "journal", "default", soak_seconds, 500.0))
    print(f"{len(live.events):,} events, {sum(map(len, live.gaps.values()))} gaps, {live.stats}")
    assert_equal(live, prints)


def test_recording_loses_nothing_and_is_small(live):
    assert (live.stats.lost_records, live.stats.failures) == (0, 0)
    assert live.stats.bytes_out < live.stats.bytes_in / 2
    kinds = {record.kind for record in Journal(live.folder).records()}
    assert kinds >= {*RecordKind} - {RecordKind.LOSS}


# ── ways of playing ───────────────────────────────────────────────────────────


def test_books_stand_as_they_did(calm):
    replay = Replay(calm.folder)
    last = {}

    def look(status):
        for key in calm.books:
            if status.cause == "closed" and key not in last and key[0] == status.exchange:
                last[key] = book_of(replay, *key)

    replay.on_feed_status(look)
    replay.play()
    assert last == calm.books
    with pytest.raises(UnknownSymbolError):
        replay.book("kraken", "DOGE/USD")
    with pytest.raises(UnknownSymbolError):
        replay.book("nowhere", "BTC/USD")


def book_of(replay, feed, symbol):
    image = replay.book(feed, symbol).image()
    return image.bids, image.asks


def test_steps_add_up(calm, prints):
    replay, events = Replay(calm.folder), []
    replay.on("*", lambda event: events.append(prints[0](event)))
    assert replay.step() == 1
    while replay.step(7):
        pass
    assert replay.step() == 0
    assert events == calm.events
    assert replay.stats().records == sum(1 for _ in Journal(calm.folder).records())


def test_events_are_yielded_without_a_loop(calm, prints):
    trades = list(Replay(calm.folder).events("trade"))
    assert [prints[0](trade) for trade in trades] == [e for e in calm.events if e[0] == "Trade"]
    some = list(Replay(calm.folder, feeds=["kraken"]).events("trade", symbol="BTC/USD"))
    assert {(trade.exchange, trade.symbol) for trade in some} == {("kraken", "BTC/USD")}


async def test_streams_and_queued_handlers_miss_nothing(calm):
    """The replay waits for them, as fast as it is."""
    replay, queued = Replay(calm.folder), []

    async def slow(event):
        await asyncio.sleep(0)
        queued.append(event)

    replay.add_handler("trade", slow, mode=DeliveryMode.QUEUED)
    stream = replay.stream("trade")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(replay.run())
        streamed = [trade async for trade in stream]
    trades = sum(1 for event in calm.events if event[0] == "Trade")
    assert len(streamed) == len(queued) == trades
    assert running.result().events > trades


async def test_speed_follows_the_recorded_times(calm):
    clock = ManualClock()
    replay = Replay(calm.folder, speed=10.0, clock=clock)
    times = []
    replay.on("trade", lambda trade: times.append((trade.ts_recv_ns, clock.monotonic_ns())))
    task = asyncio.ensure_future(replay.run())
    while not task.done():
        await clock.advance(0.005)
    await task
    (first_ns, begun_ns), (last_ns, ended_ns) = times[0], times[-1]
    assert (last_ns - first_ns) / (ended_ns - begun_ns) == pytest.approx(10.0, rel=0.2)


async def test_closing_ends_a_slow_replay_at_once(calm):
    replay = Replay(calm.folder, speed=0.001)
    async with replay:
        task = asyncio.ensure_future(replay.run())
        await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        stats = await task
    assert stats.records < calm.stats.records


def test_seeking_plays_what_came_before_silently(calm, prints):
    all_events = played(calm.folder, prints)[0]
    records = [r for r in Journal(calm.folder).records() if r.kind == RecordKind.FRAME_IN]
    middle = records[len(records) // 2].wall_ns
    late, _, _ = played(calm.folder, prints, start=middle)
    assert late == all_events[-len(late) :]
    assert 0 < len(late) < len(all_events)
    early = played(calm.folder, prints, end=middle)[0]
    assert early == all_events[: len(early)]
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=middle // 1_000)
    assert len(played(calm.folder, prints, start=moment)[0]) >= len(late)


def test_aggregator_of_ones_own(calm):
    """Another configuration than the recorded one: its timers run at their own moments."""
    config = AggregatorConfig(
        exchanges=["kraken", "binance"], symbols=["BTC/USD"], update_interval=0.2
    )

    def values():
        replay, found = Replay(calm.folder, aggregator=config), []
        replay.on_update(found.append, "book_ticker")
        replay.play()
        return [(value.timestamp, value.data) for value in found]

    once = values()
    assert once == values()
    assert 3 < len(once) < 30
    gaps_s = [(b[0] - a[0]).total_seconds() for a, b in pairwise(once)]
    assert min(gaps_s) >= 0.19


def test_several_journals_are_merged_by_receive_time(calm, live, prints):
    replay, seen = Replay(calm.folder, live.folder), []
    replay.on("*", lambda event: seen.append(prints[0](event)))
    replay.play()
    assert set(replay.feeds) >= {"0:kraken", "1:kraken"}
    both = sorted((live, calm), key=lambda each: next(Journal(each.folder).records()).wall_ns)
    assert seen == both[0].events + both[1].events  # recorded one after the other


@pytest.mark.parametrize(
    ("folders", "options"),
    [
        ((), {}),
        (("x",), {"speed": -1.0}),
        (("x",), {"speed": float("nan")}),
        (("x",), {"start": datetime(2026, 1, 1)}),  # noqa: DTZ001 - that is what is refused
        (("x",), {"end": -5}),
    ],
)
def test_arguments_that_cannot_work_are_refused(folders, options):
    with pytest.raises(ConfigError):
        Replay(*folders, **options)


def test_absent_journal_is_named(tmp_path):
    with pytest.raises(JournalError, match="nowhere"):
        Replay(tmp_path / "nowhere").play()


# ── holes ─────────────────────────────────────────────────────────────────────


def copied(live, tmp_path) -> Path:
    return Path(shutil.copytree(live.folder, tmp_path / "copy"))


@pytest.mark.fault("F03")
def test_damage_makes_the_streams_unsound(calm, tmp_path):
    """A hole in the recording is never passed over: the books are unsound from there on."""
    folder = copied(calm, tmp_path)
    path = Path(list_segments(folder)[0].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    replay, told = Replay(folder), []
    replay.on_feed_status(lambda status: told.append(status.cause))
    replay.play()
    assert replay.stats().interruptions == 1
    assert [damage.reason for damage in replay.damages] == ["checksum"]
    assert "journal_damage" in told


def test_segment_that_is_gone_begins_anew_from_carried_state(live, tmp_path):
    """Retention has deleted the beginning: what is left is played, with trust rebuilt."""
    folder = copied(live, tmp_path)
    segments = list_segments(folder)
    Path(segments[0].path).unlink()
    replay, events = Replay(folder), []
    replay.on("*", events.append)
    stats = replay.play()
    assert stats.runs == 1
    assert stats.refused == 0
    assert {"trade", "feed_status"} <= {event.data_type for event in events}
    assert set(replay.feeds) == {"binance", "coinbase", "kraken"}


def test_two_runs_in_one_folder_follow_each_other(tmp_path, record_for, prints):
    folder = tmp_path / "journal"
    first = asyncio.run(record_for(folder, None, 0.4))
    second = asyncio.run(record_for(folder, None, 0.4))
    events, values, replay = played(folder, prints)
    assert replay.stats().runs == 2
    assert events == first.events + second.events
    assert values == first.values + second.values
