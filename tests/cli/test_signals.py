"""A run ends when it is told to, whether or not somebody reads what it writes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest

from crossfeed.cli import session

PIPE_BYTES = 4_096
F_SETPIPE_SZ = 1_031
DEADLINE_S = 25.0
MAIN = "from crossfeed.cli import main; raise SystemExit(main())"
DEMO = ("demo", "BTC/USD", "--json", "--venues", "binance", "--seconds", "0")


def wait_until_full(writing: int, process: subprocess.Popen[bytes]) -> None:
    """Return when the pipe takes nothing more."""
    deadline = time.monotonic() + DEADLINE_S
    while select.select([], [writing], [], 0)[1]:
        assert process.poll() is None, "the run ended by itself"
        assert time.monotonic() < deadline, "the pipe did not fill"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_nobody_reads_ends_on_a_signal(number: signal.Signals) -> None:
    """The process is stuck in a write when the signal comes, and still ends by itself."""
    import fcntl

    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *DEMO], stdout=writing, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until_full(writing, process)
            process.send_signal(number)
            _, said = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
    assert (process.returncode, said) == (0, b"")


def test_output_is_kept_while_somebody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at an output that takes more leaves it alone."""
    reading, writing = os.pipe()
    monkeypatch.setattr(session, "STDOUT", writing)
    handlers: list[session.Handler] = []
    monkeypatch.setattr(signal, "signal", lambda _number, handler: handlers.append(handler))
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    session._abandon_unread_output()
    assert callable(handlers[0])
    handlers[0](signal.SIGALRM, None)
    os.write(writing, b"still there")
    assert os.read(reading, 100) == b"still there"
    os.close(reading)
    os.close(writing)
