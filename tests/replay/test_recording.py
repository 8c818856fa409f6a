"""The recorder: what it takes, what it leaves out, and what it costs the feed."""

import asyncio
import errno

import pytest

from crossfeed.clients.replay import Replay
from crossfeed.clients.venue_client import VenueClient
from crossfeed.errors import JournalError, JournalLockedError
from crossfeed.journal.intake import Intake
from crossfeed.journal.options import JournalOptions
from crossfeed.journal.reader import Journal
from crossfeed.journal.records import REDACTED, RecordKind
from crossfeed.journal.writer import JournalWriter
from crossfeed.runtime.clock import SystemClock
from crossfeed.runtime.recording import FeedTap, Recorder, journal_queue
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator import Simulator
from crossfeed.testing.journal import FaultyFiles

SECRET = "k3y-that-must-not-be-seen"


def make_intake():
    return Intake(1 << 20, 1 << 15, SystemClock(), journal_queue())


def taken(intake):
    """Return what waits, a state or a piece of records at a time."""
    items = list(iter(intake.take, None))
    return [item[0] if isinstance(item, tuple) else item.record for item in items]


def test_credentials_reach_no_record():
    """Settings are masked, and frames that may be signed are noted without their content."""
    intake = make_intake()
    tap = FeedTap(intake, "coinbase_advanced", SystemClock())
    tap.configured("coinbase_advanced", FeedSettings(api_key=SECRET, api_secret=SECRET))
    tap.sent("line", SECRET.encode())
    parts = taken(intake)
    assert SECRET.encode() not in b"".join(parts)
    assert parts[1][2] == REDACTED
    open_tap = FeedTap(intake, "kraken", SystemClock())
    open_tap.sent("line", b"subscribe")
    assert b"subscribe" in taken(intake)[0]


def test_clients_of_one_venue_have_names_of_their_own(tmp_path):
    recorder = Recorder(tmp_path / "journal")
    assert [recorder.tap("kraken").feed for _ in range(3)] == ["kraken", "kraken+2", "kraken+3"]
    assert "not recording" in repr(recorder)


@pytest.mark.fault("P09")
async def test_second_recorder_is_refused(tmp_path):
    async with Recorder(tmp_path / "journal"):
        with pytest.raises(JournalLockedError):
            Recorder(tmp_path / "journal").start()


async def test_answers_too_long_for_a_record_leave_a_note(monkeypatch):
    monkeypatch.setattr("crossfeed.runtime.recording.RECORD_BYTES_MAX", 500)
    intake = make_intake()
    tap = FeedTap(intake, "kraken", SystemClock())
    from crossfeed.model.commands import RestRequest

    tap.answered("l", RestRequest(purpose="poll", path="/x"), 200, bytes(10_000), 1, 1)
    assert len(taken(intake)[0]) < 700


@pytest.mark.fault("F04", "F05", "F07")
async def test_feed_goes_on_while_the_disk_fails_and_recording_resumes(tmp_path):
    """Not one trade is missed live; the journal says what it lacks, and goes on by itself."""
    files, clock = FaultyFiles(), SystemClock()
    recorder = Recorder(tmp_path / "journal")
    options = JournalOptions(queue_bytes=30_000, flush_ms=5.0, retry_s=0.01, fsync_s=0.02)
    recorder.writer = JournalWriter(tmp_path / "journal", options, clock=clock, files=files)
    resumed = asyncio.Event()
    recorder.on_resume(lambda _: resumed.set())
    simulator = Simulator(("kraken",), ("BTC/USD",), rate_per_s=800.0, seed=5)
    async with simulator:  # noqa: SIM117 - the recorder is closed before the venue
        async with recorder:
            settings = FeedSettings(
                ws_url=simulator.ws_url("kraken"), rest_url=simulator.rest_url("kraken")
            )
            client = VenueClient(
                "kraken", symbols=["BTC/USD"], kinds=["trade", "book"],
                settings=settings, recorder=recorder,
            )  # fmt: skip
            gaps, trades = [], []
            client.on("gap", gaps.append)
            client.on("trade", trades.append)
            async with client, asyncio.timeout(15):
                await until(lambda: len(trades) > 20)
                for name in ("write", "create", "sync"):
                    files.failing[name] = errno.ENOSPC
                await until(lambda: recorder.stats().lost_records > 50)
                before = len(trades)
                await until(lambda: len(trades) > before + 20)
                files.failing.clear()
                await resumed.wait()
                await until(lambda: recorder.stats().is_recording)
                before = len(trades)
                await until(lambda: len(trades) > before + 20)
    assert gaps == []
    replay = Replay(tmp_path / "journal")
    found = []
    replay.on("trade", found.append)
    replay.play()
    assert [loss.cause for loss in replay.losses if loss.cause == "overflow"]
    assert sum(loss.records for loss in replay.losses if loss.cause == "overflow") == (
        recorder.stats().lost_records
    )
    assert replay.stats().interruptions >= 1
    assert len(found) < len(trades)
    ledger = list(replay.feeds["kraken"].gaps.records())
    assert ledger, "a hole in the recording is a gap of the replay"
    assert recorder.stats().lost_records == sum(
        loss.records for loss in replay.losses if loss.cause == "overflow"
    )


async def until(condition):
    """Wait for something that the feed brings."""
    while not condition():  # noqa: ASYNC110 - another thread, or the feed, makes it true
        await asyncio.sleep(0.005)


@pytest.mark.fault("F06")
async def test_end_says_when_the_disk_did_not_answer(tmp_path):
    files = FaultyFiles()
    recorder = Recorder(tmp_path / "journal")
    options = JournalOptions(flush_ms=5.0)
    recorder.writer = JournalWriter(tmp_path / "journal", options, clock=SystemClock(), files=files)
    recorder.start()
    files.waits_at = "sync"
    with pytest.raises(JournalError, match="did not answer"):
        await recorder.close(0.05)
    files.gate.set()


async def test_without_recorder_the_frames_go_straight_to_the_core():
    """No recorder costs nothing: the connection's hook is the core's own path."""
    client = VenueClient("kraken", symbols=["BTC/USD"], kinds=["trade"])
    assert client._session.tap is None
    assert type(client._session.streams).__name__ == "StreamSet"


def test_journal_kinds_can_be_filtered(calm):
    kinds = {RecordKind.OPEN, RecordKind.CLOSE}
    found = [record.kind for record in Journal(calm.folder).records(kinds=kinds)]
    assert set(found) == kinds
