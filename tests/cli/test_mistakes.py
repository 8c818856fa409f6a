"""Whatever is wrong: one clear line, a code that says so, never a traceback."""

import socket

import pytest


def assert_one_line(code: int, err: str, wanted: int, *words: str) -> None:
    """Check the form of a failure."""
    assert code == wanted, err
    assert err.startswith("crossfeed: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert all(word in err for word in words), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nosuch", ["nosuch", "demo"]),
        ("demo --nope", ["--nope"]),
        ("demo --seconds soon", ["--seconds", "soon"]),
        ("demo --seconds nan", ["seconds", "nan"]),
        ("demo --venues moon", ["moon", "binance"]),
        ("demo --venues binanse", ["binanse", "binance"]),
        ("demo --strategy bets", ["aggregation_strategy", "bets", "median"]),
        ("demo --faults nosuch", ["faults", "nosuch", "default"]),
        ("demo --rate -1", ["rate", "-1"]),
        ("demo BTCUSD", ["BTCUSD", "BTC/USD"]),
        ("demo NOPE/USD --venues kraken", ["kraken", "NOPE/USD"]),
        ("watch", ["at least one symbol"]),
        ("watch BTCUSD", ["BTCUSD", "BTC/USD"]),
        ("watch BTC/XYZ --venues binance", ["binance", "BTC/XYZ"]),
        ("watch BTC/USD --venues binance,kraken,ftx", ["ftx", "kraken"]),
        ("watch BTC/USD --venues coinbase,coinbase_advanced", ["one venue"]),
        ("watch BTC/USD --strategy medium", ["did you mean 'median'"]),
        ("watch BTC/USD --seconds -1", ["seconds", "-1"]),
        ("watch BTC/USD --config nowhere.toml", ["nowhere.toml", "No such file"]),
        ("sim --venues moon", ["moon", "binance"]),
        ("sim --port 99999", ["port", "99999"]),
        ("sim --control-port 99999", ["control_port", "99999"]),
        ("sim --faults nosuch", ["faults", "nosuch"]),
        ("sim BTCUSD", ["BTCUSD"]),
        ("faultproxy 127.0.0.1:1 --port 99999", ["port", "99999"]),
        ("faultproxy 127.0.0.1:1 --seconds nan", ["seconds", "nan"]),
        ("config check", ["--file"]),
        ("config check --file nowhere.toml", ["nowhere.toml", "No such file"]),
        ("config show --file nowhere.toml", ["nowhere.toml"]),
    ],
)
def test_what_was_typed_wrong(run, arguments, words) -> None:
    code, out, err = run(*arguments.split())
    assert_one_line(code, err, 2, *words)
    assert out == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[venues.kraken]\nlines = 3", ["venues.kraken.lines", "1 or 2"]),
        ("[venues.krakn]", ["venues.krakn", "did you mean kraken"]),
        ("x = [[[", ["no valid TOML"]),
        ('[aggregator]\nexchanges = ["ftx"]', ["aggregator.exchanges[0]", "ftx"]),
    ],
)
@pytest.mark.parametrize("command", ["config check --file", "watch BTC/USD --config"])
def test_a_wrong_configuration_file(run, write, command, text, words) -> None:
    code, out, err = run(*command.split(), write(text))
    assert_one_line(code, err, 2, *words)
    assert out == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[record]\nkinds = ["trades"]', ["binance has no 'trades'"]),
        (
            '[[record.sinks]]\ntype = "sqlite"\npath = "x.db"\nkinds = ["trades"]',
            ["record.sinks.kinds", "no table for trades"],
        ),
    ],
)
def test_what_record_would_refuse_is_told_by_the_check(run, write, text, words) -> None:
    code, out, err = run("config", "check", "--file", write(text))
    assert_one_line(code, err, 2, *words)
    assert out == ""


def test_a_host_that_cannot_be_reached(run, write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = f"""
        [venues.kraken]
        ws_url = "ws://127.0.0.1:{port}/v2"
        connect_deadline_s = 0.5
        """
    code, out, err = run("watch", "BTC/USD", "--venues", "kraken", "--config", write(text))
    assert_one_line(code, err, 1, "kraken", f"127.0.0.1:{port}")
    assert out == ""


def test_a_subscription_that_the_venue_refuses(run, write, venues) -> None:
    text = f"""
        [venues.coinbase]
        ws_url = "{venues["coinbase"]["ws"]}"
        metadata = "builtin"
        """
    code, out, err = run("watch", "ETH/USD", "--venues", "coinbase", "--config", write(text))
    assert_one_line(code, err, 1, "coinbase", "ETH-USD", "not a valid product")
    assert out == ""


def test_a_symbol_that_a_venue_does_not_list(run, write, venues) -> None:
    urls = venues["binance"]
    text = f"""
        [venues.binance]
        ws_url = "{urls["ws"]}"
        rest_url = "{urls["rest"]}"
        """
    code, _, err = run("watch", "NOPE/USDT", "--venues", "binance", "--config", write(text))
    assert_one_line(code, err, 2, "binance", "NOPE/USDT")


@pytest.mark.parametrize(
    "command",
    [
        "sim --venues kraken --port",
        "sim --venues kraken --control-port",
        "faultproxy 127.0.0.1:1 --port",
        "replay {journal} --serve --port",
        "replay {journal} --serve --control-port",
    ],
)
def test_a_port_that_is_taken(run, journal, command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = command.replace("{journal}", str(journal)).split()
        code, out, err = run(*words, str(port))
    assert_one_line(code, err, 2, f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert out == ""


def test_a_metrics_port_that_is_taken(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, _, err = run(
            "demo", "--venues", "kraken", "--seconds", "1", "--metrics-port", str(port), "--summary"
        )
    assert_one_line(code, err, 2, "metrics_port", str(port))


def test_no_network(run) -> None:
    """The tests' own machine has none beyond loopback: as a user on a train would see it."""
    code, _, err = run("doctor")
    assert code == 1
    assert err == ""
