"""A consumer that never reads costs a bounded amount of memory, and exact counts."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from crossfeed import VenueClient
from crossfeed.clients.venue_client import QUEUE_CAPACITY
from crossfeed.testing.events import trade

PER_S = 10_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault("P01", "T08")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
async def test_a_dead_consumer_costs_no_more_memory_in_ten_minutes_than_in_one(
    is_full, figure, tally
):
    """As many events as 10,000 a second make in 10 minutes (short: 20 s), each with its frame."""
    client = VenueClient("binance", symbols=["BTC/USDT"], kinds=["trade"])
    dead = client.stream("trade")
    publish = client.router.publish
    frame = b'{"e":"trade","s":"BTCUSDT","p":"64000.01000000","q":"0.00100000","t":%d}'
    made = trade(1)

    def flood(first: int, count: int) -> None:
        for number in range(first, first + count):
            publish(type(made)(*made_head, frame % number, 0, 64_000.01, 0.001, "buy", number))

    made_head = [getattr(made, name) for name in made.__struct_fields__[:10]]
    flood(0, 3 * PER_S)  # the queue is full
    gc.collect()
    base = resident_bytes()
    seconds = 600 if is_full else 20
    flood(3 * PER_S, seconds * PER_S)
    gc.collect()
    grown = (resident_bytes() - base) / (1 << 20)
    surplus = (3 + seconds) * PER_S - QUEUE_CAPACITY
    assert dead.dropped == surplus  # what was dropped is counted, to the last event
    tally(injected=surplus, detected=dead.dropped)
    events = seconds * PER_S
    detail = f"{events:,} events, as many as {seconds} s bring, published without a pause"
    figure("memory growth, dead consumer, 10,000 msg/s", grown, 16.0, "MB", detail=detail)
    dead.close()
