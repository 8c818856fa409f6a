"""Runs over real sockets, small: every kind of scenario works, and a client that fails is told."""

import sys
from pathlib import Path

import pytest

from crossfeed.cli.bench.peers import PEERS, installed
from crossfeed.cli.bench.runner import BenchError, Stage, scaled
from crossfeed.cli.bench.scenarios import GROUPS, OURS, SCENARIOS
from crossfeed.cli.bench.suite import Client, Machine, Store, clients, order, run_rounds
from crossfeed.errors import ConfigError

SMALL = 0.001
MACHINE = Machine(
    date="", commit="", processor="", cores=1, python="", core="", versions={}, round_count=1
)
WORDS = ("import sys; print('ready', flush=True); ", "sys.exit('it fell over')")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "name", ["ticks over TLS", "5 venues, aggregator", "trades of 3 venues, median", "kraken book"]
)
def test_every_message_arrives(name: str, tmp_path: Path):
    scenario = scaled(SCENARIOS[name], SMALL)
    with Stage(scenario, tmp_path) as stage:
        found = stage.run(OURS, pure=True)
    assert found.lost == 0
    assert found.cpu_us > 0
    assert found.rate > 0


@pytest.mark.timeout(120)
def test_one_server_serves_client_after_client_and_outlives_a_failure():
    """The second client fails; the third is served as if nothing had been."""
    scenario = scaled(SCENARIOS["ticks"], SMALL)
    peer = Client(
        "ccxt pro", (sys.executable, "-c", WORDS[0] + WORDS[1]), frozenset(scenario.feeds[0].shares)
    )
    store = Store(MACHINE)
    run_rounds(store, [scenario], rounds=1, peers=[peer])
    run_rounds(store, [scenario], rounds=1, peers=[peer], minutes=1e-9)
    results = store.results()
    assert results.failures() == {("ccxt pro", "ticks"): "ccxt pro ended with 1: it fell over"}
    assert {row.client for row in results.rows([scenario])} == {
        client.name for client in clients(scenario)
    }
    assert all(run.lost == 0 for row in results.rows([scenario]) for run in row.runs.values())


@pytest.mark.timeout(60)
def test_paced_run_has_latencies(tmp_path: Path):
    scenario = scaled(SCENARIOS["ticks, 5000/s"], SMALL)
    with Stage(scenario, tmp_path) as stage:
        p50_us, p99_us, p999_us, max_us = stage.run("floor:raw", share=1.0).latency_us
    assert 0 < p50_us <= p99_us <= p999_us <= max_us


@pytest.mark.timeout(60)
def test_failing_client_raises_with_its_last_words(tmp_path: Path):
    with (
        Stage(scaled(SCENARIOS["ticks"], SMALL), tmp_path) as stage,
        pytest.raises(BenchError, match="it fell over"),
    ):
        stage.run("peer", command=(sys.executable, "-c", "import sys; sys.exit('it fell over')"))


def test_names_are_unique_and_every_issue_is_covered():
    names = [scenario.name for group in GROUPS.values() for scenario in group]
    assert len(names) == len(set(names)) == len(SCENARIOS)
    assert {s.strategy for s in GROUPS["strategies"] if s.mode == "aggregator"} == {
        "first", "last", "average", "median", "weighted", "best_bid_ask",
    }  # fmt: skip
    assert [len(s.feeds) for s in GROUPS["aggregator"]] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert [s.connections for s in GROUPS["connections"]] == [1, 2, 10]


def test_late_rounds_begin_with_what_has_a_goal():
    scenarios = [SCENARIOS["ticks, 500 symbols"], SCENARIOS["ticks"]]
    assert [(number, scenario.name) for number, scenario in order(scenarios, 5)] == [
        *((n, scenario.name) for n in range(3) for scenario in scenarios),
        (3, "ticks"), (4, "ticks"), (3, "ticks, 500 symbols"), (4, "ticks, 500 symbols"),
    ]  # fmt: skip
    assert [number for number, _ in order(scenarios, 2)] == [0, 0, 1, 1]


def test_peer_takes_part_only_where_it_can():
    peers = [Client(peer.name, ("true",), peer.kinds) for peer in PEERS]
    ticks = {client.name for client in clients(SCENARIOS["ticks"], peers)}
    book = {client.name for client in clients(SCENARIOS["book"], peers)}
    assert ticks - book == {"unicorn (UnicornFy)", "unicorn (raw)"}
    assert (
        not {client.name for client in clients(SCENARIOS["kraken book"], peers)}
        & ticks
        & {peer.name for peer in PEERS}
    )


def test_versions_are_asked_of_the_interpreter_that_was_named(tmp_path: Path):
    (tmp_path / "harness.py").touch()
    assert installed(sys.executable, tmp_path)["python"].startswith("3.")
    with pytest.raises(ConfigError, match="does not run"):
        installed(str(tmp_path / "python"), tmp_path)
    with pytest.raises(ConfigError, match="needs a checkout"):
        installed(sys.executable, tmp_path / "nowhere")
