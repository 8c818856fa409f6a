"""Minutes of four venues with faults, recorded in virtual time, equal their replay to the last bit.

`CROSSFEED_FAULTS=full pytest -m load tests/replay/test_virtual.py` records ten minutes.
"""

import asyncio
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from crossfeed.aggregation.aggregator import Aggregator
from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.clients.replay import Replay
from crossfeed.journal.folder import list_segments
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.reader import Journal
from crossfeed.model.output import Output
from crossfeed.runtime import seek
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator.venues.coinbase.profile import TEST_KEY, TEST_PASSPHRASE, TEST_SECRET
from crossfeed.testing.journal import wait_until
from crossfeed.testing.virtual import VENUES, VirtualWorld

NS = 1_000_000_000
SYMBOLS = ("BTC/USD", "ETH/USD")
KINDS = ("trade", "book", "book_ticker", "ticker")
KEYS = {"api_key": TEST_KEY, "api_secret": TEST_SECRET, "api_passphrase": TEST_PASSPHRASE}
FEED_TYPES = {"trade", "ticker", "book_ticker", "feed_status", "gap"}
QUEUE_LOW = 1 << 20


class Digest:
    """Every field of everything given out, as one hash and a count by kind."""

    def __init__(self):
        self.hash = hashlib.sha256()
        self.counts = {}

    def take(self, thing):
        kind = type(thing).__name__
        self.counts[kind] = self.counts.get(kind, 0) + 1
        names = getattr(thing, "__struct_fields__", None)
        shown = repr(thing) if names is None else repr([getattr(thing, name) for name in names])
        self.hash.update(shown.encode())

    def __eq__(self, other):
        return (self.counts, self.hash.digest()) == (other.counts, other.hash.digest())

    __hash__ = None

    def __repr__(self):
        return f"{self.counts} {self.hash.hexdigest()[:12]}"


class Session:
    """A world whose clients are recorded, with an aggregator on top."""

    def __init__(
        self,
        folder: Path,
        *,
        faults="harsh",
        seed=5,
        rate=40.0,
        segment_bytes=200_000,
        venues=VENUES,
    ):
        self.world = VirtualWorld(seed=seed, faults=faults, rate_per_s=rate)
        options = JournalOptions(segment_bytes=segment_bytes, flush_ms=2.0, queue_bytes=256 << 20)
        self.folder = folder
        self.recorder = Recorder(folder, options, clock=self.world.wall)
        self.recorder.start()
        self.events, self.values = Digest(), Digest()
        requests = [(kind, symbol) for symbol in SYMBOLS for kind in KINDS]
        for venue in venues:
            own = [*requests, *(("full", symbol) for symbol in SYMBOLS if venue == "coinbase")]
            settings = FeedSettings(**KEYS) if venue == "coinbase" else FeedSettings()
            feed = self.world.feed(venue, own, settings=settings, recorder=self.recorder)
            feed.streams.set_wanted(deltas=True, books=False)
            feed.listeners.append(self.take)
        self._aggregate()

    def _aggregate(self):
        """Aggregate as the client does it: recorded configuration, recorded timers."""
        venues = [name for name in self.world.feeds if name != "coinbase_advanced"]
        config = AggregatorConfig(
            exchanges=list(venues), symbols=list(SYMBOLS), update_interval=0.05
        )
        feeds = self.world.feeds

        def own(name: str, unified: str) -> str:
            feed = feeds[name]
            return feed.table.resolve(unified, quotes=feed.venue.profile.quote_order).symbol

        symbols = {unified: {name: own(name, unified) for name in venues} for unified in SYMBOLS}
        self.tap = self.recorder.tap("aggregator")
        self.tap.aggregating(config, symbols)
        self.machine = Aggregator(config, symbols=symbols)

    def take(self, event):
        self.events.take(event)
        if event.data_type in FEED_TYPES:
            for value in self.machine.on_event(event, event.ts_mono_ns, event.ts_recv_ns):
                self.values.take(value)

    def audit(self, venue="binance"):
        """Compare the books with REST images, as the session does every ten minutes."""
        feed, mono_ns = self.world.feeds[venue], self.world.mono_ns()
        for book in list(feed.streams.books()):
            flow, out = feed.streams.book_flow(book.symbol), Output()
            feed.tap.step("", "audit", 0, mono_ns, symbol=book.symbol)
            for sync in flow.syncs():
                sync.begin_audit(mono_ns, out)
            feed.give(out)

    def run(self, seconds: float):
        """Let time pass; timers of the aggregator every 50 ms, never faster than the disk."""
        world, intake = self.world, self.recorder.writer.intake
        for tick in range(round(seconds / 0.05)):
            world.run(0.05)
            if tick % 40 == 39:
                self.audit()
            due_ns, mono_ns = self.machine.next_due_ns, world.mono_ns()
            if due_ns is not None and due_ns <= mono_ns:
                self.tap.timer("", "aggregator", world.now_ns(), mono_ns)
                for value in self.machine.on_timer(mono_ns, world.now_ns()):
                    self.values.take(value)
            # Segments end where they would live: the writer never lags by more than a second.
            if tick % 20 == 19 or intake.waiting_bytes > QUEUE_LOW:
                assert wait_until(lambda: intake.waiting_bytes == 0)

    def close(self):
        """End the recording."""
        assert self.recorder.writer.close()
        stats = self.recorder.stats()
        assert (stats.lost_records, stats.failures) == (0, 0)
        self.gaps = {name: list(feed.ledger.records()) for name, feed in self.world.feeds.items()}


def assert_replayed(session: Session):
    replay = Replay(session.folder, aggregator=True)
    events, values = Digest(), Digest()
    replay.on("*", events.take)
    replay.on_update(values.take)
    stats = replay.play()
    assert events == session.events
    assert values == session.values
    assert {n: list(f.gaps.records()) for n, f in replay.feeds.items()} == session.gaps
    assert (stats.refused, stats.interruptions, stats.runs) == (0, 0, 1)
    assert (replay.damages, replay.losses) == ([], [])
    return stats


def test_recorded_faults_replay_to_the_same_events_values_and_gaps(tmp_path):
    session = Session(tmp_path / "journal")
    session.run(12)
    session.close()
    assert_replayed(session)
    assert session.events.counts["OrderEvent"] > 100
    assert session.events.counts["Gap"] > 5
    assert session.values.counts["UnifiedMarketData"] > 100
    assert len(list_segments(session.folder)) > 1


# ── listeners, seeking, retention ─────────────────────────────────────────────


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Session:
    """Record 12 s of moderate faults in many small segments."""
    folder = tmp_path_factory.mktemp("virtual") / "journal"
    session = Session(folder, faults="default", segment_bytes=40_000, seed=7)
    session.run(12)
    session.close()
    return session


def shown(event):
    """Return every field; of holes and states only what does not tell when they began."""
    if event.data_type == "gap":
        return "Gap", event.exchange, event.symbol, event.record.stream, event.record.state
    if event.data_type == "feed_status":
        return "FeedStatus", event.exchange, event.symbol, event.channel, event.current
    return type(event).__name__, repr([getattr(event, n) for n in event.__struct_fields__])


def events_of(folder, kinds=("*",), **options):
    replay, found = Replay(folder, **options), []
    for kind in kinds:
        replay.on(kind, lambda event: found.append(shown(event)))
    replay.play()
    return found, replay


@pytest.fixture(scope="module")
def everything(recorded):
    return events_of(recorded.folder)[0]


@pytest.mark.parametrize("kinds", [("trade",), ("trade", "orderbook_update")])
def test_repairs_find_their_holes_whoever_listens(recorded, kinds):
    """What is listened to decides which holes are found, so their ids differ from live."""
    trades = [e for e in events_of(recorded.folder, kinds)[0] if e[0] == "Trade"]
    assert len(trades) == recorded.events.counts["Trade"]


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_after_a_seek_all_is_as_if_everything_had_been_read(
    recorded, everything, share, monkeypatch
):
    monkeypatch.setattr(seek, "MARGIN_NS", NS)
    begin_ns, end_ns = Journal(recorded.folder).span()
    start_ns = begin_ns + round((end_ns - begin_ns) * share)
    late, replay = events_of(recorded.folder, start=start_ns)
    (warm_up,) = replay.warm_ups
    skipped = Replay(recorded.folder, end=start_ns - 1)
    skipped.on("*", lambda _: None)
    assert late == everything[skipped.play().events :]
    assert warm_up.begun_ns < start_ns
    if share > 0.5:
        assert warm_up.segment > 1
        assert not warm_up.is_whole_run
        assert replay.warmed_records < sum(1 for _ in Journal(recorded.folder).records()) * share


def test_books_stand_again_after_retention_deleted_the_beginning(recorded, tmp_path):
    """Images were asked for as often as live, the journal does not tell how often before."""
    folder = Path(shutil.copytree(recorded.folder, tmp_path / "journal"))
    segments = list_segments(folder)
    for segment in segments[: len(segments) // 3]:
        Path(segment.path).unlink()
    replay = Replay(folder)
    replay.play()
    whole = Replay(recorded.folder)
    whole.play()
    for name, feed in whole.feeds.items():
        for book in feed.streams.books():
            again = replay.book(name, book.symbol)
            assert again.trust is book.trust
            assert (again.depth(10_000)) == (book.depth(10_000))
    orders = [each.feeds["coinbase"].streams.order_book("BTC-USD") for each in (whole, replay)]
    assert orders[0].depth(10_000) == orders[1].depth(10_000)
    assert orders[0].trust is orders[1].trust


def test_audits_bound_how_far_back_a_seek_reads(tmp_path, monkeypatch):
    """One connection without faults: its book is read from the last audit's image on."""
    monkeypatch.setattr(seek, "MARGIN_NS", NS)
    session = Session(tmp_path / "journal", faults="none", segment_bytes=5_000, venues=("binance",))
    session.run(12)
    session.close()
    everything, _ = events_of(session.folder)
    begin_ns, end_ns = Journal(session.folder).span()
    start_ns = end_ns - NS
    late, replay = events_of(session.folder, start=start_ns)
    assert len(late) > 20
    assert late == everything[-len(late) :]
    assert (replay.warm_ups[0].begun_ns - begin_ns) / (end_ns - begin_ns) > 0.3
    books = list(replay.feeds["binance"].streams.books())
    assert {book.symbol for book in books} == {"BTCUSDT", "ETHUSDT"}


async def test_recording_that_is_followed_gives_all_as_it_comes(tmp_path):
    """Through segments that are sealed meanwhile, to the last event, and nothing is damaged."""
    session = Session(tmp_path / "journal", faults="default", segment_bytes=30_000)
    replay, events = Replay(session.folder, follow=True), Digest()
    replay.on("*", events.take)
    running = asyncio.ensure_future(replay.run())
    async with asyncio.timeout(20):
        for _ in range(4):
            session.run(1.5)
            while sum(events.counts.values()) < sum(session.events.counts.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert events == session.events
        await asyncio.to_thread(session.close)
        await asyncio.sleep(0.1)
        await replay.close()
        stats = await running
    assert events == session.events
    assert len(list_segments(session.folder)) > 2
    assert (stats.runs, stats.interruptions, replay.damages) == (1, 0, [])


@pytest.mark.load
@pytest.mark.timeout(1800)
def test_ten_minutes_of_faults_replay_to_the_same(tmp_path):
    minutes = 10 if os.environ.get("CROSSFEED_FAULTS") == "full" else 2
    session = Session(tmp_path / "journal", faults="default", segment_bytes=8 << 20)
    session.run(60 * minutes)
    session.close()
    stats = assert_replayed(session)
    gaps = sum(map(len, session.gaps.values()))
    print(f"{minutes} min: {stats.records:,} records, {stats.events:,} events, {gaps} gaps: equal")
