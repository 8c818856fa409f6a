"""What the fault tests share: short or full form, and the figures that `make faults` prints."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from crossfeed.testing.virtual import VirtualWorld

KINDS = ("trade", "book", "book_ticker", "ticker")
REQUESTS = [(kind, symbol) for symbol in ("BTC/USD", "ETH/USD") for kind in KINDS]


@pytest.fixture(scope="session")
def is_full() -> bool:
    """Say whether this is `make faults` (minutes) rather than `make test` (seconds)."""
    return os.environ.get("CROSSFEED_FAULTS") == "full"


@pytest.fixture(scope="session")
def requests() -> list[tuple[str, str]]:
    """Return what a typical client asks for."""
    return REQUESTS


@pytest.fixture
def tally(record_property) -> Callable[..., None]:
    """Return `tally(injected=…, detected=…, recovered=…, lost=…, doubled=…)` for the report."""

    def note(**figures: int) -> None:
        record_property("tally", figures)

    return note


@pytest.fixture
def figure(record_property) -> Callable[..., None]:
    """Return `figure(name, measured, gate)`: one of the promises in the report; a miss fails.

    The names are those of `FIGURES` in tools/faults_report.py, which shows the worst of each.
    """

    def note(
        name: str, measured: float, gate: float, unit: str = "", *, at_least=False, detail=""
    ) -> None:
        is_met = measured >= gate if at_least else measured <= gate
        record_property("figure", [name, measured, gate, unit, at_least, detail])
        sign = ">=" if at_least else "<="
        assert is_met, f"{name}: {measured:g} {unit} ({detail}), must be {sign} {gate:g}"

    return note


@pytest.fixture
def world() -> Callable[..., VirtualWorld]:
    """Return `world(*venues, requests=…, settings=…, **options)`: a world with its clients."""

    def make(*venues: str, requests=REQUESTS, settings=None, **options) -> VirtualWorld:
        needed = dict.fromkeys(venues)
        if "coinbase_advanced" in needed:
            needed["coinbase"] = None  # repairs its trades from there
        made = VirtualWorld(tuple(needed), **options)
        for venue in venues:
            made.feed(venue, requests, settings=settings)
        return made

    return make


@pytest.fixture
def unmeasured(record_property) -> Callable[[str, str], None]:
    """Return `unmeasured(name, why)`: skip the test; the report says why the figure is missing."""

    def note(name: str, why: str) -> None:
        record_property("unmeasured", [name, why])
        pytest.skip(why)

    return note
