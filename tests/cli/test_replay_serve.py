"""`crossfeed replay --serve`: what it prints, and Ctrl-C at any moment."""

import json
import os
import signal

from crossfeed.runtime.replay_survey import Surveyor


def test_it_says_where_it_listens_and_ends_with_a_signal(start, journal) -> None:
    child = start("replay", str(journal), "--serve", "--control-port", "0", "--json")
    said = json.loads(child.read_line())
    assert said["venues"]["kraken"]["ws"].startswith("ws://127.0.0.1:")
    assert said["control"].startswith("http://127.0.0.1:")
    code, out, err, _ = child.end(signal.SIGINT)
    assert (code, out, err) == (0, "", "")


def test_ctrl_c_while_it_still_reads_ends_it(run, journal, monkeypatch) -> None:
    seen = []

    def endless(surveyor: Surveyor) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        seen.append(surveyor._over.wait(20))

    monkeypatch.setattr(Surveyor, "take", endless)
    code, out, err = run("replay", str(journal), "--serve")
    assert (code, out, err) == (130, "", "")
    assert seen == [True]
