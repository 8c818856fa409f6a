"""What other tasks and handlers may do while a client still connects."""

from __future__ import annotations

import asyncio

import pytest

from crossfeed import AggregatorConfig, MarketDataAggregator, VenueClient

pytestmark = pytest.mark.usefixtures("leaves_no_task")


@pytest.fixture
async def binance(simulate):
    return await simulate(venues=("binance",), symbols=("BTC/USD", "ETH/USD"), rate_per_s=100)


@pytest.fixture
def client(binance, reach):
    settings = reach(binance, "binance")
    return VenueClient("binance", symbols=["BTC/USD"], kinds=["trade"], settings=settings)


async def test_what_is_asked_meanwhile_is_done(client, until):
    seen = set()
    client.on("trade", lambda trade: seen.add(trade.symbol))
    connecting = asyncio.create_task(client.connect())
    await asyncio.sleep(0)
    await client.subscribe(["ETH/USD"], ["trade"])
    await client.unsubscribe(["BTC/USD"], ["trade"])
    await connecting
    await until(lambda: "ETHUSDT" in seen)
    assert client.get_stats()["subscriptions"] == 1
    await client.close()


@pytest.mark.parametrize("steps", range(1, 6))
@pytest.mark.fault("P04")
async def test_a_close_ends_it_at_every_step(binance, client, steps):
    connecting = asyncio.create_task(client.connect())
    await asyncio.sleep(0.005 * steps)
    await client.close()
    await connecting
    assert client.get_stats()["state"] == "disconnected"
    for _ in range(100):
        if not binance.exchanges["binance"].sessions:
            break
        await asyncio.sleep(0.02)
    assert not binance.exchanges["binance"].sessions
    await client.connect()  # and again
    await client.close()


async def test_a_run_that_is_closed_while_it_connects_just_ends(client):
    running = asyncio.create_task(client.run())
    await asyncio.sleep(0)
    await client.close()
    await running
    assert client.get_stats()["state"] == "disconnected"


async def test_an_aggregator_stopped_while_it_starts_starts_nothing(binance, reach):
    config = AggregatorConfig(exchanges=["binance"], symbols=["BTC/USD"])
    aggregator = MarketDataAggregator(config, venues={"binance": reach(binance, "binance")})
    starting = asyncio.create_task(aggregator.start())
    await asyncio.sleep(0)
    await aggregator.stop()
    await starting
    assert not binance.exchanges["binance"].sessions
