"""What was measured becomes tables, verdicts and a plot: the same from a file as from a run."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from crossfeed.cli import bench
from crossfeed.cli.bench import BenchOptions, run_bench
from crossfeed.cli.bench.goals import goals_table
from crossfeed.cli.bench.plot import growth_plot
from crossfeed.cli.bench.results import render, write
from crossfeed.cli.bench.runner import BenchError, Figures
from crossfeed.cli.bench.scenarios import FLOOR, GROUPS, OURS, PURE
from crossfeed.cli.bench.suite import Machine, Record, Store
from crossfeed.errors import ConfigError

MACHINE = Machine(
    date="2026-11-22 12:00 UTC", commit="abc", processor="a processor", cores=2,
    python="CPython 3.13", core="compiled, all of it", versions={"crossfeed": "1"},
    peers={"python": "3.13.0", "ccxt": "4.5.90"}, command="crossfeed bench --full", round_count=3,
)  # fmt: skip


def figures(cpu_us: float, *, rss_mb: float = 50.0, p50_us: float = 0.0) -> Figures:
    waits = (p50_us, p50_us * 10, p50_us * 20, p50_us * 30) if p50_us else ()
    return Figures(cpu_us=cpu_us, rate=1e5, rss_mb=rss_mb, lost=0, latency_us=waits)


def store_of(*runs: tuple[str, str, int, Figures], path: Path | None = None) -> Store:
    store = Store(MACHINE, path)
    for scenario, client, number, each in runs:
        store.add(Record(scenario=scenario, client=client, round=number, load=1.5, figures=each))
    return store


def verdicts(store: Store) -> dict[tuple[str, str], str]:
    lines = goals_table(store.results()).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1]): row[-1] for row in cells}


@pytest.mark.parametrize(
    ("cpu_us", "word"), [(0.9, "reached"), (1.0, "accepted"), (1.2, "accepted"), (1.21, "missed")]
)
def test_verdict_follows_the_bounds(cpu_us: float, word: str):
    assert verdicts(store_of(("ticks", OURS, 0, figures(cpu_us)))) == {("ticks, CPU", OURS): word}


def test_ratios_are_paired_by_round():
    """A round in which the machine was slow slows both; one without a floor is left out."""
    store = store_of(
        ("ticks", FLOOR, 0, figures(1.0)), ("ticks", OURS, 0, figures(2.0)),
        ("ticks", FLOOR, 1, figures(10.0)), ("ticks", OURS, 1, figures(20.0)),
        ("ticks", OURS, 2, figures(90.0)),
    )  # fmt: skip
    floor, ours = store.results().rows(GROUPS["scenarios"])
    assert (floor.client, floor.ratio) == (FLOOR, 1.0)
    assert (ours.cpu_us, ours.ratio) == (20.0, 2.0)
    assert ours.times(floor) == 0.5


def test_best_peer_is_told_with_and_without_events_of_its_own():
    store = store_of(
        ("ticks", OURS, 0, figures(1.0)),
        ("ticks", "unicorn (raw)", 0, figures(7.0)),
        ("ticks", "cryptofeed", 0, figures(11.0)),
        ("ticks", "ccxt pro", 0, figures(30.0)),
    )
    found = verdicts(store)
    assert found["ticks, best peer (any)", OURS] == "missed"
    assert found["ticks, best peer (with events of its own)", OURS] == "reached"
    assert "7.0 x (unicorn (raw))" in goals_table(store.results())


def test_latency_and_memory_are_held_against_floor_and_peers():
    latency, memory = GROUPS["latency"][0].name, GROUPS["memory"][0].name
    store = store_of(
        (latency, FLOOR, 0, figures(1.0, p50_us=50.0)),
        (latency, OURS, 0, figures(2.0, p50_us=60.0)),
        (latency, PURE, 0, figures(3.0, p50_us=80.0)),
        (latency, "nautilus_trader", 0, figures(15.0, p50_us=59.0)),
        (memory, OURS, 0, figures(4.0, rss_mb=61.0)),
        (memory, "cryptofeed", 0, figures(90.0, rss_mb=62.0)),
    )
    assert verdicts(store) == {
        ("latency p50", OURS): "accepted",
        ("latency p50", PURE): "missed",
        ("latency p50, against every peer", OURS): "missed",
        ("latency p99, best round, against every peer", OURS): "missed",
        (f"memory, {memory} with books", OURS): "accepted",
        ("memory, against every peer", OURS): "reached",
    }


def test_aggregator_is_told_as_what_it_adds():
    store = store_of(
        ("3 venues, events", OURS, 0, figures(3.0)),
        ("3 venues, aggregator", OURS, 0, figures(5.0)),
        ("3 venues, events", OURS, 1, figures(4.0)),
        ("3 venues, aggregator", OURS, 1, figures(7.5)),
        ("3 venues, events", OURS, 2, figures(9.0)),
    )
    assert "| 3 venues, aggregator | crossfeed | 4.00 | 6.25 | 2.75 | 2.00-3.50 |" in render(
        store.results()
    )
    ((_, word),) = verdicts(store).items()
    assert word == "reached"


def every_run() -> list[tuple[str, str, int, Figures]]:
    runs: list[tuple[str, str, int, Figures]] = []
    for group in GROUPS.values():
        for scenario in group:
            for place, client in enumerate((FLOOR, OURS, PURE)):
                runs += [
                    (scenario.name, client, n, figures(1.0 + place + n / 10, p50_us=40.0))
                    for n in range(3)
                ]
    return runs


def test_document_is_the_same_from_the_kept_file(tmp_path: Path):
    kept = tmp_path / "runs.jsonl"
    store = store_of(*every_run(), path=kept)
    store.add(Record(scenario="ticks", client="ccxt pro", round=0, load=3.0, error="it fell over"))
    assert Store.read(kept) == store.results()

    (tmp_path / "notes.md").write_text("## Where the goals are missed\n\nHere.\n")
    write(store.results(), tmp_path / "RESULTS.md")
    text = (tmp_path / "RESULTS.md").read_text("utf-8")
    for part in ("# Results", "\nRounds: 3.\n", "load average 1.5 to 3.0", "## Goals",
                 "(growth.svg)",
                 "## Failed runs", "ticks, 500 symbols", "trades of 3 venues, median",
                 "ticks over TLS", "it fell over", "## Where the goals are missed"):  # fmt: skip
        assert part in text, part
    assert "<svg" in (tmp_path / "growth.svg").read_text("utf-8")


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own text


def test_plot_is_well_formed_and_stays_inside():
    root = parsed(growth_plot(store_of(*every_run()).results()))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    lines = root.findall("{*}polyline")
    assert len(lines) == 9
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert len(points) == 4
        assert all(0 < x < width and 0 < y < height for x, y in points)


def test_plot_without_figures_is_empty_panels():
    root = parsed(growth_plot(store_of().results()))
    assert not root.findall("{*}polyline")
    assert "book levels a side" in "".join(root.itertext())


def test_foreign_file_is_refused(tmp_path: Path):
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    for name in ("other.jsonl", "absent.jsonl"):
        with pytest.raises(BenchError, match="holds no results"):
            Store.read(tmp_path / name)


def test_failure_of_ours_is_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    kept = tmp_path / "runs.jsonl"
    store = store_of(("ticks", OURS, 0, figures(1.0)), path=kept)
    assert run_bench(BenchOptions(source=str(kept))) == 0
    store.add(Record(scenario="ticks", client="ccxt pro", round=1, load=1.0, error="gone"))
    assert run_bench(BenchOptions(source=str(kept))) == 0
    store.add(Record(scenario="ticks", client=OURS, round=1, load=1.0, error="gone"))
    assert run_bench(BenchOptions(source=str(kept))) == 1
    assert "crossfeed, ticks: gone" in capsys.readouterr().out


def test_chosen_scenarios_are_unique_and_known():
    chosen = bench._chosen(BenchOptions(names=("ticks", "scenarios", "levels")))
    names = [scenario.name for scenario in chosen]
    assert names[0] == "ticks"
    assert len(names) == len(set(names)) == len(GROUPS["scenarios"]) + len(GROUPS["levels"])
    with pytest.raises(ConfigError, match="no scenario or group 'tick'"):
        bench._chosen(BenchOptions(names=("tick",)))


def test_command_names_no_folder_of_this_machine():
    options = BenchOptions(
        is_full=True, peers="/somewhere/bin/python", raw="/else/runs.jsonl", minutes=25.0
    )
    assert bench._command(options) == "crossfeed bench --full --minutes 25 --peers PEERS_PYTHON"
