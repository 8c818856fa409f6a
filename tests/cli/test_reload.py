"""SIGHUP reads the configuration again: a bad file changes nothing, a good one is applied."""

import json
import select
import signal
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no SIGHUP"),
    pytest.mark.fault("P07"),
]
GOOD = """
[aggregator]
exchanges = ["kraken"]
symbols = [{}]

[venues.kraken]
ws_url = "{}"
rest_url = "{}"
"""
DEADLINE_S = 20.0


def told(child) -> str:
    """Return the next line of a child's errors."""
    assert select.select([child.process.stderr], [], [], DEADLINE_S)[0], "nothing was said"
    return child.process.stderr.readline().decode()


@pytest.fixture
def recording(start, write, tmp_path):
    """Start venues and a recording with a configuration file; return it and ways to change that."""
    venues = start("sim", "BTC/USD", "ETH/USD", "--venues", "kraken", "--json")
    urls = json.loads(venues.read_line())["venues"]["kraken"]

    def rewrite(symbols: str) -> str:
        return write(GOOD.format(symbols, urls["ws"], urls["rest"]))

    folder = tmp_path / "journal"
    path = rewrite('"BTC/USD"')
    return start("record", "--out", str(folder), "--config", path, "--summary"), rewrite, write


def hang_up_until_told(child) -> str:
    """Send the signal once the run has its handler (before that it would end it)."""
    child.process.send_signal(signal.SIGHUP)
    return told(child)


def wait_for_handler(child) -> None:
    """Return when the process catches the signal (Linux says so)."""
    bit = 1 << (signal.SIGHUP - 1)
    for _ in range(2_000):
        lines = Path(f"/proc/{child.process.pid}/status").read_text("ascii").splitlines()
        caught = next(line for line in lines if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & bit:
            return
        select.select([], [], [], 0.01)
    pytest.fail("the run does not catch SIGHUP")


def wait_for_data(folder: Path) -> None:
    """Return when a recording has more than its first records."""
    for _ in range(2_000):
        if sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) > 4_000:
            return
        select.select([], [], [], 0.01)
    pytest.fail("nothing was recorded")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the caught signals from /proc")
def test_a_bad_file_is_not_taken_and_a_good_one_is(recording, tmp_path):
    child, rewrite, write = recording
    wait_for_handler(child)
    write("[aggregator]\npairs = 3\n")
    line = hang_up_until_told(child)
    assert "not taken, the old one stays" in line
    assert "pairs" in line
    assert "Traceback" not in line
    rewrite('"BTC/USD", "NO/SUCH"')
    assert "no venue lists NO/SUCH" in hang_up_until_told(child)
    rewrite('"ETH/USD"')
    assert "reloaded: +ETH/USD -BTC/USD" in hang_up_until_told(child)
    rewrite('"ETH/USD"')
    assert "reloaded: no symbol changed" in hang_up_until_told(child)
    wait_for_data(tmp_path / "journal")
    code, out, errors, _ = child.end(signal.SIGTERM)
    assert (code, errors) == (0, "")
    assert json.loads(out)["frames"]["kraken"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads the caught signals from /proc")
def test_without_a_file_the_end_of_the_terminal_ends_a_recording_in_order(start, tmp_path):
    child = start(
        "record", "BTC/USD", "--out", str(tmp_path), "--sim", "--venues", "kraken", "--summary"
    )
    wait_for_handler(child)
    wait_for_data(tmp_path)
    code, out, errors, _ = child.end(signal.SIGHUP)
    assert (code, errors) == (0, "")
    assert json.loads(out)["is_recording"] is False
