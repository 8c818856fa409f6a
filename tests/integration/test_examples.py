"""Every example runs, says what it promises, and is short."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SAYS = {
    "api_keys": r"api_key=set\)\n\{'.*'match'",
    "arbitrage": r"Profit: 0\.\d+%\n(.*\n)*\d+ opportunities",
    "binance_client": r"Trade: BTCUSDT \$6\d+\.\d+ x 0\.\d+\n(.*\n)*\d\d+ messages",
    "coinbase_client": r"Snapshot: \d+ bids, \d+ asks\n(.*\n)*Update: \d+ changes",
    "configuration_arbitrage": r"CROSSED spread -\d",
    "configuration_high_frequency": r"\d\d+ updates, socket to handler p50",
    "configuration_stable_long_term": r"from binance, coinbase, kraken; 3 sources",
    "connections": r"kraken: connected, \d+ messages",
    "data_quality": r"SOUND -> UNSOUND \(sequence_gap\)\n(.*\n)*\{'believed': \d+",
    "dynamic_subscription": r"with SOL: .*'SOLUSDT', 'trade'.*'SOL-USD', 'trade'",
    "error_handling": r"ALERT: WebSocket connection lost.*\n(.*\n)*(\d+) trades missed, \2 fetched",
    "gaps": r"sequence: open\n(.*\n)*late: \d+ .*\n(.*\n)*.*backfilled",
    "metrics": r'Exchanges active: 2\n(.*\n)*ws_messages_received_total\{exchange="coinbase"\} \d',
    "ml_features": r"BTC/USD \[-?\d.*, [12]\.0\] -> [+-]\d",
    "order_book": r"1 BTC: 6\d{4}\.\d\d on average; imbalance [+-]0\.\d\d",
    "price_monitoring": r"Mean: \$6\d{4}\.\d\d, StdDev: \$\d",
    "rate_limiting": r"SOLUSDT subscribed after 0\.\d\d s\nBTCUSDT .* after 1\.\d\d s",
    "state_changes": r"OPEN: too many failures.*\n(.*from REST\n)+(.*\n)*.*CONNECTED: WebSocket",
    "streams": r"BTC/USD (buy|sell) \d.* at 6\d{4}\.\d",
    "trade_recording": r"BTC/USD: \d+ rows, volume \d",
    "trading_signals": r"high volume: aggressive orders",
    "unified_view": r"Volume: [\d.]+ from [12] exchanges\n(.*\n)*Best Bid: \$",
}
SECONDS = {"state_changes": "2.6", "unified_view": "1.3", "data_quality": "1.2", "gaps": "1.2"}


def examples() -> list[str]:
    """Return the names of all examples."""
    return sorted(file.stem for file in FOLDER.glob("[!_]*.py"))


def test_every_example_has_its_promise() -> None:
    assert examples() == sorted(SAYS)


@pytest.mark.parametrize("name", examples())
def test_the_form(name: str) -> None:
    """Short, and begins with the question it answers and the way to run it."""
    text = (FOLDER / f"{name}.py").read_text("utf-8")
    assert text.count("\n") < 60
    document = ast.get_docstring(ast.parse(text)) or ""
    assert re.match(r"[A-Z][^?.]*\? [A-Z]", document), document
    assert f"python examples/{name}.py " in document
    assert "--live" in document


@pytest.mark.parametrize("name", examples())
def test_it_runs_offline(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a script would, in this process: its own loop, its own simulator, warnings are errors."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "_venues", raising=False)
    out, seconds = "", float(SECONDS.get(name, "0.8"))
    # What it says is the promise, not how soon: a busy machine gets one longer run.
    for limit in (seconds, 8 * seconds):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--seconds", str(limit)])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        out = capsys.readouterr().out
        if re.search(SAYS[name], out):
            return
    pytest.fail(out[-3000:])


def test_one_as_the_user_starts_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "examples/streams.py", "--seconds", "0.5"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(SAYS["streams"], done.stdout)


async def test_live_means_the_real_venues(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --live nothing is simulated: the settings are the defaults of each venue."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import _venues

    monkeypatch.delattr(_venues, "Simulator")
    async with _venues.venues(_venues.Options(is_live=True, seconds=1.0), "kraken") as settings:
        assert repr(settings["kraken"]) == "FeedSettings()"
    monkeypatch.delitem(sys.modules, "_venues")
