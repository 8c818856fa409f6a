"""`crossfeed replay --serve`: the recorded venues, as any client knows them."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from crossfeed.cli import EXIT_INTERRUPTED
from crossfeed.cli.progress import progress_bar
from crossfeed.cli.session import interruptible, print_json, print_text
from crossfeed.errors import ConfigError
from crossfeed.runtime.replay_control import moment_of
from crossfeed.runtime.replay_server import ReplayServer

if TYPE_CHECKING:
    from crossfeed.cli.replay import ReplayOptions

__all__ = ["run_served"]


async def run_served(options: ReplayOptions, speed: float) -> int:
    """Serve until Ctrl-C; return 0, or 130 if that came before there was anything to serve.

    Raises:
        ConfigError: Not exactly one folder, no feed in it that can be served, or a taken port.
        JournalError: The folder cannot be read.
    """
    if len(options.folders) != 1:
        raise ConfigError("one journal at a time can be served", field="folders")
    server = ReplayServer(
        options.folders[0],
        speed=speed,
        start=moment_of(options.start, "from"),
        end=moment_of(options.end, "to"),
        host=options.host,
        port=options.port,
        faults=None if options.faults == "none" else options.faults,
        control_port=None if options.control_port < 0 else options.control_port,
        progress=partial(progress_bar, "reading what was answered", "segments", is_passing=True),
    )
    over = asyncio.Event()
    with interruptible(over):
        async with contextlib.AsyncExitStack() as stack:
            starting = asyncio.ensure_future(stack.enter_async_context(server))
            ending = asyncio.ensure_future(over.wait())
            try:
                await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    return EXIT_INTERRUPTED
                await starting
                _announce(server, is_json=options.is_json)
                await ending
            finally:
                for task in (starting, ending):
                    task.cancel()
                await asyncio.gather(starting, ending, return_exceptions=True)
    return 0


def _announce(server: ReplayServer, *, is_json: bool) -> None:
    """Print where it listens."""
    urls = {
        name: {"ws": server.ws_url(name), "rest": server.rest_url(name)} for name in server.feeds
    }
    if is_json:
        print_json({"venues": urls, "skipped": server.skipped, "control": server.control_url})
        return
    for name, each in urls.items():
        print_text(f"{name}: {each['ws']}  {each['rest']}")
    for name in server.skipped:
        print_text(f"{name}: its protocol cannot be served")
    if server.control_url:
        print_text(f"control: {server.control_url}/status (pause, resume, speed, seek, faults)")
    print_text("each connection plays the recording from its beginning; Ctrl-C ends")
