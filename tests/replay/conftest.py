"""One recording of the simulator with faults, made once, and what was given out live meanwhile."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crossfeed.aggregation.config import AggregatorConfig
from crossfeed.clients.aggregator import MarketDataAggregator
from crossfeed.journal.options import JournalOptions
from crossfeed.runtime.recording import Recorder
from crossfeed.runtime.settings import FeedSettings
from crossfeed.simulator import Simulator

VENUES = ("binance", "coinbase", "kraken")
SYMBOLS = ("BTC/USD", "ETH/USD")


@dataclass
class Live:
    """What was given out while a journal was written."""

    folder: Path
    events: list[tuple[str, str]] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    gaps: dict[str, list[object]] = field(default_factory=dict)
    books: dict[tuple[str, str], object] = field(default_factory=dict)
    stats: Any = None


def fingerprint(event) -> tuple[str, str]:
    """Return every field of an event, the raw frame included."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event).__name__, repr(fields)


def value_fingerprint(value) -> str:
    """Return what an aggregated value says."""
    left_out = [(each.exchange, each.reason) for each in value.excluded]
    shown = (value.symbol, value.data_type, value.timestamp, value.exchanges, value.data)
    return repr((*shown, value.trust, left_out))


def settings_for(simulator: Simulator, venue: str) -> FeedSettings:
    parameters = {"time_unit": "MICROSECOND"} if venue == "binance" else {}
    return FeedSettings(
        ws_url=simulator.ws_url(venue), rest_url=simulator.rest_url(venue), parameters=parameters
    )


async def record(folder: Path, faults: str | None, seconds: float, rate: float = 300.0) -> Live:
    """Aggregate simulated venues for a while and record them."""
    live = Live(folder)
    options = JournalOptions(segment_bytes=150_000)
    async with Simulator(VENUES, SYMBOLS, rate_per_s=rate, seed=3, faults=faults) as simulator:
        async with Recorder(folder, options) as recorder:
            aggregator = MarketDataAggregator(
                AggregatorConfig(
                    exchanges=list(VENUES), symbols=list(SYMBOLS), update_interval=0.05
                ),
                venues={venue: settings_for(simulator, venue) for venue in VENUES},
                recorder=recorder,
            )
            for client in aggregator.clients.values():
                client.on("*", lambda event: live.events.append(fingerprint(event)))
                await client.subscribe(SYMBOLS, ["book", "trade"])
            aggregator.subscribe(
                "*", "*", lambda value: live.values.append(value_fingerprint(value))
            )
            await aggregator.start()
            await asyncio.sleep(seconds)
            for name, client in aggregator.clients.items():
                client.on_feed_status(lambda status, n=name, c=client: look(live, n, c, status))
            await aggregator.stop()
            live.gaps = {name: list(c.gaps.records()) for name, c in aggregator.clients.items()}
        live.stats = recorder.stats()
    return live


def look(live: Live, name: str, client, status) -> None:
    """Keep the books of a client as they stand when it begins to close."""
    for symbol in SYMBOLS:
        if status.cause == "closed" and (name, symbol) not in live.books:
            image = client.book(symbol).image()
            live.books[name, symbol] = (image.bids, image.asks)


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Record 2.5 s of three venues with many faults; read-only for all tests."""
    folder = tmp_path_factory.mktemp("recorded") / "journal"
    return asyncio.run(record(folder, "harsh", 2.5))


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Record 1.5 s without faults."""
    folder = tmp_path_factory.mktemp("recorded") / "journal"
    return asyncio.run(record(folder, None, 1.5))


@pytest.fixture
def record_for():
    """Return the recording function, for longer runs."""
    return record


@pytest.fixture
def soak_seconds() -> float:
    """How long load tests run."""
    return float(os.environ.get("CROSSFEED_SOAK_SECONDS", "60"))


@pytest.fixture
def prints():
    """Return the functions that turn events and values into what is compared."""
    return fingerprint, value_fingerprint
