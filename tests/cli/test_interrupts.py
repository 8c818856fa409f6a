"""Ctrl-C, SIGTERM and a reader that goes away: a clean end, whatever the moment."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

DEMO = ("demo", "BTC/USD", "--seconds", "0", "--venues", "binance,kraken")
END_S = 10.0


def is_alive(pid: int) -> bool:
    """Say whether a process still runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().split()[2] != "Z"


@pytest.mark.fault("P06")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_ends_with_its_summary(start, number) -> None:
    child = start(*DEMO)
    child.read_line()
    helpers = child.children()
    code, out, err, took_s = child.end(number)
    assert (code, err) == (0, "")
    assert "2 venues active" in out
    assert took_s < END_S
    assert not any(is_alive(pid) for pid in helpers)


@pytest.mark.parametrize("command", [("demo",), ("watch", "BTC/USD", "--sim")])
def test_a_run_that_has_not_begun_ends_as_well(start, command) -> None:
    """Struck while everything is still being imported, started and connected."""
    for moment_s in (0.25, 0.6, 1.0):
        child = start(*command, "--seconds", "0", "--venues", "binance")
        time.sleep(moment_s)
        code, _, err, took_s = child.end(signal.SIGINT)
        # Earlier than our first line there is nobody to take it: the machine may be that slow.
        assert (code, err) == (130, "") or code in {0, -signal.SIGINT}, err
        assert took_s < END_S


def test_whoever_gives_up_while_connecting_hears_no_reproach(start, write) -> None:
    """Nothing is said of missing data: there was no time for any."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(END_S)
        port = server.getsockname()[1]
        text = f"""
            [venues.kraken]
            ws_url = "ws://127.0.0.1:{port}/v2"
            metadata = "builtin"
            """
        child = start("watch", "BTC/USD", "--venues", "kraken", "--config", write(text))
        accepted, _ = server.accept()  # and never a word
        with accepted:
            code, out, err, took_s = child.end(signal.SIGINT)
    assert (code, out, err) == (130, "", "")
    assert took_s < END_S


@pytest.mark.fault("P06")
def test_the_second_signal_ends_it_at_once(start) -> None:
    child = start(*DEMO)
    child.read_line()
    child.process.send_signal(signal.SIGTERM)
    code, _, _, took_s = child.end(signal.SIGTERM)
    assert code in {0, -signal.SIGTERM}
    assert took_s < END_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_simulator_ends_and_writes_its_ledger(start, tmp_path, number) -> None:
    ledger = tmp_path / "ledger.json"
    child = start("sim", "--venues", "kraken", "--ledger", str(ledger), "--json")
    child.read_line()
    code, _, err, took_s = child.end(number)
    assert (code, err) == (0, "")
    assert ledger.exists()
    assert took_s < END_S


@pytest.mark.parametrize("shape", [("--json",), ()])
def test_a_reader_that_goes_away(start, shape) -> None:
    """`crossfeed demo --json | head -1`: no traceback, and an end."""
    child = start(*DEMO, *shape)
    assert child.read_line()
    child.process.stdout.close()
    child.process.stdout = None
    code, _, err, took_s = child.end()
    assert (code, err) == (1, "crossfeed: the reader of standard output has gone\n")
    assert took_s < END_S
