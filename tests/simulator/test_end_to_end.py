"""The simulator over loopback, judged by a client of its own."""

from __future__ import annotations

import asyncio
import json

import pytest

from crossfeed.simulator import FaultRule, Schedule, Simulator

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


@pytest.mark.parametrize("faults", [None, FAST], ids=["clean", "faults"])
async def test_a_correct_client_counts_what_the_ledger_counts(raw_client, closed, tally, faults):
    async with Simulator(rate_per_s=800.0, seed=7, faults=faults) as simulator:
        over = asyncio.Event()
        tallies = {venue: tally() for venue in simulator.venues}
        async with asyncio.TaskGroup() as group:
            for venue, one in tallies.items():
                group.create_task(follow(raw_client, closed, simulator, venue, one, over))
            await asyncio.sleep(1.6)
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
    assert seen > 1_000
    totals = simulator.ledger.totals()
    assert (totals["gaps"] > 0) == (faults is not None)
    assert (totals["duplicates"] > 0) == (faults is not None)
    assert totals["violations"] == 0
    assert json.loads(json.dumps(simulator.ledger.export()))["totals"] == totals
