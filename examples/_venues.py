"""Where the examples get their data: simulated venues of their own, or with --live the real ones.

Every example takes --live and --seconds; offline it ends by itself after a few seconds.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

import crossfeed
from crossfeed.simulator import FaultRule, Simulator

__all__ = ["Options", "Venues", "run", "venues"]

Venues = dict[str, crossfeed.FeedSettings]


class Options(NamedTuple):
    """What the command line said."""

    is_live: bool
    seconds: float

    async def wait(self) -> None:
        """Let the example run: so many seconds, or until Ctrl-C (0)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds or None):
                await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def venues(
    options: Options, *names: str, faults: tuple[FaultRule, ...] = ()
) -> AsyncIterator[Venues]:
    """Yield the settings of each venue: of a simulated one that runs here, or of the real one."""
    if options.is_live:
        yield {name: crossfeed.FeedSettings() for name in names}
        return
    symbols = ("BTC/USD", "ETH/USD", "SOL/USD")
    async with Simulator(venues=names, symbols=symbols, rate_per_s=100.0) as simulator:
        simulator.inject(*faults)
        yield {
            name: crossfeed.FeedSettings(
                ws_url=simulator.ws_url(name), rest_url=simulator.rest_url(name)
            )
            for name in names
        }


def run(main: Callable[[Options], Coroutine[Any, Any, None]]) -> None:
    """Read the command line and run `main` to its end."""
    # The example's own first paragraph is its help.
    words = (sys.modules["__main__"].__doc__ or main.__module__).partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("--live", action="store_true", help="the real venues, without a simulator")
    parser.add_argument("--seconds", type=float, help="how long (0: until Ctrl-C)")
    given = parser.parse_args()
    seconds = given.seconds if given.seconds is not None else (0.0 if given.live else 3.0)
    with contextlib.suppress(KeyboardInterrupt):
        crossfeed.run(main(Options(given.live, seconds)))
