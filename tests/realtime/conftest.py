"""The contract, sample by sample: every test here talks to simulated venues over real sockets."""

import pytest


@pytest.fixture(autouse=True)
async def _clean(leaves_no_task: None) -> None:
    """Every test ends everything that it started."""
