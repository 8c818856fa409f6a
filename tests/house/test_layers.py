"""The one-way flow: the import contracts hold, and each of them is able to fail."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CHECK = "from importlinter.cli import lint_imports_command; lint_imports_command()"
PURE = ("model", "venues", "integrity", "books", "aggregation", "analytics")
PACKAGES = (
    *("cli", "testing", "clients", "runtime", "transport", "journal", "venues", "venues/kraken"),
    *("venues/binance", "integrity", "books", "aggregation", "analytics", "sinks", "servers"),
    *("simulator", "native", "store", "model"),
)
# (contract, module that breaks it, what it imports)
BREACHES = (
    ("layers", "books/sync", "crossfeed.integrity"),
    ("layers", "transport/websocket", "crossfeed.venues"),
    ("layers", "model/events", "crossfeed.runtime"),
    ("layers", "runtime/pipeline", "crossfeed.clients"),
    ("layers", "clients/venue", "crossfeed.testing"),
    ("layers", "errors", "crossfeed.model"),
    *(("pure", f"{package}/impure", "asyncio") for package in PURE),
    ("pure", "books/impure", "time"),
    ("pure", "venues/kraken/impure", "random"),
    ("pure", "errors", "socket"),
    ("simulator", "simulator/market", "crossfeed.venues.base"),
    ("simulator", "simulator/market", "crossfeed.books.ladder"),
)


def lint(config: Path, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package found first on `path`."""
    return subprocess.run(
        [sys.executable, "-c", CHECK, "--no-cache", "--no-logo", "--config", str(config), *options],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Build an empty house: every stage, no import but those a breach adds."""
    for name in ("", *PACKAGES):
        folder = tmp_path / "crossfeed" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("")
    for name in ("errors", "venues/base", "books/ladder", "transport/websocket", "integrity/gaps"):
        (tmp_path / "crossfeed" / f"{name}.py").write_text("")
    return tmp_path


def test_source_keeps_contracts() -> None:
    """No import of the package goes against the flow."""
    result = lint(ROOT / "pyproject.toml", ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


def test_contracts_accept_empty_house(house: Path) -> None:
    """Without a breach all contracts hold, so a failure below is the breach's."""
    result = lint(ROOT / "pyproject.toml", house)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "module", "target"), BREACHES)
def test_contract_refuses_breach(house: Path, contract: str, module: str, target: str) -> None:
    """One wrong import is found by its contract."""
    (house / "crossfeed" / f"{module}.py").write_text(f"import {target}\n")
    result = lint(ROOT / "pyproject.toml", house, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def test_every_contract_has_a_breach() -> None:
    """No contract is left unproven."""
    assert {contract["id"] for contract in CONFIG["contracts"]} == {case[0] for case in BREACHES}
