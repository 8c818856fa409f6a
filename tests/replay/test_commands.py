"""`crossfeed record` and `crossfeed replay` from the command line."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from crossfeed.cli.record import Plan, RecordOptions, run_record
from crossfeed.cli.record import line_of as line_of_recording
from crossfeed.cli.record_sinks import RecordSinks
from crossfeed.cli.replay import ReplayOptions, ReplayRun, run_replay, speed_of
from crossfeed.cli.replay_view import ReplayMonitor, line_of, render
from crossfeed.clients.replay import Replay
from crossfeed.errors import ConfigError, ConnectFailedError, JournalError
from crossfeed.journal.folder import list_segments
from crossfeed.journal.reader import Journal
from crossfeed.model.trust import Trust
from crossfeed.runtime.config import FileConfig
from crossfeed.runtime.record_config import SinkSection
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.replay_control import moment_of
from crossfeed.testing.clock import ManualClock
from crossfeed.testing.journal import wait_until

MAIN = [sys.executable, "-c", "from crossfeed.cli import main; raise SystemExit(main())"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MAIN, *arguments], capture_output=True, text=True, timeout=25, check=False
    )


def recorded_bytes(folder: Path) -> int:
    return sum(each.bytes for each in list_segments(folder)) if folder.is_dir() else 0


@pytest.mark.fault("P06")
def test_record_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    """The segment is sealed, nothing is lost, the exit code is 0; a database got all trades."""
    folder, config = tmp_path / "journal", tmp_path / "crossfeed.toml"
    config.write_text(
        f'[record]\ndirectory = "{folder}"\nsymbols = ["BTC/USD"]\nvenues = ["kraken"]\n'
        f'[[record.sinks]]\ntype = "sqlite"\npath = "{tmp_path}/events.db"\nkinds = ["trade"]\n'
    )
    command = [*MAIN, "record", "--config", str(config), "--sim", "--summary"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert wait_until(lambda: recorded_bytes(folder) > 5_000)
        child.send_signal(signal.SIGTERM)
        said = json.loads(child.stdout.read())
        assert child.wait(10) == 0
    assert said["lost_records"] == 0
    assert said["frames"]["kraken"] > 0
    (sink,) = said["sinks"]
    assert (sink["state"], sink["dropped"], sink["waiting"]) == ("closed", 0, 0)
    trades = sum(1 for _ in Replay(folder).events("trade"))
    with closing(sqlite3.connect(tmp_path / "events.db")) as database:
        assert database.execute("SELECT count(*) FROM trades").fetchone() == (trades,)
    assert trades == sink["stored"] > 0
    assert [segment.state for segment in list_segments(folder)] == ["sealed"]
    journal = Journal(folder)
    assert sum(1 for _ in journal.records()) > 0
    assert journal.damages == []


def test_replay_prints_events_and_summary(calm) -> None:
    done = run("replay", str(calm.folder), "--summary")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["events"] == len(calm.events)
    lines = run("replay", str(calm.folder), "--json", "--kinds", "trade").stdout.splitlines()
    assert {json.loads(line)["data_type"] for line in lines} == {"trade"}


def test_replay_of_nothing_is_an_error(tmp_path: Path) -> None:
    assert run("replay", str(tmp_path)).returncode == 1
    assert run("replay", str(tmp_path / "absent")).returncode == 1
    assert run("replay").returncode == 2


def test_moments_are_read() -> None:
    assert moment_of("", "from") == 0
    assert moment_of("1700000000000000000", "from") == 1_700_000_000_000_000_000
    assert moment_of("2023-11-14T22:13:20Z", "from") == 1_700_000_000_000_000_000
    assert moment_of("2023-11-14T22:13:20", "from") == 1_700_000_000_000_000_000
    with pytest.raises(ConfigError, match="no time"):
        moment_of("yesterday", "from")


# ── the view ──────────────────────────────────────────────────────────────────


def options_for(folder: Path, **options: object) -> ReplayOptions:
    return ReplayOptions(folders=(str(folder),), **options)


def test_speeds_are_read() -> None:
    assert [speed_of(text) for text in ("1", "10x", "0.5", "max", "step", "")] == [
        *(1.0, 10.0, 0.5, 0.0, 0.0, 0.0)
    ]
    for text in ("fast", "-1", "nan", "inf"):
        with pytest.raises(ConfigError, match="no speed"):
            speed_of(text)


def test_view_shows_position_progress_and_every_feed(calm) -> None:
    replay, clock = Replay(calm.folder, speed=3.0), ManualClock()
    monitor = ReplayMonitor(replay, clock)
    begin_ns, end_ns = monitor.begin_ns, monitor.end_ns
    assert 0.5e9 < end_ns - begin_ns < 20e9

    def stands() -> bool:
        rows = {row.symbol: row for row in monitor.rows()}
        cells = rows["BTC/USD"].venues if len(rows) == 4 else {}
        sound = {name for name, cell in cells.items() if cell.trust is Trust.SOUND and cell.bid}
        return sound == {"coinbase", "kraken"}

    while not stands():
        assert replay.step(20), "everything is sound at some time"
    assert 0 <= monitor.share < 1
    console = Console(width=150, file=StringIO())
    with console.capture() as capture:
        console.print(render(monitor, "title", has_keys=True))
    text, line = capture.get(), line_of(monitor)
    for shown in ("BTC/USD", "ETH/USDT", "binance", "coinbase", "kraken", "3x", " UTC", "space"):
        assert shown in text
    assert f"{monitor.share:4.0%}" in line
    assert "kraken" in line
    rows = {row.symbol: row for row in monitor.rows()}
    view = rows["BTC/USD"].view
    assert 0 < view["best_ask"] < 2 * view["best_bid"]
    replay.play()
    assert monitor.share == 1.0


async def test_keys_pause_and_change_the_speed(calm) -> None:
    run = ReplayRun(Replay(calm.folder, speed=1.0), options_for(calm.folder))
    pace = run.replay.pace
    run._pressed("+")
    assert (pace.speed, pace.is_paused) == (2.0, False)
    run._pressed("n")
    assert pace.is_paused
    assert run.replay.stats().events >= 1
    run._pressed(" ")
    run._pressed("-")
    assert (pace.speed, pace.is_paused) == (1.0, False)
    run._pressed("q")
    assert await run.play() < 5.0
    assert run.replay.stats().records < calm.stats.records


def test_steps_follow_the_reader(calm) -> None:
    """Two lines of input play up to the second trade."""
    done = subprocess.run(
        [*MAIN, "replay", str(calm.folder), "--speed", "step", "--kinds", "trade", "--json"],
        input="\n\n", capture_output=True, text=True, timeout=25, check=False,
    )  # fmt: skip
    assert [json.loads(line)["data_type"] for line in done.stdout.splitlines()] == ["trade"] * 2


async def test_seeking_says_what_was_played_silently(calm, capsys) -> None:
    begin_ns, end_ns = Journal(calm.folder).span()
    start = str((begin_ns + end_ns) // 2)
    assert await run_replay(options_for(calm.folder, start=start, is_summary=True)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["warmed_records"] > 0
    assert said["warm_ups"][0]["is_whole_run"]
    assert await run_replay(options_for(calm.folder, start=start)) == 0
    assert "played silently, so that everything stood" in capsys.readouterr().out


# ── recording ─────────────────────────────────────────────────────────────────


def planned(text: str = "", **options: object) -> Plan:
    file = msgspec.convert(tomllib.loads(text), FileConfig)
    return Plan.made(RecordOptions(**options), file)


FILE = """
[aggregator]
exchanges = ["kraken"]
symbols = ["ETH/USD"]
[record]
directory = "a"
kinds = ["trade"]
flush_ms = 20.0
keep_days = 3.0
"""


def test_command_line_wins_over_the_file_over_defaults() -> None:
    plan = planned(FILE)
    assert (plan.folder, plan.symbols, plan.venues) == ("a", ("ETH/USD",), ("kraken",))
    assert (plan.kinds, plan.section.journal().flush_ms) == (("trade",), 20.0)
    given = {"flush_ms": 5.0, "keep_days": None}
    plan = planned(FILE, folder="b", symbols=("X/Y",), venues=("binance",), journal=given)
    assert (plan.folder, plan.symbols, plan.venues) == ("b", ("X/Y",), ("binance",))
    assert (plan.section.flush_ms, plan.section.keep_days) == (5.0, 3.0)
    with pytest.raises(ConfigError, match="symbol"):
        planned(folder="b")
    with pytest.raises(ConfigError, match="directory"):
        planned(symbols=("X/Y",))
    with pytest.raises(ConfigError, match="above zero"):
        planned(FILE, journal={"flush_ms": -1.0})


def test_symbols_change_while_it_runs_the_rest_waits_for_a_restart() -> None:
    plan = planned(FILE).without_symbols()
    assert planned(FILE, symbols=("X/Y",)).without_symbols() == plan
    others = ({"folder": "b"}, {"venues": ("binance",)}, {"kinds": ("book",)})
    for change in (*others, {"journal": {"keep_days": 9.0}}):
        assert planned(FILE, **change).without_symbols() != plan


def test_sinks_that_cannot_work_are_refused(monkeypatch) -> None:
    monkeypatch.delenv("CROSSFEED_POSTGRES_DSN", raising=False)
    with pytest.raises(ConfigError, match="no table for book"):
        RecordSinks([SinkSection(type="sqlite", path="x", kinds=["book"])])
    with pytest.raises(ConfigError):
        RecordSinks([SinkSection(type="postgres")])


async def test_line_says_what_a_database_does(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "events.db"
    sinks = RecordSinks([SinkSection(type="sqlite", path=str(path), name="db")])
    sinks.start()
    async with asyncio.timeout(10):
        while "retrying" not in sinks.words()[0]:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.01)
    await sinks.close(0.1)
    assert sinks.words()[0].startswith("db: 0 stored")
    assert sinks.summary()[0]["failures"] >= 1


def test_line_says_what_the_disk_does() -> None:
    summary = {
        "records": 5, "bytes_in": 9, "bytes_out": 3, "segments": 2, "retired": 1, "gaps": 0,
        "gaps_open": 0, "queue_bytes": 7, "lost_records": 4, "free_bytes": 2_000_000_000,
        "failure": "No space left on device", "states": {"kraken": "reconnecting"},
        "unreachable": {"kraken": "cannot look up ws.kraken.com"},
    }  # fmt: skip
    line = line_of_recording(summary, 10.0, 2_000.0)
    for shown in ("10/s", "2 kB/s", "2 files", "1 deleted", "2.0 GB free", "lost 4",
                  "NOT RECORDING: No space left on device",
                  "kraken: reconnecting (cannot look up ws"):  # fmt: skip
        assert shown in line


@pytest.mark.fault("F04")
async def test_how_it_ended_is_told_though_the_disk_does_not_take_the_end(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    async def close(recorder: Recorder, deadline_s: float) -> None:
        await usual(recorder, deadline_s)
        raise JournalError("not closed in order: No space left on device")

    usual = Recorder.close
    monkeypatch.setattr(Recorder, "close", close)
    options = RecordOptions(
        symbols=("BTC/USD",), venues=("kraken",), folder=str(tmp_path / "journal"),
        is_simulated=True, is_summary=True, seconds=0.3,
    )  # fmt: skip
    with pytest.raises(JournalError, match="No space left"):
        await run_record(options)
    assert json.loads(capsys.readouterr().out)["records"] > 0


async def test_view_that_nobody_reads_any_more_ends_the_replay(calm, monkeypatch) -> None:
    def gone(text: str) -> None:
        raise ConnectFailedError(f"the reader has gone before {text[:4]}")

    monkeypatch.setattr("crossfeed.cli.replay.print_text", gone)
    monkeypatch.setattr("crossfeed.cli.replay.LINE_INTERVAL_S", 0.01)
    run = ReplayRun(Replay(calm.folder, speed=0.001), options_for(calm.folder))
    with pytest.raises(ConnectFailedError, match="the reader has gone"):
        await run.play()


async def test_key_that_meets_an_unreadable_file_ends_the_replay(calm, monkeypatch) -> None:
    def unreadable(replay: Replay) -> bool:
        raise JournalError(f"{replay.now_ns}: Input/output error")

    monkeypatch.setattr(Replay, "next_event", unreadable)
    run = ReplayRun(Replay(calm.folder, speed=0.001), options_for(calm.folder, is_summary=True))
    asyncio.get_running_loop().call_later(0.02, run._pressed, "n")
    with pytest.raises(JournalError, match="Input/output"):
        await run.play()


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 1e10])
async def test_time_that_is_none_is_refused(tmp_path: Path, seconds: float) -> None:
    options = RecordOptions(symbols=("BTC/USD",), folder=str(tmp_path / "x"), seconds=seconds)
    with pytest.raises(ConfigError, match="no time to run"):
        await run_record(options)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "2030-01-01T00:00:00Z"}, "nothing was recorded then: there is 20"),
        ({"end": "1999-01-01T00:00:00Z"}, "nothing was recorded then"),
        ({"feeds": ("nowhere",)}, "no feed nowhere .* binance, coinbase, kraken"),
        ({"kinds": ("trade",)}, "add --json"),
        ({"kinds": ("trades",), "is_json": True}, "did you mean 'trade'"),
        ({"is_served": True, "start": "2040-01-01"}, "nothing was recorded then: there is 20"),
        ({"is_served": True, "end": "1999-01-01"}, "nothing was recorded then"),
        ({"is_served": True, "port": 65_535}, r"port: 65535 is no port for the first of 3"),
        ({"is_served": True, "port": -5}, "port: -5 is no port"),
        ({"is_served": True, "control_port": 65_536}, "control_port: 65536 is no port"),
    ],
)
async def test_asking_for_what_is_not_there_is_told(calm, options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        await run_replay(options_for(calm.folder, is_summary=True, **options))
