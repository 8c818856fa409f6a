"""What a measured peer needs, with nothing but the standard library: it runs in a venv of its own.

The counterpart of `crossfeed.cli.bench.client`: prints `ready`, counts callbacks, reports its CPU
time, memory and the time of each callback.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

QUIET_S = 3.0


def cpu_s() -> float:
    """Return the CPU time of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Counter:
    """Counts callbacks; stops the clock when all are there."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Expect what the order says."""
        self.expected = sum(feed["messages"] for feed in order["feeds"])
        self.times_ns: list[int] | None = [] if order.get("is_timed") else None
        self.seen = 0
        self.start_s = self.cpu_s = 0.0
        self.done_ns = 0
        self.done = asyncio.Event()

    def take(self, event: object) -> None:
        """Take one callback."""
        del event
        self.seen += 1
        if self.times_ns is not None:
            self.times_ns.append(time.monotonic_ns())
        if self.seen == self.expected:
            self.stop()

    def stop(self) -> None:
        """Stop the clock."""
        self.cpu_s = cpu_s() - self.start_s
        self.done_ns = time.monotonic_ns()
        self.done.set()


async def serve(
    start: Callable[[dict[str, Any], Counter], Awaitable[asyncio.Task[None]]],
) -> None:
    """Run one order: start the peer, wait for the last callback or for silence, report."""
    order = json.loads(sys.argv[1])
    counter = Counter(order)
    task = await start(order, counter)
    counter.start_s = cpu_s()
    print("ready", flush=True)
    before = -1
    while not counter.done.is_set():
        if counter.seen == before and counter.seen:
            counter.stop()
            break
        before = counter.seen
        try:
            await asyncio.wait_for(counter.done.wait(), QUIET_S if counter.seen else 30.0)
        except TimeoutError:
            if not counter.seen:
                counter.stop()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "seen": counter.seen,
        "cpu_s": counter.cpu_s,
        "done_ns": counter.done_ns,
        "rss_mb": usage.ru_maxrss / 1024,
        "times_ns": counter.times_ns or [],
    }
    print(json.dumps(report), flush=True)
    task.cancel()
