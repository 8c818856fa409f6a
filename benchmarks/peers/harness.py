"""What a measured peer needs, with nothing but the standard library: it runs in a venv of its own.

The counterpart of `crossfeed.cli.bench.client`: prints `ready`, counts callbacks, reports its CPU
time, memory and the time of each callback. A peer calls `Counter.take` with each event and
`Counter.take_top` with the best bid and offer it read after each change of a book.
"""

import asyncio
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

QUIET_S = 3.0
FIRST_S = 30.0


def cpu_s() -> float:
    """Return the CPU time of this process with all its threads, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Counter:
    """Counts callbacks; stops the clock when all are there."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Expect what the order says."""
        self.expected = sum(feed["messages"] for feed in order["feeds"])
        self.times_ns: list[int] | None = [] if order.get("is_timed") else None
        self.seen = 0
        self.top: object = None
        self.start_s = self.cpu_s = 0.0
        self.done_ns = 0
        self.done = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def take(self, event: object) -> None:
        """Take one callback; from any thread, but from one at a time."""
        del event
        self.seen += 1
        if self.times_ns is not None:
            self.times_ns.append(time.monotonic_ns())
        if self.seen == self.expected:
            self.stop()

    def take_top(self, bid: object, ask: object) -> None:
        """Take one callback of a book whose top was read."""
        assert bid is not None
        assert ask is not None
        self.take(None)

    def stop(self) -> None:
        """Stop the clock."""
        self.cpu_s = cpu_s() - self.start_s
        self.done_ns = time.monotonic_ns()
        self.loop.call_soon_threadsafe(self.done.set)


async def serve(start: Callable[[dict[str, Any], Counter], Awaitable[object]]) -> None:
    """Run one order: start the peer, wait for the last callback or for silence, report."""
    order = json.loads(sys.argv[-1])
    counter = Counter(order)
    keep = await start(order, counter)
    counter.start_s = cpu_s()
    print("ready", flush=True)
    before, waited_s = -1, 0.0
    while not counter.done.is_set():
        if counter.seen == before and (counter.seen or waited_s >= FIRST_S):
            counter.stop()
            break
        before = counter.seen
        try:
            await asyncio.wait_for(counter.done.wait(), QUIET_S)
        except TimeoutError:
            waited_s += QUIET_S
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "seen": counter.seen,
        "cpu_s": counter.cpu_s,
        "done_ns": counter.done_ns,
        "rss_mb": usage.ru_maxrss / 1024,
        "times_ns": counter.times_ns or [],
    }
    print(json.dumps(report), flush=True)
    del keep


def main(start: Callable[[dict[str, Any], Counter], Awaitable[object]]) -> None:
    """Run the peer on uvloop, where it has no loop of its own; the process is then ended."""
    import uvloop

    try:
        uvloop.run(serve(start))
    finally:  # a peer's threads must not keep the process
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(sys.exc_info()[0] is not None)


def feed_of(order: dict[str, Any]) -> dict[str, Any]:
    """Return the only feed of an order."""
    (feed,) = order["feeds"]
    return feed
