"""An exchange gone mad: several things go wrong at once, in the worst order."""

from __future__ import annotations

import pytest

from crossfeed import VenueClient
from crossfeed.model.commands import Want
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus
from crossfeed.model.trust import Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.faults import FaultRule
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000
LOSSES = FaultRule(kind="drop", channels=("chained", "level2"), probability=0.05)


def all_sound(run) -> bool:
    """Say whether every stream of every client is sound."""
    return all(
        trust.current is Trust.SOUND
        for feed in run.feeds.values()
        for trust in feed.streams.trusts()
    )


@pytest.mark.fault("S10", "H05")
def test_rest_says_429_for_an_hour(world, is_full, tally):
    """The book says so all the time, asks only when it was told to, and comes back by itself."""
    run = world("binance", seed=41, rate_per_s=1.0, tick_s=1.0)
    run.look_ns = 10 * NS
    feed = run.feeds["binance"]
    run.run(10)
    wait_s, minutes = 300, 60 if is_full else 12
    run.room.simulator.inject(
        FaultRule(
            kind="rest", status=429, retry_after_s=wait_s, path="depth", until_s=minutes * 60.0
        ),
    )
    before = feed.requests
    out = Output()
    for symbol in feed.symbols():
        feed.streams.resync(symbol, run.now_ns(), run.mono_ns(), out)
    feed.give(out)
    run.run(5)
    asked = feed.requests
    for _ in range(minutes - 1):
        run.run(60)
        books = [trust for trust in feed.streams.trusts() if trust.stream.channel == "book"]
        assert {trust.current for trust in books} <= {Trust.UNSOUND, Trust.UNAVAILABLE}
        assert all(trust.cause for trust in books)
    assert asked > before
    each = minutes * 60 / wait_s + 1
    assert feed.refused_requests <= 2 * each, "no more often than it was told, for two books"
    run.run(wait_s + 120)
    run.drain()
    verdict = run.verdict()
    assert verdict.violations == []
    assert all_sound(run)
    assert not run.room.ledger.violations
    tally(injected=1, detected=1, recovered=1, lost=verdict.total("lost"))


@pytest.mark.fault("S06", "S08")
@pytest.mark.parametrize("venue", VENUES)
def test_numbers_begin_anew_while_images_are_slow_and_old(world, venue, tally):
    rules = [
        LOSSES,
        FaultRule(kind="restart", every_s=7.0),
        FaultRule(kind="rest", mode="slow", duration_s=2.0, probability=0.4),
        FaultRule(kind="rest", mode="stale", probability=0.3),
    ]
    run = world(venue, seed=42, rate_per_s=20, faults=rules)
    run.look_ns = NS // 5
    run.run(45)
    run.drain(rest_s=60)
    verdict = run.verdict()
    assert verdict.violations == []
    assert all_sound(run)
    injected = run.room.ledger.faults.total()  # each told or without effect: no violation
    tally(injected=injected, detected=injected, lost=verdict.total("lost"), doubled=0)


@pytest.mark.fault("C06", "C07", "S01")
@pytest.mark.parametrize("venue", VENUES)
def test_rotations_in_the_midst_of_resyncs(world, venue, tally):
    run = world(venue, seed=43, rate_per_s=20, faults=[LOSSES], settings=FeedSettings(lines=1))
    feed = run.feeds[venue]
    run.look_ns = NS // 5
    for _ in range(8):
        run.run(1.3)
        for _ in range(100):  # strike while something is being rebuilt
            run.run(0.1)
            if not all_sound(run):
                break
        feed.rotate(feed.lines[0])
        run.run(0.03)
        if len(feed.lines) > 1:
            feed.lines[0].drop("test")  # and the old one dies before the new one is ready
    run.drain(rest_s=60)
    verdict = run.verdict()
    assert verdict.violations == []
    assert all_sound(run)
    assert len(feed.lines) == 1
    injected = run.room.ledger.faults.total()  # each told or without effect: no violation
    tally(injected=injected, detected=injected, lost=verdict.total("lost"), doubled=0)


@pytest.mark.fault("S19", "S10")
@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_a_market_halts_while_its_book_is_rebuilt(world, venue, tally):
    requests = [("trade", "ETH/USD"), ("book", "ETH/USD"), ("status", "")]
    run = world(venue, seed=44, rate_per_s=20, requests=requests)
    feed = run.feeds[venue]
    run.run(10)
    run.room.simulator.inject(
        FaultRule(kind="halt", symbols=("ETH/USD",), at_s=(0.0,), duration_s=30.0),
        FaultRule(kind="rest", status=503, until_s=20.0),
    )
    feed.lines[0].drop("test")
    run.run(25)
    markets = [trust for trust in feed.streams.trusts() if trust.stream.symbol]
    assert {trust.complaint("market") for trust in markets} == {Trust.CLOSED}
    assert all(trust.current >= Trust.CLOSED for trust in markets)
    run.run(60)
    run.drain()
    assert run.verdict().violations == []
    assert all_sound(run)
    tally(injected=1, detected=1, recovered=1)


@pytest.mark.fault("S17")
def test_two_hosts_that_tell_different_stories(world, tally):
    """The first to tell is kept, the difference is counted and told, nothing is given out twice."""
    run = world("binance", seed=45, rate_per_s=30, settings=FeedSettings(lines=2))
    feed = run.feeds["binance"]
    run.run(5)
    liar = feed.lines[1]
    feed_frame, lies = liar.core.feed, 0

    def lie(frame: bytes, ts_recv_ns: int, ts_mono_ns: int):
        nonlocal lies
        if b"@trade" in frame and b'"q":"' in frame:
            head, mark, rest = frame.partition(b'"q":"')
            frame = head + mark + b"7" + rest
            lies += 1
        return feed_frame(frame, ts_recv_ns, ts_mono_ns)

    alerts = []
    feed.listeners.append(
        lambda e: (
            alerts.append(e.cause)
            if isinstance(e, FeedStatus) and e.previous is e.current
            else None
        )
    )
    liar.core.feed = lie
    run.run(20)
    assert lies > 5
    assert "lines_disagree" in alerts
    numbers = [
        seen.number
        for (_, symbol), records in feed.recording.numbered.items()
        if symbol == "BTCUSDT"
        for seen in records
        if hasattr(seen, "number")
    ]
    assert len(numbers) == len(set(numbers))
    (flow,) = feed.streams.of(Want("trade", "BTCUSDT"))  # alerts thin out, the count does not
    seen = flow.carrier._merge.disagreements
    (other,) = feed.streams.of(Want("trade", "ETHUSDT"))
    seen += other.carrier._merge.disagreements
    assert seen == lies
    tally(injected=lies, detected=seen)


@pytest.mark.fault("S10")
@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
async def test_a_symbol_leaves_in_the_midst_of_its_resync(simulate, reach, until, venue):
    """What comes for it afterwards is dropped; it can be asked for again."""
    simulator = await simulate(venues=(venue,), symbols=("BTC/USD", "ETH/USD"), rate_per_s=200)
    client = VenueClient(
        venue, symbols=["BTC/USD", "ETH/USD"], kinds=["book"], settings=reach(simulator, venue)
    )
    errors = []
    client.on_error(errors.append)
    async with client:
        await until(
            lambda: all(client.book(s).trust is Trust.SOUND for s in ("BTC/USD", "ETH/USD"))
        )
        for _ in range(3):
            client.resync("BTC/USD")
            await client.unsubscribe(["BTC/USD"], ["book"])
            await client.subscribe(["BTC/USD"], ["book"])
            await until(lambda: client.book("BTC/USD").trust is Trust.SOUND, 20.0)
            assert client.book("ETH/USD").trust is Trust.SOUND
    assert errors == []
