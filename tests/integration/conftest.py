"""Whole chains over real sockets: simulated venues, clients, aggregator, uses."""

import pytest

from crossfeed.simulator import FaultRule, Schedule


@pytest.fixture(autouse=True)
async def _clean(leaves_no_task: None) -> None:
    """Every test ends everything that it started."""


QUICK = ("binance", "coinbase")


@pytest.fixture
def trouble() -> Schedule:
    """A fault schedule that does in two seconds what others do in a day.

    Kraken allows one REST request a second: fewer holes there, so that they are closed in time.
    """
    return Schedule(
        fault=(
            FaultRule(
                kind="drop", venues=QUICK, channels=("chained",), probability=0.02, after_s=0.2
            ),
            FaultRule(kind="drop", venues=("kraken",), channels=("trades",), at=(25,), limit=1),
            FaultRule(kind="double", channels=("trades",), probability=0.02, after_s=0.2),
            FaultRule(kind="stall", every_s=0.7, duration_s=0.2),
            FaultRule(kind="cut", mode="reset", at_s=(0.5,)),
            FaultRule(kind="cut", mode="reset", venues=QUICK, at_s=(1.2,)),
            FaultRule(kind="cut", mode="mid_frame", venues=QUICK, at_s=(0.9,)),
        )
    )
