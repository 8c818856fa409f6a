"""The simulator as a process, and its control port."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest

from crossfeed.simulator import FaultRule, Schedule, Simulator, SimulatorOptions
from crossfeed.simulator.process import main, parse_arguments


async def start(*arguments):
    """Start the process; return it and its URLs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "crossfeed.simulator",
        "--json",
        "--venues",
        "binance,kraken",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    line = await asyncio.wait_for(process.stdout.readline(), 20.0)
    return process, json.loads(line)


async def test_a_life_with_control(tmp_path, raw_client, http):
    path = tmp_path / "ledger.json"
    process, urls = await start("--rate", "300", "--ledger", str(path))
    control = urls["control"]
    client = await raw_client.connect(
        urls["venues"]["binance"]["ws"] + "/stream?streams=btcusdt@trade"
    )
    await client.receive()
    status, _, body = await http(f"{control}/status")
    assert (status, json.loads(body)["phase"]) == (200, "running")
    rules = b'[[fault]]\nkind = "drop"\nat = [3]\n[[fault]]\nkind = "double"\nat = [5]\n'
    assert (await http(f"{control}/faults", "POST", rules))[0] == 200
    for path_, method in (("/pause", "POST"), ("/resume", "POST")):
        status, _, body = await http(control + path_, method)
        assert json.loads(body)["is_paused"] == (path_ == "/pause")
    ids = [(await client.receive_json())["data"]["t"] for _ in range(60)]
    assert (await http(f"{control}/drain?grace_s=0.1", "POST"))[0] == 200
    async with asyncio.timeout(10.0):
        while json.loads((await http(f"{control}/status"))[2])["phase"] != "drained":
            try:
                ids.append((await client.receive_json(0.02))["data"]["t"])
            except TimeoutError:
                continue
    _, _, body = await http(f"{control}/ledger")
    totals = json.loads(body)["totals"]
    assert (totals["gaps"], totals["duplicates"], totals["tails"]) == (1, 1, 0)
    assert len(ids) - len(set(ids)) == 1
    assert json.loads((await http(f"{control}/cut?venue=binance", "POST"))[2]) == {"cut": 1}
    await client.until_closed()
    await client.close()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10.0) == 0
    assert await process.stderr.read() == b""
    assert json.loads(path.read_text())["totals"]["gaps"] == 1


async def test_control_refuses_what_it_should(http):
    process, urls = await start("--ends-with-stdin")
    control = urls["control"]
    assert (await http(f"{control}/nothing"))[0] == 404
    assert (await http(f"{control}/faults", "POST", b"nonsense"))[0] == 400
    assert (await http(f"{control}/drain?grace_s=x", "POST"))[0] == 400
    assert (await http(f"{control}/cut?venue=nonsense", "POST"))[0] == 400
    assert (await http(f"{control}/status", headers={"Origin": "http://evil"}))[0] == 403
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10.0) == 0


def test_arguments_become_options():
    options = parse_arguments(
        [
            "--venues",
            "kraken, binance",
            "--symbols",
            "SOL/USD",
            "--rate",
            "5",
            "--control-port",
            "-1",
        ]
    )
    assert options == SimulatorOptions(
        venues=("kraken", "binance"), symbols=("SOL/USD",), rate_per_s=5.0, control_port=None
    )


def test_text_output_and_a_time_limit(capsys):
    code = main(["--venues", "binance", "--seconds", "0.05", "--symbol-count", "30"])
    assert code == 0
    out = capsys.readouterr().out
    assert out.startswith("binance")
    assert "control" in out


@pytest.mark.parametrize(
    "arguments", [["--venues", "nonsense"], ["--faults", "nonsense"], ["--symbols", "x"]]
)
def test_bad_arguments_give_one_line(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("simulator: ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--seconds", "-1"], "no time to run"),
        (["--seconds", "nan"], "no time to run"),
        (["--symbol-count", "-4"], "no number of symbols"),
        (["--ledger", "/no/such/folder/ledger.json"], "cannot be written"),
    ],
)
def test_what_would_only_show_at_the_end_is_refused_at_once(capsys, arguments, word):
    assert main(arguments) == 2
    assert word in capsys.readouterr().err


async def test_calm_ends_the_faults_and_lets_the_market_go_on():
    rule = FaultRule(kind="drop", channels=("trade",), probability=1.0)
    async with Simulator(
        venues=("kraken",), symbols=("BTC/USD",), rate_per_s=200.0, faults=Schedule(fault=(rule,))
    ) as simulator:
        injector = simulator.exchanges["kraken"].injector
        assert injector is not None
        assert not injector.is_stopped
        simulator.calm()
        assert injector.is_stopped
        assert not simulator.world.is_paused
