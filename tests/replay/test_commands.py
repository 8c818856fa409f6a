"""`crossfeed record` and `crossfeed replay` from the command line."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crossfeed.cli.replay import moment_of
from crossfeed.errors import ConfigError
from crossfeed.journal.folder import list_segments
from crossfeed.journal.reader import Journal
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
