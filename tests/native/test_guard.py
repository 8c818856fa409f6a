"""The path must not become slower: CPU as a multiple of a fixed floor measured in the same run.

Ratios, not times: a busy or slow machine slows both. The bounds lie about a third above what was
measured (benchmarks/RESULTS.md).
"""

import statistics

import pytest

from crossfeed.cli.bench.runner import measure, scaled
from crossfeed.cli.bench.scenarios import SCENARIOS
from crossfeed.runtime.core_choice import active_core

ROUNDS = 3
BOUNDS = {
    ("ticks", "compiled"): 2.6,
    ("book", "compiled"): 1.0,
    ("ticks", "pure"): 5.5,
    ("book", "pure"): 2.1,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("scenario", "core"), BOUNDS)
def test_cpu_is_within_its_multiple_of_the_floor(
    scenario: str, core: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CROSSFEED_PURE", raising=False)
    if core == "compiled" and active_core().name != "compiled":
        pytest.skip(active_core().reason)
    small = scaled(SCENARIOS[scenario], 0.25)
    ratios: list[float] = []
    for _ in range(ROUNDS):
        floor = measure(small, "floor:msgspec")
        ours = measure(small, "crossfeed", pure=core == "pure")
        assert ours.lost == 0
        ratios.append(ours.cpu_us / floor.cpu_us)
    assert statistics.median(ratios) <= BOUNDS[scenario, core], ratios
