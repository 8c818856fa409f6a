"""Two lines of everything: one falls silent, is slow, or dies at any moment; nobody may notice."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from crossfeed import Mark, VenueClient
from crossfeed.integrity.standby import HotStandby
from crossfeed.model.commands import Rotate
from crossfeed.model.output import Output
from crossfeed.model.status import FeedStatus
from crossfeed.model.trust import Trust
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator import FaultRule
from crossfeed.testing.virtual import VENUES

NS = 1_000_000_000
TWO = FeedSettings(lines=2)
STREAMS = {
    # venue: what its frames of one stream hold, and the stream
    "binance": (b"btcusdt@trade", b"BTCUSDT@trade", "trade", "BTCUSDT"),
    "coinbase": (b'"type":"match","', b'"type":"last_match"', "trade", "BTC-USD"),
    "coinbase_advanced": (b'"channel":"market_trades"', b"", "trade", "BTC-USD"),
    "kraken": (b'"channel":"book"', b"", "book", "BTC/USD"),
}


class Muted:
    """One line of a feed that brings only what is not of some streams, and answers all the rest."""

    def __init__(self, line, *patterns: bytes) -> None:
        self.line = line
        self._feed = line.core.feed
        self._patterns = [pattern for pattern in patterns if pattern]
        line.core.feed = self.feed

    def feed(self, frame: bytes, ts_recv_ns: int, ts_mono_ns: int) -> Output:
        """Lose what is muted."""
        if any(pattern in frame for pattern in self._patterns):
            return Output()
        return self._feed(frame, ts_recv_ns, ts_mono_ns)

    def end(self) -> None:
        """Let everything through again."""
        self.line.core.feed = self._feed


def told(feed) -> tuple[list[str], list[str]]:
    """Return two growing lists: every fall of a trust, and every alert."""
    falls: list[str] = []
    alerts: list[str] = []

    def note(event) -> None:
        if not isinstance(event, FeedStatus):
            return
        text = f"{event.channel} {event.symbol}: {event.cause} ({event.detail})"
        if event.previous is event.current:
            alerts.append(text)
        elif event.previous is Trust.SOUND:
            falls.append(text)

    feed.listeners.append(note)
    return falls, alerts


@pytest.mark.fault("T04", "S18")
@pytest.mark.parametrize("venue", VENUES)
def test_one_silent_stream_of_one_line_is_found_behind_the_other(world, venue, tally):
    """The line lives, its other streams too; only the sibling line shows that one is missing."""
    run = world(venue, seed=21, rate_per_s=10, settings=TWO)
    run.look_ns = 2 * NS
    feed = run.feeds[venue]
    run.run(10)
    good, bad = feed.lines
    falls, alerts = told(feed)
    *patterns, kind, symbol = STREAMS[venue]
    muted = Muted(bad, *patterns)
    began_ns = run.mono_ns()
    limit_s = feed.venue.profile.channel(kind).age_limit_s or 30.0
    run.run(limit_s - 4)
    assert bad.freshness.stats().silent_lines == 0
    for _ in range(100):
        run.run(0.1)
        if any(symbol in alert and "line_silent" in alert for alert in alerts):
            break
    took_s = (run.mono_ns() - began_ns) / NS
    assert took_s <= limit_s + 1.2, took_s  # a line may have been mute for the last market action
    assert alerts[0].startswith(f"{kind} ")
    run.run(60)  # still mute: one step after the other, on this line only
    steps = bad.freshness.stats()
    assert steps.resubscribes >= 1
    assert steps.reconnects >= 1
    assert steps.other_endpoints >= 1
    assert good.freshness.stats().resubscribes == 0
    assert (len(good.attempts), good.is_up) == (1, True)
    assert len(bad.attempts) >= 3
    muted.end()
    run.run(30)
    seen = steps.silent_lines
    run.run(15)
    assert bad.freshness.stats().silent_lines == seen, "well again, for good"
    assert falls == []
    verdict = run.verdict()
    assert (verdict.violations, verdict.total("holes")) == ([], 0)
    tally(injected=1, detected=1, recovered=1, lost=0, doubled=0)


@pytest.fixture
def at_each_switch(monkeypatch):
    """Return `at_each_switch(act)`: have `act()` called whenever another line is given out."""

    def install(act) -> list[str]:
        switched: list[str] = []
        original = HotStandby._activate

        def activate(self, name: str) -> None:
            original(self, name)
            switched.append(name)
            act()

        monkeypatch.setattr(HotStandby, "_activate", activate)
        return switched

    return install


@pytest.mark.fault("S18", "C06")
def test_lines_die_at_any_moment(world, is_full, tally, figure, at_each_switch):
    """At every switch the book that takes over equals the venue's own at that update."""
    run = world(*VENUES, seed=31, rate_per_s=40, settings=TWO)
    switched = at_each_switch(run.look)
    random, deaths, rotations = Random(31), 0, 0
    told_by = {name: told(feed)[0] for name, feed in run.feeds.items()}
    run.run(5)
    for falls in told_by.values():
        falls.clear()
    while deaths < (160 if is_full else 8) or rotations < (120 if is_full else 4):
        run.run(random.expovariate(2.0))
        feed = random.choice(list(run.feeds.values()))
        ready = [
            line
            for line in feed.lines
            if line.is_settled and feed.streams.is_ready(line.name, list(line.wants))
        ]
        if len(ready) != 2 or len(feed.lines) != 2:
            continue
        line = random.choice(ready)
        if random.random() < 0.4:
            feed.rotate(line)
            rotations += 1
        else:
            line.drop("test")
            deaths += 1
    run.run(8)
    verdict = run.verdict()
    assert verdict.violations == []
    assert {name: falls for name, falls in told_by.items() if falls} == {}
    holes = verdict.total("holes")
    assert len(switched) > (80 if is_full else 4)
    tally(injected=deaths + rotations, detected=deaths + rotations, lost=holes, doubled=0)
    figure("lost or doubled when lines die or rotate at random moments", holes + verdict.count, 0)


class Loopback:
    """The whole client on two lines to a simulated venue over sockets, and what it gave out."""

    def __init__(self, venue: str, simulator, settings) -> None:
        self.venue, self.simulator = venue, simulator
        kinds = ["trade", "book", "ticker"]
        self.client = VenueClient(venue, symbols=["BTC/USD"], kinds=kinds, settings=settings)
        self.trades: list[int] = []
        self.falls: list[str] = []
        self.client.on("trade", self._on_trade)
        self.client.on_feed_status(self._on_status)

    def _on_trade(self, event) -> None:
        if not event.marks & Mark.HISTORY:
            self.trades.append(event.trade_id)

    def _on_status(self, event) -> None:
        if event.previous is Trust.SOUND and event.current is not Trust.SOUND:
            self.falls.append(f"{event.channel}: {event.cause} {event.detail}")

    @property
    def lines(self):
        """Return the connections."""
        return self.client._session.connections

    def is_whole(self) -> bool:
        """Say whether there are two connections, and each could carry everything alone."""
        streams = self.client._session.streams
        served = self.simulator.exchanges[self.venue].sessions
        return len(self.lines) == len(served) == 2 and all(
            line.is_live and streams.is_ready(line.name, list(line.wants)) for line in self.lines
        )

    async def strike(self, random: Random, until) -> None:
        """Replace a line, or let the venue end it in one of several ways; wait for its return."""
        log = self.simulator.ledger.connections
        accepted = log[self.venue, "accepted"]
        if random.random() < 0.4:
            session = self.client._session
            session.execute(random.choice(session.connections), [Rotate("a test")])
        else:
            mode = random.choice(["reset", "eof", "mid_frame", "clean"])
            rule = FaultRule(kind="cut", mode=mode, venues=(self.venue,), at_s=(0.0,), limit=1)
            self.simulator.inject(rule)
        await until(lambda: log[self.venue, "accepted"] > accepted and self.is_whole(), 30.0)


@pytest.mark.fault("S18", "C06")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("venue", VENUES)
async def test_the_whole_client_outlives_its_lines(
    simulate, reach, until, true_depth, is_full, tally, venue
):
    """Sockets, sessions, delivery: ids without a hole, in order, once; the book is the venue's."""
    simulator = await simulate(
        venues=tuple({venue: None, "coinbase": None}), symbols=("BTC/USD",), rate_per_s=250, seed=3
    )
    loop = Loopback(venue, simulator, reach(simulator, venue, lines=2))
    random, strikes = Random(7), 60 if is_full else 2
    async with loop.client as client:
        await until(lambda: loop.is_whole() and len(loop.trades) > 5)
        loop.falls.clear()
        for _ in range(strikes):
            await asyncio.sleep(random.random() / 20)
            await loop.strike(random, until)
        seen = len(loop.trades)
        await until(lambda: len(loop.trades) > seen + 10)
        stats, names = client.get_stats(), {line.name for line in loop.lines}
        trades = next(lines for stream, lines in stats["lines"].items() if "trade:" in stream)
        assert set(trades) == names
        assert all(line["events"] >= line["wins"] for line in trades.values())
        assert sum(line["wins"] for line in trades.values()) > 0
        books = next(lines for stream, lines in stats["lines"].items() if "book:" in stream)
        assert sum(line["is_active"] for line in books.values()) in {1, 2}  # stands by, or merged
        assert stats["freshness"]["silent_lines"] == 0
        simulator.pause()
        book, owner = client.book("BTC/USD"), simulator.exchanges[venue].owner
        await until(
            lambda: book.depth_exact(10) == true_depth(simulator, owner, "BTC/USD", 10), 20.0
        )
        assert book.trust is Trust.SOUND
        assert client.gaps.totals().found == 0
        assert loop.falls == []
    assert loop.trades == list(range(loop.trades[0], loop.trades[0] + len(loop.trades)))
    tally(injected=strikes, detected=strikes, lost=0, doubled=0)


@pytest.mark.fault("T04", "C06")
def test_two_lines_through_quiet_hours_raise_no_alarm(world, is_full, figure):
    """Over busy and dead markets and rotations: no fall of trust, no line called silent."""
    hours, parts = (12, 6) if is_full else (1, 2)
    run = world(*VENUES, seed=51, rate_per_s=1.0, tick_s=1.0, settings=TWO)
    run.look_ns = 60 * NS
    run.run(30)
    heard = {name: told(feed) for name, feed in run.feeds.items()}
    for hour in range(hours):
        for part in range(parts):
            run.room.simulator.world.is_paused = part % 2 == hour % 2
            run.run(540 if is_full else 240)
            run.room.simulator.world.is_paused = False
            run.run(50)
            feed = list(run.feeds.values())[part % len(run.feeds)]
            feed.rotate(feed.lines[part % 2])
            run.run(10)
    run.run(60)
    alarms = [f"{name}: {text}" for name, lists in heard.items() for each in lists for text in each]
    assert alarms[:10] == []
    verdict = run.verdict()
    assert (verdict.violations, verdict.total("holes")) == ([], 0)
    figure("alarms of two lines, clean hours", len(alarms), 0)
