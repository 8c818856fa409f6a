"""`import crossfeed` is quick: what only one venue, sink or command needs is imported late."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"
CPU_MS_MAX = 100.0
ROUNDS = 7
PROBE = """
import time
start_ns = time.process_time_ns()
import {module}
print((time.process_time_ns() - start_ns) / 1e6)
"""


def import_cpu_ms(module: str, path: Path) -> float:
    """Return the CPU time of a first import in a fresh interpreter, ms, the best of some rounds.

    CPU time rather than the clock's, and the best rather than the mean: other work on the machine
    makes both worse, never better.
    """
    command = [sys.executable, "-c", PROBE.format(module=module)]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return min(
        float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        for _ in range(ROUNDS)
    )


def test_import_is_quick() -> None:
    """A fresh interpreter has crossfeed within the limit."""
    assert import_cpu_ms("crossfeed", SOURCE) <= CPU_MS_MAX


def test_slow_import_is_found(tmp_path: Path) -> None:
    """The measurement sees a module that takes longer than the limit."""
    (tmp_path / "sluggish.py").write_text(
        "import time\n"
        f"end_ns = time.process_time_ns() + {int(CPU_MS_MAX * 1.2e6)}\n"
        "while time.process_time_ns() < end_ns:\n    pass\n"
    )
    assert import_cpu_ms("sluggish", tmp_path) > CPU_MS_MAX
