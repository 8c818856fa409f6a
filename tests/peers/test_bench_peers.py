"""Other people's clients, as the benchmark runs them, get every message.

With the extra `peers` (`make peers`); each is skipped where its package is missing.
"""

import sys
from pathlib import Path

import pytest

from crossfeed.cli.bench.peers import PEERS
from crossfeed.cli.bench.runner import Stage, scaled
from crossfeed.cli.bench.scenarios import SCENARIOS
from crossfeed.cli.bench.suite import peer_clients

pytestmark = [pytest.mark.peers, pytest.mark.timeout(90)]
FOLDER = Path(__file__).parents[2] / "benchmarks" / "peers"
SHARE = 0.02


@pytest.mark.parametrize("name", [peer.name for peer in PEERS])
def test_peer_gets_every_message(name: str, tmp_path: Path):
    clients, versions = peer_clients(sys.executable, FOLDER)
    client = next((each for each in clients if each.name == name), None)
    if client is None:
        pytest.skip(f"needs the extra `peers`; installed: {versions}")
    scenario = SCENARIOS["mix" if "depth" in client.kinds else "ticks"]
    with Stage(scaled(scenario, SHARE), tmp_path) as stage:
        found = stage.run(client.name, command=client.command)
    assert found.lost == 0
    assert found.cpu_us > 0
