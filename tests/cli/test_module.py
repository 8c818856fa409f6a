"""`python -m crossfeed` is the command."""

import subprocess
import sys

import crossfeed


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "crossfeed", "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, crossfeed.__version__)
