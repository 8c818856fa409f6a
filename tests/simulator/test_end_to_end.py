"""The simulator over loopback, judged by a client of its own."""

from __future__ import annotations

import asyncio
import json

import pytest

from crossfeed.simulator import FaultRule, Schedule, Simulator
from crossfeed.simulator.memory import MemorySimulator

STREAMS = "btcusdt@trade/btcusdt@aggTrade/btcusdt@depth@100ms/ethusdt@trade/ethusdt@depth@100ms"
SUBSCRIBE = {
    "coinbase": [
        {
            "type": "subscribe",
            "product_ids": ["BTC-USD", "ETH-USD"],
            "channels": ["matches", "ticker", "level2_batch", "heartbeat"],
        }
    ],
    "kraken": [
        {
            "method": "subscribe",
            "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": False},
        },
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]}},
    ],
    "binance": [],
}
FAST = Schedule(
    fault=(
        FaultRule(kind="drop", channels=("chained",), probability=0.02, after_s=0.2),
        FaultRule(kind="double", channels=("trades",), probability=0.02, after_s=0.2),
        FaultRule(kind="stall", every_s=0.7, duration_s=0.2),
        FaultRule(kind="cut", mode="reset", at_s=(0.5, 1.2)),
        FaultRule(kind="cut", mode="mid_frame", at_s=(0.9,)),
        FaultRule(kind="bad_checksum", channels=("book-*",), probability=0.01, after_s=0.2),
        FaultRule(kind="corrupt", channels=("trades",), probability=0.01, after_s=0.2),
    )
)


SEEN_MIN = 300


async def follow(client_class, closed, simulator, venue, tally, over) -> int:
    """Stay connected until `over`, counting as a correct client; return the connections used."""
    connections = 0
    url = simulator.ws_url(venue) + (f"/stream?streams={STREAMS}" if venue == "binance" else "")
    while not over.is_set():
        connections += 1
        client = await client_class.connect(url)
        try:
            for message in SUBSCRIBE[venue]:
                await client.send(message)
            while not over.is_set():
                try:
                    raw = await client.receive(0.05)
                except TimeoutError:
                    continue
                for symbol in tally.take(venue, raw):
                    params = {"channel": "book", "symbol": [symbol]}
                    await client.send({"method": "unsubscribe", "params": params})
                    await client.send({"method": "subscribe", "params": params})
        except closed:
            pass
        finally:
            await client.close()
    return connections


def ledger_gaps(line) -> list:
    """Return a line's gaps as (first, last), those of resubscriptions left out."""
    return [(gap.first, gap.last) for gap in line.gaps]


def messages(simulator) -> int:
    """Return how many messages of chained streams were sent to lines."""
    records = [each for each in simulator.ledger.streams.values() if each.chain != "none"]
    return sum(line.messages for record in records for line in record.lines)


@pytest.mark.parametrize("faults", [None, FAST], ids=["clean", "faults"])
async def test_a_correct_client_counts_what_the_ledger_counts(
    raw_client, closed, tally, until, faults
):
    async with Simulator(rate_per_s=800.0, seed=7, faults=faults) as simulator:
        over = asyncio.Event()
        tallies = {venue: tally() for venue in simulator.venues}
        async with asyncio.TaskGroup() as group:
            for venue, one in tallies.items():
                group.create_task(follow(raw_client, closed, simulator, venue, one, over))
            await asyncio.sleep(1.4 if faults else 0.4)
            # A busy machine takes longer to say as much.
            await until(lambda: messages(simulator) > SEEN_MIN)
            await simulator.drain(grace_s=0.3)
            await asyncio.sleep(0.2)
            over.set()
    seen = 0
    for (venue, channel, symbol), record in simulator.ledger.streams.items():
        if record.chain == "none" or not record.lines:
            continue
        one, (line,) = tallies[venue], record.lines
        stream = (channel, symbol)
        seen += line.messages
        if record.chain == "checksum":
            assert one.desyncs[stream] == line.desyncs, stream
            continue
        assert one.gaps[stream] == ledger_gaps(line), stream
        assert one.duplicates[stream] == line.duplicates + line.late, stream
        assert one.events[stream] == line.events, stream
        assert one.volume[stream] == pytest.approx(float(record.volume(line.lots)), abs=1e-6), (
            stream
        )
    assert seen > SEEN_MIN
    totals = simulator.ledger.totals()
    assert (totals["gaps"] > 0) == (faults is not None)
    assert (totals["duplicates"] > 0) == (faults is not None)
    assert totals["violations"] == 0
    assert json.loads(json.dumps(simulator.ledger.export()))["totals"] == totals


def play(tally, profile, seed, seconds):
    """Follow three venues for some virtual time, reconnecting and resubscribing; return both."""
    room = MemorySimulator(rate_per_s=100.0, seed=seed, faults=profile)
    paths = {"binance": f"/stream?streams={STREAMS}", "coinbase": "/", "kraken": "/v2"}
    tallies = {venue: tally() for venue in paths}
    links = {}

    def pump():
        for venue, path in paths.items():
            link = links.get(venue)
            if link is None or link.end is not None:
                if link is not None:
                    for raw in link.receive():
                        tallies[venue].take(venue, raw)
                link = links[venue] = room.connect(venue, path)
                for message in SUBSCRIBE[venue]:
                    link.send(json.dumps(message).encode())
            for raw in link.receive():
                for symbol in tallies[venue].take(venue, raw):
                    params = {"channel": "book", "symbol": [symbol]}
                    for method in ("unsubscribe", "subscribe"):
                        link.send(json.dumps({"method": method, "params": params}).encode())

    for _ in range(seconds * 4):
        room.advance(250_000_000)
        pump()
    room.simulator.begin_drain(grace_s=1.0)
    while not room.simulator.is_drained:
        room.advance(100_000_000)
        pump()
    return room, tallies


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("profile", ["default", "harsh"])
def test_virtual_minutes_of_faults_are_counted_exactly(tally, profile, seed):
    room, tallies = play(tally, profile, seed, 60)
    for (venue, channel, symbol), record in room.ledger.streams.items():
        if record.chain == "none" or not record.lines:
            continue
        one, (line,) = tallies[venue], record.lines
        stream = (channel, symbol)
        if record.chain == "checksum":
            assert one.desyncs[stream] == line.desyncs, stream
            continue
        assert one.gaps[stream] == ledger_gaps(line), stream
        assert one.duplicates[stream] == line.duplicates + line.late, stream
        assert one.events[stream] == line.events, stream
    totals = room.ledger.totals()
    assert totals["tails"] == 0
    assert totals["gaps"] > (100 if profile == "default" else 400)
    assert totals["duplicates"] > 50
    assert totals["desyncs"] > 5
