"""Pages generated from the code are as the code is now."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "docs" / "reference" / "support.md"


def test_support_matrix_is_fresh() -> None:
    """The support matrix says what the venues declare (`make docs` refreshes it)."""
    tool = runpy.run_path(str(ROOT / "tools" / "support.py"))
    assert SUPPORT.read_text("utf-8") == tool["page"]()


def test_support_matrix_shows_a_new_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that declares other channels changes the page, so a stale page is found."""
    tool = runpy.run_path(str(ROOT / "tools" / "support.py"))
    monkeypatch.setitem(tool["page"].__globals__, "venue_names", lambda: ("kraken",))
    assert SUPPORT.read_text("utf-8") != tool["page"]()
