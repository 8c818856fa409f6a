"""Every command does what its help says; numbers agree with the simulator's ledger."""

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import crossfeed

SUMMARY = {
    "messages_received",
    "updates_published",
    "exchanges_active",
    "delivered",
    "invalid",
    "gaps",
    "duplicates",
    "seconds",
    "cpu_us_per_message",
    "latency_us",
}
MAIN = "from crossfeed.cli import main; raise SystemExit(main())"
QUICK = ("--venues", "binance,coinbase", "--rate", "300")


# ── help ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "command", ["", "demo", "watch", "sim", "doctor", "config", "config show", "config check"]
)
def test_help(run, command) -> None:
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: crossfeed")


def test_version(run) -> None:
    assert run("--version") == (0, f"{crossfeed.__version__}\n", "")


# ── demo ──────────────────────────────────────────────────────────────────────


def test_demo_summary_equals_the_ledger(run) -> None:
    """The issue's own words: three venues active, delivered = sent, nothing wrong."""
    code, out, err = run("demo", "--seconds", "1.5", "--json", "--summary")
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    summary = json.loads(line)
    assert summary.keys() >= SUMMARY | {"sent", "ledger"}
    assert summary["exchanges_active"] == 3
    assert summary["delivered"] == summary["sent"] > 500
    assert summary["messages_received"] >= summary["delivered"]
    assert summary["updates_published"] > 0
    for name in ("invalid", "gaps", "duplicates"):
        assert summary[name] == 0
    assert summary["ledger"] == {**summary["ledger"], "gaps": 0, "duplicates": 0, "violations": 0}
    assert summary["seconds"] >= 1.5
    assert summary["cpu_us_per_message"] > 0
    assert 0 < summary["latency_us"]["p50"] <= summary["latency_us"]["p99"]
    assert summary["venues"].keys() == {"binance", "coinbase", "kraken"}


@pytest.mark.timeout(60)
def test_demo_with_faults_equals_the_ledger(run) -> None:
    arguments = ("--seconds", "3", "--faults", "default", "--seed", "7", "--json", "--summary")
    code, out, err = run("demo", *arguments, *QUICK)
    assert (code, err) == (0, "")
    summary = json.loads(out)
    ledger = summary["ledger"]
    assert summary["gaps"] == ledger["gaps"] > 0
    assert summary["duplicates"] == ledger["duplicates"] > 0
    assert summary["events_missing"] == summary["events_repaired"] == ledger["missing"]
    assert summary["delivered"] == summary["sent"]
    assert (summary["gaps_open"], ledger["violations"]) == (0, 0)


def test_demo_without_a_terminal_prints_a_line_a_second_and_a_summary(run) -> None:
    code, out, err = run("demo", "BTC/USD", "--seconds", "2.5", *QUICK)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    prices = [line for line in lines if " BTC/USD " in line]
    assert 1 <= len(prices) <= 4
    assert all(
        re.search(r"binance 6\d,\d{3}\.\d\d +coinbase 6\d,\d{3}\.\d\d +\|  bid 6", line)
        for line in prices
    )
    assert "2 venues active" in out
    assert "gaps 0 (simulator's ledger: 0)" in out
    assert "\x1b" not in out


def test_demo_json_prints_one_object_per_update(run) -> None:
    code, out, err = run("demo", "BTC/USD", "--seconds", "1", "--json", *QUICK)
    assert (code, err) == (0, "")
    *updates, summary = [json.loads(line) for line in out.splitlines()]
    assert len(updates) > 20
    assert {update["data_type"] for update in updates} == {"trade", "ticker", "book_ticker"}
    for update in updates:
        assert update["symbol"] == "BTC/USD"
        assert update["exchanges"]
        assert update["trust"] == "SOUND"
    # BTCUSDT and BTC-USD are different money: the mixture is said.
    assert any(update["quote_mismatch"] for update in updates)
    assert summary.keys() >= SUMMARY


def test_metrics_while_it_runs(start, unused_port) -> None:
    child = start("demo", "--seconds", "0", "--metrics-port", str(unused_port), *QUICK)
    child.read_line()
    with urllib.request.urlopen(f"http://127.0.0.1:{unused_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    for name in (
        'ws_messages_received_total{exchange="binance"}',
        'ws_messages_processed_total{exchange="coinbase",type="trade"}',
        'ws_connections_active{exchange="binance"} 1.0',
        "ws_message_processing_seconds_count",
    ):
        assert name in text


@pytest.fixture
def unused_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def drawn_in_a_terminal(kind: str) -> bytes:
    """Return what a short demo writes to a pseudo terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "demo", "--seconds", "1.5", *QUICK],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": kind, "COLUMNS": "160", "LINES": "40"},
        close_fds=True,
    )
    os.close(slave)
    drawn = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                data = os.read(master, 65_536)
            except OSError:
                break
            if not data:
                break
            drawn += data
        elif process.poll() is not None:
            break
    assert process.wait(5) == 0
    os.close(master)
    return drawn


needs_terminal = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a pseudo terminal")


@needs_terminal
def test_the_live_table_in_a_terminal() -> None:
    """In a terminal a table is drawn on a screen of its own; the last one is left behind whole."""
    drawn = drawn_in_a_terminal("xterm-256color")
    before, _, rest = drawn.partition(b"\x1b[?1049h")
    on_screen, _, left = rest.partition(b"\x1b[?1049l")
    assert b"symbol" not in before
    for part in (on_screen, left):
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part.decode())
        assert "crossfeed demo: simulated venues" in text
        for word in ("symbol", "binance", "coinbase", "best bid", "spread", "trust", "BTC/USD"):
            assert word in text
        assert "sound" in text
    assert b"2 venues active" in left
    assert drawn.count(b"\x1b[?25l") == drawn.count(b"\x1b[?25h") > 0  # the cursor is back
    assert b"\x1b[2J" not in drawn  # never cleared: no flicker


@needs_terminal
def test_a_terminal_that_cannot_draw_gets_lines() -> None:
    drawn = drawn_in_a_terminal("dumb")
    assert b"\x1b" not in drawn
    assert re.search(rb"BTC/USD +binance 6\d,\d{3}\.\d\d", drawn)


def test_signs_that_an_encoding_lacks_stop_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "doctor", "--offline"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"? crossfeed" in done.stdout


# ── watch ─────────────────────────────────────────────────────────────────────


def test_watch_simulated(run) -> None:
    arguments = ("watch", "BTC/USD", "ETH/USD", "--sim", "--venues", "binance,kraken")
    code, out, err = run(*arguments, "--seconds", "1.5", "--json", "--summary")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert summary.keys() >= SUMMARY
    assert summary["exchanges_active"] == 2
    code, out, err = run(*arguments, "--seconds", "2.5")
    assert (code, err) == (0, "")
    assert {line.split()[2] for line in out.splitlines()} == {"BTC/USD", "ETH/USD"}


def test_watch_with_a_configuration_file(run, write, venues) -> None:
    text = "".join(
        f'[venues.{name}]\nws_url = "{urls["ws"]}"\nrest_url = "{urls["rest"]}"\n'
        for name, urls in venues.items()
    )
    text += (
        '[aggregator]\nexchanges = ["binance", "coinbase", "kraken"]\nsymbols = ["BTC/USD"]\n'
        'aggregation_strategy = "median"\nupdate_interval = 0.2\n'
    )
    code, out, err = run("watch", "--config", write(text), "--seconds", "1", "--json")
    assert (code, err) == (0, "")
    updates = [json.loads(line) for line in out.splitlines()]
    assert {update["symbol"] for update in updates} == {"BTC/USD"}
    assert len(updates) < 40  # a value of each kind five times a second


def test_watch_fails_when_a_venue_brings_nothing(run, write, venues) -> None:
    """Exit code 0 only if data flowed from every venue asked for."""
    urls = venues["binance"]
    text = f"""
        [venues.binance]
        ws_url = "{urls["ws"]}"
        metadata = "builtin"
        """
    # The venue acknowledges any stream name; one it does not have stays silent.
    code, _, err = run(
        "watch", "ETH/USD", "--venues", "binance", "--config", write(text), "--seconds", "1"
    )
    assert code == 1
    assert err.startswith("crossfeed: no data from binance")
    assert err.count("\n") == 1


# ── sim ───────────────────────────────────────────────────────────────────────


def test_sim_says_where_it_listens(run, tmp_path) -> None:
    ledger = tmp_path / "ledger.json"
    arguments = ("sim", "--venues", "binance,kraken", "--seconds", "0.2", "--ledger", str(ledger))
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert re.search(
        r"^binance +ws://127\.0\.0\.1:\d+ +http://127\.0\.0\.1:\d+$", out, re.MULTILINE
    )
    assert re.search(r"^kraken +ws://127\.0\.0\.1:\d+/v2 ", out, re.MULTILINE)
    assert re.search(r"^control +http://127\.0\.0\.1:\d+$", out, re.MULTILINE)
    assert json.loads(ledger.read_text())["totals"]["violations"] == 0
    code, out, err = run(*arguments, "--json")
    said = json.loads(out)
    assert said["venues"].keys() == {"binance", "kraken"}
    assert said["control"].startswith("http://127.0.0.1:")


# ── doctor, config ────────────────────────────────────────────────────────────


def test_doctor_offline(run) -> None:
    code, out, err = run("doctor", "--offline")
    assert (code, err) == (0, "")
    for word in ("crossfeed", "python", "core", "event loop", "open files", "tls", "venue kraken"):
        assert re.search(rf"^[✓!] {word}", out, re.MULTILINE), word
    assert "reach" not in out


def test_doctor_json(run) -> None:
    code, out, err = run("doctor", "--offline", "--json")
    assert (code, err) == (0, "")
    findings = json.loads(out)
    assert all(finding.keys() == {"level", "what", "text"} for finding in findings)
    assert {finding["level"] for finding in findings} <= {"ok", "note"}


def test_doctor_without_a_network_says_what_cannot_be_reached(run) -> None:
    code, out, err = run("doctor")
    assert (code, err) == (1, "")
    assert re.search(r"^✗ reach binance +.*api\.binance\.com", out, re.MULTILINE)
    assert "to look at" in out


def test_config_show_and_check(run, write, monkeypatch) -> None:
    path = write('[venues.coinbase]\napi_key = "k-4711"\napi_secret = "s-4711"\n')
    monkeypatch.setenv("CROSSFEED_COINBASE_API_KEY", "e-4711")
    code, out, err = run("config", "show", "--file", path)
    assert (code, err) == (0, "")
    assert re.search(
        r"^venues\.coinbase\.api_key +'\*+' +\(CROSSFEED_COINBASE_API_KEY\)$", out, re.MULTILINE
    )
    assert re.search(r"^venues\.coinbase\.api_secret +'\*+' +\(file\)$", out, re.MULTILINE)
    assert re.search(r"^aggregator\.update_interval +0\.0 +\(default\)$", out, re.MULTILINE)
    assert "4711" not in out
    code, out, err = run("config", "check", "--file", path)
    assert (code, err) == (0, "")
    assert out == f"{path}: valid (coinbase; 0 symbols)\n"
    code, out, err = run("config", "show")
    assert (code, err) == (0, "")
    assert "(file)" not in out
