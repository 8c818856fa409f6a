"""Fault schedules: read, checked, matched."""

from __future__ import annotations

import pytest

from crossfeed.errors import ConfigError
from crossfeed.simulator.faults import PROFILES, FaultRule, load_schedule, parse_schedule

TEXT = """
name = "try"
[[fault]]
kind = "drop"
venues = ["binance"]
channels = ["trades", "depth*"]
symbols = ["BTC/*"]
probability = 0.5
[[fault]]
kind = "cut"
mode = "mid_frame"
every_s = 3
"""


def test_a_file_is_read(tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text(TEXT)
    schedule = load_schedule(path)
    assert schedule == parse_schedule(TEXT)
    assert schedule.name == "try"
    drop, cut = schedule.fault
    assert drop.is_for("binance", "aggTrade", ("BTCUSDT", "BTC/USD"))
    assert drop.is_for("binance", "depth@100ms", ("BTCUSDT", "BTC/USD"))
    assert not drop.is_for("binance", "ticker", ("BTCUSDT", "BTC/USD"))
    assert not drop.is_for("binance", "trade", ("ETHUSDT", "ETH/USD"))
    assert not drop.is_for("kraken", "trade", ("BTC/USD",))
    assert (cut.variant, cut.is_message) == ("mid_frame", False)


def test_profiles_are_found_by_name():
    assert load_schedule("default") is PROFILES["default"]
    assert load_schedule(None) is None
    assert load_schedule(PROFILES["harsh"]) is PROFILES["harsh"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = [", "schedule"),
        ("[[fault]]\nkind = 'nonsense'", "fault"),
        ("[[fault]]\nkind = 'drop'\nprobability = 0.1\nunknown = 1", "unknown"),
        ("[[fault]]\nkind = 'drop'", "probability"),
        ("[[fault]]\nkind = 'drop'\nprobability = 1.5", "0..1"),
        ("[[fault]]\nkind = 'cut'", "every_s"),
        ("[[fault]]\nkind = 'cut'\nevery_s = 1\nmode = 'gently'", "gently"),
        ("[[fault]]\nkind = 'drop'\nevery = 2\nrun = 0", "run"),
    ],
)
def test_what_cannot_work_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_schedule(text)


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.toml.*default"):
        load_schedule("nowhere.toml")


def test_a_rule_without_channels_is_for_all():
    rule = FaultRule(kind="double", every=3)
    assert rule.is_for("kraken", "anything", ("BTC/USD",))
