"""The report's own promises: what the docs tell to run exists, and every figure has its test."""

from __future__ import annotations

import re
import runpy

FIGURES_OF_MESSAGES = {
    "gaps injected",
    "undetected gaps",
    "exact gap ranges",
    "duplicates delivered",
    "order violations delivered",
}
"""Added up by the report itself from what `test_messages.py` notes."""


def sources(root) -> str:
    folder = root / "tests" / "faults"
    return "".join(path.read_text("utf-8") for path in folder.glob("test_*.py"))


def test_every_figure_of_the_report_is_measured_by_a_test(root):
    report = runpy.run_path(str(root / "tools" / "faults_report.py"))
    text = sources(root)
    missing = [name for name in report["FIGURES"] if f'"{name}"' not in text]
    assert set(missing) <= FIGURES_OF_MESSAGES


def test_every_selection_in_the_docs_selects_a_test(root):
    page = (root / "docs" / "how-to" / "reproduce-our-claims.md").read_text("utf-8")
    words = re.findall(r'ARGS="-k (\w+)"', page)
    names = re.findall(r"def (test_\w+)", sources(root))
    assert len(words) > 10
    assert [word for word in words if not any(word in name for name in names)] == []
