"""`crossfeed record` and `crossfeed replay` from the command line."""

import json
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from crossfeed.cli.replay import ReplayOptions, ReplayRun, moment_of, run_replay, speed_of
from crossfeed.cli.replay_view import ReplayMonitor, line_of, render
from crossfeed.clients.replay import Replay
from crossfeed.errors import ConfigError
from crossfeed.journal.folder import list_segments
from crossfeed.journal.reader import Journal
from crossfeed.model.trust import Trust
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
    """The segment is sealed, nothing is lost, the exit code is 0."""
    folder = tmp_path / "journal"
    command = [*MAIN, "record", "BTC/USD", "--venues", "kraken", "--sim", "--summary"]
    with subprocess.Popen([*command, "--out", str(folder)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert wait_until(lambda: recorded_bytes(folder) > 5_000)
        child.send_signal(signal.SIGTERM)
        said = json.loads(child.stdout.read())
        assert child.wait(10) == 0
    assert said["lost_records"] == 0
    assert said["frames"]["kraken"] > 0
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
    assert said["warmed_records"] > 100
    assert said["warm_ups"][0]["is_whole_run"]
    assert await run_replay(options_for(calm.folder, start=start)) == 0
    assert "played silently, so that everything stood" in capsys.readouterr().out
