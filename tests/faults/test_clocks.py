"""Silence, recovery times, clocks that jump, processes that stop."""

from __future__ import annotations

from random import Random

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregationStrategy, AggregatorConfig
from crossfeed.model.status import FeedStatus, Gap
from crossfeed.model.trust import Trust
from crossfeed.simulator.faults import FaultRule
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000


@pytest.mark.fault("T04")
@pytest.mark.parametrize("venue", VENUES)
def test_a_silent_stream_is_found_within_its_limit(world, figure, tally, venue):
    """The venue answers pings and sends nothing: every stream stops being sound in time."""
    run = world(venue, seed=2, rate_per_s=40)
    feed = run.feeds[venue]
    newest: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, str], int] = {}

    def note(event) -> None:
        if isinstance(event, FeedStatus):
            if event.previous is Trust.SOUND:
                found.setdefault((event.channel, event.symbol), event.ts_mono_ns)
        else:
            newest[event.data_type, event.symbol] = event.ts_mono_ns

    run.run(30)
    feed.listeners.append(note)
    run.run(0.2)
    run.room.simulator.inject(
        FaultRule(kind="stall", mode="lose", at_s=(0.0,), duration_s=900.0, connections="all"),
        FaultRule(kind="handshake", status=503),
    )
    began_ns = run.mono_ns()
    found.clear()
    run.run(65)
    late: list[float] = []
    streams = [trust.stream for trust in feed.streams.trusts()]
    for stream in streams:
        channel = feed.venue.profile.channel(stream.channel)
        limit_s = (channel.age_limit_s if channel else 0.0) or 30.0
        key = stream.channel, stream.symbol
        assert key in found, f"{stream} was never found silent"
        # A transport that notices first (no heartbeat) is as good; it may be earlier, never later.
        since_ns = min(began_ns, newest.get(key, began_ns))
        late.append((found[key] - since_ns) / NS - limit_s)
    tally(injected=len(streams), detected=len(found))
    figure(
        "silent stream found later than its limit", max(0.0, *late) * 1e3, 100.0, "ms", detail=venue
    )


@pytest.mark.fault("T01")
@pytest.mark.parametrize("venue", VENUES)
def test_the_book_is_soon_sound_after_a_drop(world, is_full, figure, tally, venue):
    drops = 60 if is_full else 6
    run = world(venue, seed=5, rate_per_s=10)
    run.look_ns = 0
    random = Random(5)
    feed = run.feeds[venue]
    took: list[float] = []
    run.run(5)
    for _ in range(drops):
        run.run(31 + random.random())
        began_ns = run.mono_ns()
        feed.lines[0].drop("test")
        for _ in range(2_000):
            run.run(0.01)
            if all(book.trust is Trust.SOUND for book in feed.streams.books()):
                break
        took.append((run.mono_ns() - began_ns) / NS)
    run.drain()
    verdict = run.verdict()
    assert verdict.violations == []
    took.sort()
    p50, p99 = took[len(took) // 2], took[min(len(took) - 1, len(took) * 99 // 100)]
    tally(injected=drops, detected=drops, recovered=drops, lost=verdict.total("lost"), doubled=0)
    detail = f"{venue}, {drops} drops, 10 ms round trip"
    figure("drop to all books sound, p50", p50, 0.75, "s", detail=detail)
    figure("drop to all books sound, p99", p99, 3.0, "s", detail=detail)
    lost = verdict.total("lost")
    figure("lost over an unplanned drop, after backfill", lost, 0, detail=detail)


@pytest.mark.fault("T04", "C09")
def test_a_frozen_venue_leaves_the_aggregate_and_comes_back_by_itself(world, tally):
    run = world(
        "binance",
        "coinbase",
        "kraken",
        seed=6,
        rate_per_s=20,
        requests=[("book_ticker", "BTC/USD")],
    )
    config = AggregatorConfig(
        exchanges=["binance", "coinbase", "kraken"],
        symbols={
            "BTC/USD": {"binance": "BTCUSDT", "coinbase": "BTC-USD", "kraken": "BTC/USD"},
        },
        aggregation_strategy=AggregationStrategy.BEST_BID_ASK,
        update_interval=0.0,
    )
    aggregator = Aggregator(config)
    aggregator.set_wanted("BTC/USD", "book_ticker", is_wanted=True)
    members: list[tuple[int, frozenset[str]]] = []

    def note(published) -> None:
        members.extend((run.mono_ns(), frozenset(one.exchanges)) for one in published)

    def take(event):
        mono_ns, wall_ns = run.mono_ns(), run.now_ns()
        if isinstance(event, FeedStatus):
            note(aggregator.on_status(event, mono_ns, wall_ns))
        elif not isinstance(event, Gap):
            note(aggregator.on_event(event, mono_ns, wall_ns))

    for feed in run.feeds.values():
        feed.listeners.append(take)
    run.run(10)
    assert members[-1][1] == {"binance", "coinbase", "kraken"}
    run.room.simulator.inject(
        FaultRule(
            kind="stall", mode="lose", venues=("kraken",), at_s=(0.0,), duration_s=90.0,
            connections="all",
        ),
        FaultRule(kind="handshake", venues=("kraken",), status=503, until_s=90.0),
    )  # fmt: skip
    began_ns = run.mono_ns()
    run.run(89)
    left_ns = next(at for at, names in members if at > began_ns and "kraken" not in names)
    assert (left_ns - began_ns) / NS <= 60.1
    assert members[-1][1] == {"binance", "coinbase"}
    run.run(40)
    assert members[-1][1] == {"binance", "coinbase", "kraken"}
    tally(injected=1, detected=1, recovered=1)


@pytest.mark.fault("K01")
@pytest.mark.parametrize("jump_s", [3_600, -3_600, 86_400 * 365])
def test_a_jump_of_the_wall_clock_changes_stamps_only(world, jump_s):
    runs = []
    for jump in (0, jump_s):
        run = world(*VENUES, seed=7, rate_per_s=20)
        run.run(10)
        run.wall_jump_ns = jump * NS
        run.run(30)
        runs.append(run)
    plain, jumped = runs
    assert jumped.verdict().violations == []
    for name, feed in jumped.feeds.items():
        assert feed.reconnects == 0
        assert feed.recording.counts == plain.feeds[name].recording.counts
        assert all(trust.current is Trust.SOUND for trust in feed.streams.trusts())


@pytest.mark.fault("K05")
def test_a_process_that_was_stopped_calls_nothing_sound_before_it_has_looked(world, tally):
    run = world(*VENUES, seed=7, rate_per_s=20)
    run.run(20)
    run.freeze(60)
    run.run(0.2)
    told = {
        (name, change.current, change.cause)
        for name, feed in run.feeds.items()
        for changes in feed.recording.trust.values()
        for change in changes
    }
    assert {"STALE", "UNAVAILABLE", "UNSOUND"} & {current for _, current, _ in told}
    run.run(60)
    run.drain()
    verdict = run.verdict()
    assert verdict.violations == []
    for feed in run.feeds.values():
        assert all(trust.current is Trust.SOUND for trust in feed.streams.trusts())
    tally(injected=len(VENUES), detected=len(VENUES), lost=verdict.total("lost"))


@pytest.mark.fault("S19")
@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_a_halted_market_is_closed_until_the_venue_opens_it(world, tally, venue):
    requests = [("trade", "BTC/USD"), ("trade", "ETH/USD"), ("book", "ETH/USD"), ("status", "")]
    run = world(venue, seed=3, rate_per_s=20, requests=requests)
    feed = run.feeds[venue]
    run.run(10)
    halt = FaultRule(kind="halt", symbols=("ETH/USD",), at_s=(0.0,), duration_s=60.0)
    run.room.simulator.inject(halt)
    run.run(20)
    states = {trust.stream: trust.current for trust in feed.streams.trusts()}
    halted = {s: t for s, t in states.items() if "ETH" in s.symbol}
    assert set(halted.values()) == {Trust.CLOSED}
    assert {t for s, t in states.items() if "BTC" in s.symbol} == {Trust.SOUND}
    run.run(60)
    assert {trust.current for trust in feed.streams.trusts()} == {Trust.SOUND}
    tally(injected=1, detected=1, recovered=1)
