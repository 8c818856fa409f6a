"""Mutated inputs through every decoder, in the short form; and every input that ever failed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from crossfeed.testing.virtual import VENUES

ROOT = Path(__file__).resolve().parent.parent.parent
INPUTS = sorted((Path(__file__).parent / "inputs").glob("*.bin"))
TARGETS = (
    *(f"{venue}.{kind}" for venue in VENUES for kind in ("receive", "receive_rest", "core")),
    "websocket.frames",
    "config.file",
)


@pytest.fixture(scope="session")
def fuzz():
    """Return tools/fuzz.py as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools" / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.fault("D01", "D02", "D03", "D04", "D06", "D08", "D10", "D12", "D16", "D17")
@pytest.mark.parametrize("target", TARGETS)
def test_only_documented_errors_and_valid_values_leave_a_decoder(fuzz, monkeypatch, target):
    monkeypatch.setattr(fuzz, "_keep", lambda name, what, data: (name, what, data[:300]))
    outcome = fuzz.run_target(target, 200 if target == "config.file" else 1_500, seed=2)
    assert outcome.failures == []
    assert outcome.inputs > outcome.rejected > 0


def test_every_target_has_its_test(fuzz):
    assert sorted(fuzz.TARGETS) == sorted(TARGETS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_an_input_that_once_failed_is_read_or_refused(fuzz, tmp_path, path):
    drive, contexts = fuzz.context_of(path.name.rpartition(".bin")[0].partition("-")[0], tmp_path)
    for context in contexts:
        found = drive(path.read_bytes(), context)
        fuzz.check_events(found or (), is_close_look=True)
    assert contexts
