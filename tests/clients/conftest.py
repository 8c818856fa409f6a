"""Clients over real sockets of simulated venues."""

import pytest
from msgspec.structs import replace

from crossfeed import VenueClient


@pytest.fixture(autouse=True)
async def _clean(leaves_no_task: None) -> None:
    """Every test ends everything that it started."""


@pytest.fixture
def connect(reach):
    """Make a client of a simulated venue; its venue waits a moment only for acknowledgements."""

    def make(simulator, venue="binance", kinds=("trade",), symbols=("BTC/USD",), **changes):
        settings = reach(simulator, venue, **changes)
        client = VenueClient(venue, symbols=symbols, kinds=kinds, settings=settings)
        profile = client.venue.profile
        limits = replace(profile.limits, ack_deadline_s=0.15)
        client._session.venue = replace(client.venue, profile=replace(profile, limits=limits))
        return client

    return make


@pytest.fixture
async def binance(simulate):
    """A simulated Binance of a quick market."""
    return await simulate(venues=("binance",), symbols=("BTC/USD", "ETH/USD"), rate_per_s=500)


@pytest.fixture
async def coinbase(simulate):
    """A simulated Coinbase of a quick market."""
    return await simulate(venues=("coinbase",), symbols=("BTC/USD", "ETH/USD"), rate_per_s=500)
