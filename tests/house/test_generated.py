"""Pages generated from the code are as the code is now."""

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = ("support.md", "commands.md", "metrics.md")


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    """Load tools/pages.py."""
    return runpy.run_path(str(ROOT / "tools" / "pages.py"))


def test_every_generated_page_is_checked(tool: dict[str, Any]) -> None:
    """No generated page is left out below."""
    assert set(tool["PAGES"]) == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_fresh(tool: dict[str, Any], name: str) -> None:
    """The page says what the code says (`make docs` refreshes it)."""
    assert (REFERENCE / name).read_text("utf-8") == tool["PAGES"][name]()


def test_stale_page_is_found(tool: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other declarations make another page, so a page that was not refreshed is found."""
    monkeypatch.setitem(tool["support"].__globals__, "venue_names", lambda: ("kraken",))
    assert (REFERENCE / "support.md").read_text("utf-8") != tool["support"]()
